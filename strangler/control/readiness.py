# SPDX-License-Identifier: Apache-2.0
"""Could legacy take a route back? What it would have to answer, and what it has answered lately.

A step back moves readers to legacy at once. Where legacy has shrunk meanwhile, or has never had so
much to do in the last day, the step back hurts too (pain 29). The meter only tells: back is never
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from strangler.config.snapshot import Route, Upstream
from strangler.observe.lanes import shortened
from strangler.observe.numbers import ArmNumbers, Arms
from strangler.resilience.adaptive import Adaptive

Verdict = Literal["ready", "unproven", "short", "unwell", "unknown"]

HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_HOURS: Final = 24
_ROOM: Final = 1.1
"""How far above the most that was seen still counts as seen."""
_ILL: Final = 0.05
"""The share of errors from which legacy is not well itself."""
_SLIGHT: Final = 1.0
"""Answers a second that are no load for anybody."""


class Peaks:
    """The most that legacy answered in a second, in each of the last 24 hours."""

    def __init__(self) -> None:
        self._hours: dict[int, float] = {}

    def saw(self, now: float, rate: float) -> None:
        """Note answers a second at *now* (Unix seconds)."""
        hour = int(now // HOUR)
        self._hours[hour] = max(rate, self._hours.get(hour, 0.0))
        for old in [one for one in self._hours if one <= hour - _HOURS]:
            del self._hours[old]

    @property
    def most(self) -> float:
        """Return the most of the last day, in answers a second."""
        return max(self._hours.values(), default=0.0)

    def json(self) -> dict[str, float]:
        """Return it as JSON holds it."""
        return {str(hour): round(rate, 3) for hour, rate in self._hours.items()}

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Peaks:
        """Read what `json` wrote. Raises TypeError, ValueError."""
        made = cls()
        made._hours = {int(hour): float(rate) for hour, rate in dict(told).items()}
        return made


def legacy_rate(recent: Arms, seconds: float) -> float:
    """Return how many answers a second legacy has given in the last *seconds*, as a rescuer too."""
    answered = 0
    for targets in recent.values():
        legacy = targets.get("legacy")
        answered += legacy.samples if legacy is not None else 0
        service = targets.get("service")
        if service is not None:
            fallen = service.fallbacks.items()
            answered += sum(count for rung, count in fallen if rung.startswith("legacy/"))
    return answered / seconds


def readiness(
    route: Route, legacy: Upstream | None, recent: Arms, seconds: float, peaks: Peaks
) -> dict[str, Any]:
    """Return what going back to legacy would mean, from what the last *seconds* showed."""
    targets = recent.get(shortened(route.key), {})
    now = legacy_rate(recent, seconds)
    more = _samples(targets.get("service")) / seconds
    arm = targets.get("legacy")
    mean = arm.mean if arm is not None else None
    said = legacy.max_inflight if legacy is not None else None
    places = said.most if isinstance(said, Adaptive) else said
    busy = None if mean is None else (now + more) * mean
    told: dict[str, Any] = {
        "now_per_second": round(now, 3),
        "more_per_second": round(more, 3),
        "most_seen_per_second": round(max(peaks.most, now), 3),
        "inflight_needed": None if busy is None else round(busy, 2),
        "max_inflight": places,
        "legacy_errors": round(arm.errors, 6) if arm is not None else None,
    }
    verdict, why = _judged(legacy, arm, now, more, max(peaks.most, now), busy, places)
    return {"verdict": verdict, "why": why, **told}


def _judged(
    legacy: Upstream | None,
    arm: ArmNumbers | None,
    now: float,
    more: float,
    most: float,
    busy: float | None,
    places: int | None,
) -> tuple[Verdict, str]:
    if legacy is None:
        return "short", "there is no legacy upstream"
    if arm is not None and arm.requests and arm.errors > _ILL:
        return "unwell", f"legacy itself fails {arm.errors:.1%} of this route's answers"
    if busy is not None and places is not None and busy > places:
        return "short", f"about {busy:.0f} at a time would be needed, max_inflight is {places}"
    if more <= 0:
        return "unknown", "the service has answered nobody lately: nothing would move"
    need = f"{_shown(now + more)} answers a second would be needed"
    if now + more <= max(most * _ROOM, _SLIGHT):
        return "ready", f"{need}; legacy has given {_shown(most)} within a day"
    return "unproven", f"{need}; the most that legacy has given within a day is {_shown(most)}"


def saved_within_a_day(statuses: Iterable[Mapping[str, Any]], key: str, now: float) -> int | None:
    """Return how many answers of the live route *key* legacy gave within a day, over all workers.

    statuses: what each worker told last. None while a worker is younger than a day and there is
    none yet: nobody knows.
    """
    saved, watched = 0, _DAY
    for status in statuses:
        watched = min(watched, now - float(status.get("started", now)))
        told = status.get("edge", {}).get("dependence", {}).get(key)
        if told is not None:
            saved += sum(count for seconds, _, count in told["windows"] if seconds == _DAY)
    return saved if saved or watched >= _DAY else None


def _shown(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _samples(arm: ArmNumbers | None) -> int:
    return 0 if arm is None else arm.samples
