# SPDX-License-Identifier: Apache-2.0
"""Two machines on one Redis: one fetch for both, one purge for both, and Redis's own faults.

Issue "Collapse", "Purge", "Losing Redis or MongoDB costs rungs, never a request".
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scenarios.g001_collapse import SETTLE, Crowd, asked, at_origin, crowd
from scenarios.story import cached, detail, opened, purge
from servers.redis import Redis

from strangler.testing import Connection, Edge, Response, Upstream, build, respond, until, wait

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
        tiers = {
            "edge": {"store": "memory", "size": "16MB"},
            "shared": {"store": redis.url, "timeout": "1s"},
        }
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

    def objects() -> bytes:
        return fleet.redis.ask(b"KEYS *:o:*").partition(b"\r\n")[0]  # how many; leases are others

    before = objects()
    fleet.one.get(path).expect(200, body="x")
    until(lambda: objects() != before)
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
    for each in readers:
        each.taken()
    time.sleep(0.3)  # the other machine has asked Redis, and waits
    go.set()
    for each in readers:
        assert {(answer.status, answer.text) for answer in each.answers()} == {(200, "x")}
    assert asked(fleet.origin, path) == 1


# -- one question for all who ask at once


@pytest.fixture(scope="module")
def patient(machines: Fleet) -> Iterator[Edge]:
    """A third machine, which waits for a Redis that is held up."""
    tiers = {"shared": {"store": machines.redis.url, "timeout": "5s"}}
    routes = {"/below/**": {"to": "app", "cache": {"shared": "60s"}}}
    with Edge(cached(machines.origin, routes=routes, tiers=tiers), access_log="off") as edge:
        opened(edge, "/below/patient-")
        yield edge


def looked_up(redis: Redis) -> int:
    """Return how many keys Redis has been asked for."""
    found = re.search(rb"cmdstat_hgetall:calls=(\d+)", redis.ask(b"INFO commandstats"))
    return int(found[1]) if found else 0


def while_redis_is_held_up(fleet: Fleet, edge: Edge, requests: list[bytes]) -> list[Response]:
    """Return the answers to *requests*, all of which were there before Redis said anything."""
    fleet.redis.pause()
    try:
        readers = Crowd(edge, requests)
        readers.taken()
    finally:
        fleet.redis.resume()
    return readers.answers()


def test_who_asks_at_once_puts_one_question(fleet, patient):
    path = "/below/asked-for-at-once"
    fleet.origin.on(path, respond(200, "x", [("ETag", '"1"')]))
    until(lambda: detail(patient.get(path)) == "shared")
    before, fetched = looked_up(fleet.redis), asked(fleet.origin, path)
    requests = [build("GET", path)] * 20
    requests += [build("GET", path, [("If-None-Match", '"1"')])]
    answers = while_redis_is_held_up(fleet, patient, requests)
    assert [(answer.status, answer.text) for answer in answers] == [(200, "x")] * 20 + [(304, "")]
    assert {detail(answer) for answer in answers} == {"shared"}
    assert looked_up(fleet.redis) == before + 1
    assert asked(fleet.origin, path) == fetched


def test_who_finds_nothing_makes_one_fetch_and_asks_no_second_time(fleet, patient):
    path = "/below/not-there"
    fleet.origin.on(path, respond(200, "x"))
    before = looked_up(fleet.redis)
    answers = while_redis_is_held_up(fleet, patient, [build("GET", path)] * 20)
    assert {answer.text for answer in answers} == {"x"}
    assert asked(fleet.origin, path) == 1
    assert looked_up(fleet.redis) == before + 1


def test_each_gets_the_variant_that_is_its_own(fleet, patient):
    path = "/below/varies"

    def told_back(connection: Connection) -> None:
        assert connection.request is not None
        respond(200, connection.request.get("X-App") or b"", [("Vary", "X-App")])(connection)

    fleet.origin.on(path, told_back)
    apps = ["ios", "android"]
    for app in apps:
        until(lambda app=app: detail(patient.get(path, **{"X-App": app})) == "shared")
    fetched = asked(fleet.origin, path)
    apps = [*apps, "web"] * 5
    requests = [build("GET", path, [("X-App", app)]) for app in apps]
    answers = while_redis_is_held_up(fleet, patient, requests)
    assert [answer.text for answer in answers] == apps
    assert [detail(answer) == "shared" for answer in answers] == [app != "web" for app in apps]
    assert asked(fleet.origin, path) == fetched + 1


def test_a_reader_that_leaves_meanwhile_is_not_missed(fleet, patient):
    path = "/below/left"
    fleet.origin.on(path, respond(200, "x"))
    until(lambda: detail(patient.get(path)) == "shared")
    fleet.redis.pause()
    try:
        readers = Crowd(patient, [build("GET", path)] * 3)
        readers.taken()
        readers[1].close()
        time.sleep(SETTLE)
    finally:
        fleet.redis.resume()
    assert readers[0].read().text == readers[2].read().text == "x"
    readers.close()
    assert detail(patient.get(path)) == "shared"


def test_a_slow_leader_on_one_machine_lets_the_other_go(fleet):
    path = "/noticia/lenta.ghtml"
    go = threading.Event()
    fleet.origin.on(path, wait(go), respond(200, "late"))
    leaders = crowd(fleet.one, 5, path)
    at_origin(fleet.origin, path)
    fleet.origin.on(path, respond(200, "x"))
    began = time.monotonic()
    answers = crowd(fleet.other, 5, path).answers()
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
    purge(fleet.one, **what).expect(200)
    fleet.one.get(path).expect(200, body="new")
    until(lambda: fleet.other.get(path).text == "new", timeout=30)
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
        assert slowest < 5.0  # it stays frozen all the while
    finally:
        fleet.redis.resume()
    until(lambda: detail(fleet.one.get("/below/again")) == "shared")
