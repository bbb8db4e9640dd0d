# SPDX-License-Identifier: Apache-2.0
"""Let go of the least important work first when the edge itself runs short.

Shadows go first, then crawlers, and readers only when nothing else is left, and then only the
share that is too much. What is let go is refused at once, while that is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Priority = Literal[0, 1, 2]
READER: Final = 0
CRAWLER: Final = 1
SHADOW: Final = 2

#: How a shed priority is called in log and header.
WORDS: Final = ("shed_reader", "shed_crawler", "shed_shadow")


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

    shadows, crawlers, readers: rising thresholds · slack: how far below its threshold the
    pressure has to fall, · calm: and for how many seconds it has to stay there, before that is
    taken in again.
    """

    shadows: float = 0.7
    crawlers: float = 0.85
    readers: float = 1.0
    slack: float = 0.15
    calm: float = 2.0


class Shedding:
    """What a worker lets go now. `level`: 0 nothing, 1 shadows, 2 crawlers too, 3 readers too.

    On the way of a request ask `admits` only where `level` is not 0.
    """

    __slots__ = ("_calm_since", "_refuse", "level", "policy", "shed")

    def __init__(self, policy: Shed) -> None:
        self.policy = policy
        self.level = 0
        self.shed = [0, 0, 0]
        self._refuse = 0.0
        self._calm_since: float | None = None

    def update(self, worst: float, now: float) -> bool:
        """Take the pressure, at every tick; tell whether `level` has changed.

        Up at once and to any level; down one level at a time, each after its own calm.
        """
        policy = self.policy
        thresholds = (policy.shadows, policy.crawlers, policy.readers)
        # What is over 1 is what can't be served: at twice the limit every second reader.
        self._refuse = 1.0 - 1.0 / worst if worst > 1.0 else 0.0
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
        if self.level <= 2 - priority or (priority == READER and chance >= self._refuse):
            return True
        self.shed[priority] += 1
        return False
