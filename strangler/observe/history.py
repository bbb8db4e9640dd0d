# SPDX-License-Identifier: Apache-2.0
"""The last half hour of each route in small steps, for charts drawn from real counters.

Three numbers a step, in rings of fixed size: about 2 KiB for each route that was asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any, Final

from strangler.observe.numbers import ArmNumbers, Arms

SECONDS: Final = 10
"""Seconds a step covers."""
STEPS: Final = 180
_KINDS: Final = 3
SITE: Final = ""
"""The name under which the whole site's history stands."""


class History:
    """Rates, shares of unwell requests and 95th percentiles, by route and over all."""

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
        for route, arms in recent.items():
            numbers = added(arms)
            over_all = over_all + numbers
            self._put(route, numbers)
        self._put(SITE, over_all)

    def _put(self, route: str, numbers: ArmNumbers) -> None:
        ring = self._rings.get(route)
        if ring is None:
            ring = self._rings[route] = array("f", bytes(4 * _KINDS * STEPS))
            self._last[route] = self._step
        self._clear(route, ring)
        at = self._step % STEPS * _KINDS
        ring[at] = numbers.requests / SECONDS
        ring[at + 1] = numbers.errors
        ring[at + 2] = (numbers.percentile(0.95) or 0.0) * 1000

    def _clear(self, route: str, ring: array[float]) -> None:
        """Forget what is older than the ring is long, in steps without a request."""
        silent = min(self._step - self._last[route], STEPS)
        for step in range(self._step - silent + 1, self._step + 1):
            at = step % STEPS * _KINDS
            ring[at : at + _KINDS] = array("f", (0.0,) * _KINDS)
        self._last[route] = self._step

    def read(self, route: str = SITE, steps: int = STEPS) -> dict[str, Any]:
        """Return the last *steps* of a route, the newest last; shorter after a start.

        rate: requests a second · errors: share of unwell ones, 0 to 1 · p95_ms: of fetched
        answers, 0 where there were none.
        """
        count = min(steps, STEPS, self._step)
        told: dict[str, Any] = {"step_s": SECONDS, "ended": round(self._ended, 1)}
        ring = self._rings.get(route)
        if ring is None:
            return told | {name: [0.0] * count for name in ("rate", "errors", "p95_ms")}
        self._clear(route, ring)
        places = [step % STEPS * _KINDS for step in range(self._step - count + 1, self._step + 1)]
        return told | {
            "rate": [round(ring[at], 2) for at in places],
            "errors": [round(ring[at + 1], 4) for at in places],
            "p95_ms": [round(ring[at + 2], 1) for at in places],
        }


def added(arms: Mapping[str, ArmNumbers]) -> ArmNumbers:
    """Return what all targets of a route did together."""
    total = ArmNumbers()
    for numbers in arms.values():
        total = total + numbers
    return total
