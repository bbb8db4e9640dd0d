# SPDX-License-Identifier: Apache-2.0
"""The cache tiers of one worker, from the fastest down, as one thing to ask and to fill.

The edge tier is in this process: asked without waiting, it holds whole prebuilt responses. The
tiers below it are outside, each under its own deadline; what is found there climbs into the tiers
above. One that is down is passed over: losing a store costs a rung, never a request.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from strangler.cache.deliver import assemble, undecided_until
from strangler.cache.freshness import stay, usable_until
from strangler.cache.policy import CachePolicy, TierName
from strangler.cache.status_field import cache_status
from strangler.cache.stored import Stored
from strangler.cache.tiers.memory import Memory, footprint
from strangler.cache.tiers.purges import Mark, Purge
from strangler.cache.tiers.tier import Copy, Tier, softened
from strangler.cache.vary import select
from strangler.wire.head import Fields

#: Seconds for which a stale copy is kept where it has a validator: a 304 is cheaper than a body.
_REVALIDATED: Final = 3600.0
_NEVER: Final = float("-inf")


class Ready:
    """A stored response in the edge tier, with the bytes that answer a plain GET of it.

    ``until``: the instant up to which `wire` answers without a decision · ``entered``: when it
    came into this tier · ``body_at``: where in `wire` the body begins; it is held only there.
    """

    __slots__ = ("body_at", "entered", "name", "second", "stay", "stored", "until", "wire")

    def __init__(
        self, stored: Stored, body: bytes, policy: CachePolicy, *, entered: float, name: str
    ) -> None:
        self.stored = stored
        self.entered = entered
        self.name = name
        self.stay = stay(policy, "edge", stored.status)
        self.until = undecided_until(stored, policy, "edge", entered=entered)
        self.wire = body
        self.body_at = 0
        self.second = -1

    @property
    def body(self) -> bytes:
        """Return the body."""
        return self.wire[self.body_at :]

    @property
    def usable_until(self) -> float:
        """Return the instant at which its stay here, or its freshness, ends."""
        return usable_until(self.stored.fresh_until, entered=self.entered, stay=self.stay)

    @property
    def weight(self) -> int:
        """Return the bytes of memory that this takes, its prebuilt head included."""
        return 160 + footprint(self.stored) + len(self.wire) + len(self.stored.head) + 120

    def renew(self, now: float) -> None:
        """Write Age and Cache-Status anew; both count whole seconds, so once a second will do."""
        self.second = int(now)
        status = cache_status(self.name, hit=True, ttl=self.until - now, detail="edge")
        head = assemble(
            self.stored.head,
            self.stored.age(now),
            extra=b"Cache-Status: %b\r\n" % status,
        )
        self.wire = head + self.wire[self.body_at :]
        self.body_at = len(head)


class Found(NamedTuple):
    """A copy found below the edge tier: `body` None where it has to be read in slices."""

    name: TierName
    tier: Tier
    copy: Copy
    usable_until: float


class Moments(NamedTuple):
    """What each tier knew of purges before a source was asked."""

    edge: int
    below: tuple[int, ...]


class Ladder:
    """All tiers; *below* are those outside the process, fastest first.

    *log*: the tier whose purge log all workers follow, which need not be asked for copies.
    """

    def __init__(self, size: int, below: Sequence[tuple[TierName, Tier]], *, name: str) -> None:
        self.name = name
        self.memory: Memory[Ready] = Memory(size, _softer)
        self.below = tuple(below)
        for _, tier in self.below:
            tier.listeners.append(self._purged)

    async def start(self) -> None:
        """Open the stores; what can't be opened is a rung less."""
        for _, tier in self.below:
            await tier.start()

    async def close(self) -> None:
        """Close the stores."""
        for _, tier in self.below:
            await tier.close()

    def moments(self) -> Moments:
        """Return what is known of purges now; to be taken before the source is asked."""
        return Moments(self.memory.moment, tuple([tier.moment for _, tier in self.below]))

    def held(self, key: bytes) -> tuple[Ready, ...]:
        """Return what the edge tier has of *key*, all variants."""
        return self.memory.get(key)

    async def search(self, key: bytes, policy: CachePolicy, fields: Fields) -> Found | None:
        """Return the best copy below the edge tier for a request with *fields*.

        A fresh one ends the search; of stale ones the first is returned, as something to ask
        about. What is found whole climbs into the edge tier and the tiers passed on the way.
        """
        stale: Found | None = None
        for place, (name, tier) in enumerate(self.below):
            if not _serves(policy, name):
                continue
            moments = self.moments()
            copies = await tier.get(key)
            stored = select([copy.stored for copy in copies], fields)
            if stored is None:
                continue
            copy = next(copy for copy in copies if copy.stored is stored)
            until = usable_until(
                stored.fresh_until,
                entered=copy.entered,
                stay=stay(policy, name, stored.status),
            )
            found = Found(name, tier, copy, until)
            if until > time.time():
                self._climb(found, policy, moments, place)
                return found
            if stale is None:
                stale = found
        return stale

    def keep(self, stored: Stored, body: bytes, policy: CachePolicy, moments: Moments) -> None:
        """Put a new response into every tier that its route uses; nobody waits for it."""
        self._hold(stored, body, policy, moments.edge)
        for (name, tier), moment in zip(self.below, moments.below, strict=True):
            if _serves(policy, name):
                seconds = kept_for(stored, policy, name)
                if seconds > 0.0:
                    tier.spawn(tier.put(stored, body, stay=seconds, moment=moment))

    def forget(self, stored: Stored) -> None:
        """Drop one variant everywhere: it has proved wrong."""
        self.memory.delete(stored.key)
        for _, tier in self.below:
            tier.spawn(tier.delete(stored))

    async def purge(self, purge: Purge) -> dict[str, bool]:
        """Purge in all tiers; tell for each whether it is done."""
        self.memory.purge(purge)
        done = {"edge": True}
        for name, tier in self.below:
            done[name] = await tier.purge(purge)
        return done

    def purge_soon(self, purge: Purge) -> None:
        """Purge here at once and elsewhere in the background."""
        self.memory.purge(purge)
        for _, tier in self.below:
            tier.spawn(tier.purge(purge))

    # Inside.

    def _hold(self, stored: Stored, body: bytes, policy: CachePolicy, moment: int) -> None:
        if not _serves(policy, "edge"):
            return
        ready = Ready(stored, body, policy, entered=time.time(), name=self.name)
        self.memory.put(
            stored.key,
            ready,
            ready.weight,
            moment=moment,
            replaces=lambda other: other.stored.selecting == stored.selecting,
            tags=stored.tags,
            route=stored.route,
        )

    def _climb(self, found: Found, policy: CachePolicy, moments: Moments, place: int) -> None:
        stored, body = found.copy.stored, found.copy.body
        if body is None:
            return
        self._hold(stored, body, policy, moments.edge)
        for (name, tier), moment in zip(self.below[:place], moments.below, strict=False):
            if _serves(policy, name):
                seconds = kept_for(stored, policy, name)
                if seconds > 0.0:
                    tier.spawn(tier.put(stored, body, stay=seconds, moment=moment))

    def _purged(self, mark: Mark) -> None:
        self.memory.purge(Purge((mark.label,), mark.soft))


def kept_for(stored: Stored, policy: CachePolicy, name: TierName) -> float:
    """Return for how many seconds from now *stored* is worth its place in tier *name*."""
    now = time.time()
    left = stored.kept_until - now
    limit = stay(policy, name, stored.status)
    if limit is not None:
        left = min(left, limit + max(stored.while_revalidate, stored.if_error))
    if stored.etag is not None or stored.modified is not None:
        left = max(left, _REVALIDATED if limit is None else min(limit, _REVALIDATED))
    return left


def _serves(policy: CachePolicy, name: TierName) -> bool:
    """Tell whether *policy* uses the tier called *name*."""
    return policy.mode == "origin" or (policy.mode == "tiers" and getattr(policy, name) is not None)


def _softer(ready: Ready) -> Ready | None:
    now = time.time()
    ready.stored = softened(ready.stored, now, now)
    ready.until = _NEVER
    return ready
