# SPDX-License-Identifier: Apache-2.0
"""What happens to a tier when its server, its disk or its clock fails: a rung less, no request.

pains.md's rows 35 (the loss of a store takes nothing else down) and 37-40 live on this.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from contract.sites import Site, in_loop, page, until, whole
from servers.mongod import Mongod
from servers.redis import Redis
from servers.redis_cluster import RedisCluster
from servers.redis_sentinel import RedisSentinel

from strangler.cache.tiers import Purge, Tier, make_tier
from strangler.cache.tiers.ladder import Ladder

BODY = b"0123456789"
#: Far more than a deadline; what a busy machine may add to one.
SOON = 5.0


class Events:
    """The tier's events of one test, as (name, fields)."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "strangler.events")
        self._caplog = caplog

    def __call__(self, name: str) -> list[dict[str, Any]]:
        records = [r for r in self._caplog.records if r.getMessage() == name]
        return [record.__dict__["fields"] for record in records]


@pytest.fixture
def events(caplog: pytest.LogCaptureFixture) -> Events:
    return Events(caplog)


async def put(tier: Tier, one: Any = None, body: bytes = BODY) -> bool:
    one = one or page(length=len(body))
    return await tier.put(one, body, stay=60.0, moment=tier.moment)


async def slowest(tier: Tier, gets: int = 50) -> float:
    """Return how long the slowest of some gets took."""
    worst = 0.0
    for _ in range(gets):
        began = time.monotonic()
        await tier.get(page().key)
        worst = max(worst, time.monotonic() - began)
    return worst


async def goes_over(one: Tier, other: Tier) -> bool:
    """Put a page into one worker's tier; tell whether another worker gets it."""
    return await put(one, page(b"/new")) and bool(await other.get(page(b"/new").key))


def shared(redis: Any, kind: str = "redis") -> Site:
    return Site(kind, redis.url)


# Servers that are slow or gone.


@pytest.mark.parametrize("kind", ["redis", "toredis", "mongodb"])
@in_loop
async def test_a_frozen_server_is_cut_off_and_left_alone(kind: str, events: Events) -> None:
    with Mongod() if kind == "mongodb" else Redis() as server:
        url = server.url.replace("redis:", "toredis:") if kind == "toredis" else server.url
        tier = make_tier(url, name="shared")
        await tier.start()
        await until(lambda: put(tier))
        await until(lambda: tier.get(page().key))
        server.pause()
        assert await slowest(tier) < SOON
        await until(lambda: not tier.up)
        key = page().key
        began = time.monotonic()
        assert not any([await tier.get(key) for _ in range(1000)])
        assert await tier.lease(b"k", 1.0) == (b"", False)
        assert await tier.wait(b"k", 30.0)
        assert time.monotonic() - began < SOON
        assert events("tier.down")[0]["reason"] in ("timeout", "silent")
        assert not await tier.purge(Purge.tags(b"t"))
        server.resume()
        await until(lambda: tier.up, 30)
        assert events("tier.up")[0]["tier"] == "shared"
        await until(lambda: tier.get(page().key))
        await until(lambda: put(tier, page(b"/new")), 30)
        await tier.close()


@in_loop
async def test_a_busy_loop_is_not_held_against_redis(events: Events) -> None:
    with Redis() as server:
        # Redis itself may well wait for a core for longer than its own 50 ms.
        tier = make_tier(server.url, name="shared", deadline=0.3)
        await tier.start()
        await until(lambda: put(tier))
        key = page().key
        await until(lambda: tier.get(key))
        for _ in range(8):
            asked = [asyncio.ensure_future(tier.get(key)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # the questions are on their way
            time.sleep(3 * tier.deadline)  # what other work on the loop does to the answers
            assert all(await asyncio.gather(*asked))
        assert tier.up and not events("tier.down")
        await tier.close()


@pytest.mark.parametrize("kind", ["redis", "toredis", "redis+cluster", "mongodb"])
@in_loop
async def test_a_killed_server_costs_a_rung_until_it_is_back(kind: str, events: Events) -> None:
    made: dict[str, Callable[[], Any]] = {"redis+cluster": RedisCluster, "mongodb": Mongod}
    with made.get(kind, Redis)() as server:
        url = server.url.replace("redis:", "toredis:") if kind == "toredis" else server.url
        tier = make_tier(url, name="shared")
        await tier.start()
        await until(lambda: put(tier))
        processes = server.nodes if kind == "redis+cluster" else [server]
        for process in processes:
            process.kill()
        assert await slowest(tier) < SOON
        await until(lambda: not tier.up)
        assert not await put(tier)
        assert events("tier.down")
        for process in processes:
            process.start()
        await until(lambda: tier.up, 40)
        await until(lambda: put(tier), 40)
        await until(lambda: tier.get(page().key))
        await until(lambda: tier.purge(Purge.tags(b"t")))
        await tier.close()


@in_loop
async def test_a_tier_may_begin_without_its_server(events: Events) -> None:
    server = Redis()
    tier = make_tier(f"redis://127.0.0.1:{server.port}", name="shared")
    began = time.monotonic()
    await tier.start()
    assert time.monotonic() - began < 15.0
    assert not tier.up
    assert await tier.get(page().key) == []
    assert not await put(tier)
    with server:
        await until(lambda: tier.up, 30)
        await until(lambda: put(tier))
        await until(lambda: tier.get(page().key))
        await tier.close()


@in_loop
async def test_a_server_that_talks_rubbish_is_a_server_that_is_down(events: Events) -> None:
    async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"$-7\r\n*9\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(rubbish, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tier = make_tier(f"redis://127.0.0.1:{port}", name="shared")
    await tier.start()
    assert not tier.up
    assert await tier.get(page().key) == []
    await tier.close()
    server.close()


# Redis's own ways to fail.


@in_loop
async def test_redis_out_of_memory_refuses_puts_and_goes_on_answering(events: Events) -> None:
    with Redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        site = shared(server)
        tier, other = await site.worker(), await site.worker()
        await put(tier, page(b"/first", tags=(b"t",)))
        for number in range(200):
            body = os.urandom(50_000)
            if not await put(tier, page(b"/%d" % number, length=50_000), body):
                break
        else:
            raise AssertionError("it took ten megabytes")
        while tier.health["write"].up:
            await put(tier, page(b"/more", length=50_000), os.urandom(50_000))
        (down,) = events("tier.down")
        assert (down["side"], down["reason"][:3]) == ("write", "OOM")
        assert tier.up
        assert await tier.get(page(b"/first").key)
        # What is purged now must be gone all the same.
        assert await tier.purge(Purge.tags(b"t"))
        assert await other.get(page(b"/first").key) == []
        server.ask(b"CONFIG SET maxmemory 100mb")
        await until(lambda: put(tier), 20)
        assert [e["side"] for e in events("tier.up")] == ["write"]
        await site.close()


@in_loop
async def test_a_redis_too_old_to_purge_when_full_forgets_everything(events: Events) -> None:
    with Redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        site = shared(server)
        tier, other = await site.worker(), await site.worker()
        tier.store._flags = ""  # type: ignore[attr-defined]
        await put(tier, page(b"/first"))
        for size in (50_000, 1000, 10):  # until there is no room for the smallest thing
            number = 0
            one = page(b"/%d-0" % size, length=size)
            while await tier.put(one, os.urandom(size), stay=60.0, moment=tier.moment):
                number += 1
                one = page(b"/%d-%d" % (size, number), length=size)
        await tier.purge(Purge.tags(b"t"))
        assert await other.get(page(b"/first").key) == []
        assert await tier.get(page(b"/first").key) == []
        await site.close()


@in_loop
async def test_a_read_only_replica_is_no_tier(events: Events) -> None:
    with Redis() as master:
        with Redis("--replicaof", "127.0.0.1", str(master.port)) as replica:
            await until(lambda: b"master_link_status:up" in replica.ask(b"INFO replication"))
            tier = make_tier(replica.url, name="shared")
            await tier.start()
            assert not tier.up
            assert await tier.get(page().key) == []
            assert "READONLY" in events("tier.down")[0]["reason"]
            # It becomes a master: then it will do.
            replica.ask(b"REPLICAOF NO ONE")
            await until(lambda: tier.up, 30)
            await until(lambda: put(tier))
            await tier.close()


@pytest.mark.parametrize("kind", ["redis", "redis, at a glance"])
@pytest.mark.parametrize("lost", [b"FLUSHALL", b"DEL {strangler:shared:}seq"])
@in_loop
async def test_a_lost_log_of_purges_brings_nothing_back(lost: bytes, kind: str) -> None:
    with Redis() as server:
        site = shared(server, kind)
        tier, other = await site.worker(), await site.worker()
        kept = page(tags=(b"t",))
        await put(tier, kept)
        await tier.purge(Purge.tags(b"t"))
        row = (await tier.store.read(kept.key)).rows
        server.ask(lost)
        # As if the purged object had survived what the log has not.
        for variant, envelope in row:
            await tier.store.write(kept.key, variant, envelope, 60.0)
        for worker in (other, tier, await site.worker()):
            assert await worker.get(kept.key) == []
        await put(tier, kept)
        for worker in (other, tier, await site.worker()):
            assert await worker.get(kept.key)
        await site.close()


@in_loop
async def test_an_evicted_set_of_marks_is_found_out_by_who_comes_late() -> None:
    with Redis() as server:
        site = shared(server)
        tier = await site.worker()
        kept = page(tags=(b"t",))
        await put(tier, kept)
        row = (await tier.store.read(kept.key)).rows
        await tier.purge(Purge.tags(b"t"))
        server.ask(b"DEL {strangler:shared:}log")
        for variant, envelope in row:
            await tier.store.write(kept.key, variant, envelope, 60.0)
        late = await site.worker()
        assert await late.get(kept.key) == []
        await put(late, kept)
        assert await late.get(kept.key)
        await site.close()


@in_loop
async def test_sentinel_failover(events: Events) -> None:
    """The copies and the purges go over with it, and the tier by itself."""
    with RedisSentinel() as servers:
        site = Site("redis+sentinel", servers.url)
        tier, other = await site.worker(deadline=0.1), await site.worker(deadline=0.1)
        await until(lambda: put(tier, page(b"/kept")))
        await until(lambda: put(tier, page(b"/purged", tags=(b"t",))))
        await until(lambda: tier.get(page(b"/purged").key))
        await until(lambda: tier.purge(Purge.tags(b"t")))
        assert await other.get(page(b"/purged").key) == []
        wait = ("WAIT", 1, 60_000)
        (replied,) = await tier.store._commands.run(wait)  # type: ignore[attr-defined]
        assert replied == 1
        servers.lose_master()
        assert await slowest(tier) < 0.1 + SOON
        await asyncio.to_thread(servers.wait_for_failover)
        for worker in (tier, other):
            await until(lambda worker=worker: worker.up, 30)
        await until(lambda: tier.get(page(b"/kept").key))
        assert await tier.get(page(b"/purged").key) == []
        await until(lambda: put(tier, page(b"/new")), 20)
        await until(lambda: other.get(page(b"/new").key))
        await until(lambda: other.purge(Purge.everything()))
        assert await tier.get(page(b"/new").key) == []
        await site.close()


@in_loop
async def test_a_purge_that_a_failover_lost_is_made_again_by_who_heard_it() -> None:
    """The replica is cut off while the purge is made, and then becomes the master."""
    with RedisSentinel() as servers:
        site = Site("redis+sentinel", servers.url)
        tier, other = await site.worker(deadline=0.5), await site.worker(deadline=0.5)
        kept = page(tags=(b"t",))
        await until(lambda: put(tier, kept))
        await tier.store._commands.run(("WAIT", 1, 60_000))  # type: ignore[attr-defined]
        servers.replica.pause()
        await until(lambda: tier.purge(Purge.tags(b"t")))
        await until(lambda: other.moment == tier.moment)
        servers.lose_master()
        servers.replica.resume()
        await asyncio.to_thread(servers.wait_for_failover)
        await until(lambda: tier.up and other.up, 30)
        assert await tier.get(kept.key) == []
        late = await site.worker(deadline=0.5)
        await until(lambda: late.moment >= tier.moment)
        assert await late.get(kept.key) == []
        await site.close()


@in_loop
async def test_a_cluster_that_loses_a_node_goes_on_after_it_is_back(events: Events) -> None:
    with RedisCluster() as servers:
        site = Site("redis+cluster", servers.url)
        tier = await site.worker(deadline=0.05)
        pages = [page(b"/%d" % number) for number in range(30)]
        for one in pages:
            await put(tier, one)
        servers.nodes[1].kill()
        for _ in range(3):
            for one in pages:
                began = time.monotonic()
                await tier.get(one.key)
                assert time.monotonic() - began < 0.05 + SOON
        servers.nodes[1].start()
        await until(lambda: tier.up, 40)

        async def all_take() -> bool:
            return all([await put(tier, one) for one in pages])

        await until(all_take, 40)

        async def all_give() -> bool:
            return all([await tier.get(one.key) for one in pages])

        await until(all_give, 40)
        await site.close()


# MongoDB's own.


@in_loop
async def test_a_primary_that_steps_down_takes_no_puts_and_goes_on_answering(
    events: Events,
) -> None:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    with Mongod() as server:
        site = Site("mongodb", server.url)
        tier = await site.worker(deadline=0.5)
        await until(lambda: put(tier))

        def step_down() -> None:
            with MongoClient(server.url, serverSelectionTimeoutMS=2000) as client:
                with suppress(PyMongoError):  # an old server closes the connection over it
                    client.admin.command("replSetStepDown", 4, force=True)

        await asyncio.to_thread(step_down)
        assert not await put(tier, page(b"/new"))
        began = time.monotonic()
        assert not await tier.purge(Purge.tags(b"t"))
        assert time.monotonic() - began < 15.0
        await until(lambda: tier.get(page().key), 20.0)
        await until(lambda: put(tier, page(b"/new")), 40)
        await until(lambda: tier.purge(Purge.tags(b"t")))
        await site.close()


# SQLite's own.


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "var" / "shared.db"


def spoil(path: Path) -> None:
    """Overwrite the middle of the file, as a failing disk does, and its write-ahead log."""
    for name in (path, Path(f"{path}-wal")):
        if name.exists():
            with name.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                file.write(os.urandom(max(100, size)))


@in_loop
async def test_a_corrupt_file_is_set_aside_and_made_anew(database: Path, events: Events) -> None:
    site = Site("sqlite", f"sqlite:{database}")
    tier, other = await site.worker(), await site.worker()
    await put(tier, page(length=100_000), os.urandom(100_000))
    assert await other.get(page().key)
    spoil(database)
    await until(lambda: goes_over(tier, other), 20)
    await until(lambda: goes_over(other, tier), 20)
    assert database.with_name("shared.db.corrupt").exists()
    assert len(events("tier.rebuild")) == 1
    assert tier.moment == other.moment


@pytest.mark.parametrize("rubbish", [b"", b"not a database " * 1000])
@in_loop
async def test_a_file_that_is_no_database_is_set_aside_at_the_start(
    database: Path, rubbish: bytes
) -> None:
    database.parent.mkdir()
    database.write_bytes(rubbish)
    site = Site("sqlite", f"sqlite:{database}")
    tier = await site.worker()
    assert await put(tier)
    assert await tier.get(page().key)
    assert database.with_name("shared.db.corrupt").exists() == bool(rubbish)


@in_loop
async def test_a_deleted_file_is_made_anew_for_all(database: Path) -> None:
    site = Site("sqlite", f"sqlite:{database}")
    tier, other = await site.worker(), await site.worker()
    await put(tier)
    for name in database.parent.iterdir():
        name.unlink()
    await until(lambda: goes_over(tier, other))
    assert await other.get(page().key) == []
    assert await other.purge(Purge.everything())
    assert await tier.get(page(b"/new").key) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@in_loop
async def test_a_full_disk_refuses_puts_and_purges_all_the_same(
    small_disk: Path, events: Events
) -> None:
    site = Site("sqlite", f"sqlite:{small_disk / 'shared.db'}")
    tier, other = await site.worker(), await site.worker()
    await put(tier, page(b"/first", tags=(b"t",)))
    number = 0
    while await put(tier, page(b"/%d" % number, length=20_000), os.urandom(20_000)):
        number += 1
        assert number < 200
    (small_disk / "filler").write_bytes(b"")
    try:
        with (small_disk / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
    except OSError:
        pass  # now it is full
    while tier.health["write"].up:
        await put(tier, page(b"/more", length=20_000), os.urandom(20_000))
    assert "disk full" in [e["reason"] for e in events("tier.down")]
    assert tier.up
    assert await tier.get(page(b"/first").key)
    assert await tier.purge(Purge.tags(b"t"))
    for worker in (other, tier):
        assert await worker.get(page(b"/first").key) == []
    (small_disk / "filler").unlink()
    await until(lambda: goes_over(tier, other), 20)


@in_loop
async def test_a_read_only_disk_is_no_tier(small_disk: Path, events: Events) -> None:
    remount = ["mount", "-o"]
    subprocess.run([*remount, "remount,ro", small_disk], check=True)
    tier = make_tier(f"sqlite:{small_disk / 'shared.db'}", name="shared")
    await tier.start()
    assert not tier.up
    assert await tier.get(page().key) == []
    assert not await put(tier)
    assert not await tier.purge(Purge.everything())
    assert events("tier.down")[0]["reason"] == "read-only file system"
    subprocess.run([*remount, "remount,rw", small_disk], check=True)
    await until(lambda: tier.up, 30)
    await until(lambda: put(tier), 30)
    await until(lambda: tier.get(page().key))
    await tier.close()


@in_loop
async def test_a_writer_that_is_held_up_holds_up_no_reader(database: Path) -> None:
    site = Site("sqlite", f"sqlite:{database}")
    tier = await site.worker()
    await put(tier)
    held = sqlite3.connect(database, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(put(tier, page(b"/new")))
    for _ in range(50):
        began = time.monotonic()
        assert await tier.get(page().key)
        assert time.monotonic() - began < SOON
    assert not await writing
    held.execute("ROLLBACK")
    held.close()
    await until(lambda: put(tier, page(b"/new")))


@in_loop
async def test_a_file_keeps_to_its_size_and_to_what_is_read(database: Path) -> None:
    size = 4 << 20
    site = Site("sqlite", f"sqlite:{database}")
    tier = await site.worker(size=size)
    for number in range(30):
        await put(tier, page(b"/read-%d" % number, length=20_000), os.urandom(20_000))
    # As if that had been an hour ago, and read since.
    await tier.store.file.write(  # type: ignore[attr-defined]
        lambda c: c.execute("UPDATE kept SET used = used - 3600") and None
    )
    for number in range(60):
        await put(tier, page(b"/old-%d" % number, length=20_000), os.urandom(20_000))
    await tier.store.file.write(  # type: ignore[attr-defined]
        lambda c: c.execute("UPDATE kept SET used = used - 1800") and None
    )
    for number in range(30):
        assert await tier.get(page(b"/read-%d" % number).key)
    await tier.store.upkeep()
    for number in range(100):
        body = os.urandom(20_000 if number % 10 else 600_000)
        await put(tier, page(b"/new-%d" % number, length=len(body)), body)
        used = sum(f.stat().st_size for f in database.parent.iterdir() if "-" not in f.name)
        assert used < size * 1.3
    await tier.store.upkeep()
    kept = [bool(await tier.get(page(b"/old-%d" % n).key)) for n in range(60)]
    assert not any(kept)
    (rows, slices) = await tier.store.file.read(  # type: ignore[attr-defined]
        lambda c: c.execute(
            "SELECT (SELECT count(*) FROM kept WHERE blob),"
            " (SELECT count(DISTINCT blob) FROM slice)"
        ).fetchone()
    )
    assert rows == slices


@in_loop
async def test_two_processes_write_at_once(database: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        sys.path.insert(0, "tests")
        from contract.sites import Site, page

        async def main(which, path):
            site = Site("sqlite", f"sqlite:{path}")
            tier = await site.worker()
            for number in range(300):
                one = page(b"/%s-%d" % (which.encode(), number), tags=(b"t%d" % (number % 10),))
                assert await tier.put(one, b"0123456789", stay=60.0, moment=tier.moment)
                if number % 50 == 49:
                    assert await tier.purge(__import__("strangler").cache.tiers.Purge.tags(b"t1"))
            await site.close()

        import strangler.cache.tiers
        asyncio.run(main(*sys.argv[1:]))
        """
    )
    command = [sys.executable, "-c", script]
    running = [
        subprocess.Popen([*command, which, str(database)], stderr=subprocess.PIPE)
        for which in ("a", "b")
    ]
    for process in running:
        _, said = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, said.decode()
    tier = await Site("sqlite", f"sqlite:{database}").worker()
    for which in (b"a", b"b"):
        for number in range(290):
            found = await tier.get(page(b"/%b-%d" % (which, number)).key)
            assert bool(found) == (number % 10 != 1), number
    (sound,) = await tier.store.file.read(  # type: ignore[attr-defined]
        lambda c: c.execute("PRAGMA integrity_check").fetchone()
    )
    assert sound == "ok"
    await tier.close()


# Clocks.


@pytest.mark.parametrize("hours", [-100.0, 100.0])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@in_loop
async def test_a_clock_that_jumps_brings_nothing_back(
    kind: str, hours: float, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(kind, "memory" if kind == "memory" else f"sqlite:{database}")
    tier, other = await site.worker(), await site.worker()
    kept = page(tags=(b"t",))
    await put(tier, kept)
    await tier.purge(Purge.tags(b"t"))
    began = tier.moment
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    assert await other.get(kept.key) == []
    assert await tier.purge(Purge.tags(b"u"))
    assert tier.moment > began
    assert not await tier.put(page(tags=(b"u",)), BODY, stay=60.0, moment=began)
    assert await put(tier, kept)
    assert await other.get(kept.key)
    assert await tier.purge(Purge.tags(b"t"))
    assert await other.get(kept.key) == []
    assert await tier.lease(b"k", 10.0)
    assert await other.lease(b"k", 10.0) is None


# The ladder.


@in_loop
async def test_a_tier_that_was_away_is_told_of_purges_when_it_is_back(
    database: Path, events: Events
) -> None:
    with Redis("--save", "1 1", "--appendonly", "yes", "--appendfsync", "always") as server:
        near = make_tier(server.url, name="shared", deadline=2.0)
        far = make_tier(f"sqlite:{database}", name="archive", deadline=10.0)
        ladder = Ladder(None, near, far)
        await ladder.start()
        await until(lambda: put(near, page(tags=(b"t",))))
        server.kill()
        assert await ladder.purge(Purge.tags(b"t")) == {"archive": True, "shared": False}
        server.start()
        await until(lambda: near.up, 30)
        await until(lambda: events("purge.told"), 30)
        # It was there still, and it has been purged: both are in Redis's own log.
        assert server.ask(b"EXISTS strangler:shared:o:" + page().key) == b":1\r\n"
        assert await near.get(page().key) == []
        await ladder.close()


# Drivers that aren't there.


@pytest.mark.parametrize(
    ("url", "modules", "extra"),
    [
        ("redis://h", ["hiredis"], "redis"),
        ("redis+sentinel://h/s", ["hiredis"], "redis"),
        ("redis+cluster://h", ["redis"], "redis"),
        ("toredis://h", ["toredis"], "toredis"),
        ("mongodb://h", ["pymongo", "bson"], "mongodb"),
    ],
)
def test_a_missing_driver_is_named_when_it_is_asked_for(
    url: str, modules: list[str], extra: str
) -> None:
    script = f"""
import sys
for name in {modules!r}: sys.modules[name] = None
import strangler.cache.tiers, strangler.app
from strangler.cache.tiers import make_tier, ExtraMissing
try:
    import asyncio
    async def main(): make_tier({url!r}, name="shared")
    asyncio.run(main())
except ExtraMissing as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert f"pip install 'strangler[{extra}]'" in done.stdout


def test_importing_the_tiers_imports_no_driver() -> None:
    script = "import strangler.cache.tiers, sys; print([m for m in sys.modules if m in "
    script += "('redis', 'hiredis', 'pymongo', 'toredis', 'sqlite3')])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "url", ["", "redis", "mysql://h", "sqlite:", "redis://h:x", "redis+sentinel://h", "redis://h/x"]
)
def test_an_url_that_names_no_store_is_refused(url: str) -> None:
    async def make() -> None:
        make_tier(url, name="shared")

    with pytest.raises(ValueError):
        asyncio.run(make())


@in_loop
async def test_sliced_bodies_survive_a_server_that_dies_between_slices() -> None:
    from strangler.cache.tiers import BodyLost

    with Redis() as server:
        site = shared(server)
        tier = await site.worker()
        body = os.urandom(1_000_000)
        await put(tier, page(length=len(body)), body)
        (copy,) = await tier.get(page().key)
        assert await whole(tier, copy) == body
        got = b""
        with pytest.raises(BodyLost):
            async for piece in tier.body(copy):
                got += piece
                server.kill()
        assert body.startswith(got)
        assert got
        await site.close()
