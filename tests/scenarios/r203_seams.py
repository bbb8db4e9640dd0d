# SPDX-License-Identifier: Apache-2.0
"""Where two rooms meet: a bug of the edge's own, an answer given twice, a purge on the way.

Who waits for an answer hears of it whatever happens between the upstream and its reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scenarios.inside import Inside

from strangler.testing import (
    Closed,
    Edge,
    Truncated,
    Upstream,
    build,
    close,
    configuration,
    echo,
    endless,
    hang,
    respond,
    until,
    wait,
)

CACHE = {"edge": "60s"}


@pytest.fixture(scope="module")
def legacy():
    with Upstream(respond(body="django")) as made:
        yield made


@pytest.fixture(scope="module")
def materia():
    with Upstream(respond(body="materia")) as made:
        yield made


def site(legacy, materia) -> str:
    """Return a routes.yaml before the two."""
    breaker = {"min_requests": 100_000}
    upstreams = {
        "legacy": {"url": legacy, "breaker": breaker},
        "materia": {"url": materia, "breaker": breaker},
    }
    routes = {
        "/**": "legacy",
        "/plain/**": {"to": "materia", "fallback": []},
        "/kept/**": {"to": "materia", "cache": CACHE, "fallback": []},
        "/saved/**": {"to": "materia", "fallback": {"when": [503, "connect"], "then": ["legacy"]}},
        "/form/**": {
            "to": "materia",
            "cache": CACHE,
            "timeout": {"attempt": "2s"},
            "fallback": {"when": ["timeout"], "then": ["legacy"], "writes": True},
        },
        "/again/**": {
            "to": "materia",
            "fallback": [],
            "retry": {"tries": 1, "when": [503], "budget": "100%"},
        },
    }
    tiers = {"shared": "none", "archive": "none"}
    return configuration(routes, upstreams=upstreams, tiers=tiers)


@pytest.fixture(scope="module")
def inside(legacy, materia):
    with Inside(site(legacy, materia)) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(inside, legacy, materia):
    legacy.forget().answers(respond(body="django"))
    materia.forget().answers(respond(body="materia"))


def fetches(inside: Inside, name: str) -> tuple[int, int]:
    """Return how many fetches from an upstream gave an answer, and how many none."""
    upstream = inside.edge.view.upstreams[name]
    return upstream.succeeded, upstream.failed


class Bug(Exception):
    pass


@pytest.mark.sources
@pytest.mark.parametrize("folder", ["/plain", "/kept"])
@pytest.mark.parametrize("chunks", [False, True])
def test_a_bug_on_the_way_of_an_answer_leaves_nobody_waiting(
    folder, chunks, inside, materia, monkeypatch, caplog
):
    path = f"{folder}/{chunks}"

    def broken(*given):
        raise Bug

    materia.answers(respond(body="whole in one segment", chunks=chunks))
    with monkeypatch.context() as patched:
        patched.setattr(inside.edge, "mended", broken)
        with inside.client() as client, contextlib.suppress(Closed, Truncated):
            client.get(path).expect((500, 502))
    assert [record for record in caplog.records if record.msg == "answer.failed"]
    until(lambda: not inside.edge.exchanges)
    inside.get(path).expect(200, body="whole in one segment")


def test_an_answer_that_was_kept_and_given_after_all_is_counted_once(inside, legacy, materia):
    before = fetches(inside, "materia")
    materia.answers(respond(503, "sorry"))
    legacy.answers(close())
    inside.get("/saved/1").expect(503, body="sorry")
    assert fetches(inside, "materia") == (before[0] + 1, before[1])


def test_a_retry_that_came_to_nothing_leaves_one_answer(inside, materia):
    before = fetches(inside, "materia")
    materia.answers(respond(503, "sorry", [("Connection", "close")])).then(close())
    inside.get("/again/1").expect(503, body="sorry")
    assert len(materia.requests) == 2
    assert fetches(inside, "materia") == (before[0] + 1, before[1])


def test_an_answer_that_broke_off_was_one(inside, materia):
    before = fetches(inside, "materia")
    materia.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", close())
    with pytest.raises(Truncated):
        inside.get("/plain/1")
    assert fetches(inside, "materia") == (before[0] + 1, before[1])


@pytest.mark.parametrize("breaker", ["none", {"min_requests": 100_000}])
@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_endpoint_that_cuts_its_answers_is_ejected_and_each_was_one(
    running, breaker, status, caplog
):
    head = b"HTTP/1.1 %d OK\r\nContent-Length: 9\r\n\r\n" % status
    with Upstream(head + b"half", close()) as sick, Upstream() as well:
        service = {"url": [sick, well], "breaker": breaker}
        route = {"to": "twins", "fallback": [], "retry": "none"}
        text = configuration({"/**": route}, upstreams={"legacy": well, "twins": service})
        edge = running(Inside(text))
        first, second = edge.edge.view.upstreams["twins"].endpoints

        def ejected() -> list[str]:
            told = [each for each in caplog.records if each.msg == "endpoint.ejected"]
            return [each.fields["why"] for each in told]

        for number in range(200):
            with contextlib.suppress(Truncated):
                edge.get(f"/{number}").expect(200)
            if ejected():
                break
        assert (ejected(), len(sick.requests)) == (["consecutive"], 5)
        assert edge.do(lambda: (first.standing.window.total, first.standing.window.part)) == (5, 5)
        assert edge.do(lambda: second.standing.window.part) == 0


@pytest.mark.sources
def test_a_write_that_was_answered_is_made_once_though_its_answer_breaks_off_in_a_purge(
    inside, legacy, materia, monkeypatch
):
    """The stores take their time, and the answer's own time ends meanwhile."""

    async def slow(purge):
        await asyncio.sleep(3.0)

    materia.answers(b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nhalf", hang())
    with monkeypatch.context() as patched:
        patched.setattr(inside.edge.cache, "invalidate", slow)
        with inside.client() as client, pytest.raises((Closed, Truncated)):
            client.request("POST", "/form/1", body="a=1")
    assert len(materia.requests) == 1
    assert not legacy.requests
    until(lambda: not inside.edge.exchanges)


def test_a_reader_who_takes_nothing_holds_back_an_answer_that_purges(running, legacy, materia):
    """It is full by what came with the head, before the purge lets the rest come."""
    inside = running(Inside(site(legacy, materia)))  # whose buffers nobody else has to pass
    materia.answers(
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 20), endless(b"x" * (1 << 16), 64 << 20)
    )
    inside.small_buffers()
    with inside.client(receive_buffer=4096) as client:
        client.send(build("POST", "/kept/2", body="a=1"))
        client.read_head("POST")
        assert len(materia.requests) == 1
        threading.Event().wait(1.5)  # the subject is what happens meanwhile: nothing
        assert inside.do(inside.waiting) < 2 << 20
        client.read_content(4 << 20)


@contextlib.contextmanager
def two_readers(inside: Inside, origin: Upstream, path: str, free: threading.Event) -> Iterator:
    """Give two who have asked for *path* before *free* lets it come, one of whom takes no more of
    it than its head; the other has read nothing yet."""
    with inside.client(receive_buffer=4096) as slow, inside.client(timeout=60) as quick:
        slow.send(build("GET", path))
        origin.wait_requests(1)
        quick.send(build("GET", path))
        until(lambda: len(inside.edge.exchanges) == 2)
        free.set()
        slow.read_head()
        yield slow, quick


def held(inside: Inside) -> int:
    """Return the bytes of bodies on their way that the edge holds."""
    return inside.do(lambda: sum(one.held for one in inside.edge.cache._room._streams))


def test_nobody_sets_the_pace_of_others_who_asked_for_the_same_large_file(inside, materia):
    """Whoever asks first and reads slowly would else hold back all who came with it."""
    size, free = 48 << 20, threading.Event()
    materia.on(
        "/kept/film",
        wait(free),
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % size,
        endless(b"x" * (1 << 16), size),
    )
    with two_readers(inside, materia, "/kept/film", free) as (slow, quick):
        assert quick.read().expect(200).length == size
        assert len(materia.requests) == 1
        assert slow.reader.partial.length < size
    until(lambda: not held(inside))


def test_a_file_for_which_there_is_no_room_is_fetched_for_each(legacy):
    """One fetch for all would go at the pace of the slowest, once there is no room for more."""
    size, free = 96 << 20, threading.Event()
    routes = {"/**": {"to": "legacy", "cache": {"edge": "60s"}}}
    tiers = {"edge": {"store": "memory", "size": "1MB"}, "shared": "none", "archive": "none"}
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % size
    legacy.on("/film", wait(free), head, endless(b"x" * (1 << 16), size))
    with Inside(configuration(routes, upstreams={"legacy": legacy}, tiers=tiers)) as made:
        with two_readers(made, legacy, "/film", free) as (slow, quick):
            answer = quick.read().expect(200)
            assert answer.length == size
            assert b"detail=large" in answer.get("Cache-Status")
            assert len(legacy.requests) == 2
            assert slow.reader.partial.length < size


def chunks(size: int) -> list:
    """Return what an origin says that doesn't know how long its answer becomes."""
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20))
    return [head, *[piece] * (size >> 20), b"0\r\n\r\n"]


def test_a_slow_reader_of_content_of_unknown_length_holds_nobody_back(inside, materia):
    """It is 16 MB before anybody knows that it is too large to be kept."""
    size, free = 48 << 20, threading.Event()
    materia.on("/kept/live", wait(free), *chunks(size))
    with two_readers(inside, materia, "/kept/live", free) as (slow, quick):
        assert quick.read().expect(200).length == size
        assert len(materia.requests) == 1
        assert slow.reader.partial.length < size
        assert slow.read(timeout=60).length == size
    until(lambda: not held(inside))


def test_what_slow_readers_have_yet_to_take_is_bounded(legacy):
    """Where there is no room for more the slowest sets the pace, and nobody's answer is cut."""
    size, free = 96 << 20, threading.Event()
    routes = {"/**": {"to": "legacy", "cache": {"edge": "60s"}}}
    tiers = {"edge": {"store": "memory", "size": "1MB"}, "shared": "none", "archive": "none"}
    legacy.on("/live", wait(free), *chunks(size))
    with Inside(configuration(routes, upstreams={"legacy": legacy}, tiers=tiers)) as made:
        with two_readers(made, legacy, "/live", free) as (slow, quick):
            taken = 60 << 20
            quick.read_content(taken)
            while (
                held(made) <= 64 << 20
            ):  # what the kernel holds for either reader is its own affair
                quick.read_content(taken := taken + (1 << 20))
            threading.Event().wait(0.5)  # the subject is what happens meanwhile: nothing
            assert held(made) < 72 << 20
            read = threading.Thread(target=slow.read, kwargs={"timeout": 60})
            read.start()
            assert quick.read().length == size
            read.join()
            assert slow.reader is not None


def test_readers_who_take_nothing_do_not_make_the_edge_hold_a_body_each():
    """Each asks for something else, and all of it could be kept, were it not for the others."""
    size, count = 8 << 20, 40
    routes = {"/**": {"to": "legacy", "cache": {"edge": "60s"}}}
    tiers = {"edge": {"store": "memory", "size": "1MB"}, "shared": "none", "archive": "none"}
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % size
    with Upstream(head, endless(b"x" * (1 << 16), size)) as origin, ExitStack() as stack:
        text = configuration(routes, upstreams={"legacy": origin}, tiers=tiers)
        edge = stack.enter_context(Edge(text))
        before = edge.rss()
        for number in range(count):
            client = stack.enter_context(edge.client(receive_buffer=4096))
            client.send(build("GET", f"/{number}"))
            client.read_head()
        with edge.client(timeout=60) as quick:
            quick.send(build("GET", "/quick"))
            response = quick.read().expect(200)
            assert response.length == size
            assert not response.body.strip(b"x")
        threading.Event().wait(1.0)  # the subject is what happens meanwhile: nothing
        assert edge.rss() - before < 180 << 20


def test_a_store_that_is_late_costs_a_rung_and_no_copy(legacy, monkeypatch):
    """It is only slow: the body can't be begun in time, and comes from the upstream."""
    body = b"x" * (20 << 20)
    routes = {"/**": {"to": "legacy", "cache": {"edge": "60s", "archive": "60s"}}}
    tiers = {"shared": "none", "archive": {"store": "memory", "timeout": "5s"}}
    legacy.answers(respond(body=body, fields=[("Cache-Control", "max-age=60")]))
    with Inside(configuration(routes, upstreams={"legacy": legacy}, tiers=tiers)) as made:
        [(_, tier)] = made.edge.cache.copies.below

        def kept() -> bool:
            answer = made.get("/large").expect(200)
            assert answer.length == len(body)
            return b"hit" in answer.get("cache-status")

        until(kept)

        async def late(*given):
            raise TimeoutError

        asked = len(legacy.requests)
        with monkeypatch.context() as patched:
            patched.setattr(tier.store, "read_slice", late)
            patched.setattr(tier.store, "write_slice", late)
            assert not kept()
        assert len(legacy.requests) == asked + 1
        until(lambda: tier.up)
        assert kept()
        assert len(legacy.requests) == asked + 1


@pytest.mark.parametrize("lost", ["gone", "late"])
def test_a_stand_in_whose_content_cannot_be_begun_is_none(lost, legacy, materia, monkeypatch):
    """Its head would be sent by then, and legacy could no longer be asked."""
    body = b"x" * (20 << 20)
    route = {"to": "materia", "cache": {"archive": "60s"}, "fallback": ["archive", "legacy"]}
    tiers = {"shared": "none", "archive": {"store": "memory", "timeout": "5s"}}
    upstreams = {"legacy": legacy, "materia": {"url": materia, "breaker": "none"}}
    materia.answers(respond(body=body, fields=[("Cache-Control", "max-age=3")]))
    with Inside(configuration({"/**": route}, upstreams=upstreams, tiers=tiers)) as made:
        [(_, tier)] = made.edge.cache.copies.below
        until(lambda: b"hit" in made.get("/large").expect(200).get("cache-status"))
        materia.answers(respond(503, "sick"))
        until(lambda: made.get("/large").expect(200).get("strangler-fallback") is not None)
        found = made.get("/large").expect(200)
        assert b"archive" in found.get("strangler-fallback")
        assert found.length == len(body)

        async def read(*given):
            if lost == "late":
                raise TimeoutError
            return

        with monkeypatch.context() as patched:
            patched.setattr(tier.store, "read_slice", read)
            answer = made.get("/large").expect(200, body="django")
        assert b"legacy" in answer.get("strangler-fallback")


ASKS = [("Connection", "Upgrade"), ("Upgrade", "websocket")]


def test_a_switch_of_protocols_says_nothing_of_content(inside, materia):
    """RFC 9110 §8.6 and 15.2.2: a 101 has none."""
    materia.answers(
        b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Content-Length: 5\r\nX-Kept: 1\r\n\r\n",
        echo(),
    )
    with inside.client() as client:
        client.send(build("GET", "/plain/ws", ASKS))
        response = client.read().expect(101, upgrade="websocket", x_kept="1")
        assert response.get("content-length") is None
        client.send(b"there")
        assert client.read_tunnel(5) == b"there"


def test_a_switch_to_nobody_knows_what_is_none(inside, materia):
    materia.answers(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\n\r\n", hang())
    with inside.client() as client:
        response = client.request("GET", "/plain/ws", ASKS).expect(502)
        assert b"http_upgrade_failed" in response.get("proxy-status")
