# SPDX-License-Identifier: Apache-2.0
"""The console's document: what windows of counters say in words, charts, layers, the burn-down."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strangler.config import load
from strangler.control.console import answers
from strangler.control.console.burndown import FILE, Burndown, thinned
from strangler.control.console.changes import in_words, recent
from strangler.control.console.document import Asked, document
from strangler.control.console.known import Known, Window
from strangler.control.console.proxies import proxies
from strangler.control.console.seen import RouteSeen, Seen
from strangler.control.console.words import number, seconds, share
from strangler.control.state import State
from strangler.observe.counters import COARSE, FINE, LAYOUT
from strangler.observe.history import SECONDS, History
from strangler.observe.numbers import ArmNumbers
from strangler.rollout import Stage
from strangler.rollout.override import Override, Overrides

FILE_TEXT = """
version: 1
site: {hosts: [www.example.com], name: edge}
upstreams:
  legacy: {url: "http://127.0.0.1:8100", role: legacy, owner: team-site, max_inflight: 20}
  busca: {url: ["http://127.0.0.1:8103", "http://127.0.0.1:8113"], owner: team-search}
routes:
  /**: legacy
  /busca/**: {to: busca, stage: canary 25%, until: 2020-01-01}
  /sealed/{id}: {to: busca, stage: sealed, owner: team-sealed, cache: {edge: 10s, shared: 5m}}
  /old/**: {redirect: /new/}
"""


def arm(
    *, ok: int = 0, bad: int = 0, unwell: int = 0, took: float = 0.01, **named: Mapping[str, int]
) -> ArmNumbers:
    """Make numbers: *ok* answers of 200 and *bad* of 500, each in *took* seconds."""
    row = [0] * LAYOUT.width
    row[LAYOUT.place("strangler_requests_total", status="200")] = ok
    row[LAYOUT.place("strangler_requests_total", status="500")] = bad
    row[LAYOUT.place("strangler_unwell_requests_total")] = unwell or bad
    start = LAYOUT.first["strangler_response_start_seconds"]
    row[start + bisect_left(FINE, took)] = ok + bad
    whole = LAYOUT.first["strangler_exchange_seconds"]
    row[whole + bisect_left(COARSE, took)] = ok + bad
    for error, count in named.get("failures", {}).items():
        row[LAYOUT.place("strangler_failures_total", error=error)] = count
    for rung, count in named.get("fallbacks", {}).items():
        row[LAYOUT.place("strangler_fallbacks_total", rung=rung, why="connect")] = count
    for outcome, count in named.get("cache", {}).items():
        row[LAYOUT.place("strangler_cache_answers_total", outcome=outcome)] = count
    return ArmNumbers(row)


# -------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.0004, "less than 0.1 %"),
        (0.9996, "more than 99.9 %"),
        (0.012, "1.2 %"),
        (0.42, "42 %"),
    ],
)
def test_a_share_is_0_or_100_only_where_it_is(part: float, said: str) -> None:
    assert share(part) == said


def test_numbers_have_the_digits_that_matter() -> None:
    assert [number(value) for value in (0, 0.02, 1.0, 1.04, 9.96, 1090.4)] == [
        *("0", "fewer than 0.1", "1", "1", "10", "1,090"),
    ]
    assert [seconds(value) for value in (0.0004, 0.084, 1.9, 42, 240, 9000, 2e6)] == [
        *("less than 1 ms", "84 ms", "1.9 s", "42 s", "4 min", "2 h", "23 days"),
    ]


# -------------------------------------------------------------------- what was seen


def test_a_failure_with_a_name_and_a_5xx_are_one() -> None:
    seen = Seen.of(arm(ok=90, bad=10, failures={"connection_refused": 10}), 10.0)
    assert (seen.failed, seen.error_share, seen.rate) == (10, 0.1, 10.0)


def test_what_a_client_did_is_nobodys_failure() -> None:
    seen = Seen.of(arm(ok=90, failures={"client_aborted": 50}), 10.0)
    assert seen.failed == 0 and not seen.failures


@pytest.mark.parametrize(
    ("arms", "verdict", "why"),
    [
        ({}, "unknown", ""),
        ({"legacy": arm(ok=100)}, "good", ""),
        ({"service": arm(ok=98, bad=2)}, "good", ""),
        ({"service": arm(ok=990, bad=10)}, "warn", "1.0 % fail"),
        (
            {"service": arm(ok=60, bad=40, failures={"connection_refused": 39})},
            "bad",
            "40 % fail: connection_refused",
        ),
        (
            {"service": arm(ok=100, unwell=30, fallbacks={"legacy": 30})},
            "warn",
            "30 % of busca fails, others stand in",
        ),
        (
            {"legacy": arm(ok=50, took=0.1), "service": arm(ok=50, took=0.9)},
            "warn",
            "p95 906 ms, legacy's is 100 ms",
        ),
        ({"legacy": arm(ok=29, took=0.1), "service": arm(ok=50, took=0.9)}, "good", ""),
    ],
)
def test_the_verdict_of_a_route(arms: Mapping[str, ArmNumbers], verdict: str, why: str) -> None:
    assert RouteSeen.of(arms, 30.0).judge("busca") == (verdict, why)


def test_a_reader_who_was_saved_weighs_less_than_one_who_was_not() -> None:
    hurt = RouteSeen.of({"service": arm(ok=90, bad=10)}, 10.0)
    saved = RouteSeen.of({"service": arm(ok=100, unwell=10)}, 10.0)
    busy = RouteSeen.of({"service": arm(ok=900, bad=100)}, 10.0)
    assert busy.badness > hurt.badness > saved.badness > 0


# -------------------------------------------------------------------- the five answers


def route(key: str, verdict: str, why: str = "", rate: float = 10.0) -> dict[str, Any]:
    return {"key": key, "verdict": verdict, "why": why, "rate": rate}


@pytest.mark.parametrize(
    ("site", "usual", "worst", "verdict", "say"),
    [
        (Seen(30.0), None, [], "unknown", "Nobody asks for anything."),
        (Seen(30.0, 3000), None, [], "good", "No: 100 requests a second, none fails."),
        (Seen(30.0, 30), None, [], "good", "No: 1 request a second, none fails."),
        (
            Seen(30.0, 30000, failed=2),
            None,
            [],
            "good",
            "No: 1,000 requests a second, less than 0.1 % fail.",
        ),
        (
            Seen(30.0, 3000, failed=300),
            None,
            [],
            "bad",
            "Yes: 10 % of requests fail, 10 a second.",
        ),
        (
            Seen(30.0, 300000, failed=30),
            None,
            [route("/x", "bad")],
            "warn",
            "Some are: less than 0.1 % of requests fail, 1 a second.",
        ),
        (Seen(30.0, 3000, p95=1.8), 0.2, [], "warn", "They wait: p95 1.8 s, usually 200 ms."),
    ],
)
def test_is_the_reader_hurt(
    site: Seen, usual: float | None, worst: list[dict[str, Any]], verdict: str, say: str
) -> None:
    told = answers.reader(site, usual, worst)
    assert (told.verdict, told.say) == (verdict, say)


def test_which_routes_are_bad_names_the_worst() -> None:
    worst = [route("/a", "bad", "40 % fail"), route("/b", "warn"), route("/c", "good")]
    told = answers.routes(worst, 3)
    assert (told.verdict, told.say) == ("bad", "/a and 1 more")
    assert told.more == "40 % fail; 10 requests a second"
    assert answers.routes([route("/c", "good")], 3).say == "None."


def test_is_legacy_safe_where_it_fails_is_crowded_or_gone() -> None:
    well = {"verdict": "good", "troubles": [], "inflight": 2, "limit": 20}
    seen = Seen(30.0, 300, p95=0.31)
    told = answers.legacy(well, seen, 12.0)
    assert told.say == "Yes: p95 310 ms, 2 of 20 places taken."
    assert told.more == "It answers 10 requests a second; 12 more if every service failed."
    assert answers.legacy({**well, "inflight": 17}, seen, 0.0).verdict == "warn"
    assert answers.legacy(well, replace(seen, unwell=30), 0.0).verdict == "bad"
    assert answers.legacy(None, seen, 0.0).say == "There is none any more."


def test_do_all_proxies_agree() -> None:
    good = {"name": "edge-1", "verdict": "good", "say": "ok"}
    config = {"generation": 7, "rejected": None}
    assert answers.agree([good], config, 0).say == "Yes: 1 proxy, generation 7."
    told = answers.agree([good, {**good, "name": "edge-2", "verdict": "bad"}], config, 3)
    assert (told.verdict, told.say) == ("bad", "No: edge-2: ok")
    rejected = {**config, "rejected": {"text": ["routes.yaml:3:1: S104"]}}
    assert answers.agree([good], rejected, 0).verdict == "warn"


def test_what_changed_tells_the_last() -> None:
    recent = [{"time": 760.0, "say": "ana put /a to legacy"}, {"time": 100.0, "say": "x"}]
    told = answers.changes(recent, 1000.0)
    assert (told.say, told.more) == ("2 changes, the last 4 min ago", "ana put /a to legacy")


# -------------------------------------------------------------------- the document


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    file = tmp_path_factory.mktemp("site") / "routes.yaml"
    file.write_text(FILE_TEXT)
    arms = {
        "/**": {"legacy": arm(ok=300)},
        "/busca/**": {
            "legacy": arm(ok=75),
            "service": arm(ok=10, bad=15, fallbacks={"stale": 2, "legacy": 5}),
        },
        "/sealed/{id}": {"service": arm(ok=30, cache={"edge": 20, "miss": 10})},
    }
    history = History()
    for step in range(3):
        history.step(arms, float(step * SECONDS))
    busca = {"inflight": 3, "waiting": 0, "last_error": "connection_refused"}
    busca |= {"breaker": {"word": "open", "state": [1]}, "out": {"127.0.0.1:8113": "errors"}}
    worker = {
        "slot": 0,
        "silent": 0.1,
        "edge": {"upstreams": {"busca": busca, "legacy": {"inflight": 4, "waiting": 0}}},
    }
    return Known(
        now=1_700_000_000.0,
        snapshot=load(file),
        config={"generation": 1, "rejected": None},
        overrides=Overrides(),
        recent=Window(arms, 30.0),
        five=Window(arms, 300.0),
        ever=lambda: arms,
        history=history,
        workers=[worker],
        slots=2,
        sick={},
        instances=[{"name": "edge", "verdict": "good", "say": "2 of 2 workers"}],
    )


def test_the_worst_route_comes_first_then_the_busiest(known: Known) -> None:
    told = document(known, Asked())
    assert [one["key"] for one in told["routes"]] == [
        *("/busca/**", "/**", "/sealed/{id}", "/old/**"),
    ]
    worst = told["routes"][0]
    assert (worst["verdict"], worst["owner"], worst["target"]) == ("bad", "team-search", "busca")
    assert worst["stage"] == {
        "file": "canary 25%",
        "override": None,
        "effective": "canary 25%",
        "service_share": 0.25,
    }
    assert [one["id"] for one in told["answers"]] == [
        *("reader", "changes", "routes", "legacy", "agree"),
    ]
    assert told["answers"][0]["verdict"] == "bad"
    assert len(document(known, Asked(routes=1))["routes"]) == 1
    json.dumps(told)
    found = document(known, Asked(routes=1, find="Team-search CANARY"))
    assert [one["key"] for one in found["routes"]] == ["/busca/**"]
    assert found["routes_found"] == {"count": 1, "rate": pytest.approx(10 / 3)}
    assert told["series"]["every"] == SECONDS and len(told["series"]["requests"]) == 3
    assert told["series"]["legacy"] == [37.5] * 3 and told["series"]["errors"] == [1.5] * 3
    assert worst["series"] == {"requests": [10.0] * 3, "errors": [1.5] * 3}


def test_an_upstream_tells_what_is_out_and_why(known: Known) -> None:
    told = document(known, Asked(routes=0))["upstreams"]
    legacy, busca = told
    assert legacy["say"] == "Well, 4 of 40 places taken."
    assert busca["verdict"] == "bad"
    assert busca["say"].startswith(
        "127.0.0.1:8113 is out (errors), breaker open, last error connection_refused"
    )


def test_a_routes_page_has_three_layers_and_both_arms(known: Known) -> None:
    override = Override(
        id="o1",
        kind="stage",
        subject="route:/busca/**",
        value="legacy",
        author="ana",
        reason="it fails",
        created=known.now,
        expires=known.now + 1800,
        file="canary 25%",
    )
    told = document(
        replace(known, overrides=Overrides().with_(override)),
        Asked(routes=0, route="/busca/**"),
    )["route"]
    assert told["stage"]["override"] == told["stage"]["effective"] == "legacy"
    assert told["why"] == "15 % fail; moved 1 s ago"
    layers = {row["name"]: row for row in told["layers"]}
    assert layers["stage"]["file"] == "canary 25%" and layers["stage"]["override"] == "legacy"
    assert layers["stage"]["drift"] and layers["breaker"]["observed"] == "open"
    assert layers["upstream"]["observed"] == "1 of 2 up"
    assert layers["until"]["drift"] == "past"
    assert told["arms"]["service"]["error_share"] == 0.6
    assert [one["rung"] for one in told["fallbacks"]] == ["legacy", "stale"]
    sealed = document(known, Asked(routes=0, route="/sealed/{id}"))["route"]
    assert sealed["tiers"] == {"edge": 20, "miss": 10} and sealed["example"] == "/sealed/id"
    assert {row["name"]: row["file"] for row in sealed["layers"]}["cache"] == "edge 10s, shared 5m"
    assert document(known, Asked(routes=0, route="/none"))["route"] is None


def test_the_migration_counts_what_is_left(known: Known) -> None:
    told = document(known, Asked(routes=0, migration=True))["migration"]
    assert told["routes"] == 3
    assert {word: one["routes"] for word, one in told["stages"].items()} == {
        "legacy": 1,
        "canary": 1,
        "sealed": 1,
    }
    owners = {one["owner"]: (one["left"], one["routes"]) for one in told["owners"]}
    assert owners == {"team-site": (1, 1), "team-search": (1, 1), "team-sealed": (0, 1)}
    assert told["legacy_share"] == pytest.approx(375 / 430)
    assert told["busiest"][0]["key"] == "/**"
    assert told["points"][-1]["stages"] == {"legacy": 1, "canary": 1, "sealed": 1}
    assert told["until"] == [{"key": "/busca/**", "until": "2020-01-01", "past": True}]


# -------------------------------------------------------------------- proxies and changes


@pytest.mark.parametrize(
    ("other", "settled", "verdict", "say"),
    [
        ({}, True, "good", "2 of 2 workers serve generation 7."),
        ({"hash": "old"}, True, "bad", "2 of 2 workers serve generation 7: another file than"),
        (
            {"overrides": "4-aa"},
            True,
            "bad",
            "2 of 2 workers serve generation 7: set 4 of overrides, th",
        ),
        ({"overrides": "5-zz"}, True, "bad", "2 of 2 workers serve generation 7: other override"),
        ({"overrides": "4-aa"}, False, "good", "2 of 2 workers serve generation 7, catching up."),
        ({"workers": "1/2"}, True, "bad", "1 of 2 workers serve generation 7: not all workers."),
        ({"silent": 44.0}, True, "bad", "Silent for 44 s."),
    ],
)
def test_a_proxy_agrees_or_says_in_what_it_does_not(
    other: Mapping[str, Any], settled: bool, verdict: str, say: str
) -> None:
    word = {"name": "edge-2", "silent": 0.4, "hash": "new", "generation": 7, "workers": "2/2"}
    listed = [{**word, "overrides": "5-bb", **other}, {**word, "name": "edge-1"}]
    here, there = proxies(
        listed, me="edge-1", hash_="new", mark="5-bb", settled=settled, ready=(True, "ok")
    )
    assert (here["me"], here["verdict"], here["say"]) == (True, "good", "Ok.")
    assert there["verdict"] == verdict and there["say"].startswith(say)


def test_a_fault_is_told_as_one_reads_it() -> None:
    value = {"kind": "abort", "share": 0.5, "amount": 503.0}
    entry = {"at": 1, "time": 9.0, "what": "override.set", "kind": "fault", "after": value}
    assert in_words({**entry, "subject": "route:/a"})["say"] == "/a: fault abort 50% 503"


def test_changes_come_from_the_audit_and_from_what_was_refused() -> None:
    said = {"subject": "route:/a", "kind": "stage", "who": "ana", "reason": "it fails"}
    entries = [
        {"at": 9, "time": 950.0, "what": "override.undo", "before": "legacy", **said},
        {"at": 5, "time": 940.0, "what": "override.set", "after": "legacy", **said},
        {"at": 4, "time": 935.0, "what": "login", "who": "ana"},
        {"at": 3, "time": 930.0, "what": "purge", "subject": "tag x", "who": "ana"},
        {"at": 2, "time": 900.0, "what": "config.accepted", "before": 1, "after": 2},
        {"at": 1, "time": -1000.0, "what": "override.set", "after": "live", **said},
    ]
    rejected = {"time": 920.0, "text": ["routes.yaml:3:1: S104 …"]}
    told = recent(entries, rejected, 1000.0)
    assert [one["say"] for one in told] == [
        "undone: /a: legacy",
        "/a: legacy",
        "purge tag x",
        "an edit of the file was rejected",
        "generation 2 of the file in force",
    ]
    assert [one["route"] for one in told] == ["/a", "/a", None, None, None]


# -------------------------------------------------------------------- the burn-down


def test_the_burn_down_outlives_its_process(known: Known, tmp_path: Path) -> None:
    state = State(tmp_path)
    burndown = Burndown(state)

    def stage(key: str, file: Stage) -> Stage:
        return file

    burndown.note(known.snapshot.routes, stage, 100, 90, 1000.0)
    burndown.note(known.snapshot.routes, stage, 300, 140, 4600.0)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"time": "soon"\n{"time": 1, "stages": 7}\n')
    points = Burndown(State(tmp_path)).json()
    assert points == [
        {"time": 1000.0, "stages": {"legacy": 1, "canary": 1, "sealed": 1}, "legacy_share": None},
        {"time": 4600.0, "stages": {"legacy": 1, "canary": 1, "sealed": 1}, "legacy_share": 0.25},
    ]
    assert burndown.due == 4600.0 + 3600.0


def test_old_points_are_thinned_to_one_a_day() -> None:
    day = 86_400
    points = [{"time": float(hour * 3600)} for hour in range(60 * 24)]
    kept = thinned(points, 60.0 * day)
    old = [one for one in kept if one["time"] < 30 * day]
    assert len(old) == 30 and all(one["time"] % day == day - 3600 for one in old)
    assert len(kept) - len(old) == 30 * 24
