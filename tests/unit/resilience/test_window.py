# SPDX-License-Identifier: Apache-2.0
"""Rolling counts."""

from strangler.resilience.window import Window


def test_it_forgets_what_is_older_than_its_seconds() -> None:
    window = Window(10.0)
    window.add(100.0, 1)
    window.add(105.0)
    assert window.counts(108.9) == (2, 1)
    assert window.counts(110.5) == (1, 0)
    assert window.counts(116.0) == (0, 0)


def test_counts_since_ever_stay() -> None:
    window = Window(10.0)
    window.add(0.5, 1)
    window.add(500.0)
    assert (window.total, window.part) == (2, 1)
    assert window.counts(500.0) == (1, 0)


def test_share() -> None:
    window = Window(10.0)
    assert window.share(0.0) == 0.0
    for part in (1, 0, 0, 0):
        window.add(1.0, part)
    assert window.share(1.0) == 0.25


def test_what_proves_to_be_of_the_kind_afterwards_is_still_one_event() -> None:
    window = Window(10.0)
    window.add(100.0)
    window.add(100.0)
    window.amend(101.0)
    assert window.counts(101.0) == (2, 1)


def test_an_event_that_is_forgotten_by_then_counts_when_it_proves_to_be() -> None:
    window = Window(10.0)
    window.add(100.0)
    window.amend(200.0)
    window.amend(200.0)
    assert window.counts(200.0) == (2, 2)


def test_cleared_it_begins_anew() -> None:
    window = Window(10.0)
    window.add(1.0, 1)
    window.clear()
    window.add(2.0)
    assert window.counts(2.0) == (1, 0)


def test_a_clock_that_stands_or_goes_back_loses_nothing() -> None:
    window = Window(10.0)
    window.add(50.0)
    window.add(49.0, 1)
    assert window.counts(48.0) == (2, 1)
