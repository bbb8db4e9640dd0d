# SPDX-License-Identifier: Apache-2.0
"""A change of routes.yaml is in force within a second, and no reader notices how.

pains.md 30 (a reload drops connections) and 31 (a watcher misses symlink swaps, reads half-written
files, loses all routes).
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from scenarios.load import Load, admin, named, origin

from strangler.config.load import gather
from strangler.testing import Edge, Upstream, build, chunked, configuration, echo, until, wait

MANY = {f"/section{number}/**": "materia" for number in range(8)}


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with origin("legacy") as made:
        yield made


@pytest.fixture(scope="module")
def materia() -> Iterator[Upstream]:
    with origin("materia") as made:
        yield made


@pytest.fixture(scope="module")
def text(legacy: Upstream, materia: Upstream):
    def make(page: str = "legacy", **more: str) -> str:
        return configuration(
            {"/**": "legacy", "/page": page, **MANY, **more},
            upstreams={"legacy": legacy, "materia": materia},
            limits={"drain": "2s"},
        )

    return make


@pytest.fixture(scope="module")
def edge(text) -> Iterator[Edge]:
    with Edge(text(), workers=2, access_log="off") as made:
        yield made


@pytest.fixture(autouse=True)
def back_to_the_start(edge: Edge, text) -> Iterator[None]:
    yield
    if edge.config.is_symlink():
        edge.config.unlink()
    write(edge, text(), "legacy")


def generation(edge: Edge) -> int:
    return edge.admin_json("/-/config")[1]["generation"]


def write(edge: Edge, routes: str, page: str) -> None:
    """Write the file and wait until every worker serves it."""
    edge.write(routes)
    wanted = gather(edge.config).digest
    until(lambda: in_force(edge, wanted) == page, what="the change is in force")


def in_force(edge: Edge, wanted: str = "") -> str:
    """Return where /page goes once every worker knows; nothing before, or after a rejection.

    wanted: the hash of the configuration meant.
    """
    _, told = edge.admin_json("/-/config")
    ready, _ = edge.admin_json("/-/ready")
    if told["rejected"] is not None or ready != 200 or wanted not in ("", told["hash"]):
        return ""
    _, routes = edge.admin_json("/-/routes")
    return {one["key"]: one for one in routes["routes"]}["/page"]["target"]


def test_pain_30_five_reloads_under_load_lose_nothing(edge, text, legacy):
    release = threading.Event()
    legacy.on("/page", lambda c: slow(c, release))
    targets = ["materia", "legacy", "materia", "legacy", "materia"]
    slow_client = edge.client()
    slow_client.send(b"GET /page?slow HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
    legacy.wait_head()
    with Load(edge, "legacy", "materia") as load:
        for target in targets:
            began, lines = time.monotonic(), len(edge.lines)
            edge.write(text(target))
            edge.wait_log("config.accepted", after=lines)
            accepted = time.monotonic()
            assert accepted - began < 1.0
            load.wait(40)
            assert load.after(accepted) == {target}
    load.expect_none_lost(200)
    # The request that was in flight all the while ends where it began.
    release.set()
    assert slow_client.read().text == "legacy /page?slow"
    slow_client.close()
    legacy.on("/page", named("legacy"))


def test_pain_30_a_reload_cuts_no_chunked_post_no_websocket_no_connection(edge, text, legacy):
    """Each begins before the reload and goes on after it, on the connection that it had."""
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    legacy.on(
        "/ws",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        echo(),
    )
    with edge.client() as post, edge.client() as socket, edge.client() as kept:
        post.send(build("POST", "/page?post", [("Transfer-Encoding", "chunked")]))
        post.send(b"c\r\nfirst half, \r\n")
        socket.send(build("GET", "/ws", upgrade))
        socket.read().expect(101)
        socket.send(b"before")
        assert socket.read_tunnel(6) == b"before"
        kept.get("/page").expect(200, body="legacy /page")
        write(edge, text("materia"), "materia")
        post.send(chunked(b"second half"))
        post.read("POST").expect(200, body="legacy /page?post")
        socket.send(b"after")
        assert socket.read_tunnel(5) == b"after"
        kept.get("/page").expect(200, body="materia /page")
        post.get("/page").expect(200, body="materia /page")
    [sent] = [one for one in legacy.requests if one.target == b"/page?post"]
    assert sent.body == b"first half, second half"


def slow(connection, release: threading.Event) -> None:
    if b"slow" in connection.request.target:
        wait(release)(connection)
    named("legacy")(connection)


def test_a_broken_file_changes_nothing_and_is_named_by_line(edge, text):
    good = text("materia")
    write(edge, good, "materia")
    before = generation(edge)
    broken = good.replace("drain: 2s", "drain: 2")
    line = broken[: broken.index("drain: 2")].count("\n") + 1
    with Load(edge, "materia") as load:
        lines = len(edge.lines)
        edge.write(broken)
        said = edge.wait_log("config.error", after=lines)
        assert f"at=routes.yaml:{line}:" in said
        assert "S105" in said and "limits.drain" in said
        load.wait(30)
        _, told = edge.admin_json("/-/config")
        assert told["generation"] == before
        assert told["rejected"]["errors"][0]["line"] == line
        status, health = edge.admin_json("/-/healthcheck")
        [check] = [one for one in health["results"] if one["checker"] == "configuration"]
        assert (status, check["passed"]) == (503, False)
        assert f"routes.yaml:{line}:" in check["output"]
        with admin(edge) as client:
            page = client.get("/").text
        assert "was rejected" in page and f"routes.yaml:{line}:" in page
        assert edge.admin_json("/-/ready")[0] == 200
    load.expect_none_lost()
    lines = len(edge.lines)
    write(edge, good, "materia")  # the very text that is in force: the error goes away, and is told
    assert generation(edge) == before
    edge.wait_log(f"config.restored generation={before}", after=lines)


def test_pain_31_a_half_written_file_is_never_in_force(edge, text):
    whole = text("materia")
    # Cut behind a whole line, so that the half is good YAML with fewer routes.
    half = whole[: whole.index("/section2")].rsplit("\n", 1)[0] + "\n"
    with Load(edge, "legacy", "materia") as load:
        with open(edge.config, "w") as file:  # an editor that writes in place
            file.write(half)
            file.flush()
            os.fsync(file.fileno())
            load.wait(60)
            assert len(edge.admin_json("/-/routes")[1]["routes"]) == len(MANY) + 2
            file.write(whole[len(half) :])
        until(lambda: in_force(edge) == "materia")
    load.expect_none_lost()


def test_a_file_that_is_away_for_a_moment(edge, text):
    lines = len(edge.lines)
    edge.config.unlink()
    edge.wait_log("config.error.*S001", after=lines)
    assert edge.get("/page").text == "legacy /page"
    write(edge, text("materia"), "materia")
    assert edge.get("/page").text == "materia /page"


def test_pain_31_symlinks_are_followed_when_they_are_swapped(edge, text):
    """As a ConfigMap is mounted: routes.yaml → ..data/routes.yaml, ..data → a folder by date."""
    for name, page in (("v1", "legacy"), ("v2", "materia")):
        folder = edge.folder / name
        folder.mkdir()
        (folder / "routes.yaml").write_text(text(page))
    data = edge.folder / "..data"
    data.symlink_to("v1")
    edge.config.unlink()
    edge.config.symlink_to("..data/routes.yaml")
    until(lambda: in_force(edge) == "legacy")
    with Load(edge, "legacy", "materia") as load:
        for name, page in (("v2", "materia"), ("v1", "legacy"), ("v2", "materia")):
            fresh = edge.folder / "..data_tmp"
            fresh.symlink_to(name)
            fresh.replace(data)
            until(lambda page=page: in_force(edge) == page)
    load.expect_none_lost()


def test_a_reload_is_no_reason_to_send_readers_elsewhere(edge, text):
    said: set[int] = set()
    over = threading.Event()

    def balancer() -> None:
        while not over.is_set():
            said.add(edge.admin_json("/-/ready")[0])

    asking = threading.Thread(target=balancer)
    asking.start()
    try:
        for page in ("materia", "legacy") * 4:
            write(edge, text(page), page)
    finally:
        over.set()
        asking.join()
    assert said == {200}


def test_included_files_are_watched_too(edge, text):
    folder = edge.folder / "routes.d"
    folder.mkdir(exist_ok=True)
    whole = text() + "include: ['routes.d/*.yaml']\n"
    write(edge, whole, "legacy")
    (folder / "new.yaml").write_text("prefix: /new/\nroutes:\n  /new/**: materia\n")
    until(lambda: edge.get("/new/x").text == "materia /new/x")
    (folder / "new.yaml").unlink()
    until(lambda: edge.get("/new/x").text == "legacy /new/x")


def test_pain_31_a_loss_of_most_routes_waits_for_a_yes(edge, text, legacy):
    few = configuration({"/**": "legacy", "/page": "legacy"}, upstreams={"legacy": legacy})
    lines = len(edge.lines)
    edge.write(few)
    assert "S311" in edge.wait_log("config.error", after=lines)
    assert len(edge.admin_json("/-/routes")[1]["routes"]) == len(MANY) + 2
    token = (edge.folder / "var" / "admin.token").read_text().strip()
    headers = [("Content-Type", "application/json"), ("Authorization", f"Bearer {token}")]
    with admin(edge) as client:
        refused = client.request("POST", "/-/reload", headers, "{}")
        assert refused.status == 422 and "S311" in refused.text
    with admin(edge) as client:
        assert client.request("POST", "/-/reload", headers, '{"yes": true}').status == 200
    assert len(edge.admin_json("/-/routes")[1]["routes"]) == 2
    assert edge.admin_json("/-/config")[1]["rejected"] is None


def test_sighup_reads_anew_and_says_that_nothing_changed(edge):
    before, lines = generation(edge), len(edge.lines)
    edge.signal(signal.SIGHUP)
    edge.wait_log("config.unchanged", after=lines)
    assert generation(edge) == before


def test_a_worker_that_starts_later_serves_what_is_in_force_now(edge, text):
    write(edge, text("materia"), "materia")
    lines = len(edge.lines)
    _, told = edge.admin_json("/-/workers")
    for one in told["workers"]:
        os.kill(one["pid"], signal.SIGKILL)
    edge.wait_log("process.died process=.worker", after=lines)
    for _ in range(10):
        assert edge.get("/page").text == "materia /page"
    until(lambda: edge.admin_json("/-/ready")[0] == 200)
