# SPDX-License-Identifier: Apache-2.0
"""The HTTP/1.1 engine: one reader's connection, from bytes to requests and back.

A `Connection` finds where each request ends, hands it to the *application*, and takes care of
what no application should: order under pipelining, time limits, limits of size, half-closed and
lingering connections, drain. An application answers by writing whole, framed bytes (`write`) and
saying when its answer is complete (`response_ended`): nothing on the way of a hit makes an object
more than it must.

`strangler.edge.server.Server` makes connections and holds what they share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, cast

from strangler import kernel
from strangler.config.snapshot import Limits
from strangler.edge.application import Asked, Known, Receiver
from strangler.errors import RequestRejected
from strangler.wire.framing import Chunked, Length, MalformedBody
from strangler.wire.head import RequestHead, written

if TYPE_CHECKING:
    from strangler.edge.server import Server

_log = logging.getLogger("strangler.errors")

#: A bare LF or CR, or a folded line: no later byte makes a good head of them.
_HOPELESS: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)(?!\Z)|\n[ \t]")
_START_OF_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}(?: |\Z)")
#: Pipelined bytes held while a request runs, before reading pauses.
_HELD_LIMIT: Final = 64 << 10
#: Bytes of a refused request that the application is told.
_TOLD: Final = 16 << 10
_RESET: Final = struct.pack("ii", 1, 0)
#: Seconds between two looks at what a TLS reader whose connection ends has still to take, and the
#: bytes of it that are certainly the kernel's already: it would have room for more.
_TLS_CLOSE: Final = 0.1
_IN_KERNEL: Final = 16 << 10
#: Seconds of silence, twice in a row, after which a reader that closed its sending side counts as
#: gone. Once may be the loop's own: whoever is late strikes before reading what has come meanwhile.
_HALF_CLOSED: Final = 0.25
#: Seconds that an idle connection stays open in a drain, so that a request under way arrives.
LAST_MOMENT: Final = 1.0
#: Seconds in which a request is on its way that was sent before its reader saw us close.
_CROSSING: Final = 1.0


class Connection:
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
        "_promised",
        "_read_over",
        "_sent_before",
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
        self.keep_alive = not server.draining
        self.busy = False
        self.receiver: Receiver | None = None
        self.written = 0
        self.told: Any = None
        self._body: Length | Chunked | None = None
        self._buffer: bytes | bytearray = b""
        self._choked = False
        self._eof = False
        self._held = False
        self._lingering = False
        self._promised = False
        self._read_over = False
        self._sent_before = 0
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
        if not self.busy and not self._buffer and self.keep_alive:
            known = self.server.known.get(data)
            if known is not None and self._repeated(known):
                return
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

    def _repeated(self, known: Known) -> bool:
        """Let *known* take what came, and tell whether it has.

        The wait for the next request goes on all the while; it begins anew with the next tick
        where *known* has answered.
        """
        self._read_over = False
        try:
            wire = known.answer(self)
        except Exception:  # a bug: the request is read, and fails or not, as any other
            _log.exception("request.failed")
            return False
        if not wire:
            return wire is not None
        self.written += len(wire)
        self.transport.write(wire)
        self.busy = self._choked
        self.server.waits_idle.touch(self)
        return True

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

    def write_interim(self, data: bytes) -> None:
        """Send *data*, a 1xx: the answer itself has yet to begin."""
        self.write(data)
        self._sent_before = self.written

    def pause_reading(self) -> None:
        """Take no more of the request body, or of the tunnel, for now; its time limit stands still.

        Nothing where the body is complete: what follows it is the next request's, and nobody
        would let it go on.
        """
        if (self._body is not None or self._tunnel) and not self.transport.is_closing():
            self.transport.pause_reading()
            self.server.waits_body.end(self)

    def resume_reading(self) -> None:
        """Take more of the request body, or of the tunnel."""
        if self._held or self.transport.is_closing():
            return  # what waits is no body: it is read when it has its turn
        self.transport.resume_reading()
        if self._body is not None:
            self.server.waits_body.start(self)

    @property
    def choked(self) -> bool:
        """Tell whether the reader has yet to take what was written, and more has to wait."""
        return self._choked

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
        elif not self.keep_alive and not self._promised:
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
            self.server.waits_idle.touch(self)
            if self._promised:
                self._stay_a_moment()

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
        if self.transport.get_write_buffer_size() and self not in self.server.waits_write:
            # What has been taken by now is looked at where that takes long: a small answer
            # is with the kernel before it is worth the question.
            self.server.waits_write.start(self)
        if self.secure and kernel.untaken(self.transport) > _IN_KERNEL:
            self.server.loop.call_later(_TLS_CLOSE, self.close)
        else:
            self.transport.close()

    def drain(self) -> None:
        """Keep the connection for no further request than its reader may count on.

        An answer that has begun has told its reader already that the connection stays: the next
        request is answered, too, and that answer says that it was the last.
        """
        self._promised = self.keep_alive and self.busy and self.written > self._sent_before
        self.keep_alive = False

    def part(self) -> None:
        """Close our side of an idle connection in a drain, and the whole of it a moment later.

        A request that is on its way just now is not answered; but its reader sees an orderly end,
        after which it may be sent again (RFC 9112 §9.3.1), and no reset.
        """
        if self.busy or self.transport.is_closing() or kernel.unread(self.transport):
            return  # what waits to be read is answered, and told to close
        if not self.transport.can_write_eof():
            self.close()
            return
        self._lingering = self.busy = True
        self.transport.write_eof()
        self.server.loop.call_later(_CROSSING, self.close)

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

    def begin(self, head: RequestHead, asked: Asked) -> None:
        """Hand the request *head* to *asked*; its body, if it has one, is still to come."""
        self.busy = True
        self._promised = False
        self._sent_before = self.written
        try:
            self.receiver = asked.request(self, head)
        except Exception:  # a bug: this reader gets a 500, the others don't notice
            _log.exception("request.failed")
            if self._lingering or not self.busy:
                self.abort()
            else:
                self.reject(RequestRejected(500, "internal error"), written(head)[:_TOLD])

    # Reading.

    def _find_head(self, data: bytes | bytearray, end: int, seen: int = 0) -> None:
        """Begin the request in *data*, whose head ends at *end* (-1: not here yet).

        The first *seen* bytes have been looked at before: a head that comes byte by byte costs
        no more than its length.
        """
        if data[:2] == b"\r\n" and not self._read_over:
            # RFC 9112 §2.2: one empty line before a request is read over, however it comes.
            self._read_over = True
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
                self.reject(error, bytes(data[:_TOLD]))
            return
        if self._buffer:
            self._buffer = b""
            self.server.waits_head.end(self)
            self.server.waits_idle.start(self)
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
        self.reject(error, raw[:_TOLD])

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
        self._read_over = False
        server = self.server
        try:
            head = RequestHead.parse(raw)
            fields = head.fields
            if fields.expect and fields.expect != b"100-continue":
                raise RequestRejected(417, "Expect: expected 100-continue")
        except RequestRejected as error:
            self.reject(error, raw[:_TOLD])
            return
        if fields.length:
            self._body = Length(fields.length)
        elif fields.chunked:
            self._body = Chunked()
        self.keep_alive = head.keep_alive and not server.draining
        if self._body is None:
            self._buffer = rest
        self.begin(head, server.app)
        if self.receiver is not None and self._body is not None:
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
        elif not self.busy and not self._buffer:
            self.server.waits_idle.start(self)
            if self._promised:
                self._stay_a_moment()

    def _stay_a_moment(self) -> None:
        """Leave an idle connection open in a drain, as its reader was told, but not for long."""
        self.server.loop.call_later(LAST_MOMENT, self.part)

    # Time.

    def idle_expired(self) -> None:
        """Close a connection on which no request came.

        The wait is there while a request runs, too: to end it each time would cost more. And what a
        late loop has yet to read may be a request: it is looked at before.
        """
        if self.busy or kernel.unread(self.transport):
            self.server.waits_idle.start(self)
        else:
            self.close()

    def head_expired(self) -> None:
        """Answer 408 to a head that takes too long."""
        begun = bytes(self._buffer[:_TOLD])
        self.reject(RequestRejected(408, "head: not complete in time"), begun)

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
        self._taken = self.written - kernel.untaken(self.transport)
        self.server.waits_write.start(self)

    def _still_there(self, written: int, silent: bool = False) -> None:
        if self._lingering or self._tunnel:
            return
        if self.written != written:
            silent = False
        elif silent:
            self.transport.abort()
            return
        else:
            silent = True
        self.server.loop.call_later(_HALF_CLOSED, self._still_there, self.written, silent)
