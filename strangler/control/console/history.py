# SPDX-License-Identifier: Apache-2.0
"""The last half hour in steps of ten seconds, of the site and of each route, for the charts."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from strangler.control.console.seen import Seen, total
from strangler.observe.numbers import ArmNumbers

EVERY: Final = 10.0
"""Seconds of a step."""
STEPS: Final = 180
"""Steps that are kept: half an hour."""
_NOW: Final = 6
"""The newest steps, which `usual` leaves out: what is odd now is not usual yet."""

Arms = Mapping[str, Mapping[str, ArmNumbers]]


class _Line:
    """Requests, those decided for legacy, and failed ones: a second, in each step."""

    __slots__ = ("errors", "legacy", "requests")

    def __init__(self) -> None:
        self.requests = array("f", bytes(4 * STEPS))
        self.legacy = array("f", bytes(4 * STEPS))
        self.errors = array("f", bytes(4 * STEPS))

    def set(self, place: int, requests: float, legacy: float, errors: float) -> None:
        self.requests[place], self.legacy[place], self.errors[place] = requests, legacy, errors

    @property
    def silent(self) -> bool:
        return not any(self.requests)


class History:
    """Half an hour of points: about 2 KB for each route that was asked for in that time."""

    def __init__(self) -> None:
        self._site = _Line()
        self._p95: list[float | None] = [None] * STEPS
        self._routes: dict[str, _Line] = {}
        self._steps = 0
        self._until = 0.0

    def add(self, arms: Arms, seconds: float, now: float) -> None:
        """Take a step: what *seconds* have added to each arm; *now* in Unix seconds."""
        place = self._steps % STEPS
        self._steps += 1
        self._until = now
        for line in self._routes.values():
            line.set(place, 0.0, 0.0, 0.0)
        sums = [0.0, 0.0, 0.0]
        for key, targets in arms.items():
            requests = sum(numbers.requests for numbers in targets.values())
            if not requests:
                continue
            legacy = targets["legacy"].requests if "legacy" in targets else 0
            errors = sum(Seen.of(numbers, seconds).failed for numbers in targets.values())
            rates = (requests / seconds, legacy / seconds, errors / seconds)
            self._routes.setdefault(key, _Line()).set(place, *rates)
            sums = [one + other for one, other in zip(sums, rates, strict=True)]
        self._site.set(place, *sums)
        whole = total(numbers for targets in arms.values() for numbers in targets.values())
        self._p95[place] = None if whole is None else whole.took(0.95)
        if place == 0:  # once in half an hour is often enough
            for key in [key for key, line in self._routes.items() if line.silent]:
                del self._routes[key]

    @property
    def usual(self) -> float | None:
        """The median of the steps' p95 in seconds, the last minute left out; None for too few."""
        places = self._places()[:-_NOW]
        known = [one for place in places if (one := self._p95[place]) is not None]
        return median(known) if len(known) >= _NOW else None

    def site(self) -> dict[str, Any]:
        """Return the site's points, the oldest first, in requests a second."""
        return self._json(self._site)

    def route(self, key: str) -> dict[str, Any]:
        """Return a route's points, as `site` does."""
        return self._json(self._routes.get(key))

    def spark(self, key: str, points: int = 30) -> dict[str, list[float]] | None:
        """Return a route's requests and errors in a few points; None where there were none."""
        line = self._routes.get(key)
        places = self._places()
        if line is None or len(places) < 2:
            return None
        width = max(1, -(-len(places) // points))
        parts = [places[at : at + width] for at in range(0, len(places), width)]
        return {
            name: [_short(sum(values[place] for place in part) / len(part)) for part in parts]
            for name, values in (("requests", line.requests), ("errors", line.errors))
        }

    def _places(self) -> list[int]:
        first = max(0, self._steps - STEPS)
        return [step % STEPS for step in range(first, self._steps)]

    def _json(self, line: _Line | None) -> dict[str, Any]:
        places = self._places()
        told: dict[str, Any] = {"every": EVERY, "until": self._until}
        for name in ("requests", "legacy", "errors"):
            values = None if line is None else getattr(line, name)
            told[name] = [0.0 if values is None else _short(values[place]) for place in places]
        return told


def _short(value: float) -> float:
    """Round to three digits that matter: a chart shows no more."""
    return float(f"{value:.3g}")
