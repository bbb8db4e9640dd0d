# SPDX-License-Identifier: Apache-2.0
"""Two answers: equal, or the word for what differs first (pain 25)."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from strangler.migrate.normalise import NORMALISERS, normalised
from strangler.migrate.parity import FIELDS, Answer, compare
from strangler.migrate.policy import Compare
from strangler.wire.head import ResponseHead

NOW = 1_790_000_000.0
HTML = "text/html; charset=utf-8"


def answer(body="", status=200, *fields, type_=HTML, limit=1 << 18):
    content = body if isinstance(body, bytes) else body.encode()
    lines = [f"Content-Type: {type_}", *fields] if type_ else list(fields)
    raw = f"HTTP/1.1 {status} X\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"
    head = ResponseHead.parse(raw.encode())
    assert head is not None
    kept = content if len(content) <= limit else b""
    return Answer(
        head=head, body=kept, length=len(content), digest=hashlib.blake2b(content).digest()
    )


def word(one, other, *ignore, **more):
    found = compare(one, other, Compare(ignore=frozenset(ignore)), now=NOW, **more)
    return None if found is None else found.word


def page(text="", **more):
    return answer(f"<html><body><main id='noticia-12'>{text}</main></body></html>", **more)


def test_the_status_comes_first():
    """Diffy could not see a 404 beside a 200."""
    one, other = answer("a", 200, "Vary: Cookie"), answer("b", 404)
    assert word(one, other) == "status:200/404"
    assert word(one, other, "status") == "header:vary"
    assert word(one, other, "status:200/404", "header:vary") is None, "two statuses, two bodies"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Location: /a", "Location: /b", "header:location"),
        ("Cache-Control: max-age=1, public", "cache-control: public,max-age=1", None),
        ("Cache-Control: max-age=1", "Cache-Control: max-age=2", "header:cache-control"),
        ("Vary: Cookie, Accept", "Vary: accept\r\nVary: cookie", None),
        ("Set-Cookie: a=1; Path=/", "Set-Cookie: a=2", None),
        ("Set-Cookie: a=1", "Set-Cookie: b=1", "header:set-cookie"),
        ("Server: a", "Server: b\r\nETag: x\r\nX-Own: 1", None),
        ("X-Frame-Options: DENY", "X-Own: 1", "header:x-frame-options"),
        (
            "Content-Security-Policy: script-src 'nonce-abc'",
            "Content-Security-Policy: script-src 'nonce-xyz'",
            None,
        ),
    ],
)
def test_fields_are_compared_by_what_they_mean(one, other, expected):
    assert word(answer("x", 200, one), answer("x", 200, other)) == expected
    if expected:
        assert word(answer("x", 200, one), answer("x", 200, other), expected) is None


def test_a_type_is_compared_without_its_spelling():
    assert word(answer("x", type_="text/html;charset=UTF-8"), answer("x", type_=HTML)) is None
    assert word(answer("x", type_="text/plain"), answer("x")) == "header:content-type"
    assert word(answer("x", type_=""), answer("x")) == "header:content-type"


def documents(one, other, *ignore):
    sides = [answer(json.dumps(value), type_="application/json") for value in (one, other)]
    return word(*sides, *ignore)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1.0}, None),
        ({"a": {"b": [{"c": 1}, {"c": 2}]}}, {"a": {"b": [{"c": 1}, {"c": 3}]}}, "json:.a.b[].c"),
        ({"a": 1}, {"a": "1"}, "json:.a"),
        ({"a": 1}, {"a": True}, "json:.a"),
        ({"a": 0}, {"a": None}, "json:.a"),
        ({"a": 1}, {}, "json:.a"),
        ({}, {"n12": 1}, "json:.nN"),
        ([1, 2], [1], "json:[]"),
        ([], {}, "json:."),
        (1, 2, "json:."),
        ({"csrfToken": "x"}, {"csrfToken": "y"}, None),
        ({"at": NOW + 3}, {"at": NOW - 3}, None),
        ({"at": int(NOW) * 1000}, {"at": int(NOW - 9) * 1000}, None),
        ({"at": "2026-09-21T14:13:20Z"}, {"at": "2026-09-21T14:13:25Z"}, None),
        ({"at": "2020-01-01T00:00:00Z"}, {"at": "2020-01-01T00:00:01Z"}, "json:.at"),
    ],
)
def test_json_is_compared_as_values(one, other, expected):
    assert documents(one, other) == expected
    if expected:
        assert documents(one, other, expected) is None


def test_what_is_ignored_hides_only_itself():
    one = {"views": 1, "items": [{"id": 1, "views": 2}]}
    other = {"views": 9, "items": [{"id": 2, "views": 3}]}
    assert documents(one, other, "json:.views") == "json:.items[].id"
    assert documents(one, other, "json:.views", "json:.items[].id") == "json:.items[].views"
    assert documents(one, other, "json:.views", "json:.items") is None


def test_broken_or_bottomless_json_is_text():
    deep = "[" * 100_000
    sides = [answer(deep + end, type_="application/json") for end in ("1", "2")]
    assert word(*sides) == "body"
    broken = [answer(text, type_="application/json") for text in ("{", "{ ")]
    assert word(*broken) == "body"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            '<input type="hidden" name="csrfmiddlewaretoken" value="aaa">',
            "<input name='csrfmiddlewaretoken' type='hidden' value='bbb'>",
        ),
        ('<meta name="csrf-token" content="a">', '<meta content="b" name="csrf-token">'),
        ("<script nonce='a'>x</script>", "<script nonce='b'>x</script>"),
        ("<p>a  b\n</p>\n<p>", "<p>a b</p><p>"),
        ("<p>it&#x27;s &quot;</p>", '<p>it&#39;s "</p>'),
        ("<A HREF='/x' class=y>", '<a class="y" href="/x">'),
        ("<!-- 3 ms --><p>", "<!-- 9 ms --><p>"),
        ("<a href='/x?sessionid=1a'>", "<a href='/x?sessionid=2b'>"),
        ("<i>2026-09-21T14:13:20+00:00</i>", "<i>2026-09-21T14:14:00+00:00</i>"),
        ("<i>Mon, 21 Sep 2026 14:13:20 GMT</i>", "<i>Mon, 21 Sep 2026 14:13:21 GMT</i>"),
        ("<script>var csrfToken = 'aa'</script>", "<script>var csrfToken = 'bb'</script>"),
    ],
)
def test_what_differs_between_any_two_pages_is_no_difference(one, other):
    assert word(page(one), page(other)) is None
    assert word(page(one), page("")) is not None, "its absence is one"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("<h1>a</h1>", "<h1>b</h1>", "html:main#noticia-N/h1"),
        ("<p><a href='/a'>", "<p><a href='/b'>", "html:main#noticia-N/p/a[href]"),
        ("<br>a", "<br>b", "html:main#noticia-N"),
        ("<ul><li>a</li></ul>", "<ul><li>a</li><li>b</li></ul>", "html:main#noticia-N/ul"),
        ("<i>2020-01-01T00:00:00Z</i>", "<i>2020-01-02T00:00:00Z</i>", "html:main#noticia-N/i"),
        ("<b>&lt;</b>", "<b><</b>", "html:main#noticia-N/b"),
        ("<input name=a value=1>", "<input name=a value=2>", "html:main#noticia-N/input[value]"),
    ],
)
def test_a_page_is_told_by_where_it_differs(one, other, expected):
    assert word(page(one), page(other)) == expected
    assert word(page(one), page(other), expected) is None


def test_an_ignored_part_of_a_page_hides_no_other():
    one = page("<div id='ad'><b>1</b></div><h1>a</h1>")
    other = page("<div id='ad'><i>2</i></div><h1>b</h1>")
    assert word(one, other, "html:main#noticia-N/div#ad") == "html:main#noticia-N/h1"
    one, other = page("<p>views: 12</p><h1>a</h1>"), page("<p>views: 9</p><h1>b</h1>")
    assert word(one, other, r"text:views: \d+") == "html:main#noticia-N/h1"


def test_text_and_bytes():
    assert word(answer("a", type_="text/css"), answer("b", type_="text/css")) == "body"
    assert word(answer(b"\x00", type_="image/png"), answer(b"\x01", type_="image/png")) == "body"
    assert word(answer("", 304), answer("x", 304)) is None
    assert word(answer("a"), answer("b"), heads_only=True) is None


def test_packed_bodies_are_unpacked_and_bombs_are_not():
    gzipped = "Content-Encoding: gzip"
    one = answer(gzip.compress(b"<p>a</p>", 1), 200, gzipped)
    assert word(one, answer("<p>a</p>")) is None
    assert word(one, answer("<p>b</p>")) == "html:p"
    bomb = answer(gzip.compress(b"0" * (1 << 26)), 200, gzipped)
    assert word(bomb, answer("x")) == "body"
    assert word(answer("not gzip", 200, gzipped), answer("x")) == "body"
    assert word(answer("b1", 200, "Content-Encoding: br"), answer("b2")) == "body"


def test_large_bodies_are_compared_by_length_and_digest():
    large = "x" * 100
    assert word(answer(large, limit=50), answer(large, limit=50)) is None
    assert word(answer(large, limit=50), answer(large[:-1] + "y", limit=50)) == "body:large"
    assert word(answer(large, limit=50), answer("x", limit=50), "body:large") is None


def test_an_excerpt_shows_the_place_and_stays_small():
    one, other = page("<p>" + "x" * 5000 + "a" * 500), page("<p>" + "x" * 5000 + "b" * 500)
    found = compare(one, other, Compare(), now=NOW)
    assert found is not None
    assert "xa" in found.expected and "xb" in found.got
    assert len(found.expected) <= 160


def test_normalising_twice_is_normalising_once():
    text = "<p  class=a >it&#x27;s <input name=csrf value=1> nonce='x' 2026-09-21T14:13:20Z</p>"
    once = normalised(text, "html", NOW)
    assert normalised(once, "html", NOW) == once


def test_the_page_lists_every_normaliser_and_field():
    text = (Path(__file__).parents[3] / "docs" / "shadow.md").read_text()
    for each in NORMALISERS:
        assert f"| {each.name} | {each.doc} |" in text, each.name
    listed = re.search(r"(?s)<!-- fields -->(.*?)<!-- end -->", text)
    assert listed is not None
    assert re.findall(r"`([a-z-]+)`", listed[1]) == list(FIELDS)
