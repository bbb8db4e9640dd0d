# SPDX-License-Identifier: Apache-2.0
"""Paragraph 16: what belongs to the primary key."""

import pytest
from unit.cache.build import request

from strangler.cache.key import Keying, canonical, url_of
from strangler.cache.policy import KeyPolicy, QueryKey

PLAIN = Keying.compile(KeyPolicy())
NEWS = Keying.compile(KeyPolicy(query=QueryKey(mode="allow", names=frozenset({b"page", b"q"}))))
DROP = QueryKey(mode="drop", names=frozenset({b"sid"}), tracking=True)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        (b"/a", b"https://localhost/a"),
        (b"/a/", b"https://localhost/a/"),
        (b"/a?", b"https://localhost/a?"),
        (b"/a?b=1", b"https://localhost/a?b=1"),
        (b"/a?b=1?c", b"https://localhost/a?b=1?c"),
        (b"/%2Fa//B%2f", b"https://localhost/%2Fa//B%2f"),
        (b"http://localhost/a?b", b"https://localhost/a?b"),
        (b"http://localhost", b"https://localhost/"),
    ],
)
def test_paragraph_16_the_url_as_it_stands(target: bytes, key: bytes) -> None:
    assert PLAIN.key(request(target=target), scheme=b"https") == key


def test_paragraph_16_the_host_with_its_port_and_without_its_case() -> None:
    def key(host: bytes) -> bytes:
        return PLAIN.key(request((b"Host", host)))

    assert key(b"WWW.Example.COM") == b"http://www.example.com/a"
    assert key(b"www.example.com:1337") != key(b"www.example.com")
    hostless = Keying.compile(KeyPolicy(host=False))
    assert hostless.key(request((b"Host", b"a.example"))) == b"http:///a"


@pytest.mark.parametrize(
    ("query", "rules", "result"),
    [
        (b"b=2&a=1", QueryKey(), b"b=2&a=1"),
        (b"b=2&a=1", QueryKey(sort=True), b"a=1&b=2"),
        (b"a=2&b&a=1", QueryKey(sort=True), b"a=2&a=1&b"),
        (b"a&a=&b", QueryKey(sort=True), b"a&a=&b"),
        (
            b"page=2&x=1&q=a",
            QueryKey(mode="allow", names=frozenset({b"page", b"q"})),
            b"page=2&q=a",
        ),
        (b"%70age=2&Page=3", QueryKey(mode="allow", names=frozenset({b"page"})), b"%70age=2"),
        (b"a+b=1", QueryKey(mode="allow", names=frozenset({b"a b"})), b"a+b=1"),
        (b"x=1", QueryKey(mode="allow"), b""),
        (b"sid=1&b=2&a=1", DROP, b"a=1&b=2"),
        (b"utm_source=x&UTM_x=1&gclid=1&fbclid=2&a=1", DROP, b"a=1"),
        (b"%75tm_source=x&a=1", DROP, b"a=1"),
        (b"utm_source=x&b=1&a=1", QueryKey(tracking=True), b"b=1&a=1"),
        (b"a=1&&b=2&", QueryKey(tracking=True), b"a=1&b=2"),
        (b"a=1;utm_source=x", QueryKey(tracking=True), b"a=1;utm_source=x"),
    ],
)
def test_paragraph_16_sorts_allows_and_drops_parameters(
    query: bytes, rules: QueryKey, result: bytes
) -> None:
    assert canonical(query, rules) == result


def test_paragraph_16_what_is_dropped_is_not_asked_for_either() -> None:
    asked = request(target=b"/a?x=1&page=2")
    assert NEWS.key(asked) == b"http://localhost/a?page=2"
    assert NEWS.target(asked) == b"/a?page=2"
    assert NEWS.target(request(target=b"/a?x=1")) == b"/a"
    assert PLAIN.target(asked) == b"/a?x=1&page=2"


def test_named_headers_and_cookies_and_the_arm() -> None:
    keying = Keying.compile(KeyPolicy(headers=(b"x-app", b"x-b"), cookies=(b"lang", b"t")))
    asked = request(
        (b"X-App", b"ios"), (b"X-App", b"2"), (b"Cookie", b"_ga=1; t=; lang=pt"), (b"X-C", b"3")
    )
    assert keying.key(asked, arm=b"service") == (
        b"http://localhost/a\na:service\nh:x-app=ios, 2\nc:lang=pt\nc:t="
    )
    assert keying.key(request()) == b"http://localhost/a"
    assert url_of(keying.key(asked, arm=b"service")) == b"http://localhost/a"


def test_a_second_cookie_of_one_name_is_in_the_key() -> None:
    keying = Keying.compile(KeyPolicy(cookies=(b"lang",)))
    one = keying.key(request((b"Cookie", b"lang=pt")))
    two = keying.key(request((b"Cookie", b"lang=pt; lang=evil")))
    split = keying.key(request((b"Cookie", b"lang=pt"), (b"Cookie", b"lang=evil")))
    assert one != two
    assert two == split


@pytest.mark.parametrize("name", [b"X-Forwarded-Host", b"X-Original-URL", b"User-Agent", b"Cookie"])
def test_nothing_else_is_in_the_key(name: bytes) -> None:
    assert PLAIN.key(request((name, b"evil"))) == PLAIN.key(request())


def test_a_purged_url_finds_its_keys() -> None:
    asked = request(target=b"/a?x=1&page=2")
    url = NEWS.url_key(scheme=b"http", host=b"localhost", target=b"/a?page=2&y")
    assert url == url_of(NEWS.key(asked, arm=b"legacy"))
    assert NEWS.url_key(scheme=b"http", host=b"h", target=b"/a?y") == b"http://h/a"
    assert PLAIN.url_key(scheme=b"http", host=b"h", target=b"/a?y&&z") == b"http://h/a?y&&z"
