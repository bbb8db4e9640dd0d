# SPDX-License-Identifier: Apache-2.0
"""What became of a route's copies, so that the counts add up.

shadowed = equal + mismatched + failed + dropped + under way

A request that was sampled and then had nothing to compare with (its reader left, its answer was
a 304 or without end) was never shadowed: it counts as skipped, by reason.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Final, Literal

from strangler.migrate.parity import Difference

Skipped = Literal["not_modified", "no_answer", "stream"]
"""Nothing to compare with: a 304 · no whole answer: it failed, or the reader left · without end."""
Dropped = Literal[
    "queue_full", "memory", "too_old", "too_large", "busy", "breaker", "stopped", "shed", "closing"
]
"""Not worth a reader's while: too many wait · too many bytes wait · waited too long · a body that
is too large · no place at the other side · its breaker is open · an operator's stop · the edge is
short itself · the worker ends."""

#: Mismatches that are remembered, and words that are counted apart; the rest are `other`.
KEPT: Final = 20
WORDS: Final = 200
OTHER: Final = "other"

_SECRET_FIELDS: Final = frozenset((b"authorization", b"proxy-authorization", b"x-csrftoken"))
_SECRET_QUERY: Final = re.compile(
    r"((?:^|[?&])[^=&]*(?:token|secret|password|passwd|key|code|sig|session)[^=&]*=)[^&]+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One pair that differed: when (Unix seconds), which request, who answered the reader."""

    at: float
    id: str
    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    answered: str
    copied: str
    word: str
    expected: str
    got: str

    def json(self) -> dict[str, Any]:
        """Return it as the admin listener shows it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {"fields": [list(pair) for pair in self.fields]}


class Ledger:
    """The counts of one route in one worker, since *since* (Unix seconds)."""

    __slots__ = (
        "dropped", "equal", "failed", "mismatches", "samples", "shadowed", "since", "skipped",
        "took",
    )  # fmt: skip

    def __init__(self, since: float) -> None:
        self.since = since
        self.shadowed = 0
        self.equal = 0
        self.mismatches: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.samples: deque[Mismatch] = deque(maxlen=KEPT)
        #: Seconds that the answers of all compared pairs took: the reader's, the copy's.
        self.took = [0.0, 0.0]

    @property
    def pending(self) -> int:
        """Return how many copies are under way."""
        return (
            self.shadowed - self.equal - self.mismatches.total() - self.failed.total()
            - self.dropped.total()
        )  # fmt: skip

    def compared(self, expected: float, got: float) -> None:
        """Count the time that a pair's two answers took, in seconds."""
        self.took[0] += expected
        self.took[1] += got

    def mismatched(self, mismatch: Mismatch) -> bool:
        """Count a pair that differed and remember it; tell whether its word is new."""
        word = mismatch.word
        new = word not in self.mismatches
        if new and len(self.mismatches) >= WORDS:
            word, new = OTHER, OTHER not in self.mismatches
        self.mismatches[word] += 1
        self.samples.append(mismatch)
        return new

    def json(self, *, samples: bool = False) -> dict[str, Any]:
        """Return all counts; with *samples* the last mismatches too, the newest first."""
        compared = self.equal + self.mismatches.total()
        told: dict[str, Any] = {
            "since": self.since,
            "shadowed": self.shadowed,
            "equal": self.equal,
            "mismatched": self.mismatches.total(),
            "failed": self.failed.total(),
            "dropped": self.dropped.total(),
            "pending": self.pending,
            "skipped": self.skipped.total(),
            "mismatches": dict(self.mismatches.most_common()),
            "failures": dict(self.failed),
            "drops": dict(self.dropped),
            "skips": dict(self.skipped),
            "took": [round(seconds, 6) for seconds in self.took],
            "compared": compared,
        }
        if samples:
            told["samples"] = [one.json() for one in reversed(self.samples)]
        return told


def difference_of(
    difference: Difference,
    *,
    at: float,
    id_: str,
    method: bytes,
    target: bytes,
    fields: list[tuple[bytes, bytes]],
    answered: str,
    copied: str,
) -> Mismatch:
    """Return what is remembered of *difference*, with the secrets of its request masked."""
    return Mismatch(
        at=at,
        id=id_,
        method=method.decode("latin-1"),
        target=_SECRET_QUERY.sub(r"\1***", target.decode("latin-1"))[:500],
        fields=tuple([masked(name, value) for name, value in fields[:40]]),
        answered=answered,
        copied=copied,
        word=difference.word,
        expected=difference.expected,
        got=difference.got,
    )


def masked(name: bytes, value: bytes) -> tuple[str, str]:
    """Return a request's field as it may be shown: cookies by name, credentials by scheme."""
    lower = name.lower()
    text = value.decode("latin-1")
    if lower == b"cookie":
        text = "; ".join(f"{one.partition('=')[0].strip()}=***" for one in text.split(";"))
    elif lower in _SECRET_FIELDS or b"token" in lower or b"key" in lower or b"secret" in lower:
        scheme, space, _ = text.partition(" ")
        text = f"{scheme} ***" if space else "***"
    elif lower in (b"referer", b"referrer"):
        text = _SECRET_QUERY.sub(r"\1***", text)
    return name.decode("latin-1"), text[:200]
