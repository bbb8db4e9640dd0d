# SPDX-License-Identifier: Apache-2.0
"""Who answers readers in the place of what is drained, as a preview tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strangler.config import Snapshot, load
from strangler.control.drained import instead
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
  /gone: {gone: 410}
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder: Path = tmp_path_factory.mktemp("drained")
    (folder / "sorry.html").write_text("sorry")
    (folder / "routes.yaml").write_text(SITE)
    return load(folder / "routes.yaml", {})


def said(*subjects: str, stages: dict[str, str] | None = None) -> Overrides:
    """Return overrides that drain *subjects*, and put routes into *stages*."""
    wanted: list[tuple[str, str, Any]] = [("drain", subject, True) for subject in subjects]
    wanted += [("stage", f"route:{key}", stage) for key, stage in (stages or {}).items()]
    return Overrides().with_(
        *(
            Override(
                id=subject,
                kind=kind,
                subject=subject,
                value=value,
                author="ana",
                reason="a test",
                created=1.0,
                expires=2.0,
            )
            for kind, subject, value in wanted
        )
    )


def ladders(told: Any) -> dict[str, str]:
    """Return the rungs of each route."""
    return {key: ", ".join(one["rungs"]) for one in told["instead"] for key in one["routes"]}


def test_each_route_says_who_answers_instead(snapshot: Snapshot) -> None:
    told = instead(snapshot, Overrides(), "upstream:materia")
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
    told = instead(snapshot, said("upstream:legacy"), "upstream:materia")
    assert {ladders(told)[key] for key in ("/live", "/canary", "/uncached")} == {""}
    assert ladders(told)["/kept"] == "stale, archive"
    assert ladders(told)["/other"] == "busca"


def test_legacys_readers_and_who_would_fall_back_to_it(snapshot: Snapshot) -> None:
    told = instead(snapshot, Overrides(), "upstream:legacy")
    assert ladders(told) == {"/**": "", "/canary": ""}
    assert told["rung_lost"]["routes"] == [
        *("/live", "/kept", "/uncached", "/unlisted", "/other"),
    ]


def test_the_stage_in_force_counts(snapshot: Snapshot) -> None:
    stages = {"/live": "legacy", "/sealed": "live"}
    told = instead(snapshot, said(stages=stages), "upstream:materia")
    assert "/live" not in ladders(told)
    assert ladders(told)["/sealed"] == "legacy"


def test_the_other_endpoints_take_over(snapshot: Snapshot) -> None:
    first, second = (
        "endpoint:materia http://127.0.0.1:8101",
        "endpoint:materia http://127.0.0.1:8111",
    )
    nothing = {"instead": [], "rung_lost": {"count": 0, "routes": []}}
    assert instead(snapshot, Overrides(), first) == nothing
    whole = instead(snapshot, Overrides(), "upstream:materia")
    assert instead(snapshot, said(first), second) == whole
    assert instead(snapshot, said("upstream:materia"), first) == whole
