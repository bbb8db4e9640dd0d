# SPDX-License-Identifier: Apache-2.0
"""Carry out a fault that an operator has ordered (`resilience.chaos`) on one request's fetch.

To everybody else it looks as if the upstream had done it: the ladder, the reader and the log meet
it as they would meet the real thing. But nobody is blamed for it: it is counted neither against
the breaker nor an endpoint, which other routes share, and what it has touched is never kept.
"""

from __future__ import annotations

import asyncio
from random import random
from typing import Final

from strangler.errors import AttemptFailed
from strangler.exchange.answer import reason_of
from strangler.exchange.fetching.contract import Sink
from strangler.exchange.fetching.fetch import FOR_EVER, Fetch, Terms
from strangler.resilience.chaos import Fault, corrupted
from strangler.resilience.deadline import Deadline
from strangler.upstream import Upstream
from strangler.wire.framing import Body, Length, UntilClose
from strangler.wire.head import ResponseHead
from strangler.wire.request import Request

#: Seconds between two pieces of a trickle that is fast enough to have pieces.
_BEAT: Final = 0.1
#: Bytes of a trickled body that are held before its upstream has to wait.
_AHEAD: Final = 65536


class Faulty(Fetch):
    """A fetch that suffers *fault*."""

    __slots__ = ("_fault", "_harm")

    def __init__(
        self,
        sink: Sink,
        upstream: Upstream,
        request: Request,
        terms: Terms,
        *,
        deadline: Deadline = FOR_EVER,
        keyed: bool = False,
        fault: Fault,
    ) -> None:
        self._fault = fault
        self._harm = harm = Harm(sink, fault, self)
        super().__init__(harm, upstream, request, terms, deadline=deadline, keyed=keyed)
        self.why = "fault"

    def start(self) -> None:
        """Begin late, or not at all, where the fault says so."""
        fault = self._fault
        if fault.kind == "delay":
            most: float = self.terms.limits[0].seconds
            loop = asyncio.get_running_loop()
            if fault.amount < most:
                self._timer = loop.call_later(fault.amount, super().start)
            else:
                self._timer = loop.call_later(most, self._strike, "http_response_timeout")
        elif fault.kind != "abort":
            super().start()
        elif fault.amount:
            self._answer(int(fault.amount))
        else:
            self._strike("connection_terminated")

    def cancel(self) -> None:
        self._harm.stop()
        super().cancel()

    def pause_reading(self) -> None:
        if not self._harm.pause():
            super().pause_reading()

    def resume_reading(self) -> None:
        if not self._harm.resume():
            super().resume_reading()

    def hold(self, held: bool) -> None:
        """Let the upstream wait (*held*) or go on, whatever the reader does."""
        if held:
            super().pause_reading()
        else:
            super().resume_reading()

    def _strike(self, error: str) -> None:
        """Fail as if the upstream had, with the whole request in its hands."""
        self.sent = True
        self._end()
        self._sink.fetch_failed(AttemptFailed(error, f"fault: {self._fault.kind}"))

    def _answer(self, status: int) -> None:
        """Answer *status* as if the upstream had."""
        self.sent = self._started = True
        self._end()
        text = f"{status} {reason_of(status)}".encode()
        head = ResponseHead.parse(
            b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
            b"Content-Length: %d\r\n\r\n" % (text, len(text))
        )
        assert head is not None
        self._sink.response_started(
            head, Length(0), b"" if self.request.method == b"HEAD" else text
        )


class Harm:
    """Stands between a fetch and its sink, and harms the body on its way."""

    __slots__ = (
        "_ended", "_fault", "_fetch", "_held", "_late", "_left", "_over", "_paused", "_shown",
        "_sink", "_timer", "_waiting",
    )  # fmt: skip

    def __init__(self, sink: Sink, fault: Fault, fetch: Faulty) -> None:
        self._sink = sink
        self._fault = fault
        self._fetch = fetch
        self._left = int(fault.amount)
        self._shown: Length | UntilClose = UntilClose()
        self._waiting = bytearray()
        self._ended = False
        self._held = False
        self._paused = False
        self._late: tuple[bytes, Body] | None = None
        self._over = False
        self._timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Give nothing more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause(self) -> bool:
        """Wait for the reader; False where that is the fetch's to do."""
        self._paused = True
        return self._fault.kind == "trickle"

    def resume(self) -> bool:
        """Go on; False where that is the fetch's to do."""
        self._paused = False
        late, self._late = self._late, None
        if late is not None:
            self.response_body(*late)
        return self._fault.kind == "trickle"

    # The body.

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        kind = self._fault.kind
        if kind not in ("cut", "trickle") or (body.ended and not payload):
            self._sink.response_started(head, body, self._corrupted(payload))
            return
        # Its end is ours to tell, however much has come; its framing stays what it is.
        if isinstance(body, Length):
            self._shown = Length(1)
        self._sink.response_started(head, self._shown, b"")
        if self._paused and kind == "cut":
            self._late = (payload, body)  # the head itself may still wait, for a purge
        else:
            self.response_body(payload, body)

    def response_body(self, payload: bytes, body: Body) -> None:
        if self._over:
            return
        match self._fault.kind:
            case "cut":
                self._cut(payload, body)
            case "trickle":
                self._waiting += payload
                self._ended = body.ended
                if not body.ended and len(self._waiting) > _AHEAD and not self._held:
                    self._held = True
                    self._fetch.hold(True)
                if self._timer is None:
                    self._beat()
            case _:
                self._sink.response_body(self._corrupted(payload), body)

    def _corrupted(self, payload: bytes) -> bytes:
        if self._fault.kind == "corrupt" and random() < self._fault.amount:
            return corrupted(payload, random())
        return payload

    def _cut(self, payload: bytes, body: Body) -> None:
        if len(payload) <= self._left and body.ended:
            self._shown.ended = True
            self._sink.response_body(payload, self._shown)
            return
        given, self._left = payload[: self._left], max(0, self._left - len(payload))
        if given:
            self._sink.response_body(given, self._shown)
        if not self._left and not self._over:
            self._fetch.cancel()
            self._sink.fetch_failed(AttemptFailed("http_response_incomplete", "fault: cut"))

    def _beat(self) -> None:
        """Give the next piece of a trickle."""
        self._timer = None
        if self._over:
            return
        rate = self._fault.amount
        wait = max(_BEAT, 1.0 / rate)
        if not self._paused:
            size = max(1, int(rate * wait))
            piece, self._waiting = bytes(self._waiting[:size]), self._waiting[size:]
            if self._ended and not self._waiting:
                self._shown.ended = True
            elif self._held and len(self._waiting) < _AHEAD // 2:
                self._held = False
                self._fetch.hold(False)
            if piece or self._shown.ended:
                self._sink.response_body(piece, self._shown)
        if not self._shown.ended and not self._over:
            self._timer = asyncio.get_running_loop().call_later(wait, self._beat)

    # The rest passes.

    def interim(self, head: ResponseHead) -> None:
        self._sink.interim(head)

    def fetch_failed(self, error: AttemptFailed) -> None:
        self.stop()
        self._sink.fetch_failed(error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        self._sink.upgraded(head, ahead)

    def tunnel_received(self, data: bytes) -> None:
        self._sink.tunnel_received(data)

    def tunnel_ended(self) -> None:
        self._sink.tunnel_ended()

    def pause_sending(self) -> None:
        self._sink.pause_sending()

    def resume_sending(self) -> None:
        self._sink.resume_sending()
