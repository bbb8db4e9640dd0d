# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.routing import REST, Malformed, Segment, parse_key


def test_a_whole_key() -> None:
    key = parse_key("GET,POST WWW.Example.com/noticia/{slug}.ghtml")
    assert key.methods == {b"GET", b"POST"}
    assert key.host == b"www.example.com"
    assert key.pattern.segments == (Segment((b"noticia",)), Segment((b"", b".ghtml"), ("slug",)))
    assert not key.pattern.rest
    assert str(key) == "GET,POST WWW.Example.com/noticia/{slug}.ghtml"


def test_the_least_key() -> None:
    key = parse_key("/**")
    assert (key.methods, key.host, key.pattern.segments) == (frozenset(), None, ())
    assert key.pattern.rest
    assert key.pattern.names == (REST,)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("*.Example.com/", b"*.example.com"),
        ("www.example.com./", b"www.example.com"),
        ("localhost/", b"localhost"),
        ("127.0.0.1/", b"127.0.0.1"),
        ("[::1]/", b"[::1]"),
        ("notícias.example/", b"xn--notcias-9ya.example"),
    ],
)
def test_hosts(text: str, host: bytes) -> None:
    assert parse_key(text).host == host


@pytest.mark.parametrize(
    ("text", "offset", "hint"),
    [
        ("", 0, ""),
        ("busca", 0, "write /busca"),
        ("post /votar", 0, "POST"),
        ("GET,post /votar", 4, "POST"),
        ("GET, POST /votar", 4, "without a space"),
        ("GET,GET /votar", 4, ""),
        ("/a b", 0, "%20"),
        ("GET /a b", 6, "%20"),
        ("GET  /a", 4, "%20"),
        ("http://www.example.com/a", 0, "scheme"),
        ("www.example.com:8000/a", 0, "port"),
        ("GET www.*/a", 4, "first labels"),
        ("*/a", 0, "leave the host out"),
        ("a..b/x", 0, ""),
        ("/a?b=c", 2, "query"),
        ("/a#b", 2, ""),
        ("/a//b", 2, "**"),
        ("//", 0, "**"),
        ("/**/a", 1, "last segment"),
        ("/a**", 1, "last segment"),
        ("/*", 1, "{name}"),
        ("/*.css", 1, "{name}"),
        ("/<slug:slug>", 1, "without a type"),
        ("/{}", 1, ""),
        ("/{a b}", 0, "%20"),
        ("/{1}", 1, ""),
        ("/{**}", 1, "last segment"),
        ("/{a}{b}", 4, ""),
        ("/{a}/{a}", 5, ""),
        ("/{a", 1, "%7B"),
        ("/a}", 2, "%7B"),
        ("/100%", 4, "%25"),
        ("/%zz", 1, "%25"),
        ("/a%2Fb", 2, "encoded slash"),
        ("/a%5cb", 2, ""),
        ("/a\\b", 2, ""),
        ("/a%00", 2, ""),
        ("/a\x00", 2, ""),
        ("/a/..", 3, "dot segments"),
        ("/%2e/a", 1, "dot segments"),
    ],
)
def test_malformed_keys(text: str, offset: int, hint: str) -> None:
    with pytest.raises(Malformed, match=r"expected .*, got .") as caught:
        parse_key(text)
    assert caught.value.offset == offset
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("key", "path", "params"),
    [
        ("/a", b"/a", {}),
        ("/{a}/b", b"/x/b", {"a": b"x"}),
        ("/{a}.pdf", b"/x.pdf.pdf", {"a": b"x.pdf"}),
        ("/p-{a}", b"/p-p-", {"a": b"p-"}),
        ("/{y}-{m}", b"/2024-05-06", {"y": b"2024", "m": b"05-06"}),
        ("/{y}-{m}", b"/--x", {"y": b"-", "m": b"x"}),
        ("/{y}.{m}", b"/2024.05", {"y": b"2024", "m": b"05"}),
        ("/{a}--{b}", b"/-----", {"a": b"-", "b": b"--"}),
        ("/a/**", b"/a/", {REST: b""}),
        ("/a/**", b"/a//b/%2F", {REST: b"/b/%2F"}),
        ("/{a}/**", b"/x/y/z", {"a": b"x", REST: b"y/z"}),
        ("/{a}.pdf", b"/%41%2f%c3%A9.%70df", {"a": b"%41%2f%c3%A9"}),
        ("/{a}.pdf", b"/%00x%2Epdf", {"a": b"%00x"}),
        ("/{y}-{m}", b"/%2D%2d%2D", {"y": b"%2D", "m": b"%2D"}),
        ("/{a}2", b"/%E22", {"a": b"%E2"}),
        ("/**", b"*", {REST: b""}),
    ],
)
def test_captures_are_raw_bytes(table, head, key, path, params) -> None:
    match = table(key).match(head(path))
    assert match is not None
    assert match.params == params


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("/{a}2", b"/%E2"),  # the 2 is within an escape
        ("/{a}.pdf", b"/.pdf"),
        ("/{y}-{m}", b"/-m"),
        ("/{y}-{m}", b"/y-"),
        ("/a{x}a", b"/aa"),
        ("/a", b""),
        ("/**", b""),
        ("/a/**", b"*"),
        ("/a", b"*"),
        ("/{a}", b"x"),
    ],
)
def test_what_does_not_fit(table, head, key, path) -> None:
    assert table(key).match(head(path)) is None


def test_many_captures_cost_linear_time() -> None:
    """A regular expression would take minutes for this."""
    (segment,) = parse_key("/{a}-{b}-{c}-{d}-{e}.x").pattern.segments
    assert segment.spans(b"-" * 60_000) is None


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [
        ("/{x}.css", "/{x}.png", False),
        ("/a{x}", "/{x}b", True),
        ("/a{x}", "/b{x}", False),
        ("/a", "/{x}", True),
        ("/", "/{x}", False),
        ("/a.css", "/{x}.css", True),
        ("/a/**", "/a", False),
        ("/a/**", "/a/", True),
        ("/a/**", "/**", True),
        ("/a/b", "/a/b/c", False),
    ],
)
def test_overlap(a: str, b: str, overlap: bool) -> None:
    one, other = parse_key(a).pattern, parse_key(b).pattern
    assert one.overlaps(other) is overlap
    assert other.overlaps(one) is overlap


def test_text_of_a_pattern() -> None:
    assert str(parse_key("GET x.org/a/{b}.c/**").pattern) == "/a/{b}.c/**"
    assert str(parse_key("/a/").pattern) == "/a/"
