# SPDX-License-Identifier: Apache-2.0
"""How many of the last seconds' events were of a kind, in constant time and space.

The counts themselves only ever grow. What is remembered is where they stood at the last few turns
of the clock: a rolling window is the difference between now and the oldest mark. So counting is an
addition, and the counts of several workers may be summed.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

#: Parts of a window: how finely it forgets.
SLOTS: Final = 10


class Marks:
    """Where two counts stood at the last turns of a window of *seconds*.

    `next` is when `turn` has to be called before anything is counted; `total` and `part` are the
    oldest mark, where the window begins. A window sees the last *seconds*, or up to one slot less.
    """

    __slots__ = ("_marks", "_step", "next", "part", "total")

    def __init__(self, seconds: float, slots: int = SLOTS) -> None:
        self._step = seconds / slots
        self._marks: deque[tuple[int, int]] = deque([(0, 0)] * slots, slots)
        self.next = -inf
        self.total = 0
        self.part = 0

    def turn(self, now: float, total: int, part: int) -> None:
        """Mark where the counts stand, for each slot that has ended by *now*."""
        marks = self._marks
        since = now - self.next
        ended = int(since / self._step) + 1 if since < self._step * len(marks) else len(marks)
        marks.extend([(total, part)] * ended)
        begun = now if ended == len(marks) else self.next + (ended - 1) * self._step
        self.next = begun + self._step
        self.total, self.part = marks[0]

    def clear(self, total: int, part: int) -> None:
        """Forget what came before: the window begins here."""
        marks = self._marks
        marks.extend([(total, part)] * len(marks))
        self.total, self.part = total, part


class Window:
    """Events of the last *seconds*, and how many of them were of a kind.

    ``total`` and ``part`` count since ever; `counts` says what the window sees.
    """

    __slots__ = ("_marks", "part", "total")

    def __init__(self, seconds: float, slots: int = SLOTS) -> None:
        self._marks = Marks(seconds, slots)
        self.total = 0
        self.part = 0

    def add(self, now: float, part: int = 0) -> None:
        """Count one event at *now*; *part* is 1 where it is of the kind, else 0."""
        marks = self._marks
        if now >= marks.next:
            marks.turn(now, self.total, self.part)
        self.total += 1
        self.part += part

    def amend(self, now: float) -> None:
        """Make an event that was counted before, as none of the kind, one of the kind.

        One that the window has forgotten meanwhile counts anew.
        """
        total, part = self.counts(now)
        self.total += part >= total
        self.part += 1

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many events the window sees at *now*, and how many of the kind."""
        marks = self._marks
        if now >= marks.next:
            marks.turn(now, self.total, self.part)
        return self.total - marks.total, self.part - marks.part

    def share(self, now: float) -> float:
        """Return the share of the kind, 0-1; 0 where there are no events."""
        total, part = self.counts(now)
        return part / total if total else 0.0

    def clear(self) -> None:
        """Forget the window; what was counted since ever stays."""
        self._marks.clear(self.total, self.part)
