# SPDX-License-Identifier: Apache-2.0
"""The HTTP/1.1 engine: one reader's connection, from bytes to requests and back.

A `Connection` finds where each request ends, hands it to the *application*, and takes care of
what no application should: order under pipelining, time limits, limits of size, half-closed and
lingering connections, drain. An application answers by writing whole, framed bytes (`write`) and
saying when its answer is complete (`response_ended`): nothing on the way of a hit makes an object
more than it must.

`Server` is a drop-in for `tornado.httpserver.HTTPServer`: given a Tornado Application (or any
`HTTPServerConnectionDelegate`) it mounts it through `strangler.edge.tornado_app`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import re
import socket
import ssl
import struct
import sys
import termios
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from tornado.httputil import HTTPServerConnectionDelegate
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from strangler.clock import Ticker, Waits
from strangler.config.snapshot import Limits
from strangler.errors import RequestRejected
from strangler.wire.framing import Chunked, Length, MalformedBody
from strangler.wire.head import RequestHead

_log = logging.getLogger("strangler.errors")

#: A bare LF or CR, or a folded line: no later byte makes a good head of them.
_HOPELESS: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)|\n[ \t]")
_START_OF_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}(?: |\Z)")
#: Pipelined bytes held while a request runs, before reading pauses.
_HELD_LIMIT: Final = 64 << 10
_RESET: Final = struct.pack("ii", 1, 0)
#: Seconds that a reader has to take the rest after we stopped listening to it.
_LINGER: Final = 2.0
#: Seconds between two looks at what a TLS reader whose connection ends has still to take, and the
#: bytes of it that are certainly the kernel's already: it would have room for more.
_TLS_CLOSE: Final = 0.1
_IN_KERNEL: Final = 16 << 10
#: Seconds of silence after which a reader that closed its sending side counts as gone.
_HALF_CLOSED: Final = 0.5
#: Seconds that connections which were cut have to end.
_GOODBYE: Final = 2.0
#: Seconds that an idle connection stays open in a drain, so that a request under way arrives.
_DRAIN_IDLE: Final = 1.0


class Receiver(Protocol):
    """What a connection tells the exchange that it carries."""

    def body_received(self, data: bytes) -> None:
        """Take payload of the request body (not empty)."""

    def body_ended(self, trailers: bytes) -> None:
        """Learn that the request body is complete; *trailers* are lines ended by CRLF."""

    def body_failed(self, error: RequestRejected) -> None:
        """Learn that the request body can't be trusted or came too slowly; answer, or abort."""

    def client_gone(self) -> None:
        """Learn that nobody reads any more; called at most once, nothing follows it."""

    def pause_writing(self) -> None:
        """Learn that the reader is slower than the answer."""

    def resume_writing(self) -> None:
        """Learn that the reader has caught up."""

    def raw_received(self, data: bytes) -> None:
        """Take bytes of an upgraded connection."""

    def raw_ended(self) -> None:
        """Learn that the reader will send no more on an upgraded connection."""


class Application(Protocol):
    """Who answers: called once a request, on the loop, and must not block."""

    def request(self, connection: Connection, head: RequestHead) -> Receiver | None:
        """Take a request. None: it has been answered, `response_ended` was called."""

    def reject(self, connection: Connection, error: RequestRejected, start: bytes) -> bytes:
        """Return the whole answer to a request that was refused before it had a meaning."""


class Connection(asyncio.Protocol):
    """One reader's connection.

    ``peer`` is the address without its port, "unix" for a unix socket; ``keep_alive`` is what the
    answer's head has to say: where it is False the connection ends with the running request;
    ``told`` is for the application to keep what is the same for all requests of this reader.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_choked",
        "_eof",
        "_held",
        "_lingering",
        "_taken",
        "_tunnel",
        "busy",
        "keep_alive",
        "loop",
        "peer",
        "receiver",
        "secure",
        "server",
        "told",
        "transport",
        "written",
    )

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peer = ""
        self.secure = False
        self.keep_alive = True
        self.busy = False
        self.receiver: Receiver | None = None
        self.written = 0
        self.told: tuple[bytes, int, bytes] | None = None
        self._body: Length | Chunked | None = None
        self._buffer: bytes | bytearray = b""
        self._choked = False
        self._eof = False
        self._held = False
        self._lingering = False
        self._taken = 0
        self._tunnel = False

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0].partition("%")[0] if isinstance(peer, tuple) else "unix"
        if self.peer.startswith("::ffff:") and "." in self.peer:
            self.peer = self.peer[7:]
        self.secure = transport.get_extra_info("sslcontext") is not None
        server = self.server
        server.open.add(self)
        server.accepted += 1
        if len(server.open) > server.limits.connections:
            self.reject(RequestRejected(503, "connections: the limit is reached"), b"")
        else:
            server.waits_idle.start(self)

    def data_received(self, data: bytes) -> None:
        if self._body is not None:
            self._receive_body(data)
        elif self.busy:
            if self._tunnel:
                self.keep_tunnel()
                if self.receiver is not None:
                    self.receiver.raw_received(data)
            elif not self._lingering:
                self._hold(data)
        elif self._buffer:
            buffer = self._buffer
            if not isinstance(buffer, bytearray):
                buffer = self._buffer = bytearray(buffer)
            seen = max(0, len(buffer) - 3)
            buffer += data
            self._find_head(buffer, buffer.find(b"\r\n\r\n", seen), seen)
        else:
            end = data.find(b"\r\n\r\n")
            if 0 < end == len(data) - 4 and end <= self.server.plain_head and data[0] != 0x0D:
                self._begin(data)
            else:
                self._find_head(data, end)

    def eof_received(self) -> bool:
        if self._tunnel and self.receiver is not None:
            over, self._eof = self._eof, True
            self.receiver.raw_ended()
            return not over and self.transport.can_write_eof()
        if not self.busy or self._body is not None or self._lingering:
            return False
        if not self.transport.can_write_eof():
            return False  # TLS knows no half of a connection
        # A client may close its sending side and still read (RFC 9112 §9.6); one that went away
        # altogether looks the same until something is written to it.
        self._eof = True
        self.server.loop.call_later(_HALF_CLOSED, self._still_there, self.written)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        server = self.server
        server.open.discard(self)
        for waits in server.all_waits:
            waits.end(self)
        self._lingering = True
        self._buffer = b""
        self._body = None
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.client_gone()
        server.connection_closed()

    def pause_writing(self) -> None:
        self._choked = True
        self._wait_for_reader()
        if self.receiver is not None:
            self.receiver.pause_writing()

    def resume_writing(self) -> None:
        self._choked = False
        self.server.waits_write.end(self)
        if self.receiver is not None:
            self.receiver.resume_writing()
        elif self.busy and not self._lingering:
            self.server.loop.call_soon(self._next)

    # What the application asks.

    def write(self, data: bytes) -> None:
        """Send *data*, framed by the caller; nothing happens where the reader has gone."""
        if not self.transport.is_closing():
            self.written += len(data)
            self.transport.write(data)

    def pause_reading(self) -> None:
        """Take no more of the request body for now; the body's time limit stands still."""
        if not self.transport.is_closing():
            self.transport.pause_reading()
            self.server.waits_body.end(self)

    def resume_reading(self) -> None:
        """Take more of the request body."""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            if self._body is not None:
                self.server.waits_body.start(self)

    @property
    def reading_body(self) -> bool:
        """Tell whether the request body is still incomplete."""
        return self._body is not None

    def response_ended(self) -> None:
        """Learn that the running request's answer is complete, and go on with the next."""
        self.receiver = None
        if self._lingering:
            return
        if self._body is not None:
            # Answered before the body had been sent: the rest is read away, not parsed.
            self.linger()
        elif not self.keep_alive:
            if self._buffer or self._held:
                self.linger()
            else:
                self.close()
        elif self._buffer or self._choked:
            # The next request waits until this call has ended, and until its reader reads.
            if not self._choked:
                self.server.loop.call_soon(self._next)
        elif self._eof:
            self.close()
        else:
            self.busy = False
            self.server.waits_idle.start(self)

    def start_tunnel(self) -> bytes:
        """Stop being HTTP: from now on bytes go to the receiver as they come.

        Returns what the client had sent ahead.
        """
        self._tunnel = True
        ahead = bytes(self._buffer)
        self._buffer = b""
        self._release()
        self.keep_tunnel()
        return ahead

    def keep_tunnel(self) -> None:
        """Learn that the tunnel is in use, in whichever direction."""
        self.server.waits_tunnel.start(self)

    def end_writing(self) -> None:
        """Send what is written and no more, but go on reading (a tunnel's one way has ended)."""
        over, self._eof = self._eof, True
        if over or not self.transport.can_write_eof():
            self.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def close(self) -> None:
        """Send what is written, then close.

        The end of TLS comes by its own short clock, whatever is still to be sent: it waits until
        the kernel has all of it.
        """
        self._lingering = True
        if self.transport.is_closing():
            return
        untaken = self._untaken()
        if untaken and self not in self.server.waits_write:
            self._wait_for_reader()
        if self.secure and untaken > _IN_KERNEL:
            self.server.loop.call_later(_TLS_CLOSE, self.close)
        else:
            self.transport.close()

    def linger(self) -> None:
        """Close our side, but read on for a moment: a reset would destroy the answer on its way."""
        self._lingering = True
        self.busy = True
        self._body = None
        self._buffer = b""
        if self.transport.is_closing():
            return
        self.server.waits_body.end(self)
        self.server.waits_linger.start(self)
        self._release()
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.close()

    def abort(self) -> None:
        """Reset the connection: what was sent must not look complete."""
        self._lingering = True
        if self not in self.server.open:
            return  # its descriptor may be another's by now
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def reject(self, error: RequestRejected, start: bytes) -> None:
        """Answer *error* and end the connection; nothing more is read as HTTP."""
        self.server.waits_idle.end(self)
        self.server.waits_head.end(self)
        self.keep_alive = False
        self.write(self.server.app.reject(self, error, start))
        self.linger()

    # Reading.

    def _find_head(self, data: bytes | bytearray, end: int, seen: int = 0) -> None:
        """Begin the request in *data*, whose head ends at *end* (-1: not here yet).

        The first *seen* bytes have been looked at before: a head that comes byte by byte costs
        no more than its length.
        """
        if data[:2] == b"\r\n":  # RFC 9112 §2.2: one empty line before a request is read over
            data = data[2:]
            if not data:
                self._buffer = b""
                self.server.waits_head.end(self)
                self.server.waits_idle.start(self)
                return
            end = data.find(b"\r\n\r\n")
            seen = 0
        limits = self.server.limits
        if end < 0:
            if not self._buffer:
                self.server.waits_idle.end(self)
                self.server.waits_head.start(self)
            self._buffer = data
            error = self._hopeless(data, limits, seen)
            if error is not None:
                self.reject(error, bytes(data[:200]))
            return
        if self._buffer:
            self._buffer = b""
            self.server.waits_head.end(self)
        raw = bytes(data[: end + 4])
        rest = bytes(data[end + 4 :])
        if raw.find(b"\r\n") > limits.line:
            error = RequestRejected(414, f"request line: expected at most {limits.line} bytes")
        elif len(raw) > limits.head:
            error = RequestRejected(431, f"head: expected at most {limits.head} bytes")
        elif raw.count(b"\r\n") - 2 > limits.fields:
            error = RequestRejected(431, f"head: expected at most {limits.fields} fields")
        else:
            self._begin(raw, rest)
            return
        self.reject(error, raw[:200])

    def _hopeless(
        self, data: bytes | bytearray, limits: Limits, seen: int
    ) -> RequestRejected | None:
        """Return why an incomplete head can't become a good one, or None."""
        if len(data) > limits.line and data.find(b"\n", 0, limits.line + 2) < 0:
            return RequestRejected(414, f"request line: expected at most {limits.line} bytes")
        if len(data) > limits.head:
            return RequestRejected(431, f"head: expected at most {limits.head} bytes")
        if data == b"\r":
            return None  # half of an empty line before the request
        if _START_OF_LINE.match(data) is None or _HOPELESS.search(data, seen) is not None:
            return RequestRejected(400, "head: malformed")
        return None

    def _begin(self, raw: bytes, rest: bytes = b"") -> None:
        """Read the head *raw* and hand its request to the application."""
        server = self.server
        server.waits_idle.end(self)
        try:
            head = RequestHead.parse(raw)
            fields = head.fields
            if fields.expect and fields.expect != b"100-continue":
                raise RequestRejected(417, "Expect: expected 100-continue")
        except RequestRejected as error:
            self.reject(error, raw[:200])
            return
        if fields.length:
            self._body = Length(fields.length)
        elif fields.chunked:
            self._body = Chunked()
        self.keep_alive = head.keep_alive and not server.draining
        self.busy = True
        if self._body is None:
            self._buffer = rest
        try:
            receiver = server.app.request(self, head)
        except Exception:  # a bug: this reader gets a 500, the others don't notice
            _log.exception("request.failed")
            if self._lingering or not self.busy:
                self.abort()
            else:
                self.reject(RequestRejected(500, "internal error"), raw[:200])
            return
        if receiver is None:
            return
        self.receiver = receiver
        if self._body is not None:
            server.waits_body.start(self)
            if rest:
                self._receive_body(rest)

    def _receive_body(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        try:
            payload = body.feed(data)
        except MalformedBody as error:
            self._fail_body(RequestRejected(400, f"request body: {error}"))
            return
        receiver = self.receiver
        if body.ended:
            self._body = None
            self.server.waits_body.end(self)
            if body.surplus:
                self._hold(body.surplus)
        else:
            self.server.waits_body.start(self)
        if receiver is None:
            return
        if payload:
            receiver.body_received(payload)
        if body.ended and self.receiver is receiver:
            receiver.body_ended(body.trailers)

    def _fail_body(self, error: RequestRejected) -> None:
        self.keep_alive = False
        self.server.waits_body.end(self)
        if self.receiver is not None:
            self.receiver.body_failed(error)

    def _hold(self, data: bytes) -> None:
        self._buffer = self._buffer + data
        if len(self._buffer) > _HELD_LIMIT and not self._held:
            self._held = True
            self.transport.pause_reading()

    def _release(self) -> None:
        if self._held:
            self._held = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _next(self) -> None:
        """Begin the request that was sent behind the one just answered."""
        if self._choked or self._lingering or self.receiver is not None or not self.busy:
            return
        data = bytes(self._buffer)
        self._buffer = b""
        self.busy = False
        if data:
            self._find_head(data, data.find(b"\r\n\r\n"))
        if len(self._buffer) < _HELD_LIMIT:
            self._release()
        if not self.busy and self._eof:
            self.close()
        elif not data:
            self.server.waits_idle.start(self)

    # Time.

    def idle_expired(self) -> None:
        """Close a connection on which no request came."""
        self.close()

    def head_expired(self) -> None:
        """Answer 408 to a head that takes too long."""
        self.reject(RequestRejected(408, "head: not complete in time"), bytes(self._buffer[:200]))

    def body_expired(self) -> None:
        """Fail a request body that stopped coming."""
        self._fail_body(RequestRejected(408, "request body: nothing more came in time"))

    def write_expired(self) -> None:
        """Give up on a reader that took nothing in all that time."""
        before = self._taken
        self._wait_for_reader()
        if self._taken <= before:
            self.server.slow_readers += 1
            self.abort()

    def tunnel_expired(self) -> None:
        """Close a tunnel in which nothing moved."""
        self.close()

    def linger_expired(self) -> None:
        """Give up reading what nobody wants."""
        self.close()

    def _wait_for_reader(self) -> None:
        """Begin the reader's time anew, noting what has arrived at its end by now."""
        self._taken = self.written - self._untaken()
        self.server.waits_write.start(self)

    def _untaken(self) -> int:
        """Return how many bytes of what was written have not arrived at the reader.

        The kernel knows of its own: it may hold megabytes, and asks for more of them only when a
        third of its room is free.
        """
        untaken = self.transport.get_write_buffer_size()
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
            untaken += int.from_bytes(queued, sys.byteorder)
        return untaken

    def _still_there(self, written: int) -> None:
        if self._lingering or self._tunnel:
            return
        if self.written == written:
            self.transport.abort()
        else:
            self.server.loop.call_later(_HALF_CLOSED, self._still_there, self.written)


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

    def protocol(self) -> Connection:
        """Return a new connection: the factory for `loop.create_server`."""
        return Connection(self)

    # As Tornado's HTTPServer is started and stopped.

    def listen(self, port: int, address: str | None = None, **kwargs: Any) -> None:
        """Listen on *port* of *address* (all addresses: None), as `bind_sockets` understands it."""
        self.add_sockets(bind_sockets(port, address, **kwargs))

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Serve *sockets*, which listen already."""
        for sock in sockets:
            self.add_socket(sock)

    def add_socket(self, sock: socket.socket) -> None:
        """Serve *sock*, which listens already."""
        serving = self.loop.create_task(
            self.loop.create_server(self.protocol, sock=sock, ssl=self._ssl)
        )
        self._listeners.append(serving)

    def stop(self) -> None:
        """Accept no more connections; those that are open go on."""
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

        An idle connection gets a moment: the request that its reader may just be sending is
        answered, and told to close.
        """
        if self.draining:
            return
        self.draining = True
        self.stop()
        for connection in self.open:
            connection.keep_alive = False
        self.loop.call_later(_DRAIN_IDLE, self._close_idle)

    async def drained(self, timeout: float) -> bool:
        """Wait until every connection has ended, at most *timeout* seconds; tell whether it has."""
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
            if not connection.busy:
                connection.close()
