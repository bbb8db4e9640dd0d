# SPDX-License-Identifier: Apache-2.0
"""Stored responses as exchanges use them: found, climbing, kept and forgotten.

The edge tier is in this process: asked without waiting, it holds whole prebuilt responses. The
tiers below it are outside, each under its own deadline; what is found there climbs into the tiers
above. One that is down is passed over: losing a store costs a rung, never a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from strangler.cache import policy
from strangler.cache.freshness import stay, usable_until
from strangler.cache.lookup import Lookup
from strangler.cache.policy import CachePolicy, TierName
from strangler.cache.stored import Stored
from strangler.cache.tiers import ExtraMissing
from strangler.cache.tiers.ladder import Ladder, Moments
from strangler.cache.tiers.memory import Memory
from strangler.cache.tiers.purges import Marks, Purge
from strangler.cache.tiers.tier import AHEAD, BodyLost, Copy, Tier, softened
from strangler.cache.tiers.upload import Upload
from strangler.cache.vary import Selecting, select
from strangler.config.snapshot import Snapshot
from strangler.exchange.caching.ready import Ready
from strangler.observe.events import announce
from strangler.wire.head import Fields

#: Seconds for which a stale copy is kept where it has a validator: a 304 is cheaper than a body.
_REVALIDATED: Final = 3600.0
_NEVER: Final = float("-inf")
#: Seconds after which nothing comes any more of a look that began before a variant was dropped.
_UNDER_WAY: Final = 1.0
#: Bytes of an edge tier that the site hasn't: too few for any response.
_NOTHING: Final = 64


class Standby(NamedTuple):
    """What is stored but not fresh: it may stand in for the upstream, and be confirmed by it."""

    lookup: Lookup
    stored: Stored
    body: bytes
    tier: str


class Found(NamedTuple):
    """A copy found below the edge tier: `body` None where it has to be read in slices."""

    name: TierName
    tier: Tier
    copy: Copy
    usable_until: float


class Copies:
    """What the tiers of *ladder* hold; *name* is the cache's in Cache-Status."""

    def __init__(self, ladder: Ladder, *, name: str) -> None:
        self.name = name
        self.ladder = ladder
        self.memory: Memory[Ready] = ladder.edge if ladder.edge is not None else Memory(_NOTHING)
        self._pending: list[Purge] = []
        self._ahead = time.time() - time.monotonic()
        #: By key and variant: copies up to which instant are being dropped in the tiers below.
        self._forgetting: dict[tuple[bytes, Selecting], float] = {}
        self.below: tuple[tuple[TierName, Tier], ...] = tuple(
            (cast(TierName, tier.name), tier) for tier in ladder.tiers
        )

    @classmethod
    def of(cls, tiers: Mapping[str, policy.Tier], *, name: str) -> Copies:
        """Return the copies in the tiers that a snapshot describes.

        A store whose driver isn't installed is a rung less, and said so.
        """
        usable = {}
        for key, tier in tiers.items():
            try:
                Ladder.of({key: tier})
            except (ValueError, ExtraMissing) as error:
                announce("tier.unusable", level=logging.ERROR, tier=key, reason=str(error))
            else:
                usable[key] = tier
        return cls(Ladder.of(usable, softer), name=name)

    def moments(self) -> Moments:
        """Return what is known of purges now; to be taken before the source is asked."""
        # A site without an edge tier has its purges noted all the same.
        ladder = self.ladder
        shared, archive = ladder.shared, ladder.archive
        return Moments(
            self.memory.moment,
            0 if shared is None else shared.marks.seq,
            0 if archive is None else archive.marks.seq,
        )

    def look_at_clock(self) -> None:
        """Drop the edge tier where the wall clock has been put back: nothing in it would end.

        The tiers below judge each copy as they find it; going ahead only ends lives early.
        """
        ahead = time.time() - time.monotonic()
        if ahead < self._ahead - AHEAD:
            announce("clock.back", level=logging.WARNING, seconds=round(self._ahead - ahead))
            self.memory.clear()
        self._ahead = ahead

    def held(self, key: bytes) -> tuple[Ready, ...]:
        """Return what the edge tier has of *key*, all variants."""
        return self.memory.get(key)

    def glance(
        self, key: bytes, policy: CachePolicy, tell: Callable[[list[Copy] | None], None]
    ) -> bool:
        """Ask the first tier below the edge for *key*, by `Tier.glance`; False where it can't be.

        What it has is for `chosen`, or for `search` where that isn't enough.
        """
        if not self.below:
            return False
        name, tier = self.below[0]
        return policy.uses(name) and tier.glance(key, tell)

    async def search(
        self, key: bytes, policy: CachePolicy, fields: Fields, seen: list[Copy] | None = None
    ) -> Found | None:
        """Return the best copy below the edge tier for a request with *fields*.

        A fresh one ends the search; of stale ones the first is returned, as something to ask
        about. What is found whole climbs into the edge tier and the tiers passed on the way.
        *seen*: what the first tier had at a glance; it isn't asked again.
        """
        stale: Found | None = None
        for place, (name, tier) in enumerate(self.below):
            if not policy.uses(name):
                continue
            moments = self.moments()
            copies = seen if seen is not None and not place else await tier.get(key)
            found = self.chosen(copies, policy, fields, place)
            if found is None:
                continue
            if found.usable_until > time.time():
                self._climb(found, policy, moments, place)
                return found
            if stale is None:
                stale = found
        return stale

    def chosen(
        self, copies: Sequence[Copy], policy: CachePolicy, fields: Fields, place: int = 0
    ) -> Found | None:
        """Return the one of *copies*, which tier number *place* below has, that suits *fields*."""
        if self._forgetting or self._pending:
            copies = [copy for copy in copies if not self._going(copy.stored)]
        stored = select([copy.stored for copy in copies], fields)
        if stored is None:
            return None
        copy = next(filter(lambda copy: copy.stored is stored, copies))
        name, tier = self.below[place]
        limit = stay(policy, name, stored.status)
        until = usable_until(stored.fresh_until, entered=copy.entered, stay=limit)
        return Found(name, tier, copy, until)

    def keep(
        self,
        stored: Stored,
        body: bytes,
        policy: CachePolicy,
        moments: Moments,
        old: Stored | None = None,
    ) -> asyncio.Task[Any] | None:
        """Put a new response into every tier that its route uses; no reader waits for it.

        *old*: another variant, which has proved to be outdated by it, and goes. Returned is the
        put after which other workers find it, where there is one.
        """
        self.hold(stored, body, policy, moments.edge, old)
        put = self._put(stored, body, policy, moments, self.below)
        if old is not None:
            self.forget_below(old)
        return put

    def uploads(
        self, stored: Stored, policy: CachePolicy, moments: Moments
    ) -> list[tuple[Upload, int]]:
        """Return ways to keep a body that is too large to be held, and their moments."""
        found = []
        for name, tier in self.below:
            seconds = kept_for(stored, policy, name) if policy.uses(name) else 0.0
            if seconds > 0.0 and tier.up:
                moment = moments.shared if name == "shared" else moments.archive
                found.append((tier.upload(stay=seconds), moment))
        return found

    async def begun(self, copy: Copy, tier: Tier) -> tuple[bytes, AsyncIterator[bytes]] | None:
        """Return the beginning of a *copy*'s body and how to read on; None where it isn't there.

        A head must not be sent before: a body that can't even be begun is asked for elsewhere.
        """
        body = tier.body(copy)
        try:
            return await anext(body, b""), body
        except BodyLost as lost:
            if not lost.late:
                self.forget(copy.stored)
            return None

    async def purge(self, purge: Purge) -> dict[str, bool]:
        """Purge in all tiers; nothing that it hits is found from the moment of the call."""
        self.memory.purge(purge)
        self._pending.append(purge)
        try:
            return await self.ladder.purge(purge)
        finally:
            self._pending.remove(purge)

    def followed(self, taken: Mapping[str, bool]) -> dict[str, int]:
        """Return how far the logs are followed of those tiers that have *taken* a purge."""
        return {tier.name: tier.moment for _, tier in self.below if taken.get(tier.name)}

    def _going(self, stored: Stored) -> bool:
        """Tell whether a purge or a drop that the stores have yet to take hits *stored*."""
        if stored.received <= self._forgetting.get((stored.key, stored.selecting), _NEVER):
            return True
        if not self._pending:
            return False
        marks = Marks()
        for number, purge in enumerate(self._pending, start=1):
            for label in purge.labels:
                marks.add(label, number, purge.soft)
        return marks.judge(stored, 0).hard

    def forget(self, stored: Stored) -> None:
        """Drop one variant everywhere: it has proved wrong."""
        self.memory.delete(stored.key)
        self.forget_below(stored)

    def forget_below(self, stored: Stored) -> None:
        """Drop one variant in the tiers below the edge's."""
        if self.below:
            variant, received = (stored.key, stored.selecting), stored.received
            self._forgetting[variant] = max(received, self._forgetting.get(variant, _NEVER))
            # However much is being written: until it has ended, what is noted above stays.
            self.below[0][1].spawn(self._dropped_below(stored), small=True)

    async def _dropped_below(self, stored: Stored) -> None:
        """Drop *stored* in the stores; until they have, it isn't found there any more."""
        variant, received = (stored.key, stored.selecting), stored.received
        try:
            await asyncio.gather(*[tier.delete(stored) for _, tier in self.below])
        finally:
            loop = asyncio.get_running_loop()
            loop.call_later(_UNDER_WAY, self._dropped, variant, received)

    def _dropped(self, variant: tuple[bytes, Selecting], received: float) -> None:
        """Let a variant be found again, which nobody has any more."""
        if self._forgetting.get(variant) == received:
            del self._forgetting[variant]

    def hold(
        self,
        stored: Stored,
        body: bytes,
        policy: CachePolicy,
        moment: int,
        old: Stored | None = None,
    ) -> None:
        """Put *stored* into the edge tier, if its route uses that, and in the place of *old* too.

        *moment*: of the edge tier.
        """
        if not policy.uses("edge"):
            return
        gone = (stored.selecting, stored.selecting if old is None else old.selecting)
        ready = Ready(stored, body, policy, entered=time.time(), name=self.name)
        self.memory.put(
            stored.key,
            ready,
            ready.weight,
            moment=moment,
            replaces=lambda other: other.stored.selecting in gone,
            tags=stored.tags,
            route=stored.route,
        )

    # Inside.

    def _climb(self, found: Found, policy: CachePolicy, moments: Moments, place: int) -> None:
        stored, body = found.copy.stored, found.copy.body
        if body is None:
            return
        self.hold(stored, body, policy, moments.edge)
        self._put(stored, body, policy, moments, self.below[:place])

    def _put(
        self,
        stored: Stored,
        body: bytes,
        policy: CachePolicy,
        moments: Moments,
        tiers: Sequence[tuple[TierName, Tier]],
    ) -> asyncio.Task[Any] | None:
        """Put it into *tiers*; return the first put: nobody looks further down."""
        first = None
        for name, tier in tiers:
            seconds = kept_for(stored, policy, name) if policy.uses(name) else 0.0
            if seconds > 0.0:
                moment = moments.shared if name == "shared" else moments.archive
                put = tier.spawn(tier.put(stored, body, stay=seconds, moment=moment))
                first = first or put
        return first


def tiers_in_use(snapshot: Snapshot) -> dict[str, policy.Tier]:
    """Return the tiers that some route of *snapshot* uses.

    The shared tier is among them wherever anything is cached: its log of purges is how the
    workers hear of each other's.
    """
    cached = [route.cache for route in snapshot.routes if route.cache.mode != "none"]
    if not cached:
        return {}
    return {
        name: tier
        for name, tier in snapshot.tiers.items()
        if name == "shared" or any(one.uses(tier.name) for one in cached)
    }


def kept_for(stored: Stored, policy: CachePolicy, name: TierName) -> float:
    """Return for how many seconds from now *stored* is worth its place in tier *name*."""
    now = time.time()
    left = stored.kept_until - now
    limit = stay(policy, name, stored.status)
    if limit is not None:
        left = min(left, limit + max(stored.while_revalidate, stored.if_error))
    if stored.etag is not None or stored.modified is not None:
        left = max(left, _REVALIDATED if limit is None else min(limit, _REVALIDATED))
    if name == "archive" and limit is not None:
        left = max(left, limit)  # the last rung of a ladder takes a copy however old
    return left


def softer(ready: Ready) -> Ready | None:
    """Return *ready* as stale from now on: a soft purge has hit it."""
    now = time.time()
    ready.stored = softened(ready.stored, now, now)
    ready.until = _NEVER
    return ready
