# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.rollout import LIFE, Malformed, Stage, parse_percent, parse_stage


@pytest.mark.parametrize(
    ("text", "word", "percent", "share", "sample"),
    [
        ("legacy", "legacy", None, 0, 0),
        ("shadow 10%", "shadow", 10, 0, 1000),
        ("shadow 100%", "shadow", 100, 0, 10_000),
        ("canary 5%", "canary", 5, 500, 0),
        ("canary 5 %", "canary", 5, 500, 0),
        ("canary 0.5%", "canary", 0.5, 50, 0),
        ("canary 0.07%", "canary", 0.07, 7, 0),
        ("canary 33.330%", "canary", 33.33, 3333, 0),
        ("canary 0%", "canary", 0, 0, 0),
        ("canary 100%", "canary", 100, 10_000, 0),
        ("live", "live", None, 10_000, 0),
        ("sealed", "sealed", None, 10_000, 0),
        ("retired", "retired", None, 10_000, 0),
    ],
)
def test_stages(text: str, word: str, percent: float | None, share: int, sample: int) -> None:
    stage = parse_stage(text)
    assert (stage.word, stage.percent, stage.share, stage.sample) == (word, percent, share, sample)
    assert parse_stage(str(stage)) == stage


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", ""),
        ("on", ""),
        ("Live", "write live"),
        ("canary", "write canary 5%"),
        ("canary5%", "space"),
        ("canary 5", "write 5%"),
        ("canary 0.05", "write 0.05%"),
        ("canary 5pp", ""),
        ("canary -1%", ""),
        ("canary 100.01%", ""),
        ("shadow 120%", ""),
        ("canary 0.005%", "10,000 buckets"),
        ("canary 1e1%", ""),
        ("canary ٥%", ""),
        ("live 5%", "write live"),
        ("legacy 0%", "write legacy"),
    ],
)
def test_malformed_stages(text: str, hint: str) -> None:
    with pytest.raises(Malformed, match=r"expected .*, got ") as caught:
        parse_stage(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("word", "percent"),
    [("canary", None), ("live", 5), ("canary", 101), ("canary", -1), ("canary", 0.001), ("off", 1)],
)
def test_a_stage_made_by_hand_is_checked(word, percent) -> None:
    with pytest.raises(Malformed):
        Stage(word, percent)


def test_the_order_of_the_life() -> None:
    assert [Stage(word, 1 if word in ("shadow", "canary") else None).step for word in LIFE] == [
        0, 1, 2, 3, 4, 5,
    ]  # fmt: skip
    assert LIFE == ("legacy", "shadow", "canary", "live", "sealed", "retired")


def test_every_bucket_can_be_written() -> None:
    for hundredths in range(10_001):
        text = f"{hundredths // 100}.{hundredths % 100:02}%"
        assert parse_percent(text) == hundredths
        assert parse_stage(f"canary {text}").share == hundredths
