# SPDX-License-Identifier: Apache-2.0
"""Endpoints that are asked on purpose: who fails is left out, and all who fail are tried."""

from __future__ import annotations

from strangler.testing import Edge, Upstream, configuration, respond

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
        assert len({id(connection) for connection in one.connections}) == len(one.requests)


def test_pain_53_when_all_are_sick_all_are_tried_and_it_is_said(running):
    with Upstream(respond(body="one")) as one, Upstream(respond(body="two")) as two:
        one.on("/healthcheck", ILL)
        two.on("/healthcheck", ILL)
        edge = site(running, one, two)
        assert "upstream=materia" in edge.wait_log("upstream.panic")
        for number in range(10):
            edge.get(f"/{number}").expect(200)
