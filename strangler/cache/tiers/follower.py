# SPDX-License-Identifier: Apache-2.0
"""Follow a store's purges, and know whether the store is worth asking.

The log's last number is read with every answer of a store and compared with what is known: an
answer is judged only by marks that are as new as itself, so a purge that has been acknowledged is
seen by the very next `get`, in any process. For those who don't ask the store, such as the edge
tier, the number is looked at every `POLL` seconds. That is one small question on a connection that
is there anyway, so it is preferred to pub/sub, whose lost messages and half-dead connections would
need the same look to be found out. A process that comes late, or was cut off, reads the marks after
its own number; where the log no longer goes that far back, its floor says so.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal

from strangler.cache.tiers.health import Health
from strangler.cache.tiers.purges import Mark, Marks, Purge
from strangler.cache.tiers.store import Log, Prompt, Store, StoreFailed, Timed
from strangler.cache.tiers.within import Within
from strangler.observe.events import announce

#: Seconds between two looks at a store's log: how late another machine's purge is heard of.
POLL: Final = 0.2
#: Seconds that what no reader waits for may take: a put, a purge, the first look at a log.
PATIENCE: Final = 2.0
#: Seconds between two upkeeps of a store.
UPKEEP: Final = 5.0
#: Writes under way at once; more are dropped, for their bodies would be held in memory.
MOST_WRITES: Final = 64

Side = Literal["read", "write"]


class Follower:
    """Keeps `marks` up to a store's log, and counts what goes well and badly with the store."""

    def __init__(self, name: str, store: Store, *, deadline: float, poll: float = POLL) -> None:
        """Follow *store* for the tier called *name*, looking every *poll* seconds."""
        self.name = name
        self.store = store
        self.deadline = deadline
        self._prompt = store if isinstance(store, Prompt) and store.limit(deadline) else None
        self.marks = Marks()
        self.health: dict[Side, Health] = {"read": Health(), "write": Health()}
        #: Called with every purge that somebody has made.
        self.listeners: list[Callable[[Mark], None]] = []
        self._reads = self.health["read"]
        self._poll = poll
        self._writes = 0
        self._failed_at = float("-inf")
        self._look = asyncio.Event()
        self._catching: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._small = 0  # of those that run
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def up(self) -> bool:
        """Tell whether readers get anything from the store at present."""
        return self._reads.up and self.marks.seq > 0

    def status(self) -> dict[str, Any]:
        """Return whether the store is in use both ways, and what was wrong last where it isn't."""
        sick = next((one for one in self.health.values() if not one.up), None)
        return {"up": self.up and sick is None, "why": sick.reason if sick is not None else None}

    async def start(self) -> None:
        """Open the store and take in its purges; return after `PATIENCE` seconds in any case."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.store.open()
                await self._caught_up()
        except Exception as error:
            self.failed("read", error, hard=True)
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following, let what is under way end for a moment, close the store."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running, timeout=self.deadline)
        ending = {task for task in (self._task, self._catching) if task is not None}
        ending |= self._running
        for task in ending:
            task.cancel()
        if ending:
            # A driver may swallow a cancellation; then its own time limits end it.
            await asyncio.wait(ending, timeout=PATIENCE)
        with suppress(Exception):
            async with asyncio.timeout(PATIENCE):
                await self.store.close()

    def in_time(self) -> Within:
        """Return what ends a question to the store at its deadline.

        A store that counts its own time is only kept from going on for ever: it is not to blame
        where our own loop hears late of its answer.
        """
        return Within(self.deadline if self._prompt is None else PATIENCE)

    async def reach(self, seq: int) -> None:
        """Take in the log up to *seq* at least; raise StoreFailed where it doesn't go that far."""
        for _ in range(3):
            if self.marks.seq >= seq:
                return
            # A look that is under way may have read the log before that number was in it.
            await self._caught_up()
        raise StoreFailed("its purges can't be followed")

    def suspect(self) -> None:
        """Have the log looked at now: an answer came with a number lower than what is known."""
        self._look.set()

    async def write(self, write: Callable[[], Awaitable[None]], *, small: bool = False) -> bool:
        """Write what no reader waits for; tell whether it was done.

        Not where too many writes are under way, or where the store takes none. small: it holds
        nothing in memory and somebody waits for it, so it is tried in any case.
        """
        health = self.health["write"]
        now = time.monotonic()
        if not small and (self._writes >= MOST_WRITES or not health.may_ask(now)):
            return False
        if not health.up and not small:
            health.until = now + PATIENCE  # one asks, the others wait for what it hears
        self._writes += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await write()
        except Exception as error:
            self.failed("write", error)
            return False
        finally:
            self._writes -= 1
        if health.succeeded():
            announce("tier.up", tier=self.name, store=self.store.kind, side="write")
        return True

    def spawn(
        self, work: Coroutine[Any, Any, Any], *, small: bool = False
    ) -> asyncio.Task[Any] | None:
        """Run *work* in the background, unless there is too much of that; *small* as in `write`.

        None where there is too much.
        """
        if not small and len(self._running) - self._small >= MOST_WRITES:
            work.close()
            return None
        task = asyncio.create_task(work)
        self._running.add(task)
        self._small += small
        task.add_done_callback(partial(self._ran, small))
        return task

    def _ran(self, small: bool, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        self._small -= small

    def failed(self, side: Side, error: Exception, *, hard: bool = False) -> None:
        """Count a failure of the store and leave it alone where they are many."""
        now = time.monotonic()
        if isinstance(error, TimeoutError):
            store = self.store
            if side == "read" and isinstance(store, Timed) and not store.stalled(self.deadline):
                return  # it was this process that had no time for the answer
            # A stall, be it the store's or our own loop's, hits all who wait: that is one failure.
            if now - self._failed_at < self.deadline:
                return
            self._failed_at = now
        elif isinstance(error, OSError) or getattr(error, "hard", False):
            hard = True
        reason = reason_of(error)
        if self.health[side].failed(reason, now, random.random(), hard=hard):
            fields = {"tier": self.name, "store": self.store.kind, "side": side, "reason": reason}
            announce("tier.down", level=logging.WARNING, **fields)

    async def _caught_up(self) -> None:
        if self._catching is None or self._catching.done():
            self._catching = asyncio.create_task(self._catch_up())
            self._catching.add_done_callback(_retrieve)
        await asyncio.shield(self._catching)

    async def _catch_up(self) -> None:
        known = self.marks.seq
        async with asyncio.timeout(PATIENCE):
            log = await self.store.log(known)
            if log.seq < known:
                # A failover or a restart from an old state has lost its end: it is here still.
                announce("purges.restore", tier=self.name, store=self.store.kind)
                await self.store.restore(self.marks.after(log.seq), known)
                log = await self.store.log(known)
        self._take_in(known, log)

    def _take_in(self, known: int, log: Log) -> None:
        self.marks.follow(log.seq, log.floor, log.marks)
        if not known:
            return
        marks = list(log.marks)
        if log.floor > known:  # not all of what was forgotten has been heard of here
            marks.insert(0, Mark(log.floor, Purge.everything().labels[0], False))
        for mark in marks:
            for listener in self.listeners:
                listener(mark)

    async def _follow(self) -> None:
        upkeep = time.monotonic() + UPKEEP * random.random()
        while not self._closed:
            with suppress(TimeoutError):
                # Not wait_for, which in 3.11 may swallow a cancellation.
                async with asyncio.timeout(self._poll * random.uniform(0.8, 1.0)):
                    await self._look.wait()
            suspicious = self._look.is_set()
            self._look.clear()
            now = time.monotonic()
            if not self._reads.may_ask(now):
                continue
            try:
                async with self.in_time():
                    seq = await self.store.last()
                if seq > self.marks.seq or (suspicious and seq < self.marks.seq):
                    await self._caught_up()
            except Exception as error:
                self.failed("read", error)
                continue
            if self._reads.succeeded():
                announce("tier.up", tier=self.name, store=self.store.kind, side="read")
            if now >= upkeep:
                upkeep = now + UPKEEP * random.uniform(0.8, 1.2)
                await self.write(self.store.upkeep)


def reason_of(error: Exception) -> str:
    """Return why a store failed, in a few words without line ends."""
    if isinstance(error, StoreFailed):
        return error.reason
    if isinstance(error, TimeoutError):
        return "timeout"
    text = " ".join(str(error).split())[:120]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _retrieve(task: asyncio.Task[None]) -> None:
    """Look at what a task ended with, so that nobody is told that nobody did."""
    if not task.cancelled():
        task.exception()
