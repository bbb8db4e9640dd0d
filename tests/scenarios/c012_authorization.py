# SPDX-License-Identifier: Apache-2.0
"""Authorization and cookies of requests (cache-behaviours 12): whose answer is whose.

RFC 9111 §3.5.
"""

from __future__ import annotations

import pytest
from scenarios.story import At, Given, Story, control, hit, origin

ANA = [("Authorization", "Basic YW5hOng=")]
BIA = [("Authorization", "Bearer bia")]
COOKIE = [("Cookie", "sessionid=ana; _ga=1")]


def shared(id: str, value: str) -> Story:
    """Tell that an answer to an authorized request with this Cache-Control is everybody's."""
    return Story(
        id,
        origin(control(value), fields=ANA, sent={"Authorization": ANA[0][1]}),
        hit(),
        hit(fields=ANA),
        hit(fields=BIA),
        rfc="9111 3.5",
    )


AUTHORIZED = [
    Story(
        "authorized-with-max-age",
        origin(control("max-age=60"), fields=ANA, why="authorization", stored=False),
        origin(),
        rfc="9111 3.5",
    ),
    Story(
        "authorized-with-expires",
        origin(Given(fields=[("Date", At(0)), ("Expires", At(3600))]), fields=ANA),
        origin(),
        rfc="9111 3.5",
    ),
    Story(
        "authorized-with-heuristics",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", At(-86400))]), fields=ANA),
        origin(),
        rfc="9111 3.5",
    ),
    Story(
        "authorized-for-the-same-reader-again",
        origin(control("max-age=60"), fields=ANA),
        origin(fields=ANA),
        rfc="9111 3.5",
    ),
    Story(
        "authorized-with-proxy-revalidate",
        origin(control("max-age=60, proxy-revalidate"), fields=ANA),
        origin(),
        rfc="9111 3.5",
    ),
    Story(
        "authorized-of-an-empty-value",
        origin(control("max-age=60"), fields=[("Authorization", "")]),
        origin(),
        rfc="9111 3.5",
    ),
    Story(
        "authorized-under-the-routes-duration",
        origin(Given(), fields=ANA),
        origin(),
        route="/minute",
        rfc="9111 3.5",
    ),
    shared("authorized-public", "public, max-age=60"),
    shared("authorized-must-revalidate", "must-revalidate, max-age=60"),
    shared("authorized-s-maxage", "s-maxage=60"),
    Story(
        "authorized-must-revalidate-and-stale",
        origin(control("must-revalidate, max-age=0", ("ETag", '"a"')), fields=ANA),
        origin(fields=BIA, sent={"Authorization": BIA[0][1]}),
        rfc="9111 3.5",
    ),
    Story(
        # Both ways: an origin that doesn't call it public may have another one for this reader.
        "a-plain-copy-does-not-answer-an-authorized-request",
        origin(control("max-age=60")),
        origin(fields=ANA, forward="request"),
        hit(number=0),
    ),
    Story(
        "a-public-copy-answers-an-authorized-request",
        origin(control("public, max-age=60")),
        hit(fields=ANA),
    ),
    Story(
        "ignore-authorization",
        origin(Given(), fields=ANA),
        hit(),
        hit(fields=BIA),
        route="/authorized",
    ),
    Story(
        "proxy-authorization-is-the-hops",
        origin(control("max-age=60"), fields=[("Proxy-Authorization", "x")],
               unsent=("Proxy-Authorization",)),
        hit(),
        rfc="9110 11.7.2",
    ),
]  # fmt: skip

COOKIES = [
    Story(
        "a-cookie-does-not-forbid-reuse",
        origin(control("max-age=60")),
        hit(fields=COOKIE),
    ),
    Story(
        "a-readers-cookie-does-not-forbid-storing",
        origin(control("max-age=60"), fields=COOKIE, sent={"Cookie": COOKIE[0][1]}),
        hit(),
        hit(fields=[("Cookie", "sessionid=bia")]),
    ),
    Story(
        "a-keyed-cookie-tells-apart",
        origin(Given(), fields=[("Cookie", "theme=dark; _ga=1")]),
        hit(fields=[("Cookie", "_ga=2; theme=dark")]),
        origin(fields=[("Cookie", "theme=light")]),
        hit(fields=[("Cookie", "theme=light; sessionid=ana")], number=2),
        origin(),
        hit(fields=[("Cookie", "other=1")], number=4),
        route="/cookie-keyed",
    ),
    Story(
        "a-keyed-cookie-meets-vary-cookie",
        origin(Given(fields=[("Vary", "Cookie")]), fields=[("Cookie", "theme=dark; _ga=1")]),
        hit(fields=[("Cookie", "theme=dark; _ga=2")]),
        origin(fields=[("Cookie", "theme=light")]),
        route="/cookie-keyed",
    ),
    Story(
        "a-keyed-cookie-twice-is-another-key",
        origin(Given(), fields=[("Cookie", "theme=dark")]),
        origin(fields=[("Cookie", "theme=dark; theme=light")]),
        hit(fields=[("Cookie", "theme=dark")], number=0),
        route="/cookie-keyed",
    ),
    Story(
        "a-keyed-cookies-name-has-its-case",
        origin(Given(), fields=[("Cookie", "theme=dark")]),
        origin(fields=[("Cookie", "Theme=dark")]),
        route="/cookie-keyed",
    ),
    Story(
        "a-keyed-header-tells-apart",
        origin(Given(), fields=[("X-App", "ios")]),
        hit(fields=[("x-app", "ios")]),
        origin(fields=[("X-App", "android")]),
        origin(),
        hit(fields=[("X-App", "ios")], number=0),
        route="/header-keyed",
    ),
]


@pytest.mark.parametrize("story", AUTHORIZED, ids=str)
def test_authorization(story, told):
    told(story)


@pytest.mark.parametrize("story", COOKIES, ids=str)
def test_cookie(story, told):
    told(story)
