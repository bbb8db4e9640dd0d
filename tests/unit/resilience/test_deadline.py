# SPDX-License-Identifier: Apache-2.0
"""One deadline an exchange."""

from math import inf

import pytest

from strangler.resilience.deadline import LONGEST, Deadline, parse


@pytest.mark.parametrize(
    ("total", "incoming", "at"),
    [
        (None, None, inf),
        (10.0, None, 110.0),
        (None, 2.0, 102.0),
        (10.0, 2.0, 102.0),
        (10.0, 60.0, 110.0),  # a hop before us can't give us more time than we take
        (10.0, 0.0, 100.0),
    ],
)
def test_the_earlier_counts(total: float | None, incoming: float | None, at: float) -> None:
    assert Deadline.of(100.0, total, incoming).at == at


def test_what_is_left_and_the_cut_of_a_timeout() -> None:
    deadline = Deadline(110.0)
    assert deadline.left(104.0) == 6.0
    assert deadline.limit(2.0, 104.0) == 2.0
    assert deadline.limit(20.0, 104.0) == 6.0
    assert deadline.limit(20.0, 111.0) == 0.0
    assert not deadline.over(109.9)
    assert deadline.over(110.0)
    assert Deadline().limit(20.0, 1e9) == 20.0


@pytest.mark.parametrize(
    ("at", "line"),
    [
        (inf, b""),
        (101.8569, b"\r\nX-Deadline-Ms: 1856"),
        (100.0, b"\r\nX-Deadline-Ms: 0"),
        (90.0, b"\r\nX-Deadline-Ms: 0"),
        (1e12, b"\r\nX-Deadline-Ms: %d" % LONGEST),
    ],
)
def test_the_line_that_goes_upstream(at: float, line: bytes) -> None:
    assert Deadline(at).line(100.0) == line


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1856", 1.856),
        (b"0", 0.0),
        (b"999999999", 999999.999),
        (None, None),
        (b"", None),
        (b"-1", None),
        (b"+1", None),
        (b"1.5", None),
        (b"1 ", None),
        (b"12, 13", None),
        (b"1000000000", None),
        ("١".encode(), None),
    ],
)
def test_reading_a_hop_s_field(value: bytes | None, seconds: float | None) -> None:
    assert parse(value) == seconds
