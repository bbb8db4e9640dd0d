# SPDX-License-Identifier: Apache-2.0
"""The ladder's tiers over the wire: which one answers, and what their loss costs.

Issue "Three tiers", hostile input: sqlite that is corrupt, full, read-only.
"""

from __future__ import annotations

import importlib
import os
import signal
import sqlite3
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from scenarios.story import (
    EXPIRED,
    TIERS,
    Story,
    cache_status,
    cached,
    detail,
    kept_below,
    opened,
    tell_all,
    together,
    warm,
)
from servers.redis import Redis

from strangler.testing import Edge, Upstream, respond, until

MINUTE = [("Cache-Control", "max-age=60")]
LADDER = {
    "/ladder/**": {"to": "app", "cache": {"edge": "2s", "shared": "60s"}},
    "/minute/**": {"to": "app", "cache": {"edge": "60s", "shared": "60s"}},
    "/below/**": {"to": "app", "cache": {"shared": "60s"}},
    "/archive/**": {"to": "app", "cache": {"archive": "60s"}},
    "/all/**": {"to": "app", "cache": {"edge": "1s", "shared": "2s", "archive": "60s"}},
    "/origin/**": {"to": "app", "cache": "origin"},
}


def test_each_tier_answers_in_its_turn():
    with Upstream() as origin, Edge(cached(origin, routes=LADDER)) as edge:
        opened(edge, "/below/")
        origin.forget()
        first = edge.get("/ladder/x").expect(200)
        assert (cache_status(first) or {}).get("fwd") is not None
        assert detail(edge.get("/ladder/x")) == "edge"
        time.sleep(EXPIRED + 1)  # its stay in the edge is over, its life isn't
        response = edge.get("/ladder/x")
        assert detail(response) == "shared"
        assert int(response.get("age") or b"0") >= 1
        assert detail(edge.get("/ladder/x")) == "edge"  # it has climbed
        origin.expect_requests(1)


def test_a_tier_alone():
    with Upstream() as origin, Edge(cached(origin, routes=LADDER)) as edge:
        for path, tier in (("/below/x", "shared"), ("/archive/x", "archive")):
            edge.get(path).expect(200)
            until(lambda p=path, t=tier: detail(edge.get(p)) == t, what=tier)
            origin.forget()
            for _ in range(3):
                assert detail(edge.get(path)) == tier
            origin.expect_requests(0)


def test_three_tiers_and_one_age():
    with Upstream() as origin, Edge(cached(origin, routes=LADDER)) as edge:
        origin.answers(respond(200, "x", [("Age", "10"), ("Cache-Control", "max-age=100")]))
        opened(edge, "/archive/")
        origin.forget()
        began = time.monotonic()
        edge.get("/all/x").expect(200)
        time.sleep(2.2)
        response = edge.get("/all/x")
        assert detail(response) == "archive"
        most = 10 + time.monotonic() - began + 2
        assert 12 <= int(response.get("age") or b"0") <= most
        # The archive's cap of 60 s is the longest of the route's: 60 - 12.
        assert (cache_status(response) or {}).get("ttl", 99) <= 48
        origin.expect_requests(1)


def test_two_workers_share_what_one_has_fetched():
    with Upstream() as origin:
        with Edge(cached(origin, routes=LADDER), workers=2) as edge:
            warm(edge, "/ladder/")
            origin.forget()
            edge.get("/ladder/shared").expect(200)
            kept_below(edge, "/ladder/shared")
            answers = together(40, lambda _: edge.get("/ladder/shared"))
            assert {each.status for each in answers} == {200}
            origin.expect_requests(1)


def test_a_new_worker_finds_what_the_killed_one_kept():
    with Upstream() as origin, Edge(cached(origin, routes=LADDER)) as edge:
        opened(edge, "/below/")
        edge.get("/ladder/x").expect(200)
        kept_below(edge, "/ladder/x")
        before = set(edge.pids)
        for pid in _workers(edge):
            os.kill(pid, signal.SIGKILL)
        until(lambda: bool(set(edge.pids) - before), what="a new worker")
        opened(edge, "/below/new-worker-")  # it waits for its stores, but not for ever
        origin.forget()
        response = edge.get("/ladder/x").expect(200)
        assert detail(response) == "shared"
        origin.expect_requests(0)


def _workers(edge: Edge) -> list[int]:
    """Return the processes that accept readers: those which hold the listening port."""
    _, workers = edge.admin_json("/-/workers")
    found = workers["workers"] if isinstance(workers, dict) else workers
    return [each["pid"] for each in found]


def test_a_restart_finds_what_was_kept(tmp_path):
    tiers = {**TIERS, "shared": {"store": f"sqlite:{tmp_path}/shared.db", "timeout": "1s"}}
    with Upstream() as origin:
        text = cached(origin, routes=LADDER, tiers=tiers)
        with Edge(text) as edge:
            edge.get("/below/x").expect(200)
            until(lambda: detail(edge.get("/below/x")) == "shared")
            edge.get("/ladder/x").expect(200)
        origin.forget()
        with Edge(text) as edge:
            until(lambda: detail(edge.get("/below/x")) == "shared")
            response = edge.get("/ladder/x").expect(200)
            assert detail(response) == "shared"
        assert not [each for each in origin.requests if each.path == b"/ladder/x"]


def _served(edge: Edge, count: int = 5, route: str = "/minute") -> None:
    for number in range(count):
        edge.get(f"{route}/served-{number}").expect(200)
        edge.get(f"{route}/served-{number}").expect(200)


@pytest.mark.parametrize("what", ["garbage", "empty", "truncated", "folder", "no-folder"])
def test_a_bad_sqlite_file_costs_a_rung_and_no_request(what, tmp_path):
    path: Path = tmp_path / "shared.db"
    if what == "garbage":
        path.write_bytes(os.urandom(20_000))
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "truncated":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE x (a)")
        connection.executemany("INSERT INTO x VALUES (?)", [("y" * 900,)] * 50)
        connection.commit()
        connection.close()
        os.truncate(path, 9000)
    elif what == "folder":
        path.mkdir()
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "shared.db"
    tiers = {**TIERS, "shared": {"store": f"sqlite:{path}", "timeout": "50ms"}}
    with Upstream() as origin, Edge(cached(origin, routes=LADDER, tiers=tiers)) as edge:
        _served(edge)
        _served(edge, route="/below")
        assert detail(edge.get("/minute/served-4")) == "edge"


def test_a_file_that_goes_bad_meanwhile(tmp_path):
    path: Path = tmp_path / "shared.db"
    tiers = {**TIERS, "shared": {"store": f"sqlite:{path}", "timeout": "50ms"}}
    with Upstream() as origin, Edge(cached(origin, routes=LADDER, tiers=tiers)) as edge:
        edge.get("/below/x").expect(200)
        until(lambda: detail(edge.get("/below/x")) == "shared")
        for each in tmp_path.glob("shared.db*"):
            size = each.stat().st_size
            with each.open("r+b") as file:
                file.write(os.urandom(size))
        origin.answers(respond(200, "anew"))
        for number in range(20):
            response = edge.get(f"/below/x?{number}").expect(200, body="anew")
            assert response.complete
        assert edge.get("/below/x").status == 200


def test_a_locked_file_is_not_waited_for(tmp_path):
    path: Path = tmp_path / "shared.db"
    tiers = {**TIERS, "shared": {"store": f"sqlite:{path}", "timeout": "20ms"}}
    with Upstream() as origin, Edge(cached(origin, routes=LADDER, tiers=tiers)) as edge:
        edge.get("/below/x").expect(200)
        until(lambda: detail(edge.get("/below/x")) == "shared")
        lock = sqlite3.connect(path, isolation_level=None)
        try:
            lock.execute("PRAGMA busy_timeout = 5000")
            lock.execute("BEGIN EXCLUSIVE")
            began = time.monotonic()
            for number in range(20):
                edge.get(f"/below/locked-{number}").expect(200)
            taken = time.monotonic() - began
        finally:
            lock.execute("ROLLBACK")
            lock.close()
        # Whoever waited for it would wait for seconds each time.
        assert taken < 10, f"20 requests took {taken:.1f} s beside a locked file"
        edge.get("/below/after").expect(200)


# -- the paragraphs again, in the slower tiers alone


def _paragraphs() -> list[Story]:
    stories: list[Story] = []
    for path in sorted(Path(__file__).parent.glob("c0*.py")):
        module = importlib.import_module(f"scenarios.{path.stem}")
        for value in vars(module).values():
            if isinstance(value, list) and value and isinstance(value[0], Story):
                stories += [each for each in value if each.route == "/origin"]
    return stories


#: Parts are joined with those at hand, in memory; and what is stale and has no validator is gone
#: from a store, where it would only take room.
NOT_BELOW = {
    "parts-of-one-tag-join",
    "parts-of-one-date-join",
    "head-200-freshens",
    "head-200-updates-fields",
    "head-200-keeps-what-it-omits",
}


@pytest.mark.parametrize("store", ["shared", "archive", "redis"])
def test_the_paragraphs_hold_in_a_tier_alone(store):
    """What RFC 9111 asks, with no memory in the way: every answer is from what was written.

    This takes its time, so each store tells a quarter of the stories.
    """
    stories = [each for each in _paragraphs() if each.id not in NOT_BELOW]
    assert len(stories) > 900
    stories = stories[("archive", "shared", "redis").index(store) :: 4]
    with ExitStack() as stack:
        tier = {store: TIERS.get(store)}
        if store == "redis":
            tier = {"shared": {"store": stack.enter_context(Redis()).url, "timeout": "1s"}}
        tiers = dict.fromkeys(TIERS, "none") | tier
        origin = stack.enter_context(Upstream())
        text = cached(origin, tiers=tiers, routes={"/origin/**": LADDER["/origin/**"]})
        with Edge(text, access_log="off") as edge:
            origin.answers(respond(200, "x", MINUTE))
            opened(edge, "/origin/")
            outcomes = tell_all(stories, edge, origin, at_once=24, settle=0.4, reasons=False)
    wrong = {each.id: outcomes[id(each)] for each in stories if outcomes[id(each)] is not None}
    report = "\n".join(str(fault).partition("\n")[0] for fault in wrong.values())
    assert not wrong, f"{len(wrong)} of {len(stories)}:\n{report}"
