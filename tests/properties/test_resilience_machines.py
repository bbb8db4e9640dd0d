# SPDX-License-Identifier: Apache-2.0
"""The state machines of failure against models that are as plain as may be."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from strangler.resilience.breaker import Breaker, State
from strangler.resilience.budget import Budget
from strangler.resilience.bulkhead import Bulkhead
from strangler.resilience.ejection import Ejection, Ejector
from strangler.resilience.policy import Breaker as Policy
from strangler.resilience.protection import Guard, Protection
from strangler.resilience.shed import Shed, Shedding
from strangler.resilience.window import SLOTS, Window

chance = st.floats(0, 1, exclude_max=True)
# Quarters of a second add up exactly, so a model may compare instants.
passing = st.integers(0, 60).map(lambda quarters: quarters / 4)


class Clocked(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    @rule(seconds=passing)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds


class WindowMachine(Clocked):
    """Model: the list of all events."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(10.0)
        self.events: list[tuple[float, int]] = []

    @rule(part=st.integers(0, 1))
    def event(self, part: int) -> None:
        self.window.add(self.now, part)
        self.events.append((self.now, part))

    @rule()
    def cleared(self) -> None:
        self.window.clear()
        self.events.clear()

    @invariant()
    def it_sees_the_last_seconds_give_or_take_a_slot(self) -> None:
        total, part = self.window.counts(self.now)
        slot = 10.0 / SLOTS
        surely = [p for at, p in self.events if at > self.now - 10.0 + slot]
        perhaps = [p for at, p in self.events if at >= self.now - 10.0]
        assert len(surely) <= total <= len(perhaps)
        assert sum(surely) <= part <= sum(perhaps)


class BudgetMachine(Clocked):
    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget()

    @rule(count=st.integers(1, 20))
    def attempts(self, count: int) -> None:
        for _ in range(count):
            self.budget.attempted(self.now)

    @rule(share=st.floats(0, 1))
    def repeat(self, share: float) -> None:
        before = self.budget.spent(self.now)
        granted = self.budget.take(share, self.now)
        attempts, repeats = self.budget.spent(self.now)
        if granted:
            assert (attempts, repeats) == (before[0] + 1, before[1] + 1)
            assert repeats <= max(self.budget.floor, share * attempts)
        else:
            assert (attempts, repeats) == before
            assert repeats + 1 > max(self.budget.floor, share * (attempts + 1))

    @invariant()
    def repeats_are_attempts(self) -> None:
        attempts, repeats = self.budget.spent(self.now)
        assert 0 <= repeats <= attempts


class BreakerMachine(Clocked):
    """Model: an endpoint that is well or ill, attempts in flight, and what must not happen."""

    permits = Bundle("permits")
    begun = Bundle("begun")

    def __init__(self) -> None:
        super().__init__()
        self.policy = Policy(min_requests=4, window=10.0, retry_in=(5.0, 60.0), probes=2)
        self.breaker = Breaker(self.policy)
        self.failed_since_closed = 0
        self.passed_half_open: list[float] = []
        self.begun_probes: list[tuple[int, float]] = []
        self.until: float | None = None

    def forced(self) -> str | None:
        if self.breaker.mode != "auto" and self.until is not None and self.now < self.until:
            return self.breaker.mode
        return None

    @rule(target=permits)
    def ask(self) -> int:
        before = self.breaker.word
        permit = self.breaker.permit(self.now)
        forced = self.forced()
        if forced is not None:
            assert bool(permit) == (forced == "forced_closed")
        elif before == "closed":
            assert permit
        elif before == "open":
            assert bool(permit) == (self.now >= self.breaker.state.until)
            assert self.breaker.word == ("half_open" if permit else "open")
        if before == "half_open" and self.breaker.word == "closed":
            # Content may come for ever: those who ask learn that it has for long enough.
            going_on = [at for of, at in self.begun_probes if of == self.breaker.changes - 1]
            assert going_on
            assert max(going_on) < self.now - 5.0
            self.failed_since_closed = 0
        if permit and before != "half_open" and self.breaker.word == "half_open":
            self.passed_half_open = []
        if permit and self.breaker.word == "half_open" and forced is None:
            self.passed_half_open.append(self.now)
            # Few probes: never more than `probes` within a shortest hold.
            late = [at for at in self.passed_half_open if at > self.now - 5.0]
            assert len(late) <= 2 * self.policy.probes
        return permit

    @rule(permit=consumes(permits))
    def succeeded(self, permit: int) -> None:
        before, changes = self.breaker.word, self.breaker.changes
        self.breaker.succeeded(permit, self.now)
        if self.breaker.word != before:
            assert (before, self.breaker.word) == ("half_open", "closed")
            assert permit == changes
            self.failed_since_closed = 0

    @rule(target=begun, permit=consumes(permits))
    def begins(self, permit: int) -> int:
        """A good head decides nothing while it is a probe's."""
        before = self.breaker.word
        self.breaker.succeeded(permit, self.now, whole=False)
        assert self.breaker.word == before
        if before == "half_open" and permit == self.breaker.changes:
            self.begun_probes.append((permit, self.now))
        return permit

    @precondition(lambda self: self.forced() is None)
    @rule(target=begun, lot=chance)
    def a_probe_begins(self, lot: float) -> int:
        """What chance seldom comes to: it opens, the hold ends, somebody is let in."""
        if self.breaker.word == "closed":
            self.failures_in_a_row(60, lot)
        if self.breaker.word == "open":
            self.now = max(self.now, self.breaker.state.until)
        return self.begins(self.ask())

    @rule(permit=consumes(begun))
    def ends(self, permit: int) -> None:
        before, changes = self.breaker.word, self.breaker.changes
        self.breaker.ended(permit, self.now)
        if self.breaker.word != before:
            assert (before, self.breaker.word) == ("half_open", "closed")
            assert permit == changes
            self.failed_since_closed = 0

    @rule(permit=consumes(begun), lot=chance)
    def breaks(self, permit: int, lot: float) -> None:
        before, changes = self.breaker.word, self.breaker.changes
        self.failed_since_closed += 1
        self.breaker.broke(permit, self.now, lot)
        if before == "half_open" and permit == changes:
            assert self.breaker.word == "open"
        if self.breaker.word != before:
            assert self.breaker.word == "open"
            assert permit == changes
            self.failed_since_closed = 0

    @rule(permit=consumes(begun))
    def left(self, permit: int) -> None:
        before = self.breaker.word
        self.breaker.dropped(permit, begun=True)
        assert self.breaker.word == before
        self.makes_room(permit)

    def makes_room(self, permit: int) -> None:
        """Forget a probe that has said nothing: another one may come at once."""
        if permit == self.breaker.changes and self.passed_half_open:
            self.passed_half_open.pop()

    @rule(permit=consumes(permits), lot=chance)
    def failed(self, permit: int, lot: float) -> None:
        before, changes = self.breaker.word, self.breaker.changes
        self.failed_since_closed += 1
        self.breaker.failed(permit, self.now, lot)
        if self.breaker.word != before:
            assert self.breaker.word == "open"
            assert permit == changes
            hold = self.breaker.state.until - self.now
            assert 5.0 - 1e-9 <= hold <= 60.0 + 1e-9
            if before == "closed":
                assert self.failed_since_closed >= 2  # half of four at least
            self.failed_since_closed = 0

    @rule(count=st.integers(1, 8), lot=chance)
    def failures_in_a_row(self, count: int, lot: float) -> None:
        for _ in range(count):
            permit = self.ask()
            self.failed(permit, lot)

    @rule(permit=consumes(permits))
    def dropped(self, permit: int) -> None:
        before = self.breaker.word
        self.breaker.dropped(permit)
        assert self.breaker.word == before
        self.makes_room(permit)

    @rule(mode=st.sampled_from(["auto", "forced_open", "forced_closed"]), seconds=passing)
    def force(self, mode: Any, seconds: float) -> None:
        word = self.breaker.word
        self.breaker.force(mode, self.now + seconds)
        self.until = self.now + seconds
        assert self.breaker.word == word

    @rule(
        ago=st.floats(0.1, 30), closed=st.booleans(), hold=st.floats(5, 60), holds=st.integers(0, 4)
    )
    def told(self, ago: float, closed: bool, hold: float, holds: int) -> None:
        opened = self.now - ago
        told = State(opened, self.now if closed else 0.0, opened + hold, holds)
        before = self.breaker.state
        taken = self.breaker.merge(State(*json.loads(json.dumps(told))))
        assert taken == (told > before)
        assert self.breaker.state == max(before, told)
        if taken:
            assert self.breaker.word == ("closed" if closed else "open")
            self.failed_since_closed = 0

    @invariant()
    def the_operator_wins(self) -> None:
        forced = self.forced()
        effective = self.breaker.effective(self.now)
        expected = {"forced_open": "open", "forced_closed": "closed", None: self.breaker.word}
        assert effective == expected[forced]

    @invariant()
    def it_is_never_stuck(self) -> None:
        """However it got there: after the hold, and a shortest one more, somebody may try."""
        word, state = self.breaker.word, self.breaker.state
        if self.forced() is None and word != "closed":
            twin = Breaker(self.policy)
            twin.word, twin.state = word, state
            twin.passes = False
            twin._probes = self.policy.probes
            twin._probed_at = self.now
            twin._passed, twin._begun = self.breaker._passed, self.breaker._begun
            twin._begun_at = self.breaker._begun_at
            assert twin._begun >= 0
            assert twin.permit(max(self.now, state.until) + 5.1)


class BulkheadMachine(RuleBasedStateMachine):
    """Model: who is in, and who waits, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.bulkhead = Bulkhead(3, 4)
        self.limit = 3
        self.inside = 0
        self.waiting = 0

    @rule()
    def comes(self) -> None:
        if self.bulkhead.enter():
            assert self.inside < self.limit
            assert self.waiting == 0
            self.inside += 1
        elif self.bulkhead.wait():
            assert self.waiting < 4
            self.waiting += 1
        else:
            assert self.waiting == 4

    @precondition(lambda self: self.waiting)
    @rule()
    def gives_up(self) -> None:
        self.bulkhead.give_up()
        self.waiting -= 1

    @precondition(lambda self: self.inside)
    @rule()
    def leaves(self) -> None:
        over = self.inside > self.limit
        if self.bulkhead.leave():
            assert not over
            self.waiting -= 1
        else:
            assert over or not self.waiting
            self.inside -= 1

    @rule(limit=st.integers(1, 8))
    def resized(self, limit: int) -> None:
        entered = self.bulkhead.resize(limit)
        self.limit = limit
        self.inside += entered
        self.waiting -= entered

    @invariant()
    def the_counts_agree(self) -> None:
        assert (self.bulkhead.inflight, self.bulkhead.waiting) == (self.inside, self.waiting)
        assert 0 <= self.waiting <= 4

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert not self.waiting or self.inside >= self.limit


class EjectionMachine(Clocked):
    @initialize(count=st.integers(1, 6), most=st.floats(0, 1), panic=st.floats(0.1, 0.9))
    def begin(self, count: int, most: float, panic: float) -> None:
        self.policy = Ejection(most=most, panic=panic, hold=(1.0, 30.0), consecutive=3)
        self.ejector = Ejector(self.policy, tuple(range(count)))
        self.count = count

    @rule(place=st.integers(0, 5), lot=chance, connecting=st.booleans(), times=st.integers(1, 30))
    def fails(self, place: int, lot: float, connecting: bool, times: int) -> None:
        standing = self.ejector.standings[place % self.count]
        for _ in range(times):
            self.ejector.failed(standing, self.now, lot, connecting=connecting)

    @rule(place=st.integers(0, 5), times=st.integers(1, 30))
    def succeeds(self, place: int, times: int) -> None:
        for _ in range(times):
            self.ejector.standings[place % self.count].succeeded(self.now)

    @rule(place=st.integers(0, 5), healthy=st.booleans())
    def probed(self, place: int, healthy: bool) -> None:
        self.ejector.probed(self.ejector.standings[place % self.count], healthy, self.now)

    @rule(lot=chance)
    def tick(self, lot: float) -> None:
        self.ejector.tick(self.now, lot)
        for standing in self.ejector.standings:
            assert not standing.ejected or standing.until > self.now

    @invariant()
    def what_holds(self) -> None:
        if not hasattr(self, "ejector"):
            return
        ejector = self.ejector
        well = [
            place
            for place, standing in enumerate(ejector.standings)
            if standing.healthy and not standing.ejected
        ]
        ejected = sum(standing.ejected for standing in ejector.standings)
        assert ejected <= (max(1, int(self.policy.most * self.count)) if self.count > 1 else 0)
        assert ejector.out == self.count - len(well)
        assert ejector.panic == (ejector.out > self.policy.panic * self.count or not well)
        assert list(ejector.candidates) == (list(range(self.count)) if ejector.panic else well)
        assert ejector.candidates  # 53: there is always somebody to try
        assert all(0.1 <= standing.weight <= 1.0 for standing in ejector.standings)


class GuardMachine(Clocked):
    """Model: the guests inside and waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Protection(initial=8, least=2, most=16, queue=4, samples=3, window=1.0)
        self.guard = Guard(self.policy, self.now)
        self.inside = 0
        self.waiting = 0

    @rule(
        kind=st.sampled_from(["live", "fallback", "revalidation", "shadow", "probe"]),
        readers_wait=st.booleans(),
        times=st.integers(1, 40),
    )
    def asks(self, kind: Any, readers_wait: bool, times: int) -> None:
        for _ in range(times):
            limit = self.guard.places.limit
            admission = self.guard.ask(kind, readers_wait=readers_wait)
            if kind == "live":
                assert admission.verdict == "admit"
            elif admission.verdict == "admit":
                self.inside += 1
                assert self.inside <= limit
                assert not readers_wait or (kind == "fallback" and self.inside <= self.policy.least)
            elif admission.verdict == "wait":
                assert kind == "fallback"
                self.waiting += 1

    @precondition(lambda self: self.inside)
    @rule()
    def leaves(self) -> None:
        if self.guard.leave():
            self.waiting -= 1
        else:
            self.inside -= 1

    @precondition(lambda self: self.waiting)
    @rule()
    def gives_up(self) -> None:
        self.guard.give_up()
        self.waiting -= 1

    @rule(
        kind=st.sampled_from(["live", "fallback", "shadow", "probe"]),
        took=st.floats(0.001, 20),
        failed=st.booleans(),
        times=st.integers(1, 10),
    )
    def answers(self, kind: Any, took: float, failed: bool, times: int) -> None:
        for _ in range(times):
            woken = self.guard.answered(kind, took, failed, self.now)
            self.inside += woken
            self.waiting -= woken

    @invariant()
    def what_holds(self) -> None:
        places = self.guard.places
        assert (places.inflight, places.waiting) == (self.inside, self.waiting)
        assert self.policy.least <= places.limit <= self.policy.most
        assert self.waiting <= self.policy.queue
        # Who waits is waited for by somebody who will leave.
        assert not self.waiting or self.inside


class SheddingMachine(Clocked):
    def __init__(self) -> None:
        super().__init__()
        self.policy = Shed()
        self.shedding = Shedding(self.policy)
        self.lately: list[tuple[float, float]] = []

    @rule(worst=st.floats(0, 5))
    def update(self, worst: float) -> None:
        before = self.shedding.level
        changed = self.shedding.update(worst, self.now)
        level = self.shedding.level
        self.lately.append((self.now, worst))
        policy = self.policy
        thresholds = (
            0.0, policy.shadows, policy.crawlers, policy.low, policy.readers, policy.high
        )  # fmt: skip
        assert changed == (level != before)
        assert worst < 1.0 or level >= 4
        if level < before:
            assert level == before - 1
            calm = [each for at, each in self.lately if at > self.now - self.policy.calm]
            assert all(each <= thresholds[before] - self.policy.slack for each in calm)
        elif level > before:
            assert worst >= thresholds[level]

    @rule(lot=chance)
    def the_less_important_never_outlives_the_more_important(self, lot: float) -> None:
        taken = [self.shedding.admits(priority, lot) for priority in range(5)]  # type: ignore[arg-type]
        assert taken == sorted(taken)


for machine in (
    WindowMachine, BudgetMachine, BreakerMachine, BulkheadMachine, EjectionMachine, GuardMachine,
    SheddingMachine,
):  # fmt: skip
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestWindow = WindowMachine.TestCase
TestBudget = BudgetMachine.TestCase
TestBreaker = BreakerMachine.TestCase
TestBulkhead = BulkheadMachine.TestCase
TestEjection = EjectionMachine.TestCase
TestGuard = GuardMachine.TestCase
TestShedding = SheddingMachine.TestCase
