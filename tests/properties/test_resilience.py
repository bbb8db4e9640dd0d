# SPDX-License-Identifier: Apache-2.0
"""What holds of retries, selection, ladders and estimates for any input."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

from hypothesis import given
from hypothesis import strategies as st

from strangler.resilience import chaos, hedge, ladder, retry
from strangler.resilience.breaker import State, merged
from strangler.resilience.budget import Budget
from strangler.resilience.deadline import Deadline, parse
from strangler.resilience.policy import FAILURE_WORDS, Backoff, Failures, Fallback, Retry, Rung
from strangler.resilience.selection import MANY, choose

chance = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0.001, 1e6)
failure = st.sampled_from([*FAILURE_WORDS, 404, 429, 500, 502, 503, 504])
failures = st.builds(
    Failures,
    st.frozensets(st.sampled_from(FAILURE_WORDS)),
    st.frozensets(st.sampled_from([404, 429, 500, 502, 503, 504])),
)
method = st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE", b"PATCH"])
policies = st.builds(
    Retry,
    tries=st.integers(0, 10),
    when=failures,
    methods=st.frozensets(method),
    budget=st.floats(0, 1),
    backoff=st.builds(Backoff, base=st.floats(0.001, 1), cap=st.floats(0.001, 10)),
    idempotency_key=st.none() | st.just(b"idempotency-key"),
)


@given(
    policies, failure, method, st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    st.integers(0, 12), st.booleans(), st.just(inf) | st.floats(-5, 30), chance,
    st.none() | st.floats(0, 100),
)  # fmt: skip
def test_13_14_15_no_attempt_follows_that_could_do_harm(
    policy: Retry, word: str | int, verb: bytes, keyed: bool, sent: bool, begun: bool,
    replayable: bool, retries: int, elsewhere: bool, left: float, lot: float,
    retry_after: float | None,
) -> None:  # fmt: skip
    """Pains 13, 14 and 15, whatever the route says."""
    budget = Budget()
    decision = retry.decide(
        policy, word, method=verb, keyed=keyed, sent=sent, begun=begun, replayable=replayable,
        retries=retries, elsewhere=elsewhere, left=left, budget=budget, now=1.0, chance=lot,
        retry_after=retry_after,
    )  # fmt: skip
    assert decision.again == (decision.reason in ("retry", "elsewhere"))
    assert budget.spent(1.0) == ((1, 1) if decision.reason == "retry" else (0, 0))
    if not decision.again:
        return
    assert replayable
    assert not begun
    assert decision.wait < left
    may_repeat = verb in policy.methods or (keyed and policy.idempotency_key is not None)
    assert may_repeat or not sent
    if decision.reason == "retry":
        assert word in policy.when
        assert retries < policy.tries
        assert retry_after is None or decision.wait >= retry_after
        assert decision.wait <= policy.backoff.cap


@given(
    st.builds(Backoff, base=st.floats(0.001, 10), cap=st.floats(0.001, 60)),
    st.integers(0, 5000),
    chance,
)
def test_backoff_is_uniform_below_a_ceiling_that_never_falls(
    policy: Backoff, count: int, lot: float
) -> None:
    ceiling = retry.backoff(policy, count, 1.0)
    assert retry.backoff(policy, count, lot) == lot * ceiling
    assert ceiling <= policy.cap
    assert ceiling <= retry.backoff(policy, count + 1, 1.0)


@given(st.binary(max_size=40), st.floats(-1e9, 1e10))
def test_retry_after_never_raises_and_is_never_negative(value: bytes, wall: float) -> None:
    found = retry.parse_retry_after(value, wall)
    assert found is None or found >= 0.0


rungs = st.lists(
    st.sampled_from(
        [Rung("stale"), Rung("legacy"), Rung("archive"), Rung("upstream", "b"), Rung("page", "p")]
    ),
    max_size=6,
).map(tuple)


@given(
    st.builds(Fallback, when=failures, then=rungs, writes=st.booleans()),
    failure, method, st.booleans(), st.booleans(), st.booleans(),
    st.dictionaries(st.sampled_from(["stale", "legacy", "archive", "b"]), st.just("out")),
)  # fmt: skip
def test_a_ladder_goes_down_once_and_every_rung_is_used_or_has_its_reason(
    policy: Fallback, word: str | int, verb: bytes, sent: bool, begun: bool, replayable: bool,
    out: dict[str, str],
) -> None:  # fmt: skip
    after, seen = -1, 0
    while True:
        step = ladder.descend(
            policy, word, method=verb, sent=sent, begun=begun, replayable=replayable,
            after=after, out=out,
        )  # fmt: skip
        seen += len(step.skipped)
        if step.rung is None:
            break
        assert word in policy.when
        assert not begun
        assert step.index > after
        assert policy.then[step.index] is step.rung
        assert str(step.rung) not in out
        if step.rung.kind in ("legacy", "upstream"):
            assert replayable
            assert not sent or verb in ladder.SAFE or policy.writes
        after, seen = step.index, seen + 1
    assert seen == (len(policy.then) if step.reason == "exhausted" else 0)


@dataclass(eq=False)
class Endpoint:
    inflight: int
    weight: float

    @property
    def standing(self) -> Endpoint:
        return self


endpoints = st.lists(
    st.builds(Endpoint, st.integers(0, 50), st.floats(0.1, 1.0)), max_size=MANY + 6
)


@given(endpoints, st.sets(st.integers(0, MANY + 5)), chance, chance)
def test_the_chosen_has_least_to_do_and_was_not_tried_if_another_was_not(
    candidates: list[Endpoint], places: set[int], one: float, other: float
) -> None:
    tried = [candidates[place] for place in places if place < len(candidates)]
    chosen = choose(candidates, tried, one, other)
    if chosen is None:
        assert not candidates
        return
    assert chosen in candidates
    left = [each for each in candidates if each not in tried]
    assert chosen in (left or candidates)
    loads = sorted((each.inflight + 1) / each.weight for each in left or candidates)
    load = (chosen.inflight + 1) / chosen.weight
    if len(loads) <= MANY:
        assert load == loads[0]
    else:
        assert load <= loads[-2]  # better than the worst: two different ones were compared


@given(st.lists(st.floats(0.0002, 90.0), min_size=20, max_size=300), st.integers(1, 100))
def test_an_estimated_percentile_is_within_five_percent(values: list[float], percent: int) -> None:
    latency = hedge.Latency()
    for value in values:
        latency.observe(value, 1.0)
    found = latency.percentile(percent, 1.0)
    exact = sorted(values)[max(0, ceil(len(values) * percent / 100 - 1e-6) - 1)]
    assert found is not None
    assert abs(found - exact) <= exact * 0.05


@given(st.lists(st.tuples(st.floats(0, 200), st.floats(0, 60)), max_size=200))
def test_a_percentile_never_falls_with_its_percent(answers: list[tuple[float, float]]) -> None:
    latency, now = hedge.Latency(), 0.0
    for took, passed in answers:
        now += passed
        latency.observe(took, now)
    found = [latency.percentile(percent, now) for percent in (1, 50, 95, 100)]
    assert found == [None] * 4 or found == sorted(found)  # type: ignore[type-var]


states = st.builds(
    State, st.floats(1, 100), st.just(0.0) | st.floats(1, 100), st.floats(1, 200), st.integers(0, 5)
)


@given(states, states, states)
def test_merging_states_is_free_of_order_and_repetition(a: State, b: State, c: State) -> None:
    assert merged(a, b) == merged(b, a)
    assert merged(a, merged(b, c)) == merged(merged(a, b), c)
    assert merged(a, a) == a
    assert merged(a, b).opened == max(a.opened, b.opened)


@given(st.floats(0, 1e6), st.none() | seconds, st.none() | seconds, st.floats(0, 1e6), seconds)
def test_a_deadline_is_never_moved_out_on_its_way(
    now: float, total: float | None, incoming: float | None, passed: float, timeout: float
) -> None:
    deadline = Deadline.of(now, total, incoming)
    later = now + passed
    assert 0.0 <= deadline.limit(timeout, later) <= timeout
    assert deadline.over(later) == (deadline.left(later) <= 0.0)
    line = deadline.line(later)
    if line:
        told = parse(line.partition(b": ")[2])
        assert told is not None
        assert Deadline.of(later, None, told).at <= max(later, deadline.at) + 1e-6
    else:
        assert deadline.at == inf


faults = st.lists(
    st.builds(
        chaos.Fault,
        kind=st.sampled_from(chaos.KINDS),
        share=chance,
        amount=st.just(1.0),
        until=st.floats(0, 100),
    ),
    max_size=5,
).map(tuple)


@given(faults, st.floats(0, 100), chance)
def test_a_fault_strikes_only_before_its_end_and_with_its_share(
    orders: tuple[chaos.Fault, ...], now: float, lot: float
) -> None:
    fault = chaos.strike(orders, now, lot)
    live = [order for order in orders if order.until > now]
    if fault is None:
        assert lot >= sum(order.share for order in live) - 1e-9
    else:
        assert fault in live
        assert chaos.strike(orders, now, 0.0) is not None
