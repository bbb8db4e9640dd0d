# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads: both formats parse, promtool's lint finds nothing, the page is whole."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import openmetrics, parser
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families

from strangler.control import telling
from strangler.exchange.counting import Counts
from strangler.observe import metrics, reference
from strangler.observe.counters import COUNTERS, FAMILIES
from strangler.observe.lanes import Lane, Reader, create
from strangler.observe.numbers import Totals
from strangler.resilience.policy import Rung

ROOT = Path(__file__).parents[3]
ROUTE = 'GET /busca/** (header x-app: "ios|and\\d+")\n'
assert openmetrics


@pytest.fixture(scope="module")
def totals() -> Totals:
    fd = create()
    counts = Counts(Lane(fd))
    for target, status in (("legacy", 200), ("service", 200), ("service", 502)):
        counts.arm(ROUTE, target).ended(
            status, duration=0.3, start=0.25, sent=1000, received=10,
            error="connection_refused" if status == 502 else "",
            rung=Rung("legacy") if target == "service" else None, failure="connect",
        )  # fmt: skip
    counts.arm(ROUTE, "service").cached("miss")
    counts.arm(ROUTE, "service").collapsed()
    counts.refused(404)
    return Totals(Reader([fd]))


def told() -> metrics.Told:
    worker = {
        "lag": 0.0012,
        "started": 1.7e9,
        "connections": 3,
        "dropped_log_lines": 0,
        "pid": 1,
        "edge": {"upstreams": {"busca": {"breaker": {"word": "open"}}}, "breakers": {}},
    }
    import os

    return {
        **telling.of_workers({"worker 1": worker, "worker 2": worker}, ["ready", "silent"]),
        **telling.of_processes({"control": os.getpid()}),
    }


def families(totals: Totals, form: str) -> dict[str, Metric]:
    rows = {family: totals.rows(family) for family in FAMILIES}
    text = metrics.render(rows, told(), form=form)
    parse = open_families if form == metrics.OPEN else parser.text_string_to_metric_families
    return {one.name: one for one in parse(text)}


def value(found: Iterable[Metric], name: str, **labels: str) -> float:
    return next(
        sample.value
        for one in found
        for sample in one.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize("form", [metrics.TEXT, metrics.OPEN])
def test_a_parser_reads_what_was_counted(totals: Totals, form: str) -> None:
    found = families(totals, form).values()
    service = {"route": ROUTE, "target": "service"}
    assert value(found, "strangler_requests_total", status="502", **service) == 1
    assert value(found, "strangler_unwell_requests_total", **service) == 2
    assert value(found, "strangler_failures_total", error="connection_refused", **service) == 1
    assert value(found, "strangler_fallbacks_total", rung="legacy", **service) == 2
    assert value(found, "strangler_cache_answers_total", outcome="miss", **service) == 1
    assert value(found, "strangler_sent_bytes_total", route=ROUTE, target="legacy") == 1000
    assert value(found, "strangler_refused_requests_total", status="404") == 1
    assert value(found, "strangler_response_start_seconds_bucket", le="0.3", **service) == 2
    assert value(found, "strangler_response_start_seconds_bucket", le="0.22", **service) == 0
    assert math.isclose(value(found, "strangler_exchange_seconds_sum", **service), 0.6)
    assert value(found, "strangler_breaker_state", breaker="busca", state="open") == 2
    assert value(found, "strangler_breaker_state", breaker="busca", state="closed") == 0
    assert value(found, "strangler_worker_lag_seconds", process="worker 2") == 0.0012
    assert value(found, "strangler_process_resident_bytes", process="control") > 1e6


@pytest.mark.parametrize("form", [metrics.TEXT, metrics.OPEN])
def test_the_lint_of_promtool_finds_nothing(totals: Totals, form: str) -> None:
    """The rules of `promtool check metrics`."""
    for name, one in families(totals, form).items():
        assert one.documentation, name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name) and "__" not in name
        assert not re.search(r"_(milliseconds|minutes|kilobytes|mb|percent)(_|$)", name)
        assert not name.endswith(("_count", "_sum", "_bucket")), name
        assert one.type != "gauge" or not name.endswith("_total"), name
        assert one.type in {"counter", "gauge", "histogram"}
        series = [(sample.name, *sorted(sample.labels.items())) for sample in one.samples]
        assert len(set(series)) == len(series), f"{name}: one series twice"
        for sample in one.samples:
            assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in sample.labels)
            if one.type == "counter":
                assert sample.name.endswith("_total")
    for one in COUNTERS:
        assert one.family in FAMILIES or not one.family


def test_buckets_rise_up_to_the_count(totals: Totals) -> None:
    one = families(totals, metrics.TEXT)["strangler_response_start_seconds"]
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in one.samples
        if sample.name.endswith("_bucket") and sample.labels["target"] == "service"
    ]
    assert buckets == sorted(buckets) and math.isinf(buckets[-1][0])
    assert [number for _, number in buckets] == sorted(number for _, number in buckets)
    assert buckets[-1][1] == value([one], f"{one.name}_count", target="service") == 2


def test_everything_told_is_in_the_table() -> None:
    known = {one.name: one for one in COUNTERS if not one.family}
    for name, values in told().items():
        for labels, _ in values:
            assert labels.keys() == known[name].labels.keys()
            for label, text in labels.items():
                assert text in known[name].labels[label] or not known[name].labels[label]


def test_the_page_is_what_the_table_says() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert text == reference.markdown(), "make docs rewrites it"
    assert all(f"`{one.name}`" in text for one in COUNTERS)


def test_openmetrics_only_where_it_is_asked_for() -> None:
    asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    assert metrics.content_type(asked) == metrics.OPEN
    assert metrics.content_type("text/html, */*") == metrics.TEXT
    assert metrics.content_type("") == metrics.TEXT
