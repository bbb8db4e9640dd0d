# SPDX-License-Identifier: Apache-2.0
"""Fields not stored (cache-behaviours 9): those of one connection, and other readers' cookies.

RFC 9111 §3.1, §7.3; RFC 9110 §7.6.1.
"""

from __future__ import annotations

import pytest
from scenarios.story import Given, Story, control, hit, origin

MINUTE = "max-age=60"
STORED = {
    "Test-Header": "value",
    "X-Test-Header": "value",
    "Content-Type": "text/plain",
    "Content-Encoding": "x-own",
    "Content-Language": "pt-BR",
    "Content-Location": "/elsewhere",
    "Content-Disposition": "inline",
    "X-Frame-Options": "deny",
    "X-XSS-Protection": "1",
    "Clear-Site-Data": "cookies",
    "Public-Key-Pins": "value",
    "Strict-Transport-Security": "max-age=1",
    "Strict-Transport-Security2": "value",
    "WWW-Authenticate": "Basic realm=x",
    "Authentication-Info": "value",
    "Access-Control-Allow-Origin": "*",
    "Location": "/x",
    "Server": "django",
    "Warning": '110 x "stale"',
    "Pragma": "whatever",
    "Retry-After": "10",
    "Accept-Ranges": "bytes",
    "Link": "</x>; rel=preload",
    "X-Accel-Expires": "0",
    "Surrogate-Key": "a b",
    "P3P": "x",
    "Content-Range": "value",
    "Content-MD5": "rL0Y20zC+Fzt72VPzMSk2A==",
    "Set-Cookie2": "a=b",
    "Empty": "",
    "Obs-Text": "ol\u00e1",
}
NOT_STORED = {
    "Keep-Alive": "timeout=5",
    "Proxy-Authenticate": "Basic realm=x",
    "Proxy-Authentication-Info": "x",
    "Proxy-Authorization": "x",
    "Proxy-Connection": "keep-alive",
    "TE": "trailers",
    "Upgrade": "h2c",
    "Trailer": "X-Sum",
}

FIELDS = [
    *(
        Story(f"stores-{name}", origin(control(MINUTE, (name, value))), hit(has={name: value}))
        for name, value in STORED.items()
    ),
    *(
        Story(f"leaves-{name}", origin(control(MINUTE, (name, value))), hit(lacks=(name,)),
              rfc="9111 3.1")
        for name, value in NOT_STORED.items()
    ),
    Story(
        "leaves-what-connection-names",
        origin(control(MINUTE, ("Connection", "a, b"), ("A", "1"), ("B", "2"), ("C", "3"))),
        hit(has={"C": "3"}, lacks=("A", "B")),
        rfc="9111 3.1",
    ),
    Story(
        "leaves-what-two-connection-lines-name",
        origin(control(MINUTE, ("Connection", "A"), ("Connection", "b"), ("a", "1"), ("B", "2"))),
        hit(lacks=("A", "B")),
        rfc="9111 3.1",
    ),
    Story(
        "connection-does-not-strip-what-the-cache-needs",
        origin(control(MINUTE, ("Connection", "cache-control, vary, etag"), ("Vary", "Foo"),
                       ("ETag", '"x"')), fields=[("Foo", "1")]),
        # What an origin says to its neighbour alone may still not lead to a wrong answer.
        origin(fields=[("Foo", "2")]),
        rfc="9110 7.6.1",
    ),
    Story(
        "transfer-encoding-is-the-hops",
        origin(Given(chunks=True, fields=[("Cache-Control", MINUTE)])),
        hit(lacks=("Transfer-Encoding",)),
        rfc="9112 6.1",
    ),
    Story(
        "lines-keep-their-number-and-order",
        origin(control(MINUTE, ("X-A", "1"), ("X-A", "2"), ("x-a", "3"))),
        hit(),
    ),
    Story(
        "age-of-the-origin-is-not-doubled",
        origin(control(MINUTE, ("Age", "5"))),
        hit(age=5),
    ),
    Story(
        "the-origins-cache-status-stays-first",
        origin(control(MINUTE, ("Cache-Status", "inner; hit; ttl=9"))),
        hit(),
        rfc="9211 2",
    ),
]  # fmt: skip

COOKIES = [
    Story(
        "set-cookie",
        origin(
            control(MINUTE, ("Set-Cookie", "a=b")),
            why="set-cookie",
            stored=False,
            has={"Set-Cookie": "a=b"},
        ),
        origin(),
        rfc="9111 7.3",
    ),
    Story(
        "set-cookie-of-an-empty-value",
        origin(control(MINUTE, ("Set-Cookie", ""))),
        origin(),
    ),
    Story(
        "set-cookie-in-any-case",
        origin(control(MINUTE, ("SET-COOKIE", "a=b"))),
        origin(),
    ),
    Story(
        "set-cookie-under-public",
        origin(control("public, s-maxage=60", ("Set-Cookie", "csrftoken=x"))),
        origin(),
    ),
    Story(
        "set-cookie-under-the-routes-duration",
        origin(Given(fields=[("Set-Cookie", "sessionid=ana")])),
        origin(),
        route="/minute",
    ),
    Story(
        "set-cookie-on-an-error",
        origin(Given(status=404, fields=[("Cache-Control", MINUTE), ("Set-Cookie", "a=b")])),
        origin(),
    ),
    Story(
        "set-cookie-where-the-route-says-so",
        origin(control(MINUTE, ("Set-Cookie", "a=b")), has={"Set-Cookie": "a=b"}),
        # The first reader got the cookie; nobody else does.
        hit(lacks=("Set-Cookie",)),
        route="/cookies-stored",
    ),
    Story(
        "a-fresh-copy-outlives-a-set-cookie",
        origin(control(MINUTE)),
        hit(fields=[("Cookie", "sessionid=ana")]),
        hit(),
    ),
]


@pytest.mark.parametrize("story", FIELDS, ids=str)
def test_fields(story, told):
    told(story)


@pytest.mark.parametrize("story", COOKIES, ids=str)
def test_cookies(story, told):
    told(story)
