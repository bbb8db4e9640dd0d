# SPDX-License-Identifier: Apache-2.0
"""A snapshot made ready to serve: for each route what is the same for every request.

A `View` is built once a generation and swapped whole; an exchange keeps the plan it began with,
so an edit never touches a request in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strangler.cache.key import Keying
from strangler.cache.policy import CachePolicy
from strangler.config.snapshot import FieldEdits, Network, Route, Snapshot
from strangler.exchange.tally import Tally
from strangler.rollout import Decision, canary_salt, decide
from strangler.routing import Table
from strangler.upstream import Upstream
from strangler.upstream.upstream import TimeLimits
from strangler.wire.request import Edits

#: Share of the head's limit at which its nearness is told: a migration must not meet the limit.
_NEAR: Final = 0.7
_NO_EDITS: Final = FieldEdits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """What a route that caches needs at run time.

    route: its key as bytes, the label that it is purged by · arm: what tells the service's
    copies from legacy's · steers: a request's Cache-Control is heeded · tally: what becomes of
    its requests, whatever the generation.
    """

    policy: CachePolicy
    keying: Keying
    route: bytes
    key_name: str
    arm: bytes
    steers: bool
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A route at run time.

    target: the service, or legacy where there is none; what the route says of limits, Host and
    path goes for it alone · decision: what the stage alone decides; None for a canary, which
    needs a bucket · limits: None: the upstream's own · total: seconds for the whole exchange ·
    rescue: legacy answers when the service failed.
    """

    route: Route
    key: str
    target: Upstream | None
    service: Upstream | None
    legacy: Upstream | None
    limits: TimeLimits | None
    total: float | None
    decision: Decision | None
    salt: str
    most_body: int | None
    replay: int
    rescue: bool
    request_edits: Edits | None
    response_edits: Edits | None
    cached: Cached | None = None
    page: bytes = b""


class View:
    """Everything that an exchange needs of one generation."""

    __slots__ = (
        "any_host",
        "generation",
        "hosts",
        "limits",
        "name",
        "near",
        "plans",
        "table",
        "trusted",
        "upstreams",
        "wildcards",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        upstreams: Mapping[str, Upstream],
        tallies: dict[str, Tally] | None = None,
    ) -> None:
        self.generation = snapshot.generation
        self.table: Table[Route] = snapshot.table
        self.limits = snapshot.limits
        self.near = int(_NEAR * snapshot.limits.head)
        self.upstreams = upstreams
        self.name = snapshot.site.name
        self.trusted: tuple[Network, ...] = snapshot.site.trust_forwarded_from
        names = [host.encode() for host in snapshot.site.hosts]
        self.any_host = not names
        self.hosts = frozenset(name for name in names if not name.startswith(b"*."))
        self.wildcards = tuple(name[1:] for name in names if name.startswith(b"*."))
        counts = {} if tallies is None else tallies
        self.plans = {route: _plan(route, upstreams, counts) for route in snapshot.routes}

    def serves(self, host: bytes) -> bool:
        """Tell whether *host* (lower case, no port) is one of the site's."""
        return host in self.hosts or host.endswith(self.wildcards)

    def everyone(self) -> Iterable[Upstream]:
        """Return all upstreams."""
        return self.upstreams.values()


def _plan(route: Route, upstreams: Mapping[str, Upstream], tallies: dict[str, Tally]) -> Plan:
    service = upstreams[route.upstream] if route.upstream is not None else None
    legacy = upstreams[route.legacy] if route.legacy is not None else None
    target = service if service is not None else legacy
    canary = route.stage.word == "canary"
    then_legacy = any(rung.kind == "legacy" for rung in route.fallback.then)
    edits = route.headers
    return Plan(
        route=route,
        key=route.key,
        target=target,
        service=service,
        legacy=legacy,
        limits=target.time_limits(route.timeouts)
        if target is not None and route.timeouts is not None
        else None,
        total=_total(route, target),
        decision=None if canary else decide(route.stage, None),
        salt=canary_salt(route.canary.salted_by(route.key)),
        most_body=route.body.max,
        replay=route.body.replay,
        rescue=legacy is not None
        and legacy is not service
        and then_legacy
        and route.stage.word in ("canary", "live"),
        request_edits=_edits(edits.request) if edits.request != _NO_EDITS else None,
        response_edits=_edits(edits.response) if edits.response != _NO_EDITS else None,
        cached=_cached(route, tallies),
        page=Path(route.page.path).read_bytes() if route.page is not None else b"",
    )


def _cached(route: Route, tallies: dict[str, Tally]) -> Cached | None:
    if route.cache.mode == "none" or route.action != "proxy":
        return None
    return Cached(
        policy=route.cache,
        keying=Keying.compile(route.cache.key),
        route=route.key.encode(),
        key_name=route.key,
        arm=(route.upstream or "").encode(),
        steers=route.cache.client_steers,
        tally=tallies.setdefault(route.key, Tally()),
    )


def _total(route: Route, target: Upstream | None) -> float | None:
    if route.timeouts is not None:
        return route.timeouts.total
    return target.definition.timeouts.total if target is not None else None


def _edits(edits: FieldEdits) -> Edits:
    return Edits(edits.remove, edits.set)
