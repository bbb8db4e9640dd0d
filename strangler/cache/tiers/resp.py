# SPDX-License-Identifier: Apache-2.0
"""Redis's protocol over one pipelined connection: hiredis reads, an asyncio.Protocol carries.

Measured (docs/tiers.md): a GET costs about a tenth of the CPU time that it costs through
redis.asyncio, whose connections carry one command at a time and run through several coroutines.
Here a command is a future and a place in a queue, and what is asked in one turn of the loop goes
out in one write. Nothing is ever tried again and nobody waits for a connection: without one, a
command fails at once, and a task of its own goes on connecting.
"""

from __future__ import annotations

import asyncio
import random
import select
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, Final, Protocol, cast

from strangler.cache.tiers.store import ExtraMissing, StoreFailed

try:
    import hiredis
except ImportError as missing:
    raise ExtraMissing("redis", "hiredis") from missing

Command = tuple[bytes | str | int, ...]
#: Returns where to connect to: a host and a port.
Locate = Callable[[], Awaitable[tuple[str, int]]]

#: Seconds that connecting and greeting may take.
CONNECT: Final = 1.0
#: Seconds without any answer, while some are due, after which a connection counts as dead.
SILENCE: Final = 1.0
#: Seconds between tries to connect, before jitter: first and longest.
RETRY: Final = (0.02, 1.0)
#: Times its limit that an answer may take which keeps coming: then it is our own loop that is late.
_LATE: Final = 20.0

#: Bytes that are given to hiredis together.
_PIECE: Final = 32 << 10

#: Errors after which another server may have to be asked: a failover, or a server that starts.
_MOVED: Final = ("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "NOAUTH", "NOREPLICAS")


pack: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment]


class Commands(Protocol):
    """Whatever can put commands to a Redis: this client, toredis, a cluster's."""

    async def open(self) -> None:
        """Begin to connect; return when connected."""

    async def close(self) -> None:
        """Disconnect for good."""

    def run(self, *commands: Command) -> Awaitable[list[Any]]:
        """Return the replies to *commands*, done in that order.

        Raises StoreFailed with the first error reply, or where there is no connection.
        """


class _Group:
    """The replies to commands that were put together."""

    __slots__ = ("error", "future", "left", "replies", "since", "within")

    def __init__(
        self, future: asyncio.Future[list[Any]], left: int, since: float, within: float
    ) -> None:
        self.future = future
        self.left = left
        self.since = since
        self.within = within
        self.replies: list[Any] = []
        self.error: str | None = None


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._reader = hiredis.Reader()
        self._pending: deque[_Group] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0  # since when an answer has been due
        self._watch: asyncio.TimerHandle | None = None
        self._arrived = select.poll()
        self.lost = loop.create_future()
        self.ended = loop.create_future()
        self.moved = False

    def run(self, commands: Sequence[Command], within: float = inf) -> asyncio.Future[list[Any]]:
        now = time.monotonic()
        if self._pending:
            if now - self._asked > SILENCE:
                self.abort("silent")
        else:
            self._asked = now
        if self._transport is None or self._transport.is_closing():
            raise StoreFailed("connection lost", hard=True)
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._pending.append(_Group(future, len(commands), now, within))
        if within < inf and self._watch is None:
            self._watch = self._loop.call_later(within / 2, self._look, within / 2)
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += map(pack, commands)
        return future

    def _look(self, pace: float) -> None:
        """Fail what has waited too long, unless it is we who have been too slow to read it.

        A busy loop hears late of answers that have long been here; to count that against the
        server would send all readers past it, to where they cost more.
        """
        self._watch = None
        now = time.monotonic()
        late = [g for g in self._pending if now - g.since >= g.within and not g.future.done()]
        if late:
            ours = bool(self._out or self._arrived.poll(0))
            for group in late:
                if not ours or now - group.since >= group.within * _LATE:
                    group.future.set_exception(TimeoutError())
        if any(group.within < inf and not group.future.done() for group in self._pending):
            self._watch = self._loop.call_later(pace, self._look, pace)

    def abort(self, reason: str) -> None:
        """End the connection now and fail what waits."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(reason)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._arrived.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        try:
            # What hiredis has not parsed yet is moved with each reply: let it be little.
            for at in range(0, len(data), _PIECE):
                self._reader.feed(data, at, min(_PIECE, len(data) - at))
                self._take_replies()
        except hiredis.ProtocolError as error:
            self.abort(f"protocol error: {error}")
            return
        self._asked = time.monotonic()
        if self.moved:
            self.abort("failover")

    def _take_replies(self) -> None:
        reader, pending = self._reader, self._pending
        reply = reader.gets()
        while reply is not False:
            if not pending:
                raise hiredis.ProtocolError("an answer that nobody asked for")
            group = pending[0]
            if type(reply) is hiredis.ReplyError:
                group.error = group.error or str(reply)
                self.moved = self.moved or str(reply).startswith(_MOVED)
            group.replies.append(reply)
            group.left -= 1
            if not group.left:
                pending.popleft()
                self._settle(group)
            reply = reader.gets()

    def _settle(self, group: _Group) -> None:
        if group.future.done():  # whoever asked has not waited
            return
        if group.error is None:
            group.future.set_result(group.replies)
        else:
            group.future.set_exception(StoreFailed(_plain(group.error)))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail("connection lost")
        if not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, reason: str) -> None:
        while self._pending:
            future = self._pending.popleft().future
            if not future.done():
                future.set_exception(StoreFailed(reason, hard=True))
        if not self.lost.done():
            self.lost.set_result(reason)


class Client:
    """A connection that comes back by itself."""

    def __init__(
        self,
        locate: Locate,
        greeting: Sequence[Command] = (),
        tls: ssl.SSLContext | None = None,
        *,
        tls_name: str | None = None,
    ) -> None:
        """Connect to what *locate* returns, each time anew, and say *greeting* first."""
        self._locate = locate
        self._greeting = greeting
        self._tls = tls
        self._tls_name = tls_name
        self._connection: _Connection | None = None
        self._reason = "not connected"
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected())
        await self._there.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def run(self, *commands: Command) -> asyncio.Future[list[Any]]:
        if self._connection is None:
            raise StoreFailed(self._reason, hard=True)
        return self._connection.run(commands)

    def run_within(self, seconds: float, *commands: Command) -> asyncio.Future[list[Any]]:
        """Return the replies as `run` does; TimeoutError where Redis takes longer than *seconds*.

        It is Redis's own time that counts, not what our loop takes to hear of the answer.
        """
        if self._connection is None:
            raise StoreFailed(self._reason, hard=True)
        return self._connection.run(commands, seconds)

    async def _stay_connected(self) -> None:
        tries = 0
        while True:
            began = time.monotonic()
            connection: _Connection | None = None
            try:
                async with asyncio.timeout(CONNECT):
                    connection = await self._connect()
            except Exception as error:
                self._reason = _said(error)
            else:
                self._connection = connection
                self._there.set()
                try:
                    self._reason = await connection.lost
                finally:
                    self._connection = None
                    connection.abort("closed")
                    await connection.ended
                if time.monotonic() - began > RETRY[1]:
                    tries = 0
            first, longest = RETRY
            await asyncio.sleep(min(longest, first * 2.0 ** min(tries, 10)) * random.random())
            tries += 1

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        host, port = await self._locate()
        name = self._tls_name or host if self._tls is not None else None
        _, connection = await loop.create_connection(
            lambda: _Connection(loop), host, port, ssl=self._tls, server_hostname=name
        )
        try:
            # Also shows that somebody is there: a frozen server still accepts.
            await connection.run([*self._greeting, ("PING",)])
        except BaseException:
            connection.abort("closed")
            raise
        return connection


def sentinels(
    hosts: Sequence[tuple[str, int]], service: str, greeting: Sequence[Command]
) -> Locate:
    """Return a way to ask the sentinels at *hosts* who *service*'s master is; the first knows."""

    async def ask(host: str, port: int) -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(loop), host, port)
        try:
            question = ("SENTINEL", "get-master-addr-by-name", service)
            found = (await connection.run([*greeting, question]))[-1]
        finally:
            connection.abort("closed")
        if not found:
            raise StoreFailed(f"no sentinel knows {service}", hard=True)
        return found[0].decode(), int(found[1])

    async def locate() -> tuple[str, int]:
        failed: Exception = StoreFailed("no sentinel", hard=True)
        for host, port in hosts:
            try:
                async with asyncio.timeout(CONNECT / len(hosts) / 2):
                    return await ask(host, port)
            except Exception as error:
                failed = error
        raise failed

    return locate


def _plain(error: str) -> str:
    """Return an error reply as a reason: one line, the same for the same fault."""
    return " ".join(error.split())[:120]


def _said(error: Exception) -> str:
    if isinstance(error, StoreFailed):
        return error.reason
    if isinstance(error, TimeoutError):
        return "connect timeout"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
