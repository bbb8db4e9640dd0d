# SPDX-License-Identifier: Apache-2.0
"""What an operator orders by the admin API is what readers meet, on every worker, at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scenarios.story import token

from strangler.testing import Edge, RawClient, Upstream, configuration, respond

WORKERS = 2
ROUTE = "route:/r/**"


@pytest.fixture(scope="module")
def legacy():
    with Upstream(respond(body="django")) as made:
        yield made


@pytest.fixture(scope="module")
def edge(legacy, origin):
    origin.answers(respond(body="materia"))
    routes = {
        "/**": "legacy",
        "/r/**": {"to": "materia", "cache": {"edge": "0s", "grace": "60s"}},
        "/w/**": "materia",
    }
    tiers = {"shared": "none", "archive": "none"}
    upstreams = {"legacy": legacy, "materia": origin}
    text = configuration(routes, upstreams=upstreams, tiers=tiers, limits={"drain": "1s"})
    with Edge(text, workers=WORKERS, access_log="off") as made:
        yield made


def post(edge: Edge, path: str, **document: Any) -> Any:
    fields = [("Authorization", f"Bearer {token(edge)}"), ("Content-Type", "application/json")]
    with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
        response = client.request("POST", f"/-{path}", fields, json.dumps(document))
        return response.status, json.loads(response.text)


ORDERS = [
    ("drain", "upstream:materia", True, "/w/1", 200, "django", "legacy;why=drained"),
    ("breaker", "upstream:materia", "forced_open", "/w/1", 200, "django", "legacy;why=breaker"),
    ("breaker", "route:/w/**", "forced_open", "/w/1", 200, "django", "legacy;why=breaker"),
    ("cache", ROUTE, "stale_only", "/r/nothing", 503, None, None),
    ("maintenance", ROUTE, True, "/r/1", 503, None, None),
    ("maintenance", "site", True, "/w/1", 503, None, None),
    (
        *("fault", "route:/w/**", {"kind": "abort", "share": 1.0, "amount": 503}),
        *("/w/1", 200, "django", "legacy;why=503"),
    ),
]


@pytest.mark.parametrize("kind, subject, value, path, status, body, fallback", ORDERS)
def test_an_order_is_in_force_everywhere_when_it_is_acknowledged(
    kind, subject, value, path, status, body, fallback, edge, legacy
):
    order = {"kind": kind, "subject": subject, "value": value, "for": "5m", "reason": "a test"}
    answered, told = post(edge, "/overrides", **order)
    assert (answered, told.get("workers")) == (201, f"{WORKERS}/{WORKERS}"), told
    for _ in range(6 * WORKERS):
        answer = edge.get(path).expect(status, body=body)
        if fallback is not None:
            assert answer.get("Strangler-Fallback") == fallback.encode()
    assert edge.admin_json("/-/live")[0] == 200, "the admin listener is as it was"
    answered, told = post(edge, "/overrides/undo", id=told["override"]["id"], reason="over")
    assert answered == 200, told
    for _ in range(6 * WORKERS):
        edge.get("/w/1").expect(200, body="materia", lacks=["Strangler-Fallback"])
