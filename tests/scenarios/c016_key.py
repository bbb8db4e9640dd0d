# SPDX-License-Identifier: Apache-2.0
"""The key (cache-behaviours 16): what tells two stored responses apart.

RFC 9111 §2.
"""

from __future__ import annotations

import pytest
from scenarios.story import Given, Story, control, hit, origin

MINUTE = control("max-age=60")


def same(id: str, first: str, second: str, **more) -> Story:
    return Story(id, origin(Given(), query=first), hit(query=second), **more)


def apart(id: str, first: str, second: str, **more) -> Story:
    given = MINUTE if "route" not in more else Given()
    return Story(
        id,
        origin(given, query=first),
        origin(query=second),
        hit(query=first, number=0),
        hit(query=second, number=1),
        **more,
    )


def path(id: str, first: str, second: str) -> Story:
    return Story(
        id,
        origin(MINUTE, path=first),
        origin(path=second),
        hit(path=first, number=0),
        hit(path=second, number=1),
    )


PLAIN = [
    apart("another-value", "test=1", "test=2"),
    apart("another-name", "a=1", "b=1"),
    apart("no-query-and-one", "", "a=1"),
    apart("order-matters", "a=1&b=2", "b=2&a=1"),
    apart("case-matters", "a=x", "a=X"),
    apart("encoding-matters", "a=%20", "a=+"),
    apart("case-of-encoding-matters", "a=%c3", "a=%C3"),
    apart("an-empty-value", "a", "a="),
    apart("repeated", "a=1", "a=1&a=1"),
    apart("tracking-matters-unless-dropped", "utm_source=x", "utm_source=y"),
    apart("semicolons-are-no-separators", "a=1;b=2", "a=1;b=3"),
    Story("the-same-query", origin(MINUTE, query="a=1&b=2"), hit(query="a=1&b=2")),
    path("path-case", "/a", "/A"),
    path("path-slash", "/a", "/a/"),
    path("path-double-slash", "/a/b", "/a//b"),
    path("path-encoded-slash", "/a/b", "/a%2Fb"),
    path("path-encoded-letter", "/ab", "/%61b"),
    path("path-parameter", "/a", "/a;x=1"),
    Story(
        "another-host",
        origin(MINUTE),
        origin(host="other.example.com"),
        hit(number=0),
        hit(host="other.example.com", number=1),
    ),
    Story("host-in-any-case", origin(MINUTE), hit(host="WWW.Example.COM")),
    Story("another-port", origin(MINUTE), origin(host="www.example.com:8080")),
    Story(
        "any-host",
        origin(Given()),
        hit(host="other.example.com"),
        route="/any-host",
    ),
]
SORTED = [
    same("sorted", "b=2&a=1", "a=1&b=2", route="/sorted"),
    same("sorted-many", "c=3&a=1&b=2", "b=2&c=3&a=1", route="/sorted"),
    apart("sorted-keeps-the-order-of-equals", "a=1&a=2", "a=2&a=1", route="/sorted"),
    apart("sorted-still-tells-apart", "a=1&b=2", "a=2&b=1", route="/sorted"),
    Story(
        "sorted-is-what-the-origin-is-asked",
        origin(Given(), query="b=2&a=1", asked="?a=1&b=2"),
        route="/sorted",
    ),
]
ALLOWED = [
    same("allowed-drops-others", "page=1&x=2", "y=3&page=1", route="/allowed"),
    same("allowed-sorts", "q=a&page=1", "page=1&q=a", route="/allowed"),
    same("allowed-none-left", "x=1", "", route="/allowed"),
    apart("allowed-tells-apart", "page=1", "page=2", route="/allowed"),
    apart("allowed-names-have-case", "page=1", "Page=1&page=2", route="/allowed"),
    same("allowed-encoded-name", "%70age=1&x=2", "%70age=1", route="/allowed"),
    Story(
        "allowed-is-what-the-origin-is-asked",
        origin(Given(), query="x=1&page=2&utm_source=a", asked="?page=2"),
        route="/allowed",
    ),
    same("none-drops-all", "a=1", "b=2", route="/bare"),
    Story("none-asks-without", origin(Given(), query="a=1", asked=""), route="/bare"),
]
DROPPED = [
    same("dropped-tracking", "a=1&utm_source=x&fbclid=y", "a=1&gclid=z", route="/dropped"),
    same("dropped-named", "a=1&sid=99", "a=1&sid=100", route="/dropped"),
    same("dropped-encoded", "a=1&%75tm_source=x", "a=1", route="/dropped"),
    same("dropped-in-any-case", "a=1&UTM_Source=x", "a=1", route="/dropped"),
    same("dropped-all-of-them", "utm_source=x", "", route="/dropped"),
    apart("dropped-keeps-others", "a=1&utm_x=1", "a=2&utm_x=1", route="/dropped"),
    apart("dropped-not-by-part-of-a-name", "xutm_source=1", "xutm_source=2", route="/dropped"),
    apart("dropped-not-by-value", "a=utm_source", "a=fbclid", route="/dropped"),
    Story(
        "dropped-is-not-asked-of-the-origin",
        origin(Given(), query="b=1&utm_source=%3Cscript%3E&a=2", asked="?a=2&b=1"),
        route="/dropped",
    ),
]


@pytest.mark.parametrize("story", PLAIN, ids=str)
def test_url(story, told):
    told(story)


@pytest.mark.parametrize("story", SORTED, ids=str)
def test_sorted(story, told):
    told(story)


@pytest.mark.parametrize("story", ALLOWED, ids=str)
def test_allowed(story, told):
    told(story)


@pytest.mark.parametrize("story", DROPPED, ids=str)
def test_dropped(story, told):
    told(story)
