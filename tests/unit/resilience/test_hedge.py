# SPDX-License-Identifier: Apache-2.0
"""A second attempt beside a slow one."""

from dataclasses import replace
from typing import Any

import pytest

from strangler.resilience.budget import Budget
from strangler.resilience.hedge import Decision, Latency, decide, delay
from strangler.resilience.policy import Hedge, Retry

POLICY = Retry(hedge=Hedge(percentile=95))


def filled(*seconds: float, now: float = 1.0) -> Latency:
    latency = Latency()
    for each in seconds:
        latency.observe(each, now)
    return latency


def test_percentiles_are_right_within_five_percent() -> None:
    latency = filled(*(n / 1000 for n in range(1, 1001)))
    for percent in (1, 50, 90, 95, 99, 100):
        found = latency.percentile(percent, 1.0)
        assert found is not None
        assert abs(found - percent / 100) <= 0.05 * percent / 100


def test_too_few_answers_are_no_estimate() -> None:
    assert filled(*[0.1] * 19).percentile(95, 1.0) is None
    assert filled(*[0.1] * 20).percentile(95, 1.0) is not None


def test_it_forgets() -> None:
    latency = filled(*[0.1] * 1000)
    assert latency.percentile(95, 1.0) == pytest.approx(0.1, rel=0.05)
    assert latency.percentile(95, 1000.0) is None
    for _ in range(100):
        latency.observe(0.5, 1000.0)
    for percent in (5, 95):
        assert latency.percentile(percent, 1000.0) == pytest.approx(0.5, rel=0.05)


def test_what_is_beyond_its_range_counts_as_the_end() -> None:
    assert filled(*[0.0] * 20).percentile(50, 1.0) == pytest.approx(0.0001)
    assert filled(*[9999.0] * 20).percentile(50, 1.0) == pytest.approx(100.0, rel=0.06)


def test_a_percentile_is_kept_for_a_hundred_answers() -> None:
    latency = filled(*[0.1] * 100)
    before = latency.percentile(50, 1.0)
    for _ in range(99):
        latency.observe(10.0, 1.0)
    assert latency.percentile(50, 1.0) == before
    for _ in range(2):
        latency.observe(10.0, 1.0)
    assert latency.percentile(50, 1.0) == pytest.approx(10.0, rel=0.05)


@pytest.mark.parametrize(
    ("policy", "known", "after"),
    [
        (None, True, None),
        (Hedge(after=0.3), True, 0.3),
        (Hedge(after=0.3), False, 0.3),
        (Hedge(percentile=95), True, 0.5),
        (Hedge(percentile=95), False, None),
        (Hedge(after=0.3, percentile=95), True, 0.5),
        (Hedge(after=0.9, percentile=95), True, 0.9),
        (Hedge(after=0.3, percentile=95), False, 0.3),
    ],
)
def test_when_the_second_starts(policy: Hedge | None, known: bool, after: float | None) -> None:
    latency = filled(*[0.5] * 50) if known else Latency()
    found = delay(policy, latency, 1.0)
    assert found == (None if after is None else pytest.approx(after, rel=0.05))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "hedge"),
        ({"policy": Retry()}, "off"),
        ({"method": b"POST"}, "not_repeatable"),
        ({"method": b"POST", "keyed": True}, "not_repeatable"),
        (
            {"method": b"POST", "keyed": True, "policy": replace(POLICY, idempotency_key=b"k")},
            "hedge",
        ),
        ({"replayable": False}, "replay_over_cap"),
        ({"left": 0.001}, "deadline"),
        ({"budget": Budget(floor=0)}, "budget"),
    ],
)
def test_whether_it_may(said: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {
        "policy": POLICY, "method": b"GET", "keyed": False, "replayable": True, "left": 5.0,
        "budget": Budget(), "now": 1.0,
    }  # fmt: skip
    arguments = given | said
    decision = decide(arguments.pop("policy"), **arguments)
    assert decision == Decision(reason == "hedge", reason)  # type: ignore[arg-type]
