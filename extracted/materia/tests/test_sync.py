# SPDX-License-Identifier: Apache-2.0
"""Following the log: what is pushed, what is lost, and what is wrong with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable

import pytest

from extracted.materia.event import Event
from extracted.materia.store import Store
from extracted.materia.sync import Sync, SyncFailed, ended

from .conftest import Log

pytestmark = pytest.mark.gen_test(timeout=100)


@asynccontextmanager
async def running(sync: Sync) -> AsyncIterator[None]:
    task = asyncio.create_task(sync.run())
    try:
        yield
    finally:
        await ended(task)


async def until(condition: Callable[[], Awaitable[object] | object]) -> None:
    """Return once `condition` is true; fail after 40 seconds."""
    async with asyncio.timeout(40):
        while True:
            value = condition()
            if await value if isawaitable(value) else value:
                return
            await asyncio.sleep(0.01)


async def test_a_cancellation_that_a_driver_swallows_is_made_again() -> None:
    heard = []

    async def follow() -> None:
        while len(heard) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as cancelled:
                heard.append(cancelled)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await ended(task)
    assert len(heard) == 2
    assert task.done()


async def test_empty_log_is_no_failure(store: Store, log: Log, sync: Sync) -> None:
    assert await sync.resync() == 0
    assert sync.succeeded is not None
    assert await store.mark() == 0


async def test_resync_reads_every_page_and_goes_on_from_its_mark(
    store: Store, log: Log, sync: Sync
) -> None:
    log.page = 3
    for n in range(8):
        log.append(f"s{n}")
    assert await sync.resync() == 8
    assert await store.mark() == 8
    assert log.asked == [0, 3, 6]
    log.append("s3", "removed")
    log.append("s9")
    assert await sync.resync() == 2
    assert log.asked[3:] == [7], "it begins with an event that it knows"
    assert (await store.get("s3")).article is None


async def test_push_applies_once_and_in_order(store: Store, log: Log, sync: Sync) -> None:
    first, second = (Event.of(log.append(title=t)) for t in ("um", "dois"))
    assert await sync.push(second)
    assert not await sync.push(first), "an older one, late"
    assert not await sync.push(second), "the same again"
    assert (await store.get("chuva")).article["title"] == "dois"


async def test_gap_is_made_up_at_once(store: Store, log: Log, sync: Sync) -> None:
    async with running(sync):
        await until(lambda: sync.succeeded)
        log.append("perdida")
        await sync.push(Event.of(log.append("chegou")))
        await until(store.mark)
    assert await store.mark() == 2
    assert (await store.get("perdida")).seq == 1


async def test_loss_of_the_newest_is_made_up_by_the_timer(
    store: Store, log: Log, sync: Sync
) -> None:
    sync.every = 0.05
    async with running(sync):
        await until(lambda: sync.succeeded)
        log.append("perdida")
        await until(lambda: store.get("perdida"))


async def test_pushed_events_do_not_move_the_mark(store: Store, log: Log, sync: Sync) -> None:
    """Else a restart between a push and the re-sync that its gap asks for would lose the gap."""
    log.append("perdida")
    await sync.push(Event.of(log.append("chegou")))
    assert await store.mark() == 0
    await sync.resync()
    assert await store.get("perdida") is not None


@pytest.mark.parametrize(
    "answer",
    [
        (500, "erro"),
        (302, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, "{}"),
        (200, '{"events": [7], "last": 1, "more": false}'),
        (200, '{"events": [], "last": 1, "more": true}'),
    ],
)
async def test_broken_log_is_named_and_changes_nothing(
    store: Store, log: Log, sync: Sync, answer: tuple[int, str]
) -> None:
    log.append()
    log.broken = answer
    with pytest.raises(SyncFailed):
        await sync.resync()
    assert sync.succeeded is None
    assert await store.head() == await store.mark() == 0


async def test_failing_log_is_asked_again_until_it_answers(
    store: Store, log: Log, sync: Sync
) -> None:
    log.append()
    log.broken = (503, "")
    async with running(sync):
        await until(lambda: sync.error)
        log.broken = None
        await until(lambda: sync.succeeded)
    assert not sync.error
    assert await store.get("chuva") is not None


async def test_failure_on_the_way_keeps_the_pages_before_it(
    store: Store, log: Log, sync: Sync
) -> None:
    log.page = 2
    for n in range(4):
        log.append(f"s{n}")
    log.broken, log.broken_from = (500, ""), 2
    with pytest.raises(SyncFailed, match="500"):
        await sync.resync()
    assert await store.mark() == 2


async def test_bad_document_is_left_out_and_the_rest_goes_on(
    store: Store, log: Log, sync: Sync
) -> None:
    log.append("boa")
    del log.append("ruim")["article"]["title"]
    log.append("outra")
    for _ in range(2):
        await sync.resync()
        log.append("mais")
    assert sync.rejected == {2}
    assert await store.get("ruim") is None
    assert (await store.get("outra")).seq == 3


async def test_log_made_anew_is_an_error_not_silence(store: Store, log: Log, sync: Sync) -> None:
    for n in range(5):
        log.append(f"s{n}")
    await sync.resync()
    del log.events[2:]
    with pytest.raises(SyncFailed, match="made anew"):
        await sync.resync()


async def test_wrong_token_is_named(store: Store, log: Log) -> None:
    sync = Sync(store, log.url, "outro", lambda article: None)
    try:
        with pytest.raises(SyncFailed, match="401"):
            await sync.resync()
    finally:
        sync.close()
