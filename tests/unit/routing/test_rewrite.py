# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.routing import AmbiguousPath, Location, Malformed, Rewrite, parse_key


def pattern(key: str):
    return parse_key(key).pattern


@pytest.mark.parametrize(
    ("prefix", "path", "made"),
    [
        ("/api/v1", b"/api/v1/a", b"/a"),
        ("/api/v1/", b"/api/v1/a//b/", b"/a//b/"),
        ("/api", b"/%61pi/v1/%2F", b"/v1/%2F"),
        ("/api/v1", b"/api/v1", b"/"),
        ("/api/v1", b"/api/v1/", b"/"),
        ("/%61pi", b"/api/v1/a", b"/v1/a"),
        ("/api", b"*", b"*"),
    ],
)
def test_strip(prefix: str, path: bytes, made: bytes) -> None:
    assert Rewrite.stripping(prefix, pattern("/api/v1/**")).apply(path, {}) == made


@pytest.mark.parametrize("prefix", ["", "/", "api", "/ap", "/api/v2", "/api/v1/x", "/api/{x}"])
def test_a_prefix_that_is_none(prefix: str) -> None:
    with pytest.raises(Malformed):
        Rewrite.stripping(prefix, pattern("/api/v1/**"))


def test_a_capture_is_no_prefix() -> None:
    with pytest.raises(Malformed):
        Rewrite.stripping("/x", pattern("/{x}/**"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [("x", ""), ("/x?y", "query"), ("/a/../b", ""), ("/{z}", "it has {x}, {**}"), ("/{", "alone")],
)
def test_a_rewrite_that_is_none(text: str, hint: str) -> None:
    with pytest.raises(Malformed) as caught:
        Rewrite.to(text, pattern("/{x}/**"))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "value", [b"..", b"a/../..", b"%2e%2E/a", b"a%2F..%2Fb", b"a\\..\\b", b"."]
)
def test_no_rewrite_leads_out(value: bytes) -> None:
    for rewrite in (
        Rewrite.to("/new/{**}", pattern("/old/**")),
        Rewrite.stripping("/old", pattern("/old/**")),
    ):
        with pytest.raises(AmbiguousPath) as refused:
            rewrite.apply(b"/old/" + value, {"**": value})
        assert refused.value.status == 400


def test_a_rewrite_keeps_raw_bytes() -> None:
    rewrite = Rewrite.to("/é/{y}/{**}", pattern("/{y}/**"))
    made = rewrite.apply(b"", {"y": b"%2f%zz;a", "**": b"//x%C3%a9/.y"})
    assert made == b"/%C3%A9/%2f%zz;a///x%C3%a9/.y"


@pytest.mark.parametrize(
    "text",
    [
        "promo/{**}",
        "//host/{**}",
        "ftp://host/",
        "javascript:alert(1)",
        "https://{x}.example.com/",
        "https://example.com{**}",
        "https://example.com@{**}",
        "https://a@example.com/",
        "https:/\\example.com/",
        "/\\{x}",
        "{x}",
        "/{y}",
        "",
    ],
)
def test_a_location_that_is_none(text: str) -> None:
    with pytest.raises(Malformed):
        Location.parse(text, pattern("/{x}/**"))


@pytest.mark.parametrize(
    ("text", "value", "made"),
    [
        ("/promo/", b"x", b"/promo/"),
        ("/{**}", b"/evil.example", b"/evil.example"),
        ("/{**}", b"///evil.example/a//b", b"/evil.example/a//b"),
        ("/{**}", b"\\evil.example", b"/%5Cevil.example"),
        ("/{**}", b"\t/evil.example", b"/%09/evil.example"),
        ("/{x}", b"%2Fevil.example", b"/%2Fevil.example"),
        ("/a/{**}", b"x\r\nSet-Cookie: a=b", b"/a/x%0D%0ASet-Cookie:%20a=b"),
        ("/a/{**}", b'x\x00\x7f\xff"<>', b"/a/x%00%7F%FF%22%3C%3E"),
        ("/a/{**}", b"?b=c#d", b"/a/%3Fb=c%23d"),
        ("/a?b={**}", b"c&d=e#f+", b"/a?b=c%26d%3De%23f%2B"),
        ("/a#{x}", b"b", b"/a#b"),
        ("https://example.com/{**}", b"/a", b"https://example.com//a"),
        ("https://example.com", b"", b"https://example.com"),
        ("/São/{x}", b"caf%C3%a9", b"/S%C3%A3o/caf%C3%a9"),
    ],
)
def test_no_request_turns_a_location(text: str, value: bytes, made: bytes) -> None:
    location = Location.parse(text, pattern("/{x}/**"))
    assert location.expand({"x": value, "**": value}) == made


@pytest.mark.parametrize(
    ("text", "query", "made"),
    [
        ("/a", b"", b"/a"),
        ("/a", b"b=c&d", b"/a?b=c&d"),
        ("/a?x=1", b"b=c", b"/a?x=1&b=c"),
        ("/a#top", b"b=c", b"/a?b=c#top"),
        ("/a", b"b=\r\n#<", b"/a?b=%0D%0A%23%3C"),
        ("/a", b"b=%2F?{}", b"/a?b=%2F?{}"),
    ],
)
def test_the_query_is_added(text: str, query: bytes, made: bytes) -> None:
    assert Location.parse(text, pattern("/a")).expand({}, query) == made
