# SPDX-License-Identifier: Apache-2.0
"""One getting of a stored response, for however many readers ask for it meanwhile.

A fill looks in the tiers below the edge, unless a `glance` has seen all there is, takes the lease
that keeps other workers from fetching the same, fetches, stores, and hands the response to its
readers as it arrives. Readers of the same key join while that may still help them; as soon as it
turns out that the answer is private, or is another variant than theirs, each goes its own way at
once, and for a while nobody waits for that key (hit-for-miss). A refresh in the background is a
fill without readers.

look → (found) ──────────────────────────────→ hand out
    └ (not found) lease → fetch → plan → store → hand out
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from strangler.cache import store, update
from strangler.cache.lookup import Lookup, decide, stands_in
from strangler.cache.steering import steering
from strangler.cache.storable import READERS_OWN, Uncacheable
from strangler.cache.stored import Stored
from strangler.cache.tiers.tier import Copy
from strangler.errors import AttemptFailed
from strangler.exchange.caching.copies import Copies, Found, Standby
from strangler.exchange.caching.parts import completed, joined_with_held
from strangler.exchange.caching.reader import Reader, Told, each, suits
from strangler.exchange.caching.spill import Spill
from strangler.exchange.caching.stream import Stream, pour
from strangler.exchange.fetching.contract import Answer, Asking, Fetching
from strangler.exchange.fetching.traced import maker
from strangler.exchange.plan import Cached, Plan
from strangler.resilience.failure import failure_word
from strangler.resilience.protection import Kind
from strangler.upstream import Upstream
from strangler.wire.framing import Body, Length
from strangler.wire.head import RequestHead, ResponseHead
from strangler.wire.request import Request, asking_for_store

if TYPE_CHECKING:
    from strangler.exchange.caching.cache import Cache
    from strangler.exchange.shadowing.pair import Pair

_errors = logging.getLogger("strangler.errors")

#: Largest body that is held in one piece for storing, in bytes; larger ones pass through.
LARGEST: Final = 16 << 20
#: Bytes of a body after which it is asked, again and again, whether there is room to hold it.
ASK_AFTER: Final = 256 << 10
#: Readers that may wait for one fill; more are sent on their own way.
MOST_READERS: Final = 20_000
#: Seconds for which a lease on a key is taken, and for which another worker's holds us up.
LEASE: Final = 5.0
HELD_UP: Final = 2.0


class Fill(Asking):
    """A fill of *key* by *request*, as *head* asks for it at *origin* (scheme, authority).

    *lookup* and *body*: what the edge tier had · *shared*: others may join · *kind*: on whose
    behalf the upstream is asked.
    """

    def __init__(
        self,
        cache: Cache,
        plan: Plan,
        cached: Cached,
        upstream: Upstream,
        key: bytes,
        head: RequestHead,
        request: Request,
        tags: tuple[bytes, ...],
        *,
        origin: tuple[bytes, bytes],
        lookup: Lookup,
        body: bytes = b"",
        shared: bool = True,
        kind: Kind = "live",
    ) -> None:
        self.cache = cache
        self.kind = kind
        self.key = key
        self.lookup = lookup
        self.shared = shared
        self.joinable = shared
        self.readers: list[Reader] = []
        self.shadow: Pair | None = None
        self._plan = plan
        self._cached = cached
        self._upstream = upstream
        self._head = head
        self._request = request
        self._tags = tags
        self._origin = origin
        self._body = body
        self._tier = "edge"
        self._moments = cache.copies.moments()
        self._fetch: Fetching | None = None
        self._stream = Stream(self._resume)
        self._planned: Stored | None = None
        self._keeps = False
        self._private = False
        self._over = False
        self._requested = 0.0
        self._rest: tuple[Stored, Stored, list[bytes]] | None = None
        self._spill: Spill | None = None
        self._release: Callable[[asyncio.Task[Any] | None], None] | None = None
        self._put: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._joined = 0
        self._ask_at = ASK_AFTER
        self._late: set[Reader] = set()

    # Readers.

    def overtaken(self) -> bool:
        """Tell whether a purge has hit what this fetches: it is not for those who ask only now.

        What tags the origin gives is not known before its answer; see `_started`.
        """
        marks = self.cache.copies.memory.marks
        moment = self._moments.edge
        if marks.seq == moment:
            return False
        tags = self._tags if self._planned is None else self._planned.tags
        return marks.verdict(self.key, tags, self._cached.route, moment) != (False, 0)

    def join(self, reader: Reader) -> bool:
        """Take *reader* in; False where this fill can't be of use to it (any more)."""
        if self.overtaken():
            return False
        if self._planned is not None:
            if self._stream.gone or not suits(reader, self._planned, self._head):
                return False
            self._joined += 1
            self._tell_asked(reader)
            reader.serve_stream(self._planned, self._stream, self._told(collapsed=True))
            return True
        if len(self.readers) >= MOST_READERS:
            return False
        self._joined += 1
        if self.cache.copies.memory.moment != self._moments.edge:
            self._late.add(reader)
        self.readers.append(reader)
        return True

    def leave(self, reader: Reader) -> None:
        """Learn that *reader* has gone. The fill goes on if its answer is to be kept."""
        if reader in self.readers:
            self.readers.remove(reader)
            self._tell_asked(reader)
        wanted = self.readers or self._stream.readers or self._planned is not None
        if not wanted and (self._private or not self.shared):
            self.cancel()

    def cancel(self) -> None:
        """Drop everything."""
        if self._over:
            return
        if self._fetch is not None:
            self._fetch.cancel()
        self._end()

    # Looking.

    def start(self, *, look: bool, seen: list[Copy] | None = None) -> None:
        """Begin: in the tiers below where *look* says so, else at the upstream.

        *seen*: what a glance has seen in the first of them already.
        """
        copies = self.cache.copies
        if look and copies.below:
            self._task = self.cache.spawn(self._look_on(copies, seen))
        else:
            self._ask()

    async def _look_on(self, copies: Copies, seen: list[Copy] | None) -> None:
        """Look; who waits must hear of a bug on the way."""
        try:
            await self._look(copies, seen)
        except Exception:
            _errors.exception("answer.failed")
            self._drop_fetch()
            self.fetch_failed(AttemptFailed("proxy_internal_error", "a bug in the edge"))

    async def _look(self, copies: Copies, seen: list[Copy] | None) -> None:
        found = await copies.search(self.key, self._cached.policy, self._head.fields, seen)
        if self._over:
            return
        if found is not None and await self._use(found):
            return
        asked = steering(self._head, self._cached.policy)
        if asked is not None and asked.only_if_cached:
            each(self._take_readers(), lambda reader: reader.unavailable())
            self._end()
        elif self._head.method == b"HEAD":
            self._send_on()
        elif not self._over:
            fetched = await self._another_fetches(copies, found)
            if not fetched and not self._over:
                self._ask()

    def _send_on(self) -> None:
        """Let a HEAD go to the upstream as it is: its answer is never stored."""
        stored = self.lookup.stored

        def send_on(reader: Reader) -> None:
            if stored is not None:
                reader.found_stale(Standby(self.lookup, stored, self._body, self._tier))
            reader.alone(self.lookup.forward or "uri-miss", "")

        each(self._take_readers(), send_on)
        self._end()

    async def _use(self, found: Found) -> bool:
        """Hand out what was found below, if it is fresh enough; else remember it."""
        stored = found.copy.stored
        if self.lookup.outdates(stored):
            return False
        asked = steering(self._head, self._cached.policy)
        lookup = decide(
            [stored], self._head, now=time.time(), steering=asked, usable_until=found.usable_until
        )
        body = found.copy.body
        if lookup.outcome == "hit" or (lookup.outcome == "stale" and body is None):
            return await self._hand_out(found)
        if body is not None and lookup.outcome in ("stale", "revalidate", "complete"):
            self.lookup, self._body, self._tier = lookup, body, found.name
        if body is not None and lookup.outcome == "stale":
            # Its readers have it at once; what is left of this fill is the refresh.
            told = Told(tier=found.name, stale=True)
            each(self._take_readers(), partial(self._serve, stored, body, told))
            self.lookup = lookup._replace(outcome="revalidate", forward="stale")
            if self._head.method == b"HEAD":
                self._head, self._request = self._head.as_get(), self._request.as_get()
                self.shadow = None
        return False

    async def _hand_out(self, found: Found) -> bool:
        """Give what was found to all readers; False where its body can't even be begun."""
        stored, body = found.copy.stored, found.copy.body
        if body is not None:
            self._end_with(stored, body, Told(tier=found.name))
            return True
        begun = await self.cache.copies.begun(found.copy, found.tier)
        if begun is None or self._over:
            return self._over
        self._planned = stored
        self._stream.passing = True
        self.joinable = False
        told = Told(tier=found.name)
        each(self._take_readers(), lambda reader: reader.serve_stream(stored, self._stream, told))
        if not await pour(*begun, self._stream):
            self.cache.copies.forget(stored)
        self._end()
        return True

    async def _another_fetches(self, copies: Copies, found: Found | None) -> bool:
        """Wait for another worker's fetch of the same; True where it has given what we need.

        It may have ended between our look, which *found* nothing of use, and our lease.
        """
        if not self.shared or not self._cached.policy.collapse or not copies.below:
            return False
        tier = copies.below[0][1]
        seen = found.copy if found is not None and found.tier is tier else None
        lease = await tier.lease(self.key, LEASE, seen)
        if lease is None:
            await tier.wait(self.key, HELD_UP)
        else:
            if lease.token:
                self._release = partial(self.cache.release, tier, self.key, lease.token)
            if not lease.kept:
                return False
        found = await copies.search(self.key, self._cached.policy, self._head.fields)
        return found is not None and await self._use(found)

    # Fetching.

    def _ask(self, *, anew: bool = False) -> None:
        """Ask the upstream; *anew*: without the validators that a 304 did not match."""
        lookup = self.lookup
        # A refresh is of what is held, whatever part of it its reader wanted.
        refreshing = not self.readers and lookup.holds_whole
        ranged = b"range" in self._head.fields and not refreshing
        whole = lookup.outcome == "complete" or not ranged
        known = [] if anew else lookup.validators
        request = asking_for_store(self._request, known, whole=whole)
        if anew:
            self.lookup = Lookup("miss", forward=lookup.forward)
        plan = self._plan
        self._requested = time.time()
        terms, within = plan.terms_for(self._upstream, self.kind), plan.within(time.monotonic())
        shadow = None if lookup.outcome == "complete" else self.shadow
        sink = self if shadow is None else shadow.over(self, stored=True, whole=not ranged)
        make = maker(terms, request)
        self._fetch = fetch = make(sink, self._upstream, request, terms, deadline=within)
        fetch.start()

    # The fetch's sink.

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on to the one whose request was sent; it is never stored."""
        mine = [reader for reader in self.readers if reader.head is self._head]
        each(mine, lambda reader: reader.interim(head))

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        if self._over:
            return
        old = self.lookup.stored
        completing = self.lookup.outcome == "complete"
        if completing and old is not None and head.status in (304, 416):
            self._ask_for_all(old)
        elif head.status == 304 and old is not None:
            self._confirmed(old, head)
        elif stands_in(self.lookup, head.status) and self.lookup.stored is not None:
            self._serve_old(head.status)
        elif head.status >= 400 and self._leave_to_fallback((head, body, payload)):
            return
        else:
            self._started(head, body, payload)

    def response_body(self, payload: bytes, body: Body) -> None:
        if not self._over:
            self._feed(payload, body)

    def fetch_failed(self, error: AttemptFailed) -> None:
        if self._over:
            return
        if self._planned is not None or self._private:
            self._fetch = None
            self._stream.fail(error.error)
            self._end()
        elif stands_in(self.lookup, None):
            self._serve_old(None)
        else:
            self._fail_readers(error, failure_word(error), None)

    # What a response means.

    def _confirmed(self, old: Stored, head: ResponseHead) -> None:
        if not update.confirms(old, head):
            self._ask_for_all(old)
            return
        shown = self._shown(head)
        stored, reason = update.freshened(
            old,
            self._head,
            shown,
            self._cached.policy,
            requested=self._requested,
            received=time.time(),
        )
        if reason is None:
            self._keep(stored, self._body)
        else:
            self.cache.refused(reason, self._plan, self.key)
            self.cache.copies.forget(old)
        told = Told(tier=self._tier, forward=self.lookup.forward, status=304, kept=reason is None)
        self._end_with(stored, self._body, told, own=store.own_lines(shown, stored.fields))

    def _serve_old(self, status: int | None) -> None:
        """Let the stored response stand in for an upstream that failed (RFC 5861 §4)."""
        old = self.lookup.stored
        assert old is not None
        told = Told(tier=self._tier, forward="stale", status=status, stale=True)
        self._end_with(old, self._body, told)

    def _started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        shown = self._shown(head)
        planned = store.plan(
            self._head,
            shown,
            self._cached.policy,
            key=self.key,
            requested=self._requested,
            received=time.time(),
            tags=self._tags,
            route=self._cached.route,
        )
        old = self.lookup.stored
        if self.lookup.outcome == "complete" and old is not None and head.status == 206:
            if isinstance(planned, Uncacheable):
                self._ask_for_all(old)
            else:
                self._rest = (old, planned, [])
                self._feed(payload, body)
            return
        if isinstance(planned, Uncacheable):
            self._refused(planned, head, body, payload)
            return
        self._keeps = store.replaces(old, planned.status)
        if not self._keeps:
            self.cache.refused(Uncacheable.WORSE, self._plan, self.key)
        room = True
        if isinstance(body, Length) and planned.status not in (204, 304):
            expected = body.left + len(payload) if not body.ended else len(payload)
            sealed = store.seal(planned, expected)
            planned = sealed if isinstance(sealed, Stored) else planned
            room = self.cache.may_hold(self._stream, expected)
            if expected > LARGEST or not room:
                self._pass_through()
        self._planned = planned
        if self._stream.passing:
            self._spill_over()
        own = store.own_lines(shown, shown)
        overtaken = self.overtaken()
        readers = self._take_readers()

        def serve(reader: Reader) -> None:
            first = reader is readers[0]
            if not room and not first:
                # What can't be held goes at the pace of the slowest: nobody sets another's.
                reader.alone(self.lookup.forward or "uri-miss", "large")
            elif suits(reader, planned, self._head) and not (overtaken and reader in self._late):
                told = self._told(collapsed=not first)
                told.own = own if reader.head is self._head else b""
                reader.serve_stream(planned, self._stream, told)
            else:
                reader.again()

        each(readers, serve)
        self._feed(payload, body)

    def _refused(self, reason: Uncacheable, head: ResponseHead, body: Body, payload: bytes) -> None:
        """Give an answer that may not be kept to the one who asked, and to nobody else."""
        self._private = True
        self.joinable = False
        self.cache.refused(reason, self._plan, self.key)
        its_own = reason in READERS_OWN
        if self.shared and not its_own:
            self.cache.pass_for_a_while(self.key)
        readers = self._take_readers()
        mine = [reader for reader in readers if reader.head is self._head]
        self._stream.passing = True
        forward, why, stream = self.lookup.forward or "uri-miss", str(reason), self._stream
        each(mine[:1], lambda one: one.pass_on(self._upstream, head, stream, body, forward, why))
        self.cache.fill_over(self)
        others = [reader for reader in readers if reader not in mine[:1]]
        each(others, lambda one: one.again() if its_own else one.alone("uri-miss", why))
        if not mine:
            self.cancel()
        else:
            self._feed(payload, body)

    def _feed(self, payload: bytes, body: Body) -> None:
        if self._rest is not None:
            self._rest[2].append(payload)
            if body.ended:
                self._completed()
            return
        stream = self._stream
        if payload:
            stream.add(payload)
            if self._spill is not None:
                self._spill.add(payload)
        if stream.size > self._ask_at and not stream.passing:
            self._ask_at = stream.size + ASK_AFTER
            if stream.size > LARGEST or not self.cache.may_hold(stream, stream.size):
                self._pass_through()
                self._spill_over()
        if body.ended:
            self._fetch = None
            if self._keeps and self._planned is not None:
                self._store(self._planned, stream.whole())
            elif self._spill is not None and self._planned is not None:
                self._spill.end(self._planned, stream.size)
                self._put, self._spill = self._spill.task, None
                old = self.lookup.outdated_by(self._planned)
                if old is not None:
                    self.cache.copies.forget(old)
            stream.end()
            self._end()
        elif stream.passing:
            if not stream.readers and self._spill is None:
                self.cancel()
            elif self._fetch is not None and self._must_wait():
                self._fetch.pause_reading()

    def _must_wait(self) -> bool:
        """Tell whether the upstream is to wait: no reader is held back by a slower one while
        there is room for what that has yet to take.
        """
        stream = self._stream
        if self._spill is not None and self._spill.full:
            return True
        return stream.behind and (stream.full or not self.cache.may_hold(stream, stream.held))

    def _resume(self) -> None:
        if self._stream.passing and self._fetch is not None:
            if not self._stream.readers and self._spill is None:
                self.cancel()
            elif not self._must_wait():
                self._fetch.resume_reading()

    def _pass_through(self) -> None:
        """Hold no more of a body that is too large to be kept, or for which there is no room."""
        self._keeps = False
        self.joinable = False
        self._stream.passing = True

    def _spill_over(self) -> None:
        """Keep a large body in the tiers below, written as it comes."""
        if self._planned is None or self._planned.span is not None:
            return
        policy = self._cached.policy
        uploads = self.cache.copies.uploads(self._planned, policy, self._moments)
        if uploads:
            self._spill = Spill(uploads, self._resume)
            for piece in self._stream.pieces:
                self._spill.add(piece)

    def _store(self, planned: Stored, body: bytes) -> None:
        sealed = store.ended(planned, len(body))
        if isinstance(sealed, Stored):
            if sealed.span is not None:
                sealed, body = joined_with_held(self.cache.copies, sealed, body)
            self._keep(sealed, body, self.lookup.outdated_by(sealed))
        else:
            self.cache.refused(sealed, self._plan, self.key)

    def _keep(self, stored: Stored, body: bytes, old: Stored | None = None) -> None:
        """Keep *stored*, in the place of *old* too; the lease ends after it."""
        copies, policy = self.cache.copies, self._cached.policy
        self._put = copies.keep(stored, body, policy, self._moments, old)

    def _completed(self) -> None:
        """Hand out the whole that two parts make (RFC 9111 §3.4), or ask for it anew."""
        assert self._rest is not None
        old, planned, pieces = self._rest
        self._rest = None
        whole = completed(old, self._body, planned, b"".join(pieces))
        if whole is None:
            self._ask_for_all(old)
            return
        stored, content = whole
        self._keep(stored, content)
        told = Told(tier=self._tier, forward="partial", status=206, kept=True)
        self._end_with(stored, content, told)

    # Small steps.

    def _ask_for_all(self, old: Stored) -> None:
        """Ask plainly: the answer was to a question of ours, and doesn't go with *old*."""
        self.readers = self._take_readers()
        self._drop_fetch()
        self.cache.copies.forget(old)
        self._ask(anew=True)

    def _shown(self, head: ResponseHead) -> ResponseHead:
        """Return *head* as readers may see it."""
        return self.cache.edge.shown(self._plan, self._upstream, head, *self._origin)

    def _end_with(self, stored: Stored, body: bytes, told: Told, *, own: bytes = b"") -> None:
        """End and hand *stored* out: whom it doesn't suit asks anew, and mustn't find this fill."""
        readers = self._take_readers()
        self._drop_fetch()
        self._end()
        each(readers, partial(self._serve, stored, body, told, own=own))

    def _serve(
        self, stored: Stored, body: bytes, told: Told, reader: Reader, own: bytes = b""
    ) -> None:
        if suits(reader, stored, self._head):
            told.own = own if reader.head is self._head else b""
            reader.serve(stored, body, told)
        else:
            reader.again()

    def _told(self, *, collapsed: bool = False) -> Told:
        kept = self._keeps or self._spill is not None
        return Told(forward=self.lookup.forward, kept=kept, collapsed=collapsed)

    def _leave_to_fallback(self, answer: Answer) -> bool:
        """Let each reader fall back as its route says; False where the route doesn't say so."""
        head, body, _ = answer
        lost = self.kind != "live" and not body.ended  # already the other answer, and no third
        if lost or not self._plan.falls(head.status, self._head, self._upstream):
            return False
        error = AttemptFailed("http_response_incomplete", f"status {head.status}")
        self._fail_readers(error, head.status, answer if body.ended else None)
        return True

    def _fail_readers(self, error: AttemptFailed, failure: int | str, whole: Answer | None) -> None:
        readers = self._take_readers()
        self._drop_fetch()
        self._end()
        each(readers, lambda reader: reader.fill_failed(error, failure, whole))

    def _take_readers(self) -> list[Reader]:
        readers, self.readers = self.readers, []
        each(readers, self._tell_asked)
        return readers

    def _tell_asked(self, reader: Reader) -> None:
        """Tell *reader* whom it has its answer from, for its line in the access log."""
        if self._fetch is not None:
            reader.asked(self._fetch, own=reader.head is self._head)

    def _drop_fetch(self) -> None:
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.cancel()

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        if self.shadow is not None:
            self.shadow.ended(self)
        if self._spill is not None:
            self._spill.abandon()
        self.cache.fill_over(self)
        if self._release is not None:
            self._release(self._put)
