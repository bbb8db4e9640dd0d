# SPDX-License-Identifier: Apache-2.0
"""Two machines on one Redis: one fetch for both, one purge for both, and Redis's own faults.

Issue "Collapse", "Purge", "Losing Redis or MongoDB costs rungs, never a request".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scenarios.g001_collapse import asked, at_origin, crowd
from scenarios.story import cache_status, cached, detail, opened, purge
from servers.redis import Redis

from strangler.testing import Edge, Upstream, respond, until, wait

ROUTES = {
    "/noticia/{slug}.ghtml": {
        "to": "app",
        "cache": {"edge": "60s", "shared": "5m", "tags": ["noticia:{slug}", "noticias"]},
    },
    "/below/**": {"to": "app", "cache": {"shared": "60s"}},
    "/origin/**": {"to": "app", "cache": "origin"},
}


@dataclass
class Fleet:
    origin: Upstream
    redis: Redis
    one: Edge
    other: Edge


@pytest.fixture(scope="module")
def machines() -> Iterator[Fleet]:
    with Redis() as redis, Upstream() as origin:
        tiers = {"edge": {"store": "memory", "size": "16MB"}, "shared": {"store": redis.url}}
        text = cached(origin, routes=ROUTES, tiers=tiers)
        with Edge(text, access_log="off") as one, Edge(text, access_log="off") as other:
            for edge in (one, other):
                opened(edge, "/below/")
            yield Fleet(origin, redis, one, other)


@pytest.fixture
def fleet(machines: Fleet) -> Fleet:
    machines.origin.forget()
    return machines


def test_what_one_has_fetched_the_other_finds(fleet):
    path = "/noticia/achada.ghtml"
    fleet.origin.on(path, respond(200, "x"))
    before = fleet.redis.ask(b"DBSIZE")
    fleet.one.get(path).expect(200, body="x")
    until(lambda: fleet.redis.ask(b"DBSIZE") != before)
    found = fleet.other.get(path).expect(200, body="x")
    assert asked(fleet.origin, path) == 1
    assert detail(found) == "shared"
    assert detail(fleet.other.get(path)) == "edge"  # it has climbed


@pytest.mark.parametrize("number", range(3))
def test_pain_40_two_machines_make_one_fetch(number, fleet):
    path = f"/noticia/nova-{number}.ghtml"
    go = threading.Event()
    fleet.origin.on(path, wait(go), respond(200, "x"))
    readers = [crowd(edge, 25, path) for edge in (fleet.one, fleet.other)]
    at_origin(fleet.origin, path)
    time.sleep(0.3)
    go.set()
    for each in readers:
        assert {(answer.status, answer.text) for answer in each.answers()} == {(200, "x")}
    assert asked(fleet.origin, path) == 1


def test_a_slow_leader_on_one_machine_lets_the_other_go(fleet):
    path = "/noticia/lenta.ghtml"
    go = threading.Event()
    fleet.origin.on(path, wait(go), respond(200, "late"))
    leaders = crowd(fleet.one, 5, path, timeout=15)
    at_origin(fleet.origin, path)
    fleet.origin.on(path, respond(200, "x"))
    began = time.monotonic()
    answers = crowd(fleet.other, 5, path, timeout=15).answers()
    assert time.monotonic() - began < 12
    assert {answer.text for answer in answers} == {"x"}
    assert asked(fleet.origin, path) == 2, "its readers went one by one"
    go.set()
    assert {answer.text for answer in leaders.answers()} == {"late"}


def test_what_may_not_be_kept_is_shared_by_no_machine(fleet):
    path = "/origin/private"
    fleet.origin.on(path, respond(200, "mine", [("Cache-Control", "private")]))
    readers = [crowd(edge, 5, path) for edge in (fleet.one, fleet.other)]
    for each in readers:
        assert {answer.status for answer in each.answers()} == {200}
    assert asked(fleet.origin, path) == 10


@pytest.mark.parametrize(
    "what", [{"tag": "noticias"}, {"url": "http://www.example.com/noticia/velha.ghtml"}]
)
def test_a_purge_told_to_one_reaches_the_other(what, fleet):
    path = "/noticia/velha.ghtml"
    fleet.origin.on(path, respond(200, "old"))
    purge(fleet.one, tag="noticias").expect(200)
    for edge in (fleet.one, fleet.other):
        until(lambda edge=edge: detail(edge.get(path)) == "edge")
    fleet.origin.on(path, respond(200, "new"))
    began = time.monotonic()
    purge(fleet.one, **what).expect(200)
    fleet.one.get(path).expect(200, body="new")
    until(lambda: fleet.other.get(path).text == "new")
    assert time.monotonic() - began < 5.0
    for edge in (fleet.one, fleet.other):
        for _ in range(3):
            edge.get(path).expect(200, body="new")


def test_a_frozen_redis_costs_a_rung_and_no_request(fleet):
    fleet.redis.pause()
    try:
        slowest = 0.0
        for number in range(30):
            began = time.monotonic()
            fleet.one.get(f"/below/frozen-{number}").expect(200)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1.0
    finally:
        fleet.redis.resume()
    opened(fleet.one, "/below/again-")
    status = cache_status(fleet.one.get("/below/again-opened-1")) or {}
    assert status["detail"] == "shared"
