# SPDX-License-Identifier: Apache-2.0
"""A limit that follows latency."""

from strangler.resilience.adaptive import Adaptive, Limit

POLICY = Adaptive(initial=20, least=4, most=100, window=1.0, samples=10, memory=20)


class Run:
    """A worker's answers, a window at a time."""

    def __init__(self, policy: Adaptive = POLICY) -> None:
        self.limit = Limit(policy, 100.0)
        self.now = 100.0

    def windows(
        self, count: int, took: float, *, inflight: int | None = None, failed: int = 0
    ) -> int:
        """Let *count* windows pass, each of 20 answers, and return the limit."""
        for _ in range(count):
            running = self.limit.limit if inflight is None else inflight
            for index in range(20):
                self.now += 0.0501
                if index < failed:
                    self.limit.failed(running, self.now)
                else:
                    self.limit.answered(took, running, self.now)
        return self.limit.limit


def test_it_grows_while_latency_stays() -> None:
    assert Run().windows(100, 0.1) == POLICY.most


def test_it_shrinks_when_latency_grows_and_comes_back() -> None:
    run = Run(Adaptive(initial=20, least=4, window=1.0, samples=10, memory=600))
    before = run.windows(30, 0.1)
    slow = run.windows(30, 0.5)
    assert slow < before / 2
    assert run.windows(60, 0.1) > before


def test_it_never_leaves_its_bounds() -> None:
    run = Run()
    run.windows(20, 0.1)
    run.windows(200, 60.0, failed=20)
    assert run.limit.limit == POLICY.least


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    assert Run().windows(100, 0.1, inflight=2) == POLICY.initial


def test_failures_shrink_it() -> None:
    run = Run()
    assert run.windows(5, 0.1, failed=20) < POLICY.initial
    few = Run()
    assert few.windows(5, 0.1, failed=1) >= POLICY.initial


def test_a_few_answers_say_nothing() -> None:
    limit = Limit(POLICY, 100.0)
    for index in range(9):
        assert not limit.answered(9.0, 20, 100.0 + index)
    assert limit.limit == POLICY.initial


def test_changes_are_told() -> None:
    limit = Limit(POLICY, 100.0)
    told = [limit.answered(0.1, 20, 100.0 + n / 10) for n in range(22)]
    assert told.index(True) == 20
    assert limit.limit > POLICY.initial


def test_the_long_term_comes_down_faster_than_it_went_up() -> None:
    run = Run(Adaptive(window=1.0, memory=600))
    run.windows(1, 1.0)
    run.windows(20, 0.1)
    down = run.limit.long
    assert down < 0.5
    run.windows(20, 1.0)
    assert run.limit.long < down + 0.1


def test_answers_in_no_time_at_all() -> None:
    assert Run().windows(10, 0.0) == POLICY.initial
