# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.wire.private import private


def control(block: bytes) -> bytes:
    [line] = [one for one in block.split(b"\r\n") if one.lower().startswith(b"cache-control:")]
    return line.partition(b": ")[2]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (b"", b"private"),
        (b"public", b"private"),
        (b"public, max-age=60", b"private, max-age=60"),
        (b"public, max-age=0, s-maxage=10", b"private, max-age=0"),
        (b"Public,S-MaxAge=10 , Max-Age=5", b"private, Max-Age=5"),
        (b"private, max-age=60", b"private, max-age=60"),
        (b'private="set-cookie, x-a", max-age=60', b"private, max-age=60"),
        (b"no-store", b"private, no-store"),
        (b'no-cache="x-a", max-age=60', b'private, no-cache="x-a", max-age=60'),
        (b'no-cache="x-a, x-b", max-age=60', b"private, no-cache, max-age=60"),
        (b"max-age=60, must-revalidate, proxy-revalidate", b"private, max-age=60, must-revalidate"),
        (b"max-age=60, stale-while-revalidate=30, x-own=1",
         b"private, max-age=60, stale-while-revalidate=30, x-own=1"),
        (b'x="broken, max-age=60', b"private, max-age=60"),
        (b'"', b"private"),
    ],
)  # fmt: skip
def test_what_is_said_to_shared_caches_goes_and_the_rest_stays(said: bytes, left: bytes) -> None:
    fields = b"\r\nDate: d\r\nCache-Control: " + said + b"\r\nETag: x"
    block = private(fields)
    assert control(block) == left
    assert b"\r\nDate: d" in block and block.endswith(b"\r\nETag: x")


def test_several_lines_become_one_and_none_becomes_one() -> None:
    lines = b"\r\nCache-Control: public\r\nA: b\r\ncache-control: max-age=5\r\n"
    assert private(lines) == b"\r\nCache-Control: private, max-age=5\r\nA: b\r\n"
    assert private(b"") == b"\r\nCache-Control: private"


@pytest.mark.parametrize(
    "name",
    [
        *("CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control"),
        *("cdn-cache-control", "X-Accel-Expires"),
    ],
)
def test_fields_that_outrank_cache_control_at_shared_caches_go(name: str) -> None:
    """RFC 9213 §2.2: a CDN that knows such a field ignores Cache-Control."""
    block = private(b"\r\nA: b\r\n%b: max-age=600\r\nExpires: e" % name.encode())
    assert block == b"\r\nCache-Control: private\r\nA: b\r\nExpires: e"
