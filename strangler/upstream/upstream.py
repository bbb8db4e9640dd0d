# SPDX-License-Identifier: Apache-2.0
"""A named group of endpoints: which one takes the next attempt, and how many may run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from typing import Protocol

from strangler.clock import Ticker, Waits
from strangler.config import snapshot as config
from strangler.upstream.connection import UpstreamConnection
from strangler.upstream.endpoint import Endpoint
from strangler.wire.repair import Repair

TimeLimits = tuple[Waits[UpstreamConnection], Waits[UpstreamConnection]]


class Entrant(Protocol):
    """Who waits for a place."""

    def entered(self) -> None:
        """Learn that a place is yours; `Upstream.leave` gives it back."""

    def no_place(self) -> None:
        """Learn that none came free in time."""


def _no_place(entrant: Entrant) -> None:
    entrant.no_place()


class Upstream:
    """A group of endpoints at run time; lives as long as its part of the configuration."""

    def __init__(self, definition: config.Upstream, ticker: Ticker) -> None:
        self.definition = definition
        self.name = definition.name
        self.inflight = 0
        self.succeeded = 0
        self.failed = 0
        self.last_error = ""
        self._ticker = ticker
        self._loop = asyncio.get_running_loop()
        self._turn = 0
        self._queue: deque[Entrant] = deque()
        self._waits_place: Waits[Entrant] = ticker.waits(definition.timeouts.connect, _no_place)
        self.endpoints = tuple(
            Endpoint(
                address,
                connect_timeout=definition.timeouts.connect,
                keepalive=definition.keepalive,
                tls=definition.tls,
            )
            for address in definition.endpoints
        )
        self.repair = Repair(
            frozenset(
                f"{address.host}:{address.port}".lower().encode()
                for address in definition.endpoints
                if address.unix is None
            ),
            definition.endpoints[0].prefix,
        )
        self.limits = self.time_limits(definition.timeouts)

    def time_limits(self, timeouts: config.Timeouts) -> TimeLimits:
        """Return the queues for these limits; equal limits share them."""
        return (
            self._ticker.waits(timeouts.first_byte, UpstreamConnection.first_byte_expired),
            self._ticker.waits(timeouts.between, UpstreamConnection.between_expired),
        )

    def pick(self, tried: Collection[Endpoint] = ()) -> Endpoint | None:
        """Return the endpoint with the fewest attempts under way, or None if all were *tried*.

        Equals take turns. One that just refused a connection is passed over while another is
        there; when all are down, they are tried all the same.
        """
        if len(self.endpoints) == 1:
            only = self.endpoints[0]
            return None if only in tried else only
        now = self._loop.time()
        self._turn += 1
        count = len(self.endpoints)
        best: Endpoint | None = None
        best_rank: tuple[bool, int] | None = None
        for offset in range(count):
            endpoint = self.endpoints[(self._turn + offset) % count]
            if endpoint in tried:
                continue
            rank = (endpoint.down_until > now, endpoint.inflight)
            if best_rank is None or rank < best_rank:
                best, best_rank = endpoint, rank
        return best

    def enter(self) -> bool:
        """Take a place for a fetch; False: all are taken (`wait` for one)."""
        most = self.definition.max_inflight
        if most is not None and self.inflight >= most:
            return False
        self.inflight += 1
        return True

    def wait(self, entrant: Entrant) -> bool:
        """Let *entrant* wait for a place, as long as connecting may take; False: too many wait."""
        if len(self._queue) >= self.definition.queue:
            return False
        self._queue.append(entrant)
        self._waits_place.start(entrant)
        return True

    def wait_no_more(self, entrant: Entrant) -> None:
        """Take *entrant* out of the queue."""
        if entrant in self._queue:
            self._queue.remove(entrant)
            self._waits_place.end(entrant)

    def leave(self) -> None:
        """Give a place back; who waits longest gets it."""
        if self._queue:
            entrant = self._queue.popleft()
            self._waits_place.end(entrant)
            self._loop.call_soon(entrant.entered)
        else:
            self.inflight -= 1

    def sweep(self, now: float) -> None:
        """Close connections that have idled too long."""
        for endpoint in self.endpoints:
            endpoint.sweep(now)

    def retire(self) -> None:
        """Take nothing new: the configuration no longer has this upstream."""
        for endpoint in self.endpoints:
            endpoint.retire()

    def close(self) -> None:
        """Drop everything."""
        for endpoint in self.endpoints:
            endpoint.close()
