# SPDX-License-Identifier: Apache-2.0
"""Find by an upstream's latency how many attempts at a time are good for it.

The algorithm is Gradient2 of Netflix's concurrency-limits: the latency of late is held against a
long-term one; where it is higher than tolerated, the limit shrinks by their ratio; where it is
not, it grows by a queue that is allowed. Here it runs on the mean of a sample window instead of
on every answer, which costs less and shakes less; and a window in which more than a share of
attempts failed shrinks the limit too, since a failure says nothing about latency (that part is
AIMD, as in the same library).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final

#: A window below this share of failures tells by its latency alone.
FAILED_SHARE: Final = 0.1
#: How much of the limit stays after a window of failures.
BACK_OFF: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """How a limit follows latency.

    least, most, initial: attempts at a time · tolerance: how much more than the long-term latency
    is no sign of a queue, >= 1 · smoothing: the weight of a new limit, 0-1 · window: seconds of a
    sample · samples: answers that a window needs · memory: windows over which the long-term
    latency is averaged.
    """

    least: int = 4
    most: int = 1000
    initial: int = 20
    tolerance: float = 1.5
    smoothing: float = 0.2
    window: float = 0.25
    samples: int = 10
    memory: int = 240


class Limit:
    """The limit of one upstream; `limit` changes at the end of a window."""

    __slots__ = (
        "_busiest",
        "_count",
        "_ends",
        "_exact",
        "_failed",
        "_sum",
        "limit",
        "long",
        "policy",
    )

    def __init__(self, policy: Adaptive, now: float) -> None:
        self.policy = policy
        self.limit = policy.initial
        self.long = 0.0
        self._exact = float(policy.initial)
        self._ends = now + policy.window
        self._sum = 0.0
        self._count = 0
        self._failed = 0
        self._busiest = 0

    def answered(self, took: float, inflight: int, now: float) -> bool:
        """Count an answer that began after *took* seconds, while *inflight* ran, it included.

        Returns whether the limit has changed.
        """
        self._sum += took
        self._count += 1
        if inflight > self._busiest:
            self._busiest = inflight
        return now >= self._ends and self._end_window(now)

    def failed(self, inflight: int, now: float) -> bool:
        """Count an attempt without an answer; returns whether the limit has changed."""
        self._failed += 1
        if inflight > self._busiest:
            self._busiest = inflight
        return now >= self._ends and self._end_window(now)

    def _end_window(self, now: float) -> bool:
        policy = self.policy
        seen = self._count + self._failed
        if seen < policy.samples:
            return False
        before = self.limit
        if self._failed > FAILED_SHARE * seen:
            self._exact *= BACK_OFF
        else:
            self._follow(self._sum / self._count)
        self._exact = min(float(policy.most), max(float(policy.least), self._exact))
        self.limit = int(self._exact)
        self._ends = now + policy.window
        self._sum = 0.0
        self._count = self._failed = self._busiest = 0
        return self.limit != before

    def _follow(self, short: float) -> None:
        policy = self.policy
        if self.long == 0.0:
            self.long = short
        else:
            self.long += (short - self.long) * 2.0 / (policy.memory + 1)
        # After a load that has gone, the long-term latency has to come down faster than it went.
        if self.long > 2.0 * short:
            self.long *= 0.95
        # A limit that isn't used can't be judged: it would grow without end.
        if self._busiest < self._exact / 2.0 or short <= 0.0:
            return
        gradient = max(0.5, min(1.0, policy.tolerance * self.long / short))
        wanted = self._exact * gradient + sqrt(self._exact)
        self._exact += (wanted - self._exact) * policy.smoothing
