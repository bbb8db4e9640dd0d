# SPDX-License-Identifier: Apache-2.0
"""Take an endpoint out because of its real answers, and let it back in gently.

Out goes who could not be connected to, who failed several times in a row, and whose success rate
lies far below that of the others (Envoy calls it outlier detection). Never more than a share of
the endpoints: if most are sick the cause is elsewhere, and the rest would break under the load.
An ejection lasts longer each time; who comes back starts with little (slow start).

The panic rule (pain 53): when more than a share of the endpoints is out, for whatever reason, all
of them are tried, since a bad answer is worth more than none; `panic` says so.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Generic, Literal, TypeVar

from .window import Window

Item = TypeVar("Item")
Why = Literal["", "refused", "consecutive", "outlier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """When an endpoint is taken out, and for how long.

    refused: failed connections in a row · consecutive: failures in a row of any kind · outlier:
    how far the share of successes lies below the others' median, 0-1 · window: seconds of that
    share · min_requests: answers in the window before it counts · most: the share of endpoints
    that may be ejected at a time (of two and more one always may) · hold: shortest and longest
    ejection in seconds · slow_start: seconds until a returned endpoint has its whole weight ·
    panic: all are tried when more than this share is out.
    """

    refused: int = 1
    consecutive: int = 5
    outlier: float = 0.25
    window: float = 30.0
    min_requests: int = 20
    most: float = 0.5
    hold: tuple[float, float] = (1.0, 120.0)
    slow_start: float = 15.0
    panic: float = 0.5


class Standing:
    """What is known of one endpoint's health.

    ``healthy`` is a probe's word; ``ejected`` and ``why`` the answers'; ``drained`` an operator's ·
    ``weight`` (0-1] is less than 1 in its slow start.
    """

    __slots__ = (
        "drained", "ejected", "healthy", "holds", "refused", "returned", "streak", "until",
        "weight", "why", "window",
    )  # fmt: skip

    def __init__(self, window: float) -> None:
        self.window = Window(window)
        self.streak = 0
        self.refused = 0
        self.healthy = True
        self.drained = False
        self.ejected = False
        self.why: Why = ""
        self.until = 0.0
        self.holds = 0
        self.returned = -inf
        self.weight = 1.0

    def succeeded(self, now: float, whole: bool = True) -> None:
        """Count an answer that speaks well of the endpoint.

        Where it isn't *whole* yet, `came_whole` or `Ejector.broke` says what became of it.
        """
        self.refused = 0
        self.window.add(now)
        if whole:
            self.streak = 0

    def came_whole(self) -> None:
        """Learn that the content has come of an answer that was counted."""
        self.streak = 0


class Ejector(Generic[Item]):
    """Which of an upstream's endpoints take part.

    ``candidates`` are those to choose from; it is only ever replaced, by `tick` or a failure.
    ``panic``: they are all there are, since too many are out. ``out`` counts those.
    """

    __slots__ = ("_all", "candidates", "out", "panic", "policy", "standings")

    def __init__(self, policy: Ejection, endpoints: tuple[Item, ...]) -> None:
        self.policy = policy
        self._all = endpoints
        self.standings = tuple(Standing(policy.window) for _ in endpoints)
        self.candidates = endpoints
        self.panic = False
        self.out = 0

    def failed(
        self, standing: Standing, now: float, chance: float, *, connecting: bool = False
    ) -> bool:
        """Count a failure, of *connecting* or of an answer; tell whether it ejects.

        *chance* (0 <= chance < 1) is the jitter of the hold.
        """
        standing.window.add(now, 1)
        if connecting:
            standing.refused += 1
        return self._again(standing, now, chance, connecting)

    def broke(self, standing: Standing, now: float, chance: float) -> bool:
        """Count an answer as bad after all, since it has broken off; tell whether it ejects."""
        standing.window.amend(now)
        return self._again(standing, now, chance)

    def _again(
        self, standing: Standing, now: float, chance: float, connecting: bool = False
    ) -> bool:
        """Note one failure more in a row; tell whether it ejects."""
        standing.streak += 1
        if connecting and standing.refused >= self.policy.refused:
            return self._eject(standing, "refused", now, chance)
        if standing.streak >= self.policy.consecutive:
            return self._eject(standing, "consecutive", now, chance)
        return False

    def probed(self, standing: Standing, healthy: bool, now: float) -> bool:
        """Take a probe's word; tell whether it changes anything.

        Where connecting had failed, a probe that passes brings the endpoint back at once; where
        real answers were bad, a good answer to a probe proves nothing.
        """
        back = healthy and standing.ejected and standing.why == "refused"
        if back:
            self._return(standing, now)
        elif healthy == standing.healthy:
            return False
        if healthy and not standing.healthy:
            standing.returned = now
        standing.healthy = healthy
        self._choose(now)
        return True

    def drain(self, drained: Collection[Standing], now: float) -> None:
        """Take part with all but those *drained*, even in a panic; who comes back starts slowly.

        Where all are drained nothing can be chosen: ask nobody then.
        """
        for standing in self.standings:
            said = standing in drained
            if standing.drained and not said:
                standing.returned = now
            standing.drained = said
        self._choose(now)

    def tick(self, now: float, chance: float) -> bool:
        """End holds that are over, look for outliers, go on with slow starts.

        Call it about once a second; tells whether ``candidates`` has changed.
        """
        before = self.candidates
        for standing in self.standings:
            if standing.ejected:
                if now >= standing.until:
                    self._return(standing, now)
            elif standing.holds and now - standing.returned > 2.0 * self.policy.hold[1]:
                standing.holds = 0
        self._eject_outliers(now, chance)
        self._choose(now)
        return self.candidates != before

    def _eject_outliers(self, now: float, chance: float) -> None:
        rates: list[tuple[float, Standing]] = []
        for standing in self.standings:
            total, failed = standing.window.counts(now)
            if not standing.ejected and total >= self.policy.min_requests:
                rates.append((1.0 - failed / total, standing))
        for place, (rate, standing) in enumerate(rates):
            others = [other for index, (other, _) in enumerate(rates) if index != place]
            if others and rate < median(others) - self.policy.outlier:
                self._eject(standing, "outlier", now, chance)

    def _eject(self, standing: Standing, why: Why, now: float, chance: float) -> bool:
        policy = self.policy
        count = len(self.standings)
        ejected = sum(other.ejected for other in self.standings)
        most = max(1, int(policy.most * count)) if count > 1 else 0
        if standing.ejected or ejected >= most:
            return False
        shortest, longest = policy.hold
        hold = min(longest, shortest * 2.0 ** min(standing.holds + 1, 60)) * (0.5 + 0.5 * chance)
        standing.ejected = True
        standing.why = why
        standing.until = now + max(shortest, hold)
        standing.holds += 1
        self._choose(now)
        return True

    def _return(self, standing: Standing, now: float) -> None:
        standing.ejected = False
        standing.why = ""
        standing.streak = standing.refused = 0
        standing.returned = now
        standing.window.clear()

    def _choose(self, now: float) -> None:
        """Make ``candidates`` anew."""
        slow_start = self.policy.slow_start
        every: list[Item] = []
        chosen: list[Item] = []
        for endpoint, standing in zip(self._all, self.standings, strict=True):
            since = now - standing.returned
            standing.weight = max(0.1, since / slow_start) if since < slow_start else 1.0
            if standing.drained:
                continue
            every.append(endpoint)
            if standing.healthy and not standing.ejected:
                chosen.append(endpoint)
        count = len(every)
        self.out = count - len(chosen)
        self.panic = self.out > self.policy.panic * count or (not chosen and count > 0)
        self.candidates = tuple(every if self.panic else chosen)
