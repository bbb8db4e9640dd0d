# SPDX-License-Identifier: Apache-2.0
"""An operator puts one route back in one action, and everybody serves it when he is answered.

pains.md 33 (a toggle lost at a restart, or a permanent one that nobody remembers), 34 (two
operators at once) and 52 (who did that, when, why).
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.load import Load, named, origin
from scenarios.story import token

from strangler.testing import Closed, Edge, RawClient, Upstream, configuration, until, wait

WORKERS = 4
ROUTE = "route:/busca/**"


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with origin("legacy") as made:
        yield made


@pytest.fixture(scope="module")
def busca() -> Iterator[Upstream]:
    with origin("busca") as made:
        yield made


@pytest.fixture(scope="module")
def text(legacy: Upstream, busca: Upstream):
    def make(stage: str = "live", **more: Any) -> str:
        return configuration(
            {
                "/**": "legacy",
                "/busca/**": {"to": "busca", "stage": stage, "owner": "team-search"},
                **more,
            },
            upstreams={"legacy": legacy, "busca": busca},
            limits={"drain": "2s"},
        )

    return make


@pytest.fixture(scope="module")
def edge(text) -> Iterator[Edge]:
    with Edge(text(), workers=WORKERS, access_log="off") as made:
        yield made


@pytest.fixture(autouse=True)
def cleared(edge: Edge) -> Iterator[None]:
    yield
    post(edge, "/overrides/clear", all=True, reason="the test is over")


def call(edge: Edge, method: str, path: str, document: Any = None, secret: str = "") -> Any:
    """Ask the admin listener as the site's own admin; return status and document."""
    fields = [("Authorization", f"Bearer {secret or token(edge)}")]
    if document is not None:
        fields.append(("Content-Type", "application/json"))
    body = None if document is None else json.dumps(document)
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
        response = client.request(method, f"/-{path}", fields, body)
        return response.status, json.loads(response.text)


def post(edge: Edge, path: str, **document: Any) -> Any:
    return call(edge, "POST", path, document)


def toggle(edge: Edge, value: Any = "legacy", **more: Any) -> Any:
    document = {"kind": "stage", "subject": ROUTE, "value": value, "reason": "p95 of 9 s"} | more
    status, told = post(edge, "/overrides", **document)
    assert status == 201, told
    return told


def listed(edge: Edge) -> Any:
    status, told = call(edge, "GET", "/overrides")
    assert status == 200
    return told


def answers(edge: Edge, path: str = "/busca/x") -> set[str]:
    """Return who answers *path*, on as many connections as reach every worker."""
    return {edge.get(path).text.partition(" ")[0] for _ in range(8 * WORKERS)}


def workers(edge: Edge) -> list[int]:
    return [one["pid"] for one in call(edge, "GET", "/workers")[1]["workers"]]


def test_the_page_without_scripts_tells_what_is_in_force(edge):
    toggle(edge, reason="p95 of 9 s & more")
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}", timeout=10) as client:
        body = client.request("GET", "/plain").text
    assert "Is the reader hurt?" in body
    assert "<code>/busca/**</code><span><b>stage legacy</b>" in body
    assert "p95 of 9 s &amp; more" in body


def test_one_action_puts_a_route_back_and_undo_returns_it(edge):
    assert answers(edge) == {"busca"}
    told = toggle(edge)
    assert answers(edge) == {"legacy"}
    assert told["workers"] == f"{WORKERS}/{WORKERS}"
    one = told["override"]
    assert (one["author"], one["file"], one["value"]) == ("admin.token", "live", "legacy")
    assert one["expires"] - one["created"] == 1800
    shown = listed(edge)["overrides"][0]
    assert shown | one == shown
    assert 1790 < shown["left_s"] <= 1800
    assert shown["conflict"] is None
    status, told = post(edge, "/overrides/undo", reason="fixed")
    assert (status, told["override"]) == (200, None)
    assert answers(edge) == {"busca"}
    assert listed(edge)["overrides"] == []


def test_under_load_nobody_fails_and_nobody_is_on_the_wrong_side_after_the_ack(edge):
    with Load(edge, "busca", "legacy", target="/busca/x", readers=8) as load:
        for value, name in (("legacy", "legacy"), ("live", "busca")) * 5:
            toggle(edge, value)
            acknowledged = time.monotonic()
            load.wait(30)
            assert load.after(acknowledged) == {name}
            # What comes after the next toggle must not count as being after this one.
    load.expect_none_lost()


def test_many_in_a_row_leave_the_memory_as_it_was_and_the_audit_complete(edge):
    for number in range(10):  # whatever grows to its size once has it now
        toggle(edge, ("legacy", "live")[number % 2])
    before = edge.rss()
    ids = [toggle(edge, ("legacy", "live")[n % 2])["override"]["id"] for n in range(60)]
    assert edge.rss() - before < 8 << 20
    told = call(edge, "GET", "/audit?limit=60&what=override.set")[1]["entries"]
    assert [one["id"] for one in reversed(told)] == ids


def test_a_request_in_flight_ends_where_it_began(edge, busca):
    release, arrived = threading.Event(), threading.Event()

    def slowly(connection: Any) -> None:
        arrived.set()
        wait(release)(connection)
        named("busca")(connection)

    busca.on("/busca/slow", slowly)
    with edge.client() as client:
        client.send(b"GET /busca/slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert arrived.wait(60)
        toggle(edge)
        assert edge.get("/busca/other").text.startswith("legacy")
        release.set()
        assert client.read().text.startswith("busca")


def test_pain_33_it_ends_by_itself_and_loudly(edge):
    lines = len(edge.lines)
    told = toggle(edge, **{"for": "5s"})
    assert answers(edge) == {"legacy"}
    edge.wait_log(r"control: WARNING override\.expired .*subject=\"?route:/busca", after=lines)
    until(lambda: answers(edge) == {"busca"})
    until(lambda: listed(edge)["overrides"] == [])
    entry = call(edge, "GET", "/audit?limit=1&what=override.expired")[1]["entries"][0]
    assert (entry["id"], entry["who"]) == (told["override"]["id"], "strangler")


def test_a_worker_ends_it_even_while_control_hangs(edge):
    toggle(edge, **{"for": "1s"})
    [control] = [pid for pid in edge.pids[1:] if pid not in workers(edge)]
    os.kill(control, signal.SIGSTOP)
    try:
        until(lambda: answers(edge) == {"busca"})
    finally:
        os.kill(control, signal.SIGCONT)


def test_pain_33_it_survives_the_death_of_every_process(edge):
    toggle(edge)
    before = workers(edge)
    [control] = [pid for pid in edge.pids[1:] if pid not in before]
    os.kill(control, signal.SIGKILL)
    assert answers(edge) == {"legacy"}
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        try:
            now = call(edge, "GET", "/workers")[1]["workers"]
        except (Closed, OSError, ValueError):
            return False
        return len(now) == WORKERS and not set(before) & {one["pid"] for one in now}

    until(replaced)
    assert answers(edge) == {"legacy"}
    assert len(listed(edge)["overrides"]) == 1


def test_pain_33_it_survives_a_restart(text):
    with Edge(text(), access_log="off") as first:
        toggle(first)
        environment = {"STRANGLER_STATE": str(first.folder / "var")}
        first.process.terminate()
        first.process.wait(60)
        with Edge(text(), access_log="off", environment=environment) as second:
            assert second.get("/busca/x").text.startswith("legacy")
            _, told = call(second, "GET", "/overrides", secret=token(first))
            assert [one["value"] for one in told["overrides"]] == ["legacy"]


def test_a_reload_shows_the_conflict_and_the_override_still_wins(edge, text):
    toggle(edge)
    lines = len(edge.lines)
    edge.write(text("canary 30%"))
    edge.wait_log(r"override\.conflict .*was=live now=\"canary 30%\"", after=lines)
    edge.wait_log(r"config\.accepted", after=lines)
    assert answers(edge) == {"legacy"}
    assert listed(edge)["overrides"][0]["conflict"] == {"was": "live", "now": "canary 30%"}
    edge.write(text())
    edge.wait_log(r"config\.accepted", after=len(edge.lines) - 1)
    until(lambda: listed(edge)["overrides"][0]["conflict"] is None)


def test_an_override_of_a_route_that_is_gone_is_kept_as_an_orphan(edge, text):
    edge.write(text(**{"/passing/**": "busca"}))
    until(lambda: answers(edge, "/passing/x") == {"busca"})
    toggle(edge, subject="route:/passing/**")
    edge.write(text())
    until(lambda: listed(edge)["overrides"][0]["orphan"])
    assert listed(edge)["overrides"][0]["conflict"] == {"was": "live", "now": None}
    edge.write(text(**{"/passing/**": "busca"}))
    until(lambda: not listed(edge)["overrides"][0]["orphan"])
    assert answers(edge, "/passing/x") == {"legacy"}
    edge.write(text())
    until(lambda: listed(edge)["overrides"][0]["orphan"])


def test_pain_34_of_two_operators_at_once_one_is_told(edge):
    version = listed(edge)["version"]
    toggle(edge, if_version=version)
    status, told = post(
        edge, "/overrides", kind="stage", subject=ROUTE, value="canary 5%", reason="x",
        if_version=version,
    )  # fmt: skip
    assert (status, told["status"], told["ok"]) == (409, 409, False)
    assert told["current"]["version"] == version + 1
    assert told["current"]["overrides"][0]["value"] == "legacy"
    assert listed(edge)["overrides"][0]["value"] == "legacy"


def test_pain_52_the_audit_says_who_what_when_why_and_from_where(edge):
    before = time.time()
    toggle(edge)
    toggle(edge, "canary 10%", reason="try a tenth")
    post(edge, "/overrides/undo", reason="no good")
    told = call(edge, "GET", "/audit?limit=3&route=/busca/**")[1]
    undone, second, first = told["entries"]
    assert [one["what"] for one in (first, second, undone)] == [
        "override.set", "override.set", "override.undo",
    ]  # fmt: skip
    assert (first["before"], first["after"], first["reason"]) == (None, "legacy", "p95 of 9 s")
    assert (second["before"], second["after"]) == ("legacy", "canary 10%")
    assert (undone["before"], undone["after"], undone["reason"]) == (
        "canary 10%", "legacy", "no good",
    )  # fmt: skip
    assert undone["who"] == "admin.token"
    assert undone["from"]["address"] == "127.0.0.1"
    assert before <= undone["time"] <= time.time()
    rest = call(edge, "GET", f"/audit?limit=1000&before={told['next']}&route=/busca/**")[1]
    assert all(one["at"] < first["at"] for one in rest["entries"])


def test_what_cannot_be_recorded_is_refused_and_changes_nothing(edge):
    toggle(edge, "canary 10%")
    var = edge.folder / "var"
    moved = var.with_name("elsewhere")
    var.rename(moved)
    try:
        status, told = call(
            edge, "POST", "/overrides",
            {"kind": "stage", "subject": ROUTE, "value": "legacy", "reason": "x"},
            (moved / "admin.token").read_text().strip(),
        )  # fmt: skip
    finally:
        moved.rename(var)
    assert (status, told["ok"]) == (503, False)
    assert "cannot be recorded" in told["error"]
    assert [one["value"] for one in listed(edge)["overrides"]] == ["canary 10%"]
    until(lambda: listed(edge)["store"]["ok"] or toggle(edge, "canary 20%"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"subject": "route:/buscar/**"}, "did you mean /busca/**?"),
        ({"subject": "/busca/**"}, "write route:/busca/**"),
        ({"value": "lve"}, "legacy, shadow N%"),
        ({"value": "canary 120%"}, "0-100 %"),
        ({"subject": "route:/**", "value": "live"}, "needs a service"),
        ({"for": "25h"}, "at most 1d"),
        ({"for": "0s"}, "1s to"),
        ({"for": 30}, "a duration such as 30m"),
        ({"for": "30"}, "write the unit"),
        ({"reason": ""}, "expected why"),
        ({"reason": "a\r\nX-Injected: b"}, "control characters"),
        ({"reason": "\u202egnorw"}, "control characters"),
        ({"reason": "x" * 501}, "at most 500"),
        ({"kind": "stages"}, "did you mean stage?"),
        ({"kind": "drain"}, "drain is said of upstream:NAME or endpoint"),
        ({"reasn": "x"}, "did you mean reason?"),
        ({"if_version": "7"}, "the number of a set"),
        ({"kind": "drain", "subject": "upstream:busc", "value": True}, "did you mean busca?"),
        ({"kind": "drain", "subject": "endpoint:busca http://x", "value": True}, "no endpoint"),
        ({"kind": "fault", "value": {"kind": "dely"}}, "expected one of delay"),
        (
            {"kind": "fault", "value": {"kind": "delay", "share": 1, "amount": 1}, "for": "2h"},
            "at most 1h",
        ),
        ({"kind": "cache", "value": "stale_only"}, "nothing of this route is kept"),
        (
            {"kind": "maintenance", "value": {"page": "../../../etc/passwd.html"}},
            "below the folder",
        ),
        ({"kind": "maintenance", "value": {"page": "var/admin.token"}}, "ends in .html"),
        ({"kind": "maintenance", "value": {"page": "no.html"}}, "no file"),
    ],
)
def test_bad_input_is_told_clearly_and_nothing_is_half_applied(edge, wrong, said):
    version = listed(edge)["version"]
    asked = {"kind": "stage", "subject": ROUTE, "value": "legacy", "reason": "x"} | wrong
    status, told = post(edge, "/overrides", **asked)
    assert (status, told["status"], told["ok"]) == (400, 400, False)
    assert said in f"{told['error']} {told['errors']}"
    assert told["errors"][0]["field"]
    assert listed(edge)["version"] == version
