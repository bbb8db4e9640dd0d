# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.rollout import Canary, Gates, parse_stage, parse_steps
from strangler.rollout.gate import Gate, Seen, judge
from strangler.rollout.promotion import (
    LONGEST_REST,
    MOST_FAILURES,
    Brakes,
    Move,
    Pairs,
    Progress,
    consider,
    is_timed,
    next_stage,
    outlook,
    previous_stage,
    rest,
    span,
)

STEPS = parse_steps(["1%", "5%", "25%", "100%"])
GATES = Gates(samples=100, errors=0.2)
TIMED = Canary(steps=STEPS, hold=600.0, gates=GATES, on_fail="back")
GOOD = judge(GATES, Seen(1000), Seen(1000))
BAD = judge(GATES, Seen(1000), Seen(1000, errors=500))
FEW = judge(GATES, Seen(1000), Seen(10))
NONE = Brakes()


def at(stage: str, now: float = 0.0) -> Progress:
    return Progress.of(parse_stage(stage), now)


@pytest.mark.parametrize(
    ("stage", "up", "back"),
    [
        ("legacy", "canary 1%", None),
        ("shadow 10%", "canary 1%", "legacy"),
        ("canary 0%", "canary 1%", "legacy"),
        ("canary 1%", "canary 5%", "legacy"),
        ("canary 3%", "canary 5%", "canary 1%"),
        ("canary 25%", "canary 100%", "canary 5%"),
        ("canary 100%", "live", "canary 25%"),
        ("live", "sealed", "canary 25%"),
        ("sealed", None, "live"),
        ("retired", None, "sealed"),
    ],
)
def test_steps(stage: str, up: str | None, back: str | None) -> None:
    here = parse_stage(stage)
    assert next_stage(here, STEPS) == (up and parse_stage(up))
    assert previous_stage(here, STEPS) == (back and parse_stage(back))


@pytest.mark.parametrize(
    ("stage", "up", "back"),
    [
        ("legacy", None, None),
        ("shadow 10%", None, "legacy"),
        ("canary 5%", None, "legacy"),
        ("canary 100%", "live", "legacy"),
        ("live", "sealed", "legacy"),
    ],
)
def test_without_steps(stage: str, up: str | None, back: str | None) -> None:
    here = parse_stage(stage)
    assert next_stage(here, ()) == (up and parse_stage(up))
    assert previous_stage(here, ()) == (back and parse_stage(back))


def test_a_step_up_needs_its_hold_and_its_gates() -> None:
    progress = at("canary 5%")
    assert consider(TIMED, progress, GOOD, NONE, 599) is None
    assert consider(TIMED, progress, FEW, NONE, 601) is None
    move = consider(TIMED, progress, GOOD, NONE, 601)
    assert isinstance(move, Move)
    assert (move.kind, str(move.stage)) == ("promote", "canary 25%")
    assert move.progress == Progress(parse_stage("canary 25%"), 601, 601)
    assert "kept 10m of 10m" in move.why


def test_conditions_say_how_they_stand() -> None:
    seen = outlook(TIMED, at("canary 5%"), FEW, Brakes(held="held by ana"), 300)
    assert not seen.ready
    assert {one.name: (one.met, one.said) for one in seen.conditions} == {
        "step": (True, "canary 5% to canary 25%"),
        "hold": (False, "kept 5m of 10m"),
        "gate samples": (False, "legacy 1000, service 10, limit 100"),
        "gate errors": (False, "+0.00pp (legacy 0.00%, service 0.00%), limit +0.2pp"),
        "held": (False, "held by ana"),
    }
    assert [one.name for one in seen.unmet] == ["hold", "gate samples", "gate errors", "held"]


def test_by_hand_without_hold_is_never_timed() -> None:
    by_hand = Canary(steps=STEPS, gates=GATES)
    assert not is_timed(by_hand, parse_stage("canary 5%"))
    assert consider(by_hand, at("canary 5%"), GOOD, NONE, 1e6) is None
    assert outlook(by_hand, at("canary 5%"), GOOD, NONE, 0).ready


def test_the_clock_never_goes_live() -> None:
    assert consider(TIMED, at("canary 100%"), GOOD, NONE, 1e6) is None
    assert outlook(TIMED, at("canary 100%"), GOOD, NONE, 1e6).ready


@pytest.mark.parametrize("stage", ["legacy", "shadow 50%", "live", "sealed", "retired"])
def test_the_clock_moves_canaries_alone(stage: str) -> None:
    for judged in ((), GOOD, BAD):
        assert consider(TIMED, at(stage), judged, NONE, 1e6) is None


@pytest.mark.parametrize(
    "brakes", [Brakes(freeze="frozen"), Brakes(held="held"), Brakes(by_hand="ana said so")]
)
def test_brakes_keep_the_step(brakes: Brakes) -> None:
    """Pain 29: people want a freeze that holds timers and gates."""
    assert consider(TIMED, at("canary 5%"), GOOD, brakes, 1e6) is None
    failed = consider(TIMED, at("canary 5%"), BAD, brakes, 1)
    assert failed is not None
    assert (failed.kind, failed.stage) == ("hold", None)
    assert "not moved" in failed.why


def test_a_failed_gate_goes_back_or_holds_as_the_route_says() -> None:
    back = consider(TIMED, at("canary 25%"), BAD, NONE, 5)
    assert back is not None
    assert (back.kind, str(back.stage)) == ("back", "canary 5%")
    assert "errors +50.00pp" in back.why
    keep = Canary(steps=STEPS, hold=600.0, gates=GATES, on_fail="hold")
    held = consider(keep, at("canary 25%"), BAD, NONE, 5)
    assert held is not None
    assert (held.kind, held.stage, str(held.progress.stage)) == ("hold", None, "canary 25%")
    assert held.progress.rests_until == 605


def test_the_first_step_goes_back_to_legacy() -> None:
    move = consider(TIMED, at("canary 1%"), BAD, NONE, 5)
    assert move is not None
    assert str(move.stage) == "legacy"


def test_a_failed_step_rests_longer_each_time_and_then_waits_for_a_person() -> None:
    """Pain 29: a canary that swings to and fro hurts more than one that stays away."""
    now = 0.0
    progress = at("canary 5%")
    rests = []
    for _ in range(MOST_FAILURES):
        up = consider(TIMED, progress, GOOD, NONE, now + 601)
        assert up is not None
        assert (up.kind, str(up.stage)) == ("promote", "canary 25%")
        now += 601
        back = consider(TIMED, up.progress, BAD, NONE, now)
        assert back is not None
        assert back.kind == "back"
        progress = back.progress
        rests.append(progress.rests_until - now)
        assert consider(TIMED, progress, GOOD, NONE, progress.rests_until - 1) is None
        # The rest over, the hold begins anew, and so does the comparison.
        assert progress.measured == progress.rests_until
        assert consider(TIMED, progress, GOOD, NONE, progress.rests_until + 599) is None
        now = progress.rests_until
    assert rests == [600, 1200, 2400]
    assert consider(TIMED, progress, GOOD, NONE, now + 1e6) is None
    told = outlook(TIMED, progress, GOOD, NONE, now + 1e6)
    assert [one.name for one in told.unmet] == ["failures"]


def test_a_step_that_has_passed_is_forgiven() -> None:
    progress = Progress(parse_stage("canary 25%"), 0, 0, 0, 2, 2500)
    move = consider(TIMED, progress, GOOD, NONE, 601)
    assert move is not None
    assert (move.progress.failures, move.progress.failed) == (0, None)


def test_sealing_needs_a_day_without_legacy() -> None:
    live = at("live")
    for saved, met in ((None, False), (3, False), (0, True)):
        told = outlook(TIMED, live, (), NONE, 0, saved=saved)
        assert {one.name: one.met for one in told.conditions} == {"step": True, "seal": met}


@pytest.mark.parametrize(
    ("gates", "compared", "differing", "met"),
    [
        (None, 0, 0, False),  # nothing compared proves nothing
        (None, 1, 0, True),
        (None, 100, 1, False),
        (GATES, 99, 0, False),
        (GATES, 1000, 2, True),
        (GATES, 1000, 3, False),
    ],
)
def test_a_shadow_needs_answers_that_are_alike(
    gates: Gates | None, compared: int, differing: int, met: bool
) -> None:
    canary = Canary(steps=STEPS, gates=gates)
    told = outlook(canary, at("shadow 5%"), (), NONE, 0, pairs=Pairs(compared, differing))
    assert {one.name: one.met for one in told.conditions} == {"step": True, "parity": met}


def test_rests() -> None:
    assert [rest(0, n) for n in (1, 2, 3)] == [60, 120, 240]
    assert rest(1800, 1) == 1800
    assert rest(1800, 1000) == LONGEST_REST


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "0.25s"), (59.9, "59.9s"), (60, "1m"), (5400, "1h 30m"), (90_061, "1d 1h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_the_gates_of_a_route_without_any_are_none() -> None:
    timed = Canary(steps=STEPS, hold=60.0)
    empty: tuple[Gate, ...] = ()
    move = consider(timed, at("canary 1%"), empty, NONE, 61)
    assert move is not None
    assert move.kind == "promote"
