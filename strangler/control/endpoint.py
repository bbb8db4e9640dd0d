# SPDX-License-Identifier: Apache-2.0
"""One row of the admin API: what it is asked by, who may, what it answers, and the function.

The routing, the roles, the list at ``/-/`` and the OpenAPI document all come from these rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tornado import web

from strangler.control.handler import Handler, Rejected
from strangler.control.tokens import Role

Schema = Mapping[str, Any]
Access = Literal["open"] | Role | None
Answer = Callable[[Any], Awaitable[Mapping[str, Any] | None]]

ANYTHING: Final[Schema] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One query parameter; `schema` is of JSON Schema: string, integer or boolean, and bounds."""

    name: str
    doc: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})
    many: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is done for one method on one path.

    answer: is given the `Handler`, returns the members of the JSON answer beside `ok`, or None
    where it has written one itself · access: the least role; None: a viewer, or anybody who
    reaches a listener on loopback; "open": anybody · body, told: JSON Schemas of the request's and
    of the answer's document · status: of the answer · also: further statuses it may have ·
    content: of the answer, where it isn't JSON · counted: a token that posts it all the time is
    refused, see `Handler.count_change`.
    """

    method: Literal["GET", "POST"]
    path: str
    answer: Answer
    doc: str
    access: Access = None
    query: Sequence[Parameter] = ()
    body: Schema | None = None
    told: Schema = field(default_factory=lambda: ANYTHING)
    status: int = 200
    also: Sequence[int] = ()
    content: str = "application/json"
    counted: bool = True

    @property
    def name(self) -> str:
        """Return the path, with its method where it isn't GET."""
        return self.path if self.method == "GET" else f"{self.method} {self.path}"


class Dispatch(Handler):
    """Answers one path by its rows."""

    rows: Mapping[str, Endpoint]

    def initialize(
        self, *given: Any, rows: Mapping[str, Endpoint] | None = None, **more: Any
    ) -> None:
        super().initialize(*given, **more)
        self.rows = rows or {}

    def prepare(self) -> None:
        super().prepare()
        row = self.rows.get("GET" if self.request.method == "HEAD" else self.request.method or "")
        if row is None:
            self.refuse_method(self.rows)
            return
        self.admit(row.access)
        if row.method == "POST" and row.counted:
            self.count_change()
        _check_query(self, row.query)

    async def get(self) -> None:
        await self._answer("GET")

    async def post(self) -> None:
        await self._answer("POST")

    async def _answer(self, method: str) -> None:
        row = self.rows[method]
        told = await row.answer(self)
        if told is not None:
            status = row.status
            self.answer({"ok": True, **told}, status)


def routed(rows: Sequence[Endpoint], given: Mapping[str, Any]) -> list[Any]:
    """Return the rules of a Tornado application that answers *rows*."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for row in rows:
        methods = by_path.setdefault(row.path, {})
        if row.method in methods:
            raise ValueError(f"{row.name} stands twice")
        methods[row.method] = row
    return [
        (
            f"{path}?" if path.endswith("/") and path != "/" else path,
            Dispatch,
            {**given, "rows": by},
        )
        for path, by in by_path.items()
    ]


def _check_query(asked: Handler, known: Sequence[Parameter]) -> None:
    """Refuse a known parameter with a value that makes no sense; unknown ones are nobody's."""
    errors = []
    for parameter in known:
        values = asked.get_query_arguments(parameter.name, strip=False)
        expected = _expected(parameter.schema)
        if len(values) > 1 and not parameter.many:
            errors.append({"field": parameter.name, "message": "expected once"})
        elif not all(_fits(value, parameter.schema) for value in values):
            errors.append({"field": parameter.name, "message": f"expected {expected}"})
    if errors:
        first = errors[0]
        raise Rejected(400, f"{first['field']}: {first['message']}", errors=errors)


def _expected(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "integer":
        return f"a whole number, {schema.get('minimum', 0)} to {schema.get('maximum', 'any')}"
    return "true or false" if schema.get("type") == "boolean" else "a text"


def _fits(text: str, schema: Schema) -> bool:
    if "enum" in schema:
        return text in schema["enum"]
    match schema.get("type"):
        case "integer":
            if not (text.isascii() and text.isdigit() and len(text) <= 18):
                return False
            number = int(text)
            return bool(schema.get("minimum", 0) <= number <= schema.get("maximum", number))
        case "boolean":
            return text in ("true", "false")
    return bool(schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text)))


def not_found(asked: Handler) -> None:
    """Refuse a path that has no row."""
    raise web.HTTPError(404, reason="no such page; see /-/ for those there are")
