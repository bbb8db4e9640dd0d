# SPDX-License-Identifier: Apache-2.0
"""A stored body read in slices, at the pace of who reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from strangler.exchange.caching.stream import Delivery, Stream, pour


class Taking:
    """A connection that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.taken.append(data)


class Body:
    """Five slices, and how many of them have been read."""

    def __init__(self) -> None:
        self.read = 0

    async def slices(self) -> AsyncIterator[bytes]:
        for number in range(5):
            self.read += 1
            yield b"%d" % number


def delivery(stream: Stream, ends: list[str]) -> tuple[Taking, Delivery]:
    taking: Any = Taking()
    return taking, Delivery(stream, taking, ends.append, lambda: ends.append("stumbled"))


async def turns() -> None:
    """Let everything happen that needs nothing but the loop's next turns, and no clock."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_slice_is_read_when_the_one_before_it_has_been_taken():
    async def story() -> None:
        stream, body, ends = Stream(), Body(), []
        stream.passing = True
        quick, _ = delivery(stream, ends)
        slow, late = delivery(stream, ends)
        late.pause()
        pouring = asyncio.ensure_future(pour(b"first-", body.slices(), stream))
        await turns()
        assert (quick.taken, slow.taken, body.read) == ([b"first-"], [], 0)
        late.resume()
        late.pause()
        await turns()
        assert (slow.taken, body.read) == ([b"first-"], 1)
        late.resume()
        await turns()
        assert pouring.result()
        assert b"".join(quick.taken) == b"".join(slow.taken) == b"first-01234"
        assert ends == ["", ""]
        assert stream.held == 0

    asyncio.run(story())


def test_nothing_is_read_for_readers_who_have_left():
    async def story() -> None:
        stream, body, ends = Stream(), Body(), []
        stream.passing = True
        _, one = delivery(stream, ends)
        _, other = delivery(stream, ends)
        one.pause()
        other.pause()
        pouring = asyncio.ensure_future(pour(b"", body.slices(), stream))
        await turns()
        assert body.read == 1
        one.leave()
        await turns()
        assert body.read == 1
        other.leave()
        await turns()
        assert pouring.result()
        assert (body.read, ends) == (1, [])

    asyncio.run(story())
