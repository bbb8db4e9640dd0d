# SPDX-License-Identifier: Apache-2.0
"""What must hold of a rollout whatever the clock, the gates and the operators do (pains 27-29)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from strangler.rollout import Canary, Gates, Stage
from strangler.rollout.gate import Seen, Times, judge, overall
from strangler.rollout.promotion import (
    MOST_FAILURES,
    Brakes,
    Progress,
    consider,
    next_stage,
    outlook,
    previous_stage,
)

EDGES = (0.01, 0.1, 1.0)
policies = st.builds(
    Canary,
    steps=st.sets(st.integers(1, 10_000), max_size=6).map(lambda steps: tuple(sorted(steps))),
    hold=st.sampled_from([0.0, 1.0, 1800.0]),
    gates=st.none() | st.builds(Gates, st.integers(1, 500), st.just(0.2), st.just(15.0)),
    on_fail=st.sampled_from(["hold", "back"]),
)
counts = st.integers(0, 2000)


@st.composite
def arms(draw: st.DrawFn) -> Seen:
    row = tuple(draw(st.lists(counts, min_size=4, max_size=4)))
    answers = sum(row)
    return Seen(answers, draw(st.integers(0, answers)), Times(EDGES, row))


@given(st.builds(Gates, st.integers(1, 5000), st.just(0.2), st.just(15.0)), arms(), arms())
def test_inconclusive_is_not_pass(gates: Gates, legacy: Seen, service: Seen) -> None:
    judged = {gate.name: gate.verdict for gate in judge(gates, legacy, service)}
    if min(legacy.answers, service.answers) < gates.samples:
        assert set(judged.values()) == {"wait"}
        return
    assert judged["samples"] == "pass"
    rise = (service.error_share - legacy.error_share) * 100
    assert (judged["errors"] == "pass") == (rise <= 0.2)
    if judged["p95"] == "pass":
        assert legacy.p95 is not None
        assert service.p95 is not None
        assert service.p95 <= legacy.p95 * 1.15 + 1e-9


@given(arms(), st.integers(1, 100))
def test_a_side_does_not_fail_against_itself(seen: Seen, samples: int) -> None:
    assert overall(judge(Gates(samples, 0.2, 15.0), seen, seen)) in ("pass", "wait")


@given(arms(), arms(), arms())
def test_counts_add_up_in_any_order(one: Seen, two: Seen, three: Seen) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert (one + two).since(one) == two


@given(arms(), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_its_bounds(seen: Seen, share: float) -> None:
    found = seen.times.quantile(share)
    assert (found is None) == (seen.times.total == 0)
    if found is not None and share * seen.times.total >= 1:
        low, high = seen.times.bounds(share)
        assert low <= found <= high


class Rollout(RuleBasedStateMachine):
    """One route, the clock that considers it, and people who step in."""

    @initialize(policy=policies)
    def begin(self, policy: Canary) -> None:
        self.policy = policy
        self.now = 1000.0
        start = Stage("canary", policy.steps[0] / 100) if policy.steps else Stage("legacy")
        self.progress = Progress.of(start, self.now)
        self.brakes = Brakes()
        self.judged: tuple = ()
        self.failed_at: list[float] = []

    @rule(seconds=st.floats(0, 4000))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule(legacy=arms(), service=arms())
    def answers_come(self, legacy: Seen, service: Seen) -> None:
        gates = self.policy.gates
        self.judged = judge(gates, legacy, service) if gates is not None else ()

    @rule(freeze=st.booleans(), held=st.booleans(), by_hand=st.booleans(), ordered=st.booleans())
    def brakes_change(self, freeze: bool, held: bool, by_hand: bool, ordered: bool) -> None:
        words = ["frozen" * freeze, "held" * held, "by hand" * by_hand]
        self.brakes = Brakes(*words, ordered="drained" * ordered)

    @rule()
    def the_clock_considers(self) -> None:
        before, steps = self.progress, self.policy.steps
        move = consider(self.policy, before, self.judged, self.brakes, self.now)
        if move is None:
            return
        assert before.stage.word == "canary"
        assert not self.brakes.ordered
        assert self.now >= before.rests_until
        braked = self.brakes != Brakes()
        if move.kind == "promote":
            assert not braked
            assert move.stage == next_stage(before.stage, steps)
            assert move.stage.word == "canary"
            assert overall(self.judged) == "pass"
            assert self.now - before.measured >= self.policy.hold > 0
            # One step, and so only the readers between the two shares move.
            assert not [step for step in steps if before.stage.share < step < move.stage.share]
        else:
            assert overall(self.judged) == "fail"
            assert move.progress.rests_until >= self.now + 60
            assert move.progress.failures >= 1
            if move.kind == "back":
                assert not braked
                assert self.policy.on_fail == "back"
                assert move.stage == previous_stage(before.stage, steps)
                assert move.stage.share < before.stage.share
            else:
                assert move.stage is None
        if move.stage is not None:
            assert move.progress.stage == move.stage
        self.progress = move.progress
        self.judged = ()

    @rule()
    def a_person_goes_back(self) -> None:
        """Never gated: there is no condition to meet, whatever the brakes."""
        stage = previous_stage(self.progress.stage, self.policy.steps)
        assert (stage is None) == (self.progress.stage.word == "legacy")
        if stage is not None:
            assert stage.step < self.progress.stage.step or stage.share < self.progress.stage.share
            self.progress = Progress.of(stage, self.now)

    @rule(force=st.booleans())
    def a_person_promotes(self, force: bool) -> None:
        seen = outlook(self.policy, self.progress, self.judged, self.brakes, self.now, saved=0)
        assert (seen.next is None) == any(one.name == "step" for one in seen.unmet)
        if seen.ready:
            assert not self.brakes.freeze
            assert not self.brakes.held
            assert not self.brakes.ordered
            assert overall(self.judged) == "pass" or seen.stage.word != "canary"
        if seen.next is not None and (force or seen.ready):
            assert seen.next.share >= self.progress.stage.share
            self.progress = Progress.of(seen.next, self.now)

    @invariant()
    def what_failed_too_often_waits_for_a_person(self) -> None:
        if not hasattr(self, "progress") or self.progress.failures < MOST_FAILURES:
            return
        move = consider(self.policy, self.progress, self.judged, Brakes(), self.now)
        assert move is None or move.kind != "promote" or move.stage.share < self.progress.failed


Rollout.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestRollout = Rollout.TestCase
