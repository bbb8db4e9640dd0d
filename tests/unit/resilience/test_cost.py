# SPDX-License-Identifier: Apache-2.0
"""What all of this costs a request that nothing befalls.

Run as a program, it says so in microseconds; the aim is 3 on an idle core. The test's bound is
wide, since other work shares the core: it is there to notice a loop or an allocation too many.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from timeit import timeit

from strangler.resilience.adaptive import Adaptive, Limit
from strangler.resilience.breaker import Breaker
from strangler.resilience.budget import Budget
from strangler.resilience.bulkhead import Bulkhead
from strangler.resilience.chaos import Fault
from strangler.resilience.deadline import Deadline
from strangler.resilience.dependence import Dependence
from strangler.resilience.ejection import Ejection, Ejector, Standing
from strangler.resilience.hedge import Latency, delay
from strangler.resilience.policy import Breaker as Policy
from strangler.resilience.policy import Hedge
from strangler.resilience.protection import Guard, Protection
from strangler.resilience.selection import choose
from strangler.resilience.shed import Shed, Shedding


class Endpoint:
    __slots__ = ("inflight", "standing")
    standing: Standing

    def __init__(self) -> None:
        self.inflight = 0


def healthy() -> Callable[[], None]:
    """Return a request to a service of two endpoints, with every option in use."""
    shedding, breaker, bulkhead = Shedding(Shed()), Breaker(Policy()), Bulkhead(200, 100)
    limit, budget, latency, meter = Limit(Adaptive(), 1.0), Budget(), Latency(), Dependence()
    first, second = endpoints = (Endpoint(), Endpoint())
    ejector = Ejector(Ejection(), endpoints)
    first.standing, second.standing = ejector.standings
    faults: tuple[Fault, ...] = ()
    hedge = Hedge(percentile=95)
    now, took = 5.0, 0.012

    def request() -> None:
        if shedding.level:
            raise AssertionError
        deadline = Deadline.of(now, 10.0)
        permit = breaker.permit(now)
        if not permit or not bulkhead.enter() or faults:
            raise AssertionError
        budget.attempted(now)
        endpoint = choose(ejector.candidates, (), random(), 0.0)
        assert endpoint is not None
        deadline.limit(2.0, now)
        deadline.line(now)
        delay(hedge, latency, now)
        # The answer begins.
        latency.observe(took, now)
        limit.answered(took, bulkhead.inflight, now)
        breaker.succeeded(permit, now, took)
        endpoint.standing.succeeded(now)
        bulkhead.leave()
        meter.answers += 1

    return request


def legacy() -> Callable[[], None]:
    """Return what a request of legacy's own costs on top."""
    guard = Guard(Protection(), 1.0)

    def request() -> None:
        guard.ask("live")
        guard.answered("live", 0.012, False, 1.1)

    return request


def microseconds(request: Callable[[], None], number: int = 2000, repeat: int = 20) -> float:
    return min(timeit(request, number=number) for _ in range(repeat)) / number * 1e6


def test_a_healthy_request_is_hardly_burdened() -> None:
    assert microseconds(healthy()) < 20
    assert microseconds(legacy()) < 5


if __name__ == "__main__":
    print(f"healthy {microseconds(healthy()):.2f} us, legacy's own {microseconds(legacy()):.2f} us")
