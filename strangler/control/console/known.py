# SPDX-License-Identifier: Apache-2.0
"""What the console's document is made of: everything known of the site at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strangler.config.snapshot import Route, Snapshot
from strangler.control.console.seen import RouteSeen, Seen, total
from strangler.observe.history import SITE, History
from strangler.observe.lanes import shortened
from strangler.observe.numbers import ArmNumbers, Arms
from strangler.rollout import Stage
from strangler.rollout.override import Overrides

NOW: Final = 30.0
"""Seconds that verdicts look at: long enough to be no chance, short enough to see a remedy work."""
FIVE: Final = 300.0
"""Seconds over which two arms are compared."""
NO_ARMS: Final[Mapping[str, ArmNumbers]] = {}


class Window:
    """What a window of *seconds* added to each arm; what is read of it is read once."""

    def __init__(self, arms: Arms, seconds: float) -> None:
        self.arms = arms
        self.seconds = seconds
        self._routes: dict[str, RouteSeen] = {}
        self._none = RouteSeen.of(NO_ARMS, seconds)

    def of(self, key: str) -> Mapping[str, ArmNumbers]:
        """Return the arms of one route, none where it had nothing."""
        return self.arms.get(shortened(key), NO_ARMS)

    def route(self, key: str) -> RouteSeen:
        """Return how one route fared."""
        arms = self.of(key)
        if not arms:
            return self._none
        seen = self._routes.get(key)
        if seen is None:
            seen = self._routes[key] = RouteSeen.of(arms, self.seconds)
        return seen

    def site(self, target: str | None = None) -> Seen:
        """Return how the whole site fared, or all routes' *target*."""
        every = (
            numbers
            for arms in self.arms.values()
            for name, numbers in arms.items()
            if target is None or name == target
        )
        return Seen.of(total(every), self.seconds, whole=target is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that the document is made of, at one moment.

    now: Unix seconds · config: as `Control.config` tells it · workers: what each said last, with
    `silent` seconds · sick: endpoints that fail their probe, by upstream · ever: the numbers since
    the site began · changes, instances, store, overrides_told: ready to be shown.
    """

    now: float
    snapshot: Snapshot
    config: Mapping[str, Any]
    overrides: Overrides
    recent: Window
    five: Window
    ever: Callable[[], Arms]
    history: History
    workers: Sequence[Mapping[str, Any]]
    slots: int
    sick: Mapping[str, Mapping[str, bool]]
    overrides_told: Sequence[Mapping[str, Any]] = ()
    changes: Sequence[Mapping[str, Any]] = ()
    instances: Sequence[Mapping[str, Any]] = ()
    store: Mapping[str, Any] = field(default_factory=lambda: {"kind": "", "ok": True, "why": ""})
    points: Sequence[Mapping[str, Any]] = ()

    def stage(self, route: Route) -> Stage:
        """Return the effective stage: the override's, else the file's."""
        return self.overrides.stage(route.key, route.stage)

    def series(self, route: str = SITE) -> dict[str, Any]:
        """Return the last half hour of a route or of the site, the oldest first, each a second."""
        told = self.history.read(shortened(route))
        return {
            "every": told["step_s"],
            "until": told["ended"],
            "requests": told["rate"],
            "legacy": told["legacy"],
            "errors": told["failed"],
        }

    def spark(self, route: str, points: int = 30) -> dict[str, list[float]] | None:
        """Return a route's half hour in a few points; None where there were no requests."""
        told = self.history.read(shortened(route))
        if not any(told["rate"]):
            return None
        width = max(1, -(-len(told["rate"]) // points))
        return {
            name: [
                round(sum(part) / len(part), 2)
                for at in range(0, len(values), width)
                for part in [values[at : at + width]]
            ]
            for name, values in (("requests", told["rate"]), ("errors", told["failed"]))
        }

    def owner(self, route: Route) -> str:
        """Return whose a route is: its own owner, else its upstream's."""
        upstream = self.snapshot.upstreams.get(route.upstream or route.legacy or "")
        return route.owner or (upstream.owner if upstream is not None else "")
