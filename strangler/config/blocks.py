# SPDX-License-Identifier: Apache-2.0
"""The kinds with other kinds inside: lists, alternatives, tables, and blocks of named options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strangler.config import document
from strangler.config.diagnostics import did_you_mean
from strangler.config.document import Node, Scalar
from strangler.config.kinds import (
    BAD,
    FALSE,
    INTEGER,
    NULL,
    OLD_BOOLEANS,
    TRUE,
    Context,
    Kind,
    ScalarKind,
    Schema,
    printable,
    show,
)
from strangler.config.snapshot import Place

_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)


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
        if text in NULL:
            return None
        if text in TRUE or text in FALSE:
            return text in TRUE
        if INTEGER.fullmatch(text):
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
        if not (isinstance(node, Scalar) and node.plain and node.text in NULL):
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
            if key.plain and key.text.lower() in OLD_BOOLEANS:
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
        if key in ("tier", "tiers") and "cache" in self._by_name:
            return "here write cache: {edge: 10s}; sizes stand under tiers, at the top of the file"
        if key in ("tier", "tiers") and "archive" in self._by_name:
            return "name the tiers here: cache: {edge: 10s, shared: 5m}"
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
