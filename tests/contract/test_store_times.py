# SPDX-License-Identifier: Apache-2.0
"""A store is judged by what it did, not by how late this process was to hear of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from contract.sites import in_loop, page, until

from strangler.cache.tiers import Tier, make_tier
from strangler.cache.tiers.sqlite import Sqlite

BODY = b"0123456789"
DEADLINE = 0.02


def compute(seconds: float) -> None:
    """Keep the loop's thread, and with it the interpreter, as a burst of requests does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def opened(path: Path) -> Tier:
    tier = make_tier(f"sqlite:{path}", name="shared", deadline=DEADLINE)
    await tier.start()
    assert await tier.put(page(length=len(BODY)), BODY, stay=60.0, moment=tier.moment)
    return tier


@in_loop
async def test_a_loop_that_has_no_time_takes_no_tier_down(tmp_path: Path) -> None:
    tier = await opened(tmp_path / "shared.db")
    late = 0
    for _ in range(12):
        asking = asyncio.ensure_future(tier.get(page().key))
        await asyncio.sleep(0)
        compute(DEADLINE * 1.5)
        late += not await asking
        assert tier.up
    await tier.close()
    assert late >= 3, "nothing was late, so nothing was judged"


@in_loop
async def test_sqlite_that_is_slow_itself_takes_it_down(tmp_path: Path) -> None:
    tier = await opened(tmp_path / "shared.db")
    assert isinstance(tier.store, Sqlite)
    for _ in range(8):
        # As a disk that takes its time: the lane's thread waits, the interpreter is free.
        slow = tier.store.file.read(lambda _: time.sleep(DEADLINE * 2))
        assert not await tier.get(page().key)
        await slow
        if not tier.up:
            break
    assert not tier.up
    await until(lambda: tier.up)
    await tier.close()


@in_loop
async def test_sqlite_that_hangs_takes_it_down_before_it_answers(tmp_path: Path) -> None:
    tier = await opened(tmp_path / "shared.db")
    assert isinstance(tier.store, Sqlite)
    hangs = tier.store.file.read(lambda _: time.sleep(0.6))
    while tier.up:
        assert not hangs.done()
        assert not await tier.get(page().key)
    await hangs
    await until(lambda: tier.up)
    await tier.close()
