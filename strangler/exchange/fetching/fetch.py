# SPDX-License-Identifier: Apache-2.0
"""The upstream half: get one response from an upstream, by as many attempts as are allowed.

An attempt asks the breaker, passes the gates, and goes to the endpoint with the least to do. What
fails is counted against who failed and may be tried again as `retry` decides; only where a safe
request was written on a kept connection that its endpoint had already closed, it goes out again
at once and nobody is blamed (RFC 9112 §9.3.1). What fails for good is the sink's to decide about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import random
from time import monotonic, time
from typing import Final

from mypy_extensions import mypyc_attr

from strangler.errors import AttemptFailed
from strangler.exchange.fetching.authorized import authorized, renews
from strangler.exchange.fetching.contract import Answer, Fetching, Sink
from strangler.resilience.deadline import Deadline
from strangler.resilience.failure import failure_word, is_failure
from strangler.resilience.policy import Retry
from strangler.resilience.protection import Kind
from strangler.resilience.retry import Reason, decide, parse_retry_after
from strangler.upstream import Bearer, Circuit, Endpoint, Gate, Shut, Upstream, UpstreamConnection
from strangler.upstream.places import IN, WAIT
from strangler.upstream.upstream import TimeLimits
from strangler.wire.framing import Body, chunk, last_chunk
from strangler.wire.head import ResponseHead
from strangler.wire.request import Request

_log = logging.getLogger("strangler.errors")

#: RFC 9110 §9.2.1: what may be asked twice without a second effect.
SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
#: Body bytes held for an endpoint that there is not yet, before the reader is paused.
_AHEAD: Final = 65536
#: The deadline of a fetch that has none.
FOR_EVER: Final = Deadline()

#: What stands for the permit of an attempt that no breaker was asked about.
_NO_BREAKERS: Final = -1
#: What a refusal before any attempt says of itself, by its word.
_REFUSALS: Final = {"breaker": "breaker open", "drained": "drained by an operator"}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms a fetch is made, the same for all of a route's.

    replay: bytes of the request body that are kept for another attempt · circuit: the breaker
    that is asked, the upstream's or the route's own · gates: passed in this order · kind: on
    whose behalf · attempt: seconds for one attempt, None: no bound · tokens: what gives the token
    that each attempt shows · makes: what makes a fetch, where `Fetch` alone won't do.
    """

    limits: TimeLimits
    replay: int
    retry: Retry
    circuit: Circuit | Shut | None
    gates: tuple[Gate, ...]
    kind: Kind = "live"
    attempt: float | None = None
    tokens: Bearer | None = None
    makes: Callable[..., Fetching] | None = None


@mypyc_attr(allow_interpreted_subclasses=True)
class Fetch:
    """One response wanted from *upstream*; `start` it once, `cancel` it when nobody wants it.

    *keyed*: the request carries the route's idempotency key.

    ``replay`` is the payload of the request body so far, or None once it has outgrown the
    route's cap: then no other attempt can be made · ``sent``: a byte of the request may have
    reached an endpoint · ``why``: the reason for which there was no (other) second attempt.
    """

    __slots__ = (
        "_bearer",
        "_began",
        "_body",
        "_body_ended",
        "_clock",
        "_connecting",
        "_connection",
        "_held",
        "_inside",
        "_keyed",
        "_over",
        "_permit",
        "_renewed",
        "_repeats",
        "_retries",
        "_sink",
        "_spent",
        "_started",
        "_timer",
        "_trailers",
        "_tried",
        "_waits_at",
        "attempts",
        "deadline",
        "endpoint",
        "kind",
        "replay",
        "request",
        "sent",
        "terms",
        "upstream",
        "why",
    )

    def __init__(
        self,
        sink: Sink,
        upstream: Upstream,
        request: Request,
        terms: Terms,
        *,
        deadline: Deadline = FOR_EVER,
        keyed: bool = False,
    ) -> None:
        self._sink = sink
        self.upstream = upstream
        self.request = request
        self.terms = terms
        self.kind = terms.kind
        self.deadline = deadline
        self._keyed = keyed
        self.endpoint: Endpoint | None = None
        self.attempts = 0
        self.sent = False
        self.why: Reason | None = None
        self.replay: bytes | None = b""
        self._connection: UpstreamConnection | None = None
        self._body_ended = request.length is None
        self._body: list[bytes] = []
        self._trailers = b""
        self._tried: tuple[Endpoint, ...] = ()
        self._held: Answer | None = None
        self._timer: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._bearer = ""
        self._clock: asyncio.TimerHandle | None = None
        self._renewed = False
        self._retries = 0
        self._repeats = False
        self._inside = 0
        self._permit = self._spent = 0
        self._began = 0.0
        self._waits_at: Gate | None = None
        self._connecting = False
        self._started = False
        self._over = False

    @property
    def at_work(self) -> bool:
        """Tell whether an attempt is under way: connecting, or waiting for an answer."""
        return not self._over and (self._connecting or self._connection is not None)

    def repeat(self, first: Fetch) -> None:
        """Make beside *first*, whose request body is complete, the same request elsewhere.

        It has come out of the budget already.
        """
        self.replay = first.replay
        self._body = [first.replay] if first.replay else []
        self._body_ended, self._trailers = True, first._trailers
        self._tried = () if first.endpoint is None else (first.endpoint,)
        self._repeats = True

    def answer_to(self, sink: Sink) -> None:
        """Tell *sink* what follows."""
        self._sink = sink

    def start(self) -> None:
        """Begin an attempt, or wait for a token or a place."""
        self._timer = None
        tokens = self.terms.tokens
        if (tokens is None or authorized(self, tokens)) and self._permitted():
            self._pass_gates()

    def begin(self) -> None:
        """Ask the breaker and the gates, and begin an attempt."""
        if self._permitted():
            self._pass_gates()

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
            if len(self.replay) + len(data) <= self.terms.replay:
                self.replay += data
            else:
                self.replay = None
        connection = self._connection
        if connection is None:
            self._body.append(data)
            if sum(map(len, self._body)) > _AHEAD:
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

    # Before an attempt: the breaker, the gates.

    def _permitted(self) -> bool:
        circuit = self.terms.circuit
        self._began = now = monotonic()
        if circuit is None:
            return True
        self._permit = circuit.permit(now)
        if self._permit:
            return True
        self._fail(
            AttemptFailed(
                "destination_unavailable", f"{circuit.name}: {_REFUSALS[circuit.word]}",
                sent=False, word=circuit.word,
            )
        )  # fmt: skip
        return False

    def _pass_gates(self) -> None:
        gates = self.terms.gates
        while self._inside < len(gates):
            gate = gates[self._inside]
            said = gate.ask(self)
            if said == WAIT:
                self._waits_at = gate
                self._drop_permit()
                return
            if said != IN:
                self._turned_away(said)
                return
            self._inside += 1
        self._attempt()

    def entered(self) -> None:
        """Learn that a place is ours, after waiting."""
        gate, self._waits_at = self._waits_at, None
        if self._over:
            if gate is not None:
                gate.leave()
            return
        self._inside += 1
        if self._permitted():
            self._pass_gates()

    def no_place(self) -> None:
        """Give up: every place stayed taken."""
        self._turned_away("no place in time")

    def _turned_away(self, why: str) -> None:
        detail = f"{self.upstream.name}: {why}"
        self._fail(AttemptFailed("connection_limit_reached", detail, sent=False, word="busy"))

    # Attempts.

    def _attempt(self, *, fresh: bool = False) -> None:
        upstream = self.upstream
        self.endpoint = endpoint = upstream.pick(self._tried)
        self.attempts += 1
        if self.attempts == 1 and not self._repeats:
            upstream.budget.attempted(self._began)
        if self.terms.attempt is not None:
            self._limit_attempt(self.terms.attempt)
        if not fresh:
            connection = endpoint.take(repeatable=self.request.method in SAFE)
            if connection is not None:
                self.connected(connection)
                return
        self._connecting = True
        endpoint.connect(self)

    def _limit_attempt(self, seconds: float) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = asyncio.get_running_loop().call_later(seconds, self._attempt_expired)

    def _attempt_expired(self) -> None:
        """End an attempt that takes too long, whatever it is doing; between two there is none."""
        self._clock = None
        if self._connecting and self.endpoint is not None:
            self.endpoint.forget(self)
            detail = f"{self.endpoint.name}: no connection within the attempt"
            self.connect_failed(AttemptFailed("connection_timeout", detail, sent=False))
        elif self._connection is not None:
            self._connection.attempt_expired()

    def connected(self, connection: UpstreamConnection) -> None:
        """Send the request on *connection*."""
        self._connection = connection
        self._connecting = False
        self.sent = True
        request = self.request
        endpoint, deadline = connection.endpoint, self.deadline
        also = deadline.line(monotonic()) if deadline is not FOR_EVER else b""
        data = request.head(endpoint.host_field, endpoint.prefix, also)
        if request.length is not None and (self._body or self._body_ended):
            data += self._body_so_far()
            self._body = []
        connection.begin(
            self,
            data,
            request.method,
            self.terms.limits,
            ended=self._body_ended,
            upgrade=request.upgrade,
        )
        if request.length is not None and not self._body_ended:
            if connection.choked:
                self._sink.pause_sending()
            else:
                self._sink.resume_sending()

    def connect_failed(self, error: AttemptFailed) -> None:
        """Try elsewhere or again: nothing was sent, so nothing can happen twice."""
        self._connecting = False
        if error.error == "connection_limit_reached":
            self._fail(error)
            return
        if not self._tries_again("connect", connecting=True):
            self._fail(error)

    def _body_so_far(self) -> bytes:
        payload = b"".join(self._body)
        if self.request.length != -1:
            return payload
        framed = chunk(payload) if payload else b""
        return framed + last_chunk(self._trailers) if self._body_ended else framed

    def _tries_again(
        self,
        failure: str | int,
        *,
        connecting: bool = False,
        retry_after: float | None = None,
        whole: bool = True,
    ) -> bool:
        """Count a failed attempt; begin another one, now or later, if there may be one.

        *whole*: nothing more is to come of its answer.
        """
        upstream, endpoint = self.upstream, self.endpoint
        assert endpoint is not None
        now = monotonic()
        sick = is_failure(failure)
        if not self._started:  # else its head has been counted, and that it broke off as well
            if sick:
                upstream.endpoint_failed(endpoint, now, connecting=connecting)
            else:  # a 404 that the route tries again is an answer all the same
                endpoint.standing.succeeded(now)
        if endpoint not in self._tried:
            self._tried = (*self._tried, endpoint)
        decision = decide(
            self.terms.retry,
            failure,
            method=self.request.method,
            keyed=self._keyed,
            sent=self.sent,
            begun=self._started,
            replayable=self.replay is not None,
            retries=self._retries,
            elsewhere=upstream.elsewhere(self._tried),
            left=self.deadline.left(now),
            budget=upstream.budget,
            now=now,
            chance=random(),
            retry_after=retry_after,
        )
        self.why = decision.reason
        if decision.reason == "elsewhere":
            # One endpoint's refusal is not the upstream's, while it has others.
            self._drop_permit()
        else:
            self._count(sick, now, whole or decision.again)
        if not decision.again:
            return False
        if self.sent:
            self._body = [self.replay] if self.replay else []
        if decision.reason == "elsewhere":
            if self._permitted():
                self._attempt()
            return True
        self._retries += 1
        self._leave_gates()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(decision.wait, self.start)
        return True

    def _count(self, sick: bool, now: float, whole: bool = True) -> None:
        """Tell the breaker, and who heeds it, of an attempt's outcome.

        *whole*: nothing can come of it any more that says otherwise. Else the breaker hears of the
        content too, when it has ended.
        """
        terms, took = self.terms, now - self._began
        circuit, heeds = terms.circuit, self.upstream.heeds
        if circuit is not None:
            permit, self._permit = self._permit, 0
            if sick:
                circuit.failed(permit, now)
            else:
                circuit.succeeded(permit, now, took, whole)
                self._spent = 0 if whole else permit
        elif not (sick or whole):
            self._spent = _NO_BREAKERS
        if heeds is not None:
            heeds.answered(terms.kind, took, sick, now)

    # What the connection tells.

    def interim(self, head: ResponseHead) -> None:
        self._sink.interim(head)

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        if head.status < 400:
            self._went_well(body.ended)
        elif self._went_badly(head, body, payload):
            return
        self._started = True
        self.upstream.succeeded += 1
        if body.ended:
            self._end()
        try:
            self._sink.response_started(head, body, payload)
        except Exception:
            self._sink_broke()

    def _sink_broke(self) -> None:
        """End an answer over which its taker has stumbled, a bug: who waits for it must hear so.

        The connection has done its part, and says nothing more of an answer that has ended.
        """
        _log.exception("answer.failed")
        self.cancel()
        self._sink.fetch_failed(AttemptFailed("proxy_internal_error", "a bug in the edge"))

    def _went_well(self, whole: bool) -> None:
        now = monotonic()
        if self.upstream.several:
            assert self.endpoint is not None
            self.endpoint.standing.succeeded(now, whole)
        self._count(False, now, whole)

    def _broke_off(self) -> None:
        """Take back the good word for an answer that has ended before its end."""
        assert self.endpoint is not None
        spent, self._spent = self._spent, 0
        self.upstream.broke_off(self.endpoint, self.terms.circuit, spent)

    def _came_whole(self) -> None:
        """Confirm the good word for an answer whose content has come."""
        assert self.endpoint is not None
        self.endpoint.standing.came_whole()
        spent, self._spent = self._spent, 0
        if self.terms.circuit is not None:
            self.terms.circuit.ended(spent, monotonic())

    def _went_badly(self, head: ResponseHead, body: Body, payload: bytes) -> bool:
        """Count an answer of 400 and more; tell whether it is dropped for another attempt."""
        status = head.status
        if status == 401 and renews(self, head, body):
            return True
        if status not in self.terms.retry.when.statuses:
            if is_failure(status):
                assert self.endpoint is not None
                now = monotonic()
                self.upstream.endpoint_failed(self.endpoint, now)
                self._count(True, now)
            else:
                self._went_well(body.ended)
            return False
        retry_after = parse_retry_after(head.get(b"retry-after"), time())
        if not self._tries_again(status, retry_after=retry_after, whole=body.ended):
            return False
        connection, self._connection = self._connection, None
        if body.ended:
            self._held = (head, body, payload)
        elif connection is not None:
            connection.cancel()
        return True

    def again(self, body: Body) -> None:
        """Drop the answer that *body* is of, and make the request anew from the start."""
        self._went_well(True)
        connection, self._connection = self._connection, None
        if not body.ended and connection is not None:
            connection.cancel()
        self._body = [self.replay] if self.replay else []
        self._leave_gates()
        self.start()

    def response_body(self, payload: bytes, body: Body) -> None:
        if body.ended:
            if self._spent:
                self._came_whole()
            self._end()
        try:
            self._sink.response_body(payload, body)
        except Exception:
            self._sink_broke()

    def attempt_failed(self, error: AttemptFailed) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.tunnel:
            self._fail(error)  # how a tunnel ends says nothing of who is behind it
            return
        if self._spent:
            self._broke_off()
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
        elif not self._tries_again(failure_word(error)):
            self._fail(error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        self._started = True
        self.upstream.succeeded += 1
        self._went_well(True)
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

    def _drop_permit(self) -> None:
        circuit = self.terms.circuit
        permit, self._permit = self._permit, 0
        spent, self._spent = self._spent, 0
        if circuit is not None and (permit or spent):
            circuit.dropped(permit or spent, begun=not permit)

    def _leave_gates(self) -> None:
        gates = self.terms.gates
        if self._waits_at is not None:
            self._waits_at.give_up(self)
        while self._inside:
            self._inside -= 1
            gates[self._inside].leave()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._clock is not None:
            self._clock.cancel()
        if self._connecting and self.endpoint is not None:
            self.endpoint.forget(self)
        if self._permit or self._spent:
            self._drop_permit()
        if self._inside or self._waits_at is not None:
            self._leave_gates()

    def _fail(self, error: AttemptFailed) -> None:
        if self._over:
            return
        self._end()
        error.sent = self.sent
        upstream = self.upstream
        upstream.last_error = error.error
        if self._started:  # counted as an answer by now
            self._sink.fetch_failed(error)
        elif self._held is not None:
            # The retry came to nothing: the answer that it was made for is the answer.
            upstream.succeeded += 1
            self._sink.response_started(*self._held)
        else:
            upstream.failed += 1
            self._sink.fetch_failed(error)
