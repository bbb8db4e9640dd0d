# SPDX-License-Identifier: Apache-2.0
"""Who answered me, and why? In the response itself, for who has signed in.

Issue "Server-Timing and a decision header"; pain 24.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from strangler.observe.debugging import key_of, mint
from strangler.testing import Edge, RawClient, Response, Upstream, configuration, respond

DECISION, TIMING = "strangler-decision", "server-timing"


@pytest.fixture(scope="module")
def app() -> Iterator[Upstream]:
    with Upstream().reply(
        200, "app", strangler_decision="forged", cache_control="max-age=60"
    ) as up:
        up.on("/saved/x", respond(503, "no"))
        yield up


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with Upstream().reply(200, "legacy") as made:
        yield made


@pytest.fixture(scope="module")
def edge(app: Upstream, legacy: Upstream) -> Iterator[Edge]:
    text = configuration(
        {
            "/app/**": "app",
            "/saved/**": "app",
            "/hot/**": {"to": "app", "cache": {"edge": "60s"}},
            "/canary/**": {"to": "app", "stage": "canary 100%"},
            "/gone/**": {"gone": 410},
            "/**": "legacy",
        },
        upstreams={"app": app, "legacy": legacy},
    )
    with Edge(text, access_log="off") as made:
        yield made


def post(
    edge: Edge, document: Any, *, token: bool = True, path: str = "/-/debug-cookie"
) -> tuple[int, dict[str, Any]]:
    body = json.dumps(document).encode()
    secret = (edge.folder / "var" / "admin.token").read_text().strip() if token else "x"
    with RawClient(edge.admin, server_name="127.0.0.1") as client:
        client.send(
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (path.encode(), secret.encode(), len(body), body)
        )
        response = client.read("POST")
        return response.status, json.loads(response.text)


@pytest.fixture(scope="module")
def given(edge: Edge) -> dict[str, Any]:
    status, told = post(edge, {"for": "10m"})
    assert status == 200 and told["expires"] > time.time() + 500
    return told


def told(response: Response, name: str) -> str:
    return (response.get(name) or b"").decode()


def test_a_response_says_who_answered_and_why(
    edge: Edge, given: dict[str, Any], app: Upstream
) -> None:
    app.forget()
    response = edge.get("/app/x", strangler_debug=given["token"])
    assert response.text == "app"
    decision = told(response, DECISION)
    assert decision.startswith('target=app; reason=live; route="/app/**"; stage="live"; ')
    assert re.search(r'generation=1; id="[0-9a-f]+"$', decision)
    timing = told(response, TIMING)
    assert re.fullmatch(
        r'upstream;desc="app 127\.0\.0\.1:\d+";dur=\d+\.\d, total;dur=\d+\.\d', timing
    )
    assert told(response, "cache-control").startswith("private")
    assert app.requests[0].get("strangler-debug") is None, "nobody behind us needs to know"


def test_a_cookie_does_as_well(edge: Edge, given: dict[str, Any], app: Upstream) -> None:
    app.forget()
    response = edge.get("/app/x", cookie=f"a=b; {given['cookie']}; strangler_session=s; c=d")
    assert told(response, DECISION).startswith("target=app")
    assert app.requests[0].get("cookie") in ("a=b; c=d", b"a=b; c=d"), "nobody behind us needs it"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/canary/x", r'target=app; reason=canary_in; route="/canary/\*\*"; stage="canary 100%"'),
        ("/saved/x", r"target=legacy; reason=fallback:legacy;why=503; "),
        ("/elsewhere", r'target=legacy; reason=legacy; route="/\*\*"'),
        ("/gone/x", r'reason=gone; route="/gone/\*\*"'),
        ("/app%2Fx/../y", r"reason=refused; generation=1"),
    ],
)
def test_whatever_the_decision(edge: Edge, given: dict[str, Any], path: str, wanted: str) -> None:
    response = edge.get(path, strangler_debug=given["token"])
    assert re.match(wanted, told(response, DECISION)), told(response, DECISION)
    assert "total;dur=" in told(response, TIMING)


def test_a_hit_says_which_tier_and_nobody_else_is_told(edge: Edge, given: dict[str, Any]) -> None:
    for _ in range(2):
        response = edge.get("/hot/x", strangler_debug=given["token"])
    assert 'cache="hit,edge"' in told(response, DECISION)
    assert 'cache;desc="hit,edge"' in told(response, TIMING)
    for _ in range(2):
        response = edge.get("/hot/x")
        assert response.get(DECISION) is None and response.get(TIMING) is None
        assert b"private" not in (response.get("cache-control") or b"")


def test_only_a_token_of_this_site_that_still_lasts_is_believed(
    edge: Edge, given: dict[str, Any]
) -> None:
    start, _, signature = given["token"].partition(".")
    other = mint(key_of(b"another site's key" * 2), time.time() + 100)
    last = "A" if signature[-1] != "A" else "Q"
    for bad in ("", "x", f"{start}.", f".{signature}", f"{int(start, 16) + 1:x}.{signature}",
                f"{start}.{signature[:-1]}{last}", other, "zz." + signature):  # fmt: skip
        response = edge.get("/app/x", strangler_debug=bad)
        assert response.status == 200 and response.get(DECISION) is None, bad
    assert edge.get("/app/x").get(DECISION) is None
    signing = (edge.folder / "var" / "signing.key").read_text().strip().encode()
    import hmac

    key = key_of(hmac.digest(signing, b"arm", "sha256"))
    fresh, gone = mint(key, time.time() + 60), mint(key, time.time() - 1)
    assert edge.get("/app/x", strangler_debug=fresh).get(DECISION) is not None
    assert edge.get("/app/x", strangler_debug=gone).get(DECISION) is None


@pytest.mark.parametrize("asked", [{"for": "2d"}, {"for": "5"}, {"for": 5}, {"until": "1h"}])
def test_what_makes_no_sense_is_refused(edge: Edge, asked: dict[str, Any]) -> None:
    assert post(edge, asked)[0] == 400


def test_a_token_is_for_who_has_one(edge: Edge) -> None:
    assert post(edge, {}, token=False)[0] == 401


def test_an_operators_choice_is_named_in_the_reason_in_headers_and_in_the_log(
    app: Upstream, legacy: Upstream
) -> None:
    """Every line of the log says who was to answer and why, an override's doing included."""
    routes = {
        "/app/**": "app",
        "/canary/**": {"to": "app", "stage": "canary 1%"},
        "/**": "legacy",
    }
    text = configuration(routes, upstreams={"app": app, "legacy": legacy})
    with Edge(text, access_log="json") as edge:
        token = post(edge, {})[1]["token"]
        for route, stage in (("/app/**", "legacy"), ("/canary/**", "canary 100%")):
            asked = {"kind": "stage", "subject": f"route:{route}", "value": stage, "reason": "x"}
            assert post(edge, asked, path="/-/overrides")[0] == 201
        decision = told(edge.get("/app/x", strangler_debug=token), DECISION)
        assert 'reason=override:legacy; route="/app/**"; stage="legacy"; file="live"' in decision
        decision = told(edge.get("/canary/x", strangler_debug=token), DECISION)
        assert "target=app; reason=override:canary_in; " in decision
        edge.get("/other")
        edge.wait_log(r'"path":"/other"')
        lines = [json.loads(line) for line in edge.lines if line.startswith('{"time"')]
        assert [(one["target"], one["reason"], one["route"]) for one in lines] == [
            ("legacy", "override:legacy", "/app/**"),
            ("app", "override:canary_in", "/canary/**"),
            ("legacy", "legacy", "/**"),
        ]
