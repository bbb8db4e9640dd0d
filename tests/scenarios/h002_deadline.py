# SPDX-License-Identifier: Apache-2.0
"""One deadline an exchange: told upstream, heeded from trusted hops, shared by all attempts."""

from __future__ import annotations

import time

import pytest

from strangler.testing import Edge, configuration, pause, respond


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
    edge = site(running, origin, total="2s")
    edge.get("/").expect(200)
    (left,) = told(origin)
    assert 1500 < int(left) <= 2000


def test_without_a_total_nothing_is_said(running, origin):
    site(running, origin).get("/").expect(200)
    assert told(origin) == [None]


def test_a_strangers_deadline_is_not_looked_at(running, origin):
    edge = site(running, origin)
    edge.get("/", X_Deadline_Ms="1").expect(200)
    assert told(origin) == [None]


def test_a_trusted_hops_deadline_shortens_and_ends_the_wait(running, origin):
    edge = site(running, origin, trusted=True, total="4s")
    edge.get("/", X_Deadline_Ms="1000").expect(200)
    edge.get("/", X_Deadline_Ms="9000").expect(200)
    shorter, longer = told(origin)
    assert 500 < int(shorter) <= 1000
    assert 3000 < int(longer) <= 4000
    origin.answers(pause(3), respond())
    start = time.monotonic()
    edge.get("/late", X_Deadline_Ms="200").expect(504)
    assert time.monotonic() - start < 1.5


def test_attempts_share_the_deadline(running, origin):
    origin.answers(respond(503, fields=[("Retry-After", "1")]))
    upstreams = {"legacy": {"url": origin, "timeout": {"total": "600ms"}}}
    routes = {"/**": {"to": "legacy", "retry": {"tries": 5, "when": [503]}}}
    edge = running(Edge(configuration(routes, upstreams=upstreams)))
    start = time.monotonic()
    edge.get("/").expect(503)
    assert time.monotonic() - start < 0.9
    assert len(origin.requests) == 1
    edge.wait_log("retry=deadline")
