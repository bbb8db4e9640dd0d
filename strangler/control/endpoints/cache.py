# SPDX-License-Identifier: Apache-2.0
"""The cache: purge, look, count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strangler.control.choice import find_route
from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected

Told = Mapping[str, Any] | None


async def _show(asked: Handler) -> Told:
    url = asked.get_query_argument("url", "")
    if not url:
        return {**await asked.view.cache.counters()}
    fields = []
    for line in asked.get_query_arguments("header")[:100]:
        name, colon, value = line.partition(":")
        if not colon:
            raise Rejected(400, f"header: expected NAME: VALUE, got {line[:100]}")
        fields.append((name.strip(), value.strip()))
    return {**await asked.view.cache.show(url, fields)}


async def _counters(asked: Handler) -> Told:
    return {**await asked.view.cache.counters()}


async def _purge(asked: Handler) -> Told:
    given = asked.json_body()
    _permit(asked, given)
    try:
        done = await asked.view.cache.purge(given)
    except Rejected as refused:
        if refused.status_code == 503:  # what could be done has been done
            await asked.view.audit.add(_entry(asked, given, str(refused.reason)))
        raise
    await asked.view.audit.add(_entry(asked, given, "everywhere"))
    return {**done}


def _permit(asked: Handler, given: Mapping[str, Any]) -> None:
    """Let an owner purge its own routes; a URL or a tag may be anybody's. Raises Rejected."""
    if asked.token is not None and asked.token.reaches("operator"):
        return
    keys = given.get("route")
    keys = keys if isinstance(keys, list) else [keys]
    if "route" not in given or not all(isinstance(key, str) for key in keys):
        raise Rejected(403, "an owner purges by route; everything else needs an operator")
    for key in keys:
        route = find_route(asked.view.snapshot, key)
        if route is not None:  # one that isn't there is told so, with the nearest
            asked.permit([route.owner], f"route {key}")


def _entry(asked: Handler, given: Mapping[str, Any], outcome: str) -> dict[str, Any]:
    return asked.entry("purge", subject=named(given), after=outcome)


def named(given: Mapping[str, Any]) -> str:
    """Say in words what a purge names, for the audit log; of many values the first ten."""
    said = []
    for name, value in given.items():
        if value is True:
            said.append(name)
        elif value:
            first = value[:10] if isinstance(value, list) else [value]
            rest = f" and {len(value) - 10} more" if isinstance(value, list) and value[10:] else ""
            said.append(f"{name} {', '.join(map(str, first))}{rest}")
    return ", ".join(said)[:1000]


_SOME: Final = {
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    ]
}

ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/cache",
        answer=_show,
        doc="?url=URL&header=NAME: VALUE: what the tiers hold of it, or why nothing",
        query=(
            Parameter(name="url", doc="the page; without it, the counters"),
            Parameter(name="header", doc="a request field, NAME: VALUE", many=True),
        ),
        also=(400,),
    ),
    Endpoint(
        method="GET",
        path="/-/cache/counters",
        answer=_counters,
        doc="what became of each route's requests at the cache",
    ),
    Endpoint(
        method="POST",
        path="/-/purge",
        counted=False,
        answer=_purge,
        doc='one of {"url": …}, {"prefix": …}, {"route": …}, {"tag": …}, {"all": true}; '
        'with {"soft": true} it becomes stale, with {"refresh": true} it is fetched anew too; '
        "an owner purges its own routes",
        access="owner",
        body={
            "type": "object",
            "properties": {
                **dict.fromkeys(("url", "prefix", "route", "tag"), _SOME),
                **{name: {"type": "boolean"} for name in ("all", "soft", "refresh")},
            },
            "additionalProperties": False,
        },
        also=(404, 503),
    ),
)
