# SPDX-License-Identifier: Apache-2.0
"""Time limits by the thousand, without a timer each.

A timer per request costs microseconds and a place in a heap. Everything that waits for the same
length of time expires in the order in which it began, so a dictionary in order of insertion is
queue enough: starting and ending a wait are two dictionary operations, and one tick looks only at
the front of each queue. A wait that begins anew thousands of times a second is only noted down
meanwhile, and moved once a tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")

#: Seconds between two looks at all queues. A limit that ends before the next one gets a timer of
#: its own, so that it strikes on time; one that is shorter than this may strike so much late.
TICK: Final = 0.05
#: Seconds before its end at which a wait is over: the loop's timers count whole milliseconds, and
#: one that came after each end would come a millisecond late on average.
_NEAR: Final = 0.0005


class Waits(Generic[Item]):
    """Items that may each wait the same number of seconds; made by `Ticker.waits`."""

    __slots__ = ("_began", "_expired", "_now", "_touched", "seconds", "touch")

    touch: Callable[[Item], None]
    """Begin an item's wait anew at the next tick, if it is under way until then."""

    def __init__(
        self, seconds: float, expired: Callable[[Item], None], now: Callable[[], float]
    ) -> None:
        self.seconds = seconds
        self._expired = expired
        self._now = now
        self._began: dict[Item, float] = {}
        self._touched: set[Item] = set()
        self.touch = self._touched.add

    def __len__(self) -> int:
        return len(self._began)

    def __contains__(self, item: object) -> bool:
        return item in self._began

    def start(self, item: Item) -> None:
        """Begin *item*'s wait; one that is under way begins anew."""
        self._began.pop(item, None)
        self._began[item] = self._now()

    def end(self, item: Item) -> None:
        """End *item*'s wait, if it has one."""
        self._began.pop(item, None)

    def due(self) -> float:
        """Return when the wait that began first will have taken too long; infinity without one."""
        for began in self._began.values():
            return began + self.seconds
        return inf

    def expire(self, now: float) -> None:
        """Call back for every item that has waited too long at *now*, and forget it."""
        began = self._began
        if self._touched:
            for item in self._touched:
                if began.pop(item, None) is not None:
                    began[item] = now
            self._touched.clear()
        latest = now - self.seconds + _NEAR
        while began:
            item = next(iter(began))
            if began[item] > latest:
                return
            del began[item]
            self._expired(item)


class Ticker:
    """Looks at all its queues every `TICK` seconds of the running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: dict[tuple[float, Any], Waits[Any]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0
        self._calls: list[Callable[[float], None]] = []

    def waits(self, seconds: float, expired: Callable[[Item], None]) -> Waits[Item]:
        """Return the queue for this limit and this call back; the same one for the same two."""
        key = (seconds, expired)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Waits(seconds, expired, self._loop.time)
        return queue

    def each_tick(self, call: Callable[[float], None]) -> None:
        """Call *call* with the loop's time at every tick."""
        self._calls.append(call)

    def start(self) -> None:
        """Begin to tick."""
        if self._timer is None:
            self._timer = self._loop.call_later(TICK, self._tick)

    def _look(self, queue: Waits[Any], now: float) -> None:
        """Expire what is over in *queue*; come back for what will be before the next tick."""
        queue.expire(now)
        due = queue.due()
        if due < self._next:
            self._loop.call_later(due - now, self._strike, queue)

    def _strike(self, queue: Waits[Any]) -> None:
        if self._timer is not None:
            self._look(queue, self._loop.time())

    def stop(self) -> None:
        """End all ticking; no wait expires after this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        now = self._loop.time()
        self._next = now + TICK
        for queue in list(self._queues.values()):
            self._look(queue, now)
        for call in self._calls:
            call(now)
