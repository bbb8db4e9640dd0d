# SPDX-License-Identifier: Apache-2.0
"""Taking an endpoint out, letting it back in, and the panic rule (pain 53)."""

import pytest

from strangler.resilience.ejection import Ejection, Ejector, Standing

POLICY = Ejection(hold=(1.0, 8.0), slow_start=10.0)
NOW = 1000.0


def group(count: int, policy: Ejection = POLICY) -> Ejector[str]:
    return Ejector(policy, tuple("abcdefghij"[:count]))


def fail(ejector: Ejector[str], index: int, times: int = 5, now: float = NOW) -> bool:
    standing = ejector.standings[index]
    return [ejector.failed(standing, now, 0.0) for _ in range(times)][-1]


def refuse(ejector: Ejector[str], index: int, now: float = NOW) -> bool:
    return ejector.failed(ejector.standings[index], now, 0.0, connecting=True)


def test_failures_in_a_row_eject() -> None:
    ejector = group(3)
    assert not fail(ejector, 1, 4)
    ejector.standings[1].succeeded(NOW)
    assert not fail(ejector, 1, 4)
    assert fail(ejector, 1, 1)
    assert ejector.candidates == ("a", "c")
    assert ejector.standings[1].why == "consecutive"
    assert not ejector.panic


def test_answers_that_break_off_are_failures_in_a_row_and_count_once_each() -> None:
    ejector = group(3)
    standing = ejector.standings[1]
    for cut in range(5):
        assert not standing.ejected, cut
        standing.succeeded(NOW, whole=False)
        assert ejector.broke(standing, NOW, 0.0) == (cut == 4)
    assert standing.why == "consecutive"
    assert standing.window.counts(NOW) == (5, 5)


def test_an_answer_that_comes_whole_ends_a_row_of_failures_at_its_end() -> None:
    ejector = group(3)
    fail(ejector, 1, 4)
    standing = ejector.standings[1]
    standing.succeeded(NOW, whole=False)
    assert standing.streak == 4
    standing.came_whole()
    assert standing.streak == 0
    assert standing.window.counts(NOW) == (5, 4)


def test_who_refuses_a_connection_is_out_at_once() -> None:
    ejector = group(2)
    assert refuse(ejector, 0)
    assert ejector.candidates == ("b",)
    assert ejector.standings[0].why == "refused"


def test_or_after_as_many_refusals_in_a_row_as_are_borne() -> None:
    ejector = group(2, Ejection(refused=2))
    assert not refuse(ejector, 0)
    ejector.standings[0].succeeded(NOW)
    assert [refuse(ejector, 0), refuse(ejector, 0)] == [False, True]


def test_never_more_than_a_share_but_of_two_one() -> None:
    ejector = group(4)
    assert [refuse(ejector, index) for index in range(4)] == [True, True, False, False]
    assert ejector.candidates == ("c", "d")
    two = group(2, Ejection(most=0.1))
    assert [refuse(two, index) for index in range(2)] == [True, False]


def test_the_only_one_is_never_ejected() -> None:
    ejector = group(1)
    assert not fail(ejector, 0, 100)
    assert ejector.candidates == ("a",)


def test_who_lies_far_below_the_others_is_an_outlier() -> None:
    ejector = group(3)
    for index, failures in enumerate((1, 12, 2)):
        for turn in range(30):
            if turn % 30 < failures * 2 and turn % 2:
                ejector.failed(ejector.standings[index], NOW, 0.0)
            else:
                ejector.standings[index].succeeded(NOW)
    assert ejector.candidates == ("a", "b", "c")
    assert ejector.tick(NOW, 0.0)
    assert ejector.candidates == ("a", "c")
    assert ejector.standings[1].why == "outlier"


def test_if_all_fail_alike_none_is_an_outlier() -> None:
    ejector = group(3)
    for standing in ejector.standings:
        for turn in range(40):
            if turn % 2:
                ejector.failed(standing, NOW, 0.0)
            else:
                standing.succeeded(NOW)
    assert not ejector.tick(NOW, 0.0)


def test_a_few_answers_make_no_outlier() -> None:
    ejector = group(2)
    for _ in range(30):
        ejector.standings[0].succeeded(NOW)
    fail(ejector, 1, 4)
    assert not ejector.tick(NOW, 0.0)


def test_the_hold_grows_and_ends_and_the_start_is_slow() -> None:
    ejector = group(2)
    standing = ejector.standings[0]
    now, holds = NOW, []
    for _ in range(5):
        refuse(ejector, 0, now)
        holds.append(standing.until - now)
        now = standing.until
        assert not ejector.tick(now - 0.01, 0.0)
        assert ejector.tick(now, 0.0)
        assert ejector.candidates == ("a", "b")
    assert holds == [1.0, 2.0, 4.0, 4.0, 4.0]
    weights = []
    for seconds in (0.0, 5.0, 9.0, 10.0):
        ejector.tick(now + seconds, 0.0)
        weights.append(standing.weight)
    assert weights == [0.1, 0.5, 0.9, 1.0]


def test_a_long_good_time_makes_the_next_hold_short_again() -> None:
    ejector = group(2)
    standing = ejector.standings[0]
    refuse(ejector, 0)
    ejector.tick(NOW + 1.0, 0.0)
    ejector.tick(NOW + 20.0, 0.0)
    assert standing.holds == 0


def test_a_probe_that_passes_brings_back_who_refused_but_not_who_answered_badly() -> None:
    ejector = group(4)
    refuse(ejector, 0)
    fail(ejector, 1)
    assert ejector.probed(ejector.standings[0], True, NOW + 0.1)
    assert not ejector.probed(ejector.standings[1], True, NOW + 0.1)
    assert ejector.candidates == ("a", "c", "d")
    assert ejector.standings[0].weight == 0.1


def test_a_probe_that_fails_takes_out_until_one_passes() -> None:
    ejector = group(3)
    assert ejector.probed(ejector.standings[2], False, NOW)
    assert not ejector.probed(ejector.standings[2], False, NOW + 1.0)
    assert ejector.candidates == ("a", "b")
    assert ejector.probed(ejector.standings[2], True, NOW + 2.0)
    assert ejector.candidates == ("a", "b", "c")
    assert ejector.standings[2].weight == 0.1


@pytest.mark.parametrize(("count", "sick"), [(1, 1), (2, 2), (3, 2), (3, 3), (10, 6)])
def test_53_when_too_many_are_out_all_are_tried_and_it_says_so(count: int, sick: int) -> None:
    """Pain 53: all backends unhealthy must not become an outage of our own."""
    ejector = group(count)
    for standing in ejector.standings[:sick]:
        ejector.probed(standing, False, NOW)
    assert ejector.panic
    assert ejector.out == sick
    assert ejector.candidates == tuple("abcdefghij"[:count])


def test_53_half_of_two_is_no_panic() -> None:
    ejector = group(2)
    ejector.probed(ejector.standings[0], False, NOW)
    assert not ejector.panic
    assert ejector.candidates == ("b",)


def test_53_probes_and_ejections_add_up_to_panic_and_it_ends() -> None:
    ejector = group(4)
    refuse(ejector, 0)
    ejector.probed(ejector.standings[1], False, NOW)
    assert not ejector.panic
    ejector.probed(ejector.standings[2], False, NOW)
    assert ejector.panic
    ejector.probed(ejector.standings[1], True, NOW)
    assert not ejector.panic
    assert ejector.candidates == ("b", "d")


def test_a_new_one_is_well() -> None:
    standing = Standing(30.0)
    assert standing.healthy
    assert not standing.ejected
    assert standing.weight == 1.0
