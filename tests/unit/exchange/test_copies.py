# SPDX-License-Identifier: Apache-2.0
"""What is found below the edge tier while the stores are still busy with what was told them."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from unit.cache.build import ORIGIN, cc, request, stored

from strangler.cache.policy import Tier
from strangler.cache.tiers.follower import MOST_WRITES
from strangler.exchange.caching.copies import Copies

FIELDS = request().fields


def shared(folder: Path) -> Copies:
    """Return the copies of a site with a shared tier alone, and a busy machine's time for it."""
    tier = Tier(name="shared", store=f"sqlite:{folder / 'shared.db'}", timeout=20.0)
    return Copies.of({"shared": tier}, name="strangler")


def test_what_was_dropped_is_not_found_while_a_store_has_yet_to_drop_it(tmp_path: Path) -> None:
    async def story() -> None:
        copies = shared(tmp_path)
        await copies.ladder.start()
        try:
            wrong = replace(stored(cc(b"max-age=60")), received=time.time())
            tier = copies.below[0][1]
            assert await tier.put(
                wrong, bytes(wrong.length), stay=60.0, moment=copies.moments().shared
            )
            assert await copies.search(wrong.key, ORIGIN, FIELDS) is not None
            copies.forget(wrong)
            # Asked in the same breath: the store's thread has not even heard of it.
            assert await copies.search(wrong.key, ORIGIN, FIELDS) is None
            newer = replace(wrong, received=wrong.received + 1)
            assert await tier.put(
                newer, bytes(newer.length), stay=60.0, moment=copies.moments().shared
            )
            while copies._forgetting:
                await asyncio.sleep(0.001)
        finally:
            await copies.ladder.close()

    asyncio.run(story())


def test_a_look_that_began_before_a_drop_does_not_find_what_was_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's answer is on its way while the drop is made."""

    async def story() -> None:
        copies = shared(tmp_path)
        await copies.ladder.start()
        try:
            wrong = replace(stored(cc(b"max-age=60")), received=time.time())
            tier = copies.below[0][1]
            assert await tier.put(
                wrong, bytes(wrong.length), stay=60.0, moment=copies.moments().shared
            )
            get, read, on = tier.get, asyncio.Event(), asyncio.Event()

            async def late(key: bytes) -> object:
                found = await get(key)
                read.set()
                await on.wait()
                return found

            monkeypatch.setattr(tier, "get", late)
            looking = asyncio.create_task(copies.search(wrong.key, ORIGIN, FIELDS))
            await read.wait()
            copies.forget(wrong)
            while await get(wrong.key):
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            on.set()
            assert await looking is None
        finally:
            await copies.ladder.close()

    asyncio.run(story())


def test_a_clock_that_is_put_back_makes_nothing_fresh_for_ever(tmp_path: Path, monkeypatch) -> None:
    """Neither in memory nor below: each was fetched an hour "later", and lives for a minute."""

    async def story() -> None:
        tiers = {
            "edge": Tier(name="edge", store="memory"),
            "shared": Tier(name="shared", store=f"sqlite:{tmp_path / 'shared.db'}"),
        }
        copies = Copies.of(tiers, name="strangler")
        await copies.ladder.start()
        try:
            before = replace(stored(cc(b"max-age=60")), received=time.time())
            copies.keep(before, bytes(before.length), ORIGIN, copies.moments())
            while await copies.search(before.key, ORIGIN, FIELDS) is None:
                await asyncio.sleep(0.001)
            assert copies.held(before.key)
            copies.look_at_clock()
            assert copies.held(before.key), "it goes on as it should"
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
            copies.look_at_clock()
            assert not copies.held(before.key)
            found = await copies.search(before.key, ORIGIN, FIELDS)
            assert found is not None, "it is still there for a ladder"
            assert found.usable_until <= time.time(), "and stale"
        finally:
            monkeypatch.undo()
            await copies.ladder.close()

    asyncio.run(story())


def test_what_is_dropped_while_too_much_is_written_is_dropped_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        copies = shared(tmp_path)
        await copies.ladder.start()
        try:
            tier = copies.below[0][1]
            gate = asyncio.Event()
            for _ in range(MOST_WRITES):
                tier.spawn(gate.wait())
            copies.forget(replace(stored(cc(b"max-age=60")), received=time.time()))
            async with asyncio.timeout(60):
                while copies._forgetting:
                    await asyncio.sleep(0.001)
            gate.set()
        finally:
            await copies.ladder.close()

    asyncio.run(story())


def test_what_holds_nothing_in_memory_takes_no_put_its_place(tmp_path: Path) -> None:
    """The end of a lease waits for the put that it was taken for: each put has one behind it."""

    async def story() -> None:
        copies = shared(tmp_path)
        await copies.ladder.start()
        try:
            tier = copies.below[0][1]
            gate = asyncio.Event()
            for _ in range(MOST_WRITES):
                assert tier.spawn(gate.wait()) is not None
                assert tier.spawn(gate.wait(), small=True) is not None
            assert tier.spawn(gate.wait()) is None
            gate.set()
        finally:
            await copies.ladder.close()

    asyncio.run(story())
