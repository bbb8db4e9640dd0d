# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.rollout import (
    Decision,
    bucket,
    canary_salt,
    decide,
    is_shadowed,
    parse_stage,
    shadow_salt,
)

READERS = [b"reader-%d" % n for n in range(60_000)]


@pytest.mark.parametrize(
    ("stage", "at", "decision"),
    [
        ("legacy", 0, Decision("legacy", "legacy")),
        ("shadow 100%", 0, Decision("legacy", "shadow")),
        ("canary 5%", 499, Decision("service", "canary_in", 499)),
        ("canary 5%", 500, Decision("legacy", "canary_out", 500)),
        ("canary 0%", 0, Decision("legacy", "canary_out", 0)),
        ("canary 100%", 9999, Decision("service", "canary_in", 9999)),
        ("live", None, Decision("service", "live")),
        ("sealed", 9999, Decision("service", "sealed")),
        ("retired", 9999, Decision("service", "retired")),
    ],
)
def test_decisions(stage: str, at: int | None, decision: Decision) -> None:
    assert decide(parse_stage(stage), at) == decision


def test_a_canary_needs_a_bucket() -> None:
    with pytest.raises(ValueError, match="bucket"):
        decide(parse_stage("canary 100%"), None)


def buckets(salt: str) -> list[int]:
    return [bucket(reader, salt) for reader in READERS]


@pytest.mark.parametrize("salt", [canary_salt("/busca/**"), shadow_salt("checkout")])
@pytest.mark.parametrize("percent", [0.5, 5, 10, 50, 99])
def test_shares_are_what_is_said(salt: str, percent: float) -> None:
    share = sum(b < percent * 100 for b in buckets(salt)) / len(READERS) * 100
    # Four standard deviations: the readers are drawn, so that the share scatters.
    allowed = 4 * (percent * (100 - percent) / len(READERS)) ** 0.5
    assert abs(share - percent) < allowed


def test_shadow_and_canary_are_independent() -> None:
    """Pain 22: with one salt, 10 % shadow beside a 20 % canary is 10 % of the wrong readers."""
    canary, shadow = parse_stage("canary 20%"), parse_stage("shadow 10%")
    name = "/busca/**"
    split = [decide(canary, b).target == "service" for b in buckets(canary_salt(name))]
    copied = [is_shadowed(shadow.sample, b) for b in buckets(shadow_salt(name))]
    pairs = list(zip(split, copied, strict=True))
    for in_canary, rate in ((True, 0.1), (False, 0.1)):
        group = [was for within, was in pairs if within is in_canary]
        assert abs(sum(group) / len(group) - rate) < 4 * (0.09 / len(group)) ** 0.5
    assert abs(sum(split) / len(split) - 0.2) < 0.007


def test_routes_are_independent_and_groups_are_not() -> None:
    canary = parse_stage("canary 50%")

    def inside(name: str) -> list[bool]:
        return [decide(canary, b).target == "service" for b in buckets(canary_salt(name))]

    one, other = inside("/carrinho/**"), inside("/pagamento/**")
    both = sum(a and b for a, b in zip(one, other, strict=True)) / len(READERS)
    assert abs(both - 0.25) < 0.01
    assert inside("checkout") == inside("checkout")
