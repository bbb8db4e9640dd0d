# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler import units


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (units.duration, "300ms", 0.3),
        (units.duration, "10s", 10),
        (units.duration, "1.5 s", 1.5),
        (units.duration, "5m", 300),
        (units.duration, "1h", 3600),
        (units.duration, "30d", 2592000),
        (units.duration, "1w", 604800),
        (units.size, "0B", 0),
        (units.size, "256KB", 262144),
        (units.size, "256KiB", 262144),
        (units.size, "1.5GB", 1610612736),
        (units.percent, "5%", 5),
        (units.percent, "0.25 %", 0.25),
    ],
)
def test_read(read: Callable[[str], float], text: str, value: float) -> None:
    assert read(text) == value


@pytest.mark.parametrize("read", [units.duration, units.size, units.percent])
@pytest.mark.parametrize("text", ["", "s", "1e3s", "+1s", "١s", "1 0s", "1s ago", "1__0s", "∞s"])
def test_refused(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(units.UnitError):
        read(text)


@pytest.mark.parametrize(
    ("read", "hint"),
    [
        (units.duration, "write the unit: 10s"),
        (units.size, "write the unit: 10B"),
        (units.percent, "write the unit: 10%"),
    ],
)
def test_a_bare_number_is_told_its_unit(read: Callable[[str], float], hint: str) -> None:
    with pytest.raises(units.UnitMissing) as missing:
        read("10")
    assert missing.value.hint == hint


@given(st.integers(0, 10**11))
def test_durations_survive_being_shown(milliseconds: int) -> None:
    assert units.duration(units.show_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 10**12))
def test_sizes_survive_being_shown(count: int) -> None:
    assert units.size(units.show_size(count)) == count


def test_percents_survive_being_shown() -> None:
    assert [units.show_percent(value) for value in (5.0, 0.5, 100, 0)] == [
        "5%",
        "0.5%",
        "100%",
        "0%",
    ]
