# SPDX-License-Identifier: Apache-2.0
"""Say in plain words which rule takes a request, and why the others don't.

Written without the compiled trie, straight from the rules: slower, and the trie's oracle in tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .head import Head

if TYPE_CHECKING:
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
    raise NotImplementedError
