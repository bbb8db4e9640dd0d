# SPDX-License-Identifier: Apache-2.0
"""Faults on demand."""

from typing import Any

import pytest

from strangler.resilience.chaos import (
    AMOUNTS,
    KINDS,
    LONGEST,
    Fault,
    MalformedFault,
    corrupted,
    parse,
    strike,
)

DELAY = Fault(kind="delay", share=0.1, amount=2.0, until=100.0)
ABORT = Fault(kind="abort", share=0.2, amount=503, until=200.0)


@pytest.mark.parametrize(
    ("now", "chance", "fault"),
    [
        (50.0, 0.0, DELAY),
        (50.0, 0.0999, DELAY),
        (50.0, 0.1, ABORT),
        (50.0, 0.2999, ABORT),
        (50.0, 0.3001, None),
        (100.0, 0.05, ABORT),  # the delay has expired
        (200.0, 0.0, None),
    ],
)
def test_shares_lie_beside_each_other(now: float, chance: float, fault: Fault | None) -> None:
    assert strike((DELAY, ABORT), now, chance) is fault


def test_off_by_default_and_a_share_of_nothing_harms_nobody() -> None:
    assert strike((), 1.0, 0.0) is None
    none = Fault(kind="cut", share=0.0, amount=0, until=9.0)
    assert strike((none,), 1.0, 0.0) is None


@pytest.mark.parametrize(
    ("kind", "amount"),
    [("delay", 1.5), ("abort", 0), ("abort", 503), ("cut", 0), ("trickle", 1), ("corrupt", 1.0)],
)
def test_an_order(kind: str, amount: float) -> None:
    order = {"kind": kind, "share": 0.25, "amount": amount, "seconds": 60}
    assert parse(order, 10.0) == Fault(
        kind=kind,  # type: ignore[arg-type]
        share=0.25,
        amount=amount,
        until=70.0,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "explode"}, "kind: expected one of delay, abort, cut, trickle, corrupt"),
        ({"kind": None}, "kind: expected"),
        ({"share": 1.1}, "share: expected a share, 0 to 1, got 1.1"),
        ({"share": True}, "share"),
        ({"share": "0.5"}, "share"),
        ({"share": float("nan")}, "share"),
        ({"amount": -1}, "amount: expected seconds before the attempt, 0 to 60"),
        ({"amount": None}, "amount"),
        ({"seconds": LONGEST + 1}, "seconds: expected seconds until it ends, 1 to 3600"),
        ({"seconds": float("inf")}, "seconds"),
        ({"seconds": None}, "seconds"),
        ({"kind": "abort", "amount": 200}, "expected 0 or a status from 400, got 200"),
        ({"kind": "abort", "amount": 503.5}, "expected 0 or a status"),
        ({"extra": 1}, "got extra"),
    ],
)
def test_an_order_that_is_not_followed(change: dict[str, Any], message: str) -> None:
    order = {"kind": "delay", "share": 0.5, "amount": 1.0, "seconds": 60} | change
    with pytest.raises(MalformedFault, match=message):
        parse(order, 0.0)


def test_without_an_end_there_is_no_fault() -> None:
    with pytest.raises(MalformedFault, match="seconds"):
        parse({"kind": "delay", "share": 0.5, "amount": 1.0}, 0.0)


@pytest.mark.parametrize("chance", [0.0, 0.3, 0.5, 0.999999])
def test_one_bit_is_turned(chance: float) -> None:
    data = b"Strangler"
    harmed = corrupted(data, chance)
    assert len(harmed) == len(data)
    assert sum((a ^ b).bit_count() for a, b in zip(data, harmed, strict=True)) == 1
    assert corrupted(b"", chance) == b""


def test_every_kind_has_its_amount() -> None:
    assert tuple(AMOUNTS) == KINDS
