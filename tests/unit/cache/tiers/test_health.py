# SPDX-License-Identifier: Apache-2.0
"""A tier's breaker."""

from strangler.cache.tiers.health import LONGEST, SHORTEST, Health


def fail(health: Health, times: int, now: float = 0.0, chance: float = 1.0) -> list[bool]:
    return [health.failed("timeout", now, chance) for _ in range(times)]


def test_three_failures_take_it_down_and_a_success_brings_it_back() -> None:
    health = Health()
    assert fail(health, 3) == [False, False, True]
    assert not health.up
    assert health.reason == "timeout"
    assert not health.may_ask(SHORTEST - 0.01)
    assert health.may_ask(SHORTEST)
    assert health.succeeded()
    assert health.up
    assert not health.succeeded()


def test_a_hard_failure_is_enough() -> None:
    health = Health()
    assert health.failed("refused", 0.0, 0.0, hard=True)
    assert not health.failed("refused", 0.0, 0.0, hard=True)


def test_successes_make_up_for_few_failures_only() -> None:
    health = Health()
    for _ in range(50):  # one in thirty is nothing
        assert not any(fail(health, 1))
        assert not any(health.succeeded() for _ in range(29))
    for _ in range(20):  # one in four is too much
        if any(fail(health, 1)):
            break
        for _ in range(3):
            health.succeeded()
    assert not health.up


def test_holds_grow_with_jitter_and_are_bounded() -> None:
    health = Health()
    holds = []
    for _ in range(12):
        fail(health, 3, now=100.0)
        holds.append(health.until - 100.0)
        fail(health, 1, now=100.0)  # a probe that fails
    assert holds[0] == SHORTEST
    assert holds[1] > holds[0]
    assert max(holds) == LONGEST
    other = Health()
    fail(other, 3, chance=0.0)
    assert other.until == SHORTEST / 2


def test_what_has_just_come_back_is_on_probation() -> None:
    health = Health()
    fail(health, 3)
    first = health.until
    health.succeeded()
    assert fail(health, 1) == [True]
    assert health.until == 2 * first
    health.succeeded()
    for _ in range(50):
        health.succeeded()
    assert fail(health, 3) == [False, False, True]
    assert health.until == first
