# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.rollout import By, Canary, Gates, Malformed, parse_gates, parse_steps


def test_steps() -> None:
    assert parse_steps(["1%", "5%", "25.5%", "100%"]) == (100, 500, 2550, 10_000)
    assert parse_steps([]) == ()


@pytest.mark.parametrize("steps", [["5%", "5%"], ["5%", "1%"], ["5"], ["101%"]])
def test_malformed_steps(steps: list[str]) -> None:
    with pytest.raises(Malformed):
        parse_steps(steps)


def test_gates() -> None:
    assert parse_gates({"errors": "+0.2pp", "p95": "+15%", "samples": 2000}) == Gates(
        samples=2000, errors=0.2, p95=15.0
    )
    assert parse_gates({"samples": 1}) == Gates(1)


@pytest.mark.parametrize(
    "gates",
    [
        {"errors": "+0.2pp"},  # pain 28: a gate that saw nothing must not pass
        {"samples": 0},
        {"samples": "2000"},
        {"samples": True},
        {"samples": 1, "errors": "+0.2%"},
        {"samples": 1, "errors": "0.2pp"},
        {"samples": 1, "p95": "+15"},
        {"samples": 1, "p95": "+15pp"},
        {"samples": 1, "p99": "+15%"},
    ],
)
def test_malformed_gates(gates) -> None:
    with pytest.raises(Malformed):
        parse_gates(gates)


def test_defaults() -> None:
    canary = Canary()
    assert canary.by == By("reader")
    assert canary.salted_by("/x/**") == "/x/**"
    assert Canary(group="checkout").salted_by("/x/**") == "checkout"
