# SPDX-License-Identifier: Apache-2.0
"""What answers instead. Pains 14, 16 and 36 live here."""

from dataclasses import replace
from typing import Any

import pytest

from strangler.resilience.ladder import Step, descend, field_value
from strangler.resilience.policy import FAILURE_WORDS, Failures, Fallback, Rung

STALE, LEGACY, OTHER = Rung("stale"), Rung("legacy"), Rung("upstream", "materia-2")
ARCHIVE, PAGE = Rung("archive"), Rung("page", "pages/sorry.html")
WHOLE = Fallback(then=(STALE, LEGACY, OTHER, ARCHIVE, PAGE))


def step(
    failure: str | int = "connect", policy: Fallback = WHOLE, after: int = -1, **said: Any
) -> Step:
    given: dict[str, Any] = {"method": b"GET", "sent": True, "begun": False, "replayable": True}
    return descend(policy, failure, after=after, **(given | said))


def walk(failure: str | int = "connect", policy: Fallback = WHOLE, **said: Any) -> list[Rung]:
    rungs, after = [], -1
    while (found := step(failure, policy, after, **said)).rung is not None:
        rungs.append(found.rung)
        after = found.index
    return rungs


def test_a_reader_walks_down_the_whole_ladder_once() -> None:
    assert walk() == [STALE, LEGACY, OTHER, ARCHIVE, PAGE]


def test_the_order_is_the_route_s() -> None:
    assert walk(policy=replace(WHOLE, then=(PAGE, LEGACY))) == [PAGE, LEGACY]


@pytest.mark.parametrize("failure", [*FAILURE_WORDS, 502, 503, 504])
def test_on_what(failure: str | int) -> None:
    assert step(failure).rung == STALE


@pytest.mark.parametrize("failure", [404, 500, 200])
def test_36_not_on_a_404_unless_the_route_says_so(failure: int) -> None:
    """Pain 36: a real "not found" would double legacy's load."""
    assert step(failure) == Step(None, -1, "not_listed")
    assert walk(404, replace(WHOLE, when=Failures(statuses=frozenset({404})))) != []


def test_14_once_the_reader_has_a_byte_there_is_no_other_answer() -> None:
    """Pain 14: a failed answer is never mixed with the fallback's."""
    assert step(begun=True) == Step(None, -1, "answer_begun")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH"])
def test_a_write_that_was_sent_gets_a_page_at_most(method: bytes) -> None:
    assert walk("timeout", method=method) == [PAGE]
    assert step("timeout", method=method).skipped == (
        ("stale", "method"), ("legacy", "sent"), ("materia-2", "sent"), ("archive", "method"),
    )  # fmt: skip


def test_a_write_of_which_nothing_was_sent_may_go_to_legacy() -> None:
    assert walk("connect", method=b"POST", sent=False) == [LEGACY, OTHER, PAGE]


def test_and_one_whose_route_declares_it_safe() -> None:
    assert walk("timeout", replace(WHOLE, writes=True), method=b"POST") == [LEGACY, OTHER, PAGE]


def test_16_an_upstream_s_answer_to_a_write_is_never_replaced_by_a_page() -> None:
    """Pain 16: POST answered 500, and the proxy replaced the body."""
    found = step(503, method=b"POST")
    assert found.rung is None
    assert found.reason == "exhausted"
    assert found.skipped[-1] == ("page:pages/sorry.html", "answered")


def test_13_a_body_that_is_not_at_hand_goes_nowhere() -> None:
    """Pain 13: the body missing when falling back."""
    assert walk(replayable=False) == [STALE, ARCHIVE, PAGE]
    assert walk(method=b"POST", sent=False, replayable=False) == [PAGE]


@pytest.mark.parametrize(("method", "stored"), [(b"GET", 1), (b"HEAD", 1), (b"OPTIONS", 0)])
def test_stored_answers_are_for_get_and_head(method: bytes, stored: int) -> None:
    assert walk(policy=replace(WHOLE, then=(STALE, ARCHIVE)), method=method) == (
        [STALE, ARCHIVE] if stored else []
    )


def test_what_is_out_is_passed_over_with_the_caller_s_word() -> None:
    found = step(out={"stale": "nothing_stored", "legacy": "legacy_busy"})
    assert found == Step(OTHER, 2, "next", (("stale", "nothing_stored"), ("legacy", "legacy_busy")))


def test_an_empty_ladder_is_exhausted() -> None:
    assert step(policy=replace(WHOLE, then=())) == Step(None, 0, "exhausted")


@pytest.mark.parametrize(
    ("rung", "failure", "value"),
    [
        (LEGACY, "connect", b"legacy;why=connect"),
        (OTHER, 503, b"materia-2;why=503"),
        (PAGE, "breaker", b"page;why=breaker"),
    ],
)
def test_the_field_that_says_so(rung: Rung, failure: str | int, value: bytes) -> None:
    assert field_value(rung, failure) == value
