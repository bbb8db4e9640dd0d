# SPDX-License-Identifier: Apache-2.0
"""Two workers behind one admin listener: what each holds, what became of the requests, one that
hangs, and a store that is away.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from scenarios.story import cached, purge, said_by_all, warm
from servers.redis import Redis

from strangler.testing import Edge, RawClient, Upstream, respond, until
from strangler.testing.edge import _program

HOST = "http://www.example.com"
ROUTES = {
    "/origin/**": {"to": "app", "cache": "origin"},
    "/below/**": {"to": "app", "cache": {"shared": "60s"}},
    "/counted/**": {"to": "app", "cache": {"edge": "60s"}},
    "/ladder/**": {"to": "app", "cache": {"edge": "60s", "shared": "5m", "tags": ["ladder"]}},
}
MINUTE = [("Cache-Control", "max-age=60")]


@pytest.fixture
def origin() -> Iterator[Upstream]:
    with Upstream() as made:
        made.answers(respond(200, "page", MINUTE))
        yield made


@pytest.fixture
def edge(origin: Upstream) -> Iterator[Edge]:
    with Edge(cached(origin, routes=ROUTES), workers=2, access_log="off") as made:
        warm(made, "/below/")
        yield made


def often(edge: Edge, path: str, count: int = 40) -> None:
    """Ask on so many connections that both workers have had some."""
    with ThreadPoolExecutor(8) as pool:
        for response in pool.map(lambda _: edge.get(path), range(count)):
            response.expect(200)


def counted(edge: Edge) -> dict[str, Any]:
    """Return what became of each route's requests."""
    return dict(said_by_all(edge, "/-/cache/counters")["routes"])


def run(edge: Edge, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "STRANGLER_STATE": str(edge.folder / "var")}
    return subprocess.run(
        [_program(), *words], cwd=edge.folder, env=environment, capture_output=True, text=True
    )


def test_every_answer_is_counted_once(edge, origin):
    origin.on("/counted/private", respond(200, "x", [*MINUTE, ("Set-Cookie", "a=b")]))
    often(edge, "/counted/a", 60)
    often(edge, "/counted/private", 5)
    with edge.client() as client:
        client.request("POST", "/counted/a", [], "x").expect(200)
    counts = counted(edge)["/counted/**"]
    refused = counts.pop("refused")
    collapsed = counts.pop("collapsed", 0)
    assert sum(counts.values()) == 66
    assert counts["edge"] + counts["miss"] == 60
    assert 1 <= counts["miss"] - collapsed <= 2  # one fetch a worker: they share no tier
    assert (counts["pass"], counts["bypass"]) == (5, 1)
    assert refused["set-cookie"] >= 1 and refused["method"] == 1

    table = run(edge, "cache")
    assert table.returncode == 0, table
    row = next(line for line in table.stdout.splitlines() if line.startswith("/counted/**"))
    assert re.search(r"\b66\b", row), table.stdout
    assert "set-cookie" in table.stdout
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
        assert "/counted/**" in client.get("/").text


def test_each_workers_memory_is_shown(edge, origin):
    often(edge, "/ladder/shown")
    until(lambda: edge.admin_json(f"/-/cache?url={HOST}/ladder/shown")[1]["tiers"]["shared"])
    _, told = edge.admin_json(f"/-/cache?url={HOST}/ladder/shown")
    assert told["route"] == "/ladder/**"
    assert told["key"].startswith(HOST + "/ladder/shown\n")
    assert sorted(told["tiers"]["edge"]) == ["worker 1", "worker 2"]
    for copies in (*told["tiers"]["edge"].values(), told["tiers"]["shared"]):
        assert [(each["status"], each["size"], each["tags"]) for each in copies] == [
            (200, 4, ["ladder"])
        ]
        assert 0 < copies[0]["ttl"] <= 300
    shown = run(edge, "cache", "show", HOST + "/ladder/shown")
    assert shown.returncode == 0
    assert shown.stdout.count("fresh for") == 3
    assert run(edge, "cache", "show", HOST + "/ladder/never").returncode == 1
    told = json.loads(run(edge, "cache", "show", "nonsense", "--json").stdout)
    assert (told["ok"], bool(told["errors"])) == (False, True)


def test_a_purge_is_in_force_on_both_when_it_is_answered(edge, origin):
    for number in range(5):
        origin.answers(respond(200, f"page {number}", MINUTE))
        often(edge, "/ladder/both")
        origin.answers(respond(200, f"page {number}, changed", MINUTE))
        how = {"tag": "ladder"} if number % 2 else {"url": HOST + "/ladder/both"}
        purge(edge, **how).expect(200)
        with ThreadPoolExecutor(8) as pool:
            seen = set(pool.map(lambda _: edge.get("/ladder/both").text, range(40)))
        assert seen == {f"page {number}, changed"}


def test_a_refresh_reaches_both(edge, origin):
    often(edge, "/ladder/fresh")
    until(lambda: edge.admin_json(f"/-/cache?url={HOST}/ladder/fresh")[1]["tiers"]["shared"])
    origin.answers(respond(200, "new", MINUTE))
    origin.forget()
    told = json.loads(purge(edge, url=HOST + "/ladder/fresh", refresh=True).expect(200).text)
    assert (told["refreshed"], told["failed"]) == (1, [])
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: edge.get("/ladder/fresh").text, range(40))) == {"new"}
    origin.expect_requests(1)


def test_a_refresh_whose_answer_may_not_be_kept_leaves_nothing_fresh(edge, origin):
    often(edge, "/ladder/private")
    origin.answers(respond(200, "mine", [*MINUTE, ("Set-Cookie", "a=b")]))
    told = json.loads(purge(edge, url=HOST + "/ladder/private", refresh=True).expect(200).text)
    assert (told["refreshed"], told["failed"]) == (0, [HOST + "/ladder/private"])
    assert edge.get("/ladder/private").text == "mine"
    counts = counted(edge)["/ladder/**"]
    assert sum(counts.get(w, 0) for w in ("miss", "edge", "pass")) <= 41


def test_a_worker_that_hangs_is_named_and_the_rest_is_done(edge, origin):
    often(edge, "/ladder/hung")
    _, told = edge.admin_json("/-/workers")
    pid = told["workers"][1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with RawClient(
            edge.admin, server_name=f"127.0.0.1:{edge.admin_port}", timeout=30
        ) as client:
            token = (edge.folder / "var" / "admin.token").read_text().strip()
            fields = [
                ("Content-Type", "application/json"),
                ("Authorization", f"Bearer {token}"),
            ]
            response = client.request("POST", "/-/purge", fields, '{"tag": "ladder"}')
        told = json.loads(response.text)
        assert (response.status, told["ok"]) == (503, False)
        assert told["purged"]["shared"] is True
        assert told["purged"]["edge"] == {"worker 1": True, "worker 2": False}
        assert "worker 2" in told["error"]
    finally:
        os.kill(pid, signal.SIGCONT)
    # What it was asked while it hung is done first, whatever readers want of it.
    origin.answers(respond(200, "new", MINUTE))
    purge(edge, tag="ladder").expect(200)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: edge.get("/ladder/hung").text, range(40))) == {"new"}


def test_a_killed_worker_is_no_hindrance(edge, origin):
    often(edge, "/ladder/killed")
    _, told = edge.admin_json("/-/workers")
    for one in told["workers"]:
        with suppress(ProcessLookupError):
            os.kill(one["pid"], signal.SIGKILL)
    origin.answers(respond(200, "new", MINUTE))

    def purged() -> bool:
        return purge(edge, tag="ladder").status == 200

    until(purged, what="a purge by the new workers")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: edge.get("/ladder/killed").text, range(40))) == {"new"}


def test_two_machines_that_share_a_redis(origin):
    """What is purged on one is gone on the other within a second, also from its memory."""
    with Redis() as store:
        shared = {"store": f"redis://127.0.0.1:{store.port}/0", "timeout": "2s"}
        text = cached(origin, routes=ROUTES, tiers={"shared": shared, "archive": "none"})
        with Edge(text, access_log="off") as one, Edge(text, access_log="off") as other:
            warm(one, "/below/")
            warm(other, "/below/")
            for edge in (one, other):
                edge.get("/ladder/fleet").expect(200, body="page")
            origin.answers(respond(200, "new", MINUTE))
            purge(one, tag="ladder").expect(200)
            assert one.get("/ladder/fleet").text == "new"
            until(lambda: other.get("/ladder/fleet").text == "new", what="the new page")
            origin.answers(respond(200, "newest", MINUTE))
            purge(other, url=HOST + "/ladder/fleet", refresh=True).expect(200)
            assert other.get("/ladder/fleet").text == "newest"


def test_a_store_that_is_away_is_told_when_it_is_back(origin):
    with Redis() as store:
        shared = {"store": f"redis://127.0.0.1:{store.port}/0", "timeout": "2s"}
        text = cached(origin, routes=ROUTES, tiers={"shared": shared, "archive": "none"})
        with Edge(text, access_log="off") as edge:
            warm(edge, "/below/")
            edge.get("/ladder/away").expect(200, body="page")
            os.kill(store.pid, signal.SIGSTOP)
            try:
                response = purge(edge, tag="ladder")
            finally:
                os.kill(store.pid, signal.SIGCONT)
            told = json.loads(response.text)
            assert response.status == 503
            assert told["purged"] == {"shared": False, "edge": {"worker 1": True}}
            edge.wait_log("purge.told")
            origin.answers(respond(200, "new", MINUTE))
            assert edge.get("/ladder/away").text == "new"
