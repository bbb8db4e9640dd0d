# SPDX-License-Identifier: Apache-2.0
"""A purge as a worker tells it to the others of its machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from strangler.cache.tiers.purges import Purge
from strangler.exchange.caching import neighbours
from strangler.exchange.caching.neighbours import Neighbours

PURGE = Purge.urls(b"http://x/\xe9")


def telling(story: Callable[[Neighbours, list[dict[str, Any]]], Awaitable[None]]) -> None:
    async def run() -> None:
        sent: list[dict[str, Any]] = []
        made = Neighbours(lambda message: not sent.append(message))  # type: ignore[func-returns-value]
        made.count = 1
        await story(made, sent)

    asyncio.run(run())


def test_it_is_told_and_their_word_is_waited_for():
    async def story(made, sent):
        waiting = asyncio.ensure_future(made.tell(PURGE, {"shared": 7}))
        await asyncio.sleep(0)
        [told] = sent
        number = told.pop("number")
        assert told == {
            "kind": "purged", "labels": ["u:http://x/\xe9"], "soft": False, "known": {"shared": 7},
        }  # fmt: skip
        made.heeded(number + 1)
        await asyncio.sleep(0)
        assert not waiting.done()
        made.heeded(number)
        await waiting
        made.heeded(number)
        assert made.count == 1

    telling(story)


def test_who_has_none_or_cannot_tell_them_waits_for_nobody():
    async def story(made, sent):
        made.count = 0
        await made.tell(PURGE, {})
        assert not sent
        deaf = Neighbours(lambda message: False)
        deaf.count = 1
        await deaf.tell(PURGE, {})

        def too_long(message):
            raise ValueError("too long")

        narrow = Neighbours(too_long)
        narrow.count = 1
        await narrow.tell(PURGE, {})

    telling(story)


def test_a_silent_control_process_is_waited_for_once(monkeypatch):
    monkeypatch.setattr(neighbours, "PATIENCE", 0.01)

    async def story(made, sent):
        await made.tell(PURGE, {})
        await made.tell(PURGE, {})
        assert len(sent) == 1

    telling(story)
