# SPDX-License-Identifier: Apache-2.0
"""Choose the endpoint of an attempt: the one with the least to do for its weight.

Where there are many, two drawn by lot are compared instead of all: nearly as good, and it spares
the newcomer, who would be the least busy of all for everyone at once (Mitzenmacher, "The Power of
Two Choices in Randomized Load Balancing", 2001).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol, TypeVar

#: More candidates than these are not all looked at.
MANY: Final = 8


class Weighted(Protocol):
    """What `ejection.Standing` is, as far as it matters here.

    ``weight``: its part of the load, (0, 1]; 1 but in a slow start.
    """

    weight: float


class Candidate(Protocol):
    """An endpoint, as far as it matters here; ``inflight``: attempts that run or connect."""

    inflight: int

    @property
    def standing(self) -> Weighted:
        """Return what is known of its health; an attribute will do."""


Chosen = TypeVar("Chosen", bound=Candidate)


def choose(
    candidates: Sequence[Chosen], tried: Collection[Chosen], one: float, other: float
) -> Chosen | None:
    """Return the candidate with the least (inflight + 1) / weight; None where there is none.

    *tried* are passed over while another is there: a retry goes elsewhere. *one* and *other* are
    random numbers in [0, 1): of equals the first decides, of many candidates they draw the two.
    """
    if tried:
        candidates = [each for each in candidates if each not in tried] or candidates
    count = len(candidates)
    if count <= 1:
        return candidates[0] if count else None
    start = int(one * count)
    best = candidates[start]
    if count > MANY:
        second = candidates[(start + 1 + int(other * (count - 1))) % count]
        return second if _load(second) < _load(best) else best
    least = _load(best)
    if least == 1.0:
        return best  # idle, with its whole weight: nobody has less to do
    for candidate in candidates:
        load = (candidate.inflight + 1) / candidate.standing.weight
        if load < least:
            best, least = candidate, load
    return best


def _load(candidate: Candidate) -> float:
    return (candidate.inflight + 1) / candidate.standing.weight
