# SPDX-License-Identifier: Apache-2.0
"""Count exchanges as they end, for the target that each was decided for.

An `Arm` is one target of one route. It outlives snapshots: who keeps it is `Counts`, one a worker.
Its row of numbers is made when the first exchange needs it, so that a thousand silent routes cost
nothing. Counting a whole exchange takes about 0.7 us; a hit that needs no decision only raises one
number, and is added up later by `Counts.settle`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from strangler.exchange.caching.tally import Tally
from strangler.observe.counters import (
    CACHED,
    COARSE,
    FAILURES,
    FINE,
    LAYOUT,
    LET_GO,
    RUNGS,
    SHADOWED,
    SPANS,
    WHYS,
    status_word,
)
from strangler.observe.lanes import Lane, Numbers
from strangler.resilience.failure import is_failure
from strangler.resilience.policy import FAILURE_WORDS, Rung

if TYPE_CHECKING:
    from strangler.exchange.caching.copies import Copies
    from strangler.exchange.caching.ready import Ready
    from strangler.upstream import Upstream

_STATUSES: Final = tuple(
    LAYOUT.place("strangler_requests_total", status=status_word(status)) for status in range(1000)
)
_REFUSED: Final = tuple(
    LAYOUT.place("strangler_refused_requests_total", status=status_word(status))
    for status in range(1000)
)
_SHED: Final = {
    word: LAYOUT.place("strangler_shed_requests_total", priority=word) for word in LET_GO
}
_UNWELL: Final = LAYOUT.place("strangler_unwell_requests_total")
_FAILURES: Final = {word: LAYOUT.place("strangler_failures_total", error=word) for word in FAILURES}
_OTHER: Final = _FAILURES["other"]
_START: Final = LAYOUT.first["strangler_response_start_seconds"]
_START_SUM: Final = _START + len(FINE) + 1
_TOOK: Final = LAYOUT.first["strangler_exchange_seconds"]
_TOOK_SUM: Final = _TOOK + len(COARSE) + 1
_SENT: Final = LAYOUT.place("strangler_sent_bytes_total")
_RECEIVED: Final = LAYOUT.place("strangler_received_bytes_total")
_FALLEN: Final = {
    (rung, why): LAYOUT.place("strangler_fallbacks_total", rung=rung, why=why)
    for rung in RUNGS
    for why in WHYS
}
_CACHED: Final = {
    word: LAYOUT.place("strangler_cache_answers_total", outcome=word) for word in CACHED
}
_HIT: Final = _CACHED["edge"]
_COLLAPSED: Final = LAYOUT.place("strangler_cache_collapsed_total")
_SHADOWED: Final = {
    word: LAYOUT.place("strangler_shadows_total", outcome=word) for word in SHADOWED
}
_COPY: Final = LAYOUT.first["strangler_shadow_seconds"]
_COPY_SUM: Final = _COPY + len(COARSE) + 1
_INFLIGHT: Final = LAYOUT.place("strangler_inflight_requests")
_FETCHED: Final = tuple(
    LAYOUT.place("strangler_upstream_fetches_total", outcome=word) for word in ("ok", "failed")
)
_FETCHING: Final = LAYOUT.place("strangler_upstream_inflight_fetches")
_WAITING: Final = LAYOUT.place("strangler_upstream_waiting_fetches")
_CONNECTIONS: Final = LAYOUT.place("strangler_upstream_connections")
_OUT: Final = LAYOUT.place("strangler_upstream_endpoints_out")
_DOWN: Final = LAYOUT.place("strangler_tier_down_workers")
_USED: Final = LAYOUT.place("strangler_tier_used_bytes")
_SIZE: Final = LAYOUT.place("strangler_tier_size_bytes")
_KEYS: Final = LAYOUT.place("strangler_tier_keys")
_SPANS: Final = {word: LAYOUT.place("strangler_trace_spans_total", outcome=word) for word in SPANS}
_CLIENTS: Final = frozenset(("client_aborted", "http_request_error"))
#: Copies with hits of their own that are waited for before they are added up.
_MOST_HOT: Final = 256


class Arm:
    """What one target of one route did, in this worker's lane."""

    __slots__ = ("_lane", "route", "row", "target")

    def __init__(self, lane: Lane, route: str, target: str) -> None:
        self._lane = lane
        self.route = route
        self.target = target
        self.row: Numbers | None = None

    def open(self) -> Numbers:
        """Return its numbers, from now on there."""
        row = self.row
        if row is None:
            row = self.row = self._lane.row("arm", self.route, self.target)
        return row

    def ended(
        self,
        status: int,
        *,
        duration: float,
        start: float,
        sent: int,
        received: int,
        error: str,
        rung: Rung | None,
        failure: int | str,
        ordered: bool = False,
    ) -> None:
        """Count an exchange that has ended, in seconds and bytes.

        start: seconds until the head of an answer that had to be fetched; 0 where none was
        fetched · error: a word of the log, empty where all went well · rung, failure: who
        answered in the target's stead, and why; else None and "" · ordered: an operator has kept
        the target from answering as it would have, which says nothing of how it fares.
        """
        row = self.row
        if row is None:
            row = self.open()
        row[_STATUSES[status]] += 1
        if status != 101:
            row[_TOOK + bisect_left(COARSE, duration)] += 1
            row[_TOOK_SUM] += int(duration * 1e6)
        if start and not ordered:
            row[_START + bisect_left(FINE, start)] += 1
            row[_START_SUM] += int(start * 1e6)
        if sent:
            row[_SENT] += sent
        if received:
            row[_RECEIVED] += received
        if error or rung is not None or status >= 500:
            unwell = self._badly(row, status, error, rung, failure)
            if unwell and not ordered:
                row[_UNWELL] += 1

    def _badly(
        self, row: Numbers, status: int, error: str, rung: Rung | None, failure: int | str
    ) -> bool:
        """Count what went wrong; tell whether the target is to blame."""
        unwell = False
        if error:
            row[_FAILURES.get(error, _OTHER)] += 1
            unwell = error in _FAILURES and error not in _CLIENTS
        if rung is not None:
            row[_FALLEN[rung.kind, _why(failure)]] += 1
            # What an operator has chosen says nothing of how the target fares.
            unwell = unwell or failure in FAILURE_WORDS or _sick(failure)
        return unwell or (status >= 500 and is_failure(status))

    def cached(self, word: str) -> None:
        """Count what the cache made of an exchange, a word of `CACHED`."""
        self.open()[_CACHED[word]] += 1

    def collapsed(self) -> None:
        """Count an exchange that shared another's fetch."""
        self.open()[_COLLAPSED] += 1

    def hits(self, status: int, count: int, length: int) -> None:
        """Count *count* hits of a copy whose content has *length* bytes."""
        row = self.open()
        row[_STATUSES[status]] += count
        row[_HIT] += count
        row[_SENT] += count * length
        row[_TOOK] += count


def _sick(failure: int | str) -> bool:
    return isinstance(failure, int) and is_failure(failure)


def _why(failure: int | str) -> str:
    if isinstance(failure, int):
        return "5xx" if failure >= 500 else "4xx" if failure >= 400 else "other"
    return failure if failure in WHYS else "other"


class Counts:
    """All that one worker counts, whatever the generation."""

    def __init__(self, lane: Lane | None = None) -> None:
        """Count in *lane*; None: in memory of our own."""
        self.lane = lane if lane is not None else Lane()
        self.tallies: dict[str, Tally] = {}
        """What became of each route's requests at the cache, with the reasons."""
        self.hits = 0
        """Hits that needed no decision, as far as they have been added up."""
        self._arms: dict[tuple[str, str], Arm] = {}
        self._hot: list[tuple[Ready, Tally]] = []
        self._refused: Numbers | None = None
        self._busy: list[Arm] = []
        self._fetched: dict[Upstream, tuple[int, int]] = {}

    def arm(self, route: str, target: str) -> Arm:
        """Return the arm of a route and a target, the same one every time."""
        arm = self._arms.get((route, target))
        if arm is None:
            arm = self._arms[route, target] = Arm(self.lane, route, target)
        return arm

    def refused(self, status: int) -> None:
        """Count a request that never had a route."""
        row = self._refused
        if row is None:
            row = self._refused = self.lane.row("refused")
        row[_REFUSED[status]] += 1

    def shed(self, priority: str) -> None:
        """Count a request that was let go, a word of `LET_GO`."""
        self.lane.row("refused")[_SHED[priority]] += 1

    def shadow(self, route: str, outcome: str, seconds: float | None = None) -> None:
        """Count what became of a copy, a word of `SHADOWED`, and how long its answer took."""
        row = self.lane.row("shadow", route)
        row[_SHADOWED[outcome]] += 1
        if seconds is not None:
            row[_COPY + bisect_left(COARSE, seconds)] += 1
            row[_COPY_SUM] += int(seconds * 1e6)

    def spans(self, outcome: str, number: int) -> None:
        """Count spans, whose threads are others than the rest of this."""
        self.lane.row("tracing")[_SPANS[outcome]] += number

    def first_hit(self, ready: Ready, arm: Arm, tally: Tally) -> None:
        """Count the first hit of a copy since it was added up; the next ones it counts itself."""
        if ready.arm is not None or len(self._hot) >= _MOST_HOT:
            self.settle()
        ready.arm = arm
        ready.hits = 1
        self._hot.append((ready, tally))

    def settle(self) -> None:
        """Add up the hits that copies have counted by themselves."""
        hot, self._hot = self._hot, []
        for ready, tally in hot:
            arm, ready.arm = ready.arm, None
            if arm is not None:
                stored = ready.stored
                arm.hits(stored.status, ready.hits, stored.length)
                tally.edge += ready.hits
                self.hits += ready.hits

    def under_way(self, arms: Iterable[Arm]) -> None:
        """Say which arms have exchanges under way, each as often as it has."""
        for arm in self._busy:
            arm.open()[_INFLIGHT] = 0
        self._busy = []
        for arm in arms:
            row = arm.open()
            row[_INFLIGHT] += 1
            if row[_INFLIGHT] == 1:
                self._busy.append(arm)

    def look(self, upstreams: Iterable[Upstream], copies: Copies) -> None:
        """Take down how upstreams and tiers are now."""
        before, self._fetched = self._fetched, {}
        for upstream in upstreams:
            row = self.lane.row("upstream", upstream.name)
            now = self._fetched[upstream] = (upstream.succeeded, upstream.failed)
            for place, number, counted in zip(
                _FETCHED, now, before.get(upstream, (0, 0)), strict=True
            ):
                row[place] += number - counted
            row[_FETCHING] = upstream.inflight
            row[_WAITING] = upstream.places.bulkhead.waiting
            row[_CONNECTIONS] = sum(endpoint.connections for endpoint in upstream.endpoints)
            row[_OUT] = sum(not endpoint.takes_part for endpoint in upstream.endpoints)
        memory = copies.memory
        if len(memory) or copies.ladder.edge is not None:
            row = self.lane.row("tier", "edge")
            row[_USED], row[_SIZE], row[_KEYS] = memory.used, memory.size, len(memory)
        for name, tier in copies.below:
            row = self.lane.row("tier", name)
            row[_DOWN] = not tier.up
