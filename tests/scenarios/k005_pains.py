# SPDX-License-Identifier: Apache-2.0
"""Rows 27 and 54 of pains.md, over the wire: canaries that flip readers, rules that nobody ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from scenarios.o001_overrides import call, post

from strangler.testing import Edge, RawUpstream, configuration, respond, until
from strangler.testing.edge import _program

ROUTE = "/busca/**"
READERS = 2000
FILE = {"/**": "legacy", ROUTE: {"to": "busca", "stage": "canary 5%", "fallback": "none"}}


@pytest.fixture(scope="module")
def sites() -> Iterator[dict[str, RawUpstream]]:
    legacy = RawUpstream(respond(200, b"legacy"))
    with legacy, RawUpstream(respond(200, b"busca")) as busca:
        yield {"legacy": legacy, "busca": busca}


def served(edge: Edge) -> frozenset[int]:
    """Return which readers get the service, each asked once."""
    found = set()
    with edge.client() as client:
        for number in range(READERS):
            cookie = [("Cookie", f"strangler_reader={number:032x}")]
            if client.request("GET", "/busca/x", cookie).body == b"busca":
                found.add(number)
    return frozenset(found)


def test_pain_27_raising_a_canary_moves_only_the_readers_between(sites) -> None:
    with Edge(configuration(FILE, upstreams=sites), workers=2, access_log="off") as edge:
        five = served(edge)
        assert 0.03 * READERS < len(five) < 0.07 * READERS
        assert served(edge) == five  # another worker, another connection, the same side
        for stage in ("canary 10%", "canary 25%"):
            told = {"kind": "stage", "subject": f"route:{ROUTE}", "value": stage, "reason": "up"}
            assert post(edge, "/overrides", **told)[0] == 201
            more = served(edge)
            share = float(stage.split()[1][:-1]) / 100
            assert five < more, f"{len(five - more)} readers went back at {stage}"
            assert share - 0.03 < len(more) / READERS < share + 0.03
            five = more
        # The file's own share again: the same readers as in the beginning, after a reload too.
        post(edge, "/overrides/clear", all=True, reason="down")
        edge.write(configuration({**FILE, "/new/**": "legacy"}, upstreams=sites))
        until(lambda: call(edge, "GET", "/config")[1]["generation"] == 2)
        again = served(edge)
        assert again < five and 0.03 * READERS < len(again) < 0.07 * READERS
        first = again
    with Edge(configuration(FILE, upstreams=sites), workers=1, access_log="off") as another:
        assert served(another) == first  # nor does it matter which machine is asked


def test_pain_54_a_rule_past_its_day_fails_the_check_and_goes_on_serving(sites, tmp_path) -> None:
    routes = {**FILE, "/flash/**": {"to": "busca", "until": "2020-02-29"}}
    text = configuration(routes, upstreams=sites)
    (tmp_path / "routes.yaml").write_text(text)
    command = [_program(), "check", "--config", str(tmp_path / "routes.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 1, "CI is where it has to hurt"
    number = next(n for n, line in enumerate(text.splitlines(), 1) if "2020-02-29" in line)
    assert f"routes.yaml:{number}:" in checked.stderr and "S306" in checked.stderr
    with Edge(text, access_log="off") as edge:
        assert edge.get("/flash/x").text == "busca"
        edge.wait_log(r"route.overdue route=/flash/\*\* until=2020-02-29")
        [late] = call(edge, "GET", "/state?migration=1")[1]["migration"]["until"]
        assert (late["key"], late["past"]) == ("/flash/**", True)


def test_pain_54_a_migration_ends_by_the_retire_step_which_the_file_has_to_say(sites) -> None:
    def text(stage: str, **upstreams: RawUpstream) -> str:
        route = {"to": "busca", "stage": stage}
        routes = {"/**": "legacy", ROUTE: route} if "legacy" in upstreams else {"/**": route}
        return configuration(routes, upstreams=upstreams)

    with Edge(text("sealed", **sites), access_log="off") as edge:
        asked = {"route": ROUTE, "reason": "it is gone", "force": True}
        status, told = post(edge, "/promote", **asked)
        assert status == 409 and "routes.yaml has to say it" in str(told)
        edge.write(text("retired", **sites))
        until(lambda: call(edge, "GET", "/config")[1]["generation"] == 2)
        route = call(edge, "GET", f"/rollout?route={ROUTE}")[1]
        assert (route["stage"]["effective"], route["next"]["stage"]) == ("retired", None)
        assert edge.get("/busca/x").text == "busca"
        told = call(edge, "GET", "/state?migration=1")[1]["migration"]
        assert ROUTE not in [one["key"] for one in told["busiest"]]
        # In the end nothing is left to name: the file without the monolith is a file like any.
        edge.write(text("retired", busca=sites["busca"]))
        until(lambda: edge.get("/anything").text == "busca")
