# SPDX-License-Identifier: Apache-2.0
"""Repairs: what names an upstream is mended, what doesn't is left to the byte."""

from __future__ import annotations

import pytest

from strangler.wire.repair import Repair

REPAIR = Repair(frozenset({b"10.0.0.5:8100", b"inner:80", b"[::1]:8100"}))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Location: http://10.0.0.5:8100/a?b", b"Location: https://www.example.com/a?b"),
        (b"location: http://inner/a", b"location: https://www.example.com/a"),
        (b"Location: HTTP://INNER:80", b"Location: https://www.example.com"),
        (b"Location: //inner/a", b"Location: https://www.example.com/a"),
        (b"Location: http://[::1]:8100/", b"Location: https://www.example.com/"),
        (b"Content-Location: http://inner/a", b"Content-Location: https://www.example.com/a"),
        (b"Refresh: 5; url=http://inner/a", b"Refresh: 5; url=https://www.example.com/a"),
        (
            b"Link: <http://inner/a>; rel=next, <http://other/b>; rel=prev",
            b"Link: <https://www.example.com/a>; rel=next, <http://other/b>; rel=prev",
        ),
        (b"Set-Cookie: a=b; Domain=inner; Path=/", b"Set-Cookie: a=b; Path=/"),
        (b"Set-Cookie: a=b; Path=/; domain=.INNER", b"Set-Cookie: a=b; Path=/"),
    ],
)
def test_what_names_the_upstream_is_mended(line: bytes, expected: bytes) -> None:
    block, count = REPAIR.apply(b"\r\nA: b\r\n" + line, b"https", b"www.example.com")
    assert block == b"\r\nA: b\r\n" + expected
    assert count == 1


@pytest.mark.parametrize(
    "line",
    [
        b"Location: /a",
        b"Location: http://www.example.com/a",
        b"Location: http://10.0.0.5:81/a",
        b"Location: http://10.0.0.5:81000/a",
        b"Location: http://inner.example.com/",
        b"Location: http://elsewhere/?next=inner",
        b"X-Location: http://inner/a",
        b"Set-Cookie: a=b; Domain=example.com",
        b"Set-Cookie: a=http://inner/",
    ],
)
def test_what_names_no_upstream_is_left_alone(line: bytes) -> None:
    block = b"\r\n" + line
    assert REPAIR.apply(block, b"https", b"www.example.com") == (block, 0)


def test_an_upstream_that_readers_know_by_the_same_name_is_left_alone() -> None:
    block = b"\r\nLocation: http://inner/a\r\nSet-Cookie: a=b; Domain=inner"
    assert REPAIR.apply(block, b"http", b"inner") == (block, 0)


def test_the_upstreams_own_prefix_goes_too() -> None:
    repair = Repair(frozenset({b"inner:80"}), b"/v2")
    block, _ = repair.apply(b"\r\nLocation: http://inner/v2/a", b"http", b"x")
    assert block == b"\r\nLocation: http://x/a"
    block, _ = repair.apply(b"\r\nLocation: http://inner/v22/a", b"http", b"x")
    assert block == b"\r\nLocation: http://x/v22/a"
