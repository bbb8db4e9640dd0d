# SPDX-License-Identifier: Apache-2.0
"""Closed, open, half-open, and an operator's word over it (pain 52)."""

import json
from dataclasses import replace
from itertools import product
from math import inf
from typing import get_args

import pytest

from strangler.resilience.breaker import NEXT, Breaker, Event, State, Word, merged
from strangler.resilience.policy import Breaker as Policy

POLICY = Policy(min_requests=4, retry_in=(5.0, 60.0), probes=2)
NOW = 1000.0


def fail(breaker: Breaker, times: int, now: float = NOW, chance: float = 0.0) -> None:
    for _ in range(times):
        breaker.failed(breaker.permit(now), now, chance)


def opened(policy: Policy = POLICY, now: float = NOW) -> Breaker:
    breaker = Breaker(policy)
    fail(breaker, policy.min_requests, now)
    assert breaker.word == "open"
    return breaker


def recover(breaker: Breaker, now: float) -> None:
    for _ in range(breaker.policy.probes):
        breaker.succeeded(breaker.permit(now), now)


def test_it_opens_at_the_share_not_before_the_minimum() -> None:
    breaker = Breaker(POLICY)
    fail(breaker, 3)
    assert breaker.word == "closed"
    fail(breaker, 1)
    assert breaker.word == "open"
    assert breaker.permit(NOW) == 0


def test_it_stays_closed_below_the_share() -> None:
    breaker = Breaker(POLICY)
    for _ in range(51):
        breaker.succeeded(breaker.permit(NOW), NOW)
    fail(breaker, 50)
    assert breaker.word == "closed"
    assert breaker.counts(NOW) == (101, 50)
    fail(breaker, 1)
    assert breaker.word == "open"


def test_failures_that_are_long_ago_do_not_count() -> None:
    breaker = Breaker(POLICY)
    fail(breaker, 3)
    fail(breaker, 3, NOW + 20.0)
    assert breaker.word == "closed"


def test_after_the_hold_a_few_probes_pass_and_close_it() -> None:
    breaker = opened()
    assert breaker.state.until == NOW + 5.0
    assert breaker.permit(NOW + 4.9) == 0
    first, second, third = (breaker.permit(NOW + 5.0) for _ in range(3))
    assert breaker.word == "half_open"
    assert first == second != 0
    assert third == 0
    breaker.succeeded(first, NOW + 5.1)
    assert breaker.word == "half_open"
    breaker.succeeded(second, NOW + 5.2)
    assert breaker.word == "closed"
    assert breaker.counts(NOW + 5.2) == (0, 0)
    assert breaker.permit(NOW + 5.2)


def test_a_probe_that_fails_doubles_the_hold_up_to_the_cap() -> None:
    breaker = opened()
    now = NOW
    holds = []
    for _ in range(6):
        now = breaker.state.until
        fail(breaker, 1, now)
        holds.append(breaker.state.until - now)
    assert holds == [10.0, 20.0, 30.0, 30.0, 30.0, 30.0]


def test_jitter_spreads_every_hold_also_the_longest() -> None:
    for start, least, most in ((0, 5.0, 10.0), (9, 30.0, 60.0)):
        breaker = Breaker(POLICY)
        breaker.state = State(NOW - 1.0, NOW - 0.5, NOW - 0.9, start - 1)
        other = Breaker(POLICY)
        other.state = breaker.state
        fail(breaker, 4, chance=0.0)
        fail(other, 4, chance=0.999)
        assert breaker.state.until - NOW == pytest.approx(least)
        assert other.state.until - NOW == pytest.approx(most, rel=0.01)


def test_the_hold_is_never_shorter_than_the_shortest() -> None:
    breaker = opened(replace(POLICY, retry_in=(5.0, 6.0)))
    assert breaker.state.until == NOW + 5.0


def test_holds_go_on_growing_for_who_fails_again_soon_and_begin_anew_after_a_calm() -> None:
    breaker = opened()
    recover(breaker, NOW + 5.0)
    fail(breaker, 4, NOW + 6.0)
    assert breaker.state.holds == 1
    recover(breaker, NOW + 20.0)
    fail(breaker, 4, NOW + 60.0)
    assert breaker.state.holds == 0


def test_an_attempt_from_before_says_nothing_about_what_followed() -> None:
    breaker = Breaker(POLICY)
    late = breaker.permit(NOW)
    fail(breaker, 4)
    probe = breaker.permit(NOW + 5.0)
    for _ in range(3):
        breaker.succeeded(late, NOW + 5.1)
    breaker.failed(late, NOW + 5.1, 0.0)
    assert breaker.word == "half_open"
    breaker.failed(probe, NOW + 5.2, 0.0)
    assert breaker.word == "open"


def test_a_probe_whose_reader_has_gone_gives_its_place_back() -> None:
    breaker = opened(replace(POLICY, probes=1))
    breaker.dropped(breaker.permit(NOW + 5.0))
    assert breaker.permit(NOW + 5.0)
    assert breaker.permit(NOW + 5.0) == 0


def test_a_probe_that_is_never_told_of_does_not_hold_it_for_ever() -> None:
    breaker = opened(replace(POLICY, probes=1))
    assert breaker.permit(NOW + 5.0)
    assert breaker.permit(NOW + 9.0) == 0
    assert breaker.permit(NOW + 10.1)


def probing(probes: int = 1) -> tuple[Breaker, int]:
    """Return a breaker whose probe's answer has begun well, and the probe's permit."""
    breaker = opened(replace(POLICY, probes=probes))
    probe = breaker.permit(NOW + 5.0)
    breaker.succeeded(probe, NOW + 5.1, whole=False)
    assert breaker.word == "half_open"
    return breaker, probe


def test_a_probe_has_its_verdict_when_its_content_has_come() -> None:
    breaker, probe = probing()
    assert breaker.permit(NOW + 5.2) == 0
    breaker.ended(probe, NOW + 5.3)
    assert breaker.word == "closed"


def test_a_probe_that_breaks_off_in_its_content_has_failed() -> None:
    breaker, probe = probing()
    breaker.broke(probe, NOW + 5.3, 0.0)
    assert breaker.word == "open"
    assert breaker.state.until == NOW + 5.3 + 10.0


def test_a_probe_without_an_end_has_passed_after_the_shortest_hold() -> None:
    breaker, probe = probing()
    assert breaker.permit(NOW + 10.1) == 0
    assert breaker.permit(NOW + 10.2)
    assert breaker.word == "closed"
    breaker.broke(probe, NOW + 11.0, 0.0)
    assert breaker.word == "closed"


def test_a_probe_that_has_begun_counts_beside_one_that_was_lost() -> None:
    breaker, _ = probing(probes=2)
    assert breaker.permit(NOW + 6.0)  # nobody will tell of this one
    assert breaker.permit(NOW + 10.9) == 0
    third = breaker.permit(NOW + 11.1)
    assert third
    breaker.succeeded(third, NOW + 11.2)
    assert breaker.word == "half_open"
    assert breaker.permit(NOW + 11.3)
    assert breaker.word == "closed"


def test_a_probe_whose_reader_goes_in_mid_content_gives_its_place_back() -> None:
    breaker, probe = probing()
    breaker.dropped(probe, begun=True)
    assert breaker.permit(NOW + 5.3)
    assert breaker.permit(NOW + 20.0)  # nobody tells of it, and what was dropped is no pass
    assert breaker.word == "half_open"


def test_pain_52_a_probe_of_before_an_operator_s_word_says_nothing_after_it() -> None:
    breaker, probe = probing()
    breaker.force("forced_closed", NOW + 7.0)
    breaker.broke(probe, NOW + 6.0, 0.0)
    assert breaker.permit(NOW + 20.0)
    assert breaker.word == "half_open"


def test_dropped_attempts_of_a_closed_one_are_nothing() -> None:
    breaker = Breaker(POLICY)
    breaker.dropped(breaker.permit(NOW))
    assert breaker.counts(NOW) == (0, 0)


def test_slow_counts_as_failed_only_by_option() -> None:
    for slow, word in ((None, "closed"), (2.0, "open")):
        breaker = Breaker(replace(POLICY, slow=slow))
        for _ in range(4):
            breaker.succeeded(breaker.permit(NOW), NOW, 2.1, 0.0)
        assert breaker.word == word
    quick = Breaker(replace(POLICY, slow=2.0))
    for _ in range(4):
        quick.succeeded(quick.permit(NOW), NOW, 2.0, 0.0)
    assert quick.word == "closed"


def test_pain_52_forced_open_refuses_though_all_is_well_and_ends_by_itself() -> None:
    """Pain 52: manual must win."""
    breaker = Breaker(POLICY)
    breaker.force("forced_open", NOW + 60.0)
    assert breaker.permit(NOW) == 0
    assert breaker.effective(NOW) == "open"
    assert breaker.word == "closed"
    assert breaker.effective(NOW + 60.0) == "closed"
    assert breaker.permit(NOW + 60.0)
    assert breaker.mode == "auto"


def test_pain_52_forced_closed_passes_though_all_fails() -> None:
    breaker = Breaker(POLICY)
    breaker.force("forced_closed", NOW + 60.0)
    fail(breaker, 50)
    assert breaker.permit(NOW)
    assert breaker.effective(NOW) == "closed"
    assert breaker.word == "open"  # what was observed is not hidden
    assert breaker.permit(NOW + 59.0)
    breaker.force("auto", inf)
    assert breaker.effective(NOW) == "open"
    assert breaker.permit(NOW + 1.0) == 0


def test_pain_52_when_the_operator_s_word_ends_what_was_observed_counts_again() -> None:
    breaker = opened()
    breaker.force("forced_closed", NOW + 2.0)
    breaker.succeeded(breaker.permit(NOW + 1.0), NOW + 1.0)
    assert breaker.word == "open"
    assert breaker.permit(NOW + 2.0) == 0
    assert breaker.permit(NOW + 5.0)
    assert breaker.word == "half_open"


def test_pain_52_another_worker_s_word_does_not_undo_the_operator_s() -> None:
    breaker = Breaker(POLICY)
    breaker.force("forced_closed", NOW + 60.0)
    assert breaker.merge(State(NOW, 0.0, NOW + 30.0, 0))
    assert breaker.permit(NOW)


def test_what_one_worker_finds_the_others_know() -> None:
    one, other = opened(), Breaker(POLICY)
    told = State(*json.loads(json.dumps(one.state)))
    assert other.merge(told)
    assert other.permit(NOW + 1.0) == 0
    assert not other.merge(told)
    recover(other, NOW + 5.0)
    assert one.merge(other.state)
    assert one.word == "closed"


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        (State(), State(5.0, 0.0, 10.0, 0), 1),
        (State(5.0, 7.0, 6.0, 0), State(8.0, 0.0, 9.0, 1), 1),
        (State(5.0, 0.0, 6.0, 0), State(5.0, 7.0, 6.0, 0), 1),
        (State(8.0, 0.0, 9.0, 1), State(5.0, 20.0, 6.0, 0), 0),
    ],
)
def test_the_newest_opening_wins_and_of_one_its_closing(
    one: State, other: State, later: int
) -> None:
    assert merged(one, other) == merged(other, one) == (one, other)[later]


def test_the_table_is_whole() -> None:
    words, events = get_args(Word), get_args(Event)
    assert {word for word, _ in NEXT} | set(NEXT.values()) == set(words)
    assert {event for _, event in NEXT} == set(events)
    for word in words:
        for event in ("told_open", "told_closed"):
            assert (word, event) in NEXT
    illegal = set(product(words, events)) - set(NEXT)
    assert ("open", "tripped") in illegal
    assert ("closed", "probe_failed") in illegal


def test_changes_count_every_transition() -> None:
    breaker = opened()
    assert breaker.changes == 2
    breaker.permit(NOW + 5.0)
    assert breaker.changes == 3
