# SPDX-License-Identifier: Apache-2.0
"""Cache-Status (RFC 9211), read back by a Structured Fields parser."""

import http_sf
import pytest

from strangler.cache.status_field import cache_status, of_hit
from strangler.cache.storable import Uncacheable


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ({"hit": True, "ttl": 9.9, "detail": "edge"}, b"strangler; hit; ttl=9; detail=edge"),
        ({"hit": True, "ttl": -0.1}, b"strangler; hit; ttl=-1"),
        ({"forward": "uri-miss", "stored": True}, b"strangler; fwd=uri-miss; stored"),
        (
            {"forward": "stale", "status": 304, "stored": True, "collapsed": True},
            b"strangler; fwd=stale; fwd-status=304; stored; collapsed",
        ),
        (
            {"forward": "uri-miss", "detail": Uncacheable.SET_COOKIE.value},
            b"strangler; fwd=uri-miss; detail=set-cookie",
        ),
        ({"hit": True, "forward": "stale", "stored": True}, b"strangler; hit"),
        ({"detail": 'a "b" \\ é'}, b'strangler; detail="a \\"b\\" \\\\ ?"'),
        ({}, b"strangler"),
    ],
)
def test_members(words: dict[str, object], value: bytes) -> None:
    found = cache_status("strangler", **words)  # type: ignore[arg-type]
    assert found == value
    assert len(http_sf.parse(found, tltype="list")) == 1  # type: ignore[arg-type]


def test_a_name_with_spaces_is_a_string() -> None:
    found = cache_status("g1 edge", hit=True)
    assert http_sf.parse(found, tltype="list") == [("g1 edge", {"hit": True})]


@pytest.mark.parametrize("ttl", [1e300, -1e300, 2.0**31])
def test_any_ttl_is_a_legal_integer(ttl: float) -> None:
    http_sf.parse(cache_status("a", hit=True, ttl=ttl), tltype="list")


def test_of_a_hit() -> None:
    assert of_hit("s", 3.9, "shared") == b"s; hit; ttl=3; detail=shared"


@pytest.mark.parametrize("reason", list(Uncacheable))
def test_every_reason_is_a_token(reason: Uncacheable) -> None:
    assert cache_status("s", detail=reason.value) == b"s; detail=" + reason.value.encode()
