# SPDX-License-Identifier: Apache-2.0
"""A worker that is short of room or time lets go of the least important work first."""

from __future__ import annotations

import threading
import time

import pytest
from scenarios.inside import Inside

from strangler.testing import Upstream, build, configuration, respond, until

#: Requests at work at a time that the edge has room for.
ROOM = 20
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1)"


@pytest.fixture
def origin():
    with Upstream(respond(body="page")) as made:
        yield made


@pytest.fixture
def inside(origin):
    routes = {
        "/**": {"to": "app"},
        "/slow": {"to": "app"},
        "/feed": {"to": "app", "priority": "low"},
        "/pay": {"to": "app", "priority": "high"},
        "/kept": {"to": "app", "cache": {"edge": "60s"}},
        "/moved": {"redirect": "/"},
    }
    text = configuration(
        routes, upstreams={"app": {"url": origin, "breaker": "none"}}, limits={"inflight": ROOM}
    )
    with Inside(text) as made:
        made.do(lambda: setattr(made.edge.relief, "lag_limit", 1e6))  # this machine may be busy
        yield made


class Crowd:
    """Requests that stay at work until the crowd is let out."""

    def __init__(self, inside, origin):
        self.inside, self.gate, self.clients = inside, threading.Event(), []
        origin.on("/slow", lambda c: self.gate.wait(60), respond())

    def grow(self, count):
        """Have *count* at work, and the edge notice."""
        short = sum(count / ROOM >= at for at in (0.7, 0.85, 0.95, 1.0, 2.0))
        for _ in range(count - len(self.clients)):
            client = self.inside.client()
            self.clients.append(client)
            client.send(build("GET", "/slow"))
        edge = self.inside.edge
        until(lambda: edge.short == short, what=f"level {short}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.gate.set()
        for client in self.clients:
            client.close()


def test_shadows_then_crawlers_then_low_priorities_and_readers_last(inside, origin):
    with Crowd(inside, origin) as crowd:
        crowd.grow(13)
        inside.get("/", user_agent=BOT).expect(200)
        crowd.grow(14)
        assert inside.edge.shadows.shed
        inside.get("/", user_agent=BOT).expect(200)
        crowd.grow(17)
        answer = inside.get("/", user_agent=BOT).expect(503)
        assert 5 <= int(answer.get("Retry-After")) < 10
        assert b"connection_limit_reached" in answer.get("Proxy-Status")
        assert b"shed_crawler" in answer.get("Proxy-Status")
        inside.get("/feed").expect(200)
        crowd.grow(19)
        inside.get("/feed").expect(503)
        inside.get("/").expect(200)
        inside.get("/pay").expect(200)
        asked = len(origin.requests)
        inside.get("/pay", user_agent=BOT).expect(503)
        assert len(origin.requests) == asked, "what is let go costs nobody behind us anything"
    assert {"shed_crawler", "shed_low"} <= set(inside.reasons())
    assert inside.do(lambda: inside.edge.relief.shedding.shed)[1:3] == [2, 1]


def test_of_readers_only_the_share_that_is_too_much_is_let_go(inside, origin):
    with Crowd(inside, origin) as crowd:
        crowd.grow(ROOM - 1)
        origin.on("/slow2", lambda c: crowd.gate.wait(60), respond())
        # Those who come while there is still room can be twice as many as there is room for.
        more = [inside.client() for _ in range(ROOM)]
        inside.do(lambda: setattr(inside.edge, "short", 0))
        for client in more:
            client.send(build("GET", "/slow2"))
        until(lambda: len(inside.edge.exchanges) >= 2 * ROOM - 2)
        until(lambda: inside.edge.relief.shedding.level >= 4)
        inside.do(lambda: setattr(inside.edge, "short", 4))
        seen = [inside.get("/").status for _ in range(60)]
        assert 10 < seen.count(503) < 50
        assert [inside.get("/pay").status for _ in range(20)].count(200) >= 15
        for client in more:
            client.close()
    assert "shed_reader" in inside.reasons()


def test_a_copy_in_memory_and_an_answer_of_our_own_are_always_given(inside, origin):
    inside.get("/kept").expect(200)
    with Crowd(inside, origin) as crowd:
        crowd.grow(17)
        inside.get("/kept", user_agent=BOT).expect(200, body="page")
        inside.get("/moved", user_agent=BOT).expect(302)
        inside.get("/", user_agent=BOT).expect(503)


def test_an_operator_may_change_who_is_important(inside, origin):
    inside.override("priority", "route:/pay", "low")
    inside.override("priority", "route:/feed", "normal")
    with Crowd(inside, origin) as crowd:
        crowd.grow(19)
        inside.get("/pay").expect(503)
        inside.get("/feed").expect(200)


def test_a_tunnel_is_not_at_work(inside, origin):
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    origin.on("/ws", switch)
    clients = []
    for _ in range(ROOM + 5):
        client = inside.client()
        clients.append(client)
        client.send(build("GET", "/ws", [("Connection", "Upgrade"), ("Upgrade", "websocket")]))
        client.read_head().expect(101)
    time.sleep(0.12)  # two ticks, in which nothing must be noticed
    assert inside.edge.short == 0
    inside.get("/", user_agent=BOT).expect(200)
    for client in clients:
        client.reset()
    until(lambda: inside.edge.tunnels == 0)


def test_a_late_event_loop_is_a_shortage_and_one_hiccup_is_none(inside):
    # A pause that the machine adds behind the first must not count as the second.
    inside.do(lambda: setattr(inside.edge.relief, "lag_limit", 0.8))
    inside.do(lambda: time.sleep(1.3))
    inside.get("/", user_agent=BOT).expect(200)

    def held_up():
        inside.do(lambda: time.sleep(1.6))
        return inside.edge.short

    until(lambda: held_up() >= 2)
    inside.get("/", user_agent=BOT).expect(503)


def test_a_body_that_is_let_go_is_not_read_as_a_request(inside, origin):
    with Crowd(inside, origin) as crowd:
        crowd.grow(19)
        with inside.client() as client:
            client.request("POST", "/feed", body="GET / HTTP/1.1\r\n\r\n" * 100).expect(
                503, connection="close"
            )
