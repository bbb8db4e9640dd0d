# SPDX-License-Identifier: Apache-2.0
"""A snapshot made ready to serve: for each route what is the same for every request.

A `View` is built once a generation and swapped whole; an exchange keeps the plan it began with,
so an edit never touches a request in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from strangler.cache.key import Keying
from strangler.cache.policy import CachePolicy
from strangler.clock import Ticker, Waits
from strangler.config.snapshot import FieldEdits, Network, Route, Snapshot
from strangler.exchange.caching.tally import Tally
from strangler.exchange.counting import Arm, Counts
from strangler.exchange.fetching.contract import Fetching
from strangler.exchange.fetching.faults import Faulty
from strangler.exchange.fetching.fetch import FOR_EVER, Terms
from strangler.exchange.fetching.hedging import Hedged
from strangler.exchange.overridden import (
    Detour,
    Maintenance,
    Overridden,
    hold,
    ladder_under,
    on_route,
)
from strangler.migrate.policy import Compare
from strangler.resilience.chaos import Fault
from strangler.resilience.deadline import Deadline
from strangler.resilience.dependence import Dependence
from strangler.resilience.hedge import Latency
from strangler.resilience.policy import Breaker, Failures, Fallback, Rung
from strangler.resilience.protection import Kind
from strangler.resilience.shed import NORMAL, ROUTES, Priority
from strangler.rollout import Decision, Overrides, Stage, canary_salt, decide, shadow_salt
from strangler.rollout.asset import ABSENT, is_fingerprinted
from strangler.rollout.decision import overridden
from strangler.rollout.override import scope_of
from strangler.routing import Table
from strangler.upstream import Circuit, Gate, Places, Shut, Upstream
from strangler.upstream.places import Entrant, no_place
from strangler.upstream.upstream import TimeLimits
from strangler.wire.head import RequestHead
from strangler.wire.request import Edits

#: Share of the head's limit at which its nearness is told: a migration must not meet the limit.
_NEAR: Final = 0.7
_NO_EDITS: Final = FieldEdits()
#: What operators have chosen where they have chosen nothing.
NO_OVERRIDES: Final = Overrides()
_ABSENT: Final = Failures(frozenset(), ABSENT)
_READING: Final = frozenset((b"GET", b"HEAD"))
#: Routes whose dependence on legacy a status tells: a message to control has 64 KiB.
_MOST_TOLD: Final = 100


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class Copying:
    """What is copied to the other side: *share* of the safe requests, in hundredths of a percent.

    salt: what a request's bucket is hashed with, another than a canary's.
    """

    share: int
    salt: str
    policy: Compare


class Standing:
    """What a route keeps from one generation to the next: its breaker, its places, its meter.

    Each is None where the route has none of its own; the meter runs while the route is live.
    ``latencies``, by upstream, are there where the route hedges.
    """

    __slots__ = ("circuit", "latencies", "meter", "places")

    def __init__(self, circuit: Circuit | None, places: Places | None) -> None:
        self.circuit = circuit
        self.places = places
        self.meter: Dependence | None = None
        self.latencies: dict[str, Latency] = {}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A route at run time.

    target: the service, or legacy where there is none; what the route says of limits, Host and
    path goes for it alone · terms: of a fetch from target for a reader · limits: None: the
    upstream's own · total: seconds for the whole exchange · stage: the effective one (override,
    else file) · decision: what the stage alone decides; None for a canary, which needs a bucket ·
    meter: None unless live · fallback: None where the ladder has no rung · elsewhere: by the
    upstream that lacks a fingerprinted asset, who may have it; empty where there is one side only ·
    pages: what a ladder's pages hold, by rung · legacy_arm, service_arm: where its exchanges are
    counted, by the target that they were decided for · copying: None where nothing is copied · hot:
    a fresh copy may be given without an exchange · special: `Edge` has to look at it before it
    begins (an answer of our own, an operator's fault) · detour: another way than the usual ·
    makes: what makes a reader's fetches, None: as the route says · priority: who is let go first.
    """

    route: Route
    key: str
    target: Upstream | None
    service: Upstream | None
    legacy: Upstream | None
    terms: Terms | None
    standing: Standing
    limits: TimeLimits | None
    total: float | None
    stage: Stage
    decision: Decision | None
    meter: Dependence | None
    salt: str
    most_body: int | None
    fallback: Fallback | None
    elsewhere: Mapping[Upstream, Fallback]
    rungs: Mapping[Rung, Upstream]
    pages: Mapping[Rung, bytes]
    legacy_arm: Arm
    service_arm: Arm
    request_edits: Edits | None
    response_edits: Edits | None
    cached: Cached | None = None
    page: bytes = b""
    copying: Copying | None = None
    hot: bool = False
    special: bool = False
    detour: Detour = ""
    priority: Priority = NORMAL
    fault: Fault | None = None
    maintenance: Maintenance | None = None
    makes: Callable[..., Fetching] | None = None

    def struck(self, fault: Fault) -> Plan:
        """Return the plan of one request that *fault* strikes; a cache has no part in it."""
        makes = partial(Faulty, fault=fault)
        terms = None if self.terms is None else replace(self.terms, makes=makes)
        return replace(self, terms=terms, makes=makes, detour="fault")

    def ladder(
        self, failure: int | str, head: RequestHead, decided: Upstream | None
    ) -> Fallback | None:
        """Return the ladder for *failure* of the *decided* target, None where there is none.

        What the route says goes first, but for legacy's lack: only we know of its other side.
        """
        policy = self.fallback
        if failure not in ABSENT or not self.elsewhere or head.method not in _READING:
            return policy
        listed = policy is not None and failure in policy.when
        if (listed and decided is self.service) or not is_fingerprinted(head.path):
            return policy
        return self.elsewhere.get(decided, policy) if decided is not None else policy

    def falls(self, failure: int | str, head: RequestHead, decided: Upstream) -> bool:
        """Tell whether there is a ladder for this *failure* of the *decided* target."""
        policy = self.ladder(failure, head, decided)
        return policy is not None and failure in policy.when

    def within(self, now: float) -> Deadline:
        """Return the deadline of a fetch that begins at *now* and is nobody's alone."""
        return FOR_EVER if self.total is None else Deadline.of(now, self.total)

    def terms_for(self, upstream: Upstream, kind: Kind) -> Terms:
        """Return on what terms *upstream* is asked on behalf of *kind*."""
        if upstream is self.target and kind == "live" and self.terms is not None:
            return self.terms
        route = self.route
        return Terms(
            limits=(self.limits if upstream is self.target else None) or upstream.limits,
            replay=route.body.replay,
            retry=route.retry,
            circuit=upstream.door,
            gates=upstream.gates_for(kind),
            kind=kind,
            attempt=_attempt(route, upstream, self.target),
            tokens=upstream.tokens,
            makes=self.makes or _maker(route, upstream, self.standing) if kind == "live" else None,
        )


class View:
    """Everything that an exchange needs of one generation."""

    __slots__ = (
        "_changed",
        "_snapshot",
        "_ticker",
        "any_host",
        "counts",
        "folder",
        "generation",
        "hosts",
        "limits",
        "name",
        "near",
        "overrides",
        "pages",
        "plans",
        "standings",
        "table",
        "trusted",
        "upstreams",
        "wildcards",
    )

    _snapshot: Snapshot

    def __init__(
        self,
        snapshot: Snapshot,
        upstreams: Mapping[str, Upstream],
        counts: Counts,
        *,
        ticker: Ticker,
        before: View | None = None,
        changed: Callable[[], None],
        overrides: Overrides = NO_OVERRIDES,
    ) -> None:
        former = before if before is not None and before._snapshot is snapshot else None
        self._snapshot = snapshot
        self._ticker = ticker
        self._changed = changed
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
        self.counts = counts
        self.overrides = overrides
        self.folder = Path(snapshot.root).parent
        every, keys = True, frozenset[str]()
        if former is None:
            self.pages = _pages(snapshot.routes)
        else:
            self.pages = former.pages
            every, keys = _differing(overrides, former.overrides)
        if every:
            hold(upstreams.values(), overrides)
        known = before.standings if before is not None else {}
        self.standings: dict[Hashable, Standing] = {}
        self.plans: dict[Route, Plan] = {}
        for route in snapshot.routes:
            same = _sameness(route)
            standing = known.get(same) or _standing(route, upstreams, ticker, changed)
            self.standings[same] = standing
            if former is None or every or route.key in keys:
                self.plans[route] = self._plan(route, standing)
            else:
                self.plans[route] = former.plans[route]

    def under(self, overrides: Overrides) -> View:
        """Return this generation under other *overrides*.

        Only the plans of which they say something else are made anew: whatever a route counts,
        keeps or has under way goes on.
        """
        return View(
            self._snapshot, self.upstreams, self.counts,
            ticker=self._ticker, before=self, changed=self._changed, overrides=overrides,
        )  # fmt: skip

    def _plan(self, route: Route, standing: Standing) -> Plan:
        overrides = self.overrides
        said = on_route(route, overrides, self.folder)
        return _plan(route, self.upstreams, standing, self.counts, overrides, said, self.pages)

    @property
    def shadows_stopped(self) -> bool:
        """Tell whether an operator has stopped all copies."""
        return _shadows_stopped(self.overrides)

    def serves(self, host: bytes) -> bool:
        """Tell whether *host* (lower case, no port) is one of the site's."""
        return host in self.hosts or host.endswith(self.wildcards)

    @property
    def circuits(self) -> dict[str, Circuit]:
        """Return all breakers by name: the upstreams' and the routes' own."""
        every = [upstream.circuit for upstream in self.everyone()]
        every += [standing.circuit for standing in self.standings.values()]
        return {circuit.name: circuit for circuit in every if circuit is not None}

    def turn(self) -> None:
        """Let the live routes' meters turn with the clock; call it about once a second."""
        now = monotonic()
        for standing in self.standings.values():
            if standing.meter is not None:
                standing.meter.turn(now)

    def status(self) -> dict[str, Any]:
        """Return the routes' own breakers, and how much legacy was needed by live ones."""
        now = monotonic()
        told: dict[str, Any] = {}
        breakers = {
            standing.circuit.name: standing.circuit.status(now)
            for standing in self.standings.values()
            if standing.circuit is not None
        }
        if breakers:
            told["breakers"] = breakers
        needed = sorted(
            (
                (plan.meter, plan.key)
                for plan in self.plans.values()
                if plan.meter is not None and plan.meter.saved
            ),
            key=lambda pair: -pair[0].saved,
        )
        if needed:
            told["dependence"] = {
                key: {
                    "answers": meter.answers,
                    "saved": meter.saved,
                    "last_saved": round(now - (meter.last_saved or now), 1),
                    "windows": [[r.seconds, r.answers, r.saved] for r in meter.read(now)],
                }
                for meter, key in needed[:_MOST_TOLD]
            }
        return told

    def everyone(self) -> Iterable[Upstream]:
        """Return all upstreams."""
        return self.upstreams.values()


def _differing(overrides: Overrides, former: Overrides) -> tuple[bool, frozenset[str]]:
    """Tell whether *overrides* say another thing than the *former* of all routes, or of which."""
    subjects = [scope_of(subject) for subject in overrides.differences(former)]
    keys = frozenset([name for scope, name in subjects if scope == "route"])
    return any(scope != "route" for scope, _ in subjects), keys


def _pages(routes: Iterable[Route]) -> Mapping[str, bytes]:
    """Return what the pages of *routes* hold, by path; raises OSError.

    They are read with their generation: an override changes nothing of them, and must begin and
    end whatever has become of the files since.
    """
    paths = {route.page.path for route in routes if route.page is not None}
    for route in routes:
        for ladder in (route.fallback, route.unsealed):
            if ladder is not None:
                paths |= {rung.name for rung in ladder.then if rung.kind == "page"}
    return {path: Path(path).read_bytes() for path in sorted(paths)}


def _sameness(route: Route) -> Hashable:
    """Return what has to stay the same for a route to keep its standing."""
    return (route.key, route.upstream, route.breaker, route.max_inflight)


def _standing(
    route: Route,
    upstreams: Mapping[str, Upstream],
    ticker: Ticker,
    changed: Callable[[], None],
) -> Standing:
    target = upstreams.get(route.upstream or route.legacy or "")
    circuit = places = None
    if isinstance(route.breaker, Breaker):
        circuit = Circuit(f"route {route.key}", route.breaker, changed)
    if route.max_inflight is not None and target is not None:
        definition = target.definition
        waits: Waits[Entrant] = ticker.waits(definition.timeouts.connect, no_place)
        places = Places(route.max_inflight, definition.queue, waits)
    return Standing(circuit, places)


def _stage(route: Route, overrides: Overrides) -> Stage:
    """Return the effective stage; an override that this file's route can't carry is no more."""
    stage = overrides.stage(route.key, route.stage)
    return route.stage if route.cannot_be(stage) else stage


def _meter(route: Route, stage: Stage, standing: Standing) -> Dependence | None:
    if stage.word != "live" or route.upstream is None or route.legacy is None:
        return None
    if standing.meter is None:
        standing.meter = Dependence()
    return standing.meter


def _plan(
    route: Route,
    upstreams: Mapping[str, Upstream],
    standing: Standing,
    counts: Counts,
    overrides: Overrides,
    said: Overridden,
    pages: Mapping[str, bytes],
) -> Plan:
    stage = _stage(route, overrides)
    fallback = ladder_under(route.fallback_at(stage), said.detour)
    service = upstreams[route.upstream] if route.upstream is not None else None
    legacy = upstreams[route.legacy] if route.legacy is not None else None
    target = service if service is not None else legacy
    edits = route.headers
    limits = None
    if target is not None and route.timeouts is not None:
        limits = target.time_limits(route.timeouts)
    elsewhere = _elsewhere(service, legacy, stage)
    ladders = (fallback, *elsewhere.values())
    rungs = {
        rung: upstreams[rung.name]
        for ladder in ladders
        for rung in ladder.then
        if rung.kind == "upstream"
    }
    if legacy is not None:
        rungs[Rung("legacy")] = legacy
    decision = None if stage.word == "canary" else decide(stage, None)
    if decision is not None and stage != route.stage:
        decision = overridden(decision)
    cached = None if said.bypass else _cached(route, counts.tallies)
    itself = route.action != "proxy" or said.maintenance is not None
    special = itself or said.fault is not None
    return Plan(
        route=route,
        key=route.key,
        target=target,
        service=service,
        legacy=legacy,
        terms=_terms(route, target, limits, standing, said),
        standing=standing,
        limits=limits,
        total=_total(route, target),
        stage=stage,
        decision=decision,
        meter=_meter(route, stage, standing),
        salt=canary_salt(route.canary.salted_by(route.key)),
        most_body=route.body.max,
        fallback=fallback if fallback.then else None,
        elsewhere=elsewhere,
        rungs=rungs,
        pages={rung: pages[rung.name] for rung in fallback.then if rung.kind == "page"},
        request_edits=_edits(edits.request) if edits.request != _NO_EDITS else None,
        response_edits=_edits(edits.response) if edits.response != _NO_EDITS else None,
        legacy_arm=counts.arm(route.key, "edge" if itself else "legacy"),
        service_arm=counts.arm(route.key, "service"),
        cached=cached,
        page=pages[route.page.path] if route.page is not None else b"",
        copying=None if special or said.detour else _copying(route, stage, overrides),
        hot=(
            cached is not None
            and cached.policy.uses("edge")
            and not special
            and decision is not None
            and said.detour != "archive_only"
        ),
        special=special,
        detour=said.detour,
        priority=said.priority or ROUTES[route.priority],
        fault=said.fault,
        maintenance=said.maintenance,
    )


def _elsewhere(
    service: Upstream | None, legacy: Upstream | None, stage: Stage
) -> Mapping[Upstream, Fallback]:
    """Return for each side of a route the ladder for the assets that it lacks.

    From sealed on the service has to prove that it needs nobody.
    """
    if service is None or legacy is None or stage.word in ("sealed", "retired"):
        return {}
    return {
        service: Fallback(when=_ABSENT, then=(Rung("legacy"),)),
        legacy: Fallback(when=_ABSENT, then=(Rung("upstream", service.name),)),
    }


def _terms(
    route: Route,
    target: Upstream | None,
    limits: TimeLimits | None,
    standing: Standing,
    said: Overridden,
) -> Terms | None:
    if target is None:
        return None
    own: tuple[Gate, ...] = (standing.places,) if standing.places is not None else ()
    return Terms(
        limits=limits or target.limits,
        replay=route.body.replay,
        retry=route.retry,
        circuit=_door(route, target, standing, said),
        gates=own + target.gates,
        attempt=_attempt(route, target, target),
        tokens=target.tokens,
        makes=_maker(route, target, standing),
    )


def _door(
    route: Route, target: Upstream, standing: Standing, said: Overridden
) -> Circuit | Shut | None:
    """Return what attempts ask: the route's breaker or its target's, or what an operator says."""
    mode, until = said.forced
    if standing.circuit is not None:
        standing.circuit.force(mode, until)
    if target.drained:
        return target.door
    if standing.circuit is not None:
        return standing.circuit
    if mode == "forced_open":
        return Shut(f"route {route.key}", "breaker")
    return target.door if route.breaker == "upstream" and mode == "auto" else None


def _maker(route: Route, upstream: Upstream, standing: Standing) -> Callable[..., Fetching] | None:
    """Return what makes fetches for readers, where it isn't `Fetch` alone."""
    if route.retry.hedge is None:
        return None
    latency = standing.latencies.setdefault(upstream.name, Latency())
    return partial(Hedged, latency=latency)


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


def _copying(route: Route, stage: Stage, overrides: Overrides) -> Copying | None:
    """Return what is copied of *route*'s requests; None where it has no two sides, or no share."""
    share = stage.sample if stage.word == "shadow" else route.compare.share
    if not share or stage.word not in ("shadow", "canary", "live"):
        return None
    if route.upstream is None or route.legacy is None or _shadows_stopped(overrides):
        return None
    return Copying(share=share, salt=shadow_salt(route.key), policy=route.compare)


def _shadows_stopped(overrides: Overrides) -> bool:
    return "shadows" in overrides.site


def _attempt(route: Route, upstream: Upstream, target: Upstream | None) -> float | None:
    own = route.timeouts if upstream is target else None
    return (own or upstream.definition.timeouts).attempt


def _total(route: Route, target: Upstream | None) -> float | None:
    if route.timeouts is not None:
        return route.timeouts.total
    return target.definition.timeouts.total if target is not None else None


def _edits(edits: FieldEdits) -> Edits:
    return Edits(edits.remove, edits.set)
