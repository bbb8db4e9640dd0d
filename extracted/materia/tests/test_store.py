# SPDX-License-Identifier: Apache-2.0
"""The contract of a store; every test runs on SQLite and on a real MongoDB."""

import asyncio
import random
import socket

import pytest

from extracted.materia.store import StoreFailed, open_store

from .conftest import Opener
from .documents import event

BIG = 2**63 - 1


def test_empty_store_has_nothing(opened: Opener) -> None:
    async def run() -> None:
        async with opened() as store:
            assert await store.get("chuva") is None
            assert await store.head() == await store.mark() == await store.count() == 0
            assert await store.apply([]) == 0

    asyncio.run(run())


def test_article_comes_back_as_it_went_in(opened: Opener) -> None:
    odd = {
        "title": 'A "rainha" & o <rei> d’Ávila',
        "body": "<p>" + "é\u2028\U0001f327" * 5000 + "</p>",
        "extra": {"$set": 1, "a.b": [None, True, 1.5, 2**70], "": {}},
    }

    async def run() -> None:
        async with opened() as store:
            put = event(BIG, **odd)
            assert await store.apply([put]) == 1
            got = await store.get("chuva")
            assert got == put
            assert list(got.article) == list(put.article), "the order of fields is kept"

    asyncio.run(run())


def test_only_what_is_newer_is_kept(opened: Opener) -> None:
    async def run() -> None:
        async with opened() as store:
            assert await store.apply([event(5, title="cinco")]) == 1
            assert await store.apply([event(5, title="outra")]) == 0, "the same again"
            assert await store.apply([event(4, title="quatro")]) == 0, "an older one, late"
            assert (await store.get("chuva")).article["title"] == "cinco"
            assert await store.apply([event(6, title="seis")]) == 1
            assert (await store.get("chuva")).article["title"] == "seis"
            assert await store.count() == 1

    asyncio.run(run())


def test_removal_is_remembered_against_older_events(opened: Opener) -> None:
    async def run() -> None:
        async with opened() as store:
            await store.apply([event(1), event(3, kind="removed"), event(2, kind="changed")])
            kept = await store.get("chuva")
            assert (kept.seq, kept.kind, kept.article) == (3, "removed", None)
            assert await store.count() == 0
            assert await store.head() == 3
            await store.apply([event(4)])
            assert (await store.get("chuva")).article is not None

    asyncio.run(run())


def test_any_order_and_repetition_end_in_the_same_state(opened: Opener) -> None:
    slugs = [f"s{n}" for n in range(7)]
    pick = random.Random(20)
    log = [
        event(seq, pick.choice(slugs), pick.choice(["published", "changed", "removed"]))
        for seq in range(1, 120)
    ]
    last = {e.slug: e for e in log}

    async def run() -> None:
        async with opened() as store:
            for _ in range(3):
                shuffled = pick.sample(log, len(log)) + pick.choices(log, k=50)
                for start in range(0, len(shuffled), 40):
                    await store.apply(shuffled[start : start + 40])
                assert {s: await store.get(s) for s in slugs} == last
            assert await store.head() == log[-1].seq

    asyncio.run(run())


def test_concurrent_writers_never_lose_the_newest(opened: Opener) -> None:
    """Two processes may meet on a slug that neither has seen: the insert must not hide a newer."""

    async def run() -> None:
        async with opened() as one, opened() as other:
            for round_ in range(30):
                slug = f"r{round_}"
                events = [event(round_ * 10 + n, slug) for n in range(1, 9)]
                random.Random(round_).shuffle(events)
                await asyncio.gather(
                    *((one, other)[n % 2].apply([e]) for n, e in enumerate(events))
                )
                assert (await one.get(slug)).seq == round_ * 10 + 8

    asyncio.run(run())


def test_mark_never_goes_back_and_outlives_the_store(opened: Opener) -> None:
    async def run() -> None:
        async with opened() as store:
            await store.advance(10)
            await store.advance(4)
            assert await store.mark() == 10
            await store.apply([event(11)])
        async with opened() as store:
            assert await store.mark() == 10
            assert (await store.get("chuva")).seq == 11
            await store.clear()
            assert await store.mark() == await store.head() == 0
            assert await store.get("chuva") is None

    asyncio.run(run())


@pytest.mark.parametrize("slug", ["", "não-há", "a\0b", "\ud800", "x" * 5000, "{'$gt': ''}"])
def test_asking_for_a_strange_address_finds_nothing(opened: Opener, slug: str) -> None:
    async def run() -> None:
        async with opened() as store:
            await store.apply([event(1)])
            assert await store.get(slug) is None

    asyncio.run(run())


def test_bad_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="expected sqlite:PATH or mongodb"):
        asyncio.run(open_store("mysql://x/y"))
    with pytest.raises(StoreFailed, match="sqlite"):
        asyncio.run(open_store("sqlite:/proc/no/such/place.sqlite3"))


def test_mongodb_that_does_not_answer_fails_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"mongodb://127.0.0.1:{mute.getsockname()[1]}/?serverSelectionTimeoutMS=200"
        with pytest.raises(StoreFailed, match="mongodb"):
            asyncio.run(open_store(url))
