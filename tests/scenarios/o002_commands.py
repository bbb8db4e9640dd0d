# SPDX-License-Identifier: Apache-2.0
"""What an operator types at night: toggle, undo, drain, freeze, audit, token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.load import origin
from scenarios.o001_overrides import answers, call, listed, post
from scenarios.p002_commands import run
from scenarios.story import token

from strangler.cli import main
from strangler.testing import Edge, Upstream, configuration, until, unused_port

WHY = ("--reason", "p95 of 9 s")


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with origin("legacy") as made:
        yield made


@pytest.fixture(scope="module")
def busca() -> Iterator[Upstream]:
    with origin("busca") as made:
        yield made


@pytest.fixture(scope="module")
def edge(legacy: Upstream, busca: Upstream) -> Iterator[Edge]:
    routes = {
        "/**": "legacy",
        "/busca/**": {"to": "busca", "owner": "team search", "cache": {"edge": "1s"}},
        "/votar/**": {"to": "busca", "owner": "team-vote"},
    }
    # Every store of the cache is down: the operator's commands need none.
    dead = f"redis://127.0.0.1:{unused_port()}/0"
    text = configuration(
        routes, upstreams={"legacy": legacy, "busca": busca}, tiers={"shared": {"store": dead}}
    )
    with Edge(text, workers=2, access_log="off") as made:
        yield made


@pytest.fixture(autouse=True)
def cleared(edge: Edge) -> Iterator[None]:
    yield
    post(edge, "/overrides/clear", all=True, reason="the test is over")


@pytest.fixture
def typed(edge: Edge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Type a command in the edge's folder; return exit code, output and errors."""
    monkeypatch.chdir(edge.folder)
    monkeypatch.setenv("STRANGLER_STATE", str(edge.folder / "var"))
    monkeypatch.delenv("STRANGLER_ADMIN", raising=False)
    monkeypatch.delenv("STRANGLER_TOKEN", raising=False)

    def type_(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(words)
        told = capsys.readouterr()
        return code, told.out, told.err

    return type_


def test_toggle_and_undo(edge, typed):
    code, out, _ = typed("toggle", "/busca/**", "legacy", "--for", "10m", *WHY)
    assert code == 0
    assert answers(edge) == {"legacy"}
    assert re.search(r"stage of route:/busca/\*\* is legacy until [0-9:]{8} \(10m\) · 2/2", out)
    code, out, _ = typed("toggle", "/busca/**", "canary", "100%", *WHY)
    assert code == 0
    assert answers(edge) == {"busca"}
    [id_] = re.findall(r"strangler undo (\w+)", out)
    code, out, _ = typed("undo", id_, "--reason", "no good")
    assert (code, out) == (0, "stage of route:/busca/** is legacy again · 2/2 workers\n")
    assert answers(edge) == {"legacy"}
    code, out, _ = typed("undo", "--reason", "fixed")
    assert (code, out) == (0, "routes.yaml counts again · 2/2 workers\n")
    assert answers(edge) == {"busca"}
    assert typed("undo", "--reason", "again")[0] == 2


def test_what_would_change_is_shown_and_not_done(edge, typed):
    code, out, _ = typed("toggle", "/busca/**", "legacy", "--preview", *WHY)
    assert code == 0
    assert out == (
        "stage of route:/busca/**: live -> legacy for 30m\nroutes affected: 1\n  /busca/**\n"
    )
    code, out, _ = typed("drain", "busca", "--preview", "--json", *WHY)
    told = json.loads(out)
    assert (code, told["ok"], told["affects"]["routes"]) == (0, True, ["/busca/**", "/votar/**"])
    # Whom an upstream answers goes by the stage in force: a canary's readers have two sides.
    routes = [one["key"] for one in call(edge, "GET", "/routes")[1]["routes"]]
    assert affected(typed, "drain", "legacy") == set(routes) - {"/busca/**", "/votar/**"}
    assert typed("toggle", "/busca/**", "canary", "10%", *WHY)[0] == 0
    assert affected(typed, "drain", "legacy") == set(routes) - {"/votar/**"}
    assert affected(typed, "breaker", "busca", "forced_open") == {"/busca/**", "/votar/**"}
    assert typed("toggle", "/busca/**", "legacy", *WHY)[0] == 0
    assert affected(typed, "drain", "busca") == {"/votar/**"}


def test_a_drains_preview_says_who_answers_instead(edge, typed):
    told = json.loads(typed("drain", "busca", "--preview", "--json", *WHY)[1])["affects"]
    both = ["/busca/**", "/votar/**"]
    assert told["instead"] == [{"rungs": ["legacy"], "count": 2, "routes": both}]
    assert typed("drain", "busca", *WHY)[0] == 0
    edge.get("/votar/").expect(200, body="legacy /votar/")
    code, out, _ = typed("drain", "legacy", "--preview", *WHY)
    assert code == 0
    assert out.endswith(
        "answered instead by nobody, a 503: /**\n"
        "left without it as a fallback: /busca/**, /votar/**\n"
    )


def test_the_preview_of_a_breaker_that_is_forced_open_says_who_answers_instead(edge, typed):
    both = ["/busca/**", "/votar/**"]
    for name, routes in (("busca", both), ("/votar/**", ["/votar/**"])):
        words = ("breaker", name, "forced_open")
        told = json.loads(typed(*words, "--preview", "--json", *WHY)[1])["affects"]
        assert told["instead"] == [{"rungs": ["legacy"], "count": len(routes), "routes": routes}]
    assert typed(*words, *WHY)[0] == 0
    edge.get("/votar/").expect(200, body="legacy /votar/")
    edge.get("/busca/").expect(200, body="busca /busca/")
    # Whose own breaker is forced doesn't heed that of its upstream.
    assert affected(typed, "breaker", "busca", "forced_open") == {"/busca/**"}
    code, out, _ = typed("breaker", "legacy", "forced_open", "--preview", *WHY)
    assert code == 0
    assert out.endswith(
        "answered instead by nobody, a 503: /**\n"
        "left without it as a fallback: /busca/**, /votar/**\n"
    )
    for value in ("forced_closed", "auto"):
        told = json.loads(typed("breaker", "busca", value, "--preview", "--json", *WHY)[1])
        assert "instead" not in told["affects"]


def affected(typed: Any, *words: str) -> set[str]:
    told = json.loads(typed(*words, "--preview", "--json", *WHY)[1])
    return set(told["affects"]["routes"])


def test_what_cannot_be_taken_back_says_what_can(edge: Edge, typed: Any) -> None:
    upstreams = call(edge, "GET", "/state")[1]["upstreams"]
    [url] = next(one["endpoints"] for one in upstreams if one["name"] == "busca")
    assert typed("drain", "busca", url, *WHY)[0] == 0
    code, _, said = typed("drain", "busca", "--end", *WHY)
    assert code == 1
    assert f"there is one of endpoint:busca {url}" in said
    assert typed("drain", "busca", url, "--end", *WHY)[0] == 0
    code, _, said = typed("drain", "busca", "--end", *WHY)
    assert (code, "there is one" in said) == (1, False)


VERBS = {
    "drain": (["busca"], "drain", "upstream:busca", True),
    "breaker": (["busca", "forced_open"], "breaker", "upstream:busca", "forced_open"),
    "breaker-route": (["/busca/**", "auto"], "breaker", "route:/busca/**", "auto"),
    "cache-mode": (["/busca/**", "stale_only"], "cache", "route:/busca/**", "stale_only"),
    "cache-mode-site": (["site", "bypass"], "cache", "site", "bypass"),
    "freeze": ([], "freeze", "site", True),
    "shadows": (["stop"], "shadows", "site", "stop"),
    "maintenance": (["/busca/**"], "maintenance", "route:/busca/**", True),
    "priority": (["/busca/**", "low"], "priority", "route:/busca/**", "low"),
    "fault": (
        ["/busca/**", "abort", "--share", "10%", "--amount", "503"],
        "fault",
        "route:/busca/**",
        {"kind": "abort", "share": 0.1, "amount": 503.0},
    ),
}


@pytest.mark.parametrize("named", VERBS)
def test_every_kind_has_its_verb_and_its_end(named, edge, typed):
    words, kind, subject, value = VERBS[named]
    verb = named.removesuffix("-route").removesuffix("-site")
    code, out, _ = typed(verb, *words, "--json", *WHY)
    told = json.loads(out)
    assert (code, told["ok"], told["workers"]) == (0, True, "2/2")
    [one] = listed(edge)["overrides"]
    assert (one["kind"], one["subject"], one["value"]) == (kind, subject, value)
    assert one["reason"] == "p95 of 9 s"
    code, out, _ = typed(verb, *words, "--end", "--reason", "over")
    assert (code, out) == (0, f"{kind} of {subject}: routes.yaml counts again · 2/2 workers\n")
    assert listed(edge)["overrides"] == []
    assert typed(verb, *words, "--end", "--reason", "over")[0] == 1


def test_an_endpoint_is_drained_by_its_url(edge, typed, busca):
    assert typed("drain", "busca", busca.url, *WHY)[0] == 0
    assert [one["subject"] for one in listed(edge)["overrides"]] == [f"endpoint:busca {busca.url}"]
    code, _, err = typed("drain", "busca", "http://127.0.0.1:1", *WHY)
    assert code == 2
    assert "no endpoint" in err and busca.url in err


def test_overrides_shows_what_is_in_force(edge, typed):
    assert typed("overrides")[1] == "nothing: routes.yaml counts everywhere\n"
    typed("toggle", "/busca/**", "canary", "10%", *WHY)
    out = typed("overrides")[1]
    row = r"\w{8}  stage  route:/busca/\*\*  canary 10%  30m   admin\.token  p95 of 9 s"
    assert re.search(row, out), out
    told = json.loads(typed("overrides", "--json")[1])
    assert told["overrides"][0]["value"] == "canary 10%"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("toggle", "/buscar/**", "legacy"), "did you mean /busca/**?"),
        (("toggle", "/busca/**", "lgacy"), "legacy, shadow N%"),
        (("toggle", "/**", "live"), "needs a service"),
        (("toggle", "/busca/**", "legacy", "--for", "2d"), "at most 1d"),
        (("breaker", "busca"), "say what"),
        (("drain", "busc"), "did you mean busca?"),
        (("cache-mode", "/votar/**", "archive_only"), "nothing of this route is kept"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(words, said, edge, typed):
    code, out, err = typed(*words, *WHY)
    assert (code, out) == (2, "")
    assert said in err
    assert listed(edge)["overrides"] == []


def test_a_reason_is_compulsory(typed, capsys):
    with pytest.raises(SystemExit) as ended:
        typed("drain", "busca")
    assert ended.value.code == 2
    assert "--reason" in capsys.readouterr().err


def test_nobody_there(typed):
    code, _, err = typed("overrides", "--admin", f"127.0.0.1:{unused_port()}")
    assert code == 2
    assert "refused" in err


def test_it_is_a_command_like_the_others(edge):
    ended = run(edge, "toggle", "/busca/**", "legacy", "--json", *WHY)
    assert ended.returncode == 0, ended
    assert json.loads(ended.stdout)["override"]["value"] == "legacy"


def test_pain_52_audit_says_who_and_from_where(edge, typed):
    typed("toggle", "/busca/**", "legacy", *WHY)
    out = typed("audit", "--limit", "1", "--route", "/busca/**")[1]
    assert re.search(
        r"\d{4}-\d\d-\d\d [0-9:]{8}  admin\.token  override\.set  stage route:/busca/\*\*"
        r"  -     legacy  p95 of 9 s",
        out,
    ), out
    [entry] = json.loads(typed("audit", "--limit", "1", "--json")[1])["entries"]
    assert entry["from"]["by"] == "cli"
    assert entry["from"]["agent"].startswith("strangler-cli (")


# -------------------------------------------------------------------- tokens


def test_pain_51_a_named_token_is_shown_once_and_counts_at_once(edge, typed):
    code, out, _ = typed("token", "add", "ana", "owner", "--owner", "team search")
    assert code == 0
    ana = out.strip()
    document = {"kind": "stage", "subject": "route:/busca/**", "value": "legacy", "reason": "x"}
    status, told = call(edge, "POST", "/overrides", document, ana)
    assert (status, told["override"]["author"]) == (201, "ana")
    other = document | {"subject": "route:/votar/**"}
    status, told = call(edge, "POST", "/overrides", other, ana)
    assert (status, told["ok"]) == (403, False)
    assert "belongs to team-vote" in told["error"]
    site = {"kind": "freeze", "subject": "site", "value": True, "reason": "x"}
    assert call(edge, "POST", "/overrides", site, ana)[0] == 403
    assert call(edge, "POST", "/overrides", site)[0] == 201
    # An owner undoes only what is its own.
    [freeze] = [one["id"] for one in listed(edge)["overrides"] if one["kind"] == "freeze"]
    undo = {"id": freeze, "reason": "x"}
    assert call(edge, "POST", "/overrides/undo", undo, ana)[0] == 403
    assert call(edge, "POST", "/overrides/clear", {"all": True, "reason": "x"}, ana)[0] == 403
    assert len(listed(edge)["overrides"]) == 2
    assert call(edge, "POST", "/overrides/undo", {"reason": "x"}, ana)[0] == 200
    assert call(edge, "POST", "/reload", {}, ana)[0] == 403
    # An owner purges its own routes, and nothing that may be another's.
    status, told = call(edge, "POST", "/purge", {"route": "/busca/**"}, ana)
    assert (status, told["error"]) == (503, "not purged everywhere: shared")  # it was let do so
    assert set(told["purged"]["edge"].values()) == {True}
    for foreign in (
        {"route": ["/busca/**", "/votar/**"]},
        {"all": True},
        {"prefix": "/busca/"},
        {"tag": "x", "route": None},
    ):
        assert call(edge, "POST", "/purge", foreign, ana)[0] == 403, foreign
    assert call(edge, "POST", "/purge", {"route": "/buscar/**"}, ana)[0] == 404
    assert [one["name"] for one in json.loads(typed("token", "list", "--json")[1])["tokens"]] == [
        "ana"
    ]
    assert ana not in (edge.folder / "var" / "admin.tokens").read_text()
    assert typed("token", "remove", "ana")[0] == 0
    assert call(edge, "POST", "/overrides", document, ana)[0] == 401


def test_pain_51_an_admin_alone_takes_tokens_away_from_afar(edge, typed):
    ana = typed("token", "add", "ana", "operator")[1].strip()
    gone = {"name": "ana", "reason": "her telephone is lost"}
    assert call(edge, "GET", "/tokens", None, ana)[0] == 403
    assert call(edge, "POST", "/tokens/remove", gone, ana)[0] == 403
    status, told = call(edge, "GET", "/tokens")
    assert status == 200
    assert {"name": "ana", "role": "operator", "owners": []} in told["tokens"]
    assert call(edge, "POST", "/tokens/remove", gone | {"name": "anna"})[0] == 404
    # The site's own is not among the named ones: it ends with its file.
    assert call(edge, "POST", "/tokens/remove", gone | {"name": "admin.token"})[0] == 404
    assert call(edge, "POST", "/tokens/remove", {"name": "ana"})[0] == 400
    assert call(edge, "POST", "/tokens/remove", gone) == (200, {"ok": True, "removed": "ana"})
    assert call(edge, "GET", "/audit", None, ana)[0] == 401
    [entry] = json.loads(typed("audit", "--limit", "1", "--json")[1])["entries"]
    assert (entry["what"], entry["subject"], entry["reason"]) == (
        "token.removed", "ana", "her telephone is lost",
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("add", "ana/bia", "viewer"),
        ("add", "ana", "owner"),
        ("add", "ana", "viewer", "--owner", "x"),
        ("remove", "nobody"),
    ],
)
def test_a_token_that_makes_no_sense(words, typed):
    code, out, err = typed("token", *words)
    assert (code, out) == (2, "")
    assert err


def test_a_viewer_reads_and_no_more(edge, typed):
    secret = typed("token", "add", "bia", "viewer")[1].strip()
    try:
        assert call(edge, "GET", "/audit", None, secret)[0] == 200
        status, told = call(
            edge, "POST", "/overrides",
            {"kind": "freeze", "subject": "site", "value": True, "reason": "x"}, secret,
        )  # fmt: skip
        assert (status, told["error"]) == (403, "bia is viewer; this needs at least owner")
    finally:
        typed("token", "remove", "bia")
    assert token(edge) not in edge.log


def test_a_toggle_becomes_the_files_own_word(edge: Edge, typed: Any) -> None:
    file = edge.folder / "routes.yaml"
    before = file.read_text()
    try:
        code, _, said = typed("toggle", "/busca/**", "--to-patch")
        assert code == 1
        assert "nothing of /busca/** is overridden now: nothing to write" in said
        assert typed("toggle", "/busca/**", "canary", "10%", *WHY)[0] == 0
        code, diff, _ = typed("toggle", "--to-patch")
        assert code == 0
        assert "+++ b/routes.yaml" in diff
        [added] = re.findall(r"^\+(?!\+).*$", diff, re.M)
        assert "stage: canary 10%" in added
        assert file.read_text() == before, "printed, not written"
        code, _, said = typed("toggle", "/busca/**", "--to-patch", "--write")
        assert code == 0
        assert "wrote 1 file" in said
        assert file.read_text() != before
        until(lambda: listed(edge)["overrides"][0]["conflict"] is not None)
        told = json.loads(typed("toggle", "--to-patch", "--json")[1])
        assert told["patch"] == ""
        assert told["routes"] == {"/busca/**": {"stage": "canary 10%"}}
        assert (told["written"], told["left_out"]) == (False, [])
        assert typed("undo", *WHY)[0] == 0
        rows = json.loads(typed("routes", "--json")[1])["routes"]
        assert next(r for r in rows if r["key"] == "/busca/**")["stage"] == "canary 10%"
    finally:
        file.write_text(before)
        until(lambda: "canary" not in str(call(edge, "GET", "/routes")[1]))


def test_what_the_file_cannot_say_is_named_and_keeps_nothing_else_out(
    edge: Edge, typed: Any
) -> None:
    file = edge.folder / "routes.yaml"
    before = file.read_text()
    try:
        file.write_text(before.replace("routes:\n", "routes:\n  /short/**: busca\n"))
        until(lambda: "/short/**" in str(call(edge, "GET", "/routes")[1]))
        for words in (
            ("toggle", "/short/**", "legacy"),
            ("toggle", "/busca/**", "canary", "10%"),
            ("priority", "/busca/**", "low"),
            ("drain", "busca"),
        ):
            assert typed(*words, *WHY)[0] == 0
        file.write_text(before)
        until(lambda: "/short/**" not in str(call(edge, "GET", "/routes")[1]))
        code, diff, said = typed("toggle", "--to-patch", "--write")
        assert code == 1, "not all that the file has a word for is in it"
        assert "stage: canary 10%" in diff
        assert "priority: low" in diff
        assert "left out: stage legacy of /short/**: no such route in routes.yaml any more" in said
        assert "left out: drain on of upstream:busca: the file has no word for it" in said
        assert "wrote 1 file" in said
        code, diff, said = typed("toggle", "/short/**", "--to-patch")
        assert (code, diff) == (1, "")
        assert "nothing to write" in said
        until(lambda: "canary" in str(call(edge, "GET", "/routes")[1]))
    finally:
        file.write_text(before)
        until(lambda: "canary" not in str(call(edge, "GET", "/routes")[1]))
        assert call(edge, "POST", "/overrides/clear", {"all": True, "reason": "over"})[0] == 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("toggle", "--reason", "x"), "say which route and what"),
        (("toggle", "/busca/**", "--reason", "x"), "say which route and what"),
        (("toggle", "/busca/**", "legacy"), "say why"),
        (("toggle", "/busca/**", "legacy", "--to-patch"), "a TARGET is not for --to-patch"),
    ],
)
def test_half_a_toggle(typed: Any, words: tuple[str, ...], said: str) -> None:
    code, _, error = typed(*words)
    assert code == 2
    assert said in error


@pytest.mark.parametrize("store", ["sqlite:x.db", "redis:", "memory"])
def test_a_store_that_is_none_starts_nothing(store, edge):
    port = f"127.0.0.1:{unused_port()}"
    ended = run(
        edge, "serve", "--listen", port, "--admin", "none", STRANGLER_OVERRIDES=store,
        STRANGLER_STATE=str(edge.folder / "another"),
    )  # fmt: skip
    assert ended.returncode == 2
    assert "expected file, file:PATH or a redis URL" in ended.stderr


def test_explain_says_what_the_file_says_and_what_is_in_force(edge, typed):
    ask = ("explain", "GET", "/busca/x")
    code, out, err = typed(*ask)
    assert (code, err) == (0, "")
    number = call(edge, "GET", "/config")[1]["generation"]
    where = f"in force at 127.0.0.1:{edge.admin_port}, generation {number}"
    assert out.endswith(f"{where}: the same\n")
    typed("toggle", "/busca/**", "legacy", *WHY)
    code, out, err = typed(*ask)
    file, _, in_force = out.partition(f"{where}, it is otherwise:\n")
    assert (code, err) == (0, "")
    assert "stage      live: service answers" in file and "override" not in file
    assert "stage of route:/busca/** is legacy" in in_force and "p95 of 9 s" in in_force
    assert "stage      legacy: legacy answers" in in_force
    told = json.loads(typed(*ask, "--json")[1])
    assert told["decision"]["target"] == "service"
    assert told["in_force"]["decision"]["target"] == "legacy"
    # Fields and the reader's address go along: the site decides by them, too.
    typed("toggle", "/busca/**", "canary", "50%", *WHY)
    cookies = [f"Cookie: strangler_reader={number:032x}" for number in range(40)]
    decided = {
        json.loads(typed(*ask, "--json", "-H", one)[1])["in_force"]["decision"]["target"]
        for one in cookies
    }
    assert decided == {"legacy", "service"}


def test_explain_where_the_named_site_is_silent_goes_by_the_file(edge, typed, monkeypatch):
    typed("toggle", "/busca/**", "legacy", *WHY)
    dead = f"127.0.0.1:{unused_port()}"
    for named in (("--admin", dead), ()):
        monkeypatch.setenv("STRANGLER_ADMIN", dead)
        code, out, err = typed("explain", "GET", "/busca/x", *named)
        assert code == 0 and "live: service answers" in out and "in force" not in out
        said = err.splitlines()
        assert said[0].startswith(f"strangler: what is in force isn't known: {dead}: ")
        assert "over the file, for another" in said[-1]


def test_explain_of_what_the_site_doesnt_know_yet(edge, typed):
    """The file was edited and rejected: the file here is what one is about to save."""
    draft = edge.folder / "draft.yaml"
    draft.write_text(edge.config.read_text() + "  /new/**: {gone: 410}\n")
    code, out, _ = typed("explain", "GET", "/new/x", "--config", "draft.yaml")
    assert code == 0
    file, _, in_force = out.partition("it is otherwise:\n")
    assert "* /new/**" in file and "answers    410" in file
    assert "* /**" in in_force and "/new/**" not in in_force
