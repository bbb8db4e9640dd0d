# SPDX-License-Identifier: Apache-2.0
"""Who gets in, who waits, who is turned away: the bulkheads on the way to an upstream.

A fetch passes its gates one after the other: its route's, legacy's for guests, its upstream's.
Every gate answers at once; who has to wait is called when its place is free.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol

from strangler.clock import Waits
from strangler.resilience.adaptive import Adaptive, Limit
from strangler.resilience.bulkhead import Bulkhead
from strangler.resilience.protection import Guard, Kind

#: What `Gate.ask` says to who is in, and to who is called later; else the word for why not.
IN: Final = ""
WAIT: Final = "wait"


class Entrant(Protocol):
    """Who asks for a place."""

    @property
    def kind(self) -> Kind:
        """Return on whose behalf."""

    def entered(self) -> None:
        """Learn that a place is yours; `Gate.leave` gives it back."""

    def no_place(self) -> None:
        """Learn that none came free in time."""


class Gate(Protocol):
    """A bulkhead as a fetch meets it."""

    def ask(self, entrant: Entrant) -> str:
        """Return IN, WAIT, or the word for why there is no place."""

    def leave(self) -> None:
        """Give a place back."""

    def give_up(self, entrant: Entrant) -> None:
        """Wait no more."""


class Heeds(Protocol):
    """Who wants to know how an upstream's attempts went."""

    def answered(self, kind: Kind, took: float, failed: bool, now: float) -> None:
        """Count an answer to a *kind*, that began after *took* seconds, or *failed*."""


def no_place(entrant: Entrant) -> None:
    """Tell *entrant* that it has waited long enough."""
    entrant.no_place()


class Places:
    """A bulkhead and its queue: guests wait behind all readers."""

    __slots__ = ("_guests", "_loop", "_readers", "_waits", "bulkhead")

    def __init__(self, limit: int | None, queue: int, waits: Waits[Entrant]) -> None:
        self.bulkhead = Bulkhead(limit, queue)
        self._waits = waits
        self._readers: deque[Entrant] = deque()
        self._guests: deque[Entrant] = deque()
        self._loop = asyncio.get_running_loop()

    @property
    def readers_wait(self) -> bool:
        """Tell whether somebody waits who is no guest."""
        return bool(self._readers)

    def ask(self, entrant: Entrant) -> str:
        """Return IN, WAIT or `busy`."""
        if self.bulkhead.enter():
            return IN
        if not self.bulkhead.wait():
            return "busy"
        (self._readers if entrant.kind == "live" else self._guests).append(entrant)
        self._waits.start(entrant)
        return WAIT

    def give_up(self, entrant: Entrant) -> None:
        """Take *entrant* out of the queue."""
        queue = self._readers if entrant.kind == "live" else self._guests
        if entrant in queue:
            queue.remove(entrant)
            self._waits.end(entrant)
            self.bulkhead.give_up()

    def leave(self) -> None:
        """Give a place back; who waits longest gets it."""
        if self.bulkhead.leave():
            self._call(1)

    def resize(self, limit: int) -> None:
        """Change how many places there are."""
        self._call(self.bulkhead.resize(limit))

    def _call(self, count: int) -> None:
        for _ in range(count):
            entrant = (self._readers or self._guests).popleft()
            self._waits.end(entrant)
            self._loop.call_soon(entrant.entered)


class Adapting:
    """Places whose number follows the latency of the attempts that have one."""

    __slots__ = ("_places", "limit")

    def __init__(self, policy: Adaptive, places: Places, now: float) -> None:
        self.limit = Limit(policy, now)
        self._places = places

    def answered(self, kind: Kind, took: float, failed: bool, now: float) -> None:
        """Count an attempt, that began to be answered after *took* seconds, or *failed*."""
        inflight = self._places.bulkhead.inflight
        limit = self.limit
        changed = limit.failed(inflight, now) if failed else limit.answered(took, inflight, now)
        if changed:
            self._places.resize(limit.limit)


class Both:
    """Two who want to know how attempts went."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Heeds, other: Heeds) -> None:
        self._one, self._other = one, other

    def answered(self, kind: Kind, took: float, failed: bool, now: float) -> None:
        """Tell both."""
        self._one.answered(kind, took, failed, now)
        self._other.answered(kind, took, failed, now)


class Guests:
    """The gate of those who come to legacy for others' sake."""

    __slots__ = ("_loop", "_queue", "_upstream", "_waits", "guard")

    def __init__(self, guard: Guard, upstream: Places, waits: Waits[Entrant]) -> None:
        self.guard = guard
        self._upstream = upstream
        self._waits = waits
        self._queue: deque[Entrant] = deque()
        self._loop = asyncio.get_running_loop()

    def ask(self, entrant: Entrant) -> str:
        """Return IN, WAIT, `legacy_busy`, `legacy_full` or `readers_wait`."""
        said = self.guard.ask(entrant.kind, readers_wait=self._upstream.readers_wait)
        if said.verdict == "admit":
            return IN
        if said.verdict == "deny":
            return said.reason
        self._queue.append(entrant)
        self._waits.start(entrant)
        return WAIT

    def give_up(self, entrant: Entrant) -> None:
        """Take *entrant* out of the queue."""
        if entrant in self._queue:
            self._queue.remove(entrant)
            self._waits.end(entrant)
            self.guard.give_up()

    def leave(self) -> None:
        """Give a guest's place back."""
        if self.guard.leave():
            self._call(1)

    def answered(self, kind: Kind, took: float, failed: bool, now: float) -> None:
        """Count legacy's answer to a *kind*; the limit may move with it."""
        self._call(self.guard.answered(kind, took, failed, now))

    def _call(self, count: int) -> None:
        for _ in range(count):
            entrant = self._queue.popleft()
            self._waits.end(entrant)
            self._loop.call_soon(entrant.entered)
