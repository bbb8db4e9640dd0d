# SPDX-License-Identifier: Apache-2.0
"""How overrides reach the plans of one worker, and how they end there."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from strangler.config.load import load
from strangler.exchange import Edge, in_force
from strangler.exchange.plan import Plan, View
from strangler.rollout import Override, Overrides, override

ROUTES = """\
version: 1
upstreams:
  legacy: {url: "http://127.0.0.1:1", role: legacy}
  busca: {url: "http://127.0.0.1:2"}
tiers: {shared: none, archive: none}
routes:
  /**: legacy
  /busca/**: {to: busca, stage: STAGE, max_inflight: 5, breaker: {errors: 40%}, cache: {edge: 10s}}
  /votar/**: {to: busca, stage: sealed}
  /gone: {gone: 410}
"""

WITH_PAGE = '{to: busca, fallback: ["page:sorry.html"]}'


def loaded(tmp_path: Path, stage: str = "live") -> Any:
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES.replace("STAGE", stage))
    return load(file, {})


def on_an_edge(tmp_path: Path, story: Callable[[Edge], Awaitable[None]]) -> None:
    snapshot = loaded(tmp_path)

    async def run() -> None:
        edge = Edge(snapshot)
        try:
            await story(edge)
        finally:
            await edge.close()

    asyncio.run(run())


def plan(edge: Edge, key: str) -> Plan:
    return next(plan for route, plan in edge.view.plans.items() if route.key == key)


def chosen(value: Any, key: str = "/busca/**", ends: float = 600.0, **more: Any) -> Override:
    given = {"kind": "stage", "subject": override.subject_of("route", key)} | more
    now = time.time()
    return Override(
        id=f"{given['kind']}-{key}", value=value, author="ana", reason="x",
        created=now, expires=now + ends, **given,
    )  # fmt: skip


def told(some: Overrides) -> dict[str, Any]:
    return {"overrides": {"mark": f"m{some.version}", "set": some.json(under=False)}}


def test_only_what_changed_is_made_anew(tmp_path):
    async def story(edge: Edge) -> None:
        before = edge.view
        some = Overrides().with_(chosen("legacy"))
        edge.learn(told(some))
        assert plan(edge, "/busca/**").decision.target == "legacy"
        assert str(plan(edge, "/busca/**").stage) == "legacy"
        assert edge.status()["overrides"] == "m1"
        for route, former in before.plans.items():
            same = edge.view.plans[route] is former
            assert same is (route.key != "/busca/**")
        route = next(route for route in before.plans if route.key == "/busca/**")
        assert edge.view.plans[route].standing is before.plans[route].standing
        assert edge.view.plans[route].cached.tally is before.plans[route].cached.tally
        assert before.plans[route].decision.target == "service"  # who began with it ends with it
        edge.learn(told(some.without({some.find("stage-/busca/**").id})))
        assert plan(edge, "/busca/**").decision.target == "service"

    on_an_edge(tmp_path, story)


def test_what_is_told_again_changes_nothing(tmp_path):
    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("legacy"))))
        view = edge.view
        edge.learn(told(Overrides().with_(chosen("legacy"))))
        edge.learn({"overrides": None})
        edge.learn({})
        assert edge.view is view

    on_an_edge(tmp_path, story)


def test_a_long_set_comes_as_a_file(tmp_path):
    async def story(edge: Edge) -> None:
        file = tmp_path / "overrides.json"
        file.write_text(json.dumps(Overrides().with_(chosen("canary 20%")).json()))
        edge.learn({"overrides": {"mark": "m", "file": str(file)}})
        assert plan(edge, "/busca/**").decision is None
        assert plan(edge, "/busca/**").stage.share == 2000

    on_an_edge(tmp_path, story)


@pytest.mark.parametrize(
    "given", [{"set": {"version": "x"}}, {"file": "/nowhere/overrides.json"}, {"set": 7}]
)
def test_nonsense_leaves_what_is_in_force(given, tmp_path, caplog):
    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("legacy"))))
        for _ in range(3):
            edge.learn({"overrides": {"mark": "bad", **given}})
        assert plan(edge, "/busca/**").decision.target == "legacy"
        assert edge.status()["overrides"] == "m1"

    on_an_edge(tmp_path, story)
    assert [one.message for one in caplog.records] == ["overrides.unusable"]


@pytest.mark.sources
def test_a_set_that_fails_to_be_put_in_force_is_not_acknowledged_and_tried_again(
    tmp_path, monkeypatch, caplog
):
    async def story(edge: Edge) -> None:
        former = edge.view
        some = told(Overrides().with_(chosen("legacy")))

        def broken(*given: object) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(type(former), "under", broken)
            edge.learn(some)
            edge.learn(some)
            assert edge.status()["overrides"] == ""
            assert not edge.in_force.overrides
            assert edge.view is former
        edge.learn(some)
        assert edge.status()["overrides"] == "m1"
        assert str(plan(edge, "/busca/**").stage) == "legacy"

    on_an_edge(tmp_path, story)
    assert [one.message for one in caplog.records] == ["overrides.unusable", "overrides.failed"]


@pytest.mark.sources
def test_an_end_that_fails_is_tried_until_it_is_one(tmp_path, monkeypatch, caplog):
    async def story(edge: Edge) -> None:
        monkeypatch.setattr(in_force, "_AGAIN", 0.01)
        failures = 3
        under = edge.view.under

        def broken(view: View, overrides: Overrides) -> View:
            nonlocal failures
            if failures:
                failures -= 1
                raise RuntimeError("a bug")
            return under(overrides)

        edge.learn(told(Overrides().with_(chosen("legacy", ends=0.5))))
        with monkeypatch.context() as patched:
            patched.setattr(View, "under", broken)
            for _ in range(500):
                await asyncio.sleep(0.01)
                if not edge.in_force.overrides:
                    break
            assert not edge.in_force.overrides
        assert str(plan(edge, "/busca/**").stage) == "live"
        assert failures == 0

    on_an_edge(tmp_path, story)


def test_it_ends_by_itself(tmp_path):
    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("legacy", ends=0.5))))
        assert plan(edge, "/busca/**").decision.target == "legacy"
        async with asyncio.timeout(60):
            while plan(edge, "/busca/**").decision.target == "legacy":
                await asyncio.sleep(0.005)

    on_an_edge(tmp_path, story)


def test_a_clock_that_was_set_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(in_force, "_LOOK_AGAIN", 0.005)
    shift = [0.0]

    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("legacy", ends=3600.0))))
        real = time.time
        monkeypatch.setattr(in_force.time, "time", lambda: real() + shift[0])
        shift[0] = 3601.0
        async with asyncio.timeout(60):
            while plan(edge, "/busca/**").decision.target == "legacy":
                await asyncio.sleep(0.005)

    on_an_edge(tmp_path, story)


def test_one_that_has_ended_is_never_in_force(tmp_path):
    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("legacy", ends=-1.0))))
        assert plan(edge, "/busca/**").decision.target == "service"

    on_an_edge(tmp_path, story)


def test_it_survives_another_generation(tmp_path):
    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("legacy"))))
        edge.swap(loaded(tmp_path, "canary 5%"))
        assert plan(edge, "/busca/**").decision.target == "legacy"
        edge.learn(told(Overrides(version=2)))
        assert plan(edge, "/busca/**").stage.share == 500

    on_an_edge(tmp_path, story)


def test_a_stage_that_the_route_cannot_carry_is_none(tmp_path):
    async def story(edge: Edge) -> None:
        edge.learn(told(Overrides().with_(chosen("live", "/**"), chosen("live", "/gone"))))
        assert plan(edge, "/**").decision.target == "legacy"
        assert str(plan(edge, "/gone").stage) == "live"

    on_an_edge(tmp_path, story)


def test_legacy_is_a_rung_only_before_sealed(tmp_path):
    async def story(edge: Edge) -> None:
        def rungs(key: str) -> list[str]:
            fallback = plan(edge, key).fallback
            return [] if fallback is None else [str(rung) for rung in fallback.then]

        assert (rungs("/busca/**"), rungs("/votar/**")) == (["legacy"], [])
        some = Overrides().with_(chosen("sealed"), chosen("live", "/votar/**"))
        edge.learn(told(some))
        assert (rungs("/busca/**"), rungs("/votar/**")) == ([], ["legacy"])
        assert plan(edge, "/busca/**").meter is None
        assert plan(edge, "/votar/**").meter is not None

    on_an_edge(tmp_path, story)


def test_pages_that_are_gone_since_the_file_was_read_keep_no_override_from_its_end(tmp_path):
    """A deploy moves the folder while the old generation serves from what it has read."""
    pages = [tmp_path / name for name in ("sorry.html", "own.html")]
    for page in pages:
        page.write_text("sorry")
    file = tmp_path / "routes.yaml"
    file.write_text(
        ROUTES.replace("STAGE", "live").replace("{to: busca, stage: sealed}", f"{WITH_PAGE}")
        + "  /own: {page: own.html}\n"
    )
    snapshot = load(file, {})

    async def run() -> None:
        edge = Edge(snapshot)
        try:
            for page in pages:
                page.unlink()
            closed = chosen(True, "/votar/**", kind="maintenance")
            stopped = chosen(True, kind="freeze", subject="site")
            edge.learn(told(some := Overrides().with_(stopped).with_(closed)))
            assert plan(edge, "/votar/**").maintenance is not None
            edge.learn(told(some.without({closed.id})))
            assert plan(edge, "/votar/**").maintenance is None
            assert list(plan(edge, "/votar/**").pages.values()) == [b"sorry"]
            assert plan(edge, "/own").page == b"sorry"
        finally:
            await edge.close()

    asyncio.run(run())
