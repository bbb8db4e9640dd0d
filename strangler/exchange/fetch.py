# SPDX-License-Identifier: Apache-2.0
"""The upstream half: get one response from an upstream, by as many attempts as are allowed.

Another attempt is made only in two cases that can't repeat an effect: no byte of the request was
sent (the endpoint could not be connected to), or a safe request was written on a kept connection
that its endpoint had already closed. Everything else that fails is the sink's to decide about.
"""

from __future__ import annotations

from typing import Final, Protocol

from strangler.errors import AttemptFailed
from strangler.upstream import Endpoint, Upstream, UpstreamConnection
from strangler.upstream.upstream import TimeLimits
from strangler.wire.framing import Body, chunk, last_chunk
from strangler.wire.head import ResponseHead
from strangler.wire.request import Request

#: RFC 9110 §9.2.1: what may be asked twice without a second effect.
SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


class Sink(Protocol):
    """Whom a fetch works for."""

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx other than 101."""

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        """Take the head with the payload that came along; ``body.ended``: that was all."""

    def response_body(self, payload: bytes, body: Body) -> None:
        """Take more payload; ``body.ended``: that was all."""

    def fetch_failed(self, error: AttemptFailed) -> None:
        """Learn that nothing (more) will come."""

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        """Take a 101, and the bytes that followed it."""

    def tunnel_received(self, data: bytes) -> None:
        """Take bytes of an upgraded connection."""

    def tunnel_ended(self) -> None:
        """Learn that the upstream will send no more on an upgraded connection."""

    def pause_sending(self) -> None:
        """Learn that the request body has to wait."""

    def resume_sending(self) -> None:
        """Learn that the request body may go on."""


class Fetch:
    """One response wanted from *upstream*; `start` it once, `cancel` it when nobody wants it.

    ``replay`` is the payload of the request body so far, or None once it has outgrown the
    route's cap: then no other attempt can be made.
    """

    __slots__ = (
        "_body",
        "_body_ended",
        "_connection",
        "_limits",
        "_over",
        "_placed",
        "_sink",
        "_started",
        "_trailers",
        "_tried",
        "attempts",
        "endpoint",
        "replay",
        "replay_cap",
        "request",
        "upstream",
    )

    def __init__(
        self,
        sink: Sink,
        upstream: Upstream,
        request: Request,
        *,
        limits: TimeLimits | None = None,
        replay_cap: int = 0,
    ) -> None:
        self._sink = sink
        self.upstream = upstream
        self.request = request
        self._limits = limits if limits is not None else upstream.limits
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.replay: bytes | None = b""
        self.replay_cap = replay_cap
        self._connection: UpstreamConnection | None = None
        self._body_ended = request.length is None
        self._body: list[bytes] = []
        self._trailers = b""
        self._tried: tuple[Endpoint, ...] = ()
        self._started = False
        self._placed = False
        self._over = False

    def start(self) -> None:
        """Begin the first attempt, or wait for a place."""
        if self.upstream.enter():
            self._placed = True
            self._attempt()
        elif not self.upstream.wait(self):
            self._fail(
                AttemptFailed(
                    "connection_limit_reached", "upstream: too many attempts wait", sent=False
                )
            )

    def cancel(self) -> None:
        """Drop everything: the response isn't wanted any more."""
        if self._over:
            return
        connection = self._connection
        self._end()
        if connection is not None:
            connection.cancel()

    # The request body.

    def send_body(self, data: bytes) -> None:
        """Send payload of the request body, as soon as there is where to."""
        if self.replay is not None:
            if len(self.replay) + len(data) <= self.replay_cap:
                self.replay += data
            else:
                self.replay = None
        connection = self._connection
        if connection is None:
            self._body.append(data)
            if sum(map(len, self._body)) > 65536:
                self._sink.pause_sending()
        elif not self._over:
            connection.send(chunk(data) if self.request.length == -1 else data)

    def end_body(self, trailers: bytes) -> None:
        """End the request body."""
        self._body_ended = True
        self._trailers = trailers
        connection = self._connection
        if connection is not None and not self._over:
            if self.request.length == -1:
                connection.send(last_chunk(trailers))
            connection.end_request()

    def pause_reading(self) -> None:
        """Take nothing more of the response for now."""
        if self._connection is not None and not self._over:
            self._connection.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking the response."""
        if self._connection is not None and not self._over:
            self._connection.resume_reading()

    def tunnel_send(self, data: bytes) -> None:
        """Send bytes of an upgraded connection."""
        if self._connection is not None:
            self._connection.send(data)

    def tunnel_end(self) -> None:
        """Pass on that the reader will send no more."""
        if self._connection is not None:
            self._connection.end_tunnel()

    # Attempts.

    def entered(self) -> None:
        """Learn that a place is ours, after waiting."""
        if self._over:
            self.upstream.leave()
            return
        self._placed = True
        self._attempt()

    def no_place(self) -> None:
        """Give up: every place stayed taken."""
        self._fail(
            AttemptFailed("connection_limit_reached", "upstream: no place in time", sent=False)
        )

    def _attempt(self, *, fresh: bool = False) -> None:
        endpoint = self.upstream.pick(self._tried)
        if endpoint is None:
            self._fail(AttemptFailed("destination_unavailable", "no endpoint left", sent=False))
            return
        self.endpoint = endpoint
        self.attempts += 1
        if not fresh:
            connection = endpoint.take(repeatable=self.request.method in SAFE)
            if connection is not None:
                self.connected(connection)
                return
        endpoint.connect(self)

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request on *connection*."""
        self._connection = connection
        request = self.request
        data = request.head(connection.endpoint.host_field, connection.endpoint.prefix)
        if request.length is not None and (self._body or self._body_ended):
            data += self._body_so_far()
            self._body = []
        connection.begin(
            self,
            data,
            request.method,
            self._limits,
            ended=self._body_ended,
            upgrade=request.upgrade,
        )
        if request.length is not None and not self._body_ended:
            if connection.choked:
                self._sink.pause_sending()
            else:
                self._sink.resume_sending()

    def connect_failed(self, error: AttemptFailed) -> None:
        """Try the next endpoint: nothing was sent, so nothing can happen twice."""
        assert self.endpoint is not None
        self._tried = (*self._tried, self.endpoint)
        if len(self._tried) < len(self.upstream.endpoints):
            self._attempt()
        else:
            self._fail(error)

    def _body_so_far(self) -> bytes:
        payload = b"".join(self._body)
        if self.request.length != -1:
            return payload
        framed = chunk(payload) if payload else b""
        return framed + last_chunk(self._trailers) if self._body_ended else framed

    # What the connection tells.

    def interim(self, head: ResponseHead) -> None:
        self._sink.interim(head)

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        self._started = True
        if body.ended:
            self._end()
        self._sink.response_started(head, body, payload)

    def response_body(self, payload: bytes, body: Body) -> None:
        if body.ended:
            self._end()
        self._sink.response_body(payload, body)

    def attempt_failed(self, error: AttemptFailed) -> None:
        connection = self._connection
        self._connection = None
        stale = connection is not None and connection.uses > 1
        if (
            stale
            and error.error == "connection_terminated"
            and not self._started
            and self.request.method in SAFE
            and self.replay is not None
        ):
            self._body = [self.replay] if self.replay else []
            self._attempt(fresh=True)
        else:
            self._fail(error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        self._started = True
        self._sink.upgraded(head, ahead)

    def tunnel_received(self, data: bytes) -> None:
        self._sink.tunnel_received(data)

    def tunnel_ended(self) -> None:
        self._sink.tunnel_ended()

    def pause_sending(self) -> None:
        self._sink.pause_sending()

    def resume_sending(self) -> None:
        self._sink.resume_sending()

    # The end.

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        if self._connection is None and self.endpoint is not None:
            self.endpoint.forget(self)
        if self._placed:
            self._placed = False
            self.upstream.leave()
        else:
            self.upstream.wait_no_more(self)

    def _fail(self, error: AttemptFailed) -> None:
        if self._over:
            return
        self._end()
        self.upstream.failed += 1
        self.upstream.last_error = error.error
        self._sink.fetch_failed(error)


#: RFC 9209 types by the words of a fallback's `when` (the others are `incomplete`).
_WORDS: Final = {
    "connection_refused": "connect",
    "connection_timeout": "connect",
    "destination_ip_unroutable": "connect",
    "destination_unavailable": "connect",
    "dns_error": "connect",
    "dns_timeout": "connect",
    "tls_certificate_error": "connect",
    "tls_protocol_error": "connect",
    "connection_limit_reached": "busy",
    "http_response_timeout": "timeout",
}


def failure_word(error: AttemptFailed) -> str:
    """Return the word of a fallback's `when` that *error* falls under."""
    return _WORDS.get(error.error, "incomplete")
