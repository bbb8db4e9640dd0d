# SPDX-License-Identifier: Apache-2.0
"""Endpoints that go out and come back, breakers that open, places that are taken."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from strangler.testing import (
    Edge,
    Truncated,
    Upstream,
    all_taken,
    build,
    close,
    configuration,
    pause,
    respond,
    until,
    unused_port,
    wait,
)

BREAKER = {"errors": "50%", "window": "1m", "min_requests": 6, "retry_in": "4s..5s"}


def site(running, upstreams, routes=None, *, workers=1, **more):
    routes = routes or {
        "/**": "legacy",
        "/s/**": {"to": "materia", "fallback": [], "retry": "none"},
    }
    return running(Edge(configuration(routes, upstreams=upstreams, **more), workers=workers))


def legacy():
    return {"url": f"http://127.0.0.1:{unused_port()}"}


def test_five_failures_in_a_row_take_an_endpoint_out(running, origin):
    origin.forget().answers(respond(body="good"))
    with Upstream(respond(500)) as bad:
        service = {"url": [bad.url, origin.url], "breaker": "none"}
        edge = site(running, {"legacy": legacy(), "materia": service})
        seen = [edge.get(f"/s/{n}").status for n in range(40)]
        line = edge.wait_log("endpoint.ejected")
        assert "why=consecutive" in line and bad.address in line
        assert seen.count(500) == 5, "and not one more"


def test_an_endpoint_that_came_back_gets_little_at_first(running):
    port = unused_port()
    with Upstream(respond(body="old")) as old:
        service = {"url": [f"http://127.0.0.1:{port}", old.url], "breaker": "none"}
        edge = site(running, {"legacy": legacy(), "materia": service})
        for number in range(30):
            edge.get(f"/s/{number}").expect(200, body="old")
        edge.wait_log("endpoint.ejected")
        with Upstream(respond(body="new"), port=port) as new:
            edge.wait_log("endpoint.returned")
            for number in range(40):
                edge.get(f"/s/n{number}").expect(200)
            assert len(new.requests) < 20, "idle and at a tenth of its weight"


def test_pain_53_all_endpoints_sick_are_tried_all_the_same(running):
    """Two sick endpoints of two: one is ejected at most, the other goes on being asked."""
    with Upstream(respond(500, "one")) as one, Upstream(respond(500, "two")) as two:
        service = {"url": [one.url, two.url], "breaker": "none"}
        edge = site(running, {"legacy": legacy(), "materia": service})
        for number in range(30):
            assert edge.get(f"/s/{number}").expect(500).text in ("one", "two")
        edge.wait_log("endpoint.ejected")


def open_it(edge, origin, path="/s/x"):
    """Fail until the breaker is open; return the number of requests that it took."""
    origin.forget().answers(respond(500))
    for count in range(40):
        response = edge.get(path)
        if response.status == 503:
            assert b"destination_unavailable" in response.get("Proxy-Status")
            return count
        response.expect(500)
    raise AssertionError("it never opened")


def test_a_breaker_opens_holds_probes_and_closes(running, origin):
    service = {"url": origin, "breaker": BREAKER}
    edge = site(running, {"legacy": legacy(), "materia": service})
    assert open_it(edge, origin) == 6
    seen = len(origin.requests)
    edge.get("/s/1").expect(503)
    assert len(origin.requests) == seen, "nobody is asked while it is open"
    edge.wait_log("breaker.open name=materia")
    origin.answers(respond(body="well"))
    until(lambda: edge.get("/s/2").status == 200)
    edge.wait_log("breaker.half_open name=materia")
    edge.wait_log("breaker.closed name=materia")
    edge.get("/s/3").expect(200)


def test_a_failed_probe_opens_it_again(running, origin):
    service = {"url": origin, "breaker": BREAKER}
    edge = site(running, {"legacy": legacy(), "materia": service})
    open_it(edge, origin)
    until(lambda: edge.get("/s/1").status == 500)
    edge.get("/s/1").expect(503)


@pytest.mark.parametrize(
    ("status", "retry"),
    [
        ("200 OK", "none"),
        ("404 Not Found", "none"),
        ("501 Not Implemented", "none"),
        ("404 Not Found", {"tries": 0, "when": [404]}),
    ],
)
def test_answers_that_break_off_in_their_content_open_it(status, retry, running, origin):
    """The reader of such an answer can't be helped any more; the next ones can."""
    origin.forget().answers(*cut(status))
    service = {"url": origin, "breaker": {**BREAKER, "errors": "90%", "retry_in": "1m..1m"}}
    routes = {"/**": "legacy", "/s/**": {"to": "materia", "fallback": [], "retry": retry}}
    edge = site(running, {"legacy": legacy(), "materia": service}, routes)
    for number in range(6):
        with edge.client() as client, pytest.raises(Truncated):
            client.get(f"/s/{number}")
    edge.wait_log("breaker.open name=materia")
    edge.get("/s/x").expect(503)
    assert len(origin.requests) == 6


def cut(status: str) -> tuple[object, ...]:
    return f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nabc".encode(), close()


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_a_probe_whose_content_is_cut_has_failed(status, running, origin):
    """It began well, as the answers did that opened the breaker."""
    service = {"url": origin, "breaker": {**BREAKER, "retry_in": "300ms..500ms"}}
    edge = site(running, {"legacy": legacy(), "materia": service})
    open_it(edge, origin)
    origin.forget().answers(*cut(status))
    for _ in range(3):
        lines, seen = len(edge.lines), len(origin.requests)
        until(lambda seen=seen: asked(edge, origin) > seen)
        edge.wait_log("breaker.open name=materia", after=lines)
    assert "breaker.closed" not in edge.log
    origin.answers(respond(body="well"))
    until(lambda: edge.get("/s/x").status == 200)
    edge.wait_log("breaker.closed name=materia")


def asked(edge, origin) -> int:
    """Ask once, and return how many requests have come to *origin*."""
    with edge.client() as client, contextlib.suppress(Truncated):
        client.get("/s/x")
    return len(origin.requests)


@pytest.fixture
def probing(running, origin):
    """An edge whose breaker's one probe is a reader of something that doesn't end, till `go`."""
    go = threading.Event()
    service = {"url": origin, "breaker": BREAKER}
    edge = site(running, {"legacy": legacy(), "materia": service})
    open_it(edge, origin)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
    origin.on("/s/ticker", head + b"one", wait(go), b"two")
    origin.answers(respond(body="well"))
    clients = []

    def began() -> bool:
        clients.append(edge.client())
        clients[-1].send(build("GET", "/s/ticker"))
        return clients[-1].read_head().status == 200

    until(began)
    edge.get("/s/x").expect(503)  # one probe at a time, and this one has not passed yet
    yield edge, clients[-1], go
    go.set()
    for client in clients:
        client.close()


def test_a_probe_without_an_end_closes_it_after_the_shortest_hold(probing):
    """Live tickers never end: who has gone on for so long is well, and others are let in."""
    edge, client, go = probing
    until(lambda: edge.get("/s/x").status == 200)
    edge.wait_log("breaker.closed name=materia")
    go.set()
    assert client.read_content(6) == b"onetwo"


def test_a_probe_whose_content_ends_closes_it(probing):
    edge, client, go = probing
    go.set()
    assert client.read_content(6) == b"onetwo"
    edge.wait_log("breaker.closed name=materia")
    edge.get("/s/x").expect(200)


def test_a_probe_whose_reader_leaves_says_nothing_and_makes_room(probing):
    edge, client, _ = probing
    client.close()
    until(lambda: edge.get("/s/x").status == 200)
    edge.wait_log("breaker.closed name=materia")


def test_readers_who_leave_in_mid_content_are_nobodys_failure(running, origin):
    go = threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    origin.forget().answers(head + b"abc", wait(go), b"defghi")
    edge = site(running, {"legacy": legacy(), "materia": {"url": origin, "breaker": BREAKER}})
    for number in range(8):
        with edge.client() as client:
            client.send(build("GET", f"/s/{number}"))
            client.read_content(3)
    until(lambda: all(one.gone.is_set() for one in origin.connections))
    go.set()
    edge.get("/s/x").expect(200, body="abcdefghi")


def test_slow_answers_count_as_failures_by_option(running, origin):
    origin.forget().answers(pause(0.1), respond(body="late"))
    breaker = {**BREAKER, "min_requests": 4, "slow": "50ms", "retry_in": "1m..1m"}
    edge = site(running, {"legacy": legacy(), "materia": {"url": origin, "breaker": breaker}})
    for number in range(4):
        edge.get(f"/s/{number}").expect(200, body="late")
    edge.get("/s/x").expect(503)
    assert len(origin.requests) == 4


def test_a_routes_own_breaker_leaves_other_routes_alone(running, origin):
    routes = {
        "/**": "legacy",
        "/s/**": {"to": "materia", "fallback": [], "retry": "none", "breaker": BREAKER},
        "/t/**": {"to": "materia", "fallback": [], "retry": "none"},
    }
    service = {"url": origin, "breaker": {"min_requests": 10_000}}
    edge = site(running, {"legacy": legacy(), "materia": service}, routes)
    open_it(edge, origin)
    edge.get("/t/1").expect(500)
    edge.get("/s/1").expect(503)


def test_an_open_breaker_outlives_a_reload_that_leaves_it_as_it_is(running, origin):
    upstreams = {"legacy": legacy(), "materia": {"url": origin, "breaker": BREAKER}}
    upstreams["materia"]["breaker"] = {**BREAKER, "retry_in": "1m..2m"}
    edge = site(running, upstreams)
    open_it(edge, origin)
    mark = len(edge.lines)
    routes = {
        "/**": "legacy",
        "/s/**": {"to": "materia", "fallback": [], "retry": "none"},
        "/new": "materia",
    }
    edge.write(configuration(routes, upstreams=upstreams))
    edge.wait_log("config.accepted", after=mark)
    edge.get("/s/1").expect(503)


def test_workers_share_an_opening(running, origin):
    service = {"url": origin, "breaker": {**BREAKER, "retry_in": "1m..2m"}}
    edge = site(running, {"legacy": legacy(), "materia": service}, workers=2)
    with edge.client() as client:  # one connection is one worker
        origin.forget().answers(respond(500))
        for _ in range(6):
            client.get("/s/x").expect(500)
    edge.wait_log("breaker.open name=materia .*by=worker")
    for number in range(12):
        edge.get(f"/s/{number}").expect(503)


def test_a_client_who_leaves_is_no_failure_of_the_service(running, origin):
    service = {"url": origin, "breaker": BREAKER, "timeout": {"first_byte": "30s"}}
    edge = site(running, {"legacy": legacy(), "materia": service})
    origin.forget().answers(pause(20), respond())
    for _ in range(10):
        with edge.client() as client:
            client.send(build("GET", "/s/left"))
            origin.wait_requests(1)
            origin.forget()
    origin.answers(respond())
    edge.get("/s/1").expect(200)


@pytest.mark.parametrize("whose", ["upstream", "route"])
def test_a_bulkhead_takes_so_many_and_lets_so_many_wait(whose, running, origin):
    gate = threading.Event()
    origin.forget().answers(lambda c: gate.wait(60), respond(body="done"))
    service = {"url": origin, "queue": 1, "timeout": {"connect": "60s", "first_byte": "60s"}}
    route = {"to": "materia", "fallback": [], "retry": "none"}
    (service if whose == "upstream" else route)["max_inflight"] = 2
    edge = site(running, {"legacy": legacy(), "materia": service}, {"/**": "legacy", "/s": route})
    clients = [edge.client() for _ in range(3)]
    for client in clients[:2]:
        client.send(build("GET", "/s"))
    origin.wait_requests(2)
    clients[2].send(build("GET", "/s"))
    all_taken(clients)
    start = time.monotonic()
    edge.get("/s").expect(503)
    assert time.monotonic() - start < 20, "turned away at once"
    assert len(origin.requests) == 2
    gate.set()
    for client in clients:
        with client:
            client.read().expect(200, body="done")


def test_who_waits_too_long_for_a_place_is_told_so(running, origin):
    gate = threading.Event()
    origin.forget().answers(lambda c: gate.wait(60), respond())
    service = {"url": origin, "max_inflight": 1, "timeout": {"connect": "2s"}}
    edge = site(running, {"legacy": legacy(), "materia": service})
    first = edge.client()
    first.send(build("GET", "/s/1"))
    origin.wait_requests(1)
    response = edge.get("/s/2").expect(503)
    assert b"connection_limit_reached" in response.get("Proxy-Status")
    gate.set()
    with first:
        first.read().expect(200)
    edge.get("/s/3").expect(200)


def test_the_console_can_see_it_all(running, origin):
    service = {"url": origin, "breaker": {**BREAKER, "retry_in": "1m..2m"}}
    edge = site(running, {"legacy": legacy(), "materia": service})
    open_it(edge, origin)

    def told():
        _, workers = edge.admin_json("/-/workers")
        listed = workers["workers"] if isinstance(workers, dict) else workers
        return listed[0]["edge"]["upstreams"]["materia"]["breaker"]["word"]

    until(lambda: told() == "open")


def test_closing_in_mid_answer_counts_and_a_tunnels_end_does_not(running, origin):
    service = {"url": origin, "breaker": BREAKER}
    edge = site(running, {"legacy": legacy(), "materia": service})
    origin.forget().answers(close())
    for _ in range(6):
        edge.get("/s/1").expect(502)
    edge.get("/s/1").expect(503)
