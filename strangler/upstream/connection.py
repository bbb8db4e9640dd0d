# SPDX-License-Identifier: Apache-2.0
"""One connection to an endpoint: a request out, a response in, again and again.

What an endpoint sends is believed only as far as it can be checked: a head that breaks the
grammar, framing that two readers could read differently, bytes after the end of a response, or an
end before it, each ends the connection and is named to the taker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import termios
from fcntl import ioctl
from typing import TYPE_CHECKING, Final, Protocol, cast

from strangler import kernel
from strangler.clock import Waits
from strangler.errors import AttemptFailed
from strangler.wire.framing import WHOLE, Body, MalformedBody, UntilClose, response_body
from strangler.wire.head import ResponseHead, written

if TYPE_CHECKING:
    from strangler.upstream.endpoint import Endpoint

#: Longest response head, in bytes; gunicorn, Django and nginx send far less.
HEAD_LIMIT: Final = 128 << 10
#: Interim responses (1xx) that one request may get before its final one.
_INTERIM_LIMIT: Final = 32
#: What FIONREAD fills in, and what it is where nothing waits to be read.
_WAITING: Final = bytearray(4)
_NOTHING: Final = bytes(4)
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")


class Taker(Protocol):
    """The fetch that an attempt works for."""

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx other than 101."""

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        """Take the final head with the payload that came along; ``body.ended``: that was all."""

    def response_body(self, payload: bytes, body: Body) -> None:
        """Take more payload; ``body.ended``: that was all."""

    def attempt_failed(self, error: AttemptFailed) -> None:
        """Learn that nothing (more) will come, before or after the head."""

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        """Take a 101 that was asked for, and the bytes that followed it."""

    def tunnel_received(self, data: bytes) -> None:
        """Take bytes of an upgraded connection."""

    def tunnel_ended(self) -> None:
        """Learn that the endpoint will send no more on an upgraded connection."""

    def pause_sending(self) -> None:
        """Learn that the endpoint is slower than the request body."""

    def resume_sending(self) -> None:
        """Learn that the endpoint has caught up."""


class UpstreamConnection:
    """A connection to *endpoint*; idle when ``taker`` is None.

    ``choked``: the endpoint has not yet taken what was sent.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_fd",
        "_half",
        "_interim",
        "_keep",
        "_method",
        "_request_ended",
        "_spare",
        "_untaken",
        "_upgrade",
        "_waits_between",
        "_waits_first",
        "choked",
        "endpoint",
        "idle_since",
        "taker",
        "transport",
        "tunnel",
        "uses",
    )

    transport: asyncio.Transport
    _waits_first: Waits[UpstreamConnection]
    _waits_between: Waits[UpstreamConnection]

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.taker: Taker | None = None
        self.uses = 0
        self.idle_since = 0.0
        self.tunnel = False
        self.choked = False
        self._half = False
        self._body: Body | None = None
        self._buffer = b""
        self._fd = -1
        self._method = b""
        self._upgrade = False
        self._request_ended = True
        self._interim = 0
        self._keep = False
        self._spare = -1
        self._untaken = 0

    # What the fetch asks.

    def begin(
        self,
        taker: Taker,
        request: bytes,
        method: bytes,
        waits: tuple[Waits[UpstreamConnection], Waits[UpstreamConnection]],
        *,
        ended: bool,
        upgrade: bool = False,
    ) -> None:
        """Send the head *request*, with the whole body behind it if *ended*.

        *waits* are the time limits for the first byte (counted from the request's end, or from
        when the endpoint last took any of it) and between two pieces of the response. *upgrade*:
        a 101 is welcome.
        """
        self.taker = taker
        self.uses += 1
        self._method = method
        self._upgrade = upgrade
        self._waits_first, self._waits_between = waits
        self._request_ended = ended
        self._interim = 0
        self.transport.write(request)
        if ended:
            waits[0].start(self)
        else:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and self.transport.get_extra_info("sslcontext") is None:
                with contextlib.suppress(OSError):  # out of descriptors: it is only for a nicety
                    self._spare = os.dup(sock.fileno())

    def send(self, data: bytes) -> None:
        """Send framed bytes of the request body, or of the tunnel."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def end_request(self) -> None:
        """Say that the request body is complete: from now on the endpoint is waited for."""
        self._request_ended = True
        if self._body is None:
            self._waits_first.start(self)

    def pause_reading(self) -> None:
        """Take nothing from the endpoint for now; its time limit stands still."""
        if not self.transport.is_closing():
            self._waits_between.end(self)
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking."""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            if self._body is not None:
                self._waits_between.start(self)

    def cancel(self) -> None:
        """Drop the attempt: nobody wants its answer."""
        if self.taker is not None:
            self._over()
            self.transport.abort()

    def end_tunnel(self) -> None:
        """Pass on that the reader will send no more; a tunnel that ended both ways is closed."""
        taker, over = self.taker, self._half
        self._half = True
        if taker is None or self.transport.is_closing():
            return
        if not over and self.transport.can_write_eof():
            self.transport.write_eof()
            return
        self._over()
        self.transport.close()
        if not over:  # TLS: there is no half of it to keep
            taker.tunnel_ended()

    def has_spoken(self) -> bool:
        """Tell whether bytes wait on an idle connection, which nobody can have asked for.

        The loop has yet to read them, and would take them for the next request's answer. Under TLS
        they can't be told yet from a late session ticket or a good-bye: that costs a connection.
        Tickets mostly come right behind the handshake, and are read with the first answer.
        """
        if self._fd < 0:
            return False
        ioctl(self._fd, termios.FIONREAD, _WAITING)
        return _WAITING != _NOTHING

    def close(self) -> None:
        """Close an idle connection."""
        self.transport.close()

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._fd = sock.fileno()

    def data_received(self, data: bytes) -> None:
        body = self._body
        if body is not None:
            self._receive_body(body, data)
        elif self.taker is None:
            # Bytes that nobody asked for must never be the next reader's answer.
            self.transport.close()
        elif self.tunnel:
            self.taker.tunnel_received(data)
        else:
            self._receive_head(data)

    def eof_received(self) -> bool:
        if self.tunnel and self.taker is not None:
            over, self._half = self._half, True
            self.taker.tunnel_ended()
            return not over and self.transport.can_write_eof()
        if isinstance(self._body, UntilClose):
            taker, body = self.taker, self._body
            body.ended = True
            self._over()
            if taker is not None:
                taker.response_body(b"", body)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.endpoint.lost(self)
        if self.taker is not None and self._spare >= 0:
            self._read_what_came()
        if self.taker is None:
            return
        if self._body is not None:
            self._fail("http_response_incomplete", "connection closed before the response's end")
        elif self._buffer:
            self._fail("http_response_incomplete", "connection closed inside the response's head")
        else:
            self._fail("connection_terminated", "connection closed before a response")

    def pause_writing(self) -> None:
        self.choked = True
        if self.taker is not None:
            self._wait_for_endpoint()
            self.taker.pause_sending()

    def resume_writing(self) -> None:
        self.choked = False
        if self.taker is not None:
            if self._still_sending:
                self._waits_first.end(self)
            self.taker.resume_sending()

    # Time.

    def first_byte_expired(self) -> None:
        """Fail an attempt whose answer did not begin in time, or whose request isn't taken."""
        if not self._still_sending:
            self._fail("http_response_timeout", "no response in time")
        elif kernel.untaken(self.transport) < self._untaken:
            self._wait_for_endpoint()  # slow, but it takes some
        else:
            self._fail("http_response_timeout", "the request was not taken in time")

    def between_expired(self) -> None:
        """Fail an attempt whose answer stopped coming."""
        self._fail("http_response_timeout", "the response stopped coming")

    def attempt_expired(self) -> None:
        """Fail an attempt that took too long altogether; a tunnel is none."""
        if self.taker is not None and not self.tunnel:
            self._fail("http_response_timeout", "the attempt took too long")

    @property
    def _still_sending(self) -> bool:
        """Tell whether more of the request is to come, and nothing of an answer is here."""
        return not (self._request_ended or self.tunnel or self._body is not None)

    def _wait_for_endpoint(self) -> None:
        """Begin the time anew in which the endpoint has to take some of the request."""
        if self._still_sending:
            self._untaken = kernel.untaken(self.transport)
            self._waits_first.start(self)

    # Reading.

    def _receive_head(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                self._buffer = data
                if len(data) > HEAD_LIMIT:
                    why = "response head too large"
                    self._fail("http_response_header_section_size", why, data)
                elif _BARE_LF.search(data) or data[:7] != b"HTTP/1."[: len(data)]:
                    self._fail("http_protocol_error", "malformed response head", data)
                return
            self._buffer = b""
            if end > HEAD_LIMIT:
                self._fail("http_response_header_section_size", "response head too large", data)
                return
            head = ResponseHead.parse(data[:end])
            if head is None:
                self._fail("http_protocol_error", "malformed response head", data)
                return
            if head.status >= 200:
                break
            data = data[end:]
            if not self._receive_interim(head, data) or not data:
                return
        self._receive_response(head, data[end:])

    def _receive_interim(self, head: ResponseHead, rest: bytes) -> bool:
        """Pass on a 1xx; tell whether HTTP goes on after it."""
        taker = self.taker
        assert taker is not None
        if head.status == 101:
            if not self._upgrade:
                self._fail("http_protocol_error", "101 without an upgrade asked for")
                return False
            if b"upgrade" not in head.notable:  # RFC 9110 §15.2.2: to what, nobody can tell
                self._fail("http_upgrade_failed", "101 without Upgrade")
                return False
            self.tunnel = True
            self._waits_first.end(self)
            taker.upgraded(head, rest)
            return False
        self._interim += 1
        if self._interim > _INTERIM_LIMIT or b"transfer-encoding" in head.notable:
            self._fail("http_protocol_error", "interim responses without end")
            return False
        taker.interim(head)
        return self.taker is taker

    def _receive_response(self, head: ResponseHead, rest: bytes) -> None:
        self._keep = head.keep_alive
        body: Body | None
        if len(rest) == head.whole and self._method != b"HEAD":
            body, payload = WHOLE, rest
        else:
            body, payload = response_body(self._method, head), b""
            if body is None:
                why = "response framing that can't be trusted"
                self._fail("http_protocol_error", why, written(head))
                return
            if head.status == 204 and head.coding is not None:
                self._keep = False  # the chunk that ends nothing may be still to come
            if rest and body.ended:
                self._keep = False  # bytes after a response without a body
            elif rest:
                try:
                    payload = body.feed(rest)
                except MalformedBody as error:
                    self._fail("http_protocol_error", str(error))
                    return
        taker = self.taker
        assert taker is not None
        if body.ended:
            self._release(body)
        else:
            self._waits_first.end(self)
            self._body = body
            self._waits_between.start(self)
        taker.response_started(head, body, payload)

    def _receive_body(self, body: Body, data: bytes) -> None:
        try:
            payload = body.feed(data)
        except MalformedBody as error:
            self._fail("http_protocol_error", str(error))
            return
        taker = self.taker
        assert taker is not None
        if body.ended:
            self._release(body)
        else:
            self._waits_between.start(self)
            if not payload:
                return
        taker.response_body(payload, body)

    def _release(self, body: Body) -> None:
        """End the attempt; keep the connection where both sides can go on with it."""
        request_ended = self._request_ended
        self._over()
        if self._keep and request_ended and not body.surplus:
            self.endpoint.release(self)
        else:
            self.transport.close()

    def _read_what_came(self) -> None:
        """Read the answer of an endpoint that refused a body half-way and closed.

        Our write then fails, and the transport is gone before it has read what is waiting in the
        socket: the 401 or 413 that explains it all.
        """
        with contextlib.suppress(OSError):
            while self.taker is not None and (data := os.read(self._spare, 65536)):
                self.data_received(data)
            if self.taker is not None:
                self.eof_received()

    def _over(self) -> None:
        self.taker = None
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        if self._body is None:
            self._waits_first.end(self)
        else:
            self._body = None
            self._waits_between.end(self)
        self._buffer = b""
        self.endpoint.inflight -= 1

    def _fail(self, error: str, detail: str, seen: bytes = b"") -> None:
        taker = self.taker
        self._over()
        self.transport.abort()
        if taker is not None:
            failed = AttemptFailed(error, detail)
            failed.seen = seen[:HEAD_LIMIT]
            taker.attempt_failed(failed)
