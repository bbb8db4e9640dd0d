# SPDX-License-Identifier: Apache-2.0
"""Two fetches for one response: a second starts beside a first that is slow, the quicker one wins.

Only a route that says `retry: {hedge: …}` has its fetches made here; `resilience.hedge` decides
when. The loser is cancelled, which says nothing of its endpoint, its upstream or its breaker. A
hedge is the first one's retry, started early: while both run neither is retried.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic

from strangler.errors import AttemptFailed
from strangler.exchange.fetching.contract import Answer, Sink
from strangler.exchange.fetching.fetch import FOR_EVER, Fetch, Terms
from strangler.exchange.fetching.traced import Traced
from strangler.resilience import hedge
from strangler.resilience.deadline import Deadline
from strangler.resilience.failure import is_failure
from strangler.resilience.retry import Reason
from strangler.upstream import Endpoint, Upstream
from strangler.wire.framing import Body
from strangler.wire.head import ResponseHead
from strangler.wire.request import Request


class Hedged:
    """a `fetching.Fetching` that may make two fetches.

    *latency*: of the route's first attempts at *upstream*, which this one adds to.
    """

    __slots__ = (
        "_began", "_body_ended", "_chosen", "_deadline", "_failed", "_first", "_held", "_keyed",
        "_latency", "_reason", "_second", "_sink", "_timer", "upstream",
    )  # fmt: skip

    def __init__(
        self,
        sink: Sink,
        upstream: Upstream,
        request: Request,
        terms: Terms,
        *,
        deadline: Deadline = FOR_EVER,
        keyed: bool = False,
        latency: hedge.Latency,
    ) -> None:
        self.upstream = upstream
        self._sink = sink
        self._latency = latency
        self._deadline = deadline
        self._keyed = keyed
        self._body_ended = request.length is None
        self._first = self._made(request, terms)
        self._second: Fetch | None = None
        self._chosen: Fetch | None = None
        self._failed: Fetch | None = None
        self._held: Answer | None = None
        self._reason: Reason | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0

    def start(self) -> None:
        """Begin the first fetch, and wait for as long as most of its kind take."""
        self._began = now = monotonic()
        first = self._first
        if not first.request.upgrade:
            wait = hedge.delay(first.terms.retry.hedge, self._latency, now)
            if wait is not None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait, self._first_is_late)
        first.start()

    def cancel(self) -> None:
        """Drop everything."""
        self._stop_waiting()
        self._first.cancel()
        if self._second is not None:
            self._second.cancel()

    # What the one who asked wants to know.

    @property
    def _leading(self) -> Fetch:
        return self._chosen or self._first

    @property
    def attempts(self) -> int:
        """Return how many attempts were made, by both."""
        return self._first.attempts + (self._second.attempts if self._second is not None else 0)

    @property
    def sent(self) -> bool:
        """Tell whether a byte of the request may have reached an endpoint."""
        return self._first.sent or (self._second is not None and self._second.sent)

    @property
    def why(self) -> Reason | None:
        """Return why there was a second attempt, or none."""
        return self._reason or self._first.why

    @property
    def replay(self) -> bytes | None:
        """Return the payload of the request so far, None where it has outgrown its cap."""
        return self._first.replay

    @property
    def endpoint(self) -> Endpoint | None:
        """Return who was asked: of two, the one whose answer is used."""
        return self._leading.endpoint

    # The request body: all of it has come before there are two.

    def send_body(self, data: bytes) -> None:
        """Send payload of the request body."""
        self._first.send_body(data)

    def end_body(self, trailers: bytes) -> None:
        """End the request body."""
        self._body_ended = True
        self._first.end_body(trailers)

    def pause_reading(self) -> None:
        """Take nothing more of the response for now, whoever's it will be."""
        self._first.pause_reading()
        if self._second is not None:
            self._second.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking the response."""
        self._first.resume_reading()
        if self._second is not None:
            self._second.resume_reading()

    def tunnel_send(self, data: bytes) -> None:
        """Send bytes of an upgraded connection."""
        self._first.tunnel_send(data)

    def tunnel_end(self) -> None:
        """Pass on that the reader will send no more."""
        self._first.tunnel_end()

    # Starting the second.

    def _first_is_late(self) -> None:
        self._timer = None
        first = self._first
        if not first.at_work or not self._body_ended:
            return  # it waits for a place, or to be made again: a second would wait beside it
        now = monotonic()
        decision = hedge.decide(
            first.terms.retry,
            method=first.request.method,
            keyed=self._keyed,
            replayable=first.replay is not None,
            left=self._deadline.left(now),
            budget=self.upstream.budget,
            now=now,
        )
        if decision.reason != "off":
            self._reason = decision.reason
        if not decision.start:
            return
        first.terms = terms = replace(
            first.terms, retry=replace(first.terms.retry, tries=0, hedge=None)
        )
        self._second = second = self._made(first.request, terms)
        second.repeat(first)
        second.start()

    def _made(self, request: Request, terms: Terms) -> Fetch:
        runner = _Runner(self)
        make = Fetch if request.trace is None else Traced
        runner.fetch = make(
            runner, self.upstream, request, terms, deadline=self._deadline, keyed=self._keyed
        )
        return runner.fetch

    # What the two tell.

    def started(self, fetch: Fetch, head: ResponseHead, body: Body, payload: bytes) -> None:
        """Take the first answer that is one: a failure's only when the other has nothing."""
        if is_failure(head.status) and self._both_run:
            self._failed = fetch
            if body.ended:
                self._held = (head, body, payload)
            else:
                fetch.cancel()
            return
        if not is_failure(head.status):
            # A first that has lost took at least this long: without it, what is slow would never
            # be seen, and hedges would start earlier and earlier.
            now = monotonic()
            self._latency.observe(now - self._began, now)
        self._choose(fetch)
        self._sink.response_started(head, body, payload)

    def failed(self, fetch: Fetch, error: AttemptFailed) -> None:
        """Wait for the other where one of two has failed."""
        if self._chosen is not None:
            self._sink.fetch_failed(error)
        elif self._both_run:
            self._failed = fetch
        elif self._held is not None:
            assert self._failed is not None
            self._choose(self._failed)
            self._sink.response_started(*self._held)
        else:
            self._stop_waiting()
            self._sink.fetch_failed(error)

    def upgraded(self, fetch: Fetch, head: ResponseHead, ahead: bytes) -> None:
        """Take the connection over; nothing is hedged that asks for an upgrade."""
        self._choose(fetch)
        self._sink.upgraded(head, ahead)

    def interim(self, fetch: Fetch, head: ResponseHead) -> None:
        """Pass on what the one says whose answer will most likely be used."""
        if fetch is self._leading:
            self._sink.interim(head)

    def choked(self, fetch: Fetch, *, paused: bool) -> None:
        """Let the request body wait for the first; a second has all of it from the beginning."""
        if fetch is not self._first:
            return
        if paused:
            self._sink.pause_sending()
        else:
            self._sink.resume_sending()

    @property
    def _both_run(self) -> bool:
        return self._second is not None and self._failed is None

    def _choose(self, fetch: Fetch) -> None:
        """Use *fetch*, cancel the other; from now on the sink hears *fetch* directly."""
        self._stop_waiting()
        self._chosen = fetch
        fetch.answer_to(self._sink)
        other = self._second if fetch is self._first else self._first
        if other is not None:
            other.cancel()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Runner:
    """The sink of one of two, until one is chosen: says which of them it is."""

    __slots__ = ("_pair", "fetch")

    fetch: Fetch

    def __init__(self, pair: Hedged) -> None:
        self._pair = pair

    def interim(self, head: ResponseHead) -> None:
        self._pair.interim(self.fetch, head)

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        self._pair.started(self.fetch, head, body, payload)

    def response_body(self, payload: bytes, body: Body) -> None:
        raise AssertionError("who has begun an answer is chosen, or cancelled")

    def fetch_failed(self, error: AttemptFailed) -> None:
        self._pair.failed(self.fetch, error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        self._pair.upgraded(self.fetch, head, ahead)

    def tunnel_received(self, data: bytes) -> None:
        raise AssertionError("who has a tunnel is chosen")

    def tunnel_ended(self) -> None:
        raise AssertionError("who has a tunnel is chosen")

    def pause_sending(self) -> None:
        self._pair.choked(self.fetch, paused=True)

    def resume_sending(self) -> None:
        self._pair.choked(self.fetch, paused=False)
