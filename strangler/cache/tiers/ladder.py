# SPDX-License-Identifier: Apache-2.0
"""The tiers of a site, from the fastest to the last, and what is done to all of them."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from strangler.cache import policy
from strangler.cache.tiers import make_tier
from strangler.cache.tiers.memory import Memory
from strangler.cache.tiers.purges import Mark, Purge
from strangler.cache.tiers.tier import Tier
from strangler.cache.tiers.waste import Waste
from strangler.observe.events import announce

#: Seconds between two tries to tell a tier of a purge that it has not taken, first and longest.
AGAIN: Final = (0.25, 10.0)
#: Purges that wait for a tier to come back; beyond, everything in it is purged instead.
MOST_WAITING: Final = 10_000


class Moments(NamedTuple):
    """What the tiers' puts are to be given; see `tier` on when to take them."""

    edge: int
    shared: int
    archive: int


class Ladder:
    """Edge, shared and archive; each may be absent. Use between `start` and `close`.

    What somebody purges in a tier below is purged in the edge tier within `follower.POLL` seconds,
    in every worker that has the ladder open.
    """

    def __init__(
        self,
        edge: Memory[Any] | None = None,
        shared: Tier | None = None,
        archive: Tier | None = None,
    ) -> None:
        self.edge = edge
        self.shared = shared
        self.archive = archive
        self._waiting: dict[str, list[Purge]] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}
        #: Our own purges that the tiers' logs will tell us of: the edge tier has them already.
        self._own: Counter[tuple[str, bytes]] = Counter()
        if edge is not None:
            for tier in self.tiers:
                tier.listeners.append(partial(self._heard, tier.name))

    @classmethod
    def of(
        cls, tiers: Mapping[str, policy.Tier], soften: Callable[[Any], Any] | None = None
    ) -> Ladder:
        """Return the ladder that a snapshot's `tiers` describe; raises as `make_tier` does.

        soften: see `Memory`.
        """
        edge = tiers.get("edge")
        if edge is not None and edge.store != "memory":
            raise ValueError("the edge tier is in memory: it holds ready responses")
        made = {
            name: make_tier(tier.store, name=name, size=tier.size, deadline=tier.timeout)
            for name, tier in tiers.items()
            if name != "edge"
        }
        size = (edge.size if edge is not None else None) or 256 << 20
        memory = None if edge is None else Memory[Any](size, soften, Waste(size))
        return cls(memory, made.get("shared"), made.get("archive"))

    @property
    def tiers(self) -> list[Tier]:
        """The tiers outside the process, nearest first."""
        return [tier for tier in (self.shared, self.archive) if tier is not None]

    @property
    def moments(self) -> Moments:
        """What is known of purges now."""
        return Moments(
            0 if self.edge is None else self.edge.moment,
            0 if self.shared is None else self.shared.moment,
            0 if self.archive is None else self.archive.moment,
        )

    async def start(self) -> None:
        """Open the tiers; one that can't be reached is down, and comes up when it can be."""
        await asyncio.gather(*[tier.start() for tier in self.tiers])

    async def close(self) -> None:
        """Close the tiers."""
        for task in self._telling.values():
            task.cancel()
        await asyncio.gather(*[tier.close() for tier in self.tiers])

    async def purge(self, purge: Purge) -> dict[str, bool]:
        """Purge in all tiers; return which of them have taken it.

        The last tier first, so that nothing of it comes up again into one that has been purged
        already. A tier that is away is told when it is back, for as long as this process lives:
        whoever gets a False had better ask again later.
        """
        taken: dict[str, bool] = {}
        for tier in reversed(self.tiers):
            for label in purge.labels:
                self._own[tier.name, label] += 1
            taken[tier.name] = await tier.purge(purge)
            if not taken[tier.name]:
                self._remember(tier, purge)
        if self.edge is not None:
            self.edge.purge(purge)
            taken["edge"] = True
        return taken

    def _heard(self, tier: str, mark: Mark) -> None:
        if self._own[tier, mark.label] > 0:
            # Heard again, it would take what was fetched since with it.
            self._own[tier, mark.label] -= 1
        elif self.edge is not None:
            self.edge.purge(Purge((mark.label,), mark.soft))
        if not self._own[tier, mark.label]:
            del self._own[tier, mark.label]

    def _remember(self, tier: Tier, purge: Purge) -> None:
        waiting = self._waiting.setdefault(tier.name, [])
        if len(waiting) >= MOST_WAITING:
            waiting[:] = [Purge.everything()]
        elif purge not in waiting:
            waiting.append(purge)
        task = self._telling.get(tier.name)
        if task is None or task.done():
            self._telling[tier.name] = asyncio.create_task(self._tell(tier, waiting))

    async def _tell(self, tier: Tier, waiting: list[Purge]) -> None:
        pause, longest = AGAIN
        while waiting:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(longest, pause * 2.0)
            while waiting and await tier.purge(waiting[0]):
                del waiting[0]
                pause = AGAIN[0]
        announce("purge.told", level=logging.WARNING, tier=tier.name)
