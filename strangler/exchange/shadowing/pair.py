# SPDX-License-Identifier: Apache-2.0
"""One request that both sides are to answer, while its reader's answer comes.

A `Pair` stands between the reader's fetch and whoever it works for: it hands everything on first
and keeps the answer, until `shadow` has asked the other side and compared the two.
"""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, cast

from strangler.errors import AttemptFailed
from strangler.exchange import composing
from strangler.exchange.fetching.contract import Sink
from strangler.exchange.plan import Copying, Plan
from strangler.migrate.ledger import Dropped, Skipped
from strangler.migrate.parity import Answer
from strangler.upstream import Upstream
from strangler.wire.forward import response_block
from strangler.wire.framing import Body
from strangler.wire.head import ResponseHead
from strangler.wire.repair import REPAIRED
from strangler.wire.request import Request, asking_for_store

if TYPE_CHECKING:
    from strangler.exchange.caching.cached import CachedExchange
    from strangler.exchange.exchange import Exchange
    from strangler.exchange.shadowing.shadow import Shadows

#: The line by which the other side tells a copy from a reader's request (pain 19).
MARKED: Final = b"\r\nStrangler-Shadow: 1"
#: Bytes of an answer beyond which nobody fetches it a second time.
LARGEST: Final = 16 << 20


class Gathered:
    """An answer's body as it comes: whole up to *limit* bytes, beyond it length and digest."""

    __slots__ = ("_digest", "_limit", "_pieces", "held", "length")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._digest: Any = None
        self.held = 0
        self.length = 0

    def add(self, payload: bytes) -> None:
        self.length += len(payload)
        if self._digest is not None:
            self._digest.update(payload)
        elif self.length <= self._limit:
            self._pieces.append(payload)
            self.held = self.length
        else:
            self._digest = blake2b(b"".join(self._pieces) + payload)
            self._pieces.clear()
            self.held = 0

    def answer(self, head: ResponseHead) -> Answer:
        digest = b"" if self._digest is None else self._digest.digest()
        return Answer(head=head, body=b"".join(self._pieces), length=self.length, digest=digest)


class Pair:
    """One request that both sides answer, from the beginning of its reader's fetch.

    It is that fetch's sink, in front of the exchange or the fill that the fetch is made for.
    """

    __slots__ = (
        "_done", "_gathered", "_head", "_shadows", "_sink", "_whole", "began", "copying",
        "ended_at", "exchange", "first", "ledger", "other", "plan", "stored", "took", "whole_only",
    )  # fmt: skip

    def __init__(
        self, shadows: Shadows, exchange: Exchange, plan: Plan, first: Upstream, other: Upstream
    ) -> None:
        assert plan.copying is not None
        self._shadows = shadows
        self._sink: Sink | None = None
        self._head: ResponseHead | None = None
        self._done = False
        self._whole = False
        self.exchange = exchange
        self.plan = plan
        self.copying: Copying = plan.copying
        self.ledger = shadows.ledger(plan.key)
        self.first = first
        self.other = other
        self._gathered = Gathered(self.copying.policy.body)
        self.stored = self.whole_only = False
        self.began = self.ended_at = self.took = 0.0

    def over(self, sink: Sink, *, stored: bool = False, whole: bool = False) -> Sink:
        """Return what the fetch for *sink* is to tell.

        *stored*: the cache asks, without the reader's preconditions; *whole*: and range.
        """
        if self._done or self._sink is not None:
            return sink  # another fetch of the same exchange: a fallback, or asked anew
        self._sink = sink
        self.stored, self.whole_only = stored, whole
        self.began = time.monotonic()
        return self

    def release(self) -> None:
        """Let go of the reader's answer, and of the circle that would keep it until it is found."""
        self._shadows.hold(-self._gathered.held)
        self._gathered = Gathered(0)
        self.exchange.shadow = None
        owner: Any = self._sink  # the exchange, or its fill
        if owner is not None:
            owner.shadow = None

    def answer(self) -> Answer:
        """Return the reader's answer, once it is whole."""
        assert self._head is not None
        return self._gathered.answer(seen(self, self.first, self._head))

    def request(self) -> Request:
        """Return the copy: the reader's request as it goes to the other side, marked."""
        exchange = self.exchange
        connection = exchange._connection
        kept = connection.told  # what is kept for the reader's next request stays so
        if self.plan.cached is not None and exchange.head.method in (b"GET", b"HEAD"):
            request = cast("CachedExchange", exchange).request_as_keyed(self.other)
        else:
            request = composing.request(exchange, self.other)
        connection.told = kept
        if self.stored:
            request = asking_for_store(request, (), whole=self.whole_only)
        copy = Request(
            request.method, request.target, request.block, request.host_line, None, False,
            request.reader + MARKED,
        )  # fmt: skip
        copy.trace = request.trace
        return copy

    def ended(self, owner: object) -> None:
        """Learn that *owner* is over: what isn't whole by now will never be."""
        if owner is self._sink and not self._whole:
            self._skip("no_answer")

    # The reader's fetch.

    def interim(self, head: ResponseHead) -> None:
        self._to.interim(head)

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        self._head = head
        self._whole = body.ended
        if head.status == 304:
            self._skip("not_modified")
        elif (head.get(b"content-type") or b"").lower().startswith(b"text/event-stream"):
            self._skip("stream")
        self._to.response_started(head, body, payload)
        self._take(payload)

    def response_body(self, payload: bytes, body: Body) -> None:
        self._whole = body.ended
        self._to.response_body(payload, body)
        self._take(payload)

    def fetch_failed(self, error: AttemptFailed) -> None:
        self._skip("no_answer")
        self._to.fetch_failed(error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        self._skip("stream")
        self._to.upgraded(head, ahead)

    def tunnel_received(self, data: bytes) -> None:
        self._to.tunnel_received(data)

    def tunnel_ended(self) -> None:
        self._to.tunnel_ended()

    def pause_sending(self) -> None:
        self._to.pause_sending()

    def resume_sending(self) -> None:
        self._to.resume_sending()

    @property
    def _to(self) -> Sink:
        assert self._sink is not None
        return self._sink

    def _take(self, payload: bytes) -> None:
        """Keep *payload*, which the reader has by now; offer the pair when that was all."""
        if self._done:
            return
        gathered, before = self._gathered, self._gathered.held
        gathered.add(payload)
        self._shadows.hold(gathered.held - before)
        if self._shadows.full:
            self._drop("memory")
        elif gathered.length > LARGEST:
            self._drop("too_large")
        elif self._whole:
            self._done = True
            self.ended_at = time.monotonic()
            self.took = self.ended_at - self.began
            self.ledger.shadowed += 1
            # Not at once: first the loop sends the reader what has just been written.
            self._shadows.offer_soon(self)

    def _skip(self, why: Skipped) -> None:
        if not self._done:
            self._done = True
            self.ledger.skipped[why] += 1
            self.release()

    def _drop(self, why: Dropped) -> None:
        self._done = True
        self.ledger.shadowed += 1
        self._shadows.drop(self, why)


def seen(pair: Pair, upstream: Upstream, head: ResponseHead) -> ResponseHead:
    """Return *head* as the reader of *pair*'s request would see it: repaired and edited."""
    exchange, edits = pair.exchange, pair.plan.response_edits
    block = response_block(head)
    if not REPAIRED.isdisjoint(head.notable):
        block, _ = upstream.repair.apply(block, exchange.scheme, exchange.head.authority)
    if edits is not None:
        block = edits.apply(block)
    shown = ResponseHead.parse(b"HTTP/1.1 %d %b%b\r\n\r\n" % (head.status, head.reason, block))
    assert shown is not None
    return shown
