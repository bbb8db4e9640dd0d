# SPDX-License-Identifier: Apache-2.0
"""How often legacy saved a route."""

import pytest

from strangler.resilience.dependence import SPANS, Dependence, Reading


def answered(meter: Dependence, now: float) -> None:
    """Count an answer right after the second's turn."""
    meter.turn(now)
    meter.answers += 1


def test_each_window_sees_its_own() -> None:
    meter = Dependence()
    for _ in range(9):
        answered(meter, 1000.0)
    meter.rescued(1000.0)
    answered(meter, 1000.0 + 120)
    assert meter.read(1120.0) == (
        Reading(60.0, 1, 0), Reading(3600.0, 11, 1), Reading(86400.0, 11, 1),
    )  # fmt: skip
    assert meter.read(1e6) == tuple(Reading(seconds, 0, 0) for seconds in SPANS)
    assert (meter.answers, meter.saved, meter.last_saved) == (11, 1, 1000.0)


def test_a_short_window_s_turns_do_not_turn_the_long_ones() -> None:
    meter = Dependence()
    for n in range(300):
        answered(meter, 1000.0 + n * 10)
    minute, hour, day = meter.read(1000.0 + 2990)
    assert minute.answers in (6, 5)
    assert hour.answers == day.answers == 300


def test_answers_are_in_their_window_if_it_turns_once_a_second() -> None:
    meter = Dependence()
    for second in range(200):
        meter.turn(1000.0 + second)
        meter.answers += 10
    meter.rescued(1200.0)
    minute, hour, day = meter.read(1200.0)
    assert 541 <= minute.answers <= 601 and minute.saved == 1
    assert hour.answers == day.answers == 2001


def test_a_route_that_legacy_never_saved() -> None:
    meter = Dependence()
    answered(meter, 5.0)
    assert meter.last_saved is None
    assert all(reading.share == 0.0 for reading in meter.read(5.0))


def test_the_share() -> None:
    assert Reading(60.0, 4, 1).share == 0.25
    assert Reading(60.0, 0, 0).share == 0.0


def test_workers_add_up() -> None:
    assert Reading(60.0, 4, 1) + Reading(60.0, 6, 0) == Reading(60.0, 10, 1)
    with pytest.raises(ValueError, match="different windows"):
        Reading(60.0, 4, 1) + Reading(3600.0, 6, 0)
