# SPDX-License-Identifier: Apache-2.0
"""What a team lead types at noon: rollout, promote, hold, back, arm."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from scenarios.load import origin
from scenarios.o001_overrides import answers, call, post

from strangler.cli import main
from strangler.testing import Edge, configuration

WHY = ("--reason", "noon")
ROUTE = "/busca/**"
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    canary = {"steps": ["1%", "50%", "100%"], "gates": {"errors": "+1pp", "samples": 100}}
    journey = {"to": "busca", "stage": "canary 1%", "canary": {"group": "journey"}}
    routes = {
        "/**": "legacy",
        ROUTE: {"to": "busca", "stage": "canary 1%", "canary": canary, "until": "2099-12-31"},
        "/live/**": {"to": "busca"},
        "/mine/**": {**journey, "owner": "team-mine"},
        "/yours/**": {**journey, "owner": "team-yours"},
        "/alone/**": {"to": "busca", "stage": "canary 1%", "owner": "team-mine"},
    }
    with origin("legacy") as legacy, origin("busca") as busca:
        text = configuration(routes, upstreams={"legacy": legacy, "busca": busca})
        with Edge(text, workers=2, access_log="off") as made:
            yield made


@pytest.fixture(autouse=True)
def cleared(edge: Edge) -> Iterator[None]:
    yield
    post(edge, "/overrides/clear", all=True, reason="the test is over")


@pytest.fixture
def typed(edge: Edge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command in the edge's folder; return exit code, output and errors."""
    monkeypatch.chdir(edge.folder)
    monkeypatch.setenv("STRANGLER_STATE", str(edge.folder / "var"))
    monkeypatch.delenv("STRANGLER_ADMIN", raising=False)
    monkeypatch.delenv("STRANGLER_TOKEN", raising=False)

    def type_(*words: str) -> tuple[int, str, str]:
        code = main(words)
        told = capsys.readouterr()
        return code, told.out, told.err

    return type_


def test_promote_says_what_is_lacking(typed: Typed) -> None:
    code, out, err = typed("promote", ROUTE, *WHY)
    assert (code, out) == (1, ""), err
    assert "gate samples: legacy 0, service 0, limit 100" in err
    assert "--force" in err
    code, out, err = typed("promote", ROUTE, *WHY, "--json")
    told = json.loads(out)
    assert (code, err, told["ok"]) == (1, "", False)
    assert told["unmet"][0]["name"] == "gate samples"


def test_promote_by_force_and_back(edge: Edge, typed: Typed) -> None:
    code, out, err = typed("promote", ROUTE, *WHY, "--force")
    assert (code, err) == (0, "")
    assert out.startswith(f"{ROUTE}: canary 1% -> canary 50% until 20")
    assert "2/2 workers" in out
    assert typed("promote", ROUTE, *WHY, "--force")[0] == 0
    assert answers(edge) == {"busca"}
    code, out, err = typed("back", ROUTE, *WHY, "--to", "legacy")
    assert code == 0
    assert out.startswith(f"{ROUTE}: canary 100% -> legacy until 20")
    assert answers(edge) == {"legacy"}
    code, out, err = typed("back", ROUTE, *WHY)
    assert (code, out, err) == (1, "", f"strangler: {ROUTE} is at legacy already\n")


def test_back_to_what_is_no_step_back_says_how_to_go_there(edge: Edge, typed: Typed) -> None:
    assert typed("toggle", "/live/**", "legacy", *WHY)[0] == 0
    one = call(edge, "GET", "/rollout?route=/live/**")[1]["stage"]["override"]["id"]
    code, out, err = typed("back", "/live/**", *WHY, "--to", "live")
    assert (code, out) == (2, "")
    assert "to: live is no step back from legacy" in err
    assert f"routes.yaml says live: strangler undo {one}" in err
    _, _, err = typed("back", "/live/**", *WHY, "--to", "canary 5%")
    assert "canary 5% is no step back from legacy" in err
    assert "strangler toggle puts a route into any stage" in err
    assert "undo" not in err
    code, _, err = typed("back", "/live/**", *WHY, "--to", "legacy")
    assert (code, err) == (1, "strangler: /live/** is at legacy already\n")
    code, _, err = typed("back", ROUTE, *WHY, "--to", "canary 1%")
    assert (code, err) == (1, f"strangler: {ROUTE} is at canary 1% already\n")


def test_back_as_json(typed: Typed) -> None:
    code, out, err = typed("back", ROUTE, *WHY, "--for", "5m", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["ok"], told["from"], told["to"]) == (True, "canary 1%", "legacy")
    assert told["override"]["expires"] - told["override"]["created"] == pytest.approx(300)


def test_hold_and_release(edge: Edge, typed: Typed) -> None:
    code, out, _ = typed("hold", ROUTE, *WHY, "--for", "1h")
    assert code == 0
    assert out.startswith(f"{ROUTE} is kept at canary 1% until ")
    assert "held by" in call(edge, "GET", f"/rollout?route={ROUTE}")[1]["brakes"]["held"]
    code, out, _ = typed("hold", ROUTE, *WHY, "--release")
    assert (code, out) == (0, f"{ROUTE} is at canary 1% and may go on\n")
    assert typed("hold", ROUTE, *WHY, "--end")[0] == 1, "the word of the other verbs"


def test_rollout_of_all(typed: Typed) -> None:
    code, out, err = typed("rollout")
    assert (code, err) == (0, "")
    first, second, third, *_ = out.splitlines()
    assert first.split()[:4] == ["route", "file", "now", "next"]
    assert re.split("  +", second)[:5] == [ROUTE, "canary 1%", "canary 1%", "canary 50%", "hand"]
    assert "limit 100" in second
    assert third.startswith("/live/**")
    code, out, _ = typed("rollout", "--json")
    assert [one["route"] for one in json.loads(out)["routes"]][:2] == [ROUTE, "/live/**"]


def test_rollout_of_one(edge: Edge, typed: Typed) -> None:
    with edge.client() as client:
        for _ in range(20):
            client.get("/busca/x").expect(200)
    code, out, err = typed("rollout", ROUTE)
    assert (code, err) == (0, "")
    assert out.startswith(f"{ROUTE}  canary 1%\n")
    assert "until 2099-12-31, in " in out
    assert "  next: canary 50%, by hand\n" in out
    assert "    wait  gate samples: legacy " in out
    assert "    ok    step: canary 1% to canary 50%\n" in out
    assert "  back: legacy; legacy is " in out
    assert json.loads(typed("rollout", ROUTE, "--json")[1])["route"] == ROUTE


def test_rollout_of_a_route_that_is_none(typed: Typed) -> None:
    code, out, err = typed("rollout", "/buscar/**")
    assert (code, out) == (2, "")
    assert "did you mean /busca/**" in err


def test_a_testers_arm(edge: Edge, typed: Typed) -> None:
    code, out, err = typed("arm", "service", ROUTE, "--for", "5m")
    assert (code, err) == (0, "")
    cookie = out.splitlines()[0]
    with edge.client() as client:
        told = client.get("/busca/x", Cookie=cookie).expect(200)
    assert told.text.startswith("busca")
    assert told.get("Strangler-Arm") == b"service"
    code, out, _ = typed("arm", "legacy", ROUTE, "--json")
    assert json.loads(out)["cookie"].startswith("strangler_arm=l.")
    code, _, err = typed("arm", "service", "chekout", "--group")
    assert code == 2
    assert "no group chekout" in err


@pytest.mark.parametrize("verb", ["promote", "back", "hold"])
def test_a_reason_is_asked_for(verb: str, typed: Typed) -> None:
    with pytest.raises(SystemExit) as ended:
        typed(verb, ROUTE)
    assert ended.value.code == 2


def test_an_owner_moves_its_own_routes_alone(edge: Edge, typed: Typed) -> None:
    secret = typed("token", "add", "ana", "owner", "--owner", "team-mine")[1].strip()
    try:
        for path in ("/promote", "/back", "/hold"):
            # The journey goes along, and half of it is somebody else's.
            for route in ("/mine/**", "/yours/**"):
                status, told = call(edge, "POST", path, {"route": route, "reason": "x"}, secret)
                assert (status, "team-yours" in told["error"]) == (403, True)
        asked = {"route": "/alone/**", "reason": "x"}
        status, told = call(edge, "POST", "/back", asked, secret)
        assert (status, told["override"]["author"]) == (201, "ana")
        for names, status in (({"route": "/alone/**"}, 201), ({"group": "journey"}, 403)):
            assert call(edge, "POST", "/arm", {"arm": "service", **names}, secret)[0] == status
    finally:
        typed("token", "remove", "ana")
