# SPDX-License-Identifier: Apache-2.0
"""Who answers readers in the place of what is drained or forced open, as a preview tells it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from strangler.config import Snapshot, load
from strangler.control.instead import heeds, instead, keeps_off
from strangler.exchange.edge import Edge
from strangler.rollout import Override, Overrides

SITE = """
version: 1
upstreams:
  legacy: "http://127.0.0.1:8100"
  materia: {url: ["http://127.0.0.1:8101", "http://127.0.0.1:8111/"]}
  busca: "http://127.0.0.1:8103"
routes:
  /**: legacy
  /live: materia
  /kept: {to: materia, cache: {edge: 10s, archive: 30d}, fallback: [stale, legacy, archive]}
  /uncached: {to: materia, fallback: [stale, legacy]}
  /sealed: {to: materia, stage: sealed}
  /page: {to: materia, stage: sealed, fallback: ["page:sorry.html"]}
  /unlisted: {to: materia, fallback: {when: [connect, 503], then: [legacy]}}
  /canary: {to: materia, stage: canary 5%}
  /other: {to: materia, fallback: [busca, legacy]}
  /search: {to: busca, fallback: [materia]}
  /own: {to: busca, breaker: {errors: 50%}, fallback: [legacy]}
  /none: {to: busca, breaker: none}
  /shadow: {to: busca, stage: shadow 5%}
  /gone: {gone: 410}
"""


NOTHING = {"instead": [], "rung_lost": {"count": 0, "routes": []}}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder: Path = tmp_path_factory.mktemp("drained")
    (folder / "sorry.html").write_text("sorry")
    (folder / "routes.yaml").write_text(SITE)
    return load(folder / "routes.yaml", {})


def said(
    *subjects: str, stages: dict[str, str] | None = None, breakers: dict[str, str] | None = None
) -> Overrides:
    """Return overrides that drain *subjects*, put routes into *stages*, and force *breakers*."""
    wanted: list[tuple[str, str, Any]] = [("drain", subject, True) for subject in subjects]
    wanted += [("stage", f"route:{key}", stage) for key, stage in (stages or {}).items()]
    wanted += [("breaker", subject, mode) for subject, mode in (breakers or {}).items()]
    return Overrides().with_(
        *(
            Override(
                id=f"{kind} {subject}",
                kind=kind,
                subject=subject,
                value=value,
                author="ana",
                reason="a test",
                created=time(),
                expires=time() + 600.0,
            )
            for kind, subject, value in wanted
        )
    )


def ladders(told: Any) -> dict[str, str]:
    """Return the rungs of each route."""
    return {key: ", ".join(one["rungs"]) for one in told["instead"] for key in one["routes"]}


def test_each_route_says_who_answers_instead(snapshot: Snapshot) -> None:
    told = instead(snapshot, Overrides(), "drain", "upstream:materia")
    assert ladders(told) == {
        "/live": "legacy",
        "/kept": "stale, legacy, archive",
        "/uncached": "legacy",
        "/sealed": "",
        "/page": "page",
        "/unlisted": "",
        "/canary": "legacy",
        "/other": "busca, legacy",
    }
    counts = [(one["rungs"], one["count"]) for one in told["instead"]]
    assert counts[:2] == [(["legacy"], 3), ([], 2)]
    assert told["rung_lost"] == {"count": 1, "routes": ["/search"]}


def test_what_is_drained_already_answers_nobody(snapshot: Snapshot) -> None:
    told = instead(snapshot, said("upstream:legacy"), "drain", "upstream:materia")
    assert {ladders(told)[key] for key in ("/live", "/canary", "/uncached")} == {""}
    assert ladders(told)["/kept"] == "stale, archive"
    assert ladders(told)["/other"] == "busca"


def test_legacys_readers_and_who_would_fall_back_to_it(snapshot: Snapshot) -> None:
    told = instead(snapshot, Overrides(), "drain", "upstream:legacy")
    assert ladders(told) == {"/**": "", "/canary": "", "/shadow": ""}
    assert told["rung_lost"]["routes"] == [
        *("/live", "/kept", "/uncached", "/unlisted", "/other", "/own", "/none"),
    ]


def test_the_stage_in_force_counts(snapshot: Snapshot) -> None:
    stages = {"/live": "legacy", "/sealed": "live"}
    told = instead(snapshot, said(stages=stages), "drain", "upstream:materia")
    assert "/live" not in ladders(told)
    assert ladders(told)["/sealed"] == "legacy"


def test_the_other_endpoints_take_over(snapshot: Snapshot) -> None:
    first, second = (
        "endpoint:materia http://127.0.0.1:8101",
        "endpoint:materia http://127.0.0.1:8111",
    )
    assert instead(snapshot, Overrides(), "drain", first) == NOTHING
    whole = instead(snapshot, Overrides(), "drain", "upstream:materia")
    assert instead(snapshot, said(first), "drain", second) == whole
    assert instead(snapshot, said("upstream:materia"), "drain", first) == whole


def test_a_breaker_that_is_forced_open_keeps_off_who_heeds_it(snapshot: Snapshot) -> None:
    told = instead(snapshot, Overrides(), "breaker", "upstream:busca")
    assert ladders(told) == {"/search": "materia"}
    assert told["rung_lost"] == {"count": 1, "routes": ["/other"]}
    whole = instead(snapshot, Overrides(), "drain", "upstream:materia")
    assert instead(snapshot, Overrides(), "breaker", "upstream:materia") == whole


def test_who_heeds_the_breaker_of_an_upstream(snapshot: Snapshot) -> None:
    def heeding(overrides: Overrides) -> set[str]:
        asking = [one for one in snapshot.routes if "busca" in one.asks(one.stage)]
        return {one.key for one in asking if heeds(one, "busca", overrides)}

    assert heeding(Overrides()) == {"/search"}
    assert heeding(said(breakers={"route:/search": "auto"})) == {"/search"}
    assert heeding(said(breakers={"route:/search": "forced_closed"})) == set()
    # A canary's other side is always asked by its own.
    canary = next(one for one in snapshot.routes if one.key == "/canary")
    assert heeds(canary, "legacy", said(breakers={"route:/canary": "forced_closed"}))


def test_a_routes_breaker_keeps_its_own_readers_off(snapshot: Snapshot) -> None:
    expected = {"/own": "legacy", "/none": "legacy", "/kept": "stale, legacy, archive"}
    for key, ladder in expected.items():
        told = instead(snapshot, Overrides(), "breaker", f"route:{key}")
        assert ladders(told) == {key: ladder}
        assert told["rung_lost"]["count"] == 0
    out = said(breakers={"upstream:legacy": "forced_open"})
    assert ladders(instead(snapshot, out, "breaker", "route:/own")) == {"/own": ""}


def test_legacy_is_asked_however_the_breaker_of_a_route_is_forced(snapshot: Snapshot) -> None:
    """It is in front of the route's service, whom nobody of these readers is sent to."""
    assert instead(snapshot, Overrides(), "breaker", "route:/shadow") == NOTHING


@pytest.mark.parametrize("value", [True, "forced_open", "forced_closed", "auto"])
@pytest.mark.parametrize("kind", ["drain", "breaker", "stage"])
def test_only_what_keeps_readers_off_is_told_of(kind: str, value: object) -> None:
    assert keeps_off(kind, value) is (
        (kind, value) in {("drain", True), ("breaker", "forced_open")}
    )


BEFORE: list[dict[str, Any]] = [
    {},
    {"stages": {"/own": "canary 5%", "/search": "legacy", "/live": "sealed"}},
    {"breakers": {"route:/search": "forced_closed", "upstream:legacy": "forced_open"}},
    {"breakers": {"upstream:materia": "forced_closed", "route:/canary": "forced_open"}},
]


@pytest.mark.parametrize("before", range(len(BEFORE)))
def test_what_is_told_is_what_the_edge_does(snapshot: Snapshot, before: int) -> None:
    asyncio.run(compared(snapshot, said(**BEFORE[before])))


async def compared(snapshot: Snapshot, overrides: Overrides) -> None:
    """Compare what is told of each order with the doors of the plans under it."""
    edge = Edge(snapshot)
    names, keys = snapshot.upstreams, [route.key for route in snapshot.routes]
    subjects = [f"upstream:{name}" for name in names] + [f"route:{key}" for key in keys]
    orders = [("drain", f"upstream:{name}") for name in names]
    orders += [("breaker", subject) for subject in subjects]
    for kind, subject in orders:
        order = said(subject) if kind == "drain" else said(breakers={subject: "forced_open"})
        under = overrides.with_(*order)
        edge.view = edge.view.under(under)
        told = instead(snapshot, overrides, kind, subject)
        listed, shut = ladders(told), set()
        for name, upstream in edge.view.upstreams.items():
            if upstream.door is not None and not upstream.door.permit(monotonic()):
                shut.add(name)
        for route in snapshot.routes:
            if subject not in (f"route:{route.key}", *(f"upstream:{one}" for one in names)):
                continue
            plan = edge.view.plans[route]
            sides = [
                edge.view.upstreams[side]
                for side in route.asks(under.stage(route.key, route.stage))
                if subject == f"upstream:{side}"
                or (subject.startswith("route:") and edge.view.upstreams[side] is plan.target)
            ]
            circuits = [plan.terms_for(side, "live").circuit for side in sides]
            refused = [one is not None and not one.permit(monotonic()) for one in circuits]
            assert (route.key in listed) is any(refused), (kind, subject, route.key)
            assert not shut & set(listed.get(route.key, "").split(", ")), (kind, subject)
    await edge.close()
