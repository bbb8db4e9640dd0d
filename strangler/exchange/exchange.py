# SPDX-License-Identifier: Apache-2.0
"""The client half: one request and the one response that its reader gets.

An exchange is its connection's receiver and its fetch's sink. Bytes that arrive on one side go
out on the other in the same call; there is no task and no queue between them, and whichever side
is slower pauses the other.
"""

from __future__ import annotations

import time
from asyncio import TimerHandle
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from strangler.cache.tiers.purges import Purge
from strangler.clock import Waits
from strangler.config.snapshot import Route
from strangler.errors import AttemptFailed, RequestRejected
from strangler.exchange import answer, composing, debugging, ending, falling, itself
from strangler.exchange.counting import Arm
from strangler.exchange.fetching.contract import Answer, Fetching
from strangler.exchange.fetching.fetch import FOR_EVER, SAFE, Fetch
from strangler.exchange.fetching.traced import maker
from strangler.exchange.plan import Plan
from strangler.exchange.trust import client_of
from strangler.observe.tracing import Trace
from strangler.resilience import deadline
from strangler.resilience.deadline import Deadline
from strangler.resilience.failure import failure_word
from strangler.resilience.policy import Rung
from strangler.resilience.protection import Kind
from strangler.rollout import Decision
from strangler.routing import Match
from strangler.upstream import Upstream
from strangler.wire.forward import response_block
from strangler.wire.framing import Body, Length, chunk, last_chunk
from strangler.wire.head import RequestHead, ResponseHead, written
from strangler.wire.private import private
from strangler.wire.request import Request

if TYPE_CHECKING:
    from strangler.edge.http1 import Connection
    from strangler.exchange.caching.nobody import Nobody
    from strangler.exchange.edge import Edge
    from strangler.exchange.shadowing.pair import Pair

_ALLOW: Final = ((b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


@mypyc_attr(allow_interpreted_subclasses=True)
class Exchange:
    """One request on *connection* and its response.

    ``client`` is the reader's address and ``scheme`` what the reader used, after the trust list;
    ``private_lines`` are lines of the response (each behind its CRLF) that make it this reader's
    alone; ``shadow`` is there where the request is copied to the other side; ``body_begun`` is the
    beginning of the request body and ``bad_answer`` the head of an upstream's bad answer, for who
    wants to see them when it has ended; ``trace`` is there where it is sampled.
    """

    __slots__ = (
        "_arm",
        "_attempts",
        "_began",
        "_chunked",
        "_connection",
        "_deadline",
        "_decision",
        "_edge",
        "_endpoint",
        "_extra",
        "_failure",
        "_fetch",
        "_first_byte",
        "_first_error",
        "_head",
        "_held",
        "_match",
        "_over",
        "_place",
        "_plan",
        "_received",
        "_rung",
        "_sent",
        "_skipped",
        "_status",
        "_time",
        "_timer",
        "_trusted",
        "_tunnel",
        "_upstream",
        "_waits_total",
        "_was_sent",
        "_why",
        "bad_answer",
        "body_begun",
        "client",
        "id",
        "kind",
        "private_lines",
        "scheme",
        "shadow",
        "trace",
    )

    _arm: Arm
    _plan: Plan
    _decision: Decision
    _match: Match[Route]
    _upstream: Upstream

    def __init__(
        self, edge: Edge, connection: Connection | Nobody, head: RequestHead, id_: str
    ) -> None:
        self._edge = edge
        self._connection = connection
        self._head = head
        self.id = id_
        self.client = connection.peer
        self.scheme = b"https" if connection.secure else b"http"
        self.private_lines = b""
        self._trusted = False
        self.shadow: Pair | None = None
        self._fetch: Fetching | None = None
        self._status = 0
        self._sent = 0
        self._received = 0
        self._chunked = False
        self._over = False
        self._tunnel = False
        self.kind: Kind = "live"
        self._deadline = FOR_EVER
        self._failure: int | str = ""
        self._first_error: AttemptFailed | None = None
        self._rung: Rung | None = None
        self._place = -1
        self._skipped: tuple[tuple[str, str], ...] = ()
        self._was_sent = False
        self._why = ""
        self._timer: TimerHandle | None = None
        self._held: tuple[Answer, Upstream, Rung | None] | None = None
        self._endpoint = ""
        self._extra = b""
        self._waits_total: Waits[Exchange] | None = None
        self._attempts = 0
        self.bad_answer = self.body_begun = b""
        self.trace: Trace | None = None
        self._first_byte = 0.0
        self._time = time.time()
        self._began = time.monotonic()

    def trust(self, trusts: Callable[[str], bool]) -> None:
        """Believe what a trusted peer says of its client (X-Forwarded-For, -Proto)."""
        self._trusted = True
        fields = self._head.fields
        self.client = client_of(self.client, fields.combined(b"x-forwarded-for"), trusts)
        scheme = (fields.get(b"x-forwarded-proto") or b"").lower()
        if scheme in (b"http", b"https"):
            self.scheme = scheme
        given = fields.get(b"x-request-id")
        if given is not None and 0 < len(given) <= 128 and given.isascii():
            self.id = given.decode()

    @property
    def head(self) -> RequestHead:
        """Return the request."""
        return self._head

    @property
    def arm(self) -> Arm:
        """Return where it is counted, once `begin` has been called."""
        return self._arm

    @property
    def plan(self) -> Plan:
        """Return the route's plan, once `begin` has been called."""
        return self._plan

    @property
    def upstream(self) -> Upstream:
        """Return who is to answer."""
        return self._upstream

    # The edge's own answers.

    def refuse_begun(self, error: RequestRejected) -> None:
        """Answer an error to a request whose route is known."""
        self._answer_error(error.status, error.detail, ())
        self._log_end(error.detail)

    def refuse(self, error: RequestRejected, proxy_error: str = "") -> None:
        """Answer a request that is not to be forwarded."""
        fields: answer.Fields = ()
        if proxy_error:
            fields = (
                (b"Proxy-Status", answer.proxy_status(self._edge.name, proxy_error, error.detail)),
            )
        elif error.status == 405:
            fields = _ALLOW
        if error.status == 204:
            self._write_whole(204, b"", fields=_ALLOW)
        else:
            self._answer_error(error.status, error.detail, fields)
        self._edge.counts.refused(error.status)
        self._log("", "", "refused", proxy_error or error.detail)

    def answer_itself(self, plan: Plan, match: Match[Route]) -> None:
        """Answer a request that no upstream is to be asked for."""
        itself.answer(self, plan, match)

    def answer_let_go(self, plan: Plan, word: str, fields: answer.Fields) -> None:
        """Answer a request that is let go while the worker is short."""
        itself.let_go(self, plan, word, fields)

    # Beginning.

    def begin(self, plan: Plan, decision: Decision, match: Match[Route]) -> Exchange | None:
        """Start the fetch that *decision* asks for."""
        if self._accept(plan, decision, match):
            absent = plan.elsewhere and self._edge.cache.absent
            if not absent or not falling.fall_where_absent(self):
                self._start_fetch(self._upstream, self._request(self._upstream))
        return None if self._over else self

    def _accept(self, plan: Plan, decision: Decision, match: Match[Route]) -> bool:
        """Take the decision in; False where the request is refused by its route's limits."""
        self._plan = plan
        self._decision = decision
        self._match = match
        if decision.target == "service":
            target, self._arm = plan.service, plan.service_arm
        else:
            target, self._arm = plan.legacy, plan.legacy_arm
        assert target is not None
        self._upstream = target
        length = self._head.fields.length
        if length is not None and plan.most_body is not None and length > plan.most_body:
            self._too_large()
            return False
        self._edge.exchanges.add(self)
        if plan.total is not None:
            self._waits_total = self._edge.ticker.waits(plan.total, Exchange.total_expired)
            self._waits_total.start(self)
            self._deadline = Deadline.of(self._began, plan.total)
        if self._trusted:
            self._heed_deadline(plan.total)
        return True

    def _heed_deadline(self, total: float | None) -> None:
        """Take a trusted hop's deadline, where it is earlier than the route's."""
        incoming = deadline.parse(self._head.get(deadline.FIELD))
        if incoming is None or (total is not None and incoming >= total):
            return
        self._deadline = Deadline.of(self._began, total, incoming)
        self._timer = self._edge.loop.call_later(incoming, self.total_expired)

    def _start_fetch(self, upstream: Upstream, request: Request, replay: bytes = b"") -> None:
        plan = self._plan
        terms = plan.terms if upstream is plan.target and self.kind == "live" else None
        if terms is None:
            terms = plan.terms_for(upstream, self.kind)
        key = terms.retry.idempotency_key
        keyed = key is not None and b"\n" + key + b":" in self._head.fields.lower
        sink = self if self.shadow is None else self.shadow.over(self)
        plain = terms.makes is None and request.trace is None
        make: Callable[..., Fetching] = Fetch if plain else maker(terms, request)
        fetch = make(sink, upstream, request, terms, deadline=self._deadline, keyed=keyed)
        self._fetch = fetch
        if replay:
            fetch.send_body(replay)
        if request.length is not None and not self._connection.reading_body:
            fetch.end_body(b"")
        fetch.start()

    def _request(self, upstream: Upstream) -> Request:
        return composing.request(self, upstream)

    # The engine's receiver: the request body.

    def body_received(self, data: bytes) -> None:
        self._received += len(data)
        most = self._plan.most_body
        if most is not None and self._received > most:
            self._drop_fetch()
            if self._status:
                self._end_badly("http_request_error")
            else:
                self._too_large()
        elif self._fetch is not None:
            self._fetch.send_body(data)

    def body_ended(self, trailers: bytes) -> None:
        if self._fetch is not None:
            self._fetch.end_body(trailers)

    def body_failed(self, error: RequestRejected) -> None:
        self._drop_fetch()
        if self._status:
            self._end_badly(error.detail)
        else:
            self._connection.keep_alive = False
            self._answer_error(error.status, error.detail, ())
            self._log_end(error.detail)

    def client_gone(self) -> None:
        if self._over:
            return
        self._over = True
        self._drop_fetch()
        self._log_end("" if self._tunnel else "client_aborted")

    def total_expired(self) -> None:
        """End an exchange that took longer than its route allows, whatever it is doing."""
        if self._over or self._tunnel:
            return
        error = AttemptFailed("http_response_timeout", "the exchange took too long")
        if self._status:
            self._drop_fetch()
            self._end_badly(error.error)
        elif not self._fall("timeout", error):
            self._give_up(error)

    def pause_writing(self) -> None:
        if self._fetch is not None:
            self._fetch.pause_reading()

    def resume_writing(self) -> None:
        if self._fetch is not None:
            self._fetch.resume_reading()

    # The fetch's sink: the response.

    def interim(self, head: ResponseHead) -> None:
        if self._head.version == 11 and not self._over:
            self._connection.write_interim(
                b"HTTP/1.1 %d %b%b\r\n\r\n" % (head.status, head.reason, response_block(head))
            )

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        if self._over:
            return
        edge = self._edge
        if edge.caches and self._head.method not in SAFE:
            purge = edge.cache.invalid(self._head, head, self.scheme, edge.view)
            if purge is not None:
                # Whoever is told that its write succeeded must not be shown what was before it.
                # It is answered from here on: nobody else may be asked to make it again.
                self._status = head.status
                self.pause_writing()
                edge.cache.spawn(self._respond_after(purge, head, body, payload))
                return
        self._respond(head, body, payload)

    async def _respond_after(
        self, purge: Purge, head: ResponseHead, body: Body, payload: bytes
    ) -> None:
        await self._edge.cache.invalidate(purge)
        self._respond(head, body, payload)
        if not self._connection.choked:
            self.resume_writing()

    def _respond(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        if self._over:
            return
        upstream = self._upstream
        if head.status >= 400:
            if head.status >= 500:
                self.bad_answer = written(head)
            if self._fall(head.status, answer=(head, body, payload)):
                falling.note_absent(self)
                return
        block = self.head_block(upstream, head, body)
        connection = self._connection
        self._sent = len(payload)
        if self._chunked:
            payload = chunk(payload) if payload else b""
            if body.ended:
                payload += last_chunk(body.trailers)
        data = b"".join((head.start, block, b"\r\n\r\n", payload))  # large: copied but once
        connection.write(data)
        if body.ended:
            self._fetch_over()
            self._end("")

    def head_block(self, upstream: Upstream, head: ResponseHead, body: Body) -> bytes:
        """Return the response's field block for this reader and decide how its body is framed."""
        self._first_byte = time.monotonic() - self._began
        status = self._status = head.status
        connection = self._connection
        block = self._edge.mended(self._plan, upstream, head, self.scheme, self._head.authority)
        if not head.dated:
            block += b"\r\nDate: " + self._edge.date()
        if self._head.fields.debug:
            self.private_lines += debugging.lines(self)
        if self.private_lines:
            block = private(block) + self.private_lines
        block += self._extra
        if self._rung is not None:
            block += self._fallen()
        if connection.reading_body:
            connection.keep_alive = False
        if not isinstance(body, Length):
            if self._head.version == 11:
                self._chunked = True
                block += b"\r\nTransfer-Encoding: chunked"
            else:
                connection.keep_alive = False
        if status == 426 and b"upgrade" in head.notable:
            block += b"\r\nUpgrade: " + (head.combined(b"upgrade") or b"")
            block += b"\r\nConnection: upgrade" + (b"" if connection.keep_alive else b", close")
        elif not connection.keep_alive:
            block += b"\r\nConnection: close"
        elif self._head.version == 10:
            block += b"\r\nConnection: keep-alive"
        return block

    def response_body(self, payload: bytes, body: Body) -> None:
        if self._over:
            return
        self._sent += len(payload)
        connection = self._connection
        if self._chunked:
            data = chunk(payload) if payload else b""
            if body.ended:
                data += last_chunk(body.trailers)
        else:
            data = payload
        if data:
            connection.write(data)
        if body.ended:
            self._fetch_over()
            self._end("")

    def fetch_failed(self, error: AttemptFailed) -> None:
        if self._over:
            return
        if self._tunnel:
            self._fetch_over()
            self._over = True
            self._connection.close()
            self._log_end("")
        elif self._status:
            self._fetch_over()
            self._end_badly(error.error)
        elif not self._fall(failure_word(error), error):
            self._give_up(error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        if self._over:
            return
        self._tunnel = True
        self._edge.tunnels += 1
        self._status = 101
        self._connection.write(
            b"HTTP/1.1 101 %b%b\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n%b"
            % (head.reason, response_block(head), head.combined(b"upgrade") or b"", ahead)
        )
        fetch = self._fetch
        early = self._connection.start_tunnel()
        if early and fetch is not None:
            fetch.tunnel_send(early)

    def tunnel_received(self, data: bytes) -> None:
        self._sent += len(data)
        self._connection.keep_tunnel()
        self._connection.write(data)

    def tunnel_ended(self) -> None:
        self._connection.end_writing()

    def raw_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._fetch is not None:
            self._fetch.tunnel_send(data)

    def raw_ended(self) -> None:
        if self._fetch is not None:
            self._fetch.tunnel_end()

    def pause_sending(self) -> None:
        self._connection.pause_reading()

    def resume_sending(self) -> None:
        self._connection.resume_reading()

    # Falling back.

    def _fall(
        self,
        failure: int | str,
        error: AttemptFailed | None = None,
        *,
        answer: Answer | None = None,
    ) -> bool:
        return falling.fall(self, failure, error, answer=answer)

    def _fallen(self) -> bytes:
        return falling.line(self)

    def _useless(self) -> Mapping[str, str]:
        return falling.useless(self)

    def _take(self, rung: Rung, replay: bytes) -> None:
        falling.take(self, rung, replay)

    def _give_up(self, error: AttemptFailed) -> None:
        falling.give_up(self, error)

    def _ask_rung(self, replay: bytes) -> None:
        self._start_fetch(self._upstream, self._request(self._upstream), replay)

    # Ends.

    def _too_large(self) -> None:
        most = self._plan.most_body
        detail = f"request body: route {self._plan.key} takes at most {most} bytes"
        self._connection.keep_alive = False
        self._answer_error(413, detail, ())
        self._log_end(detail)

    def _answer_error(
        self, status: int, detail: str, fields: answer.Fields, *, told: str = ""
    ) -> None:
        accept = self._head.get(b"accept") or b""
        language = self._head.get(b"accept-language") or b""
        body, content_type = answer.error_body(
            status, self.id, accept=accept, language=language, detail=detail, told=told
        )
        fields += ((b"Cache-Control", b"no-store"), (b"X-Request-Id", self.id.encode()))
        self._write_whole(status, body, content_type=content_type, fields=fields)

    def _write_whole(
        self,
        status: int,
        body: bytes,
        *,
        content_type: bytes = b"text/html; charset=utf-8",
        fields: answer.Fields = (),
    ) -> None:
        """Send a whole answer of the edge's own, and end the exchange."""
        if self._head.fields.debug:
            fields += debugging.fields(self)
        self._over = True
        self._status = status
        self._sent = 0 if self._head.method == b"HEAD" else len(body)
        connection = self._connection
        if connection.reading_body:
            connection.keep_alive = False
        connection.write(
            answer.response(
                status,
                body,
                date=self._edge.date(),
                method=self._head.method,
                content_type=content_type,
                keep_alive=connection.keep_alive,
                version=self._head.version,
                fields=fields,
            )
        )
        connection.response_ended()

    def _end(self, error: str) -> None:
        """End an exchange whose response is complete."""
        self._over = True
        self._connection.response_ended()
        self._log_end(error)

    def _end_badly(self, error: str) -> None:
        """End an exchange whose response broke off: it must not look complete."""
        self._over = True
        self._connection.abort()
        self._log_end(error)

    def _drop_fetch(self) -> None:
        fetch = self._fetch
        if fetch is not None:
            self._fetch_over()
            fetch.cancel()

    def _fetch_over(self) -> None:
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            self._attempts += fetch.attempts
            self._why = fetch.why or self._why
            if fetch.replay:
                self.body_begun = fetch.replay
            if fetch.endpoint is not None:
                self._endpoint = fetch.endpoint.name

    def _log_end(self, error: str) -> None:
        ending.log_end(self, error)

    def _log(
        self, route: str, target: str, reason: str, error: str, arm: Arm | None = None
    ) -> None:
        ending.log(self, route, target, reason, error, arm)

    def _cache_word(self) -> str:
        return ""

    def _start(self, duration: float, error: str) -> float:
        return ending.start(self, duration, error)
