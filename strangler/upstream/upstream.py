# SPDX-License-Identifier: Apache-2.0
"""A named group of endpoints: which one takes the next attempt, and whether there may be one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from math import inf
from random import random
from time import monotonic
from typing import Any, Final

from strangler.clock import Ticker, Waits
from strangler.config import snapshot as config
from strangler.resilience.adaptive import Adaptive
from strangler.resilience.breaker import Mode
from strangler.resilience.budget import Budget
from strangler.resilience.ejection import Ejection, Ejector
from strangler.resilience.protection import Guard, Kind, Protection
from strangler.resilience.selection import choose
from strangler.upstream.bearer import bearer_of
from strangler.upstream.circuit import Circuit, Shut
from strangler.upstream.connection import UpstreamConnection
from strangler.upstream.endpoint import Endpoint
from strangler.upstream.places import (
    Adapting,
    Both,
    Entrant,
    Gate,
    Guests,
    Heeds,
    Places,
    no_place,
)
from strangler.wire.repair import Repair

_events = logging.getLogger("strangler.events")

TimeLimits = tuple[Waits[UpstreamConnection], Waits[UpstreamConnection]]

#: Seconds between two looks at who is out and who comes back.
_LOOK: Final = 1.0


def _nothing() -> None:
    pass


class Upstream:
    """A group of endpoints at run time; lives as long as its part of the configuration.

    ``circuit`` is None where the file says `breaker: none` · ``door``: what an attempt asks, that
    breaker but where an operator has said otherwise · ``guests`` is there for legacy alone,
    ``adapting`` where the places follow latency; ``heeds``: who wants to know how attempts went ·
    ``several``: of its endpoints one may be worse than the others ·
    *changed* is called when a breaker's state has changed here.
    """

    def __init__(
        self,
        definition: config.Upstream,
        ticker: Ticker,
        *,
        changed: Callable[[], None] = _nothing,
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.succeeded = 0
        self.failed = 0
        self.last_error = ""
        self._ticker = ticker
        self.endpoints = tuple(
            Endpoint(
                address,
                connect_timeout=definition.timeouts.connect,
                keepalive=definition.keepalive,
                tls=definition.tls,
            )
            for address in definition.endpoints
        )
        self.ejector: Ejector[Endpoint] = Ejector(Ejection(), self.endpoints)
        for endpoint, standing in zip(self.endpoints, self.ejector.standings, strict=True):
            endpoint.standing = standing
        self.several = len(self.endpoints) > 1
        self._panic = False
        self._looked = 0.0
        self.budget = Budget()
        self.circuit = (
            Circuit(self.name, definition.breaker, changed) if definition.breaker else None
        )
        self.door: Circuit | Shut | None = self.circuit
        self.drained = self._forced_open = False
        waits: Waits[Entrant] = ticker.waits(definition.timeouts.connect, no_place)
        most = definition.max_inflight
        limit = most.initial if isinstance(most, Adaptive) else most
        self.places = Places(limit, definition.queue, waits)
        self.adapting = (
            Adapting(most, self.places, monotonic()) if isinstance(most, Adaptive) else None
        )
        self.gates: tuple[Gate, ...] = (self.places,)
        self.guests: Guests | None = None
        if definition.role == "legacy":
            guard = Guard(Protection(), monotonic())
            self.guests = Guests(guard, self.places, waits)
        self.heeds: Heeds | None = self.guests or self.adapting
        if self.guests is not None and self.adapting is not None:
            self.heeds = Both(self.guests, self.adapting)
        self.repair = Repair(
            frozenset(
                f"{address.host}:{address.port}".lower().encode()
                for address in definition.endpoints
                if address.unix is None
            ),
            definition.endpoints[0].prefix,
        )
        self.limits = self.time_limits(definition.timeouts)
        self.tokens = bearer_of(definition)

    @property
    def inflight(self) -> int:
        """Return how many fetches have a place."""
        return self.places.bulkhead.inflight

    def time_limits(self, timeouts: config.Timeouts) -> TimeLimits:
        """Return the queues for these limits; equal limits share them."""
        return (
            self._ticker.waits(timeouts.first_byte, UpstreamConnection.first_byte_expired),
            self._ticker.waits(timeouts.between, UpstreamConnection.between_expired),
        )

    def gates_for(self, kind: Kind) -> tuple[Gate, ...]:
        """Return the gates that a fetch of *kind* passes."""
        if kind == "live" or self.guests is None:
            return self.gates
        return (self.guests, self.places)

    # Endpoints.

    def pick(self, tried: Collection[Endpoint] = ()) -> Endpoint:
        """Return the endpoint with the least to do for its weight, rather one not *tried*."""
        candidates = self.ejector.candidates
        if len(candidates) == 1:
            return candidates[0]
        chosen = choose(candidates, tried, random(), random())
        assert chosen is not None  # an upstream has an endpoint, and a panic has all of them
        return chosen

    def elsewhere(self, tried: Collection[Endpoint]) -> bool:
        """Tell whether an endpoint takes part that was not *tried*."""
        return any(endpoint not in tried for endpoint in self.ejector.candidates)

    def endpoint_failed(self, endpoint: Endpoint, now: float, *, connecting: bool = False) -> None:
        """Count a failure of *endpoint*, which may take it out."""
        standing = endpoint.standing
        if self.ejector.failed(standing, now, random(), connecting=connecting):
            self._tell_ejected(endpoint, now)

    def broke_off(self, endpoint: Endpoint, circuit: Circuit | Shut | None, permit: int) -> None:
        """Take back the good word for an answer that has ended before its end.

        *circuit* is whom the attempt had asked, *permit* what it was given.
        """
        now = monotonic()
        if self.ejector.broke(endpoint.standing, now, random()):
            self._tell_ejected(endpoint, now)
        if circuit is not None:
            circuit.broke(permit, now)

    def _tell_ejected(self, endpoint: Endpoint, now: float) -> None:
        self._tell_out(endpoint, now)
        self._tell_panic()

    def probed(self, verdicts: Mapping[str, bool]) -> None:
        """Take the probes' verdict on each endpoint, by its URL; absent: healthy.

        It is repeated every second, and only a new one says anything.
        """
        now = monotonic()
        for endpoint in self.endpoints:
            healthy = verdicts.get(endpoint.address.url, True)
            if healthy == endpoint.standing.healthy:
                continue
            if self.ejector.probed(endpoint.standing, healthy, now):
                event = "endpoint.healthy" if healthy else "endpoint.sick"
                level = logging.INFO if healthy else logging.WARNING
                _events.log(level, event, extra={"fields": self._named(endpoint)})
        self._tell_panic()

    def _look(self, now: float) -> None:
        """End holds that are over, look for outliers."""
        out = [endpoint for endpoint in self.endpoints if endpoint.standing.ejected]
        self.ejector.tick(now, random())
        for endpoint in self.endpoints:
            if endpoint.standing.ejected and endpoint not in out:
                self._tell_out(endpoint, now)
            elif endpoint in out and not endpoint.standing.ejected:
                _events.info("endpoint.returned", extra={"fields": self._named(endpoint)})
        self._tell_panic()

    def _tell_out(self, endpoint: Endpoint, now: float) -> None:
        standing = endpoint.standing
        fields = self._named(endpoint)
        fields |= {"why": standing.why, "hold": standing.until - now}
        _events.warning("endpoint.ejected", extra={"fields": fields})

    def _tell_panic(self) -> None:
        panic = self.ejector.panic
        if panic == self._panic:
            return
        self._panic = panic
        fields: dict[str, object] = {"upstream": self.name, "out": self.ejector.out}
        fields["of"] = len(self.endpoints)
        level = logging.WARNING if panic else logging.INFO
        event = "upstream.panic" if panic else "upstream.calm"
        _events.log(level, event, extra={"fields": fields})

    def _named(self, endpoint: Endpoint) -> dict[str, object]:
        return {"upstream": self.name, "endpoint": endpoint.name}

    # What an operator and the control process say.

    def force(self, mode: Mode, until: float = inf) -> None:
        """Force the breaker open or closed until the monotonic instant *until*, or let it be.

        One that the file gives no breaker is never refused, so it can be forced open alone.
        """
        self._forced_open = mode == "forced_open"
        if self.circuit is not None:
            self.circuit.force(mode, until)
        self._hang_door()

    def drain(self, whole: bool, urls: Collection[str] = ()) -> None:
        """Make no new attempt, at all or at the endpoints with these *urls*; what runs goes on."""
        urls = {url.rstrip("/") for url in urls}
        out = [each for each in self.endpoints if each.address.url.rstrip("/") in urls]
        drained = whole or len(out) == len(self.endpoints)
        if drained != self.drained:
            self._tell_drained({"upstream": self.name}, drained)
        for endpoint in self.endpoints:
            if (endpoint in out) != endpoint.standing.drained:
                self._tell_drained(self._named(endpoint), endpoint in out)
            endpoint.drain(drained or endpoint in out)
        self.drained = drained
        # Where all are out the door is shut; who has passed it still finds an endpoint.
        out = [] if drained else out
        self.ejector.drain([each.standing for each in out], monotonic())
        self._hang_door()

    def _tell_drained(self, fields: dict[str, object], drained: bool) -> None:
        noun = "endpoint" if "endpoint" in fields else "upstream"
        level = logging.WARNING if drained else logging.INFO
        word = "drained" if drained else "returned"
        _events.log(level, f"{noun}.{word}", extra={"fields": fields})

    def _hang_door(self) -> None:
        if self.drained:
            self.door = Shut(self.name, "drained")
        elif self.circuit is None and self._forced_open:
            self.door = Shut(self.name, "breaker")
        else:
            self.door = self.circuit

    def status(self) -> dict[str, Any]:
        """Return small numbers for the health check and the console."""
        now = monotonic()
        told: dict[str, Any] = {
            "inflight": self.inflight,
            "waiting": self.places.bulkhead.waiting,
            "ok": self.succeeded,
            "failed": self.failed,
            "last_error": self.last_error,
            "connections": sum(endpoint.connections for endpoint in self.endpoints),
        }
        if self.adapting is not None:
            told["places"] = self.adapting.limit.limit
        if self.circuit is not None:
            told["breaker"] = self.circuit.status(now)
        out = {e.name: _why_out(e) for e in self.endpoints if not e.takes_part}
        if out:
            told["out"] = out
        if self.drained:
            told["drained"] = True
        if self.ejector.panic:
            told["panic"] = True
        if self.guests is not None:
            guard = self.guests.guard
            told["guests"] = {
                "inflight": guard.places.inflight,
                "waiting": guard.places.waiting,
                "limit": guard.places.limit,
            }
        return told

    # Life.

    def sweep(self, now: float) -> None:
        """Close connections that have idled too long, and look who is out; *now*: loop time."""
        for endpoint in self.endpoints:
            endpoint.sweep(now)
        if now - self._looked >= _LOOK:
            self._looked = now
            if self.several:
                self._look(monotonic())

    def retire(self) -> None:
        """Take nothing new: the configuration no longer has this upstream."""
        for endpoint in self.endpoints:
            endpoint.retire()

    def close(self) -> None:
        """Drop everything."""
        for endpoint in self.endpoints:
            endpoint.close()


def _why_out(endpoint: Endpoint) -> str:
    standing = endpoint.standing
    return "drained" if standing.drained else standing.why or "probe"
