# SPDX-License-Identifier: Apache-2.0
"""Say in plain words which rule takes a request, and why the others don't.

Written without the compiled trie, straight from the rules: slower, and the trie's oracle in tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from .head import Head
from .pattern import REST, Key, Pattern, Segment
from .reading import AmbiguousPath, decode, show

if TYPE_CHECKING:
    from .rule import Rule
    from .table import Table

Part = Literal["path", "host", "method", "header", "cookie", "query"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that the request fits, or nearly.

    `failed` is the first part that didn't fit (None: all did), `why` the same in words.
    """

    key: str
    place: str | None
    matched: bool
    failed: Part | None
    why: str
    value: object = field(repr=False, compare=False, default=None)

    def as_dict(self) -> dict[str, Any]:
        """The candidate for JSON, without its value."""
        return {
            "key": self.key,
            "place": self.place,
            "matched": self.matched,
            "failed": self.failed,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known about one request's way through a table.

    `reading` is the path as it was matched. `candidates` come in order of specificity, those whose
    path doesn't fit but nearly does (slash at the end, case) last. `ambiguous` says why the path
    is refused, or is None; then there is no winner.
    """

    method: str
    host: str
    path: str
    reading: str
    candidates: tuple[Candidate, ...]
    winner: Candidate | None
    params: dict[str, str]
    reason: str
    ambiguous: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The explanation for JSON."""
        return {
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "reading": self.reading,
            "candidates": [candidate.as_dict() for candidate in self.candidates],
            "winner": self.winner.as_dict() if self.winner else None,
            "params": dict(self.params),
            "reason": self.reason,
            "ambiguous": self.ambiguous,
        }


def explain(table: Table[Any], head: Head) -> Explanation:
    """Explain the way of a request through `table`."""
    path, reading = head.path, decode(head.path)
    fitting = [rule for rule in table.rules if rule.key.pattern.fits(reading)]
    fitting.sort(key=lambda rule: _rank_for(rule, head.method))
    judged = [(rule, _judge(rule, head)) for rule in fitting]
    taking = [(rule, candidate) for rule, candidate in judged if candidate.matched]
    ambiguous = None
    try:
        table.match(head)
    except AmbiguousPath as refusal:
        ambiguous = refusal.detail
    winner = None
    if taking and ambiguous is None:
        winner = replace(taking[0][1], why="takes the request")
        judged = [(rule, winner if rule is taking[0][0] else one) for rule, one in judged]
    if ambiguous is not None:
        reason = f"refused with 400: {ambiguous}"
    elif taking:
        reason = _reason(taking[0][0], taking[1][0] if len(taking) > 1 else None, head.method)
    elif judged:
        reason = f"no route: {len(judged)} fit the path, but not the rest of the request"
    else:
        reason = "no route's path fits"
    params = taking[0][0].key.pattern.params(path) if winner else {}
    return Explanation(
        method=show(head.method),
        host=show(head.host),
        path=show(path),
        reading=show(reading),
        candidates=(*(candidate for _, candidate in judged), *_near(table, reading)),
        winner=winner,
        params={name: show(value) for name, value in params.items()},
        reason=reason,
        ambiguous=ambiguous,
    )


def _method_rank(rule: Rule[Any], method: bytes) -> int:
    """Named (0), following GET (1), any (2)."""
    if not rule.key.methods:
        return 2
    return 1 if method not in rule.key.methods and serves(rule.key, method) else 0


def serves(key: Key, method: bytes) -> bool:
    """Tell whether a rule of this key serves `method`: named, any, or HEAD or OPTIONS of GET."""
    methods = key.methods
    return (
        not methods or method in methods or (b"GET" in methods and method in (b"HEAD", b"OPTIONS"))
    )


def _rank_for(rule: Rule[Any], method: bytes) -> tuple[Any, ...]:
    path, host, _, conditions = rule.rank
    return path, host, _method_rank(rule, method), conditions, str(rule)


def _judge(rule: Rule[Any], head: Head) -> Candidate:
    """Say whether a rule whose path fits could take the request."""
    failed: Part | None = None
    why = "fits, too"
    key = rule.key
    unmet = rule.conditions.failing(head)
    if key.host is not None and not _of_host(key.host, head.host.removesuffix(b".")):
        failed, why = "host", f"is for host {show(key.host)}, not {show(head.host) or 'none'}"
    elif not serves(key, head.method):
        named = b", ".join(sorted(key.methods))
        failed, why = "method", f"is for {show(named)}, not {show(head.method)}"
    elif unmet is not None:
        value = unmet.value(head)
        got = "there is none" if value is None else f"got {show(value)!r}"
        failed = unmet.kind
        why = f"wants {unmet.kind} {unmet.name} to match {unmet.pattern!r}; {got}"
    return _candidate(rule, failed, why)


def _of_host(wanted: bytes, host: bytes) -> bool:
    return host.endswith(wanted[1:]) if wanted.startswith(b"*.") else host == wanted


def _candidate(rule: Rule[Any], failed: Part | None, why: str) -> Candidate:
    place = str(rule.place) if rule.place is not None else None
    return Candidate(str(rule), place, failed is None, failed, why, rule.value)


def _near(table: Table[Any], reading: bytes) -> Iterator[Candidate]:
    """Find the rules that a reader of the file may have expected to fit."""
    if reading.endswith(b"/"):
        turned, slash = reading[:-1], "without the slash at its end"
    else:
        turned, slash = reading + b"/", "with a slash at its end"
    for rule in table.rules:
        pattern = rule.key.pattern
        if pattern.fits(reading):
            continue
        if turned and pattern.fits(turned):
            yield _candidate(rule, "path", f"would fit the path {slash}")
        elif _lower(pattern).fits(reading.lower()):
            yield _candidate(rule, "path", "would fit the path in other letter case")


def _lower(pattern: Pattern) -> Pattern:
    segments = (Segment(tuple(part.lower() for part in s.parts), s.names) for s in pattern.segments)
    return Pattern(tuple(segments), pattern.rest)


def _reason(winner: Rule[Any], beaten: Rule[Any] | None, method: bytes) -> str:
    """Say why the winner is before the next rule that would have taken the request."""
    if beaten is None:
        return "the only route that fits"
    return f"more specific than {beaten}: {_difference(winner, beaten, method)}"


def _difference(winner: Rule[Any], beaten: Rule[Any], method: bytes) -> str:
    a, b = winner.key.pattern, beaten.key.pattern
    if a.shape != b.shape:
        for number, (x, y) in enumerate(zip(_parts(a), _parts(b), strict=False), start=1):
            if x[1] != y[1]:
                return f"segment {number} is {x[0]}, the other's {y[0]}"
    if winner.rank[1] != beaten.rank[1] or winner.key.host != beaten.key.host:
        if beaten.key.host is None:
            return "it names the host"
        return f"its host {show(winner.key.host or b'')} is closer than {show(beaten.key.host)}"
    if _method_rank(winner, method) != _method_rank(beaten, method):
        how = "names" if method in winner.key.methods else "serves"
        return f"it {how} {show(method)}"
    return f"it has {len(winner.conditions)} condition(s), the other {len(beaten.conditions)}"


def _parts(pattern: Pattern) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    for segment in pattern.segments:
        if segment.is_literal:
            kind = f"the literal {segment}" if segment.parts[0] else "the slash at the end"
        elif segment.is_capture:
            kind = f"{segment}, which takes any"
        else:
            kind = f"{segment}, a literal with a capture"
        yield kind, segment.parts
    if pattern.rest:
        yield "**", (REST.encode(), b"", b"", b"")
