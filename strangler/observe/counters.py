# SPDX-License-Identifier: Apache-2.0
"""The one table of everything that is counted: name, kind, labels, meaning.

What is exported, what the console shows and what docs/metrics.md says come from `COUNTERS`. A
label has a closed set of values, or is a name that routes.yaml gives (a route's key, an
upstream's name): never a path, a client or anything else that a request may choose (pain 50).

A counter with a family lives in the workers' shared memory (`observe.lanes`): a row of a family is
a fixed run of 64-bit numbers, and `Layout` says which place is what. Counters without a family are
told by the processes themselves when they are asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import Final, Literal

from strangler.errors import PROXY_ERRORS

Kind = Literal["counter", "gauge", "histogram"]

STATUSES: Final = (
    *("none", "101", "200", "201", "202", "204", "206", "301", "302", "303", "304", "307", "308"),
    *("400", "401", "403", "404", "405", "408", "409", "410", "411", "412", "413", "414", "415"),
    *("416", "417", "421", "422", "429", "431", "500", "501", "502", "503", "504", "505", "508"),
    *("1xx", "2xx", "3xx", "4xx", "5xx"),
)
"""Codes that are counted apart, then the others of each class; none: the client left before."""
FAILURES: Final = (*PROXY_ERRORS, "client_aborted", "http_request_error", "other")
"""RFC 9209 §2.3 names, then what a client did."""
RUNGS: Final = ("stale", "legacy", "archive", "upstream", "page")
WHYS: Final = (
    *("connect", "timeout", "incomplete", "breaker", "busy", "4xx", "5xx"),
    *("drained", "stale_only", "archive_only", "other"),
)
"""Why a rung answered: the words of `fallback.when`, and of operators; statuses by their class."""
CACHED: Final = ("edge", "shared", "archive", "stale", "confirmed", "miss", "pass", "bypass")
SPANS: Final = ("exported", "dropped", "failed")
BREAKERS: Final = ("closed", "half_open", "open")
STAGES: Final = ("legacy", "shadow", "canary", "live", "sealed", "retired", "none")
"""A route's stage; none: a redirect, a page or gone."""
LET_GO: Final = ("crawler", "low", "reader", "high")
"""Whose requests are let go when a worker is short, in this order; copies go before them."""
SHADOWED: Final = ("equal", "mismatch", "failed", "dropped")
"""What became of a shadow: compared and equal or not, no answer, or never sent."""

_DECADE: Final = (
    *(1.0, 1.1, 1.2, 1.35, 1.5, 1.65, 1.8, 2.0, 2.2, 2.4, 2.7, 3.0),
    *(3.3, 3.6, 4.0, 4.4, 5.0, 5.5, 6.0, 6.6, 7.5, 8.2, 9.1),
)


def _decades(first: int, last: int) -> tuple[float, ...]:
    bounds = [float(f"{step}e{power}") for power in range(first, last) for step in _DECADE]
    return (*bounds, float(f"1e{last}"))


FINE: Final = _decades(-4, 2)
"""Upper bounds in seconds, 0.1 ms to 100 s, each about a tenth above the one before: fine enough
for a gate that compares percentiles."""
SHOWN: Final = (
    *(0.001, 0.0022, 0.005, 0.01, 0.022, 0.05, 0.075, 0.1, 0.15, 0.22, 0.3, 0.5, 0.75),
    *(1.0, 2.2, 5.0, 10.0, 22.0, 50.0, 100.0),
)
"""The bounds that are exported, a part of `FINE`."""
COARSE: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0),
)
"""Upper bounds in seconds of how long a whole exchange took."""

_NONE: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One line of the table.

    name: as exported, `strangler_<noun>_<unit>` with `_total` where it only rises · family: the
    rows it is part of, with that family's labels; empty: told, not counted in rows · labels: its
    own, each with all its values; () for names that routes.yaml or the site's size gives ·
    bounds: of a histogram, in seconds · shown: the bounds that are exported, where not all ·
    scale: what a number in memory is to be multiplied by.
    """

    name: str
    kind: Kind = "counter"
    family: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)
    bounds: tuple[float, ...] = ()
    shown: tuple[float, ...] = ()
    scale: float = 1.0
    doc: str

    @property
    def width(self) -> int:
        """Return the places it takes in a row; a histogram's last two are above all, and sum."""
        if self.kind == "histogram":
            return len(self.bounds) + 2
        places = 1
        for values in self.labels.values():
            places *= len(values)
        return places

    def sets(self) -> Iterator[dict[str, str]]:
        """Yield the label sets in the order of their places."""
        for values in product(*self.labels.values()):
            yield dict(zip(self.labels, values, strict=True))


FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "arm": ("route", "target"),
    "shadow": ("route",),
    "refused": (),
    "upstream": ("upstream",),
    "tier": ("tier",),
    "tracing": (),
}
"""The labels that all counters of a family carry."""

TARGETS: Final = ("legacy", "service", "edge")
"""Whom an exchange was decided for; edge: a redirect, a page or gone, which has no upstream."""

COUNTERS: Final[tuple[Counter, ...]] = (
    Counter(
        name="strangler_requests_total",
        family="arm",
        labels={"status": STATUSES},
        doc="Exchanges that ended, by the status that the reader got.",
    ),
    Counter(
        name="strangler_unwell_requests_total",
        family="arm",
        doc="Exchanges in which the decided target failed: a 5xx other than 501 and 505, an answer"
        " that broke off or never came, or a fallback in its place. Each once; what a client"
        " did, or an operator ordered (a fault, a drain), is not among them.",
    ),
    Counter(
        name="strangler_failures_total",
        family="arm",
        labels={"error": FAILURES},
        doc="Exchanges that ended with an error, by its RFC 9209 name; client_aborted and"
        " http_request_error are the client's doing.",
    ),
    Counter(
        name="strangler_response_start_seconds",
        kind="histogram",
        family="arm",
        bounds=FINE,
        shown=SHOWN,
        scale=1e-6,
        doc="From the complete request head to the head of the answer that had to be fetched, or"
        " to giving up. Hits are not among it.",
    ),
    Counter(
        name="strangler_exchange_seconds",
        kind="histogram",
        family="arm",
        bounds=COARSE,
        scale=1e-6,
        doc="From the complete request head to the last byte given to the reader's connection,"
        " hits included; tunnels are not among it.",
    ),
    Counter(
        name="strangler_sent_bytes_total",
        family="arm",
        doc="Bytes of response bodies sent to readers.",
    ),
    Counter(
        name="strangler_received_bytes_total",
        family="arm",
        doc="Bytes of request bodies received from readers.",
    ),
    Counter(
        name="strangler_fallbacks_total",
        family="arm",
        labels={"rung": RUNGS, "why": WHYS},
        doc="Exchanges that a rung of the ladder answered, by the rung and by what had failed.",
    ),
    Counter(
        name="strangler_cache_answers_total",
        family="arm",
        labels={"outcome": CACHED},
        doc="Exchanges of routes that cache, by where the answer came from: a tier's hit, a stale"
        " copy, a stale copy that a 304 confirmed, a miss, a pass (may not be kept) or a bypass"
        " (none of the cache's business).",
    ),
    Counter(
        name="strangler_cache_collapsed_total",
        family="arm",
        doc="Exchanges that shared the fetch of another.",
    ),
    Counter(
        name="strangler_inflight_requests",
        kind="gauge",
        family="arm",
        doc="Exchanges under way; looked at once a second.",
    ),
    Counter(
        name="strangler_shadows_total",
        family="shadow",
        labels={"outcome": SHADOWED},
        doc="Copies of requests to the other side, never part of a reader's figures.",
    ),
    Counter(
        name="strangler_shadow_seconds",
        kind="histogram",
        family="shadow",
        bounds=COARSE,
        scale=1e-6,
        doc="From the sending of a copy to its whole answer.",
    ),
    Counter(
        name="strangler_refused_requests_total",
        family="refused",
        labels={"status": STATUSES},
        doc="Requests that were refused before they had a route.",
    ),
    Counter(
        name="strangler_shed_requests_total",
        family="refused",
        labels={"priority": LET_GO},
        doc="Requests that were let go because the worker was short of time or room.",
    ),
    Counter(
        name="strangler_upstream_fetches_total",
        family="upstream",
        labels={"outcome": ("ok", "failed")},
        doc="Fetches from an upstream, whoever they were for: ok has any status, failed has none.",
    ),
    Counter(
        name="strangler_upstream_inflight_fetches",
        kind="gauge",
        family="upstream",
        doc="Fetches under way.",
    ),
    Counter(
        name="strangler_upstream_waiting_fetches",
        kind="gauge",
        family="upstream",
        doc="Fetches that wait for a place.",
    ),
    Counter(
        name="strangler_upstream_connections",
        kind="gauge",
        family="upstream",
        doc="Open connections to an upstream, idle ones included.",
    ),
    Counter(
        name="strangler_upstream_endpoints_out",
        kind="gauge",
        family="upstream",
        doc="Endpoints that take no part, ejected or found sick, added up over workers.",
    ),
    Counter(
        name="strangler_tier_down_workers",
        kind="gauge",
        family="tier",
        doc="Workers that cannot use a store of the cache.",
    ),
    Counter(
        name="strangler_tier_used_bytes",
        kind="gauge",
        family="tier",
        doc="Bytes that the edge tier holds, all workers'.",
    ),
    Counter(
        name="strangler_tier_size_bytes",
        kind="gauge",
        family="tier",
        doc="Bytes that the edge tier may hold, all workers'.",
    ),
    Counter(
        name="strangler_tier_keys",
        kind="gauge",
        family="tier",
        doc="Keys that the edge tier holds, all workers'.",
    ),
    Counter(
        name="strangler_reader_connections",
        kind="gauge",
        labels={"process": ()},
        doc="Open connections of readers.",
    ),
    Counter(
        name="strangler_lost_log_lines_total",
        labels={"process": ()},
        doc="Lines of the access log that were dropped because the disk or pipe did not keep up.",
    ),
    Counter(
        name="strangler_trace_spans_total",
        family="tracing",
        labels={"outcome": SPANS},
        doc="Spans of sampled exchanges: taken by the collector, dropped since too many waited, or"
        " given up.",
    ),
    Counter(
        name="strangler_build_info",
        kind="gauge",
        labels={"version": ()},
        doc="1; the version that runs.",
    ),
    Counter(
        name="strangler_config_generation",
        kind="gauge",
        doc="How often a configuration was accepted.",
    ),
    Counter(
        name="strangler_config_info",
        kind="gauge",
        labels={"hash": ()},
        doc="1; the first digits of the hash of the configuration in force: proxies agree where"
        " it is the same.",
    ),
    Counter(
        name="strangler_config_rejected",
        kind="gauge",
        doc="1 where the last edit of routes.yaml was rejected and the former goes on, else 0.",
    ),
    Counter(
        name="strangler_routes",
        kind="gauge",
        labels={"stage": STAGES},
        doc="Routes by the stage in force.",
    ),
    Counter(
        name="strangler_overrides",
        kind="gauge",
        labels={"kind": ()},
        doc="Overrides in force, by kind; none where there are none.",
    ),
    Counter(
        name="strangler_breaker_state",
        kind="gauge",
        labels={"breaker": (), "state": BREAKERS},
        doc="Workers in which a breaker is in that state; the breaker of an upstream has its name,"
        " a route's own is `route` and its key.",
    ),
    Counter(
        name="strangler_workers",
        kind="gauge",
        labels={"state": ("ready", "behind", "silent", "draining")},
        doc="Workers: ready serve the configuration in force, behind another one; silent have"
        " said nothing for 5 s.",
    ),
    Counter(
        name="strangler_worker_lag_seconds",
        kind="gauge",
        labels={"process": ()},
        doc="How late a timer came last: what every connection of that worker waits besides its"
        " own time.",
    ),
    Counter(
        name="strangler_process_started_timestamp_seconds",
        kind="gauge",
        labels={"process": ()},
        doc="When a process began, in Unix seconds; a process is `control`, `worker 1` and so on.",
    ),
    Counter(
        name="strangler_process_resident_bytes",
        kind="gauge",
        labels={"process": ()},
        doc="Resident memory.",
    ),
    Counter(
        name="strangler_process_open_files",
        kind="gauge",
        labels={"process": ()},
        doc="Open descriptors.",
    ),
    Counter(
        name="strangler_process_cpu_seconds_total",
        labels={"process": ()},
        doc="CPU time; begins anew with the process.",
    ),
)

STATUS: Final[Mapping[int, str]] = {int(code): code for code in STATUSES if code.isdigit()}


def status_word(status: int) -> str:
    """Return the label of a status: itself, or its class where it is not counted apart."""
    if status == 0:
        return "none"
    return STATUS.get(status) or f"{min(max(status // 100, 1), 5)}xx"


class Layout:
    """Where in a row of each family which counter lies."""

    def __init__(self, counters: tuple[Counter, ...] = COUNTERS) -> None:
        """Lay out *counters*, in their order."""
        self.counters = counters
        self.first: dict[str, int] = {}
        """By a counter's name: its first place."""
        widths = dict.fromkeys(FAMILIES, 0)
        self.gauges: dict[str, tuple[int, ...]] = dict.fromkeys(FAMILIES, ())
        for one in counters:
            if not one.family:
                continue
            start = self.first[one.name] = widths[one.family]
            widths[one.family] = start + one.width
            if one.kind == "gauge":
                self.gauges[one.family] += tuple(range(start, start + one.width))
        self.width = max(widths.values())
        """Places of the widest family: all rows are as wide."""
        told = repr([(one.name, one.family, one.labels, one.bounds) for one in counters])
        self.digest = hashlib.sha256(told.encode()).digest()[:8]

    def place(self, name: str, **labels: str) -> int:
        """Return the place of one label set of the counter *name*. Raises KeyError, ValueError."""
        [counter] = [one for one in self.counters if one.name == name]
        if labels.keys() != counter.labels.keys():
            raise ValueError(f"{name}: expected the labels {', '.join(counter.labels)}")
        place = 0
        for label, values in counter.labels.items():
            place = place * len(values) + values.index(labels[label])
        return self.first[name] + place


LAYOUT: Final = Layout()
