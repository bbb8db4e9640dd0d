# SPDX-License-Identifier: Apache-2.0
"""A question to the first tier below the edge, whose answer serves who asked, without a fill.

Most readers that the edge tier can't serve find a fresh copy one tier further down, and need
nothing that a fill is there for: no lease, no upstream request, no stream, not even a task. Who
asks for the same key meanwhile waits for the same answer. Whoever it doesn't serve goes on to a
fill, with what was seen: it isn't asked for again.

glance → (fresh and whole) → serve
      └ (nothing, stale, in slices, another variant) → fill
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from strangler.cache.lookup import Lookup, decide
from strangler.cache.steering import steering
from strangler.cache.stored import Stored
from strangler.cache.tiers.tier import Copy
from strangler.exchange.caching.reader import Told, each
from strangler.exchange.caching.ready import Ready

if TYPE_CHECKING:
    from strangler.exchange.caching.cache import Cache
    from strangler.exchange.caching.cached import CachedExchange

_TOLD: Final = {name: Told(tier=name) for name in ("shared", "archive")}


class Glance:
    """A glance at *key*, for however many readers ask for it meanwhile."""

    __slots__ = ("_cache", "_climbed", "_moment", "_readers", "key")

    def __init__(self, cache: Cache, key: bytes) -> None:
        self.key = key
        self._cache = cache
        self._moment = cache.copies.memory.moment
        self._climbed: Stored | None = None
        #: With what the edge tier had for each: a look-up, and its stale copy.
        self._readers: dict[CachedExchange, tuple[Lookup, Ready | None]] = {}

    def join(self, exchange: CachedExchange, lookup: Lookup, chosen: Ready | None) -> None:
        """Take *exchange* in; *lookup*, *chosen*: what the edge tier had for it."""
        self._readers[exchange] = lookup, chosen
        exchange.await_glance(self)

    def leave(self, exchange: CachedExchange) -> None:
        """Learn that *exchange* wants no answer any more."""
        self._readers.pop(exchange, None)

    def told(self, copies: list[Copy] | None) -> None:
        """Serve from *copies* whom they suit; None: the tier can't say at a glance."""
        self._cache.glance_over(self)
        readers, self._readers = self._readers, {}

        def answer(exchange: CachedExchange) -> None:
            lookup, chosen = readers[exchange]
            if not copies or not self._serve(exchange, lookup, copies):
                self._cache.fill(exchange, lookup, chosen, copies)

        each(readers, answer)

    def _serve(self, exchange: CachedExchange, lookup: Lookup, copies: list[Copy]) -> bool:
        """Serve *exchange* with a fresh whole one of *copies*; False where none suits it."""
        head, policy = exchange.head, exchange.cached.policy
        found = self._cache.copies.chosen(copies, policy, head.fields)
        if found is None or found.copy.body is None or lookup.outdates(found.copy.stored):
            return False
        stored, body = found.copy.stored, found.copy.body
        below = decide(
            [stored],
            head,
            now=time.time(),
            steering=steering(head, policy),
            usable_until=found.usable_until,
        )
        if below.outcome != "hit" or below.ttl <= 0.0:
            return False
        if stored is not self._climbed:  # once, however many wait for it
            self._climbed = stored
            self._cache.copies.hold(stored, body, policy, self._moment)
        exchange.serve(stored, body, _TOLD[found.name])
        return True
