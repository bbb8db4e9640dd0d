# SPDX-License-Identifier: Apache-2.0
"""The access line of a reader whom the cache serves: which endpoint was asked, and how often.

A fill asks for many; each of its readers says who was asked, and the attempts are told once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from scenarios.inside import Inside
from scenarios.story import EXPIRED, cached

from strangler.testing import (
    Truncated,
    Upstream,
    all_taken,
    build,
    close,
    respond,
    until,
    unused_port,
    wait,
)

MINUTE = [("Cache-Control", "max-age=60")]


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream) -> Iterator[Inside]:
    options = {"retry": {"tries": 1, "when": [503, "incomplete"]}, "fallback": []}
    routes = {
        "/origin/**": {"to": "app", "cache": "origin", **options},
        "/second/**": {"to": "app", "cache": {"edge": "1s", "stale_if_error": "60s"}, **options},
        "/hasty/**": {"to": "hasty", "cache": {"edge": "60s"}, "fallback": []},
        "/falls/**": {"to": "app", "cache": "origin", "fallback": ["legacy"]},
    }
    for room, cache in (("kept", {"edge": "60s"}), ("plain", "none")):
        for name in ("app", "halting", "brief"):
            routes[f"/{room}/{name}/**"] = {"to": name, "cache": cache, "fallback": []}
        for name in ("page:sorry.html", "absent"):
            ladder = {"when": [503], "then": [name]}
            path = f"/{room}/{name.partition(':')[0]}/**"
            routes[path] = {"to": "app", "cache": cache, "fallback": ladder}
    with Upstream(respond(200, "django")) as legacy:
        hasty = {"url": origin, "timeout": {"total": "300ms"}}
        halting = {"url": origin, "timeout": {"between": "300ms"}}
        brief = {"url": origin, "timeout": {"attempt": "2s"}}
        upstreams = {"legacy": legacy, "hasty": hasty, "halting": halting, "brief": brief}
        upstreams["absent"] = f"http://127.0.0.1:{unused_port()}"
        # With the edge tier alone a request is on its way before anything else can happen.
        tiers = {"shared": "none", "archive": "none"}
        app = {"timeout": "20s"}
        text = cached(origin, app=app, routes=routes, upstreams=upstreams, tiers=tiers)
        with Inside(text, pages={"sorry.html": "sorry"}) as made:
            made.legacy = legacy
            yield made


def told(edge: Inside, path: str, count: int = 1) -> list[tuple[str, int, str, str, str]]:
    """Return endpoint, attempts, cache, error and retry of each of *count* lines for *path*."""
    wanted = path.encode()

    def lines() -> list[tuple]:
        return [each for each in list(edge.records) if each[5] == wanted]

    until(lambda: len(lines()) >= count, what=f"{count} lines for {path}")
    return [each[14:19] for each in lines()]


def test_a_miss_names_its_endpoint_and_a_hit_names_none(edge, origin):
    origin.on("/origin/a", respond(200, "a", MINUTE))
    edge.get("/origin/a").expect(200)
    assert told(edge, "/origin/a") == [(origin.address, 1, "fwd=uri-miss", "", "")]
    edge.get("/origin/a", range="bytes=0-0").expect(206)
    assert told(edge, "/origin/a", 2)[1] == ("", 0, "hit,edge", "", "")


def test_each_of_a_crowd_names_the_endpoint_and_one_the_attempt(edge, origin):
    go = threading.Event()
    origin.on("/origin/crowd", wait(go), respond(200, "a", MINUTE))
    clients = [edge.client() for _ in range(3)]
    for client in clients:
        client.send(build("GET", "/origin/crowd"))
    all_taken(clients)
    go.set()
    for client in clients:
        client.read().expect(200)
        client.close()
    assert sorted(told(edge, "/origin/crowd", 3)) == [
        (origin.address, 0, "fwd=uri-miss,collapsed", "", ""),
        (origin.address, 0, "fwd=uri-miss,collapsed", "", ""),
        (origin.address, 1, "fwd=uri-miss", "", ""),
    ]


def test_who_joins_a_body_on_its_way_names_the_endpoint_too(edge, origin):
    go = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nab"
    origin.on("/origin/late", head, wait(go), b"cd")
    with edge.client() as first, edge.client() as late:
        first.send(build("GET", "/origin/late"))
        first.read_head()
        late.send(build("GET", "/origin/late"))
        late.read_head()
        go.set()
        first.read().expect(200, body="abcd")
        late.read().expect(200, body="abcd")
    assert sorted(told(edge, "/origin/late", 2)) == [
        (origin.address, 0, "fwd=uri-miss,collapsed", "", ""),
        (origin.address, 1, "fwd=uri-miss", "", ""),
    ]


def test_an_answer_that_is_not_kept_names_its_endpoint(edge, origin):
    origin.on("/origin/own", respond(200, "a", [("Cache-Control", "private")]))
    edge.get("/origin/own").expect(200)
    assert told(edge, "/origin/own") == [(origin.address, 1, "fwd=uri-miss,private", "", "")]


def test_a_copy_that_is_confirmed_names_who_confirmed_it(edge, origin):
    fields = [("ETag", '"1"')]
    origin.on("/second/a", respond(200, "a", fields))
    edge.get("/second/a").expect(200)
    origin.on("/second/a", respond(304, "", fields))
    time.sleep(EXPIRED)
    edge.get("/second/a").expect(200)
    assert told(edge, "/second/a", 2)[1] == (origin.address, 1, "fwd=stale", "", "")


def test_a_stale_copy_that_stands_in_names_who_failed(edge, origin):
    origin.on("/second/b", respond(200, "a"))
    edge.get("/second/b").expect(200)
    origin.on("/second/b", respond(503))
    time.sleep(EXPIRED)
    edge.get("/second/b").expect(200)
    assert told(edge, "/second/b", 2)[1] == (origin.address, 2, "fwd=stale", "", "tries_used")


def test_all_attempts_and_the_reason_for_the_last_are_told(edge, origin):
    origin.forget().answers(respond(503)).then(respond(200, "a", MINUTE))
    edge.get("/origin/again").expect(200)
    assert told(edge, "/origin/again") == [(origin.address, 2, "fwd=uri-miss", "", "retry")]


def test_a_cut_answer_says_why_it_was_not_asked_for_again(edge, origin):
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\n"
    origin.on("/origin/cut", head + b"abc", close())
    with pytest.raises(Truncated):
        edge.get("/origin/cut")
    error = "http_response_incomplete"
    assert told(edge, "/origin/cut") == [
        (origin.address, 1, "fwd=uri-miss", error, "answer_begun"),
    ]


HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: %b\r\n%b\r\n\r\n"
LENGTH, CHUNKED = b"Content-Length: 9", b"Transfer-Encoding: chunked"
#: By what goes wrong after the head: the name of it, the upstream, what it still sends.
BROKEN = {
    "stops": ("http_response_timeout", "halting", LENGTH, b"abc"),
    "takes-too-long": ("http_response_timeout", "brief", LENGTH, b"abc"),
    "chunks-stop": ("http_response_timeout", "halting", CHUNKED, b"3\r\nabc\r\n"),
    "not-a-chunk": ("http_protocol_error", "app", CHUNKED, b"zzz\r\n"),
}


@pytest.mark.parametrize("control", ["max-age=60", "private"])
@pytest.mark.parametrize("how", BROKEN)
def test_an_answer_that_breaks_off_says_why_whether_the_route_caches_or_not(
    edge, origin, how, control
):
    error, upstream, framing, rest = BROKEN[how]
    begun, over = threading.Event(), threading.Event()
    paths = [f"/{room}/{upstream}/{how}-{control}" for room in ("plain", "kept")]
    clients = [edge.client() for _ in paths]
    for path, client in zip(paths, clients, strict=True):
        origin.on(path, HEAD % (control.encode(), framing), wait(begun), rest, wait(over))
        client.send(build("GET", path))
    for client in clients:
        client.read_head()
    begun.set()
    for path in paths:
        line = told(edge, path)[0]
        assert (line[:2], line[3:]) == ((origin.address, 1), (error, "answer_begun"))
    over.set()
    for client in clients:
        client.close()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("rung", ["page", "absent"])
def test_a_bad_answer_falls_alike_whether_the_route_caches_or_not(edge, origin, rung, whole):
    answers = []
    for room in ("plain", "kept"):
        path = f"/{room}/{rung}/{whole}"
        if whole:
            origin.on(path, respond(503, "busy"))
        else:
            origin.on(path, b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nabc", close())
        got = edge.get(path)
        answers.append((got.status, got.get("Proxy-Status"), told(edge, path)[0][3:]))
    assert answers[0] == answers[1]


def test_an_error_says_who_was_asked_and_why_not_again(edge, origin):
    origin.on("/origin/gone", b"HTTP/1.1 200 OK\r\nContent-", close())
    answer = edge.get("/origin/gone").expect(502)
    error = "http_response_incomplete"
    assert told(edge, "/origin/gone") == [(origin.address, 2, "", error, "tries_used")]
    assert b"retry=tries_used" in answer.get("Proxy-Status")


def test_who_falls_names_who_answered_and_counts_both(edge, origin):
    origin.on("/falls/a", respond(503))
    edge.get("/falls/a").expect(200, body="django")
    assert told(edge, "/falls/a")[0][:2] == (edge.legacy.address, 2)


def test_who_left_while_its_request_was_out_says_where(edge, origin):
    go = threading.Event()
    origin.on("/origin/left", wait(go), respond(200, "a", MINUTE))
    with edge.client() as client:
        client.send(build("GET", "/origin/left"))
        until(lambda: any(each.path == b"/origin/left" for each in origin.requests))
    assert told(edge, "/origin/left") == [(origin.address, 1, "", "client_aborted", "")]
    go.set()


def test_who_left_in_the_content_says_how_much_it_was_sent(edge, origin):
    go = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\n"
    origin.on("/origin/part", head + b"abc", wait(go), b"defghi")
    with edge.client() as client:
        client.send(build("GET", "/origin/part"))
        client.read_content(3)
    error = "client_aborted"
    assert told(edge, "/origin/part") == [(origin.address, 1, "fwd=uri-miss", error, "")]
    assert [each[7] for each in edge.records if each[5] == b"/origin/part"] == [3]
    go.set()


def test_who_waited_as_long_as_its_route_allows_says_where(edge, origin):
    go = threading.Event()
    origin.on("/hasty/a", wait(go), respond(200, "a"))
    edge.get("/hasty/a").expect(504)
    line = told(edge, "/hasty/a")[0]
    assert (line[:2], line[3]) == ((origin.address, 1), "http_response_timeout")
    go.set()
