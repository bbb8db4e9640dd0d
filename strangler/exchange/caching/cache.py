# SPDX-License-Identifier: Apache-2.0
"""The cache of one worker, as exchanges use it: look up, collapse, fill, invalidate.

Decisions are `strangler.cache`'s, pure; copies are the `Ladder`'s. This is where a request of a
cached route goes after its decision: answered from the edge tier at once, or made a reader of the
fill that gets its key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from strangler.cache import store, update
from strangler.cache.invalidation import invalidates, targets
from strangler.cache.lookup import Lookup, decide
from strangler.cache.steering import steering
from strangler.cache.storable import Uncacheable, bypass
from strangler.cache.stored import Stored
from strangler.cache.tiers.purges import Purge
from strangler.cache.tiers.tier import Copy, Tier
from strangler.cache.vary import select
from strangler.exchange.caching.copies import Copies, Standby
from strangler.exchange.caching.fill import ASK_AFTER, LARGEST, Fill
from strangler.exchange.caching.glance import Glance
from strangler.exchange.caching.reader import Told
from strangler.exchange.caching.ready import Ready
from strangler.exchange.caching.stream import Room, Stream
from strangler.exchange.plan import Cached, Plan
from strangler.resilience.protection import Kind
from strangler.routing import AmbiguousPath
from strangler.wire.framing import Body
from strangler.wire.head import RequestHead, ResponseHead

if TYPE_CHECKING:
    from strangler.exchange.caching.cached import CachedExchange
    from strangler.exchange.edge import Edge
    from strangler.exchange.plan import View

#: Seconds for which nobody waits for a key whose answer turned out to be one reader's own.
#: Seconds that the answer to an unsafe request waits for the stores to take its purge.
INVALIDATION: Final = 0.1
HIT_FOR_MISS: Final = 10.0
#: Seconds for which a target that hasn't got something is not asked for it again.
LACKING: Final = 10.0
_MOST_PASSED: Final = 100_000
#: Bytes of bodies on their way that may be held however small the edge tier is.
_LEAST_HELD: Final = 64 << 20
#: Bytes of a key that is remembered as it is; of a longer one, its digest.
_SHORT: Final = 200


_errors = logging.getLogger("strangler.errors")


def _short(key: bytes) -> bytes:
    """Return by what *key* is remembered: a stranger chooses how long it is."""
    return key if len(key) <= _SHORT else blake2b(key, digest_size=32).digest()


class Keeping:
    """Gathers the body of a POST's response that is to be kept for GET.

    Made after the purge that the POST itself is (RFC 9111 §4.4), which must not hit it.
    """

    __slots__ = ("_cache", "_cached", "_pieces", "_planned", "_size")

    def __init__(self, cache: Cache, planned: Stored, cached: Cached) -> None:
        self._cache = cache
        self._planned = planned
        self._cached = cached
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, payload: bytes, body: Body) -> None:
        """Take *payload*; keep the response when its body has ended."""
        self._size += len(payload)
        if self._size <= LARGEST:
            self._pieces.append(payload)
            if body.ended:
                sealed = store.seal(self._planned, self._size)
                if isinstance(sealed, Stored):
                    copies = self._cache.copies
                    content = b"".join(self._pieces)
                    copies.keep(sealed, content, self._cached.policy, copies.moments())


class Cache:
    """Fills under way, and keys not to wait for; *copies* are what it has."""

    def __init__(self, edge: Edge, copies: Copies) -> None:
        self.edge = edge
        self.copies = copies
        self._fills: dict[bytes, Fill] = {}
        self._glances: dict[bytes, Glance] = {}
        self._passed: dict[bytes, float] = {}
        #: What a target lately said that it hasn't got: until when, and by which status.
        self.absent: dict[bytes, tuple[float, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = Room()

    def begin(self, exchange: CachedExchange, plan: Plan, cached: Cached, key: bytes) -> None:
        """Answer *exchange* from a copy, or have it wait for one, or send it straight on."""
        head = exchange.head
        policy = cached.policy
        reason = bypass(head, policy)
        if reason is not None:
            cached.tally.not_kept(key, str(reason))
            exchange.alone("method" if reason is Uncacheable.METHOD else "bypass", str(reason))
            return
        now = time.time()
        held = self.copies.held(key)
        asked = steering(head, policy)
        lookup = Lookup("miss", forward="uri-miss")
        chosen: Ready | None = None
        if held:
            until = max(ready.usable_until for ready in held)
            lookup = decide(
                [ready.stored for ready in held],
                head,
                now=now,
                steering=asked,
                usable_until=until,
            )
            chosen = next((r for r in held if r.stored is lookup.stored), None)
        elif asked is not None and asked.only_if_cached and not self.copies.below:
            lookup = Lookup("unavailable", forward="uri-miss")
        outcome = lookup.outcome
        if chosen is not None and outcome == "hit":
            exchange.serve(chosen.stored, chosen.body, Told(tier="edge"))
            return
        if outcome == "unavailable":
            exchange.unavailable()
            return
        if chosen is not None and outcome == "stale":
            exchange.serve(chosen.stored, chosen.body, Told(tier="edge", stale=True))
            self._refresh(exchange, plan, cached, key, lookup, chosen.body)
            return
        if not self._glance(exchange, cached, key, lookup, chosen):
            self.fill(exchange, lookup, chosen)

    def _glance(
        self,
        exchange: CachedExchange,
        cached: Cached,
        key: bytes,
        lookup: Lookup,
        chosen: Ready | None,
    ) -> bool:
        """Have *exchange* wait for a glance below, an old or a new one, where one will do."""
        if key in self._fills:
            return False
        glance = self._glances.get(key)
        if glance is None:
            glance = Glance(self, key)
            if not self.copies.glance(key, cached.policy, glance.told):
                return False
            self._glances[key] = glance
        glance.join(exchange, lookup, chosen)
        return True

    def fill(
        self,
        exchange: CachedExchange,
        lookup: Lookup,
        chosen: Ready | None,
        seen: list[Copy] | None = None,
    ) -> None:
        """Make *exchange* a reader of the fill of its key, an old or a new one.

        *lookup*, *chosen*: what the edge tier had · *seen*: what a glance has seen below it.
        """
        plan, cached, key, head = exchange.plan, exchange.cached, exchange.key, exchange.head
        exchange.standby = (
            Standby(lookup, chosen.stored, chosen.body, "edge") if chosen is not None else None
        )
        if head.method == b"HEAD" and not self.copies.below:
            exchange.alone(lookup.forward or "uri-miss", "")
            return
        passed = self._passed.get(_short(key), 0.0) > time.monotonic()
        alone = (
            not cached.policy.collapse
            or passed
            or head.method == b"HEAD"
            or b"\nrange:" in head.fields.lower
        )
        fill = self._fills.get(key)
        if fill is not None and fill.joinable and not alone and fill.join(exchange):
            exchange.wait_for(fill)
            return
        body = chosen.body if chosen is not None else b""
        fill = self._make(exchange, plan, cached, key, lookup, body, shared=not alone)
        fill.join(exchange)
        exchange.wait_for(fill)
        fill.start(look=True, seen=seen)

    def renew(self, exchange: CachedExchange, plan: Plan, cached: Cached, key: bytes) -> None:
        """Fetch *key* anew for *exchange*, whatever there is; a 304 will do where that is known."""
        lookup, body = Lookup("miss", forward="request"), b""
        for ready in self.copies.held(key):
            stored = ready.stored
            if stored.span is None and select([stored], exchange.head.fields) is stored:
                lookup, body = Lookup("revalidate", stored, forward="request"), ready.body
        fill = self._make(exchange, plan, cached, key, lookup, body, shared=True)
        fill.join(exchange)
        exchange.wait_for(fill)
        fill.start(look=False)

    def _make(
        self,
        exchange: CachedExchange,
        plan: Plan,
        cached: Cached,
        key: bytes,
        lookup: Lookup,
        body: bytes,
        *,
        shared: bool,
        kind: Kind | None = None,
    ) -> Fill:
        head, request, shadow = exchange.head, exchange.request_upstream(), exchange.shadow
        if kind == "revalidation" and head.method == b"HEAD":  # it is the copy that is asked for
            head, request, shadow = head.as_get(), request.as_get(), None
        fill = Fill(
            self,
            plan,
            cached,
            exchange.upstream,
            key,
            head,
            request,
            exchange.tags(),
            origin=exchange.origin,
            lookup=lookup,
            body=body,
            shared=shared,
            kind=kind or exchange.kind,
        )
        fill.shadow = shadow
        if shared:
            self._fills[key] = fill
        return fill

    def _refresh(
        self,
        exchange: CachedExchange,
        plan: Plan,
        cached: Cached,
        key: bytes,
        lookup: Lookup,
        body: bytes,
    ) -> None:
        """Fetch *key* anew in the background, once for all who are served stale meanwhile."""
        fill = self._fills.get(key)
        if fill is not None and not fill.overtaken():
            return
        asked = lookup._replace(outcome="revalidate", forward="stale")
        fill = self._make(
            exchange, plan, cached, key, asked, body, shared=True, kind="revalidation"
        )
        fill.start(look=True)

    # What exchanges tell.

    def invalid(
        self, request: RequestHead, head: ResponseHead, scheme: bytes, view: View
    ) -> Purge | None:
        """Return the purge that the success of an unsafe request is (RFC 9111 §4.4), or None."""
        if not invalidates(request.method, head.status):
            return None
        urls = [
            url
            for target in targets(request, head, scheme=scheme)
            for url in self._urls(request, target, scheme, view)
        ]
        return Purge.urls(*urls) if urls else None

    async def invalidate(self, purge: Purge) -> None:
        """Purge before the reader hears of its success, unless it would have to wait too long.

        In the stores, and in the memory of all workers of this machine.
        """
        neighbours = self.edge.neighbours
        if not self.copies.below and not neighbours.count:
            self.copies.memory.purge(purge)
        else:
            purging = self.spawn(self._purge_all(purge))
            await asyncio.wait([purging], timeout=INVALIDATION)

    async def _purge_all(self, purge: Purge) -> None:
        taken = await self.copies.purge(purge)
        await self.edge.neighbours.tell(purge, self.copies.followed(taken))

    def head_responded(
        self, exchange: CachedExchange, standby: Standby, head: ResponseHead
    ) -> None:
        """Let a HEAD's response freshen the stored GET's, or make it stale (§4.3.5)."""
        effect = update.head_effect(standby.stored, head)
        if effect == "stale":
            self.copies.forget(standby.stored)
        elif effect == "update":
            shown = self.edge.shown(exchange.plan, exchange.upstream, head, *exchange.origin)
            policy = exchange.cached.policy
            stored, reason = update.freshened(
                standby.stored,
                exchange.head,
                shown,
                policy,
                requested=exchange.asked_at,
                received=time.time(),
            )
            if reason is None:
                self.copies.keep(stored, standby.body, policy, self.copies.moments())

    def keeping(
        self, exchange: CachedExchange, plan: Plan, cached: Cached, head: ResponseHead
    ) -> Keeping | None:
        """Return what keeps a POST's response for GET, where it is one (RFC 9110 §9.3.3)."""
        shown = self.edge.shown(plan, exchange.upstream, head, *exchange.origin)
        planned = store.plan(
            exchange.head,
            shown,
            cached.policy,
            key=exchange.key,
            requested=exchange.asked_at,
            received=time.time(),
            tags=exchange.tags(),
            route=cached.route,
        )
        if isinstance(planned, Uncacheable):
            return None
        return Keeping(self, planned, cached)

    def _urls(self, request: RequestHead, target: bytes, scheme: bytes, view: View) -> list[bytes]:
        """Return the keys' URLs of *target*, by the keying of the route that it has."""
        try:
            asked = RequestHead.build(b"GET", target, [(b"Host", request.authority)])
            match = view.table.match(asked)
        except (AmbiguousPath, ValueError):
            return []
        if match is None:
            return []
        cached = view.plans[match.value].cached
        if cached is None:
            return []
        host = request.authority.lower()
        return [cached.keying.url_key(scheme=scheme, host=host, target=target)]

    # What fills ask and tell.

    def may_hold(self, stream: Stream, size: int) -> bool:
        """Tell whether all *size* bytes of a body may be held on their way.

        A small one, and as many as the edge tier has room for, over all that are on their way.
        """
        if size <= ASK_AFTER:
            return True
        most = max(self.copies.memory.size, _LEAST_HELD)
        return self._room.holds(stream, size - stream.held, most)

    def fill_over(self, fill: Fill) -> None:
        """Learn that nobody can join *fill* any more."""
        if self._fills.get(fill.key) is fill:
            del self._fills[fill.key]

    def glance_over(self, glance: Glance) -> None:
        """Learn that *glance* has seen what there is."""
        if self._glances.get(glance.key) is glance:
            del self._glances[glance.key]

    def pass_for_a_while(self, key: bytes) -> None:
        """Let nobody wait for *key*: what it answers is one reader's own (hit-for-miss)."""
        if len(self._passed) >= _MOST_PASSED:
            self._passed.clear()
        self._passed[_short(key)] = time.monotonic() + HIT_FOR_MISS

    def refused(self, reason: Uncacheable, plan: Plan, key: bytes) -> None:
        """Count a response that was not kept, and why."""
        if plan.cached is not None:
            plan.cached.tally.not_kept(key, str(reason))

    def lacks(self, key: bytes, status: int) -> None:
        """Remember that the target hasn't got *key* (404, 410) and another rung was asked.

        During a rollout old pages name assets that only the other side has; each of their
        readers would cost the new side a 404 first.
        """
        if len(self.absent) >= _MOST_PASSED:
            self.absent.clear()
        self.absent[_short(key)] = (time.monotonic() + LACKING, status)

    def lacking(self, key: bytes) -> int:
        """Return the status by which the target lately said that it hasn't got *key*, or 0."""
        if not self.absent:
            return 0
        until, status = self.absent.get(_short(key), (0.0, 0))
        return status if until > time.monotonic() else 0

    def release(self, tier: Tier, key: bytes, token: bytes, put: asyncio.Task[Any] | None) -> None:
        """End a lease after *put*; one that is not ended holds up whoever wants *key* next."""
        tier.spawn(self._give(tier, key, token, put), small=True)

    async def _give(
        self, tier: Tier, key: bytes, token: bytes, put: asyncio.Task[Any] | None
    ) -> None:
        if put is not None:
            # Who waits for the lease looks once more when it ends, and must find what was put:
            # nothing else orders the two, which may go by different connections.
            await asyncio.wait([put])
        for _ in range(5):
            if await tier.write(lambda: tier.store.give(key, token), small=True):
                return
            await asyncio.sleep(0.05)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run *work*, held until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _errors.error("cache.failed", exc_info=task.exception())

    async def start(self) -> None:
        """Open the tiers; what can't be opened is a rung less."""
        await self.copies.ladder.start()

    async def close(self) -> None:
        """End all fills and close the tiers."""
        for fill in list(self._fills.values()):
            fill.cancel()
        for task in list(self._tasks):
            task.cancel()
        await self.copies.ladder.close()
