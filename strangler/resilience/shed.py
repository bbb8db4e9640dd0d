# SPDX-License-Identifier: Apache-2.0
"""Let go of the least important work first when the edge itself runs short.

Shadows go first, then crawlers, then the readers of routes whose priority is low; other readers
only when nothing else is left, and then only the share that is too much; those of routes whose
priority is high come last. What is let go is refused at once, while that is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Priority = Literal[0, 1, 2, 3, 4]
SHADOW: Final = 0
CRAWLER: Final = 1
LOW: Final = 2
NORMAL: Final = 3
HIGH: Final = 4

#: How a shed priority is called in log and header.
WORDS: Final = ("shed_shadow", "shed_crawler", "shed_low", "shed_reader", "shed_high")
#: The priorities that a route may have, by their words.
ROUTES: Final[dict[str, Priority]] = {"low": LOW, "normal": NORMAL, "high": HIGH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """How short the edge is of each thing: 0 idle, 1 at its limit, more beyond it."""

    lag: float = 0.0
    connections: float = 0.0
    inflight: float = 0.0

    @property
    def worst(self) -> float:
        """Return the one that is shortest: help with another doesn't help."""
        return max(self.lag, self.connections, self.inflight)


def pressure(
    *,
    lag: float,
    lag_limit: float = 0.25,
    connections: int,
    connections_limit: int,
    inflight: int,
    inflight_limit: int,
) -> Pressure:
    """Return the pressure of a worker; *lag* is how late its event loop is, in seconds."""
    return Pressure(
        lag=lag / lag_limit,
        connections=connections / connections_limit,
        inflight=inflight / inflight_limit,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shed:
    """At which pressure what is let go.

    shadows, crawlers, low, readers, high: rising thresholds · slack: how far below its threshold
    the pressure has to fall, · calm: and for how many seconds it has to stay there, before that
    is taken in again.
    """

    shadows: float = 0.7
    crawlers: float = 0.85
    low: float = 0.95
    readers: float = 1.0
    high: float = 2.0
    slack: float = 0.15
    calm: float = 2.0


class Shedding:
    """What a worker lets go now. `level`: how many of the priorities, from the lowest.

    On the way of a request ask `admits` only where `level` is not 0.
    """

    __slots__ = ("_calm_since", "_refuse", "_thresholds", "level", "policy", "shed")

    def __init__(self, policy: Shed) -> None:
        self.policy = policy
        self.level = 0
        self.shed = [0] * len(WORDS)
        self._refuse = (1.0, 1.0, 1.0, 0.0, 0.0)
        self._calm_since: float | None = None
        self._thresholds = (
            policy.shadows, policy.crawlers, policy.low, policy.readers, policy.high
        )  # fmt: skip

    def update(self, worst: float, now: float) -> bool:
        """Take the pressure, at every tick; tell whether `level` has changed.

        Up at once and to any level; down one level at a time, each after its own calm.
        """
        policy, thresholds = self.policy, self._thresholds
        # What is over 1 is what can't be served: at twice the limit every second reader.
        readers = 1.0 - policy.readers / worst if worst > policy.readers else 0.0
        high = 1.0 - policy.high / worst if worst > policy.high else 0.0
        self._refuse = (1.0, 1.0, 1.0, readers, high)
        level = sum(worst >= threshold for threshold in thresholds)
        if level > self.level:
            self.level = level
            self._calm_since = None
            return True
        if level == self.level or worst > thresholds[self.level - 1] - policy.slack:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= policy.calm:
            self.level -= 1
            self._calm_since = now if self.level else None
            return True
        return False

    def admits(self, priority: Priority, chance: float) -> bool:
        """Tell whether work of *priority* is taken; *chance* (0-1) chooses among readers."""
        if priority >= self.level or chance >= self._refuse[priority]:
            return True
        self.shed[priority] += 1
        return False
