# SPDX-License-Identifier: Apache-2.0
"""How often each name may do something: so many at once, then so many a second."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_MOST_NAMES: Final = 1000
"""Names that are remembered; of more, who has been silent for longest is forgotten."""


class Allowance:
    """Counts by name; the clock is passed in, in seconds that never go back."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float, *, burst: float, rate: float) -> float:
        """Take one of what *name* has left; return 0, or the seconds until there is one again.

        Args:
            name: who takes.
            now: the clock.
            burst: how many there are for who has taken none for long.
            rate: how many come back a second.
        """
        left, at = self._left.pop(name, (burst, now))
        left = min(burst, left + (now - at) * rate)
        wait = 0.0 if left >= 1.0 else (1.0 - left) / rate
        self._left[name] = (left if wait else left - 1.0, now)
        if len(self._left) > _MOST_NAMES:
            self._left.popitem(last=False)
        return wait
