# SPDX-License-Identifier: Apache-2.0
"""Statuses (cache-behaviours 5): any final one when it is told, a few when it isn't.

RFC 9111 §3, §4.2.2; RFC 9110 §15.1.
"""

from __future__ import annotations

import pytest
from scenarios.story import At, Given, Story, hit, origin

FINAL = [
    *(200, 201, 202, 203, 204, 205, 226, 299, 300, 301, 302, 303, 307, 308, 399),
    *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 418),
    *(421, 422, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 511, 599),
]
HEURISTIC = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]
NOT_HEURISTIC = [
    *(201, 202, 299, 302, 303, 307, 400, 401, 403, 406, 409, 418, 422, 429, 499),
    *(500, 502, 503, 504, 599),
]
GUESS = (("Date", At(0)), ("Last-Modified", At(-86400)))


def given(status: int, *fields) -> Given:
    return Given(status=status, fields=fields, body="" if status in (204, 205) else None)


EXPLICIT = [
    story
    for status in FINAL
    for story in (
        Story(f"fresh-{status}", origin(given(status, ("Cache-Control", "max-age=60"))), hit()),
        Story(
            f"stale-{status}",
            origin(given(status, ("Cache-Control", "max-age=60"), ("Age", "90"))),
            origin(),
        ),
    )
] + [
    Story("expires-599", origin(given(599, ("Date", At(0)), ("Expires", At(60)))), hit()),
    Story("s-maxage-503", origin(given(503, ("Cache-Control", "s-maxage=60"))), hit()),
]

SILENT = [
    *(
        Story(f"guessed-{status}", origin(given(status, *GUESS)), hit(), rfc="9110 15.1")
        for status in HEURISTIC
    ),
    *(
        Story(f"not-guessed-{status}", origin(given(status, *GUESS)), origin(), rfc="9110 15.1")
        for status in NOT_HEURISTIC
    ),
    *(
        Story(
            f"guessed-as-public-{status}",
            origin(given(status, *GUESS, ("Cache-Control", "public"))),
            hit(),
            rfc="9111 4.2.2",
        )
        for status in (201, 299, 302, 403, 503, 599)
    ),
    Story("silent-404", origin(given(404)), origin(), rfc="9111 4.2.2"),
    Story("silent-301", origin(given(301, ("Location", "/"))), origin(), rfc="9111 4.2.2"),
]

#: A route with a duration gives it to what could be guessed; an outage is not what it meant.
ROUTED = [
    *(Story(f"routed-{status}", origin(given(status)), hit(), route="/minute")
      for status in (200, 203, 204, 301, 308, 404, 410)),
    *(Story(f"not-routed-{status}", origin(given(status)), origin(), route="/minute")
      for status in (201, 302, 307, 400, 401, 403, 429, 500, 502, 503, 504)),
    Story(
        "routed-302-that-is-told",
        origin(given(302, ("Cache-Control", "max-age=60"), ("Location", "/x"))),
        hit(has={"Location": "/x"}),
        route="/minute",
    ),
]  # fmt: skip

NEVER = [
    Story(
        "a-304-nobody-asked-for-is-not-stored",
        origin(given(304, ("Cache-Control", "max-age=60"), ("ETag", '"x"')),
               fields=[("If-None-Match", '"x"')]),
        origin(given(200, ("Cache-Control", "max-age=60"), ("ETag", '"x"'))),
        hit(number=1),
        rfc="9111 3",
    ),
    Story(
        "a-412-is-not-stored",
        origin(given(412, ("Cache-Control", "max-age=60")), fields=[("If-Match", '"x"')]),
        origin(given(200, ("Cache-Control", "max-age=60"))),
        rfc="9111 3",
    ),
    Story(
        "a-416-is-not-stored",
        origin(given(416, ("Cache-Control", "max-age=60"), ("Content-Range", "bytes */5")),
               fields=[("Range", "bytes=900-")]),
        origin(given(200, ("Cache-Control", "max-age=60"))),
        rfc="9111 3",
    ),
    Story(
        "a-206-without-content-range-is-not-stored",
        origin(given(206, ("Cache-Control", "max-age=60")), fields=[("Range", "bytes=0-1")]),
        origin(given(200, ("Cache-Control", "max-age=60"))),
        hit(number=1),
        rfc="9110 15.3.7",
    ),
]  # fmt: skip

WHOLE = [
    Story(
        "the-reason-and-fields-are-kept",
        origin(Given(status=299, reason="Quite Well",
                     fields=[("Cache-Control", "max-age=60"), ("X-A", "1")])),
        hit(has={"X-A": "1"}),
    ),
    Story(
        "a-redirect-keeps-its-location",
        origin(given(301, ("Cache-Control", "max-age=60"), ("Location", "/there?a=b#c"))),
        hit(has={"Location": "/there?a=b#c"}),
    ),
    Story(
        "chunks-are-stored-whole",
        origin(Given(chunks=True, fields=[("Cache-Control", "max-age=60")])),
        hit(lacks=("Transfer-Encoding",), has={"Content-Length": None}),
        rfc="9112 6.1",
    ),
    Story(
        "an-empty-content-is-a-content",
        origin(Given(body="", fields=[("Cache-Control", "max-age=60")])),
        hit(has={"Content-Length": "0"}),
    ),
    Story(
        "a-large-content",
        origin(Given(body="0123456789abcdef" * (1 << 16),
                     fields=[("Cache-Control", "max-age=60")])),
        hit(has={"Content-Length": str(16 << 16)}),
        hit(),
    ),
]  # fmt: skip


@pytest.mark.parametrize("story", EXPLICIT, ids=str)
def test_with_explicit_freshness(story, told):
    told(story)


@pytest.mark.parametrize("story", SILENT, ids=str)
def test_without_explicit_freshness(story, told):
    told(story)


@pytest.mark.parametrize("story", ROUTED, ids=str)
def test_with_the_routes_duration(story, told):
    told(story)


@pytest.mark.parametrize("story", NEVER, ids=str)
def test_answers_to_one_request_alone(story, told):
    told(story)


@pytest.mark.parametrize("story", WHOLE, ids=str)
def test_what_is_stored_is_the_whole(story, told):
    told(story)
