# SPDX-License-Identifier: Apache-2.0
"""Counts as an operator sees them: of all workers, for the right route and target, never lost.

Issue "Metrics and traces"; pains 21 and 50.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from strangler.testing import Closed, Edge, RawClient, Truncated, Upstream, configuration, until

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(edge: Edge) -> Series:
    """Return every series of /-/metrics."""
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
        response = client.get("/-/metrics")
    assert response.status == 200
    assert (response.get("content-type") or b"").startswith(b"text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for one in families(response.text)
        for sample in one.samples
    }


def total(found: Series, name: str, **labels: str) -> float:
    """Return the sum over all series of *name* that have *labels*."""
    return sum(
        value for (one, given), value in found.items() if one == name and labels.items() <= given
    )


def counted(edge: Edge, wanted: float, name: str, **labels: str) -> None:
    """Wait until a sum is what it has to be: hits are added up once a second."""
    seen: list[float] = []

    def right() -> bool:
        seen.append(total(scraped(edge), name, **labels))
        return seen[-1] == wanted

    until(right, what=f"{name} {labels}: {wanted}, got {seen[-1:]}")


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with Upstream().reply(200, "legacy") as made:
        yield made


@pytest.fixture(scope="module")
def service() -> Iterator[Upstream]:
    with Upstream().reply(200, "0123456789", cache_control="max-age=60") as made:
        yield made


@pytest.fixture(scope="module")
def edge(legacy: Upstream, service: Upstream) -> Iterator[Edge]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # refuses, as long as nobody listens
        text = configuration(
            {
                "/**": "legacy",
                "/hot/**": {"to": "app", "cache": {"edge": "60s"}},
                "/plain/**": "app",
                "/dead/**": "dead",
                "/gone/**": {"gone": 410},
                "/canary/**": {"to": "app", "stage": "canary 50%"},
            },
            upstreams={
                "legacy": legacy,
                "app": service,
                "dead": f"http://127.0.0.1:{held.getsockname()[1]}",
            },
        )
        with Edge(text, workers=2, access_log="off") as made:
            yield made


def test_each_exchange_is_counted_for_its_route_and_never_its_path(edge: Edge) -> None:
    """Pain 50."""
    for number in range(20):
        assert edge.get(f"/plain/{number}?q={number}").status == 200
    counted(edge, 20, "strangler_requests_total", route="/plain/**", target="service")
    found = scraped(edge)
    assert total(found, "strangler_response_start_seconds_count", route="/plain/**") == 20
    assert total(found, "strangler_sent_bytes_total", route="/plain/**") == 200
    assert not [labels for _, labels in found if any("/plain/1" in text for _, text in labels)]


def test_hits_of_the_edge_tier_are_counted_too(edge: Edge) -> None:
    with edge.client() as client:
        for _ in range(30):
            assert client.get("/hot/page").status == 200
    counted(edge, 30, "strangler_requests_total", route="/hot/**", status="200")
    found = scraped(edge)
    assert total(found, "strangler_cache_answers_total", route="/hot/**") == 30
    assert total(found, "strangler_cache_answers_total", route="/hot/**", outcome="edge") == 29
    assert total(found, "strangler_sent_bytes_total", route="/hot/**") == 300
    assert total(found, "strangler_exchange_seconds_count", route="/hot/**") == 30
    assert total(found, "strangler_response_start_seconds_count", route="/hot/**") == 1
    shares = edge.admin_json("/-/cache/counters")[1]["routes"]["/hot/**"]
    assert shares["edge"] == 29, "one story, told twice"


def test_a_fallback_is_counted_for_the_target_that_failed(edge: Edge) -> None:
    for _ in range(3):
        assert edge.get("/dead/x").text == "legacy"
    arm = {"route": "/dead/**", "target": "service"}
    counted(edge, 3, "strangler_requests_total", **arm)
    found = scraped(edge)
    assert total(found, "strangler_fallbacks_total", rung="legacy", why="connect", **arm) == 3
    assert total(found, "strangler_unwell_requests_total", **arm) == 3
    assert total(found, "strangler_requests_total", status="200", **arm) == 3
    assert total(found, "strangler_requests_total", route="/dead/**", target="legacy") == 0


def test_the_edges_own_answers_and_refusals(edge: Edge) -> None:
    assert edge.get("/gone/x").status == 410
    with edge.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert client.read().status == 400
    counted(edge, 1, "strangler_requests_total", route="/gone/**", target="edge")
    counted(edge, 1, "strangler_refused_requests_total", status="400")


def test_both_arms_of_a_canary_are_counted_apart(edge: Edge) -> None:
    seen = {"legacy": 0, "0123456789": 0}
    for _ in range(40):
        seen[edge.get("/canary/x").text] += 1
    counted(edge, 40, "strangler_requests_total", route="/canary/**")
    found = scraped(edge)
    arms = {
        target: total(found, "strangler_requests_total", route="/canary/**", target=target)
        for target in ("legacy", "service")
    }
    assert arms == {"legacy": seen["legacy"], "service": seen["0123456789"]}


def test_shadows_are_in_no_readers_figures() -> None:
    """Pain 21: their metrics have names of their own."""
    from strangler.observe.counters import COUNTERS

    shadows = [one for one in COUNTERS if "shadow" in one.name]
    assert shadows and all(one.family == "shadow" for one in shadows)
    assert not [one for one in COUNTERS if "shadow" in one.labels]


def test_processes_upstreams_tiers_and_configuration(edge: Edge) -> None:
    found = scraped(edge)
    for process in ("control", "worker 1", "worker 2"):
        assert total(found, "strangler_process_resident_bytes", process=process) > 1 << 20
        assert total(found, "strangler_process_open_files", process=process) > 5
    assert total(found, "strangler_workers", state="ready") == 2
    assert total(found, "strangler_config_generation") == 1
    assert total(found, "strangler_routes", stage="canary") == 1
    assert total(found, "strangler_routes", stage="none") == 1
    assert total(found, "strangler_overrides") == 0
    counted(edge, 3, "strangler_upstream_fetches_total", upstream="dead", outcome="failed")
    assert total(scraped(edge), "strangler_tier_size_bytes", tier="edge") > 1 << 20
    hash_ = edge.admin_json("/-/config")[1]["hash"]
    assert total(found, "strangler_config_info", hash=hash_[:12]) == 1


def ask(edge: Edge, count: int) -> None:
    for _ in range(count):
        assert edge.get("/kept/x").status == 200


def pids(edge: Edge) -> dict[int, int]:
    told: list[dict[str, Any]] = edge.admin_json("/-/workers")[1]["workers"]
    return {one["slot"]: one["pid"] for one in told}


def test_counts_outlive_workers_control_reloads_and_upgrades(legacy: Upstream) -> None:
    text = configuration({"/**": "legacy", "/kept/**": "legacy"}, upstreams={"legacy": legacy})
    with Edge(text, workers=2, access_log="off") as edge:
        where = {"route": "/kept/**", "target": "legacy"}
        ask(edge, 20)
        counted(edge, 20, "strangler_requests_total", **where)
        before = pids(edge)
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: not set(pids(edge).values()) & set(before.values()))
        until(lambda: ready(edge))
        assert total(scraped(edge), "strangler_requests_total", **where) == 20
        ask(edge, 5)
        counted(edge, 25, "strangler_requests_total", **where)

        lines = len(edge.lines)
        control = next(pid for pid in edge.pids[1:] if pid not in pids(edge).values())
        os.kill(control, signal.SIGKILL)
        edge.wait_log("process.died process=control", after=lines)
        until(lambda: ready(edge))
        counted(edge, 25, "strangler_requests_total", **where)

        lines = len(edge.lines)
        edge.write(text + "  /new/**: legacy\n")
        edge.wait_log("config.accepted", after=lines)
        edge.signal(signal.SIGUSR2)
        edge.wait_log("upgrade.finished", after=lines)
        until(lambda: ready(edge))
        ask(edge, 5)
        counted(edge, 30, "strangler_requests_total", **where)


def ready(edge: Edge) -> bool:
    """Tell whether the site is ready; a control process that is being replaced may say nothing."""
    try:
        return bool(edge.admin_json("/-/ready")[0] == 200)
    except (Closed, Truncated, OSError):
        return False


def test_what_happens_now_is_told_by_route(edge: Edge) -> None:
    assert edge.get("/dead/now").status == 200
    until(lambda: "/dead/**" in edge.admin_json("/-/numbers?seconds=60")[1]["routes"])
    status, told = edge.admin_json("/-/numbers?seconds=60")
    assert status == 200
    assert next(iter(told["routes"])) == "/dead/**", "the worst comes first"
    arm = told["routes"]["/dead/**"]["service"]
    assert arm["errors"] == 1.0 and arm["fallbacks"] == {"legacy/connect": arm["requests"]}
    assert told["site"]["requests"] >= arm["requests"]
    status, told = edge.admin_json("/-/numbers?route=/dead/**")
    assert list(told["routes"]) == ["/dead/**"] and told["history"]["step_s"] == 10
    status, told = edge.admin_json("/-/numbers?route=/daed/**")
    assert status == 404 and "/dead/**" in told["hint"]
    assert edge.admin_json("/-/numbers?seconds=301")[0] == 400


def test_overrides_are_counted_and_stages_are_those_in_force(edge: Edge) -> None:
    before = total(scraped(edge), "strangler_routes", stage="legacy")
    token = (edge.folder / "var" / "admin.token").read_text().strip()
    asked = {"kind": "stage", "subject": "route:/canary/**", "value": "legacy", "reason": "test"}
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
        body = json.dumps(asked).encode()
        client.send(
            b"POST /-/overrides HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (token.encode(), len(body), body)
        )
        assert client.read("POST").status == 201
    found = scraped(edge)
    assert total(found, "strangler_overrides", kind="stage") == 1
    assert total(found, "strangler_routes", stage="canary") == 0
    assert total(found, "strangler_routes", stage="legacy") == before + 1


def test_hundreds_of_upstreams_fit_into_what_workers_say() -> None:
    """A worker's status was once longer than a message takes: it ended the worker."""
    with Upstream().reply(200, "fine") as app:
        names = [f"service-number-{number}" for number in range(400)]
        text = configuration(
            {"/**": "legacy", **{f"/{name}/**": name for name in names}},
            upstreams={"legacy": app, **dict.fromkeys(names, app)},
        )
        with Edge(text, access_log="off") as edge:
            until(lambda: ready(edge))
            for name in names[::40]:
                assert edge.get(f"/{name}/x").status == 200
            counted(edge, 1, "strangler_requests_total", route=f"/{names[40]}/**")
            found = scraped(edge)
            assert total(found, "strangler_breaker_state", state="closed") == 401
            assert "died" not in edge.log
