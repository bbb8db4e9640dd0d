# SPDX-License-Identifier: Apache-2.0
"""The endpoint of an attempt."""

from collections import Counter
from dataclasses import dataclass, field

from strangler.resilience.selection import MANY, choose


@dataclass
class Health:
    weight: float = 1.0


@dataclass(eq=False)
class Stub:
    name: str
    inflight: int = 0
    standing: Health = field(default_factory=Health)


def stubs(*inflight: int) -> list[Stub]:
    return [Stub("abcdefghijklmnop"[index], count) for index, count in enumerate(inflight)]


def test_the_least_busy() -> None:
    endpoints = stubs(3, 1, 2)
    for one in (0.0, 0.4, 0.99):
        assert choose(endpoints, (), one, 0.0) is endpoints[1]


def test_by_weight() -> None:
    new, old = stubs(0, 4)
    new.standing.weight = 0.1
    assert choose([new, old], (), 0.0, 0.0) is old
    old.inflight = 12
    assert choose([new, old], (), 0.0, 0.0) is new


def test_equals_by_lot() -> None:
    endpoints = stubs(1, 1, 1, 1)
    chosen = Counter(choose(endpoints, (), n / 100, 0.0) for n in range(100))
    assert set(chosen.values()) == {25}


def test_a_retry_goes_elsewhere_while_there_is_an_elsewhere() -> None:
    first, second = stubs(0, 9)
    assert choose([first, second], [first], 0.0, 0.0) is second
    assert choose([first, second], [first, second], 0.0, 0.0) is first
    assert choose([first], [first], 0.0, 0.0) is first


def test_none_of_none() -> None:
    assert choose([], (), 0.0, 0.0) is None
    assert choose([], stubs(0), 0.0, 0.0) is None


def test_of_many_two_are_compared() -> None:
    endpoints = stubs(*range(MANY + 1))
    assert choose(endpoints, (), 0.999, 0.0) is endpoints[0]  # the last and the first
    assert choose(endpoints, (), 0.5, 0.0) is endpoints[4]  # the fifth and the sixth
    assert choose(endpoints, (), 0.5, 0.999) is endpoints[3]


def test_of_many_the_two_are_never_the_same() -> None:
    endpoints = stubs(*([5] * (MANY + 3)))
    for place, busy in enumerate(endpoints):
        busy.inflight = 6
        for n in range(50):
            one = (place + 0.5) / len(endpoints)
            assert choose(endpoints, (), one, n / 50) is not busy
        busy.inflight = 5
