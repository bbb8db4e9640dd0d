# SPDX-License-Identifier: Apache-2.0
"""Stale (cache-behaviours 13): when something is better than nothing, and when it isn't.

RFC 9111 §4.2.4, §5.2.2; RFC 5861.
"""

from __future__ import annotations

import pytest
from scenarios.story import (
    EXPIRED,
    At,
    Given,
    Story,
    confirmed,
    control,
    failed,
    hit,
    origin,
    refreshing,
    stale,
)

from strangler.testing import reset, respond

TAG = ("ETag", '"v1"')
CUT = Given(fails=True)
RESET = Given(does=(reset(),))
HALF = Given(does=(b"HTTP/1.1 200 OK\r\nContent-Le", reset()))
FOREVER = "stale-if-error=3600"


def down(status: int, *fields) -> Given:
    return Given(status=status, fields=fields)


BY_DEFAULT = [
    Story(
        f"without-a-word-a-{status}-is-passed-on",
        origin(control("max-age=0", TAG)),
        origin(down(status), sent={"If-None-Match": '"v1"'}),
        rfc="9111 4.2.4",
    )
    for status in (403, 404, 410, 500, 502, 503, 504)
]
CLOSED = [
    Story(
        f"{name}-closes-it",
        origin(control(f"max-age=1, {word}", TAG)),
        hit(wait=EXPIRED),
        failed(CUT, status=502, lacks=("ETag",)),
        rfc="9111 4.2.4",
        route=route,
    )
    for word, name, route in (
        ("must-revalidate", "must-revalidate", "/origin"),
        ("proxy-revalidate", "proxy-revalidate", "/origin"),
        ("s-maxage=1", "s-maxage", "/origin"),
        (f"must-revalidate, {FOREVER}", "must-revalidate-beside-stale-if-error", "/origin"),
        (f"proxy-revalidate, {FOREVER}", "proxy-revalidate-beside-stale-if-error", "/origin"),
        (f"s-maxage=1, {FOREVER}", "s-maxage-beside-stale-if-error", "/origin"),
        ("must-revalidate", "must-revalidate-against-the-routes-grace", "/grace"),
        ("proxy-revalidate", "proxy-revalidate-against-the-routes-grace", "/grace"),
        ("s-maxage=1", "s-maxage-against-the-routes-grace", "/grace"),
    )
] + [
    Story(
        f"no-cache-closes-it-{name}",
        origin(control(word, TAG)),
        failed(CUT, status=502),
        rfc="9111 5.2.2.4",
        route=route,
    )
    for word, name, route in (
        ("no-cache", "alone", "/origin"),
        (f"no-cache, max-age=60, {FOREVER}", "beside-stale-if-error", "/origin"),
        ("no-cache", "against-the-routes-grace", "/grace"),
    )
]
DISCONNECT = [
    Story(
        "a-disconnect-without-a-copy-is-a-502",
        failed(CUT, status=502),
        rfc="9110 15.6.3",
    ),
    Story(
        "a-reset-without-a-copy-is-a-502",
        failed(RESET, status=502),
        rfc="9110 15.6.3",
    ),
    *(
        Story(
            f"stale-if-error-on-a-{name}",
            origin(control(f"max-age=1, {FOREVER}", TAG)),
            hit(wait=EXPIRED),
            stale(given, number=0, status=200),
            # It is still stale: the next reader asks again, and is told what is new.
            origin(control("max-age=60")),
            hit(number=3),
            rfc="5861 4",
        )
        for name, given in (("disconnect", CUT), ("reset", RESET), ("broken-head", HALF))
    ),
]
IF_ERROR = [
    *(
        Story(
            f"stale-if-error-on-{status}",
            origin(control(f"max-age=0, {FOREVER}", TAG)),
            stale(down(status), number=0, status=200),
            stale(down(status, ("Cache-Control", "max-age=60")), number=0, status=200),
            rfc="5861 4",
        )
        for status in (500, 502, 503, 504)
    ),
    *(
        Story(
            f"not-stale-on-{status}",
            origin(control(f"max-age=0, {FOREVER}", TAG)),
            origin(down(status), status=status),
            rfc="5861 4",
        )
        for status in (401, 403, 404, 410, 429, 501, 505, 599)
    ),
    Story(
        "stale-if-error-outside-its-window",
        origin(control("max-age=10, stale-if-error=20", ("Age", "31"), TAG)),
        origin(down(500), status=500),
        rfc="5861 4",
    ),
    Story(
        "stale-if-error-inside-its-window",
        origin(control("max-age=10, stale-if-error=60", ("Age", "31"), TAG)),
        stale(down(500), number=0, age=31, status=200),
        rfc="5861 4",
    ),
    Story(
        "stale-if-error-is-over-after-its-window",
        origin(control("max-age=0, stale-if-error=1", TAG)),
        stale(down(500), number=0, status=200, wait=1.2),
        origin(down(500), status=500),
        rfc="5861 4",
    ),
    Story(
        "stale-if-error-0",
        origin(control("max-age=0, stale-if-error=0", TAG)),
        origin(down(500), status=500),
        rfc="5861 4",
    ),
    Story(
        "stale-if-error-without-a-validator",
        origin(control(f"max-age=0, {FOREVER}")),
        stale(down(503), number=0, status=200),
        rfc="5861 4",
    ),
    Story(
        "stale-by-age",
        origin(control(f"max-age=10, {FOREVER}", ("Age", "60"))),
        stale(CUT, number=0, age=60, status=200),
        rfc="5861 4",
    ),
    *(
        Story(
            f"an-error-stands-in-for-no-other-{route[1:]}",
            origin(down(500, ("Cache-Control", control), TAG), status=500, wait=EXPIRED),
            origin(down(503, ("Cache-Control", control), TAG), status=503, wait=EXPIRED),
            failed(CUT),
            rfc="5861 4",
            route=route,
        )
        for route, control in (
            ("/origin", f"max-age=1, {FOREVER}"),
            ("/forgiving", "max-age=1"),
        )
    ),
    Story(
        "stale-if-error-by-the-routes-words",
        origin(Given(), wait=EXPIRED),
        stale(down(503), number=0, status=200),
        route="/forgiving",
    ),
    Story(
        "stale-if-error-by-the-origins-words-over-the-routes",
        origin(control("max-age=1, stale-if-error=0", TAG), wait=EXPIRED),
        origin(down(503), status=503),
        route="/forgiving",
    ),
    *(
        Story(
            f"the-route-ignores-{value}",
            origin(control(value), wait=EXPIRED),
            stale(down(503), number=0, status=200),
            route="/outlived",
        )
        for value in ("s-maxage=1", "max-age=1, must-revalidate", "max-age=1, proxy-revalidate")
    ),
    Story(
        "the-route-that-ignores-must-revalidate-obeys-no-cache",
        origin(control("max-age=1, no-cache", TAG), wait=EXPIRED),
        origin(down(503), status=503),
        route="/outlived",
    ),
    Story(
        "grace-is-for-errors-too",
        origin(control("max-age=1, stale-while-revalidate=0"), wait=EXPIRED),
        stale(down(503), number=0, status=200),
        route="/grace",
    ),
    Story(
        "a-stale-answer-is-conditional-too",
        origin(control(f"max-age=0, {FOREVER}", TAG)),
        stale(down(503), number=0, status=304, fields=[("If-None-Match", '"v1"')]),
        rfc="9110 13.1.2",
    ),
    Story(
        "a-stale-answer-has-ranges",
        origin(Given(body="0123456789", fields=[("Cache-Control", f"max-age=0, {FOREVER}"), TAG])),
        stale(down(503), number=0, status=206, text="234", fields=[("Range", "bytes=2-4")]),
        rfc="9110 14.2",
    ),
    Story(
        "stale-for-head",
        origin(control(f"max-age=0, {FOREVER}", TAG)),
        stale(down(503), number=0, status=200, method="HEAD"),
    ),
    Story(
        "not-stale-for-a-post",
        origin(control(f"max-age=60, {FOREVER}", TAG)),
        origin(down(503), method="POST", content="x", status=503),
    ),
    Story(
        "pain-39-a-500-never-replaces-a-good-copy",
        origin(control(f"max-age=0, {FOREVER}", TAG)),
        stale(down(500, ("Cache-Control", "max-age=60")), number=0, status=200),
        stale(CUT, number=0, status=200),
        confirmed(control("max-age=60", TAG), number=0),
        hit(number=0),
    ),
    Story(
        "pain-39-not-without-stale-if-error-either",
        origin(control("max-age=0", TAG)),
        origin(down(500, ("Cache-Control", "max-age=60")), status=500),
        confirmed(control("max-age=60", TAG), number=0),
        hit(number=0),
    ),
]
REVALIDATE = [
    Story(
        "stale-while-revalidate",
        origin(control("max-age=0, stale-while-revalidate=60", TAG)),
        refreshing(control("max-age=60", ("ETag", '"v2"')), number=0, wait=0.1),
        hit(number=1, has={"ETag": '"v2"'}),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-once-expired",
        origin(control("max-age=1, stale-while-revalidate=60", TAG)),
        hit(wait=EXPIRED),
        refreshing(control("max-age=60", ("ETag", '"v2"')), number=0, wait=0.1, ttl=0),
        hit(number=2),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-asks-conditionally",
        origin(control("max-age=0, stale-while-revalidate=60", TAG)),
        refreshing(
            Given(does=(respond(304, b"", [("Cache-Control", "max-age=60"), TAG]),)),
            number=0,
            sent={"If-None-Match": '"v1"'},
            wait=0.1,
        ),
        hit(number=0, has={"Cache-Control": "max-age=60"}),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-outside-its-window",
        origin(control("max-age=10, stale-while-revalidate=20", ("Age", "31"), TAG)),
        origin(control("max-age=60"), forward="stale"),
        hit(number=1),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-is-over-after-its-window",
        origin(control("max-age=0, stale-while-revalidate=1", TAG), wait=1.2),
        origin(control("max-age=60")),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-0",
        origin(control("max-age=0, stale-while-revalidate=0", TAG)),
        origin(control("max-age=60")),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-keeps-the-copy-when-the-refresh-fails",
        origin(control("max-age=0, stale-while-revalidate=60", TAG)),
        refreshing(down(500, ("Cache-Control", "max-age=60")), number=0, wait=0.1),
        refreshing(CUT, number=0, wait=0.1),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-believes-a-404",
        origin(control("max-age=0, stale-while-revalidate=60", TAG)),
        refreshing(down(404, ("Cache-Control", "max-age=60")), number=0, wait=0.1),
        hit(number=1, status=404),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-not-against-must-revalidate",
        origin(control("max-age=0, stale-while-revalidate=60, must-revalidate", TAG)),
        origin(control("max-age=60")),
        rfc="9111 5.2.2.2",
    ),
    Story(
        "stale-while-revalidate-not-against-no-cache",
        origin(control("no-cache, stale-while-revalidate=60", TAG)),
        origin(control("max-age=60")),
        rfc="9111 5.2.2.4",
    ),
    Story(
        "stale-while-revalidate-by-the-routes-words",
        origin(Given(), wait=EXPIRED),
        refreshing(number=0, wait=0.1),
        hit(number=1),
        route="/refreshed",
    ),
    Story(
        "grace-is-for-refreshing-too",
        origin(Given(), wait=EXPIRED),
        refreshing(number=0, wait=0.1),
        hit(number=1),
        route="/grace",
    ),
    Story(
        # What is refreshed is the copy, not what this reader wants of it.
        "stale-while-revalidate-for-a-range",
        origin(control("max-age=0, stale-while-revalidate=60", TAG)),
        refreshing(
            control("max-age=60", ("ETag", '"v2"')),
            number=0,
            wait=0.1,
            status=206,
            fields=[("Range", "bytes=0-3")],
            text="stal",
            unsent=("Range", "If-Range"),
        ),
        hit(number=1, status=200),
        rfc="5861 3",
    ),
    Story(
        "stale-while-revalidate-for-a-head",
        origin(control("max-age=0, stale-while-revalidate=60", TAG)),
        refreshing(
            control("max-age=60", ("ETag", '"v2"')),
            method="HEAD",
            number=0,
            wait=0.1,
            sent={"If-None-Match": '"v1"'},
        ),
        hit(number=1),
        rfc="5861 3",
    ),
    Story(
        "no-warning-field",
        origin(control("max-age=0, stale-while-revalidate=60", ("Date", At(0)))),
        refreshing(number=0, lacks=("Warning",)),
        rfc="9111 5.5",
    ),
]


@pytest.mark.parametrize("story", BY_DEFAULT, ids=str)
def test_never_by_default(story, told):
    told(story)


@pytest.mark.parametrize("story", CLOSED, ids=str)
def test_never_where_the_origin_forbids_it(story, told):
    told(story)


@pytest.mark.parametrize("story", DISCONNECT, ids=str)
def test_disconnected(story, told):
    told(story)


@pytest.mark.parametrize("story", IF_ERROR, ids=str)
def test_stale_if_error(story, told):
    told(story)


@pytest.mark.parametrize("story", REVALIDATE, ids=str)
def test_stale_while_revalidate(story, told):
    told(story)
