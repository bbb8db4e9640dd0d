# SPDX-License-Identifier: Apache-2.0
"""What charts and tables are drawn from: the last half hour, worst first."""

from __future__ import annotations

import pytest

from strangler.exchange.counting import Counts
from strangler.observe import observed
from strangler.observe.counters import FINE, LAYOUT
from strangler.observe.history import SITE, STEPS, History
from strangler.observe.lanes import Lane, Reader, create
from strangler.observe.numbers import ArmNumbers, Totals


class Site:
    """Counts and their sums, with a clock of its own."""

    def __init__(self) -> None:
        fd = create()
        self.now = 100.0
        self.counts = Counts(Lane(fd))
        self.totals = Totals(Reader([fd]), lambda: self.now)

    def end(self, route: str, good: int, bad: int = 0, target: str = "service") -> None:
        for status in [200] * good + [502] * bad:
            self.counts.arm(route, target).ended(
                status, duration=0.2, start=0.1, sent=100, received=0, error="", rung=None,
                failure="",
            )  # fmt: skip

    def recent(self) -> dict[str, dict[str, ArmNumbers]]:
        self.now += 10
        self.totals.tick()
        return {route: dict(arms) for route, arms in self.totals.recent(9).items()}


def test_a_step_is_rate_errors_and_percentile() -> None:
    site, history = Site(), History()
    site.end("/a", 30, 10)
    site.end("/a", 20, target="legacy")
    history.step(site.recent(), 1000.0)
    history.step(site.recent(), 1010.0)
    told = history.read("/a")
    assert told["rate"] == [6.0, 0.0]
    assert (told["legacy"], told["failed"]) == ([2.0, 0.0], [1.0, 0.0])
    assert told["errors"] == [pytest.approx(10 / 60, abs=1e-4), 0.0]
    assert told["p95_ms"][0] == pytest.approx(100, rel=0.1)
    assert told["ended"] == 1010.0
    assert history.read(SITE)["rate"] == [6.0, 0.0]
    assert history.read("/silent")["rate"] == [0.0, 0.0]
    assert history.read("/a", steps=1)["rate"] == [0.0]


def test_a_ring_forgets_what_is_older_than_it_is_long() -> None:
    site, history = Site(), History()
    site.end("/a", 10)
    history.step(site.recent(), 0.0)
    for _ in range(STEPS - 1):
        history.step({}, 0.0)
    assert history.read("/a")["rate"] == [1.0] + [0.0] * (STEPS - 1)
    history.step({}, 0.0)
    assert history.read("/a")["rate"] == [0.0] * STEPS
    for _ in range(3 * STEPS):
        history.step({}, 0.0)
    site.end("/a", 20)
    history.step(site.recent(), 0.0)
    assert history.read("/a")["rate"] == [0.0] * (STEPS - 1) + [2.0]


def test_the_worst_route_comes_first() -> None:
    site = Site()
    site.end("/silent-but-broken", 0, 2)
    site.end("/busy", 900, 20)
    site.end("/well", 5000)
    site.recent()
    told = observed.observed(site.totals, 10)
    assert list(told["routes"]) == ["/busy", "/silent-but-broken", "/well"]
    assert told["site"]["requests"] == 5922
    busy = told["routes"]["/busy"]
    assert busy["badness"] == pytest.approx(2.0, rel=0.01)
    assert busy["service"]["statuses"] == {"2xx": 900, "5xx": 20}
    assert busy["service"]["rate"] == pytest.approx(92)
    assert busy["service"]["p95_ms"] == pytest.approx(100, rel=0.1)
    assert "legacy" not in busy


def test_usual_leaves_out_what_is_new() -> None:
    history = History()
    assert history.usual_p95() is None
    for step in range(20):
        row = [0] * LAYOUT.width
        row[LAYOUT.first["strangler_response_start_seconds"] + (90 if step >= 14 else 40)] = 100
        history.step({"/a": {"service": ArmNumbers(row)}}, 10.0 * step)
    usual = history.usual_p95()
    assert usual is not None and usual == pytest.approx(FINE[40], rel=0.1)


def test_a_failure_with_a_name_and_a_5xx_are_one_and_a_clients_is_none() -> None:
    row = [0] * LAYOUT.width
    row[LAYOUT.place("strangler_requests_total", status="502")] = 10
    row[LAYOUT.place("strangler_failures_total", error="connection_refused")] = 10
    row[LAYOUT.place("strangler_failures_total", error="client_aborted")] = 50
    assert ArmNumbers(row).failed == 10
