# SPDX-License-Identifier: Apache-2.0
"""Endpoints that are asked on purpose: who fails is left out, and all who fail are tried."""

from __future__ import annotations

import contextlib
import os
import signal

from strangler.testing import Edge, Upstream, configuration, respond, until

HEALTH = {
    "path": "/healthcheck",
    "every": "100ms",
    "rise": 2,
    "fall": 2,
    "expect": {"json": {"status": "success"}},
}
WELL, ILL = respond(body='{"status": "success"}'), respond(body='{"status": "failure"}')


def site(running, *endpoints, workers=1):
    service = {"url": [end.url for end in endpoints], "health": HEALTH, "breaker": "none"}
    routes = {"/**": {"to": "materia", "fallback": []}}
    upstreams = {"legacy": endpoints[0], "materia": service}
    return running(Edge(configuration(routes, upstreams=upstreams), workers=workers))


def test_a_sick_endpoint_is_left_out_and_comes_back(running):
    with Upstream(respond(body="one")) as one, Upstream(respond(body="two")) as two:
        one.on("/healthcheck", WELL)
        two.on("/healthcheck", ILL)
        edge = site(running, one, two, workers=2)
        edge.wait_log("worker 1: .*endpoint.sick upstream=materia")
        edge.wait_log("worker 2: .*endpoint.sick upstream=materia")
        assert {edge.get(f"/{n}").text for n in range(12)} == {"one"}
        two.on("/healthcheck", WELL)
        edge.wait_log("worker 1: .*endpoint.healthy upstream=materia")
        edge.wait_log("worker 2: .*endpoint.healthy upstream=materia")


def test_one_prober_a_machine(running):
    with Upstream() as one:
        one.on("/healthcheck", WELL)
        site(running, one, workers=3)
        one.wait_requests(5)
        first, *_, last = one.requests
        assert first.get("User-Agent") == b"strangler-probe" == last.get("User-Agent")
        # Each on a connection of its own; the newest may be accepted and not yet read from.
        asked = [len(connection.requests) for connection in list(one.connections)]
        assert max(asked) == 1 and sum(asked) >= 5


def test_pain_53_when_all_are_sick_all_are_tried_and_it_is_said(running):
    with Upstream(respond(body="one")) as one, Upstream(respond(body="two")) as two:
        one.on("/healthcheck", ILL)
        two.on("/healthcheck", ILL)
        edge = site(running, one, two)
        assert "upstream=materia" in edge.wait_log("upstream.panic")
        for number in range(10):
            edge.get(f"/{number}").expect(200)


def checked(edge: Edge) -> tuple[int, list[str]]:
    """Return the status of the health check, and what in it has failed."""
    status, told = edge.admin_json("/-/healthcheck")
    return status, [one["output"] for one in told["results"] if not one["passed"]]


def test_no_monitor_is_alarmed_by_a_start(running):
    """The first answer comes when workers have been heard of, also of a control that is new."""
    with Upstream() as one:
        cache = {"edge": "1s", "shared": "1m", "archive": "1h"}  # stores, which take time to open
        routes = {"/**": {"to": "legacy", "cache": cache}}
        text = configuration(routes, upstreams={"legacy": one})
        edge = running(Edge(text, workers=2, ready=False))
        answers = []

        def answered() -> bool:
            with contextlib.suppress(ConnectionRefusedError):
                answers.append(checked(edge))
            return bool(answers)

        until(answered)
        assert answers == [(200, [])]
        workers = {one["pid"] for one in edge.admin_json("/-/workers")[1]["workers"]}
        [control] = set(edge.pids[1:]) - workers
        os.kill(control, signal.SIGKILL)
        edge.wait_log("process.died process=control")
        assert checked(edge) == (200, [])


def test_no_monitor_is_alarmed_by_a_reload(running):
    with Upstream() as one:
        edge = running(Edge(configuration(upstreams={"legacy": one}), workers=2))
        for number in range(5):
            routes = {"/**": "legacy", f"/{number}": "legacy"}
            edge.write(configuration(routes, upstreams={"legacy": one}))
            told = edge.admin_json("/-/config")[1]
            while told["generation"] < number + 2:
                told = edge.admin_json("/-/config")[1]
            assert checked(edge) == (200, [])


def test_a_worker_that_does_not_come_is_told(running):
    """Waiting is not for ever: who has said nothing for 5 s is not well."""
    with Upstream() as one:
        edge = running(Edge(configuration(upstreams={"legacy": one}), workers=2))
        until(lambda: edge.admin_json("/-/ready")[0] == 200)
        workers = [one["pid"] for one in edge.admin_json("/-/workers")[1]["workers"]]
        [control] = set(edge.pids[1:]) - set(workers)
        os.kill(workers[0], signal.SIGSTOP)
        try:
            os.kill(control, signal.SIGKILL)
            edge.wait_log("process.died process=control")
            status, failed = checked(edge)
            assert status == 503
            assert set(failed) == {"has not answered yet"}
        finally:
            os.kill(workers[0], signal.SIGCONT)
