# SPDX-License-Identifier: Apache-2.0
"""What must hold for every reader and every move of a canary (pain 27)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.rollout import (
    BUCKETS,
    Malformed,
    Stage,
    bucket,
    canary_salt,
    decide,
    is_shadowed,
    parse_by,
    parse_gates,
    parse_percent,
    parse_stage,
)

shares = st.integers(0, BUCKETS)


def canary(share: int) -> Stage:
    return Stage("canary", share / 100)


def served(stage: Stage) -> set[int]:
    return {b for b in range(BUCKETS) if decide(stage, b).target == "service"}


@given(shares, shares)
def test_pain_27_raising_moves_only_the_difference(one: int, other: int) -> None:
    low, high = sorted((one, other))
    before, after = served(canary(low)), served(canary(high))
    assert before <= after
    assert len(after - before) == high - low


@given(st.binary(max_size=100), st.text(max_size=50), st.lists(shares).map(sorted))
def test_pain_27_nobody_goes_back_while_a_canary_rises(
    sticky: bytes, name: str, rising: list[int]
) -> None:
    at = bucket(sticky, canary_salt(name))
    assert 0 <= at < BUCKETS
    targets = [decide(canary(share), at).target for share in rising]
    assert targets == sorted(targets)  # legacy, and from some step on service


@given(shares)
def test_a_shadow_answers_nobody(sample: int) -> None:
    stage = Stage("shadow", sample / 100)
    assert served(stage) == set()
    assert sum(is_shadowed(stage.sample, b) for b in range(BUCKETS)) == sample


@given(st.integers(0, BUCKETS - 1))
def test_only_a_shadow_copies(at: int) -> None:
    for text in ("legacy", "canary 100%", "live", "sealed", "retired"):
        assert not is_shadowed(parse_stage(text).sample, at)


@given(st.text(max_size=20) | st.text("canryshdow 0123456789.%+p:", max_size=16))
def test_texts_are_parsed_or_malformed(text: str) -> None:
    for parse in (parse_stage, parse_percent, parse_by, lambda t: parse_gates({t: t})):
        try:
            parse(text)
        except Malformed as error:
            assert 0 <= error.offset <= len(text)


def test_a_million_readers_get_the_share_that_is_said_and_keep_their_side() -> None:
    """Pain 27: within 0.1 percentage points of every usual share, and the same side again."""
    salt = canary_salt("checkout")
    readers = [b"%022x" % n for n in range(1_000_000)]
    found = [bucket(reader, salt) for reader in readers]
    counts = [0] * BUCKETS
    for at in found:
        counts[at] += 1
    for percent in (0.1, 1, 5, 10, 25, 50, 75, 90, 99):
        share = sum(counts[: canary(round(percent * 100)).share]) / len(readers) * 100
        assert abs(share - percent) < 0.1, percent
    five, ten = canary(500).share, canary(1000).share
    moved = sum(five <= at < ten for at in found) / len(readers) * 100
    assert abs(moved - 5) < 0.1
    assert [bucket(reader, salt) for reader in readers[::10]] == found[::10]
