# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from strangler.cli import main, parser
from strangler.config import load
from strangler.control.overrides import FILE
from strangler.control.stores.store import Kept
from strangler.rollout.override import Kind, Override, Overrides

SITE = """\
version: 1
site: {hosts: [www.example.com]}
upstreams:
  legacy: "http://127.0.0.1:8100"
  votar: {url: "http://127.0.0.1:8102/v2", owner: team-votar, oauth2: {token_url: "http://t/", \
client_id: edge, client_secret: "${env:SECRET}"}}
routes:
  /**: legacy
  /votar/{id}:
    to: votar
    stage: canary 50%
    canary: {by: "header:X-User"}
    host: upstream
    rewrite: /poll/{id}
    headers: {request: {set: {Authorization: "Basic ${env:SECRET}", X-Edge: "1"}, remove: [X-Bad]}}
    tests: [{POST: /votar/1, goes_to: votar}]
  POST /old/**: {redirect: "/new/{**}"}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "routes.yaml").write_text(SITE)
    return tmp_path


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told = capsys.readouterr()
    assert told.err == ""
    answer: dict[str, Any] = json.loads(told.out)
    assert answer["ok"] == (not answer["errors"])
    return answer


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "routes.yaml: ok, 3 routes, 2 upstreams, 1 test\n"
    assert main(["check", "--json"]) == 0
    assert as_json(capsys) == {
        "ok": True,
        "errors": [],
        "warnings": [],
        "files": ["routes.yaml"],
        "hash": load("routes.yaml").hash,
        "routes": 3,
        "upstreams": 2,
        "tests": 1,
    }


def test_check_tells_of_an_upstream_that_waits_and_passes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = SITE.replace("  votar: {url", '  busca: "http://127.0.0.1:8103"\n  votar: {url')
    (folder / "routes.yaml").write_text(waiting)
    assert main(["check"]) == 0
    told = capsys.readouterr()
    assert told.err == "routes.yaml:5:3: note S207 upstreams.busca: no route uses it\n"
    assert told.out == "routes.yaml: ok, 3 routes, 3 upstreams, 1 test, 1 note\n"
    assert main(["check", "--json"]) == 0
    [note] = as_json(capsys)["warnings"]
    assert (note["code"], note["severity"]) == ("S207", "note")


def test_check_names_files_as_seen_from_here(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "routes.yaml").write_text(SITE.replace("canary 50%", "canary 120%"))
    assert main(["check", "--config", "site/routes.yaml"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "site/routes.yaml:10:12: S104 routes./votar/{id}.stage: expected 0-100 %, got 120 %\n"
        "site/routes.yaml: 1 error\n"
    )


def test_check_json_has_every_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "routes.yaml").write_text("version: 1\nroutes: {/a: x, b: y}\n")
    assert main(["check", "--json"]) == 1
    answer = as_json(capsys)
    assert [error["code"] for error in answer["errors"]] == ["S201", "S301", "S201"]
    assert answer["errors"][0] == {
        "code": "S201",
        "severity": "error",
        "file": "routes.yaml",
        "line": 2,
        "column": 14,
        "path": "routes./a",
        "message": "unknown upstream 'x'",
        "hint": None,
    }


def test_check_fails_for_a_late_route_and_a_failing_test(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = SITE.replace("goes_to: votar", "goes_to: legacy").replace(
        "stage:", "until: 2020-01-01\n    stage:"
    )
    (folder / "routes.yaml").write_text(late)
    assert main(["check"]) == 1
    told = capsys.readouterr().err
    assert "routes.yaml:10:12: S306 " in told
    assert "S307 routes./votar/{id}.tests[0]: POST /votar/1: expected legacy, got votar" in told
    assert "2 errors" in told
    load("routes.yaml")


def test_check_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", "none.yaml"]) == 2
    assert "none.yaml:1:1: S001: cannot read none.yaml" in capsys.readouterr().err


def test_routes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["key", "target", "stage", "owner", "until", "place"],
        ["/**", "legacy", "legacy", "-", "-", "routes.yaml:7:3"],
        ["/votar/{id}", "votar", "canary", "50%", "team-votar", "-", "routes.yaml:8:3"],
        ["POST", "/old/**", "redirect", "-", "-", "-", "routes.yaml:16:3"],
    ]
    assert main(["routes", "--json"]) == 0
    assert as_json(capsys)["routes"][1]["stage"] == "canary 50%"


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """Pain 24: which rule took my request?"""
    command = ["explain", "GET", "/votar/7?x=%20", "-H", "X-Bad: 1", "-H", "Connection: close"]
    assert main([*command, "-H", "X-User: 4", "--json"]) == 0
    answer = as_json(capsys)
    assert answer["explanation"]["winner"]["key"] == "/votar/{id}"
    assert answer["explanation"]["params"] == {"id": "7"}
    assert [c["key"] for c in answer["explanation"]["candidates"]] == ["/votar/{id}", "/**"]
    assert answer["decision"]["target"] == "service"
    assert answer["sends"]["endpoints"] == ["http://127.0.0.1:8102/v2"]
    head = answer["sends"]["head"]
    assert head[:2] == ["GET /v2/poll/7?x=%20 HTTP/1.1", "Host: 127.0.0.1:8102"]
    assert "X-User: 4" in head
    assert "X-Edge: 1" in head
    assert "Authorization: ..." in head
    assert "Authorization: Bearer ..." in head
    assert not any("hunter2" in line or "Bad" in line or "close" in line for line in head)


def test_who_asks_the_file_hears_what_operators_have_put_over_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    placed: list[tuple[Kind, str, Any, float]] = [
        ("stage", "route:/votar/{id}", "legacy", now + 1700),
        ("drain", "upstream:votar", True, now + 1700),
        ("priority", "route:/votar/{id}", "low", now - 1),
        ("stage", "route:/**", "live", now + 1700),
    ]
    every = [
        Override(
            id=str(n),
            kind=kind,
            subject=subject,
            value=value,
            author="ana",
            reason="p95 of 9 s",
            created=now - n,
            expires=ends,
        )
        for n, (kind, subject, value, ends) in enumerate(placed)
    ]
    monkeypatch.delenv("STRANGLER_STATE", raising=False)
    (folder / "var").mkdir()
    kept = replace(Kept.first(), overrides=Overrides.of_all(4, every))
    (folder / "var" / FILE).write_text(json.dumps(kept.json()))
    assert main(["explain", "GET", "/votar/7"]) == 0
    told = capsys.readouterr()
    assert "canary 50%" in told.out
    assert told.err.splitlines() == [
        "strangler: over the file, for another 28m: stage of route:/votar/{id} is legacy "
        "(ana: p95 of 9 s)",
        "strangler: over the file, for another 28m: drain of upstream:votar is on "
        "(ana: p95 of 9 s)",
    ]
    assert main(["routes"]) == 0
    assert capsys.readouterr().err.count("stage of route:") == 2
    (folder / "var" / FILE).write_text("junk")
    assert main(["routes"]) == 0
    capsys.readouterr()
    assert main(["routes", "--json"]) == 0
    as_json(capsys)


def test_explain_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "POST", "https://www.example.com/old/a/b?c=1"]) == 0
    told = capsys.readouterr().out
    assert "  * POST /old/**  (routes.yaml:16:3)" in told
    assert "answers    302 /new/a/b?c=1" in told
    assert main(["explain", "GET", "/votar/7"]) == 0
    told = capsys.readouterr().out
    assert "canary 50%: legacy answers" in told
    assert "who has none yet gets a cookie, and so a bucket" in told
    assert "GET /votar/7 HTTP/1.1" in told
    assert "Via: 1.1 strangler-...\n" in told  # what follows is the running instance's
    # Only one of those that fit takes it; what stands after # is never sent.
    assert told.count("takes the request") == 1
    assert "fits, too" in told
    assert main(["explain", "GET", "/votar/7#result"]) == 0
    assert "GET /votar/7 HTTP/1.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["GET", "x"], 2, "write /x"),
        (["GET", "ftp://a/"], 2, "http or https"),
        (["G T", "/"], 2, "expected a method such as GET, got G T"),
        (["GET", "http://"], 2, "expected a URL with a host"),
        (["GET", "/é b"], 2, "got /é b; write /%C3%A9%20b"),
        (["GET", "https://www.example.com/a\nb"], 2, "write /a%0Ab"),
        (["GET", "http://ana:pw@www.example.com/"], 2, "the edge refuses this request"),
        (["GET", "/", "-H", "novalue"], 2, "-H: expected 'NAME: VALUE'"),
        (["GET", "/", "--from", "me"], 2, "--from: expected an IP address"),
        (["TRACE", "/"], 1, "TRACE is not served: the edge answers 405"),
        (["CONNECT", "/"], 1, "CONNECT is not served: the edge answers 405"),
        (["GET", "http://other.example/"], 1, "none of site.hosts: the edge answers 421"),
    ],
)
def test_explain_refuses(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *arguments]) == code
    assert told in capsys.readouterr().err
    assert main(["explain", *arguments, "--json"]) == code
    assert told in as_json(capsys)["errors"][0]["message"]


def test_explain_where_nothing_fits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "routes.yaml").write_text(SITE.replace("  /**: legacy\n", ""))
    assert main(["explain", "GET", "/x", "--json"]) == 1
    assert as_json(capsys)["errors"] == [{"message": "no route's path fits"}]


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert main(["schema", "--included"]) == 0
    assert "included" in capsys.readouterr().out
    assert main(["schema", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# routes.yaml\n")


def test_init(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["init", "--legacy", "http://127.0.0.1:9000", "--config", "new.yaml"]
    assert main(command) == 0
    assert "wrote new.yaml" in capsys.readouterr().out
    text = (folder / "new.yaml").read_text()
    assert len(text.splitlines()) == 6
    snapshot = load("new.yaml")
    assert snapshot.upstreams["legacy"].endpoints[0].port == 9000
    assert [route.key for route in snapshot.routes] == ["/**"]
    assert main(command) == 1
    assert "exists and was left as it is" in capsys.readouterr().err
    assert (folder / "new.yaml").read_text() == text
    assert main(["init", "--legacy", "127.0.0.1:9000", "--config", "x.yaml"]) == 2
    assert "hint: write http://127.0.0.1:9000" in capsys.readouterr().err
    assert main(["init", "--legacy", "http://a", "--config", "my/site/routes.yaml"]) == 0
    assert load("my/site/routes.yaml").upstreams["legacy"].endpoints[0].port == 80
    assert main(["init", "--legacy", "http://a", "--config", "new.yaml/x.yaml"]) == 1
    assert "cannot write new.yaml/x.yaml: not a directory" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "explain", "routes", "schema", "init", "serve"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert len(capsys.readouterr().out) > 100


def test_no_command_and_an_unknown_one(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["chekc"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
    assert "check" in parser().format_help()


def test_a_reader_that_has_seen_enough() -> None:
    command = f"{sys.executable} -m strangler.cli schema | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_check_does_not_load_the_engine() -> None:
    code = """
import sys
from strangler.cli import main
main(["check"])
print("tornado" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
