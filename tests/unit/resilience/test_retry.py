# SPDX-License-Identifier: Apache-2.0
"""May a failure be followed by another attempt? Pains 13 and 15 live here."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from strangler.resilience.budget import Budget
from strangler.resilience.policy import Backoff, Failures, Retry
from strangler.resilience.retry import (
    WORTHWHILE,
    Decision,
    backoff,
    decide,
    parse_retry_after,
    repeatable,
)

EVERYTHING = Retry(
    tries=2, when=Failures(frozenset({"connect", "timeout", "incomplete"}), frozenset({503}))
)
KEYED = replace(EVERYTHING, idempotency_key=b"idempotency-key")


def ask(policy: Retry = EVERYTHING, failure: str | int = "timeout", **said: Any) -> Decision:
    given: dict[str, Any] = {
        "method": b"GET", "keyed": False, "sent": True, "begun": False, "replayable": True,
        "retries": 0, "elsewhere": False, "left": inf, "budget": Budget(), "now": 10.0,
        "chance": 0.5,
    }  # fmt: skip
    return decide(policy, failure, **(given | said))


def test_a_failure_that_may_be_repeated_is() -> None:
    assert ask() == Decision(True, "retry", 0.025)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"failure": 500}, "not_listed"),
        ({"failure": "busy"}, "not_listed"),
        ({"begun": True}, "answer_begun"),
        ({"retries": 2}, "tries_used"),
        ({"replayable": False}, "replay_over_cap"),
        ({"left": WORTHWHILE / 2}, "deadline"),
        ({"left": 0.025, "chance": 0.999}, "deadline"),
        ({"retry_after": 3.0}, "retry_after"),
        ({"retry_after": 1.0, "left": 0.9}, "deadline"),
    ],
)
def test_refusals_say_why(said: dict[str, Any], reason: str) -> None:
    decision = ask(**said)
    assert decision == Decision(False, reason)  # type: ignore[arg-type]


def test_13_over_the_cap_there_is_no_second_attempt_and_it_says_why() -> None:
    """Pain 13: the body missing when retrying."""
    assert ask(replayable=False, sent=False, elsewhere=True).reason == "replay_over_cap"


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"PUT", b"DELETE", b"get"])
def test_15_a_write_that_may_have_been_made_is_not_made_again(method: bytes) -> None:
    """Pain 15: double orders."""
    assert ask(method=method) == Decision(False, "not_repeatable")
    assert ask(method=method, keyed=True) == Decision(False, "not_repeatable")


def test_15_but_with_the_key_that_its_route_declares_it_is() -> None:
    assert ask(KEYED, method=b"POST", keyed=True).again
    assert not ask(KEYED, method=b"POST", keyed=False).again


def test_15_and_so_is_one_of_which_nothing_was_sent() -> None:
    assert ask(failure="connect", method=b"POST", sent=False).again


def test_another_endpoint_costs_neither_a_try_nor_budget() -> None:
    budget = Budget(floor=0)
    said: dict[str, Any] = {"failure": "connect", "sent": False, "elsewhere": True}
    assert ask(**said, retries=9, budget=budget) == Decision(True, "elsewhere")
    assert ask(replace(EVERYTHING, tries=0), **said) == Decision(True, "elsewhere")
    assert ask(**said, left=0.001) == Decision(False, "deadline")
    assert budget.spent(10.0) == (0, 0)


def test_the_default_repeats_a_failed_connection_once() -> None:
    default = Retry()
    assert ask(default, "connect", sent=False).again
    assert ask(default, "connect", sent=False, retries=1).reason == "tries_used"
    assert ask(default, "timeout").reason == "not_listed"


def test_a_spent_budget_refuses_and_a_refusal_takes_nothing() -> None:
    budget = Budget(floor=1)
    assert not ask(budget=budget, failure=500).again
    assert ask(budget=budget).again
    assert ask(budget=budget) == Decision(False, "budget")
    assert budget.spent(10.0) == (1, 1)


def test_the_upstream_s_wish_is_honoured_where_it_can_be() -> None:
    assert ask(failure=503, retry_after=1.5).wait == 1.5
    assert ask(failure=503, retry_after=0.0).wait == 0.025


def test_backoff_doubles_up_to_the_cap_and_has_jitter_there_too() -> None:
    policy = Backoff(base=0.1, cap=1.0)
    assert [backoff(policy, n, 1.0) for n in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff(policy, 5, 0.0) == 0.0
    assert backoff(policy, 10_000, 0.25) == 0.25


def test_repeatable_by_the_route_s_word() -> None:
    assert repeatable(replace(EVERYTHING, methods=frozenset({b"PUT"})), b"PUT", keyed=False)
    assert repeatable(EVERYTHING, b"OPTIONS", keyed=False)
    assert not repeatable(EVERYTHING, b"TRACE", keyed=False)


WALL = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120.0),
        (b"0", 0.0),
        (b"Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        (b"Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        (b"Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        (b"Sun Nov  6 08:50:37 1994", 60.0),
        (None, None),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"Sun, 99 Nov 1994 08:49:37 GMT", None),
        (b"\xff\xff", None),
    ],
)
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    assert parse_retry_after(value, WALL) == seconds
