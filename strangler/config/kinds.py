# SPDX-License-Identifier: Apache-2.0
"""The kinds of value that an option can have: each reads a node, and describes itself twice.

`Kind.read` returns a plain value, or reports what is wrong and returns BAD; it goes on past a
problem, so that all are found at once. `Kind.schema` is the same rule as JSON Schema, and `name`,
`unit` and `range` the same rule for the reference page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from strangler import units
from strangler.config import document
from strangler.config.diagnostics import Diagnostic, did_you_mean
from strangler.config.document import Node, Scalar
from strangler.config.snapshot import Place

BAD: Final[Any] = object()
"""What reading returns after it has reported a problem."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_OLD_BOOLEANS: Final = {"on": True, "yes": True, "off": False, "no": False}
_REFERENCE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}|\$\{")
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_ENV_PATTERN: Final = r"\$\{env:[A-Za-z_][A-Za-z0-9_]*(:-[^{}]*)?\}"

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
        warning: bool = False,
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
                severity="warning" if warning else "error",
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
    if node.plain and node.text in _NULL:
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

    `located` keeps the place beside the value. Environment variables are put in before `parse`
    sees the text, and never shown in what it says.
    """

    pattern: str | None = None
    located: bool = False

    def parse(self, text: str, plain: bool) -> Any:
        """Return the value of *text*, or raise Rejected; plain: no quotes stood around it."""
        raise NotImplementedError

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not isinstance(node, Scalar) or (node.plain and node.text in _NULL):
            ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}")
            return BAD
        if node.plain and node.text.lower() in _OLD_BOOLEANS and not isinstance(self, Switch):
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
            rule["pattern"] = f"^({self.pattern}|.*{_ENV_PATTERN}.*)$"
        return rule


class Text(ScalarKind):
    """Any text, or text of a form; a number is the text that was written."""

    def __init__(
        self,
        name: str = "text",
        pattern: str | None = None,
        *,
        hint: str | None = None,
        located: bool = False,
        convert: Callable[[str], Any] | None = None,
        length: int = 4096,
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.located = located
        self._form = re.compile(pattern, re.ASCII) if pattern else None
        self._hint = hint
        self._convert = convert
        self._length = length

    def parse(self, text: str, plain: bool) -> Any:
        if plain and (text in _TRUE or text in _FALSE):
            raise Rejected(self.name, f'write "{text}" with quotes', code="S103")
        if not text or len(text) > self._length or (self._form and not self._form.fullmatch(text)):
            raise Rejected(self.name, self._hint)
        return self._convert(text) if self._convert else text

    def schema(self, defs: Schema) -> Schema:
        rule = super().schema(defs)
        if self.pattern is None:
            rule["type"] = ["string", "number"]
        return rule


class Switch(ScalarKind):
    """YAML 1.2's true or false, and nothing else."""

    name = "true or false"

    def parse(self, text: str, plain: bool) -> bool:
        if plain and text in _TRUE:
            return True
        if plain and text in _FALSE:
            return False
        if text.lower() in _OLD_BOOLEANS:
            word = "true" if _OLD_BOOLEANS[text.lower()] else "false"
            raise Rejected(self.name, f"write {word}", code="S111")
        raise Rejected(self.name, code="S103")

    def schema(self, defs: Schema) -> Schema:
        return {"anyOf": [{"type": "boolean"}, _env(defs)]}


class Word(ScalarKind):
    """One of a few words."""

    def __init__(self, *words: str, located: bool = False) -> None:
        self.words = words
        self.located = located
        self.name = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
        self.pattern = "|".join(map(re.escape, words))

    def parse(self, text: str, plain: bool) -> str:
        if text in self.words:
            return text
        raise Rejected(self.name, did_you_mean(text, self.words), code="S106")

    def old_boolean(self, text: str) -> str:
        return "none" if "none" in self.words else self.name


class Whole(ScalarKind):
    """A whole number, decimal, without a unit because it counts things."""

    name = "a whole number"

    def __init__(self, low: int, high: int, unit: str = "") -> None:
        self.low, self.high = low, high
        self.unit = unit
        self.range = f"{low}-{high}"

    def parse(self, text: str, plain: bool) -> Any:
        if not plain or not _INTEGER.fullmatch(text):
            hint = None
            if re.fullmatch(r"[0-9][0-9_]*", text):
                hint = f"write {int(text.replace('_', ''))}"
                hint += "" if plain else " without quotes"
            raise Rejected(self.name, hint, code="S103")
        number = int(text)
        if not self.low <= number <= self.high:
            raise Rejected(self.range, code="S104")
        return number

    def schema(self, defs: Schema) -> Schema:
        whole = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [whole, _env(defs)]}


class _Quantity(ScalarKind):
    low: float
    high: float

    def _check(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise Rejected(self.range, code="S104")
        return value


def _unit_problem(error: units.UnitError) -> Rejected:
    code = "S105" if isinstance(error, units.UnitMissing) else "S107" if error.hint else "S103"
    return Rejected(str(error).removeprefix("expected "), error.hint, code=code)


class Duration(_Quantity):
    """Seconds, written with a unit."""

    name = "a duration"
    unit = "ms, s, m, h, d, w"
    pattern = r"[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d|w)"

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = units.duration(low), units.duration(high)
        self.range = f"{low}-{high}"

    def parse(self, text: str, plain: bool) -> float:
        try:
            return self._check(units.duration(text))
        except units.UnitError as error:
            raise _unit_problem(error) from None


class Size(_Quantity):
    """Bytes, written with a unit."""

    name = "a size"
    unit = "B, KB, MB, GB, TB"
    pattern = r"[0-9]+(\.[0-9]+)? ?([KMGT]i?)?B"

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = units.size(low), units.size(high)
        self.range = f"{low}-{high}"

    def parse(self, text: str, plain: bool) -> int:
        try:
            return int(self._check(units.size(text)))
        except units.UnitError as error:
            raise _unit_problem(error) from None


class Share(_Quantity):
    """A fraction 0-1, written as a percentage."""

    name = "a percentage"
    unit = "%"
    pattern = r"[0-9]+(\.[0-9]+)? ?%"

    def __init__(self, low: float = 0, high: float = 100) -> None:
        self.low, self.high = low, high
        self.range = f"{low:g}-{high:g} %"

    def parse(self, text: str, plain: bool) -> Any:
        return self.percent(text) / 100

    def percent(self, text: str) -> float:
        """Return the percent itself; raise Rejected."""
        try:
            value = units.percent(text)
        except units.UnitError as error:
            raise _unit_problem(error) from None
        if not self.low <= value <= self.high:
            raise Rejected(self.range, code="S104", got=f"{value:g} %")
        return value


class Between(ScalarKind):
    """Two durations, `5s..5m`, the first not longer than the second."""

    name = "two durations such as 5s..5m"
    unit = "ms, s, m, h, d, w"

    def __init__(self, low: str, high: str) -> None:
        self._one = Duration(low, high)
        self.range = self._one.range
        self.pattern = f"{Duration.pattern}\\.\\.{Duration.pattern}"

    def parse(self, text: str, plain: bool) -> tuple[float, float]:
        first, dots, second = text.partition("..")
        if not dots:
            raise Rejected(self.name, f"write {text}..5m" if text[-1:].isalpha() else None)
        low, high = self._one.parse(first, plain), self._one.parse(second, plain)
        if low > high:
            raise Rejected("the shorter duration first", f"write {second}..{first}", code="S104")
        return low, high


class Day(ScalarKind):
    """A day of the calendar."""

    name = "a date such as 2026-12-31"
    unit = "YYYY-MM-DD"
    pattern = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    located = True

    def parse(self, text: str, plain: bool) -> date:
        try:
            if re.fullmatch(self.pattern, text, re.ASCII):
                return date.fromisoformat(text)
        except ValueError:
            raise Rejected("a day that exists") from None
        raise Rejected(self.name)


class Regex(ScalarKind):
    """A regular expression of Python's `re`."""

    name = "a regular expression"
    located = True

    def parse(self, text: str, plain: bool) -> str:
        if len(text) > 1000:
            raise Rejected("a regular expression of at most 1000 characters")
        try:
            re.compile(text.encode())
        except (re.error, OverflowError, RecursionError) as error:
            raise Rejected(self.name, str(error)) from None
        return text

    def schema(self, defs: Schema) -> Schema:
        return {"type": ["string", "number"]}


class Json(Kind):
    """Any data, read by YAML 1.2's core schema."""

    name = "any data"

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if isinstance(node, document.Sequence):
            return [self.read(item, path, ctx) for item in node.items]
        if isinstance(node, document.Mapping):
            return {key.text: self.read(value, path, ctx) for key, value in node.entries}
        text = node.text
        if not node.plain:
            return text
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def schema(self, defs: Schema) -> Schema:
        return {}


class OrNone(Kind):
    """A kind, or the word none."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.name = f"{kind.name} or none"
        self.unit, self.range = kind.unit, kind.range

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if isinstance(node, Scalar):
            if node.text == "none":
                return None
            if node.plain and node.text in ("off", "no", "false"):
                ctx.report(
                    node.place, path, "S111", f"expected {self.name}, got {node.text}", "write none"
                )
                return BAD
            if not isinstance(self.kind, ScalarKind) and not isinstance(self.kind, Either):
                ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}")
                return BAD
        return self.kind.read(node, path, ctx)

    def schema(self, defs: Schema) -> Schema:
        return {"anyOf": [{"const": "none"}, self.kind.schema(defs)]}

    def children(self) -> Iterator[tuple[str, Kind]]:
        yield "", self.kind


class Many(Kind):
    """A list; of one item, the item itself may stand for it. The value is a tuple."""

    def __init__(self, item: Kind, *, single: bool = True, empty: bool = False) -> None:
        self.item = item
        self._single = single
        self._empty = empty
        self.name = f"a list of {item.name}" if not single else f"{item.name}, or a list"
        self.unit, self.range = item.unit, item.range

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not isinstance(node, document.Sequence):
            if not self._single:
                hint = f"write [{node.text}]" if isinstance(node, Scalar) and node.text else None
                ctx.report(node.place, path, "S103", f"expected a list, got {show(node)}", hint)
                return BAD
            value = self.item.read(node, path, ctx)
            return BAD if value is BAD else (value,)
        if not node.items and not self._empty:
            ctx.report(node.place, path, "S103", f"expected {self.name}, got an empty list")
            return BAD
        values = [self.item.read(item, f"{path}[{i}]", ctx) for i, item in enumerate(node.items)]
        # What is right in a list is looked at further, as in a block.
        sound = tuple(value for value in values if value is not BAD)
        return sound if sound or not values else BAD

    def schema(self, defs: Schema) -> Schema:
        item = self.item.schema(defs)
        several: Schema = {"type": "array", "items": item}
        if not self._empty:
            several["minItems"] = 1
        return {"anyOf": [item, several]} if self._single else several

    def children(self) -> Iterator[tuple[str, Kind]]:
        yield "", self.item


class Either(Kind):
    """One kind for a word or text, another for a list, another for a mapping."""

    def __init__(
        self,
        scalar: Kind | None = None,
        *,
        sequence: Kind | None = None,
        mapping: Kind | None = None,
        name: str | None = None,
    ) -> None:
        self._forms: tuple[tuple[type, Kind | None], ...] = (
            (Scalar, scalar),
            (document.Sequence, sequence),
            (document.Mapping, mapping),
        )
        forms = [kind for _, kind in self._forms if kind is not None]
        self.name = name or ", or ".join(dict.fromkeys(kind.name for kind in forms))
        self.unit = next((kind.unit for kind in forms if kind.unit), "")
        self.range = next((kind.range for kind in forms if kind.range), "")

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not (isinstance(node, Scalar) and node.plain and node.text in _NULL):
            for form, kind in self._forms:
                if kind is not None and isinstance(node, form):
                    return kind.read(node, path, ctx)
        ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}")
        return BAD

    def schema(self, defs: Schema) -> Schema:
        return {"anyOf": [kind.schema(defs) for _, kind in self._forms if kind is not None]}

    def children(self) -> Iterator[tuple[str, Kind]]:
        for _, kind in self._forms:
            if kind is not None:
                yield "", kind


class Table(Kind):
    """A mapping with names of the user's own. The value is a list of (Scalar, value or BAD)."""

    def __init__(
        self, value: Kind, *, key: str, form: str | None = None, placeholder: str = "NAME"
    ) -> None:
        self.value = value
        self.name = f"a mapping, each key {key}"
        self._key = key
        self._form = re.compile(form, re.ASCII) if form else None
        self._pattern = form
        self.placeholder = placeholder

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not isinstance(node, document.Mapping):
            ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}")
            return BAD
        entries = []
        for key, child in node.entries:
            where = f"{path}.{printable(key.text)}"
            sound = False
            if key.plain and key.text.lower() in _OLD_BOOLEANS:
                ctx.report(
                    key.place,
                    where,
                    "S111",
                    f"expected {self._key}, got {key.text} without quotes",
                    f'write "{key.text}" with quotes',
                )
            elif self._form and not self._form.fullmatch(key.text):
                ctx.report(key.place, where, "S107", f"expected {self._key}, got {show(key)}")
            else:
                sound = True
            value = self.value.read(child, where, ctx)
            entries.append((key, value if sound else BAD))
        return entries

    def schema(self, defs: Schema) -> Schema:
        rule: Schema = {"type": "object", "additionalProperties": self.value.schema(defs)}
        if self._pattern:
            rule["propertyNames"] = {"pattern": f"^({self._pattern})$"}
        return rule

    def children(self) -> Iterator[tuple[str, Kind]]:
        yield f".{self.placeholder}", self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of routes.yaml: the row from which everything else about it comes.

    default is written as in the file, empty if there is none; example likewise.
    """

    name: str
    kind: Kind
    doc: str
    default: str = ""
    example: str = ""
    required: bool = False
    since: str = "0.1"


class Values(dict[str, Any]):
    """What a block said: option names to values, with the node that each came from."""

    __slots__ = ("bad", "node", "nodes", "path")

    def __init__(self, node: document.Mapping, path: str) -> None:
        super().__init__()
        self.node = node
        self.path = path
        self.nodes: dict[str, Node] = {}
        self.bad = False  # Something in it was reported; what is right can be looked at further.

    @classmethod
    def empty(cls) -> Values:
        """Return a block that says nothing, for one that could not be read."""
        return cls(document.Mapping([], Place("", 0, 0)), "")

    def place(self, name: str) -> Place:
        """Return where the option's value stands, or the block itself if it was not said."""
        return self.nodes.get(name, self.node).place


# Words that people bring from YAML 1.1 and from other proxies, and the option that they mean.
_OTHER_WORDS: Final = {
    "on": "when",
    "backend": "to",
    "backends": "upstreams",
    "servers": "upstreams",
    "upstream": "to",
    "target": "to",
    "proxy_pass": "to",
    "service": "to",
    "expires": "until",
    "ttl": "cache",
    "weight": "stage",
    "mirror": "stage",
    "shadow": "stage",
    "percent": "stage",
}


@dataclass(slots=True)
class Block(Kind):
    """A mapping with the options of the schema. `see` names another block that documents it."""

    title: str
    doc: str
    options: Sequence[Option]
    see: str = ""
    name: str = "a mapping"
    _by_name: dict[str, Option] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {option.name: option for option in self.options}

    def read(self, node: Node, path: str, ctx: Context) -> Any:
        if not isinstance(node, document.Mapping):
            ctx.report(node.place, path, "S103", f"expected {self.name}, got {show(node)}")
            return BAD
        values = Values(node, path)
        by_name = self._by_name
        for key, child in node.entries:
            where = f"{path}.{key.text}" if path else key.text
            option = by_name.get(key.text)
            if option is None:
                values.bad = True
                ctx.report(
                    key.place, printable(where), "S101", "unknown key", self._suggest(key.text)
                )
                continue
            value = option.kind.read(child, where, ctx)
            if value is BAD:
                values.bad = True
                continue
            values[key.text] = value
            values.nodes[key.text] = child
        for option in self.options:
            if option.required and not any(key.text == option.name for key, _ in node.entries):
                values.bad = True
                example = f"for example {option.name}: {option.example}" if option.example else None
                ctx.report(node.place, path, "S102", f"{option.name} is missing", example)
        return values

    def _suggest(self, key: str) -> str | None:
        if key in ("method", "methods") and "to" in self._by_name:
            return "methods are part of the key: GET,POST /path"
        if key == "use" and "cache" in self._by_name:
            return "presets and defaults do not use presets: one level, no chains"
        meant = _OTHER_WORDS.get(key.lower(), "")
        if meant in self._by_name:
            return f"here it is called {meant}"
        near = did_you_mean(key, self._by_name) if len(key) > 2 else None
        if near is None and len(self._by_name) < 9:
            near = "known keys: " + ", ".join(self._by_name)
        return near

    def schema(self, defs: Schema) -> Schema:
        if self.title not in defs:
            properties = {}
            for option in self.options:
                rule = dict(option.kind.schema(defs))
                rule["description"] = option.doc
                if option.example:
                    rule["examples"] = [option.example]
                properties[option.name] = rule
            block: Schema = {
                "type": "object",
                "description": self.doc,
                "properties": properties,
                "additionalProperties": False,
            }
            required = [option.name for option in self.options if option.required]
            if required:
                block["required"] = required
            defs[self.title] = block
        return {"$ref": f"#/$defs/{self.title}"}

    def children(self) -> Iterator[tuple[str, Kind]]:
        for option in self.options:
            yield f".{option.name}", option.kind


def _env(defs: Schema) -> Schema:
    defs.setdefault(
        "env",
        {
            "type": "string",
            "pattern": f"^{_ENV_PATTERN}$",
            "description": "The value of an environment variable.",
        },
    )
    return {"$ref": "#/$defs/env"}
