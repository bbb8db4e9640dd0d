# SPDX-License-Identifier: Apache-2.0
"""The server: what all connections of a process share, and how they are accepted and drained.

`Server` is a drop-in for `tornado.httpserver.HTTPServer`: given a Tornado Application (or any
`HTTPServerConnectionDelegate`) it mounts it through `strangler.edge.tornado_app`, and it is bound,
started and stopped by the same calls. What it does not do: fork (`start(0)`), `xheaders` and
`decompress_request`; the edge does the first, rebuilds the second, and passes content on as it is.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from strangler.clock import Ticker, Waits
from strangler.config.snapshot import Limits
from strangler.edge.application import Application
from strangler.edge.http1 import LAST_MOMENT, Connection

#: Seconds that a reader has to take the rest after we stopped listening to it.
_LINGER: Final = 2.0
#: Seconds that connections which were cut have to end.
_GOODBYE: Final = 2.0


class Server:
    """Makes connections and holds what they share: limits, time limits, counts, drain."""

    def __init__(
        self,
        app: Application | HTTPServerConnectionDelegate,
        *,
        limits: Limits | None = None,
        ticker: Ticker | None = None,
        ssl_options: ssl.SSLContext | None = None,
    ) -> None:
        if isinstance(app, HTTPServerConnectionDelegate):
            from strangler.edge.tornado_app import TornadoApplication

            app = TornadoApplication(app)
        self.app: Application = app
        self.known = app.known
        self.limits = limits if limits is not None else Limits()
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:  # as for Tornado's: made first, served once its loop starts
            self.loop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined]
        self.open: set[Connection] = set()
        self.accepted = 0
        self.slow_readers = 0
        self.draining = False
        self._empty: asyncio.Future[None] | None = None
        self._ssl = ssl_options
        self._listeners: list[asyncio.Task[asyncio.Server]] = []
        self._bound: list[socket.socket] = []
        self._ticker = ticker if ticker is not None else Ticker(self.loop)
        self._ticker.start()
        self.all_waits: tuple[Waits[Connection], ...] = ()
        self._set_waits()

    def _set_waits(self) -> None:
        ticker, limits = self._ticker, self.limits
        self.waits_idle: Waits[Connection] = ticker.waits(
            limits.idle_timeout, Connection.idle_expired
        )
        self.waits_head: Waits[Connection] = ticker.waits(
            limits.head_timeout, Connection.head_expired
        )
        self.waits_body: Waits[Connection] = ticker.waits(
            limits.body_timeout, Connection.body_expired
        )
        self.waits_write: Waits[Connection] = ticker.waits(
            limits.write_timeout, Connection.write_expired
        )
        self.waits_linger: Waits[Connection] = ticker.waits(_LINGER, Connection.linger_expired)
        self.waits_tunnel: Waits[Connection] = ticker.waits(
            limits.tunnel_idle, Connection.tunnel_expired
        )
        #: Heads up to this length can't break a limit of line, fields or head.
        self.plain_head = min(1020, limits.line, limits.head - 4, limits.fields * 4 - 4)
        self.all_waits = self._waits()

    def _waits(self) -> tuple[Waits[Connection], ...]:
        return (
            self.waits_tunnel,
            self.waits_idle,
            self.waits_head,
            self.waits_body,
            self.waits_write,
            self.waits_linger,
        )

    def set_limits(self, limits: Limits) -> None:
        """Apply *limits* to what begins from now on; waits under way begin anew with theirs."""
        before = self._waits()
        self.limits = limits
        self._set_waits()
        for old, new in zip(before, self._waits(), strict=True):
            if old is not new:
                for connection in self.open:
                    if connection in old:
                        old.end(connection)
                        new.start(connection)

    @property
    def connections(self) -> int:
        """Return how many readers are connected."""
        return len(self.open)

    def protocol(self) -> asyncio.Protocol:
        """Return a new connection: the factory for `loop.create_server`."""
        return cast(asyncio.Protocol, Connection(self))

    # As Tornado's HTTPServer is started and stopped.

    def listen(self, port: int, address: str | None = None, **kwargs: Any) -> None:
        """Listen on *port* of *address* (all addresses: None), as `bind_sockets` understands it."""
        self.add_sockets(bind_sockets(port, address, **kwargs))

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Serve *sockets*, which listen already."""
        for sock in sockets:
            self.add_socket(sock)

    def bind(self, port: int, address: str | None = None, **kwargs: Any) -> None:
        """Open the sockets of *port* for a later `start`; may be called several times."""
        self._bound += bind_sockets(port, address, **kwargs)

    def start(self, num_processes: int | None = 1) -> None:
        """Serve what `bind` has opened, in this process.

        Raises:
            ValueError: more processes are asked for; they are `strangler serve --workers`.
        """
        if num_processes != 1:
            raise ValueError("num_processes: expected 1; strangler.edge.supervisor forks workers")
        bound, self._bound = self._bound, []
        self.add_sockets(bound)

    def add_socket(self, sock: socket.socket) -> None:
        """Serve *sock*, which listens already."""
        serving = self.loop.create_task(
            self.loop.create_server(self.protocol, sock=sock, ssl=self._ssl)
        )
        self._listeners.append(serving)

    def stop(self) -> None:
        """Accept no more connections; those that are open go on."""
        bound, self._bound = self._bound, []
        for sock in bound:
            sock.close()
        listeners, self._listeners = self._listeners, []
        for serving in listeners:
            if serving.done():
                serving.result().close()
            else:
                serving.add_done_callback(lambda done: done.result().close())

    async def close_all_connections(self) -> None:
        """Cut every connection and wait until all have ended."""
        self.abort_all()
        await self.drained(_GOODBYE)

    def start_drain(self) -> None:
        """Take no new request on any connection once its running one is answered.

        An idle connection gets a moment, and so does one whose running answer was begun without
        `Connection: close`: the request that its reader may just be sending is answered, and told
        to close.
        """
        if self.draining:
            return
        self.draining = True
        self.stop()
        for connection in self.open:
            connection.drain()
        self.loop.call_later(LAST_MOMENT, self._close_idle)

    async def drained(self, timeout: float) -> bool:
        """Wait until every connection has ended, at most *timeout* seconds; tell whether it has."""
        await asyncio.sleep(0)  # whom the loop has accepted just now is told to us in its next turn
        if self.open:
            self._empty = self.loop.create_future()
            await asyncio.wait([self._empty], timeout=timeout)
        return not self.open

    def abort_all(self) -> None:
        """Reset every connection."""
        for connection in list(self.open):
            connection.abort()

    def connection_closed(self) -> None:
        """Learn from a connection that it has ended."""
        if not self.open and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def _close_idle(self) -> None:
        for connection in list(self.open):
            connection.part()
