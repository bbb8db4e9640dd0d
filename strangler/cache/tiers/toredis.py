# SPDX-License-Identifier: Apache-2.0
"""Commands to a Redis through toredis, Tornado's Redis client of 2013, made to run on today's.

Its reader and its queue of callbacks do the work; the connection, the commands' bytes and
everything that may fail are ours. Its own commands are not used: they mangle bytes, and some are
broken.
"""

from __future__ import annotations

import asyncio
import random
import sys
import types
from typing import Any, Final

import hiredis
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

from strangler.cache.tiers.redis_urls import greeting
from strangler.cache.tiers.resp import CONNECT, RETRY, Command, pack
from strangler.cache.tiers.store import ExtraMissing, StoreFailed
from strangler.cache.tiers.urls import StoreUrl

#: Connections that commands are put to by turns.
CONNECTIONS: Final = 2


def _client() -> Any:
    """Return toredis's Client class, with what it misses of Python 2 and Tornado 2 provided."""
    contexts = types.ModuleType("tornado.stack_context")
    contexts.wrap = lambda callback: callback  # type: ignore[attr-defined]
    import tornado

    before = sys.modules.setdefault("tornado.stack_context", contexts)
    tornado.stack_context = before  # type: ignore[attr-defined]
    try:
        import toredis.client as client
        import toredis.commands as commands
    except ImportError as missing:
        raise ExtraMissing("toredis", "toredis") from missing
    client.basestring = commands.basestring = (str, bytes)
    return client.Client


class _Connection:
    """One connection: toredis reads, this writes and fails what waits when it ends."""

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._client = _client()(io_loop=object())  # any that is true: it isn't used
        self._client._reset()
        self._client._stream = stream
        self.ended = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self._client._on_read(await self._stream.read_bytes(65536, partial=True))
        except (StreamClosedError, hiredis.ProtocolError):
            pass
        finally:
            self._stream.close()
            self._client._on_close()

    def run(self, commands: tuple[Command, ...]) -> asyncio.Future[list[Any]]:
        if self._stream.closed():
            raise StoreFailed("connection lost", hard=True)
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        replies: list[Any] = []

        def answered(reply: Any) -> None:
            # None is also what a lost connection gives; then the stream is closed.
            replies.append(reply)
            if future.done():
                return
            if reply is None and self._stream.closed():
                future.set_exception(StoreFailed("connection lost", hard=True))
            elif len(replies) == len(commands):
                errors = [one for one in replies if isinstance(one, hiredis.ReplyError)]
                if errors:
                    future.set_exception(StoreFailed(" ".join(str(errors[0]).split())[:120]))
                else:
                    future.set_result(replies)

        for _ in commands:
            self._client.callbacks.append(answered)
        data = b"".join(map(pack, commands))
        self._stream.write(data).add_done_callback(_retrieve)
        return future

    def close(self) -> None:
        self._stream.close()


class Toredis:
    """Commands to the Redis at the first host of *url*, over a few connections."""

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._connections: list[_Connection | None] = [None] * CONNECTIONS
        self._there = asyncio.Event()
        self._next = 0
        self._tasks: list[asyncio.Task[None]] = []
        _client()  # says now what is missing

    async def open(self) -> None:
        """Begin to connect; return when the first connection stands."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._stay(n)) for n in range(CONNECTIONS)]
        await self._there.wait()

    async def close(self) -> None:
        """Disconnect for good."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def run(self, *commands: Command) -> asyncio.Future[list[Any]]:
        """Return the replies to *commands*, done in that order on one connection."""
        for _ in range(CONNECTIONS):
            self._next = (self._next + 1) % CONNECTIONS
            connection = self._connections[self._next]
            if connection is not None:
                return connection.run(commands)
        raise StoreFailed("not connected", hard=True)

    async def _stay(self, number: int) -> None:
        tries = 0
        while True:
            connection: _Connection | None = None
            try:
                async with asyncio.timeout(CONNECT):
                    connection = await self._connect()
                    await connection.run((*greeting(self._url), ("PING",)))
                self._connections[number] = connection
                self._there.set()
                tries = 0
                await connection.ended
            except Exception:
                pass  # whoever asks meanwhile is told that there is no connection
            finally:
                self._connections[number] = None
                if connection is not None:
                    connection.close()
                    await asyncio.wait([connection.ended])
            first, longest = RETRY
            await asyncio.sleep(min(longest, first * 2.0 ** min(tries, 10)) * random.random())
            tries += 1

    async def _connect(self) -> _Connection:
        host, port = self._url.hosts[0]
        return _Connection(await TCPClient().connect(host, port))


def _retrieve(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()
