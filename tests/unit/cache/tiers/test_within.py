# SPDX-License-Identifier: Apache-2.0
"""A limit that a busy loop doesn't take for silence."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
import uvloop

from strangler.cache.tiers.within import Within

RUNS = {"uvloop": uvloop.run, "asyncio": asyncio.run}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_what_has_arrived_is_read_before_anybody_gives_up(run: Callable[..., None]) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)

        async def ask() -> bytes:
            async with Within(0.005):
                return await reader.readexactly(2)

        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        theirs.sendall(b"ok")
        time.sleep(0.02)  # the busy loop
        try:
            assert await asking == b"ok"
        finally:
            writer.close()
            theirs.close()

    run(main())


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_silence_ends_it(run: Callable[..., None]) -> None:
    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with Within(0.005):
                await asyncio.sleep(10)
        assert 0.003 <= time.monotonic() - began < 5.0  # uvloop counts whole milliseconds
        await asyncio.sleep(0)  # the task goes on as if nothing had been

    run(main())


def test_a_cancellation_from_outside_stays_one() -> None:
    async def main() -> None:
        async def ask() -> None:
            async with Within(5.0):
                await asyncio.sleep(10)

        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(main())


def test_what_ends_in_time_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with Within(0.001):
            pass
        await asyncio.sleep(0.01)
        with pytest.raises(KeyError):
            async with Within(0.001):
                raise KeyError
        await asyncio.sleep(0.01)

    asyncio.run(main())
