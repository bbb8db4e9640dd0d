# SPDX-License-Identifier: Apache-2.0
"""When a first attempt is slow enough that a second is started beside it.

The answer that begins first is the one used; the other attempt is cancelled. After Dean and
Barroso, "The Tail at Scale" (CACM 56/2, 2013): a second request after the 95th percentile costs
about 5 % of load and cuts the tail. Both attempts run, so only what may be repeated is hedged, and
a hedge comes out of the retry budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Final, Literal

from .budget import Budget
from .policy import Hedge, Retry
from .retry import WORTHWHILE, repeatable

#: Shortest and longest latency that can be told apart, in seconds.
SHORTEST: Final = 0.0001
LONGEST: Final = 100.0
#: Each bucket is this much wider than the one before.
GROWTH: Final = 1.1

_PER_LOG: Final = 1.0 / log(GROWTH)
_OFFSET: Final = 1.0 - log(SHORTEST) * _PER_LOG
_BUCKETS: Final = int(log(LONGEST) * _PER_LOG + _OFFSET) + 1
_MIDDLE: Final = GROWTH**0.5

Reason = Literal["hedge", "off", "not_repeatable", "replay_over_cap", "deadline", "budget"]


class Latency:
    """A streaming estimate of an upstream's latency percentiles, that forgets.

    A histogram of buckets that grow by a tenth: a percentile is right within 5 % of the value
    (half a bucket, sqrt(1.1)) between 0.1 ms and 100 s, for the answers counted; what is beyond
    counts as the end. Every *half_life* seconds all counts are halved, so that the last two
    half-lives make three quarters of what is seen. Below *least* answers there is no estimate.
    """

    __slots__ = ("_counts", "_half_life", "_known", "_known_at", "_next", "_weight", "least")

    def __init__(self, *, half_life: float = 10.0, least: float = 20.0) -> None:
        self._counts = [0.0] * _BUCKETS
        self._half_life = half_life
        self._next = -inf
        self._weight = 0.0
        self._known_at = 0.0
        self._known: dict[int, float] = {}
        self.least = least

    def observe(self, seconds: float, now: float) -> None:
        """Count an answer that took *seconds* to begin."""
        if now >= self._next:
            self._forget(now)
        index = int(log(seconds) * _PER_LOG + _OFFSET) if seconds > SHORTEST else 0
        self._counts[index if index < _BUCKETS else -1] += 1.0
        self._weight += 1.0

    def percentile(self, percent: int, now: float) -> float | None:
        """Return the latency, in seconds, below which *percent* (1-100) of answers begin.

        None where too few were seen of late. Kept, and reckoned anew after a hundred answers.
        """
        if now >= self._next:
            self._forget(now)
        if self._weight < self.least:
            return None
        if self._weight >= self._known_at + 100.0:
            self._known_at = self._weight
            self._known.clear()
        known = self._known.get(percent)
        if known is None:
            known = self._known[percent] = self._reckon(percent)
        return known

    def _reckon(self, percent: int) -> float:
        # Halving is exact; the margin is for the sum's rounding, and keeps 100 % inside.
        wanted = self._weight * percent / 100.0 * (1.0 - 1e-9)
        counts = self._counts
        index, seen = 0, counts[0]
        while seen < wanted and index < _BUCKETS - 1:
            index += 1
            seen += counts[index]
        return SHORTEST * GROWTH ** (index - 1) * _MIDDLE if index else SHORTEST

    def _forget(self, now: float) -> None:
        if self._next != -inf:
            halvings = min(64, int((now - self._next) / self._half_life) + 1)
            factor = 0.5**halvings
            self._counts = [count * factor for count in self._counts]
            self._weight *= factor
            self._known_at = self._weight
            self._known.clear()
        self._next = now + self._half_life


def delay(policy: Hedge | None, latency: Latency, now: float) -> float | None:
    """Return after how many seconds a second attempt may start; None: there is none.

    A fixed time, or a percentile of recent latency; where both are said, the later.
    """
    if policy is None:
        return None
    after = policy.after
    if policy.percentile is not None:
        estimate = latency.percentile(policy.percentile, now)
        if estimate is None:
            return after
        return estimate if after is None else max(after, estimate)
    return after


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a second attempt starts now, and why (not); the words are `retry.Reason`'s."""

    start: bool
    reason: Reason


_START: Final = Decision(True, "hedge")
_OFF: Final = Decision(False, "off")
_NOT_REPEATABLE: Final = Decision(False, "not_repeatable")
_OVER_CAP: Final = Decision(False, "replay_over_cap")
_DEADLINE: Final = Decision(False, "deadline")
_BUDGET: Final = Decision(False, "budget")


def decide(
    policy: Retry,
    *,
    method: bytes,
    keyed: bool,
    replayable: bool,
    left: float,
    budget: Budget,
    now: float,
) -> Decision:
    """Decide, when the delay is over and no answer has begun; takes from *budget*.

    The arguments are those of `retry.decide`. Unlike a retry, a hedge always repeats a request
    that may be at work: an unsent one would not help it.
    """
    if policy.hedge is None:
        return _OFF
    if not repeatable(policy, method, keyed=keyed):
        return _NOT_REPEATABLE
    if not replayable:
        return _OVER_CAP
    if left <= WORTHWHILE:
        return _DEADLINE
    return _START if budget.take(policy.budget, now) else _BUDGET
