# SPDX-License-Identifier: Apache-2.0
"""Letting go of the least important first."""

import pytest

from strangler.resilience.shed import (
    CRAWLER,
    HIGH,
    LOW,
    NORMAL,
    ROUTES,
    SHADOW,
    WORDS,
    Shed,
    Shedding,
    pressure,
)  # fmt: skip


def at(worst: float, now: float = 0.0) -> Shedding:
    shedding = Shedding(Shed())
    shedding.update(worst, now)
    return shedding


EVERY = (SHADOW, CRAWLER, LOW, NORMAL, HIGH)


@pytest.mark.parametrize(
    ("worst", "admitted"),
    [
        (0.0, {SHADOW, CRAWLER, LOW, NORMAL, HIGH}),
        (0.69, {SHADOW, CRAWLER, LOW, NORMAL, HIGH}),
        (0.7, {CRAWLER, LOW, NORMAL, HIGH}),
        (0.85, {LOW, NORMAL, HIGH}),
        (0.95, {NORMAL, HIGH}),
        (1.0, {NORMAL, HIGH}),
        (1.1, {HIGH}),
        (2.0, {HIGH}),
        (2.1, set()),
    ],
)
def test_shadows_before_crawlers_before_low_priorities_before_readers(
    worst: float, admitted: set[int]
) -> None:
    shedding = at(worst)
    assert {p for p in EVERY if shedding.admits(p, 0.0)} == admitted


def test_of_readers_only_what_is_too_much_is_let_go() -> None:
    shedding = at(2.0)
    assert [shedding.admits(NORMAL, chance) for chance in (0.0, 0.49, 0.5, 0.9)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert shedding.shed[NORMAL] == 2
    shedding = at(4.0)
    assert [shedding.admits(HIGH, chance) for chance in (0.49, 0.5)] == [False, True]


def test_up_at_once_down_a_level_at_a_time_after_calm() -> None:
    shedding = at(1.2)
    shedding.update(0.9, 0.5)
    assert shedding.level == 4
    shedding.update(0.6, 0.6)
    shedding.update(0.6, 2.6)
    shedding.update(0.6, 4.7)
    assert shedding.level == 2
    shedding = at(0.9)
    assert shedding.level == 2
    assert not shedding.update(0.1, 1.0)
    assert not shedding.update(0.1, 2.9)
    assert shedding.update(0.1, 3.0)
    assert shedding.level == 1
    assert not shedding.update(0.1, 4.9)
    assert shedding.update(0.1, 5.0)
    assert shedding.level == 0
    assert not shedding.update(0.1, 99.0)


def test_it_does_not_flap_about_a_threshold() -> None:
    shedding = at(0.72)
    changes = [shedding.update(0.69 if n % 2 else 0.71, n / 10) for n in range(100)]
    assert not any(changes)
    assert shedding.level == 1


def test_a_calm_that_is_broken_begins_anew() -> None:
    shedding = at(0.72)
    shedding.update(0.5, 1.0)
    shedding.update(0.6, 2.5)
    assert not shedding.update(0.5, 3.5)
    assert not shedding.update(0.5, 5.0)
    assert shedding.update(0.5, 5.5)


def test_pressure_is_that_of_what_is_shortest() -> None:
    found = pressure(
        lag=0.05, connections=15_000, connections_limit=20_000, inflight=10, inflight_limit=100
    )
    assert (found.lag, found.connections, found.inflight) == (0.2, 0.75, 0.1)
    assert found.worst == 0.75


def test_a_word_for_each() -> None:
    assert [WORDS[p] for p in EVERY] == [
        "shed_shadow", "shed_crawler", "shed_low", "shed_reader", "shed_high",
    ]  # fmt: skip
    assert [WORDS[p] for p in ROUTES.values()] == ["shed_low", "shed_reader", "shed_high"]
