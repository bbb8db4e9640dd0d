# SPDX-License-Identifier: Apache-2.0
"""Collapsing: one fetch for a thousand readers, and never an answer that is somebody else's.

RFC 9111 §4 (collapsed requests), RFC 9211 §2.6; pains 37 and 40.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from scenarios.inside import Inside
from scenarios.story import EXPIRED, ROUTES, cache_status, cached, kept_below, together, warm

from strangler.exchange.caching.fill import LARGEST
from strangler.testing import (
    Closed,
    Connection,
    Edge,
    RawClient,
    Response,
    Truncated,
    Upstream,
    all_taken,
    build,
    pause,
    reset,
    respond,
    until,
    wait,
)

MINUTE = [("Cache-Control", "max-age=60")]
SETTLE = 0.15
"""Seconds in which a connection's end is noticed: nobody tells when it is."""


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream) -> Iterator[Edge]:
    with Edge(cached(origin, app={"timeout": "30s"}), access_log="off") as made:
        yield made


@pytest.fixture(scope="module")
def impatient(origin: Upstream) -> Iterator[Edge]:
    """An edge that waits for its origin for 2 s."""
    with Edge(cached(origin, app={"timeout": "2s"}), access_log="off") as made:
        yield made


class Crowd:
    """Readers that have all sent the same request, each on a connection of its own."""

    def __init__(self, edge: Edge, requests: list[bytes], *, timeout: float = 40) -> None:
        self._stack = ExitStack()
        self.clients = [self._stack.enter_context(edge.client(timeout=timeout)) for _ in requests]
        for client, request in zip(self.clients, requests, strict=True):
            client.send(request)

    def taken(self) -> None:
        """Wait until the edge has read every request: whoever has to wait does so now."""
        all_taken(self.clients)

    def answers(self) -> list[Response]:
        """Read every answer, then leave."""
        with self._stack:
            return [client.read() for client in self.clients]

    def __getitem__(self, number: int) -> RawClient:
        return self.clients[number]

    def close(self) -> None:
        self._stack.close()


def crowd(edge: Edge, count: int, target: str, fields=(), **more) -> Crowd:
    return Crowd(edge, [build("GET", target, fields)] * count, **more)


def asked(origin: Upstream, path: str) -> int:
    return sum(each.path == path.encode() for each in origin.requests)


def at_origin(origin: Upstream, path: str, count: int = 1) -> None:
    until(lambda: asked(origin, path) >= count, what=f"{count} requests for {path}")


def collapsed(answers: list[Response]) -> int:
    return sum("collapsed" in (cache_status(each) or {}) for each in answers)


# -- one fetch


@pytest.mark.parametrize("count", [2, 50, 1000])
def test_cold(count, edge, origin):
    path = f"/origin/cold-{count}"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "x" * 5000, MINUTE))
    readers = crowd(edge, count, path)
    at_origin(origin, path)
    readers.taken()
    go.set()
    answers = readers.answers()
    assert {(each.status, each.length) for each in answers} == {(200, 5000)}
    assert asked(origin, path) == 1
    assert collapsed(answers) == count - 1


@pytest.mark.parametrize("count", [50, 1000])
@pytest.mark.parametrize("tag", ["", '"v1"'], ids=["plain", "validated"])
def test_expired(count, tag, edge, origin):
    path = f"/origin/expired-{count}-{len(tag)}"
    fields = [("Cache-Control", "max-age=1"), *([("ETag", tag)] if tag else [])]
    origin.on(path, respond(200, "old", fields))
    edge.get(path).expect(200, body="old")
    time.sleep(EXPIRED)
    go = threading.Event()
    fresh = [("Cache-Control", "max-age=60"), *fields[1:]]
    answer = respond(304, b"", fresh) if tag else respond(200, "new", fresh)
    origin.on(path, wait(go), answer)
    readers = crowd(edge, count, path)
    at_origin(origin, path, 2)
    readers.taken()
    go.set()
    answers = readers.answers()
    assert {(each.status, each.text) for each in answers} == {(200, "old" if tag else "new")}
    assert asked(origin, path) == 2


def test_pain_40_the_thundering_herd(edge, origin):
    """50 clients made 47 fetches in a Python proxy; here, without any order made by the test."""
    path = "/origin/herd"
    origin.on(path, pause(0.2), respond(200, "x", MINUTE))
    answers = together(50, lambda _: edge.get(path))
    assert {each.status for each in answers} == {200}
    assert asked(origin, path) == 1


def test_stale_while_revalidate_refreshes_once(edge, origin):
    path = "/origin/refreshed-once"
    go = threading.Event()
    origin.on(
        path, respond(200, "old", [("Cache-Control", "max-age=0, stale-while-revalidate=60")])
    )
    edge.get(path).expect(200, body="old")
    origin.on(path, wait(go), respond(200, "new", MINUTE))
    answers = crowd(edge, 50, path).answers()  # nobody waits for the origin
    assert {each.text for each in answers} == {"old"}
    until(lambda: asked(origin, path) == 2, what="the refresh")
    go.set()
    until(lambda: edge.get(path).text == "new", what="the refreshed copy")
    assert asked(origin, path) == 2


def test_one_that_waits_does_not_hold_up_another_url(edge, origin):
    go = threading.Event()
    origin.on("/origin/held", wait(go), respond(200, "held", MINUTE))
    origin.on("/origin/quick", respond(200, "quick", MINUTE))
    readers = crowd(edge, 10, "/origin/held")
    at_origin(origin, "/origin/held")
    edge.get("/origin/quick").expect(200, body="quick")
    go.set()
    assert {each.text for each in readers.answers()} == {"held"}


def test_collapse_false(edge, origin):
    path = "/alone/each"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "x", MINUTE))
    readers = crowd(edge, 10, path)
    at_origin(origin, path, 10)  # all at once
    go.set()
    assert collapsed(readers.answers()) == 0
    assert asked(origin, path) == 10


def test_a_post_is_never_collapsed(edge, origin):
    path = "/origin/posted"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "x", MINUTE))
    readers = Crowd(edge, [build("POST", path, body="a")] * 5)
    at_origin(origin, path, 5)
    go.set()
    assert [each.status for each in readers.answers()] == [200] * 5


# -- as it arrives


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_waiters_read_as_it_arrives(framing, edge, origin):
    path = f"/origin/streamed-{framing}"
    more = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
    if framing == "length":
        steps = [head + b"Content-Length: 10\r\n\r\nfirst", wait(more), b"-last"]
    elif framing == "chunked":
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        steps = [head + b"5\r\nfirst\r\n", wait(more), b"5\r\n-last\r\n0\r\n\r\n"]
    else:
        steps = [head + b"Connection: close\r\n\r\nfirst", wait(more), b"-last", Connection.close]
    origin.on(path, *steps)
    with ExitStack() as stack:
        clients = [stack.enter_context(edge.client()) for _ in range(3)]
        for client in clients:  # the second and third come while it is under way
            client.send(build("GET", path))
            assert client.read_head().status == 200
            assert client.read_content(5) == b"first"
        more.set()
        assert [client.read().text for client in clients] == ["first-last"] * 3
    assert asked(origin, path) == 1
    edge.get(path).expect(200, body="first-last")
    assert asked(origin, path) == 1


def test_a_slow_reader_holds_up_nobody(edge, origin):
    path = "/origin/large"
    origin.on(path, respond(200, "x" * (6 << 20), MINUTE))
    with edge.client(receive_buffer=4096) as slow:
        slow.send(build("GET", path))
        all_taken([slow])
        answers = together(4, lambda _: edge.get(path))
        assert {each.length for each in answers} == {6 << 20}
        assert slow.read().length == 6 << 20
    assert asked(origin, path) == 1


def test_what_is_too_large_to_keep_still_reaches_every_reader(edge, origin):
    path = "/origin/huge"
    size = 24 << 20
    origin.on(path, respond(200, "x" * size, MINUTE))

    def read(_: int) -> int:
        with edge.client(timeout=30, keep=1 << 16) as client:
            return client.get(path).length

    assert together(3, read) == [size] * 3


def test_the_leader_leaves(edge, origin):
    path = "/origin/deserted"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "x", MINUTE))
    leader = edge.client()
    leader.send(build("GET", path))
    at_origin(origin, path)
    readers = crowd(edge, 5, path)
    readers.taken()
    leader.reset()
    time.sleep(SETTLE)
    go.set()
    assert [each.text for each in readers.answers()] == ["x"] * 5
    assert asked(origin, path) == 1


def test_the_leader_leaves_and_nobody_gets_its_cookie(edge, origin):
    path = "/cookies-stored/leader-leaves"
    go = threading.Event()
    origin.on(path, numbered([*MINUTE, ("Set-Cookie", "sessionid=ana")], go))
    ana = edge.client()
    ana.send(build("GET", path))
    at_origin(origin, path)
    others = crowd(edge, 3, path)
    others.taken()
    ana.reset()
    time.sleep(SETTLE)
    go.set()
    for each in others.answers():
        each.expect(200)
        assert "set-cookie" not in each
    assert asked(origin, path) == 1


def test_the_leader_leaves_in_mid_content(edge, origin):
    path = "/origin/deserted-later"
    more = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nfirst"
    origin.on(path, head, wait(more), b"-last")
    leader = edge.client()
    leader.send(build("GET", path))
    leader.read_content(5) if leader.read_head() else None
    with edge.client() as reader:
        reader.send(build("GET", path))
        reader.read_head()
        leader.reset()
        time.sleep(SETTLE)
        more.set()
        reader.read().expect(200, body="first-last")
    assert asked(origin, path) == 1


def test_everybody_leaves(edge, origin):
    path = "/origin/empty-house"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "x", MINUTE))
    readers = crowd(edge, 5, path)
    at_origin(origin, path)
    for client in readers.clients:
        client.reset()
    time.sleep(SETTLE)
    go.set()
    edge.get(path).expect(200, body="x")
    assert asked(origin, path) <= 2


# -- never what is somebody else's


PRIVATE = {
    "set-cookie": [("Cache-Control", "max-age=60"), ("Set-Cookie", "sessionid=secret")],
    "private": [("Cache-Control", "private, max-age=60")],
    "no-store": [("Cache-Control", "no-store")],
    "vary-any": [("Cache-Control", "max-age=60"), ("Vary", "*")],
    "no-freshness": [],
}


def numbered(fields, go: threading.Event | None = None):
    """Answer each request with a content of its own."""
    count = iter(range(1, 10_000))
    lock = threading.Lock()

    def step(connection: Connection) -> None:
        with lock:
            number = next(count)
        if go is not None:
            wait(go)(connection)
        respond(200, f"answer {number}", fields)(connection)

    return step


@pytest.mark.parametrize("why", PRIVATE)
def test_pain_37_an_answer_that_may_not_be_kept_is_not_shared(why, edge, origin):
    path = f"/origin/unshared-{why}"
    go = threading.Event()
    origin.on(path, numbered(PRIVATE[why], go))
    readers = crowd(edge, 10, path)
    at_origin(origin, path)
    readers.taken()
    go.set()
    answers = readers.answers()
    assert len({each.text for each in answers}) == 10, "readers shared an answer"
    assert asked(origin, path) == 10
    assert collapsed(answers) == 0


@pytest.mark.parametrize("why", PRIVATE)
def test_hit_for_miss(why, edge, origin):
    """Once an answer turned out to be private, nobody waits for another one's fetch."""
    path = f"/origin/passed-{why}"
    origin.on(path, numbered(PRIVATE[why]))
    edge.get(path).expect(200)
    go = threading.Event()
    origin.on(path, numbered(PRIVATE[why], go))
    readers = crowd(edge, 8, path)
    at_origin(origin, path, 9)  # all eight are there before the first is answered
    go.set()
    assert len({each.text for each in readers.answers()}) == 8


def test_hit_for_miss_ends_when_it_is_cacheable_again(edge, origin):
    path = "/origin/passed-and-back"
    origin.on(path, numbered([("Cache-Control", "no-store")]))
    edge.get(path).expect(200)
    origin.on(path, numbered(MINUTE))
    first = edge.get(path).expect(200)
    assert edge.get(path).text == first.text, "what became cacheable is not stored"


@pytest.mark.parametrize(
    "fields",
    [[("Authorization", "Bearer ana")], [("Cookie", "sessionid=ana")]],
    ids=["authorization", "cookie"],
)
def test_one_readers_own_answer_does_not_end_collapsing_for_the_others(fields, edge, origin):
    """What is private because of the request says nothing of the next reader's.

    Else anybody could keep a page from being collapsed by asking for it with credentials.
    """
    path = f"/origin/one-of-them-{fields[0][0]}"
    go = threading.Event()
    more = [*MINUTE, ("Vary", "Cookie")]
    origin.on(path, numbered(more))
    with edge.client() as ana:
        ana.request("GET", path, fields).expect(200)
    origin.on(path, wait(go), respond(200, "x", more))
    readers = crowd(edge, 20, path)
    at_origin(origin, path, 2)
    readers.taken()
    go.set()
    assert {each.text for each in readers.answers()} == {"x"}
    assert asked(origin, path) == 2


def test_hit_for_miss_ends_in_the_tiers_below_too(edge, origin):
    """What was private for a while and is kept again is found where it is kept."""
    path = "/below/passed-and-back"
    origin.on(path, numbered([("Cache-Control", "no-store")]))
    edge.get(path).expect(200)
    origin.on(path, numbered([]))
    first = edge.get(path).expect(200)
    kept_below(edge, path)
    assert edge.get(path).text == first.text


def test_authorized_readers_do_not_share(edge, origin):
    path = "/origin/authorized-crowd"
    go = threading.Event()
    origin.on(path, numbered(MINUTE, go))
    requests = [build("GET", path, [("Authorization", f"Bearer {n}")]) for n in range(6)]
    readers = Crowd(edge, requests)
    at_origin(origin, path)
    readers.taken()
    go.set()
    assert len({each.text for each in readers.answers()}) == 6


def test_a_plain_reader_does_not_get_an_authorized_ones_answer(edge, origin):
    path = "/origin/authorized-leader"
    go = threading.Event()

    def step(connection: Connection) -> None:
        assert connection.request is not None
        wait(go)(connection)
        who = connection.request.get("authorization") or b"nobody"
        respond(200, who, MINUTE)(connection)

    origin.on(path, step)
    with edge.client() as ana, edge.client() as other:
        ana.send(build("GET", path, [("Authorization", "ana")]))
        at_origin(origin, path)
        other.send(build("GET", path))
        all_taken([ana, other])
        go.set()
        ana.read().expect(200, body="ana")
        other.read().expect(200, body="nobody")
    edge.get(path).expect(200, body="nobody")


def test_variants_do_not_share(edge, origin):
    path = "/origin/varied-crowd"
    go = threading.Event()

    def step(connection: Connection) -> None:
        assert connection.request is not None
        wait(go)(connection)
        foo = connection.request.get("foo") or b"none"
        respond(200, foo, [*MINUTE, ("Vary", "Foo")])(connection)

    origin.on(path, step)
    values = ["a", "b"] * 10
    readers = Crowd(edge, [build("GET", path, [("Foo", value)]) for value in values])
    at_origin(origin, path)
    readers.taken()
    go.set()
    assert [each.text for each in readers.answers()] == values
    assert asked(origin, path) <= 3


def test_a_304_that_no_longer_suits_leaves_nobody_waiting(edge, origin):
    """Whom the answer doesn't suit any more asks anew, and not the fill that has just ended."""
    tag = ("ETag", '"v1"')
    go = threading.Event()

    def confirm(connection: Connection) -> None:
        assert connection.request is not None
        foo = connection.request.get("foo") or b"none"
        if "if-none-match" not in connection.request or foo == b"2":
            respond(200, foo, [*MINUTE, tag, *more])(connection)
        else:
            wait(go)(connection)
            respond(304, b"", [*MINUTE, tag, *more])(connection)

    more = [("Vary", "Foo")]
    path = "/origin/varies-only-now"
    origin.on(path, respond(200, "1", [("Cache-Control", "max-age=0"), tag]))
    edge.get(path).expect(200)
    origin.on(path, confirm)
    readers = Crowd(edge, [build("GET", path, [("Foo", n)]) for n in "112"], timeout=20)
    at_origin(origin, path, 2)
    readers.taken()
    go.set()
    assert [each.text for each in readers.answers()] == ["1", "1", "2"]

    more = []
    path = "/origin/authorized-no-longer"
    origin.on(path, respond(200, "x", [("Cache-Control", "max-age=0, must-revalidate"), tag]))
    edge.get(path).expect(200)
    origin.on(path, confirm)
    with edge.client(timeout=20) as ana:
        ana.request("GET", path, [("Authorization", "ana"), ("Foo", "hers")]).expect(
            200, body="hers"
        )
    edge.get(path).expect(200, body="x")


def test_ranges_of_one_object_do_not_share_a_part(edge, origin):
    path = "/origin/ranged-crowd"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "0123456789", MINUTE))
    wanted = [f"bytes={n}-{n}" for n in range(10)]
    readers = Crowd(edge, [build("GET", path, [("Range", value)]) for value in wanted])
    at_origin(origin, path)
    readers.taken()
    go.set()
    for number, answer in enumerate(readers.answers()):
        got = answer.text if answer.status == 206 else answer.text[number]
        assert got == str(number)


def test_a_condition_is_each_readers_own(edge, origin):
    path = "/origin/conditional-crowd"
    go = threading.Event()
    origin.on(path, wait(go), respond(200, "x", [*MINUTE, ("ETag", '"v1"')]))
    requests = [build("GET", path), build("GET", path, [("If-None-Match", '"v1"')])] * 3
    readers = Crowd(edge, requests)
    at_origin(origin, path)
    readers.taken()
    go.set()
    for number, answer in enumerate(readers.answers()):
        assert answer.status == 200 if number % 2 == 0 else answer.status in (200, 304)
    assert asked(origin, path) == 1


# -- when the fetch fails


def test_a_fetch_that_fails_fails_for_all_at_once(edge, origin):
    path = "/origin/refused-crowd"
    go = threading.Event()
    origin.on(path, wait(go), Connection.close)
    readers = crowd(edge, 20, path)
    at_origin(origin, path)
    readers.taken()
    began = time.monotonic()
    go.set()
    answers = readers.answers()
    assert {each.status for each in answers} == {502}
    assert time.monotonic() - began < 10
    assert asked(origin, path) <= 4, "a failure made a stampede"
    origin.on(path, respond(200, "x", MINUTE))
    edge.get(path).expect(200, body="x")  # nothing of it was kept


def test_a_slow_leader_lets_its_waiters_go_in_time(impatient, origin):
    path = "/origin/silent-crowd"
    origin.on(path, wait(threading.Event(), 30))
    began = time.monotonic()
    answers = crowd(impatient, 20, path).answers()
    taken = time.monotonic() - began
    assert {each.status for each in answers} == {504}
    assert taken < 20, f"waiters of a silent origin (limit 2 s) were held for {taken:.1f} s"
    assert asked(origin, path) <= 4


def test_a_slow_leader_gives_waiters_stale_where_they_may_have_it(impatient, origin):
    path = "/origin/silent-but-stale"
    origin.on(path, respond(200, "old", [("Cache-Control", "max-age=0, stale-if-error=60")]))
    impatient.get(path).expect(200)
    origin.on(path, wait(threading.Event(), 30))
    began = time.monotonic()
    answers = crowd(impatient, 10, path).answers()
    assert {(each.status, each.text) for each in answers} == {(200, "old")}
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_cut_is_seen_by_all_and_kept_by_none(framing, edge, origin):
    path = f"/origin/cut-crowd-{framing}"
    go = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
    if framing == "length":
        head += b"Content-Length: 10\r\n\r\nfirst"
    else:
        head += b"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
    origin.on(path, head, wait(go), reset())
    readers = crowd(edge, 5, path)
    for client in readers.clients:
        client.read_content(5) if client.read_head() else None
    go.set()
    for client in readers.clients:
        with pytest.raises((Truncated, Closed)):
            client.read()
    readers.close()
    origin.on(path, respond(200, "whole", MINUTE))
    edge.get(path).expect(200, body="whole")


def test_an_error_is_shared_but_not_kept(edge, origin):
    path = "/origin/error-crowd"
    go = threading.Event()
    origin.on(path, wait(go), respond(503, "sorry"))
    readers = crowd(edge, 10, path)
    at_origin(origin, path)
    readers.taken()
    go.set()
    assert {each.status for each in readers.answers()} == {503}
    origin.on(path, respond(200, "x", MINUTE))
    edge.get(path).expect(200, body="x")


# -- two workers


def test_two_workers_make_one_fetch():
    with Upstream() as origin:
        text = cached(
            origin, routes={"/two/**": {"to": "app", "cache": ROUTES["/ladder/**"]["cache"]}}
        )
        with Edge(text, workers=2, access_log="off") as edge:
            warm(edge, "/two/")
            for number in range(3):
                path = f"/two/cold-{number}"
                go = threading.Event()
                origin.on(path, wait(go), respond(200, "x"))
                readers = crowd(edge, 40, path)
                at_origin(origin, path)
                readers.taken()
                time.sleep(0.3)  # the other worker has asked the tier they share, and waits
                go.set()
                answers = readers.answers()
                assert {(each.status, each.text) for each in answers} == {(200, "x")}
                assert asked(origin, path) == 1


def test_two_workers_make_one_fetch_of_what_expired():
    with Upstream() as origin:
        routes = {"/two/**": {"to": "app", "cache": "origin"}}
        with Edge(cached(origin, routes=routes), workers=2, access_log="off") as edge:
            origin.answers(respond(200, "warm", MINUTE))
            warm(edge, "/two/")
            origin.on("/two/x", respond(200, "old", [("Cache-Control", "max-age=4")]))
            edge.get("/two/x").expect(200, body="old")  # who misses at once is the test above
            before = asked(origin, "/two/x")
            assert before == 1
            time.sleep(EXPIRED + 3)
            go = threading.Event()
            origin.on("/two/x", wait(go), respond(200, "new", MINUTE))
            readers = crowd(edge, 40, "/two/x")
            at_origin(origin, "/two/x", before + 1)
            readers.taken()
            time.sleep(0.3)
            go.set()
            assert {each.text for each in readers.answers()} == {"new"}
            assert asked(origin, "/two/x") == before + 1


def test_the_death_of_the_worker_that_fetches_frees_the_other():
    with Upstream() as origin:
        routes = {"/two/**": {"to": "app", "cache": {"edge": "60s", "shared": "60s"}}}
        with Edge(cached(origin, routes=routes), workers=2, access_log="off") as edge:
            warm(edge, "/two/")
            go = threading.Event()
            origin.on("/two/x", wait(go), respond(200, "x"))
            readers = crowd(edge, 30, "/two/x")
            at_origin(origin, "/two/x")
            readers.taken()
            time.sleep(0.3)
            _kill_who_asks(edge, origin, "/two/x")
            go.set()
            fates = []
            for client in readers.clients:
                try:
                    fates.append(client.read().status)
                except (Closed, Truncated):
                    fates.append(0)
            assert set(fates) <= {0, 200}
            assert 200 in fates, "the other worker's readers were lost too"
            readers.close()
            edge.get("/two/x").expect(200, body="x")


def _kill_who_asks(edge: Edge, origin: Upstream, path: str) -> None:
    """Kill the worker whose connection to *origin* has the request for *path*."""
    sock: socket.socket = next(
        each.sock
        for each in origin.connections
        if any(request.path == path.encode() for request in each.requests)
    )
    port = sock.getpeername()[1]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if int(parts[1].rpartition(":")[2], 16) == port:
            inode = parts[9]
            for pid in edge.pids:
                for entry in Path(f"/proc/{pid}/fd").glob("*"):
                    try:
                        if os.readlink(entry) == f"socket:[{inode}]":
                            os.kill(pid, signal.SIGKILL)
                            return
                    except OSError:
                        continue
    raise AssertionError("no worker has that connection")


# -- two workers that only just miss each other


@pytest.fixture
def twins(running, origin, tmp_path):
    """Return two edges that share a tier, as two workers do, in this process."""
    routes = {
        "/twins/**": {"to": "app", "cache": {"edge": "60s", "shared": "60s"}},
        "/short/**": {"to": "app", "cache": {"edge": "1s", "shared": "1s"}},
        "/origin/**": {"to": "app", "cache": "origin"},
    }
    tiers = {"shared": {"store": f"sqlite:{tmp_path / 'shared.db'}", "timeout": "10s"}}
    text = cached(origin, routes=routes, tiers=tiers)
    return running(Inside(text)), running(Inside(text))


def tier_of(edge):
    """Return the tier that both share."""
    return edge.edge.cache.copies.below[0][1]


def hold_lease(tier, monkeypatch):
    """Let *tier* give no lease before an event; return the keys that were asked for, and that."""
    lease, asked_for, go = tier.lease, [], threading.Event()

    async def held_up(key, *given):
        asked_for.append(key)
        await asyncio.to_thread(go.wait, 60)
        return await lease(key, *given)

    monkeypatch.setattr(tier, "lease", held_up)
    return asked_for, go


def test_who_gets_the_lease_only_when_the_answer_is_there_does_not_ask_again(
    twins, origin, monkeypatch
):
    """It has looked before the other has stored, and asks for the lease when that is done."""
    one, late = twins
    asked_for, go = hold_lease(tier_of(late), monkeypatch)
    origin.on("/twins/a", respond(200, "x"))
    with late.client() as client:
        client.send(build("GET", "/twins/a"))
        until(lambda: asked_for)
        one.get("/twins/a").expect(200, body="x")
        until(lambda: not one.wait(tier_of(one).store.taken(asked_for[0])), what="it has stored")
        go.set()
        client.read().expect(200, body="x")
    assert asked(origin, "/twins/a") == 1


@pytest.mark.parametrize("grace", [0, 60])
def test_who_gets_the_lease_only_when_an_expired_copy_is_renewed_does_not_ask_again(
    twins, origin, monkeypatch, grace
):
    """As above, where both have seen what was there before."""
    one, late = twins
    path, lifetime = f"/origin/{grace}", 3
    control = f"max-age={lifetime}, stale-while-revalidate={grace}"
    origin.on(path, respond(200, "x", [("Cache-Control", control), ("ETag", '"1"')]))
    for edge in twins:
        edge.get(path).expect(200, body="x")
    assert asked(origin, path) == 1
    time.sleep(lifetime + EXPIRED - 1)
    asked_for, go = hold_lease(tier_of(late), monkeypatch)
    origin.on(path, respond(200, "y", MINUTE))
    with late.client() as client:
        client.send(build("GET", path))
        until(lambda: asked_for)
        one.get(path).expect(200)
        until(lambda: asked(origin, path) == 2)
        until(lambda: not one.wait(tier_of(one).store.taken(asked_for[0])), what="it has stored")
        go.set()
        client.read().expect(200, body="x" if grace else "y")
    late.wait(settled(late))
    late.get(path).expect(200, body="y")
    assert asked(origin, path) == 2


async def settled(edge):
    """Wait for all fills of *edge*: a refresh has no reader to tell by."""
    while edge.edge.cache._fills:
        await asyncio.sleep(0.01)


def test_a_worker_that_ends_while_it_fetches_leaves_no_lease(twins, origin):
    """Else whoever wants the page next waits for an answer that nobody is fetching."""
    one, late = twins
    go = threading.Event()
    origin.on("/twins/ends", wait(go), respond(200, "x"))
    with one.client() as client:
        client.send(build("GET", "/twins/ends"))
        until(lambda: asked(origin, "/twins/ends") == 1)
        (key,) = one.edge.cache._fills
        assert late.wait(tier_of(late).store.taken(key))
        one.wait(one.edge.cache.close())
        assert not late.wait(tier_of(late).store.taken(key))
    go.set()


def looked(tier, monkeypatch):
    """Return the keys that *tier* is asked for, from now on."""
    get, looks = tier.get, []

    async def counted(key):
        looks.append(key)
        return await get(key)

    monkeypatch.setattr(tier, "get", counted)
    return looks


def test_a_miss_looks_but_once(twins, origin, monkeypatch):
    one, _ = twins
    looks = looked(tier_of(one), monkeypatch)
    origin.on("/twins/b", respond(200, "x"))
    one.get("/twins/b").expect(200)
    assert len(looks) == 1


def test_an_expired_copy_is_looked_for_but_once(twins, origin, monkeypatch):
    one, _ = twins
    origin.on("/short/b", respond(200, "x", [("ETag", '"1"')]))
    one.get("/short/b").expect(200)
    time.sleep(EXPIRED)
    looks = looked(tier_of(one), monkeypatch)
    one.get("/short/b").expect(200)
    assert asked(origin, "/short/b") == 2
    assert len(looks) == 1


#: By what is kept: what the origin answers in turn.
KEPT = {
    "whole": [respond(200, "x")],
    "in-slices": [respond(200, "x" * (1 << 20))],
    "as-it-comes": [respond(200, "x" * (LARGEST + 1))],
    "confirmed": [respond(200, "x", [("ETag", '"1"')]), respond(304, "", [("ETag", '"1"')])],
}


@pytest.mark.parametrize("how", KEPT)
def test_the_lease_ends_when_the_answer_is_there(twins, origin, monkeypatch, how):
    """A put and the end of a lease may go by two connections: whoever waits must find it."""
    one, _ = twins
    store, seen = tier_of(one).store, []
    write, give = store.write, store.give

    async def written(*given):
        await write(*given)
        seen.append("kept")

    async def given_back(*given):
        seen.append("over")
        await give(*given)

    monkeypatch.setattr(store, "write", written)
    monkeypatch.setattr(store, "give", given_back)
    for answer in KEPT[how]:
        if seen:
            time.sleep(EXPIRED)
            seen.clear()
        origin.on("/short/a", answer)
        one.get("/short/a").expect(200)
        until(lambda: len(seen) == 2, what="it is kept, and the lease over")
        assert seen == ["kept", "over"]
