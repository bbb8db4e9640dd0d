# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.config.snapshot import Listen, Redirect, Rewrite, Site
from strangler.template import Template


@pytest.mark.parametrize(
    ("strip", "path", "sent"),
    [
        (1, b"/api/x/y", b"/x/y"),
        (2, b"/api/v1/x", b"/x"),
        (1, b"/%61pi/x%2Fy", b"/x%2Fy"),
        (1, b"/api/", b"/"),
        (1, b"/api", b"/"),
        (1, b"/api//x", b"//x"),
    ],
)
def test_strip_counts_segments(strip: int, path: bytes, sent: bytes) -> None:
    assert Rewrite(strip=strip).apply(path, {}) == sent


def test_rewrite_fills_raw_bytes_in() -> None:
    rewrite = Rewrite(template=Template.parse("/v2/{slug}/{**}"))
    assert rewrite.apply(b"/x", {"slug": b"a%2Fb", "**": b"c/d"}) == b"/v2/a%2Fb/c/d"


@pytest.mark.parametrize(
    ("location", "query", "keep", "target"),
    [
        ("/promo/", b"", True, b"/promo/"),
        ("/promo/", b"a=1", True, b"/promo/?a=1"),
        ("/promo/", b"a=1", False, b"/promo/"),
        ("/promo/?b=2", b"a=1", True, b"/promo/?b=2&a=1"),
        ("/promo/#top", b"a=1", True, b"/promo/?a=1#top"),
        ("/x/{id}", b"", True, b"/x/7"),
    ],
)
def test_redirect(location: str, query: bytes, keep: bool, target: bytes) -> None:
    redirect = Redirect(location=Template.parse(location), keep_query=keep)
    assert redirect.target({"id": b"7"}, query) == target


def test_site_serves() -> None:
    assert Site().serves("any.example")
    site = Site(hosts=("www.example.com", "*.blog.example.com"))
    assert site.serves("www.example.com")
    assert site.serves("a.b.blog.example.com")
    assert not site.serves("blog.example.com")
    assert not site.serves("evil-www.example.com")


def test_addresses_are_written_as_people_do() -> None:
    assert str(Listen(host="::1", port=80)) == "[::1]:80"
    assert str(Listen(port=80)) == ":80"
    assert str(Listen(unix="/run/x")) == "unix:/run/x"
