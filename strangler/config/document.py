# SPDX-License-Identifier: Apache-2.0
"""Strict YAML: text to nodes that know their place, or diagnostics. Never anything else.

Read from libyaml's events, not by a constructor, so nothing is guessed: a scalar stays the text
that was written, and its option decides what it means. Refused: duplicate keys, tags, anchors,
aliases, merge keys, several documents, tabs as indentation, keys that are not scalars, more than
4 MB, more than 32 levels. Anchors are refused because a routes.yaml is edited by five teams and
patched by machines: what a line means must be seen at that line; `presets` and `use` say a thing
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from strangler.config.diagnostics import Diagnostic
from strangler.config.snapshot import Place

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 32

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Scalar:
    """A text as written; plain tells that no quotes stood around it."""

    text: str
    plain: bool
    place: Place


@dataclass(slots=True)
class Sequence:
    """A list."""

    items: list[Node]
    place: Place


@dataclass(slots=True)
class Mapping:
    """Keys in order, each with its own place; a key that stood twice is kept once."""

    entries: list[tuple[Scalar, Node]]
    place: Place


Node = Scalar | Sequence | Mapping


def read_document(raw: bytes, name: str) -> tuple[Node | None, list[Diagnostic]]:
    """Return the one document of the file called *name*, and what is wrong with it.

    The node is None where nothing usable was found; with it, diagnostics are duplicate keys only.
    """
    if len(raw) > MAX_BYTES:
        problem = f"expected at most {MAX_BYTES >> 20} MB, got {len(raw) / (1 << 20):.1f} MB"
        return None, [_problem(Place(name, 1, 1), "S002", problem)]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        place = Place(name, before.count(b"\n") + 1, column)
        return None, [_problem(place, "S003", f"expected UTF-8, got byte {raw[error.start]:#04x}")]
    composer = _Composer(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            composer.take(event)
    except _Refused as refused:
        return None, [*composer.duplicates, refused.diagnostic]
    except yaml.MarkedYAMLError as error:
        return None, [*composer.duplicates, _syntax_error(error, text, name)]
    except yaml.reader.ReaderError as error:
        before_it = text[: error.position] if isinstance(error.position, int) else ""
        place = Place(
            name, before_it.count("\n") + 1, len(before_it) - (before_it.rfind("\n") + 1) + 1
        )
        return None, [_problem(place, "S004", "a control character that YAML does not allow")]
    except (yaml.YAMLError, ValueError) as error:
        return None, [_problem(Place(name, 1, 1), "S004", f"not YAML: {error}")]
    if composer.root is None:
        return None, [_problem(Place(name, 1, 1), "S008", "the file is empty", _BEGIN)]
    return composer.root, composer.duplicates


_BEGIN: Final = "begin with `version: 1`"
_PRESETS: Final = "say it once under `presets` and name it with `use`"


class _Refused(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


class _Composer:
    """Puts events together; a stack instead of recursion, so that depth cannot hurt."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Node | None = None
        self.duplicates: list[Diagnostic] = []
        self._documents = 0
        self._stack: list[Sequence | Mapping] = []
        # For each open mapping: the key that waits for its value, and the keys seen so far.
        self._keys: list[tuple[Scalar | None, dict[str, Scalar]]] = []

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            mark = event.start_mark
            self._check(event, mark)
            if event.tag is not None:
                self._refuse(mark, "S009", f"tag {event.tag[:40]!r} is not allowed")
            place = Place(self.name, mark.line + 1, mark.column + 1)
            self._add(Scalar(event.value, event.style in (None, ""), place))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event, kind is yaml.MappingStartEvent)
        elif kind is yaml.MappingEndEvent:
            self._stack.pop()
            self._keys.pop()
        elif kind is yaml.SequenceEndEvent:
            self._stack.pop()
        elif kind is yaml.AliasEvent:
            self._refuse(event.start_mark, "S010", "an alias is not allowed", _PRESETS)
        elif kind is yaml.DocumentStartEvent:
            self._documents += 1
            if self._documents > 1:
                self._refuse(event.start_mark, "S007", "a second document begins here")

    def _open(self, event: Any, mapping: bool) -> None:
        mark = event.start_mark
        self._check(event, mark)
        if event.tag is not None:
            self._refuse(mark, "S009", f"tag {event.tag[:40]!r} is not allowed")
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(mark, "S011", f"expected at most {MAX_DEPTH} levels")
        place = Place(self.name, mark.line + 1, mark.column + 1)
        node: Sequence | Mapping = Mapping([], place) if mapping else Sequence([], place)
        self._add(node)
        self._stack.append(node)
        if mapping:
            self._keys.append((None, {}))

    def _check(self, event: Any, mark: Any) -> None:
        if event.anchor is not None:
            self._refuse(mark, "S010", f"anchor &{event.anchor[:40]} is not allowed", _PRESETS)

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key, seen = self._keys[-1]
        if key is not None:
            self._keys[-1] = (None, seen)
            if seen[key.text] is key:
                parent.entries.append((key, node))
            return
        if not isinstance(node, Scalar):
            raise _Refused(_problem(node.place, "S004", "a key must be one word or text"))
        if node.plain and node.text == "<<":
            raise _Refused(
                _problem(node.place, "S010", "a merge key `<<` is not allowed", _PRESETS)
            )
        first = seen.setdefault(node.text, node)
        if first is not node:
            self.duplicates.append(
                _problem(
                    node.place,
                    "S006",
                    f"key {node.text[:80]!r} stands twice, first in line {first.place.line}",
                )
            )
        self._keys[-1] = (node, seen)

    def _refuse(self, mark: Any, code: str, message: str, hint: str | None = None) -> None:
        place = Place(self.name, mark.line + 1, mark.column + 1)
        raise _Refused(_problem(place, code, message, hint))


def _problem(place: Place, code: str, message: str, hint: str | None = None) -> Diagnostic:
    return Diagnostic(place=place, code=code, message=message, hint=hint)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, name: str) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if error.problem == "exceeded maximum nesting depth":
        # libyaml has a limit of its own, and may reach it before it tells us of our 33rd level.
        place = Place(name, line + 1, column + 1)
        return _problem(place, "S011", f"expected at most {MAX_DEPTH} levels")
    lines = text.splitlines()
    # libyaml notices a tab at its line or, in a multi-line scalar, only at the next one.
    for number in (line, line - 1):
        if 0 <= number < len(lines):
            indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
            if "\t" in indent:
                place = Place(name, number + 1, indent.index("\t") + 1)
                return _problem(place, "S005", "a tab indents this line", "indent with spaces")
    what = error.problem or "not YAML"
    if error.context and error.context_mark and error.context_mark.line != line:
        what += f" ({error.context} that begins in line {error.context_mark.line + 1})"
    return _problem(
        Place(name, line + 1, column + 1), "S004", what, _syntax_hint(what, lines, line)
    )


def _syntax_hint(what: str, lines: list[str], line: int) -> str | None:
    here = lines[line].strip() if 0 <= line < len(lines) else ""
    if ": [::" in here or ": [:" in here or here.startswith("- [:"):
        return 'put an IPv6 address in quotes: "[::1]:8000"'
    if "**" in here and here.startswith("*"):
        return 'put a key that begins with * in quotes: "*.example.com/**"'
    if what.startswith("found character that cannot start"):
        return "put a value that begins with @, % or ` in quotes"
    return None
