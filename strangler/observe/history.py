# SPDX-License-Identifier: Apache-2.0
"""The last half hour of each route in small steps, for charts drawn from real counters.

Five numbers a step, in rings of fixed size: about 4 KiB for each route that was asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from strangler.observe.numbers import ArmNumbers, Arms

SECONDS: Final = 10
"""Seconds a step covers."""
STEPS: Final = 180
_KINDS: Final = ("rate", "legacy", "failed", "errors", "p95_ms")
_WIDTH: Final = len(_KINDS)
_NOW: Final = 6
"""The newest steps, which are not usual yet."""
SITE: Final = ""
"""The name under which the whole site's history stands."""


class History:
    """What `read` tells, by route and over all."""

    def __init__(self) -> None:
        """Begin with nothing; `step` is to be called every `SECONDS`."""
        self._rings: dict[str, array[float]] = {}
        self._last: dict[str, int] = {}
        self._step = 0
        self._ended = 0.0

    def step(self, recent: Arms, now: float) -> None:
        """Take down what the step that ends at *now* (Unix seconds) had."""
        self._step += 1
        self._ended = now
        over_all = ArmNumbers()
        legacy = 0
        for route, arms in recent.items():
            numbers = added(arms)
            over_all = over_all + numbers
            theirs = arms["legacy"].requests if "legacy" in arms else 0
            legacy += theirs
            self._put(route, numbers, theirs)
        self._put(SITE, over_all, legacy)

    def _put(self, route: str, numbers: ArmNumbers, legacy: int) -> None:
        ring = self._rings.get(route)
        if ring is None:
            ring = self._rings[route] = array("f", bytes(4 * _WIDTH * STEPS))
            self._last[route] = self._step
        self._clear(route, ring)
        at = self._step % STEPS * _WIDTH
        rates = (numbers.requests / SECONDS, legacy / SECONDS, numbers.failed / SECONDS)
        p95 = (numbers.percentile(0.95) or 0.0) * 1000
        ring[at : at + _WIDTH] = array("f", (*rates, numbers.errors, p95))

    def _clear(self, route: str, ring: array[float]) -> None:
        """Forget what is older than the ring is long, in steps without a request."""
        silent = min(self._step - self._last[route], STEPS)
        for step in range(self._step - silent + 1, self._step + 1):
            at = step % STEPS * _WIDTH
            ring[at : at + _WIDTH] = array("f", (0.0,) * _WIDTH)
        self._last[route] = self._step

    def read(self, route: str = SITE, steps: int = STEPS) -> dict[str, Any]:
        """Return the last *steps* of a route, the newest last; shorter after a start.

        rate: requests a second · legacy: those decided for legacy, a second · failed: those whose
        reader was hurt, a second · errors: share of unwell ones, 0 to 1 · p95_ms: of fetched
        answers, 0 where there were none.
        """
        count = min(steps, STEPS, self._step)
        told: dict[str, Any] = {"step_s": SECONDS, "ended": round(self._ended, 1)}
        ring = self._rings.get(route)
        if ring is None:
            return told | {name: [0.0] * count for name in _KINDS}
        self._clear(route, ring)
        numbers = range(self._step - count + 1, self._step + 1)
        places = [step % STEPS * _WIDTH for step in numbers]
        return told | {
            name: [_short(ring[at + place]) for at in places] for place, name in enumerate(_KINDS)
        }

    def usual_p95(self) -> float | None:
        """Return the site's median p95 in seconds, the last minute left out; None for too few."""
        known = [one for one in self.read()["p95_ms"][:-_NOW] if one]
        return median(known) / 1000 if len(known) >= _NOW else None


def _short(value: float) -> float:
    """Round to four digits that matter: no chart shows more."""
    return float(f"{value:.4g}")


def added(arms: Mapping[str, ArmNumbers]) -> ArmNumbers:
    """Return what all targets of a route did together."""
    total = ArmNumbers()
    for numbers in arms.values():
        total = total + numbers
    return total
