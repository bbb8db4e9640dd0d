# SPDX-License-Identifier: Apache-2.0
"""A breaker by name: what it tells, and a hand on it."""

from __future__ import annotations

import logging
from time import monotonic

from strangler.resilience.policy import Breaker
from strangler.upstream.circuit import Circuit

POLICY = Breaker(min_requests=2, window=10.0, retry_in=(5.0, 10.0))


def made():
    told = []
    return Circuit("materia", POLICY, lambda: told.append(1)), told


def trip(circuit, now):
    for _ in range(2):
        circuit.failed(circuit.permit(now), now)


def test_an_opening_is_told_once_and_shown(caplog):
    caplog.set_level(logging.INFO, "strangler.events")
    circuit, told = made()
    now = monotonic()
    trip(circuit, now)
    assert (told, [r.getMessage() for r in caplog.records]) == ([1], ["breaker.open"])
    assert circuit.permit(now) == 0
    assert circuit.status(now)["word"] == "open"
    assert 5.0 <= circuit.left(now) <= 10.0


def test_what_another_worker_told_is_not_told_again():
    one, told_one = made()
    other, told_other = made()
    now = monotonic()
    trip(one, now)
    other.learn(one.breaker.state)
    other.learn(one.breaker.state)
    assert other.permit(now) == 0
    assert (told_one, told_other) == ([1], [])


def test_pain_52_a_hand_on_it_wins_and_ends_by_itself():
    circuit, _ = made()
    now = monotonic()
    circuit.force("forced_open", now + 60)
    assert circuit.permit(now) == 0
    assert circuit.status(now)["mode"] == "forced_open"
    assert circuit.permit(now + 61)
    trip(circuit, now + 61)
    circuit.force("forced_closed", now + 90)
    assert circuit.permit(now + 62)
    circuit.force("auto")
    assert not circuit.permit(now + 62)


def test_a_failed_attempt_of_before_says_nothing_afterwards():
    circuit, told = made()
    now = monotonic()
    late = circuit.permit(now)
    trip(circuit, now)
    circuit.failed(late, now)
    circuit.succeeded(late, now, 0.1)
    assert told == [1]
