# SPDX-License-Identifier: Apache-2.0
"""Fetch a copy anew while readers go on getting the old one; nobody is waiting for the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from strangler.config.snapshot import Route
from strangler.exchange.caching.cached import CachedExchange
from strangler.exchange.caching.nobody import Nobody
from strangler.exchange.caching.reader import Told
from strangler.exchange.exchange import Exchange
from strangler.exchange.plan import Plan
from strangler.rollout import Decision
from strangler.routing import Match
from strangler.wire.head import RequestHead

if TYPE_CHECKING:
    from strangler.exchange.edge import Edge


class Refreshing(CachedExchange):
    """An exchange whose answer takes the place of the copy that there is, however fresh."""

    __slots__ = ("_kept", "_nobody")

    def __init__(self, edge: Edge, nobody: Nobody, head: RequestHead, id_: str) -> None:
        super().__init__(edge, nobody, head, id_)
        self._nobody = nobody
        self._kept = False

    def begin(self, plan: Plan, decision: Decision, match: Match[Route]) -> Exchange | None:
        """Begin a fill of the key; those who find nothing join it."""
        cached = plan.cached
        assert cached is not None
        self._cached = cached
        if self._accept(plan, decision, match):
            self.key = self._decided_key(decision)
            self._edge.cache.renew(self, plan, cached, self.key)
        return None if self._over else self

    async def renewed(self, timeout: float) -> bool:
        """Tell, once the answer is whole, whether it has taken the place of the old one."""
        try:
            async with asyncio.timeout(timeout):
                await self._nobody.ended.wait()
        except TimeoutError:
            return False
        return self._kept and not self._nobody.broken

    def _count(self, told: Told) -> None:
        self._kept = told.kept

    def _count_word(self, word: str) -> None:
        """Count nothing: no reader has asked."""


def refreshing(
    edge: Edge, plan: Plan, decision: Decision, match: Match[Route], head: RequestHead, secure: bool
) -> Refreshing:
    """Begin to fetch *head* of *plan*'s route anew."""
    exchange = Refreshing(edge, Nobody(secure=secure), head, "refresh")
    exchange.begin(plan, decision, match)
    return exchange
