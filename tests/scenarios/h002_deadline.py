# SPDX-License-Identifier: Apache-2.0
"""One deadline an exchange: told upstream, heeded from trusted hops, shared by all attempts."""

from __future__ import annotations

import time

import pytest
from scenarios.inside import Inside

from strangler.testing import (
    Edge,
    Truncated,
    Upstream,
    black_hole,
    configuration,
    pause,
    respond,
    trickle,
)


def site(running, origin, *, trusted=False, **timeout):
    upstreams = {"legacy": {"url": origin, "timeout": {"first_byte": "5s", **timeout}}}
    more = {"site": {"trust_forwarded_from": ["127.0.0.0/8"]}} if trusted else {}
    return running(Edge(configuration(upstreams=upstreams, **more)))


def told(origin):
    return [request.get("X-Deadline-Ms") for request in origin.requests]


@pytest.fixture(autouse=True)
def fresh(origin):
    origin.forget().answers(respond())


def test_what_is_left_goes_upstream(running, origin):
    edge = site(running, origin, total="60s")
    edge.get("/").expect(200)
    (left,) = told(origin)
    assert 45_000 < int(left) <= 60_000


def test_without_a_total_nothing_is_said(running, origin):
    site(running, origin).get("/").expect(200)
    assert told(origin) == [None]


def test_a_strangers_deadline_is_not_looked_at(running, origin):
    edge = site(running, origin)
    edge.get("/", X_Deadline_Ms="1").expect(200)
    assert told(origin) == [None]


def test_a_trusted_hops_deadline_shortens_and_ends_the_wait(running, origin):
    edge = site(running, origin, trusted=True, total="40s")
    edge.get("/", X_Deadline_Ms="20000").expect(200)
    edge.get("/", X_Deadline_Ms="90000").expect(200)
    shorter, longer = told(origin)
    assert 10_000 < int(shorter) <= 20_000
    assert 30_000 < int(longer) <= 40_000
    origin.answers(pause(60), respond())
    start = time.monotonic()
    edge.get("/late", X_Deadline_Ms="200").expect(504)
    assert time.monotonic() - start < 10


def test_attempts_share_the_deadline(running, origin):
    origin.answers(respond(503, fields=[("Retry-After", "20")]))
    upstreams = {"legacy": {"url": origin, "timeout": {"total": "9s"}}}
    retry = {"tries": 5, "when": [503], "backoff": {"cap": "30s"}}
    routes = {"/**": {"to": "legacy", "retry": retry}}
    edge = running(Edge(configuration(routes, upstreams=upstreams)))
    start = time.monotonic()
    edge.get("/").expect(503)
    assert time.monotonic() - start < 15
    assert len(origin.requests) == 1
    edge.wait_log("retry=deadline")


@pytest.fixture
def short():
    """Return an edge whose attempts take 2 s at most, whatever the steps may take."""
    with Upstream(respond()) as origin:
        upstreams = {"legacy": {"url": origin, "timeout": {"attempt": "2s"}}}
        retry = {"tries": 1, "when": ["timeout", "connect"], "backoff": {"base": "0s"}}
        routes = {"/**": {"to": "legacy", "retry": retry}}
        with Inside(configuration(routes, upstreams=upstreams)) as edge:
            yield edge, origin


def test_an_attempt_has_a_time_of_its_own_and_the_next_one_another(short):
    edge, origin = short
    origin.answers(pause(60), respond()).then(pause(0.5), respond(body="second"))
    edge.get("/").expect(200, body="second")
    assert len(origin.requests) == 2
    assert edge.record("/").retry == "retry"


def test_an_attempt_whose_answer_goes_on_too_long_is_cut(short):
    edge, origin = short
    origin.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", trickle(b"x" * 50, every=0.1))
    with pytest.raises(Truncated):
        edge.get("/cut")
    assert edge.record("/cut").error == "http_response_timeout"


def test_an_attempt_that_does_not_even_connect_is_over_too():
    with black_hole() as port:
        service = {"url": f"http://127.0.0.1:{port}", "timeout": {"attempt": "100ms"}}
        service["timeout"]["connect"] = "9s"
        text = configuration({"/**": {"to": "legacy"}}, upstreams={"legacy": service})
        with Inside(text) as edge:
            start = time.monotonic()
            edge.get("/").expect(504)
            assert time.monotonic() - start < 8
            assert edge.record("/").error == "connection_timeout"


def test_what_is_in_time_is_left_alone(short):
    edge, origin = short
    with edge.client() as client:
        for _ in range(3):
            client.get("/").expect(200)
            time.sleep(0.8)
    assert len(origin.connections) == 1
