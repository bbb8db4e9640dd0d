# SPDX-License-Identifier: Apache-2.0
"""The immutable table that rules are compiled to.

A table is a trie of segments. A node is reached by one way only, so a look-up visits a node at
most once; a key without captures is found in one dictionary before that. Hosts, methods and
conditions are looked at only where a node's rules have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Any, Final, Generic, TypeVar

from .explain import Explanation, explain
from .head import Head
from .pattern import Pattern, Segment
from .reading import AmbiguousPath, decode, has_dot_segments, resolved, show, with_slashes
from .rule import Rule, Tie, TiedRules

V = TypeVar("V")

_FOLLOW_GET: Final = (b"HEAD", b"OPTIONS")


class Match(Generic[V]):
    """What a request got: the rule's `value`, and `params`, the captures. Immutable."""

    __slots__ = ("_path", "_pattern", "value")

    def __init__(self, value: V, pattern: Pattern, path: bytes) -> None:
        self.value: Final = value
        self._pattern = pattern
        self._path = path

    @property
    def params(self) -> dict[str, bytes]:
        """The captures by name, in raw bytes, `**` by REST. Found anew at each call: few ask."""
        return self._pattern.params(self._path)

    def __repr__(self) -> str:
        return f"Match({self.value!r}, {self.params!r})"


class _Entry(Generic[V]):
    """A rule as a node holds it."""

    __slots__ = ("conditions", "match", "pattern", "rank", "rule", "value")

    def __init__(self, rule: Rule[V]) -> None:
        self.rule = rule
        self.rank = rule.rank
        self.value = rule.value
        self.conditions = rule.conditions
        self.pattern = rule.key.pattern
        self.match = Match(rule.value, self.pattern, b"")


_Group = tuple[dict[bytes, tuple[_Entry[V], ...]], tuple[_Entry[V], ...]]


class _Leaf(Generic[V]):
    """The rules of one pattern: by host, then by method, then by conditions."""

    __slots__ = ("any_host", "below", "hosts", "only")

    def __init__(self, entries: Sequence[_Entry[V]]) -> None:
        by_host: dict[bytes | None, list[_Entry[V]]] = {}
        for entry in entries:
            by_host.setdefault(entry.rule.key.host, []).append(entry)
        general = by_host.pop(None, None)
        self.any_host: _Group[V] | None = _group(general) if general else None
        self.hosts: dict[bytes, _Group[V]] = {}
        self.below: dict[bytes, _Group[V]] = {}
        for host, own in by_host.items():
            assert host is not None
            if host.startswith(b"*."):
                self.below[host[2:]] = _group(own)
            else:
                self.hosts[host] = _group(own)
        first = entries[0]
        key = first.rule.key
        plain = key.host is None and not key.methods and not first.conditions
        self.only = first if plain and len(entries) == 1 else None

    def pick(self, head: Head) -> _Entry[V] | None:
        """The most specific rule whose host, method and conditions hold."""
        if self.only is not None:
            return self.only
        if self.hosts or self.below:
            for group in self._hosted(head.host.removesuffix(b".")):
                found = _pick(group, head)
                if found is not None:
                    return found
        return _pick(self.any_host, head) if self.any_host is not None else None

    def _hosted(self, host: bytes) -> Iterator[_Group[V]]:
        if host in self.hosts:
            yield self.hosts[host]
        while self.below and b"." in host:
            host = host.partition(b".")[2]
            if host in self.below:
                yield self.below[host]


def _pick(group: _Group[V], head: Head) -> _Entry[V] | None:
    by_method, others = group
    for entry in by_method.get(head.method, others):
        if not entry.conditions or entry.conditions.holds(head):
            return entry
    return None


def _group(entries: Sequence[_Entry[V]]) -> _Group[V]:
    def naming(method: bytes) -> list[_Entry[V]]:
        return [entry for entry in entries if method in entry.rule.key.methods]

    others = [entry for entry in entries if not entry.rule.key.methods]
    by_method = {}
    named = {method for entry in entries for method in entry.rule.key.methods}
    if b"GET" in named:
        named.update(_FOLLOW_GET)
    for method in named:
        fitting = naming(method)
        if method in _FOLLOW_GET:
            fitting += [entry for entry in naming(b"GET") if entry not in fitting]
        by_method[method] = (*fitting, *others)
    return by_method, tuple(others)


class _Node(Generic[V]):
    """What may follow after some segments of a path."""

    __slots__ = ("capture", "leaf", "literals", "partials", "rest")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node[V]] = {}
        self.partials: tuple[_Partial[V], ...] = ()
        self.capture: _Node[V] | None = None
        self.rest: _Leaf[V] | None = None
        self.leaf: _Leaf[V] | None = None

    def find(self, segments: Sequence[bytes], at: int, end: int, head: Head) -> _Entry[V] | None:
        """Find the most specific rule for the decoded segments from `at` on."""
        node = self
        passed: Any = None  # (leaf of a ** that was passed, those before it)
        while at != end:
            segment = segments[at]
            at += 1
            if node.rest is not None:
                passed = (node.rest, passed)
            # Of the ways on, all but the last are tried by recursion, the last by the loop.
            way = node.literals.get(segment)
            if segment:
                for first, last, longer, pattern, child in node.partials:
                    if (
                        len(segment) > longer
                        and segment.endswith(last)
                        and (not first or segment.startswith(first))
                        and (pattern is None or pattern.spans(segment) is not None)
                    ):
                        if way is not None:
                            found = way.find(segments, at, end, head)
                            if found is not None:
                                return found
                        way = child
                if node.capture is not None and (at != end or node.capture.leaf is not None):
                    if way is not None:
                        found = way.find(segments, at, end, head)
                        if found is not None:
                            return found
                    way = node.capture
            if way is None:
                break
            node = way
        else:
            leaf = node.leaf
            if leaf is not None:
                found = leaf.only or leaf.pick(head)
                if found is not None:
                    return found
        while passed is not None:
            rest: _Leaf[V] = passed[0]
            found = rest.only or rest.pick(head)
            if found is not None:
                return found
            passed = passed[1]
        return None


# Start, end and their length together; the segment, if it has more captures than one; what follows.
_Partial = tuple[bytes, bytes, int, Segment | None, _Node[V]]


class Table(Generic[V]):
    """Compiled rules; immutable. Two tables are equal if their rules are, in whatever order given.

    `rules` holds them with the more specific before the less.
    """

    __slots__ = ("_depth", "_literals", "_root", "rules")

    def __init__(self, rules: Sequence[Rule[V]]) -> None:
        """Build on rules without ties, sorted; `compile_table` is the way to one."""
        self.rules: Final = tuple(rules)
        entries = [_Entry(rule) for rule in self.rules]
        self._root: Final = _node(entries, 0)
        self._depth: Final = max((len(e.pattern.segments) for e in entries), default=0) + 1
        # A path that equals a literal key is canonical and has no second reading, as long as
        # the key has no % that would have to be an escape in the path.
        literals: dict[bytes, list[_Entry[V]]] = {}
        for entry in entries:
            path = entry.pattern.literal
            if path is not None and b"%" not in path:
                literals.setdefault(path, []).append(entry)
        self._literals: Final = {path: _Leaf(own) for path, own in literals.items()}

    def __len__(self) -> int:
        return len(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self.rules == other.rules

    __hash__ = None  # type: ignore[assignment]

    def match(self, head: Head) -> Match[V] | None:
        """Find the route of a request, or None; raise AmbiguousPath."""
        path = head.path
        leaf = self._literals.get(path)
        if leaf is not None:
            entry = leaf.only or leaf.pick(head)
            if entry is not None:
                return entry.match  # the same for all: there are no captures
        # Bytes as numbers, and find(): to ask whether a string is in bytes costs ten times as much.
        if 0x25 in path or 0x5C in path or (0x2E in path and path.find(b"/.") >= 0):
            return self._match_read(path, head)
        # No further than any key goes: a path of a thousand slashes costs what a short one does.
        segments = path.split(b"/", self._depth)
        if segments[0]:
            return self._asterisk(path, head)
        entry = self._root.find(segments, 1, len(segments), head)
        return Match(entry.value, entry.pattern, path) if entry is not None else None

    def explain(self, head: Head) -> Explanation:
        """Say which rules were candidates, which won, and why; never raises AmbiguousPath."""
        return explain(self, head)

    def _asterisk(self, path: bytes, head: Head) -> Match[V] | None:
        leaf = self._root.rest
        entry = leaf.pick(head) if path == b"*" and leaf is not None else None
        return Match(entry.value, entry.pattern, path) if entry is not None else None

    def _find(self, reading: bytes, head: Head) -> _Entry[V] | None:
        segments = reading.split(b"/", self._depth)
        return self._root.find(segments, 1, len(segments), head) if not segments[0] else None

    def _match_read(self, path: bytes, head: Head) -> Match[V] | None:
        """Match a path that may have several readings."""
        reading = decode(path)
        entry = self._find(reading, head)
        slashed = with_slashes(reading)
        if slashed != reading:
            other = self._find(slashed, head)
            if other is not None and (entry is None or other.rank < entry.rank):
                raise _ambiguous(path, slashed, entry, other)
        for dotted in {reading, slashed}:
            if has_dot_segments(dotted):
                for plain in resolved(dotted):
                    other = self._find(plain, head)
                    if other is not entry:
                        raise _ambiguous(path, plain, entry, other)
        return Match(entry.value, entry.pattern, path) if entry is not None else None


def _ambiguous(
    path: bytes, reading: bytes, entry: _Entry[V] | None, other: _Entry[V] | None
) -> AmbiguousPath:
    goes, would = (f"route {e.rule}" if e is not None else "no route" for e in (entry, other))
    return AmbiguousPath(
        path, f"path: {show(path)} goes to {goes}, but read as {show(reading)} to {would}"
    )


def _node(entries: Sequence[_Entry[V]], depth: int) -> _Node[V]:
    """Build the node that is reached after `depth` segments which all the entries share."""
    node: _Node[V] = _Node()
    children: dict[tuple[bytes, ...], list[_Entry[V]]] = {}
    rest, leaf = [], []
    for entry in entries:
        segments = entry.pattern.segments
        if len(segments) > depth:
            children.setdefault(segments[depth].parts, []).append(entry)
        elif entry.pattern.rest:
            rest.append(entry)
        else:
            leaf.append(entry)
    partials: list[tuple[Segment, _Node[V]]] = []
    for own in children.values():
        segment = own[0].pattern.segments[depth]
        child = _node(own, depth + 1)
        if segment.is_literal:
            node.literals[segment.parts[0]] = child
        elif segment.is_capture:
            node.capture = child
        else:
            partials.append((segment, child))
    partials.sort(key=lambda item: (item[0].rank, item[0].parts))
    node.partials = tuple(
        (
            segment.parts[0],
            segment.parts[-1],
            len(segment.parts[0]) + len(segment.parts[-1]),
            segment if len(segment.names) > 1 else None,
            child,
        )
        for segment, child in partials
    )
    node.rest = _Leaf(rest) if rest else None
    node.leaf = _Leaf(leaf) if leaf else None
    return node


def compile_table(rules: Iterable[Rule[V]]) -> Table[V]:
    """Compile `rules`, whose order has no meaning, to a table; raise TiedRules with every tie."""
    ordered = sorted(
        rules,
        key=lambda rule: (
            rule.rank,
            rule.key.pattern.shape,
            rule.key.host or b"",
            sorted(rule.key.methods),
            str(rule),
            str(rule.place or ""),
        ),
    )
    ties = list(_ties(ordered))
    if ties:
        raise TiedRules(ties)
    return Table(ordered)


def _ties(rules: Sequence[Rule[V]]) -> Iterator[Tie[V]]:
    same: dict[object, list[Rule[V]]] = {}
    # Different segments of equal rank that one text can fit need two captures and the same ends.
    alike: dict[object, dict[object, list[Rule[V]]]] = {}
    for rule in rules:
        shape = rule.key.pattern.shape
        same.setdefault((shape, rule.key.host), []).append(rule)
        for index, segment in enumerate(rule.key.pattern.segments):
            if len(segment.names) > 1:
                place = (shape[0][:index], segment.rank, segment.parts[0], segment.parts[-1])
                alike.setdefault(place, {}).setdefault(segment.parts, []).append(rule)
    for group in same.values():
        for a, b in combinations(group, 2):
            shared = sorted(a.key.methods & b.key.methods)
            if (
                (shared or a.key.methods == b.key.methods)
                and len(a.conditions) == len(b.conditions)
                and not a.conditions.excludes(b.conditions)
            ):
                yield Tie(a, b, _reason(a, b, shared))
    for groups in alike.values():
        for one, other in combinations(groups.values(), 2):
            for a, b in product(one, other):
                if a.key.pattern.overlaps(b.key.pattern) and _meet(a, b):
                    reason = "one path can fit both, and their captures stand on equal terms"
                    yield Tie(a, b, reason)


def _reason(a: Rule[V], b: Rule[V], shared: Sequence[bytes]) -> str:
    what = "the same path"
    if a.key.host is not None:
        what += f" of host {show(a.key.host)}"
    if shared:
        what += f", both for {b', '.join(shared).decode()}"
    if a.conditions:
        what += f", {len(a.conditions)} condition(s) each, which one request could meet together"
    return what


def _meet(a: Rule[V], b: Rule[V]) -> bool:
    """Tell whether one request can fit hosts, methods and conditions of both."""
    hosts = (a.key.host, b.key.host)
    if None not in hosts and hosts[0] != hosts[1]:
        ends = [host.removeprefix(b"*") for host in hosts if host is not None]
        wild = [host for host in hosts if host is not None and host.startswith(b"*.")]
        if not wild or not (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])):
            return False
    methods = [_served(rule.key.methods) for rule in (a, b)]
    if methods[0] and methods[1] and not methods[0] & methods[1]:
        return False
    return not a.conditions.excludes(b.conditions)


def _served(methods: frozenset[bytes]) -> frozenset[bytes]:
    return methods.union(_FOLLOW_GET) if b"GET" in methods else methods
