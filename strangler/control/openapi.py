# SPDX-License-Identifier: Apache-2.0
"""The admin API as an OpenAPI 3.1 document, made of the same rows that answer it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from strangler.control.endpoint import Endpoint, Schema

_ERROR: Final = {
    "type": "object",
    "description": "The one shape of every error.",
    "properties": {
        "ok": {"const": False},
        "error": {"type": "string", "description": "what is wrong, for people"},
        "errors": {"type": "array", "description": "each problem: field, message, hint"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
    },
    "required": ["ok", "error", "errors", "status"],
}
_WORDS: Final = {
    400: "it makes no sense; errors says what and where",
    401: "no token that is known",
    403: "the token's role, or the request's origin, is not enough",
    404: "there is no such thing",
    409: "somebody else has been faster, there are too many, or a condition isn't met",
    411: "a body without Content-Length",
    413: "the body is too large",
    415: "the body is no application/json",
    421: "the Host is no name of this listener",
    422: "the configuration was rejected",
    429: "too many wrong tokens, or too many changes by one token",
    503: "it can't be done or recorded now; nothing is half done that isn't told",
}


def document(rows: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """Return the document for *rows*."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Strangler admin API",
            "version": version,
            "description": "How the site is, and every change that is made by hand.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "strangler_session"},
            },
        },
    }


def _operation(row: Endpoint) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": row.name.replace("/-/", "").replace("/", "-").replace(" ", "-").strip("-")
        or "page",
        "summary": row.doc,
        "responses": _responses(row),
    }
    if row.access == "open":
        told["security"] = [{}]
    else:
        least = row.access or "viewer"
        told["description"] = f"Needs the role {least} or one above it."
        if row.access is None:
            told["description"] += " On a loopback listener nobody is asked who he is."
        open_too: list[Schema] = [{}] if row.access is None else []
        told["security"] = [{"token": []}, {"session": []}, *open_too]
    if row.query:
        told["parameters"] = [
            {
                "name": one.name,
                "in": "query",
                "required": False,
                "description": one.doc,
                "schema": {"type": "array", "items": dict(one.schema)} if one.many else one.schema,
            }
            for one in row.query
        ]
    if row.body is not None:
        told["requestBody"] = {
            "required": bool(row.body.get("required")),
            "content": {"application/json": {"schema": row.body}},
        }
    return told


def _responses(row: Endpoint) -> dict[str, Any]:
    wrong = {421, *row.also}
    if row.method == "POST":
        wrong |= {400, 411, 413, 415}
    if row.query:
        wrong |= {400}
    if row.access != "open":
        wrong |= {401, 403, 429}
    problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses: dict[str, Any] = {str(row.status): {"description": row.doc, "content": _good(row)}}
    for status in sorted(wrong - {row.status}):
        said = _WORDS.get(status, "it was not done")
        responses[str(status)] = {"description": said, "content": problem}
        if row.path == "/-/healthcheck" and status == 503:  # the report itself says what is bad
            responses["503"] = {"description": "something is bad", "content": _good(row)}
    responses["default"] = {"description": "it was not done", "content": problem}
    return responses


def _good(row: Endpoint) -> dict[str, Any]:
    if row.content != "application/json":
        return {row.content: {"schema": {"type": "string"}}}
    schema: Mapping[str, Any] = row.told
    return {"application/json": {"schema": dict(schema)}}
