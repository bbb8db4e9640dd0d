# SPDX-License-Identifier: Apache-2.0
"""A canary goes up by itself, waits, and goes back, on real traffic (pains 28, 29 and 54)."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scenarios.o001_overrides import call, post
from scenarios.story import token

from strangler.testing import Edge, Upstream, configuration, pause, respond, until

GATES = {"errors": "+1pp", "samples": 30}
STEPS = ["20%", "50%", "100%"]


def canary(share: int, **more: Any) -> dict[str, Any]:
    policy = {"by": "header:X-Reader", "steps": STEPS, "gates": GATES, **more}
    return {"to": "shop", "stage": f"canary {share}%", "canary": policy, "owner": "team-shop"}


ROUTES = {
    "/**": "legacy",
    "/up/**": canary(20, hold="500ms"),
    "/sick/**": canary(50, hold="1s", on_fail="back"),
    "/first/**": canary(20, hold="1s", on_fail="back"),
    "/kept/**": canary(50, hold="1s", on_fail="hold"),
    "/slow/**": canary(50, on_fail="back", gates={"p95": "+50%", "samples": 50}),
    "/few/**": canary(20, hold="500ms", gates={"samples": 100_000}),
    "/hand/**": canary(20, gates={"samples": 100_000}),
    "/cart/**": canary(20, hold="500ms", group="checkout"),
    "/pay/**": canary(20, hold="500ms", group="checkout", gates={"samples": 100_000}),
    "/night/**": canary(50),
    "/held/**": canary(20, hold="500ms"),
    "/alike/**": {**canary(20, gates={"samples": 5}), "stage": "shadow 100%"},
    "/unlike/**": {**canary(20, gates={"samples": 5}), "stage": "shadow 100%"},
    "/plain/**": {"to": "shop", "stage": "canary 5%"},
    "/live/**": {"to": "shop", "owner": "team-shop"},
    "/old/**": {**canary(20), "until": "2020-02-29"},
}
BUSY = ("up", "sick", "first", "kept", "few", "cart", "pay", "held", "night")


def origins() -> tuple[Upstream, Upstream]:
    legacy, shop = Upstream(), Upstream()
    legacy.answers(respond(200, "legacy"))
    shop.answers(respond(200, "service"))
    shop.on("/slow/", pause(0.15), respond(200, "service"))
    shop.on("/alike/", respond(200, "legacy"))
    for name in ("sick", "first", "kept"):
        shop.on(f"/{name}/", respond(500, "broken"))
    return legacy, shop


@contextmanager
def traffic(edge: Edge, names: tuple[str, ...]) -> Iterator[None]:
    """Have ever new readers ask for a page of each route until the block ends."""
    over = threading.Event()

    def read() -> None:
        with edge.client() as client:
            for number in itertools.count():
                for name in names:
                    if over.is_set():
                        return
                    client.get(f"/{name}/", X_Reader=f"reader-{number}")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    legacy, shop = origins()
    with legacy, shop:
        text = configuration(
            ROUTES, upstreams={"legacy": legacy, "shop": {"url": shop, "breaker": "none"}}
        )
        with (
            Edge(text, workers=2, access_log="off") as made,
            traffic(made, BUSY),
            traffic(made, ("slow",)),
        ):
            yield made


def rollout(edge: Edge, route: str) -> Any:
    status, told = call(edge, "GET", f"/rollout?route={route}")
    assert status == 200, told
    return told


def stage(edge: Edge, route: str) -> str:
    return str(rollout(edge, route)["stage"]["effective"])


def overrides(edge: Edge, route: str) -> list[Any]:
    told = call(edge, "GET", "/overrides")[1]["overrides"]
    return [one for one in told if one["subject"] == f"route:{route}"]


def audited(edge: Edge, route: str) -> list[Any]:
    entries = call(edge, "GET", "/audit?limit=100")[1]["entries"]
    return [one for one in entries if one.get("subject") == f"route:{route}"]


def test_a_canary_promotes_itself_step_by_step_and_stops_before_live(edge) -> None:
    edge.wait_log(r'rollout.promoted route=/up/\*\* stage="canary 20%".* to="canary 50%"')
    edge.wait_log(r'rollout.promoted route=/up/\*\* stage="canary 50%".* to="canary 100%"')
    told = rollout(edge, "/up/**")
    assert told["stage"]["file"] == "canary 20%"
    assert told["stage"]["effective"] == "canary 100%"
    assert told["next"]["stage"] == "live"
    assert told["next"]["by"] == "hand"
    [one] = overrides(edge, "/up/**")
    assert (one["author"], one["via"], one["value"]) == ("rollout", "rollout", "canary 100%")
    assert one["left_s"] > 6 * 86_400
    assert "samples" in one["reason"] or "legacy" in one["reason"]
    changes = [entry["after"] for entry in reversed(audited(edge, "/up/**"))]
    assert changes == ["canary 50%", "canary 100%"]
    # What the last readers of legacy got is what the service is compared with from now on.
    assert told["arms"]["legacy"]["answers"] >= 30
    with edge.client() as client:
        for number in range(20):
            client.get("/up/", X_Reader=f"r{number}").expect(200, body="service")


def test_a_canary_goes_back_when_the_services_errors_rise(edge) -> None:
    edge.wait_log(r'rollout.back route=/sick/\*\* stage="canary 50%".* to="canary 20%"')
    told = rollout(edge, "/sick/**")
    assert told["stage"]["effective"] == "canary 20%"
    assert told["rest"]["failures"] == 1
    assert told["rest"]["failed"] == "canary 50%"
    assert "rest" in [one["name"] for one in told["next"]["conditions"] if not one["met"]]
    assert "errors" in overrides(edge, "/sick/**")[0]["reason"]


def test_a_canary_goes_back_when_the_service_is_slower(edge) -> None:
    """Although nothing times it: a gate guards the steps that people make as well."""
    edge.wait_log(r'rollout.back route=/slow/\*\* stage="canary 50%".* to="canary 20%"')
    reason = overrides(edge, "/slow/**")[0]["reason"]
    assert reason.startswith("p95 +")
    assert "limit +50%" in reason


def test_the_first_step_goes_back_to_legacy_and_stays_there(edge) -> None:
    edge.wait_log(r'rollout.back route=/first/\*\* stage="canary 20%".* to=legacy')
    assert stage(edge, "/first/**") == "legacy"
    edge.get("/first/").expect(200, body="legacy")


def test_a_failed_gate_holds_where_the_route_says_so(edge) -> None:
    edge.wait_log(r'rollout.failed route=/kept/\*\* stage="canary 50%"')
    told = rollout(edge, "/kept/**")
    assert told["stage"]["effective"] == "canary 50%"
    assert told["stage"]["override"] is None
    assert told["rest"]["failures"] == 1
    assert [one["what"] for one in audited(edge, "/kept/**")] == ["rollout.failed"]


def test_pain_28_a_gate_that_saw_too_little_waits(edge) -> None:
    edge.wait_log(r"rollout.promoted route=/up/\*\*.*100")  # by then this hold is over as well
    told = rollout(edge, "/few/**")
    assert told["stage"]["effective"] == "canary 20%"
    assert [(gate["name"], gate["verdict"]) for gate in told["gates"]] == [("samples", "wait")]
    assert [one["name"] for one in told["next"]["conditions"] if not one["met"]] == ["gate samples"]
    assert told["arms"]["service"]["answers"] > 0


def test_a_journey_goes_up_together_or_not_at_all(edge) -> None:
    """Routes of a group share their readers: half a journey on each side helps nobody."""
    edge.wait_log(r"rollout.promoted route=/up/\*\*.*100")
    told = rollout(edge, "/cart/**")
    assert told["stage"]["effective"] == "canary 20%"
    assert told["journey"] == ["/pay/**"]
    unmet = {one["name"]: one["said"] for one in told["next"]["conditions"] if not one["met"]}
    assert list(unmet) == ["group"]
    assert unmet["group"].startswith("/pay/**: legacy ")
    status, moved = post(edge, "/promote", route="/cart/**", reason="both", force=True)
    assert (status, moved["routes"]) == (201, ["/cart/**", "/pay/**"])
    assert {stage(edge, "/cart/**"), stage(edge, "/pay/**")} == {"canary 50%"}
    status, moved = post(edge, "/back", route="/pay/**", reason="both", to="legacy")
    assert (status, moved["routes"]) == (201, ["/pay/**", "/cart/**"])
    assert {stage(edge, "/cart/**"), stage(edge, "/pay/**")} == {"legacy"}


def sides(edge: Edge) -> dict[str, str]:
    with edge.client() as client:
        readers = [f"somebody-{number}" for number in range(300)]
        return {reader: client.get("/hand/", X_Reader=reader).text for reader in readers}


def test_a_person_promotes_where_the_conditions_are_met_or_by_force(edge) -> None:
    status, told = post(edge, "/promote", route="/hand/**", reason="noon")
    assert (status, told["ok"]) == (409, False)
    assert [one["name"] for one in told["unmet"]] == ["gate samples"]
    assert stage(edge, "/hand/**") == "canary 20%"
    before = sides(edge)
    status, told = post(edge, "/promote", route="/hand/**", reason="noon", force=True)
    assert status == 201, told
    assert (told["from"], told["to"], told["workers"]) == ("canary 20%", "canary 50%", "2/2")
    [entry] = audited(edge, "/hand/**")
    assert entry["reason"] == "noon (forced: gate samples)"
    assert (entry["verb"], entry["before"], entry["after"]) == ("promote", None, "canary 50%")
    assert rollout(edge, "/hand/**")["brakes"]["by_hand"] == ""
    # Pain 27: raising a share moves those between the two, and nobody back.
    after = sides(edge)
    assert all(after[reader] == "service" for reader in before if before[reader] == "service")
    moved = sum(before[reader] != after[reader] for reader in before) / len(before)
    assert 0.2 < moved < 0.4


def test_pain_29_back_is_one_action_and_never_gated(edge) -> None:
    frozen = {"kind": "freeze", "subject": "site", "value": True, "reason": "night"}
    assert post(edge, "/overrides", **frozen)[0] == 201
    assert post(edge, "/hold", route="/night/**", reason="wait for ana")[0] == 201
    try:
        status, told = post(edge, "/promote", route="/night/**", reason="no")
        assert status == 409
        assert {"freeze", "held"} <= {one["name"] for one in told["unmet"]}
        status, told = post(edge, "/back", route="/night/**", reason="p95 of 9 s")
        assert (status, told["to"]) == (201, "canary 20%")
        assert told["readiness"]["verdict"] in ("ready", "unproven", "unknown")
        assert stage(edge, "/night/**") == "canary 20%"
        status, told = post(edge, "/back", route="/night/**", reason="all of it", to="legacy")
        assert (status, told["to"]) == (201, "legacy")
        edge.get("/night/").expect(200, body="legacy")
        status, told = post(edge, "/back", route="/night/**", reason="again")
        assert (status, told["error"]) == (409, "/night/** is at legacy already")
        # What a person said, the clock doesn't take back.
        assert "said by" in rollout(edge, "/night/**")["brakes"]["by_hand"]
    finally:
        post(edge, "/overrides/clear", kind="freeze", reason="morning")


def test_a_hold_keeps_a_route_until_it_is_released(edge) -> None:
    status, told = post(edge, "/hold", route="/held/**", reason="lunch", **{"for": "1h"})
    assert status == 201, told
    before = stage(edge, "/held/**")
    told = rollout(edge, "/held/**")
    assert "lunch" in told["brakes"]["held"]
    assert "held" in [one["name"] for one in told["next"]["conditions"] if not one["met"]]
    assert stage(edge, "/held/**") == before
    status, told = post(edge, "/hold", route="/held/**", reason="back", release=True)
    assert status == 201, told
    if before != "canary 100%":
        after = len(edge.lines)
        edge.wait_log(r"rollout.promoted route=/held/\*\*", after=max(after - 50, 0))


def test_a_shadow_goes_on_where_the_two_sides_are_alike(edge) -> None:
    def compared(route: str) -> Any:
        told = rollout(edge, route)["next"]["conditions"]
        return next(one for one in told if one["name"] == "parity")

    assert compared("/alike/**") == {
        "name": "parity",
        "met": False,
        "said": "0 of 5 pairs compared",
    }
    with edge.client() as client:
        for name in ("alike", "unlike"):
            for _ in range(6):
                client.get(f"/{name}/").expect(200, body="legacy")
    until(lambda: compared("/alike/**")["met"])
    until(lambda: compared("/unlike/**")["said"].startswith("6 of 5"))
    assert compared("/unlike/**")["said"] == "6 of 5 pairs compared, 100.00% differ, limit 0%"
    status, told = post(edge, "/promote", route="/unlike/**", reason="hope")
    assert (status, [one["name"] for one in told["unmet"]]) == (409, ["parity"])
    rows = {one["route"]: one for one in call(edge, "GET", "/rollout")[1]["routes"]}
    assert (rows["/alike/**"]["ready"], rows["/unlike/**"]["ready"]) == (True, False)
    status, told = post(edge, "/promote", route="/alike/**", reason="all alike")
    assert (status, told["to"]) == (201, "canary 20%")


def test_all_routes_in_short(edge) -> None:
    status, told = call(edge, "GET", "/rollout")
    assert status == 200
    assert told["driving"] is True
    rows = {one["route"]: one for one in told["routes"]}
    assert rows.keys() == ROUTES.keys() - {"/**"}
    assert rows["/plain/**"]["unmet"] == ["the route has no canary.steps: say a stage with toggle"]
    assert rows["/live/**"]["next"] == "sealed"
    # Pain 54: a rule that has outlived its date is shown as such, and told of once a day.
    assert rows["/old/**"]["overdue"] is True
    assert rows["/old/**"]["days_left"] < -2000
    edge.wait_log(r"route.overdue route=/old/\*\* until=2020-02-29")


WRONG: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "unknown": ("/promote", {"route": "/upp/**"}, 404, "did you mean /up/**"),
    "half a character": ("/promote", {"route": "\ud800"}, 404, "no route"),
    "one side": ("/back", {"route": "/**"}, 409, "no service and legacy"),
    "no steps": ("/promote", {"route": "/plain/**", "force": True}, 409, "no canary.steps"),
    "no reason": ("/back", {"route": "/plain/**", "reason": " "}, 400, "reason"),
    "newline": ("/back", {"route": "/plain/**", "reason": "a\nb"}, 400, "one line"),
    "no step back": ("/back", {"route": "/plain/**", "to": "live"}, 400, "no step back"),
    "malformed": ("/back", {"route": "/plain/**", "to": "canary"}, 400, "to: expected"),
    "too long": ("/back", {"route": "/plain/**", "for": "8d"}, 400, "1s to 1d"),
    "unknown member": ("/promote", {"route": "/plain/**", "forced": True}, 400, "force"),
    "not held": ("/hold", {"route": "/plain/**", "release": True}, 409, "not held"),
    "sealing": ("/promote", {"route": "/live/**"}, 409, "seal"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_makes_no_sense_is_refused_and_changes_nothing(edge, what: str) -> None:
    path, document, status, said = WRONG[what]
    got, told = post(edge, path, **{"reason": "why not", **document})
    assert (got, told["ok"]) == (status, False), told
    assert said in told["error"]
    if status == 400:  # everything wrong with it, each by its member
        assert all(one["field"] and one["message"] for one in told["errors"])
        assert told["errors"]
    assert overrides(edge, "/plain/**") == []


def test_whoever_only_looks_may_not_move(edge) -> None:
    for path in ("/promote", "/back", "/hold", "/arm"):
        assert call(edge, "POST", path, {"route": "/up/**", "reason": "x"}, "wrong" * 5)[0] == 401


# ---------------------------------------------------------------- testers


def test_a_tester_is_given_an_arm(edge) -> None:
    status, told = post(edge, "/arm", route=["/first/**", "/plain/**"], arm="service")
    assert status == 201, told
    assert told["names"] == ["/first/**", "/plain/**"]
    with edge.client() as client:
        client.get("/plain/", Cookie=told["cookie"]).expect(200, body="service")
    status, told = post(edge, "/arm", group="checkout", arm="legacy", **{"for": "5m"})
    assert (status, told["names"]) == (201, ["checkout"])
    assert told["set_cookie"].startswith("strangler_arm=l.")


WRONG_ARMS = {
    "no arm": ({"route": "/up/**"}, 400, "arm"),
    "nothing": ({"arm": "service"}, 400, "expected"),
    "unknown": ({"arm": "service", "route": "/u/**"}, 404, "no route"),
    "unknown group": ({"arm": "service", "group": "chekout"}, 404, "did you mean checkout"),
    "too long": ({"arm": "service", "route": "/up/**", "for": "31d"}, 400, "1s to 30d"),
    "one side": ({"arm": "legacy", "route": "/**"}, 409, "no service"),
}


@pytest.mark.parametrize("what", WRONG_ARMS)
def test_an_arm_that_makes_no_sense_is_refused(edge, what: str) -> None:
    document, status, said = WRONG_ARMS[what]
    got, told = post(edge, "/arm", **document)
    assert got == status, told
    assert said in told["error"]


# ---------------------------------------------------------------- restarts


def seen(told: Any) -> dict[str, int]:
    return {name: told["arms"][name]["answers"] for name in ("legacy", "service")}


def test_a_restart_in_the_middle_keeps_the_step_and_its_samples() -> None:
    legacy, shop = origins()
    with legacy, shop:
        route = canary(20, hold="1h")
        text = configuration(
            {"/**": "legacy", "/up/**": route},
            upstreams={"legacy": legacy, "shop": shop},
            limits={"drain": "1s"},
        )
        with Edge(text, workers=2, access_log="off") as first:
            assert post(first, "/promote", route="/up/**", reason="go", force=True)[0] == 201
            with first.client() as client:
                for number in range(100):
                    client.get("/up/", X_Reader=f"r{number}").expect(200)
            before = rollout(first, "/up/**")
            assert sum(seen(before).values()) == 100
            saved = first.folder / "var" / "rollout.json"
            until(saved.exists, what="rollout.json")
            # The control process alone: killed, so that it can't say goodbye.
            after = len(first.lines)
            os.kill(first.pids[1], signal.SIGKILL)
            first.wait_log(r"supervisor: .*control", after=after)
            until(lambda: _answers(first), what="control answers again")
            assert seen(rollout(first, "/up/**")) == seen(before)
            # The whole site: its counts begin at nought, the step's don't.
            first.process.terminate()
            first.process.wait(60)
            environment = {"STRANGLER_STATE": str(first.folder / "var")}
            with Edge(text, workers=2, access_log="off", environment=environment) as second:
                secret = token(first)
                told = call(second, "GET", "/rollout?route=/up/**", secret=secret)[1]
                assert told["stage"]["effective"] == "canary 50%"
                assert told["stage"]["began"] == before["stage"]["began"]
                assert seen(told) == seen(before)
                second.get("/up/", X_Reader="one more").expect(200)

                def counted() -> int:
                    told = call(second, "GET", "/rollout?route=/up/**", secret=secret)[1]
                    return sum(seen(told).values())

                until(lambda: counted() == 101)


def _answers(edge: Edge) -> bool:
    try:
        return bool(call(edge, "GET", "/ready")[0] == 200)
    except OSError:
        return False
