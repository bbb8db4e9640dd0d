# SPDX-License-Identifier: Apache-2.0
"""How many of an upstream's attempts may be repeats.

Retries heal single failures and multiply broad ones: where every attempt fails, a retry each is
twice the load on what is already sick. A budget lets through what heals and stops what
multiplies (the idea is Finagle's RetryBudget; Envoy and Linkerd have it too). Hedges are repeats
as well and come out of the same budget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .window import Window

#: Seconds that a budget looks back.
WINDOW: Final = 10.0
#: Repeats in a window that are granted however few attempts there were: without it, an upstream
#: that is asked twice a minute would never be asked again.
FLOOR: Final = 3


class Budget:
    """An upstream's budget, shared by all routes that ask it."""

    __slots__ = ("_window", "attempted", "denied", "floor")

    attempted: Callable[[float], None]
    """Count a first attempt, at an instant."""

    def __init__(self, *, window: float = WINDOW, floor: int = FLOOR) -> None:
        self._window = Window(window)
        self.attempted = self._window.add
        self.floor = floor
        self.denied = 0

    def take(self, share: float, now: float) -> bool:
        """Count a repeat if it is within *share* (0-1) of the window's attempts, itself included.

        True: make it. Where it was granted, repeats <= max(floor, share * attempts) holds.
        """
        attempts, repeats = self._window.counts(now)
        if repeats + 1 > max(self.floor, share * (attempts + 1)):
            self.denied += 1
            return False
        self._window.add(now, 1)
        return True

    def spent(self, now: float) -> tuple[int, int]:
        """Return the window's attempts and how many of them were repeats."""
        return self._window.counts(now)
