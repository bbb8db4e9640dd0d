# SPDX-License-Identifier: Apache-2.0
"""Legacy's readers before its guests."""

import pytest

from strangler.resilience.protection import Guard, Kind, Protection

POLICY = Protection(initial=8, least=2, most=12, queue=3, samples=10, window=1.0)
NOW = 100.0


class Legacy:
    """A guard, and the answers of a legacy that takes as long as it is told."""

    def __init__(self, policy: Protection = POLICY) -> None:
        self.guard = Guard(policy, NOW)
        self.now = NOW

    def windows(
        self, count: int, kind: Kind, took: float, *, failed: int = 0, guests: int = 0
    ) -> int:
        """Let *count* windows of 20 answers pass while *guests* are at work; return the limit."""
        for _ in range(count):
            admitted = 0
            while admitted < guests and self.guard.ask("fallback").verdict == "admit":
                admitted += 1
            if admitted < guests:
                self.guard.give_up()
            for index in range(20):
                self.now += 0.0501
                self.guard.answered(kind, took, index < failed, self.now)
            for _ in range(admitted):
                self.guard.leave()
        return self.guard.places.limit


def test_live_readers_are_never_refused() -> None:
    guard = Guard(POLICY, NOW)
    while guard.ask("fallback").verdict != "deny":
        pass
    assert guard.ask("live", readers_wait=True).verdict == "admit"


def test_a_thousand_fallbacks_at_once_are_not_the_second_outage() -> None:
    guard = Guard(POLICY, NOW)
    found = [guard.ask("fallback") for _ in range(1000)]
    verdicts = [admission.verdict for admission in found]
    assert verdicts == ["admit"] * 8 + ["wait"] * 3 + ["deny"] * 989
    assert [found[0].reason, found[8].reason, found[11].reason] == ["room", "queued", "legacy_full"]


def test_a_place_goes_to_the_fallback_that_waits() -> None:
    guard = Guard(POLICY, NOW)
    for _ in range(10):
        guard.ask("fallback")
    guard.give_up()
    assert guard.leave()
    assert not guard.leave()


@pytest.mark.parametrize(("kind", "most"), [("revalidation", 4), ("shadow", 2), ("probe", 8)])
def test_each_kind_has_its_part(kind: Kind, most: int) -> None:
    guard = Guard(POLICY, NOW)
    found = [guard.ask(kind) for _ in range(20)]
    assert [admission.verdict for admission in found] == ["admit"] * most + ["deny"] * (20 - most)
    assert found[-1].reason == "legacy_busy"


def test_there_is_room_for_fallbacks_when_shadows_and_revalidations_have_theirs() -> None:
    guard = Guard(POLICY, NOW)
    for _ in range(20):
        guard.ask("shadow")
        guard.ask("revalidation")
    assert [guard.ask("fallback").verdict for _ in range(4)] == ["admit"] * 4


def test_while_readers_wait_guests_stand_back() -> None:
    guard = Guard(POLICY, NOW)
    for kind in ("shadow", "revalidation", "probe"):
        admission = guard.ask(kind, readers_wait=True)  # type: ignore[arg-type]
        assert (admission.verdict, admission.reason) == ("deny", "readers_wait")
    found = [guard.ask("fallback", readers_wait=True).verdict for _ in range(6)]
    assert found == ["admit"] * 2 + ["wait"] * 3 + ["deny"]


def test_the_queue_goes_on_moving_while_readers_wait() -> None:
    guard = Guard(POLICY, NOW)
    for _ in range(5):
        guard.ask("fallback", readers_wait=True)
    assert [guard.leave() for _ in range(5)] == [True, True, True, False, False]


def test_who_comes_later_does_not_overtake_who_waits() -> None:
    guard = Guard(POLICY, NOW)
    for _ in range(3):
        guard.ask("fallback", readers_wait=True)
    assert guard.ask("fallback").verdict == "wait"
    assert guard.ask("probe").verdict == "deny"


def test_slowness_that_readers_feel_cuts_the_limit_and_quickness_gives_it_back() -> None:
    legacy = Legacy()
    assert legacy.windows(10, "live", 0.05) == 8
    assert legacy.windows(1, "live", 0.3, guests=8) == 5
    assert legacy.windows(9, "live", 0.3, guests=8) == 2
    assert legacy.windows(20, "live", 0.05, guests=8) == 12


def test_slowness_that_guests_cause_does_not_pass_for_usual() -> None:
    legacy = Legacy()
    legacy.windows(10, "live", 0.05)
    assert legacy.windows(40, "live", 0.3, guests=8) == 2


def test_slowness_without_guests_becomes_usual() -> None:
    legacy = Legacy()
    legacy.windows(10, "live", 0.05)
    legacy.windows(60, "live", 0.3)
    assert legacy.guard.places.limit == 8


def test_failures_cut_it_too() -> None:
    legacy = Legacy()
    assert legacy.windows(3, "live", 0.05, failed=10) == 2
    assert Legacy().windows(5, "live", 0.05, failed=20) == 2
    assert Legacy().windows(3, "live", 0.05, failed=2) == 8


def test_without_readers_the_guests_own_latency_counts() -> None:
    legacy = Legacy()
    assert legacy.windows(5, "fallback", 0.1, guests=8) == 12
    assert legacy.windows(2, "fallback", 0.9, guests=12) < 8


def test_a_storm_of_pages_that_are_slow_by_nature_is_not_taken_for_sickness() -> None:
    legacy = Legacy()
    legacy.windows(10, "revalidation", 0.005, guests=1)
    assert legacy.windows(5, "fallback", 0.5, guests=8) >= 8


def test_nor_is_one_that_begins_in_the_middle_of_a_window() -> None:
    legacy = Legacy()
    legacy.windows(10, "revalidation", 0.005, guests=1)
    for _ in range(10):
        legacy.now += 0.0501
        legacy.guard.answered("revalidation", 0.005, False, legacy.now)
    assert legacy.windows(6, "fallback", 0.5, guests=8) >= 8


def test_a_probe_s_latency_says_nothing() -> None:
    legacy = Legacy()
    legacy.windows(10, "probe", 0.001)
    assert legacy.windows(5, "fallback", 0.5, guests=8) >= 8


def test_a_larger_limit_wakes_who_waits() -> None:
    guard = Guard(POLICY, NOW)
    for _ in range(11):
        guard.ask("fallback")
    woken = sum(guard.answered("fallback", 0.1, False, NOW + n / 10) for n in range(21))
    assert woken == 2
    assert guard.places.waiting == 1


def test_a_few_answers_decide_nothing() -> None:
    guard = Guard(POLICY, NOW)
    for n in range(9):
        guard.answered("live", 0.1, True, NOW + n * 10)
    assert guard.places.limit == 8
