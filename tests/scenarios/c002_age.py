# SPDX-License-Identifier: Apache-2.0
"""Age (cache-behaviours 2): how old a response is when it comes, and what the reader is told.

RFC 9111 §4.2.3, §5.1.
"""

from __future__ import annotations

import threading
import time

import pytest
from scenarios.story import At, Given, Story, ask, cached, control, detail, hit, origin

from strangler.testing import Edge, Upstream, pause, respond

TAG = ("ETag", '"v1"')


def aged(id: str, *fields, age: int, **more) -> Story:
    """Tell that what comes with *fields* counts as *age* seconds old, and still is fresh."""
    return Story(id, origin(control("max-age=3600", *fields)), hit(age=age), **more)


def old(id: str, *fields, **more) -> Story:
    """Tell that what comes with *fields* is older than an hour."""
    return Story(id, origin(control("max-age=3600", *fields)), origin(), **more)


INITIAL = [
    aged("age-absent", age=0),
    aged("age-given", ("Age", "30"), age=30),
    aged("age-given-with-date", ("Date", At(0)), ("Age", "30"), age=30),
    aged("age-with-leading-zeros", ("Age", "0030"), age=30),
    aged("age-apparent", ("Date", At(-30)), age=30, rfc="9111 4.2.3"),
    aged("age-the-larger-is-age", ("Date", At(-10)), ("Age", "30"), age=30, rfc="9111 4.2.3"),
    aged("age-the-larger-is-apparent", ("Date", At(-30)), ("Age", "10"), age=30, rfc="9111 4.2.3"),
    aged("age-a-fast-clock", ("Date", At(60)), age=0, rfc="9111 4.2.3"),
    aged("age-a-fast-clock-and-age", ("Date", At(60)), ("Age", "30"), age=30, rfc="9111 4.2.3"),
    old("age-over-max-age", ("Age", "7200")),
    old("age-over-max-age-with-date", ("Date", At(0)), ("Age", "7200")),
    old("age-equals-max-age", ("Age", "3600")),
    old("age-apparent-over-max-age", ("Date", At(-7200))),
    Story(
        "age-over-expires-slow-date",
        origin(Given(fields=[("Date", At(-10)), ("Expires", At(10)), ("Age", "25")])),
        origin(),
        rfc="9111 4.2.3",
    ),
    Story(
        "age-over-expires-fast-date",
        origin(Given(fields=[("Date", At(10)), ("Expires", At(20)), ("Age", "15")])),
        origin(),
        rfc="9111 4.2.3",
    ),
    Story(
        "age-counts-for-s-maxage",
        origin(control("s-maxage=60", ("Age", "90"))),
        origin(),
        rfc="9111 4.2.3",
    ),
    Story(
        "age-counts-for-heuristics",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", At(-600)), ("Age", "90")])),
        origin(),
        rfc="9111 4.2.2",
    ),
]

MALFORMED = [
    aged("age-word", ("Age", "abc"), age=0),
    aged("age-empty", ("Age", ""), age=0),
    aged("age-negative", ("Age", "-7200"), age=0),
    aged("age-plus", ("Age", "+7200"), age=0),
    aged("age-float", ("Age", "7200.0"), age=0),
    aged("age-underscore", ("Age", "7_200"), age=0),
    aged("age-quoted", ("Age", '"7200"'), age=0),
    aged("age-with-parameter", ("Age", "7200;foo=111"), age=0),
    aged("age-word-inside", ("Age", "72a00"), age=0),
    old("age-huge", ("Age", "99999999999999999999")),
    old("age-2-31", ("Age", "2147483648")),
    old("age-of-300-digits", ("Age", "9" * 300)),
    old("age-first-member-old", ("Age", "7200,0")),
    old("age-first-member-old-spaced", ("Age", "7200, 0")),
    aged("age-first-member-young", ("Age", "0,7200"), age=0),
    old("age-first-line-old", ("Age", "7200"), ("Age", "0")),
    aged("age-first-line-young", ("Age", "0"), ("Age", "7200"), age=0),
    aged("age-twice-0", ("Age", "0, 0"), age=0),
    aged("age-two-lines-of-0", ("Age", "0"), ("Age", "0"), age=0),
    old("age-twice-old", ("Age", "7200, 7200")),
    old("age-two-lines-of-old", ("Age", "7200"), ("Age", "7200")),
]

TOLD = [
    Story(
        "age-goes-on",
        origin(control("max-age=60", ("Age", "30"))),
        hit(age=30, wait=1.1),
        hit(age=31),
        rfc="9111 5.1",
    ),
    Story(
        "age-goes-on-from-0",
        origin(control("max-age=60")),
        hit(age=0, wait=1.1),
        hit(age=1),
        rfc="9111 5.1",
    ),
    Story(
        "age-goes-on-by-expires",
        origin(Given(fields=[("Date", At(0)), ("Expires", At(3600)), ("Age", "30")])),
        hit(age=30, wait=1.1),
        hit(age=31),
        rfc="9111 5.1",
    ),
    Story(
        "date-is-never-rewritten",
        origin(control("max-age=60", ("Date", "Thu, 18 Aug 2050 02:01:18 GMT"))),
        hit(has={"Date": "Thu, 18 Aug 2050 02:01:18 GMT"}, wait=1.1),
        hit(has={"Date": "Thu, 18 Aug 2050 02:01:18 GMT"}),
        rfc="9110 6.6.1",
    ),
    Story(
        "date-is-given-to-what-has-none",
        origin(control("max-age=60")),
        hit(has={"Date": None}),
        rfc="9110 6.6.1",
    ),
    Story(
        "one-age-however-many-came",
        origin(control("max-age=3600", ("Age", "5"), ("Age", "9"))),
        hit(age=5),
        rfc="9111 5.1",
    ),
    Story(
        "age-in-304",
        origin(control("max-age=3600", ("Age", "30"), ("ETag", '"a"'))),
        hit(fields=[("If-None-Match", '"a"')], status=304, age=30),
        rfc="9111 5.1",
    ),
    Story(
        "age-in-206",
        origin(control("max-age=3600", ("Age", "30"))),
        hit(fields=[("Range", "bytes=0-2")], status=206, text="age", age=30),
        rfc="9111 5.1",
    ),
    Story(
        "age-in-head",
        origin(control("max-age=3600", ("Age", "30"))),
        hit(method="HEAD", age=30),
        rfc="9111 5.1",
    ),
    Story(
        "the-origins-age-passes-through",
        origin(control("no-store", ("Age", "30")), has={"Age": "30"}),
        rfc="9111 5.1",
    ),
    Story(
        "ttl-is-lifetime-less-age",
        origin(control("max-age=3600", ("Age", "3000"))),
        hit(ttl=600),
        rfc="9211 2.4",
    ),
]


@pytest.mark.parametrize("story", INITIAL, ids=str)
def test_initial_age(story, told):
    told(story)


@pytest.mark.parametrize("story", MALFORMED, ids=str)
def test_odd_values(story, told):
    told(story)


@pytest.mark.parametrize("story", TOLD, ids=str)
def test_what_the_reader_is_told(story, told):
    told(story)


def test_a_slow_answers_delay_counts():
    """The response delay is part of the age (§4.2.3), and a slow body is part of its life."""
    with Upstream() as origin:
        origin.on("/origin/slow", pause(1.1), respond(200, "x", [("Cache-Control", "max-age=60")]))
        origin.on("/origin/slower", pause(1.1), respond(200, "x", [("Cache-Control", "max-age=1")]))
        with Edge(cached(origin)) as edge:
            done: list[int] = []

            def slower() -> None:
                for _ in range(2):
                    ask(edge, "/origin/slower").expect(200)
                done.append(len([r for r in origin.requests if r.path == b"/origin/slower"]))

            thread = threading.Thread(target=slower)
            thread.start()
            ask(edge, "/origin/slow").expect(200)
            began = time.monotonic()
            response = ask(edge, "/origin/slow").expect(200)
            thread.join()
            assert int(response.get("age") or b"-1") >= 1
            assert time.monotonic() - began < 20
            assert done == [2]
            origin.expect_requests(1, path="/origin/slow")


def test_the_delay_of_a_post_and_of_a_head_counts_too():
    """What either gives the cache was on its way for as long as any answer (§4.2.3)."""
    minute = ("Cache-Control", "max-age=60")
    here = ("Content-Location", "/origin/posted")
    with Upstream() as origin, Edge(cached(origin)) as edge:
        origin.on("/origin/posted", pause(1.1), respond(200, "x", [minute, here]))
        origin.on("/origin/asked", respond(200, "x", [("Cache-Control", "max-age=0"), TAG]))
        ask(edge, "/origin/asked").expect(200)
        origin.on("/origin/asked", pause(1.1), respond(200, "x", [minute, TAG]))
        with edge.client(timeout=20) as client:
            client.request("POST", "/origin/posted", (), "a=1").expect(200)
            client.request("HEAD", "/origin/asked").expect(200)
        for path in ("/origin/posted", "/origin/asked"):
            response = ask(edge, path).expect(200)
            assert detail(response) == "edge"
            assert int(response.get("age") or b"-1") >= 1
