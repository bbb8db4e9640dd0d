# SPDX-License-Identifier: Apache-2.0
"""The exchange of a route that caches: its response may come from a copy or from a fill.

What isn't the cache's business (bodies, tunnels, fallbacks, limits) is `Exchange`'s; this one
asks the cache first, and falls back to being a plain exchange wherever the cache has no say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from strangler.cache.deliver import deliver
from strangler.cache.lookup import Forward, stands_in
from strangler.cache.status_field import cache_status, of_hit
from strangler.cache.stored import Stored
from strangler.config.snapshot import Route
from strangler.errors import AttemptFailed, RequestRejected
from strangler.exchange import debugging
from strangler.exchange.caching.cache import Keeping
from strangler.exchange.caching.copies import Standby
from strangler.exchange.caching.fill import Fill
from strangler.exchange.caching.glance import Glance
from strangler.exchange.caching.reader import Told
from strangler.exchange.caching.standin import stand_in
from strangler.exchange.caching.stream import Delivery, Stream, pour
from strangler.exchange.exchange import Exchange
from strangler.exchange.fetching.contract import Answer, Fetching
from strangler.exchange.overridden import Detour
from strangler.exchange.plan import Cached, Plan
from strangler.resilience.policy import Rung
from strangler.rollout import Decision
from strangler.routing import Match
from strangler.upstream import Upstream
from strangler.wire.framing import Body
from strangler.wire.head import RequestHead, ResponseHead
from strangler.wire.private import private
from strangler.wire.request import Request, with_target

if TYPE_CHECKING:
    from strangler.edge.http1 import Connection
    from strangler.exchange.caching.nobody import Nobody
    from strangler.exchange.edge import Edge

_errors = logging.getLogger("strangler.errors")

#: Seconds that a reader waits for another's fetch before it takes something else.
PATIENCE: Final = 5.0


class CachedExchange(Exchange):
    """An exchange that the cache may answer.

    ``key`` is its primary key; ``standby`` is what is stored but not fresh, which may stand in
    for the upstream (and is freshened by a HEAD's answer).
    """

    __slots__ = (
        "_awaited", "_cached", "_delivery", "_first_key", "_keeping", "_kept", "_word", "key",
        "standby",
    )  # fmt: skip

    _cached: Cached

    def __init__(
        self, edge: Edge, connection: Connection | Nobody, head: RequestHead, id_: str
    ) -> None:
        super().__init__(edge, connection, head, id_)
        self.key = self._first_key = b""
        self.standby: Standby | None = None
        self._awaited: Fill | Glance | None = None
        self._delivery: Delivery | None = None
        self._keeping: Keeping | None = None
        self._word = ""
        self._kept = False

    @property
    def cached(self) -> Cached:
        """Return what the route says of caching."""
        return self._cached

    @property
    def asked_at(self) -> float:
        """The instant of wall time from which its answer ages: before the upstream was asked."""
        return self._time

    @property
    def origin(self) -> tuple[bytes, bytes]:
        """Return the scheme and the authority that its reader asked by."""
        return self.scheme, self._head.authority

    def begin(self, plan: Plan, decision: Decision, match: Match[Route]) -> Exchange | None:
        """Ask the cache first."""
        cached = plan.cached
        assert cached is not None
        self._cached = cached
        if self._accept(plan, decision, match):
            self.key = self._first_key = self._decided_key(decision)
            if plan.detour:
                self._detour(plan.detour)
                return None if self._over else self
            lacking = self._edge.cache.lacking(self.key)
            if not lacking or not self._fall(lacking):
                self._edge.cache.begin(self, plan, cached, self.key)
        return None if self._over else self

    def _decided_key(self, decision: Decision) -> bytes:
        """Return the key of what the decided target answers."""
        cached = self._cached
        arm = cached.arm if decision.target == "service" else b""
        return cached.keying.key(self._head, scheme=self.scheme, arm=arm)

    def _detour(self, detour: Detour) -> None:
        """Go the way that an operator has chosen: past the cache, or no further than it."""
        if detour == "fault":
            self.alone("bypass", detour)
        elif self._head.method not in (b"GET", b"HEAD"):
            self.alone("method", "")
        else:
            detail = f"{self._upstream.name}: {detour}"
            error = AttemptFailed("destination_unavailable", detail, sent=False, word=detour)
            if not self._fall(detour, error):
                self._give_up(error)

    def request_upstream(self) -> Request:
        """Return the request for whoever is to answer, its target as it is keyed."""
        return self.request_as_keyed(self._upstream)

    def request_as_keyed(self, upstream: Upstream) -> Request:
        """Return the request for *upstream*, its target as it is keyed."""
        request = self._request(upstream)
        keying = self._cached.keying
        if keying.raw_query or not self._head.query:
            return request
        _, _, query = keying.target(self._head).partition(b"?")
        path = request.target.partition(b"?")[0]
        return with_target(request, path + b"?" + query if query else path)

    def tags(self) -> tuple[bytes, ...]:
        """Return the tags that the route gives its responses, filled with the path's captures."""
        templates = self._cached.policy.tags
        if not templates:
            return ()
        params = self._match.params
        return tuple([template.fill(params) for template in templates])

    # What the cache says.

    def await_glance(self, glance: Glance) -> None:
        """Wait for *glance*; that it ends soon is the tier's to see to."""
        self._awaited = glance

    def wait_for(self, fill: Fill) -> None:
        """Wait for *fill*, unless it has answered already."""
        if not self._over and self._delivery is None and self._fetch is None:
            self._awaited = fill
            if fill.readers[:1] != [self]:
                edge = self._edge
                edge.ticker.waits(PATIENCE, CachedExchange.waited_long).start(self)

    def waited_long(self) -> None:
        """Take a stale copy, or begin another fill that those who wait as long can join.

        So a slow leader costs the upstream one more request every `PATIENCE` seconds, not one
        for each of its readers.
        """
        awaited, self._awaited = self._awaited, None
        if awaited is None or self._over:
            return
        awaited.leave(self)
        standby = self.standby
        if standby is not None and standby.lookup.may_stand_in:
            told = Told(tier=standby.tier, forward="stale", stale=True)
            self.serve(standby.stored, standby.body, told)
        else:
            if isinstance(awaited, Fill):
                self._edge.cache.fill_over(awaited)
            self.again()

    def alone(self, forward: Forward, detail: str) -> None:
        """Go straight to the upstream; why, for Cache-Status and the log."""
        self._awaited = None
        if self._over:
            return
        self._word = f"fwd={forward},{detail}" if detail else f"fwd={forward}"
        self._count_word("bypass" if forward in ("bypass", "method") else "pass")
        self._extra = b"\r\nCache-Status: " + cache_status(
            self._edge.view.name, forward=forward, detail=detail or None
        )
        request = self._request(self._upstream)
        if self._head.method in (b"GET", b"HEAD"):
            request = self.request_upstream()
        self._start_fetch(self._upstream, request)

    def asked(self, fetch: Fetching, *, own: bool) -> None:
        """Take over who was asked, for the access line; the attempts are told but once."""
        if fetch.endpoint is not None:
            self._endpoint = fetch.endpoint.name
        if own:
            self._attempts += fetch.attempts
        self._why = fetch.why or self._why

    def found_stale(self, standby: Standby) -> None:
        """Remember what was found below the edge tier."""
        self.standby = standby

    def again(self) -> None:
        """Ask the cache anew: what this exchange waited for is not what it wants."""
        self._awaited = None
        if not self._over:
            self._edge.cache.begin(self, self._plan, self._cached, self.key)

    def unavailable(self) -> None:
        """Answer 504: the client wants nothing but a stored response (RFC 9111 §5.2.1.7)."""
        self._word = "fwd=request"
        self.refuse_begun(RequestRejected(504, "only-if-cached: nothing stored"))

    def serve(self, stored: Stored, body: bytes, told: Told) -> None:
        """Deliver a stored response whole: one write."""
        self._awaited = None
        if self._over:
            return
        delivery = deliver(self._head, stored)
        content = b""
        if delivery.stop > delivery.start:
            whole = delivery.start == 0 and delivery.stop == len(body)
            content = body if whole else body[delivery.start : delivery.stop]
        head = self._served_head(delivery.head, stored, told)
        self._status = delivery.status
        self._sent = len(content)
        self._connection.write(head + content)
        self._end("")

    def serve_stream(self, stored: Stored, stream: Stream, told: Told) -> None:
        """Deliver a stored response whose content is still arriving."""
        self._awaited = None
        if self._over:
            return
        known = b"\r\nContent-Length:" in stored.head or stored.status in (204, 304)
        start, stop = 0, None
        if known:
            delivery = deliver(self._head, stored)
            head, status = delivery.head, delivery.status
            start, stop = delivery.start, delivery.stop
        else:
            head, status = stored.head, stored.status
            if self._head.method == b"HEAD":
                stop = 0
        chunked = stop is None and self._head.version == 11
        if stop is None and not chunked:
            self._connection.keep_alive = False
        data = self._served_head(head, stored, told, chunked=chunked)
        self._status = status
        self._connection.write(data)
        self._deliver(stream, start=start, stop=stop, chunked=chunked)

    def pass_on(
        self,
        upstream: Upstream,
        head: ResponseHead,
        stream: Stream,
        body: Body,
        forward: Forward,
        detail: str,
    ) -> None:
        """Deliver a response that is this reader's alone, as if there were no cache."""
        self._awaited = None
        if self._over:
            return
        self._upstream = upstream
        self._word = f"fwd={forward},{detail}" if detail else f"fwd={forward}"
        self._count_word("pass")
        self._extra = b"\r\nCache-Status: " + cache_status(
            self._edge.view.name, forward=forward, detail=detail
        )
        block = self.head_block(upstream, head, body)
        self._connection.write(b"HTTP/1.1 %d %b%b\r\n\r\n" % (head.status, head.reason, block))
        self._deliver(stream, chunked=self._chunked)

    def fill_failed(
        self, error: AttemptFailed, failure: int | str, answer: Answer | None = None
    ) -> None:
        """Fall back as the route says, through the cache, or answer the error."""
        self._awaited = None
        if self._over:
            return
        # The status of an answer is no error of ours: what falls for it says so by itself.
        if self._fall(failure, None if isinstance(failure, int) else error, answer=answer):
            if isinstance(failure, int) and failure < 500:
                self._edge.cache.lacks(self._first_key, failure)
            return
        if answer is None:
            self.fetch_failed(error)
        else:
            self._place = 1 << 30
            self.response_started(*answer)

    def stumbled(self) -> None:
        """End after a bug: with a 500 where nothing has been sent, else so that it looks broken."""
        self._awaited = None
        delivery, self._delivery = self._delivery, None
        try:
            if delivery is not None:
                self._sent = delivery.sent
                delivery.leave()
            if not self._over and not self._status:
                self.refuse_begun(RequestRejected(500, "proxy_internal_error"))
            elif not self._over:
                self._end_badly("proxy_internal_error")
        except Exception:
            _errors.exception("answer.failed")
        self._over = True
        self._edge.exchanges.discard(self)
        if self._connection.receiver is self:
            self._connection.abort()

    # Falling back.

    def _useless(self) -> Mapping[str, str]:
        out = dict(super()._useless())
        del out["stale"], out["archive"]
        return out

    def _take(self, rung: Rung, replay: bytes) -> None:
        if rung.kind in ("stale", "archive"):
            self._edge.cache.spawn(self._take_copy(rung))
        else:
            super()._take(rung, replay)

    async def _take_copy(self, rung: Rung) -> None:
        """Serve what is stored of the decided target's answers, or fall further."""
        copies = self._edge.cache.copies
        fields, archive = self._head.fields, rung.kind == "archive"
        found = await stand_in(copies, self._first_key, fields, archive=archive)
        begun = None
        if found is not None and found.body is None:
            assert found.tier is not None and found.copy is not None
            begun = await copies.begun(found.copy, found.tier)
        if self._over or self._rung is not rung:
            return
        if found is None or (found.body is None and begun is None):
            self._skipped += ((rung.kind, "nothing_stored"),)
            error = AttemptFailed("http_response_incomplete", f"status {self._failure}")
            if not self._fall(self._failure):
                self._give_up(error)
            return
        status = self._failure if isinstance(self._failure, int) else None
        told = Told(tier=found.name, forward="stale", status=status, stale=True)
        if begun is None:
            assert found.body is not None
            self.serve(found.stored, found.body, told)
            return
        stream = Stream()
        stream.passing = True
        self.serve_stream(found.stored, stream, told)
        if not await pour(*begun, stream):
            copies.forget(found.stored)

    def _ask_rung(self, replay: bytes) -> None:
        if self._head.method not in (b"GET", b"HEAD"):
            super()._ask_rung(replay)
            return
        legacy = self._upstream is self._plan.legacy
        arm = b"" if legacy else self._upstream.name.encode()
        self.key = self._cached.keying.key(self._head, scheme=self.scheme, arm=arm)
        self.standby = None
        self._edge.cache.begin(self, self._plan, self._cached, self.key)

    # The engine's receiver, where a delivery or a fill is what runs.

    def pause_writing(self) -> None:
        if self._delivery is not None:
            self._delivery.pause()
        else:
            super().pause_writing()

    def resume_writing(self) -> None:
        if self._delivery is not None:
            self._delivery.resume()
        else:
            super().resume_writing()

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        cache = self._edge.cache
        if self._stands_in(head.status):
            return
        if self.standby is not None and self._head.method == b"HEAD":
            cache.head_responded(self, self.standby, head)
        super().response_started(head, body, payload)

    def _respond(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        if self._head.method == b"POST" and not self._over:
            keeping = self._edge.cache.keeping(self, self._plan, self._cached, head)
            if keeping is not None:
                keeping.take(payload, body)
            self._keeping = keeping
        super()._respond(head, body, payload)

    def fetch_failed(self, error: AttemptFailed) -> None:
        if not self._stands_in(None):
            super().fetch_failed(error)

    def _stands_in(self, status: int | None) -> bool:
        """Serve what is stored where the upstream failed and it may stand in."""
        standby = self.standby
        if standby is None or self._status or not stands_in(standby.lookup, status):
            return False
        self.standby = None
        self._drop_fetch()
        told = Told(tier=standby.tier, forward="stale", status=status, stale=True)
        self.serve(standby.stored, standby.body, told)
        return True

    def response_body(self, payload: bytes, body: Body) -> None:
        if self._keeping is not None:
            self._keeping.take(payload, body)
        super().response_body(payload, body)

    # Small steps.

    def _drop_fetch(self) -> None:
        """Drop what is under way, be it another's: a fetch, a wait, a delivery."""
        awaited, self._awaited = self._awaited, None
        delivery, self._delivery = self._delivery, None
        if awaited is not None:
            awaited.leave(self)
        if delivery is not None:
            self._sent = delivery.sent
            delivery.leave()
        super()._drop_fetch()

    def _deliver(
        self, stream: Stream, *, start: int = 0, stop: int | None = None, chunked: bool
    ) -> None:
        self._delivery = delivery = Delivery(
            stream, self._connection, self._delivered, self.stumbled,
            start=start, stop=stop, chunked=chunked,
        )  # fmt: skip
        delivery.pump()

    def _delivered(self, error: str) -> None:
        delivery, self._delivery = self._delivery, None
        if self._over:
            return
        if delivery is not None:
            self._sent = delivery.sent
        if not error:
            self._end("")
        else:
            if self._endpoint:
                self._why = "answer_begun"
            self._end_badly(error)

    def _served_head(
        self, head: bytes, stored: Stored, told: Told, *, chunked: bool = False
    ) -> bytes:
        """Return the whole head of a response from *stored*, up to its empty line."""
        now = time.time()
        age = stored.age(now)
        ttl = stored.lifetime - age
        if told.forward is None:
            self._word = f"hit,{told.tier}"
            status = of_hit(self._edge.view.name, ttl, told.tier)
        else:
            self._word = f"fwd={told.forward}"
            status = cache_status(
                self._edge.view.name,
                forward=told.forward,
                status=told.status,
                ttl=ttl,
                stored=told.kept,
                collapsed=told.collapsed,
            )
        if told.collapsed:
            self._word += ",collapsed"
        self._count(told)
        self._first_byte = time.monotonic() - self._began
        lines = b"Age: %d\r\nCache-Status: %b\r\n" % (age, status)
        if self._head.fields.debug:
            self.private_lines += debugging.lines(self)
        if self.private_lines:
            line = head.index(b"\r\n")
            head = head[:line] + private(head[line:])
        own = told.own + self.private_lines
        if own:
            lines += own[2:] + b"\r\n"
        if self._rung is not None:
            lines += self._fallen()[2:] + b"\r\n"
        if chunked:
            lines += b"Transfer-Encoding: chunked\r\n"
        if not self._connection.keep_alive:
            lines += b"Connection: close\r\n"
        elif self._head.version == 10:
            lines += b"Connection: keep-alive\r\n"
        return b"%b%b\r\n" % (head, lines)

    def _count(self, told: Told) -> None:
        self._kept = told.stale or told.forward is None
        if told.collapsed:
            self._cached.tally.collapsed += 1
            self._arm.collapsed()
        if told.stale:
            self._count_word("stale")
        elif told.forward is None:
            self._count_word(told.tier)
        else:
            self._count_word("confirmed" if told.status == 304 else "miss")

    def _count_word(self, word: str) -> None:
        self._cached.tally.count(word)
        self._arm.cached(word)

    def _cache_word(self) -> str:
        return self._word

    def _start(self, duration: float, error: str) -> float:
        return 0.0 if self._kept else super()._start(duration, error)
