# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from math import inf

import pytest

from strangler.rollout import Gates
from strangler.rollout.gate import Seen, Times, judge, overall

EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def times(**counts: int) -> Times:
    """Return times with so many answers in the bucket that ends with each edge (`ms50=3`)."""
    row = [counts.get(f"ms{edge * 1000:.0f}", 0) for edge in EDGES]
    return Times(EDGES, (*row, counts.get("beyond", 0)))


def seen(answers: int, errors: int = 0, took: Times | None = None) -> Seen:
    return Seen(answers, errors, took or Times(EDGES, (0, answers, 0, 0, 0, 0, 0)))


def verdicts(gates: Gates, legacy: Seen, service: Seen) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in judge(gates, legacy, service)}


ALL = Gates(samples=100, errors=0.2, p95=15.0)


@pytest.mark.parametrize(
    ("legacy", "service"),
    [
        (seen(0), seen(0)),
        (seen(99), seen(5000)),
        (seen(5000), seen(99)),
        (seen(0), seen(5000)),  # nothing to compare with
        (seen(5000), seen(99, errors=99)),
        (seen(99, errors=99), seen(5000)),
    ],
)
def test_too_few_answers_wait_however_they_look(legacy: Seen, service: Seen) -> None:
    """Pain 28: a gate must not pass or fail on nothing."""
    assert set(verdicts(ALL, legacy, service).values()) == {"wait"}
    assert overall(judge(ALL, legacy, service)) == "wait"


def test_equal_sides_pass() -> None:
    assert verdicts(ALL, seen(100), seen(100)) == dict.fromkeys(
        ("samples", "errors", "p95"), "pass"
    )
    assert overall(judge(ALL, seen(100), seen(100))) == "pass"


def test_only_the_gates_that_are_named_are_looked_at() -> None:
    assert list(verdicts(Gates(1), seen(1), seen(1, errors=1))) == ["samples"]
    assert overall(judge(Gates(1), seen(1), seen(1, errors=1))) == "pass"
    assert overall(()) == "pass"


@pytest.mark.parametrize(
    ("legacy", "service", "verdict"),
    [
        (seen(10_000, 100), seen(10_000, 100), "pass"),
        (seen(10_000, 100), seen(10_000, 119), "pass"),
        (seen(10_000, 100), seen(10_000, 120), "pass"),  # +0.2pp is still allowed
        (seen(10_000, 100), seen(10_000, 130), "wait"),  # beyond, but chance does as much
        (seen(10_000, 100), seen(10_000, 200), "fail"),
        (seen(10_000, 300), seen(10_000, 0), "pass"),  # better is no fault
        (seen(100), seen(100, 1), "wait"),
        (seen(100), seen(100, 40), "fail"),
        (seen(100_000, 100), seen(200, 20), "fail"),
    ],
)
def test_errors(legacy: Seen, service: Seen, verdict: str) -> None:
    assert verdicts(Gates(100, errors=0.2), legacy, service)["errors"] == verdict


@pytest.mark.parametrize(
    ("service", "verdict"),
    [
        (times(ms20=1000), "pass"),
        (times(ms10=1000), "pass"),
        (times(ms20=955, ms500=45), "pass"),  # slow for fewer than one in twenty
        (times(ms20=945, ms50=55), "wait"),
        (times(ms20=800, ms200=200), "fail"),
        (times(beyond=1000), "fail"),
    ],
)
def test_p95(service: Times, verdict: str) -> None:
    legacy = seen(1000, took=times(ms20=1000))
    gates = Gates(100, p95=15.0)
    assert verdicts(gates, legacy, seen(1000, took=service))["p95"] == verdict


def test_p95_waits_where_nothing_was_timed() -> None:
    nothing = Times(EDGES, (0,) * 7)
    for legacy, service in ((nothing, times(ms20=9)), (times(ms20=9), nothing)):
        told = verdicts(Gates(1, p95=15.0), seen(9, took=legacy), seen(9, took=service))
        assert told["p95"] == "wait"


def test_what_was_seen_is_said() -> None:
    said = {gate.name: gate for gate in judge(ALL, seen(1000, 10), seen(2000, 25))}
    assert said["samples"].seen == "legacy 1000, service 2000"
    assert (said["errors"].limit, said["errors"].seen) == (
        "+0.2pp",
        "+0.25pp (legacy 1.00%, service 1.25%)",
    )
    assert said["p95"].limit == "+15%"
    assert said["p95"].seen == "+0.0% (legacy 19.5 ms, service 19.5 ms)"


def test_quantiles() -> None:
    one = times(ms10=50, ms20=50)
    assert one.quantile(0.5) == pytest.approx(0.01)
    assert one.quantile(0.75) == pytest.approx(0.015)
    assert one.quantile(1.0) == pytest.approx(0.02)
    assert times().quantile(0.5) is None
    assert times(beyond=1).quantile(0.5) == inf
    assert times(ms10=1).quantile(0.0) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="one count more"):
        Times(EDGES, (1, 2))


def test_counts_add_up_and_begin_anew() -> None:
    one, more = seen(10, 1), seen(30, 2)
    assert more.since(one) == seen(20, 1)
    assert one + seen(20, 1) == more
    assert Seen() + one == one
    assert one + Seen() == one
    assert one.since(Seen()) == one
    # A restarted site counts from nought: what it has counted is all there is.
    assert one.since(more) == one
    assert seen(5).since(Seen(2, 0, Times((1.0,), (2, 0)))).times == seen(5).times
