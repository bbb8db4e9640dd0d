# SPDX-License-Identifier: Apache-2.0
"""The dependence meter: how often a live route was saved by legacy.

A route is ready to be sealed when legacy has not been needed for long enough, under enough load:
the figures here are what that judgement needs. Counts since ever only grow, so those of the
workers may be summed, and the windows' as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from .window import Marks

#: The windows that are reported, in seconds: minute, hour, day.
SPANS: Final = (60.0, 3600.0, 86400.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a window saw: *answers* of a live route, and how many of them legacy *saved*."""

    seconds: float
    answers: int
    saved: int

    @property
    def share(self) -> float:
        """Return the share that was saved, 0-1; 0 where there were no answers."""
        return self.saved / self.answers if self.answers else 0.0

    def __add__(self, other: Reading) -> Reading:
        if self.seconds != other.seconds:
            raise ValueError("readings of different windows don't add up")
        return Reading(self.seconds, self.answers + other.answers, self.saved + other.saved)


class Dependence:
    """The meter of one live route in one worker.

    ``answers``, raised by one for each answer that a reader got, whoever gave it, and ``saved``
    count since ever; ``last_saved`` is when legacy was needed last. `turn` has to be called about
    once a second: the windows are as exact as that.
    """

    __slots__ = ("_next", "_spans", "answers", "last_saved", "saved")

    def __init__(self, spans: tuple[float, ...] = SPANS) -> None:
        self._spans = tuple((seconds, Marks(seconds)) for seconds in spans)
        self._next = -inf
        self.answers = 0
        self.saved = 0
        self.last_saved: float | None = None

    def rescued(self, now: float) -> None:
        """Count an answer that legacy gave because the service could not."""
        self.turn(now)
        self.answers += 1
        self.saved += 1
        self.last_saved = now

    def read(self, now: float) -> tuple[Reading, ...]:
        """Return what each window sees at *now*."""
        self.turn(now)
        return tuple(
            Reading(seconds, self.answers - marks.total, self.saved - marks.part)
            for seconds, marks in self._spans
        )

    def turn(self, now: float) -> None:
        """Begin new slots of the windows where it is time."""
        if now < self._next:
            return
        for _, marks in self._spans:
            if now >= marks.next:
                marks.turn(now, self.answers, self.saved)
        self._next = min(marks.next for _, marks in self._spans)
