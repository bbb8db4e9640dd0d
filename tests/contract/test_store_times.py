# SPDX-License-Identifier: Apache-2.0
"""A store is judged by what it did, not by how late this process was to hear of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.sites import Site, in_loop, page, until
from servers.redis import Redis

from strangler.cache.tiers import Tier, sqlite_file
from strangler.cache.tiers.follower import MOST_WRITES
from strangler.cache.tiers.sqlite import Sqlite

BODY = b"0123456789"
#: SQLite's own.
DEADLINE = 0.02
#: Longer than a busy machine gives neither of two threads a core, which counts as SQLite's time.
SELDOM_LOST = 0.15


@pytest.fixture
def disk(tmp_path: Path) -> Site:
    return Site("sqlite", f"sqlite:{tmp_path / 'shared.db'}")


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as made:
        yield made


@pytest.fixture
def fleet(redis: Redis) -> Site:
    redis.clear()
    return Site("redis", redis.url)


def compute(seconds: float) -> None:
    """Keep the loop's thread, and with it the interpreter, as a burst of requests does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def opened(site: Site, deadline: float = DEADLINE) -> tuple[Tier, Sqlite]:
    tier = await site.worker(deadline=deadline)
    assert await tier.put(page(length=len(BODY)), BODY, stay=60.0, moment=tier.moment)
    assert isinstance(tier.store, Sqlite)
    return tier, tier.store


@in_loop
async def test_a_loop_that_has_no_time_takes_no_tier_down(disk: Site) -> None:
    tier, _ = await opened(disk, SELDOM_LOST)
    for _ in range(4):
        asking = [asyncio.ensure_future(tier.get(page().key)) for _ in range(50)]
        for _ in range(3):
            await asyncio.sleep(0)
            compute(SELDOM_LOST)
        await asyncio.gather(*asking)
        assert tier.up


@in_loop
async def test_what_the_loop_computes_meanwhile_is_not_sqlites_time(
    disk: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_LATELY", 60.0)
    _, store = await opened(disk)
    enough = threading.Event()
    began, computed = time.monotonic(), time.thread_time()
    taking = store.file.read(lambda _: enough.wait(60) and None)
    compute(DEADLINE * 10)
    enough.set()
    await taking
    # What neither thread had, because the machine was busy, may count as SQLite's.
    neither = time.monotonic() - began - (time.thread_time() - computed)
    assert not store.stalled(neither + DEADLINE)
    at_it, enough = threading.Event(), threading.Event()
    taking = store.file.read(lambda _: at_it.set() or (enough.wait(60) and None))
    await asyncio.to_thread(at_it.wait)
    await asyncio.sleep(DEADLINE * 2)
    assert store.stalled(DEADLINE), "it is at it still"
    enough.set()
    await taking
    assert store.stalled(DEADLINE), "those who waited behind it are about to give up"
    monkeypatch.setattr(sqlite_file, "_LATELY", 0.1)
    await asyncio.sleep(0.15)
    assert not store.stalled(DEADLINE)


@in_loop
async def test_sqlite_that_is_slow_itself_takes_it_down(disk: Site) -> None:
    tier, store = await opened(disk)
    for _ in range(10):
        # As a disk that takes its time: the lane's thread waits, the interpreter is free.
        began, enough = threading.Event(), threading.Event()
        slow = store.file.read(lambda _, a=began, b=enough: a.set() or (b.wait(60) and None))
        await asyncio.to_thread(began.wait)
        assert not await tier.get(page().key)
        enough.set()
        await slow
        if not tier.up:
            break
    assert not tier.up
    await until(lambda: tier.up)


@in_loop
async def test_sqlite_that_hangs_takes_it_down_before_it_answers(disk: Site) -> None:
    tier, store = await opened(disk)
    answers = threading.Event()
    hangs = store.file.read(lambda _: answers.wait(60) and None)
    while tier.up:
        assert not hangs.done()
        assert not await tier.get(page().key)
    answers.set()
    await hangs
    await until(lambda: tier.up)


async def owned(tier: Tier) -> bool:
    """Tell whether *tier* gets the lease, as the only one."""
    lease = await tier.lease(b"k", 30.0)
    return lease is not None and bool(lease.token)


@in_loop
async def test_a_lease_that_was_given_up_on_holds_nobody_up(fleet: Site, redis: Redis) -> None:
    """The store took it after all: without an owner it would stand for its whole five seconds."""
    one, other = [await fleet.worker(deadline=0.005) for _ in range(2)]
    redis.pause()
    assert await one.lease(b"k", 30.0) == (b"", False)
    redis.resume()
    await until(lambda: one.up and other.up)
    await until(lambda: owned(other))


@in_loop
async def test_a_lease_ends_however_much_is_being_written(fleet: Site, redis: Redis) -> None:
    one, other = [await fleet.worker(deadline=0.005) for _ in range(2)]
    lease = await one.lease(b"k", 30.0)
    assert lease is not None
    redis.pause()
    for number in range(MOST_WRITES + 10):
        some = page(b"/%d" % number, length=len(BODY))
        one.spawn(one.put(some, BODY, stay=60.0, moment=one.moment))
    await asyncio.sleep(0)
    one.release(b"k", lease.token)
    await asyncio.sleep(0.01)
    redis.resume()
    await until(lambda: owned(other))
