# SPDX-License-Identifier: Apache-2.0
"""The share of attempts that may be repeats."""

from strangler.resilience.budget import FLOOR, Budget


def test_the_floor_is_granted_to_an_upstream_that_is_hardly_asked() -> None:
    budget = Budget()
    assert [budget.take(0.2, 1.0) for _ in range(FLOOR + 1)] == [True] * FLOOR + [False]
    assert budget.denied == 1


def test_of_a_hundred_failed_attempts_a_share_is_repeated_not_all() -> None:
    budget = Budget()
    granted = 0
    for _ in range(100):
        budget.attempted(5.0)
        granted += budget.take(0.2, 5.0)
    attempts, repeats = budget.spent(5.0)
    assert (attempts, repeats) == (100 + granted, granted)
    assert 0.18 * attempts <= repeats <= 0.2 * attempts


def test_it_looks_back_ten_seconds() -> None:
    budget = Budget()
    while budget.take(0.2, 1.0):
        pass
    assert not budget.take(0.2, 9.0)
    assert budget.take(0.2, 12.0)


def test_nothing_of_a_budget_of_nothing_but_its_floor() -> None:
    budget = Budget(floor=0)
    budget.attempted(1.0)
    assert not budget.take(0.0, 1.0)
    assert budget.take(1.0, 1.0)
