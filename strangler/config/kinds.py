# SPDX-License-Identifier: Apache-2.0
"""The kinds of value that an option can have: each reads a node, and describes itself twice.

`Kind.read` returns a plain value, or reports what is wrong and returns BAD; it goes on past a
problem, so that all are found at once. `Kind.schema` is the same rule as JSON Schema, and `name`,
`unit` and `range` the same rule for the reference page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strangler.config import document
from strangler.config.diagnostics import Diagnostic, Severity, did_you_mean
from strangler.config.document import Node, Scalar
from strangler.config.snapshot import Place

BAD: Final[Any] = object()
"""What reading returns after it has reported a problem."""

NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
TRUE: Final = frozenset({"true", "True", "TRUE"})
FALSE: Final = frozenset({"false", "False", "FALSE"})
OLD_BOOLEANS: Final = {"on": True, "yes": True, "off": False, "no": False}
_REFERENCE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{")
INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
ENV_PATTERN: Final = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}"

Schema = dict[str, Any]

MAX_PROBLEMS: Final = 500


class Rejected(Exception):
    """A scalar is not of its kind: what was expected, and what was found if not the whole text."""

    def __init__(
        self, expected: str, hint: str | None = None, *, code: str = "S107", got: str | None = None
    ) -> None:
        self.expected = expected
        self.hint = hint
        self.code = code
        self.got = got


@dataclass(frozen=True, slots=True)
class Located:
    """A value that is looked at again later, with its place; `shown` has no variable's value."""

    value: Any
    shown: str
    place: Place
    path: str


class Enough(Exception):
    """So many problems were found that more would help nobody."""


class Context:
    """What reading needs and gathers: the environment and the problems found so far.

    After MAX_PROBLEMS it raises Enough: a file of garbage must not cost a reload's time.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.diagnostics: list[Diagnostic] = []
        self._reported: set[tuple[Place, str, str]] = set()

    def report(
        self,
        where: Place,
        path: str,
        code: str,
        message: str,
        hint: str | None = None,
        *,
        severity: Severity = "error",
    ) -> None:
        """Note a problem once, however often its text is read (a preset is, by each route)."""
        if (where, code, message) in self._reported:
            return
        self._reported.add((where, code, message))
        if len(self._reported) > MAX_PROBLEMS:
            raise Enough
        self.diagnostics.append(
            Diagnostic(
                place=where,
                code=code,
                message=message,
                path=path,
                hint=hint,
                severity=severity,
            )
        )

    def expand(self, node: Scalar, path: str) -> str | None:
        """Return the text with every `${env:NAME}` replaced, or None after a report."""
        failed = False

        def replace(found: re.Match[str]) -> str:
            nonlocal failed
            name, default = found[1], found[2]
            if name is None:
                failed = True
                self.report(
                    node.place,
                    path,
                    "S107",
                    "expected ${env:NAME} or ${env:NAME:-default}, got another ${",
                )
                return ""
            value = self.env.get(name) or default
            if value is None:
                failed = True
                hint = did_you_mean(name, self.env) if len(name) > 3 else None
                self.report(
                    node.place,
                    path,
                    "S109",
                    f"environment variable {name} is not set, or empty",
                    hint or f"set {name}, or write ${{env:{name}:-default}}",
                )
                return ""
            return value

        text = _REFERENCE.sub(replace, node.text)
        return None if failed else text


def show(node: Node) -> str:
    """Return what people call a node in a message: its text, or a list or a mapping."""
    if isinstance(node, document.Sequence):
        return "a list"
    if isinstance(node, document.Mapping):
        return "a mapping"
    if node.plain and node.text in NULL:
        return "nothing"
    if node.plain:
        return printable(node.text)
    return f'"{printable(node.text)}"'


def printable(text: str) -> str:
    """Return *text* in one line of at most 80 visible characters, fit for a terminal or a log."""
    short = text if len(text) <= 80 else text[:77] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


class Kind:
    """One kind of value. Subclasses say their name, unit and range as the reference prints them."""

    name: str = "value"
    unit: str = ""
    range: str = ""

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        """Return the value of *node*, or BAD after a report."""
        raise NotImplementedError

    def schema(self, defs: Schema) -> Schema:
        """Return the JSON Schema; blocks put themselves under *defs* and are referred to."""
        raise NotImplementedError

    def children(self) -> Iterator[tuple[str, Kind]]:
        """Yield the kinds inside, each with the suffix that its path has."""
        return iter(())


class ScalarKind(Kind):
    """A kind written as one word or text.

    `located` keeps the place beside the value; a `boolean` one judges YAML 1.1's words itself.
    Environment variables are put in before `parse` sees the text, and never shown in what it says.
    """

    pattern: str | None = None
    located: bool = False
    boolean: bool = False

    def parse(self, text: str, plain: bool) -> Any:
        """Return the value of *text*, or raise Rejected; plain: no quotes stood around it."""
        raise NotImplementedError

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not isinstance(node, Scalar) or (node.plain and node.text in NULL):
            ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}")
            return BAD
        if node.plain and node.text.lower() in OLD_BOOLEANS and not self.boolean:
            ctx.report(
                node.place,
                path,
                "S111",
                f"expected {self.name}, got {node.text} without quotes",
                f"write {self.old_boolean(node.text)}",
            )
            return BAD
        text: str | None = node.text
        expanded = "${" in node.text
        if expanded:
            text = ctx.expand(node, path)
            if text is None:
                return BAD
        assert text is not None
        try:
            # A variable's text is taken as if it stood there without quotes.
            value = self.parse(text, node.plain or expanded)
        except Rejected as rejected:
            got = show(node) if expanded or rejected.got is None else rejected.got
            ctx.report(
                node.place,
                path,
                rejected.code,
                f"expected {rejected.expected}, got {got}",
                None if expanded else rejected.hint,
            )
            return BAD
        if self.located:
            return Located(value, printable(node.text), node.place, path)
        return value

    def old_boolean(self, text: str) -> str:
        """Return what to write in place of YAML 1.1's word *text*."""
        return f'"{text}" with quotes'

    def schema(self, defs: Schema) -> Schema:
        rule: Schema = {"type": "string"}
        if self.pattern is not None:
            rule["pattern"] = f"^({self.pattern}|.*{ENV_PATTERN}.*)$"
        return rule


def env_reference(defs: Schema) -> Schema:
    """Return the rule of a whole value that comes from the environment, kept once in *defs*."""
    defs.setdefault(
        "env",
        {
            "type": "string",
            "pattern": f"^{ENV_PATTERN}$",
            "description": "The value of an environment variable.",
        },
    )
    return {"$ref": "#/$defs/env"}
