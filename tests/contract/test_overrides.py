# SPDX-License-Identifier: Apache-2.0
"""What a store of overrides does, whichever it is: one suite, a file and a real Redis."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from servers.redis import Redis
from servers.redis_cluster import RedisCluster
from servers.redis_sentinel import RedisSentinel

from strangler.control.stores import Kept, Moved, Store, Unrecorded, make_store
from strangler.rollout import Override


class Place:
    """One place for the document, and as many stores that lead there as a test wants."""

    def __init__(self, url: str, folder: Path, server: Any, site: str = "www") -> None:
        self.url, self.folder, self.server, self.site = url, folder, server, site
        self._open: list[Store] = []

    async def store(self) -> tuple[Store, list[Kept | None]]:
        """Return another process's store, started, and the list of what it hears."""
        heard: list[Kept | None] = []
        store = make_store(self.url, folder=self.folder, site=self.site)
        self._open.append(store)
        await store.start(heard.append)
        return store, heard

    async def close(self) -> None:
        for store in self._open:
            await store.close()
        self._open.clear()


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def sentinel() -> Iterator[RedisSentinel]:
    with RedisSentinel() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as server:
        yield server


@pytest.fixture(params=["file", "redis", "sentinel", "cluster"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        return Place("file", tmp_path, None)
    server = request.getfixturevalue(request.param)
    # A site of its own for each test: what another has left is another's.
    return Place(server.url, tmp_path, server, site=tmp_path.name)


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**given: Any) -> None:
        async def whole() -> None:
            try:
                await asyncio.wait_for(test(**given), 120)
            finally:
                for one in given.values():
                    if isinstance(one, Place):
                        await one.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(whole())

    return run


def chosen(id_: str) -> Override:
    return Override(
        id=id_, kind="stage", subject=f"route:/{id_}", value="legacy", author="ana",
        reason="ação \u2603", created=1.0, expires=9e9, file="live",
    )  # fmt: skip


def after(kept: Kept, id_: str) -> Kept:
    return kept.after(kept.overrides.with_(chosen(id_)), [{"what": "override.set", "id": id_}])


async def until(true: Callable[[], bool], what: str = "") -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


@in_loop
async def test_who_follows_hears_of_a_change_and_who_comes_late_finds_it(place: Place) -> None:
    one, _ = await place.store()
    _, early = await place.store()
    first = after(Kept.first(), "a")
    await one.write(first, None)
    await until(lambda: early[-1:] == [first])
    _, late = await place.store()
    await until(lambda: bool(late))
    assert late == [first]
    second = after(first, "b")
    await one.write(second, first)
    await until(lambda: early[-1] == late[-1] == second)


@in_loop
async def test_pain_34_a_change_of_what_is_no_longer_there_is_refused(place: Place) -> None:
    one, _ = await place.store()
    other, _ = await place.store()
    first = after(Kept.first(), "a")
    await one.write(first, None)
    with pytest.raises(Moved) as late:
        await other.write(after(Kept.first(), "b"), None)
    assert late.value.kept == first
    second = after(first, "b")
    await other.write(second, late.value.kept)
    with pytest.raises(Moved) as late:
        await one.write(after(first, "c"), first)
    assert late.value.kept == second


@in_loop
async def test_pain_34_of_many_at_once_none_is_lost(place: Place) -> None:
    async def change(number: int) -> None:
        store, _ = await place.store()
        before: Kept | None = None
        while True:
            kept = after(before or Kept.first(), str(number))
            try:
                await store.write(kept, before)
                return
            except Moved as moved:
                before = moved.kept

    await asyncio.gather(*map(change, range(12)))
    _, heard = await place.store()
    await until(lambda: bool(heard))  # at once, or as soon as a busy store answers
    assert heard[0] is not None
    assert heard[0].overrides.version == 12
    assert {one.id for one in heard[0].overrides} == {str(number) for number in range(12)}
    assert [entry["version"] for entry in heard[0].recent] == list(range(1, 13))


@in_loop
async def test_instances_leave_word(place: Place) -> None:
    store, _ = await place.store()
    await store.beat("one", {"hash": "ab"})
    await store.beat("two", {"hash": "cd"})
    await store.beat("one", {"hash": "ef"})
    listed = {one["name"]: one["hash"] for one in await store.instances()}
    assert listed == {"one": "ef", "two": "cd"}


# -------------------------------------------------------------------- a file's own faults


@in_loop
async def test_a_file_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    place = Place("file", tmp_path / "gone", None)
    store, _ = await place.store()
    with pytest.raises(Unrecorded, match="No such file"):
        await store.write(after(Kept.first(), "a"), None)
    assert store.trouble
    (tmp_path / "gone").mkdir()
    await store.write(after(Kept.first(), "a"), None)
    assert not store.trouble
    await place.close()


@in_loop
async def test_a_file_that_makes_no_sense_is_set_aside_and_not_lost(tmp_path: Path) -> None:
    (tmp_path / "overrides.json").write_text("{half")
    place = Place("file", tmp_path, None)
    store, _ = await place.store()
    await store.write(after(Kept.first(), "a"), None)
    assert (tmp_path / "overrides.json.broken").read_text() == "{half"
    assert "{half" not in (tmp_path / "overrides.json").read_text()
    await place.close()


# -------------------------------------------------------------------- Redis's own faults


@in_loop
async def test_without_redis_nothing_is_recorded_and_its_return_is_noticed(tmp_path: Path) -> None:
    with Redis() as server:
        place = Place(server.url, tmp_path, server)
        store, heard = await place.store()
        first = after(Kept.first(), "a")
        await store.write(first, None)
        server.kill()
        second = after(first, "b")
        with pytest.raises(Unrecorded):
            await store.write(second, first)
        await until(lambda: bool(store.trouble))
        server.start()
        await until(lambda: not store.trouble)
        assert heard[-1] is None  # it has come back empty
        await store.write(second, first)
        _, late = await place.store()
        await until(lambda: bool(late))
        assert late == [second]
        await place.close()


@in_loop
async def test_a_redis_that_hangs_is_given_up_in_time(tmp_path: Path) -> None:
    with Redis() as server:
        place = Place(server.url, tmp_path, server)
        store, _ = await place.store()
        server.pause()
        try:
            with pytest.raises(Unrecorded):
                async with asyncio.timeout(6):
                    await store.write(after(Kept.first(), "a"), None)
        finally:
            server.resume()
        await place.close()


@in_loop
async def test_a_full_redis_still_takes_them(tmp_path: Path) -> None:
    with Redis("--maxmemory", "2mb", "--maxmemory-policy", "noeviction") as server:
        server.ask(b"SET filler x")
        for number in range(400):
            server.ask(f"SETRANGE fill{number} 20000 x".encode())
        place = Place(server.url, tmp_path, server)
        store, _ = await place.store()
        await store.write(after(Kept.first(), "a"), None)
        await place.close()


@pytest.mark.parametrize(
    "url", ["redis:", "http://x", "", "sqlite:x", "redis+sentinel://x:1", "mongodb://x"]
)
def test_what_names_no_store(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        make_store(url, folder=tmp_path, site="www")


def test_a_password_is_in_no_name(tmp_path: Path) -> None:
    store = make_store("redis://ana:geheim@h:1/0", folder=tmp_path, site="www")
    assert "geheim" not in f"{store.name} {store!r}"
