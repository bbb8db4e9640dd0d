# SPDX-License-Identifier: Apache-2.0
"""Waits: order, renewal, and that a tick looks no further than it must."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from strangler.clock import TICK, Ticker, Waits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_expire_in_order_and_once() -> None:
    clock, expired = Clock(), []
    waits: Waits[str] = Waits(1.0, expired.append, clock)
    waits.start("a")
    clock.now = 0.5
    waits.start("b")
    waits.expire(0.9)
    assert expired == []
    waits.expire(1.0)
    assert expired == ["a"]
    waits.expire(5.0)
    waits.expire(9.0)
    assert expired == ["a", "b"]
    assert len(waits) == 0


def test_a_wait_that_begins_anew_or_ends_does_not_expire() -> None:
    clock, expired = Clock(), []
    waits: Waits[str] = Waits(1.0, expired.append, clock)
    waits.start("a")
    waits.start("b")
    clock.now = 0.9
    waits.start("a")
    waits.end("b")
    waits.end("never began")
    waits.expire(1.5)
    assert expired == []
    waits.expire(1.95)
    assert expired == ["a"]


def test_a_touched_wait_begins_anew_with_the_next_tick_if_it_is_still_under_way() -> None:
    clock, expired = Clock(), []
    waits: Waits[str] = Waits(1.0, expired.append, clock)
    for item in ("a", "b", "c"):
        waits.start(item)
    for item in ("a", "b", "never began"):
        waits.touch(item)
    waits.end("b")
    waits.expire(0.9)
    assert "b" not in waits
    waits.expire(1.0)
    assert expired == ["c"]
    waits.expire(1.85)
    assert expired == ["c"]
    waits.expire(1.91)
    assert expired == ["c", "a"]


def test_an_expiry_may_begin_or_end_other_waits() -> None:
    clock = Clock()
    expired: list[str] = []

    def strike(item: str) -> None:
        expired.append(item)
        waits.end("b")
        waits.start("c")

    waits: Waits[str] = Waits(1.0, strike, clock)
    waits.start("a")
    waits.start("b")
    clock.now = 1.0
    waits.expire(1.0)
    assert expired[0] == "a"
    assert "b" not in expired


def test_equal_limits_share_a_queue() -> None:
    async def main() -> None:
        ticker = Ticker(asyncio.get_running_loop())
        expired: list[int] = []
        waits = ticker.waits(0.01, expired.append)
        assert ticker.waits(0.01, expired.append) is not ticker.waits(0.02, expired.append)
        ticks = []
        ticker.each_tick(ticks.append)
        ticker.start()
        waits.start(1)
        await asyncio.sleep(TICK * 3)
        ticker.stop()
        assert expired == [1]
        assert ticks

    asyncio.run(main())


class Handle(NamedTuple):
    cancel: Callable[[], None]


class Loop:
    """A loop whose time a test lets pass; it calls at whole milliseconds, as uvloop does."""

    def __init__(self) -> None:
        self.now = 100.0
        self._calls: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[..., None], *given: Any) -> Handle:
        entry = (self.now + round(delay, 3), next(self._count), call, given)
        heapq.heappush(self._calls, entry)
        return Handle(lambda: self._calls.remove(entry))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            self.now, _, call, given = heapq.heappop(self._calls)
            call(*given)
        self.now = end


def test_a_limit_strikes_to_the_millisecond_between_two_ticks() -> None:
    loop, struck = Loop(), {}
    ticker = Ticker(loop)  # type: ignore[arg-type]
    waits = ticker.waits(1.0, lambda name: struck.setdefault(name, loop.now))
    ticker.start()
    began = {}
    for name in ("a", "b", "c", "touched", "ended"):
        loop.run(0.0133)
        began[name] = loop.now
        waits.start(name)
    waits.end("ended")
    loop.run(0.5)
    waits.touch("touched")
    loop.run(0.9)
    assert set(struck) == {"a", "b", "c"}
    for name, at in struck.items():
        assert abs(at - began[name] - 1.0) <= 0.0005
    ticker.stop()
    loop.run(5.0)
    assert len(struck) == 3
