# SPDX-License-Identifier: Apache-2.0
"""Places, and a short queue for them."""

from strangler.resilience.bulkhead import Bulkhead


def test_places_then_the_queue_then_nothing() -> None:
    bulkhead = Bulkhead(2, 1)
    assert [bulkhead.enter() for _ in range(3)] == [True, True, False]
    assert [bulkhead.wait() for _ in range(2)] == [True, False]
    assert bulkhead.refused == 1


def test_a_place_goes_to_who_waits_not_to_who_comes() -> None:
    bulkhead = Bulkhead(1, 1)
    bulkhead.enter()
    bulkhead.wait()
    assert bulkhead.leave()
    assert not bulkhead.enter()
    assert (bulkhead.inflight, bulkhead.waiting) == (1, 0)
    assert not bulkhead.leave()
    assert bulkhead.inflight == 0


def test_who_gives_up_is_not_woken() -> None:
    bulkhead = Bulkhead(1, 1)
    bulkhead.enter()
    bulkhead.wait()
    bulkhead.give_up()
    assert not bulkhead.leave()


def test_no_bound() -> None:
    bulkhead = Bulkhead(None, 0)
    assert all(bulkhead.enter() for _ in range(1000))


def test_a_smaller_limit_lets_what_runs_go_on_and_nobody_in() -> None:
    bulkhead = Bulkhead(3, 5)
    for _ in range(3):
        bulkhead.enter()
    bulkhead.wait()
    assert bulkhead.resize(1) == 0
    assert [bulkhead.leave() for _ in range(3)] == [False, False, True]
    assert bulkhead.inflight == 1


def test_a_larger_limit_wakes_as_many_as_fit() -> None:
    bulkhead = Bulkhead(1, 5)
    bulkhead.enter()
    for _ in range(5):
        bulkhead.wait()
    assert bulkhead.resize(4) == 3
    assert (bulkhead.inflight, bulkhead.waiting) == (4, 2)
