# SPDX-License-Identifier: Apache-2.0
"""What the comparison tells, from the two answers to the command line."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from scenarios.story import said_by_all

from strangler.testing import Edge, Upstream, close, configuration, respond, until

PROGRAM = Path(sys.executable).with_name("strangler")
HTML = ("Content-Type", "text/html; charset=utf-8")
JSON = ("Content-Type", "application/json")
ROUTES = {
    "/**": "legacy",
    **{
        f"/{name}/**": {"to": "materia", "stage": "shadow 100%"}
        for name in ("equal", "differ", "words", "secret", "fail", "fresh", "shown", "session")
    },
    "/ignore/**": {
        "to": "materia",
        "stage": "shadow 100%",
        "compare": {"ignore": ["json:.views", "header:vary"]},
    },
    "/large/**": {"to": "materia", "stage": "shadow 100%", "compare": {"body": "1KB"}},
    "/cached/**": {"to": "materia", "stage": "shadow 100%", "cache": {"edge": "1h"}},
}


@pytest.fixture(scope="module")
def site():
    with ExitStack() as stack:
        legacy, service = (stack.enter_context(Upstream()) for _ in range(2))
        text = configuration(ROUTES, upstreams={"legacy": legacy, "materia": service})
        yield stack.enter_context(Edge(text, workers=2)), legacy, service


def pair(site, target, one, other, **fields):
    """Let both sides answer *target*; return when they have been compared."""
    edge, legacy, service = site
    legacy.answers(one)
    service.answers(other)
    route = f"/{target.split('/')[1]}/**"
    before = told(edge, route)["shadowed"]
    edge.get(target, **fields)
    until(lambda: (c := told(edge, route))["shadowed"] > before and not c["pending"])
    return told(edge, route)


def told(edge, route):
    return said_by_all(edge, f"/-/parity?route={route}")


def run(edge, *arguments):
    """Run `strangler parity`; return (exit code, what it printed)."""
    command = [str(PROGRAM), "parity", *arguments, "--config", str(edge.config)]
    environment = {**os.environ, "STRANGLER_STATE": str(edge.folder / "var")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    return done.returncode, done.stdout + done.stderr


def page(token, text="a"):
    hidden = f'<input type="hidden" name="csrfmiddlewaretoken" value="{token}">'
    return f"<html><body><form>{hidden}</form><main><h1>{text}</h1></main></body></html>"


def test_equal_after_normalising(site):
    one = respond(body=page("a"), fields=[HTML, ("Server", "gunicorn")])
    packed = gzip.compress(page("b").encode())
    other = respond(body=packed, fields=[HTML, ("Content-Encoding", "gzip")])
    counts = pair(site, "/equal/page", one, other)
    assert (counts["parity"], counts["equal"], counts["compared"]) == (1, 1, 1)
    code, printed = run(site[0], "/equal/**")
    assert code == 0, printed
    assert "parity 100% of 1 compared" in printed


def test_pain_25_status_then_fields_then_body_and_the_counts_add_up(site):
    edge = site[0]
    pairs = [
        (respond(200), respond(404), "status:200/404"),
        (respond(302, "", [("Location", "/a")]), respond(302, "", [("Location", "/b")]),
         "header:location"),
        (respond(body=page("x", "a"), fields=[HTML]), respond(body=page("y", "b"), fields=[HTML]),
         "html:main/h1"),
        (respond(body='{"a":[{"b":1}]}', fields=[JSON]),
         respond(body='{"a":[{"b":2}]}', fields=[JSON]), "json:.a[].b"),
        (respond(body='{"a":[{"b":1}]}', fields=[JSON]),
         respond(body='{"a":[{"b":3}]}', fields=[JSON]), "json:.a[].b"),
        (respond(body="a"), respond(body="b"), "body"),
        (respond(body="a"), respond(body="a"), None),
    ]  # fmt: skip
    for number, (one, other, _) in enumerate(pairs):
        counts = pair(site, f"/differ/{number}", one, other)
    words = {word for _, _, word in pairs if word}
    assert counts["mismatches"] == {word: 2 if word.startswith("json") else 1 for word in words}
    assert counts["mismatched"] == 6 and counts["equal"] == 1 and counts["parity"] == 1 / 7
    assert [sample["word"] for sample in counts["samples"]][-1] == "status:200/404"
    assert len(counts["samples"]) == counts["mismatched"]
    for word in words:
        edge.wait_log(f"shadow.mismatch route=/differ/.*word={word.split('[')[0]}")
    grouped = [line for line in edge.lines if "shadow.mismatch" in line and "/differ/" in line]
    assert len(grouped) <= 2 * len(words), "one line a sort and worker, not one a request"
    code, printed = run(edge, "/differ/**")
    assert code == 1
    assert "7 shadowed = 1 equal + 6 mismatched + 0 failed + 0 dropped + 0 under way" in printed
    assert "json:.a[].b" in printed
    code, printed = run(edge, "--json")
    document = json.loads(printed)
    assert code == 1 and document["ok"]
    assert document["routes"]["/differ/**"]["mismatched"] == 6


def test_pain_20_the_copys_answer_is_there_to_be_read(site):
    one = respond(body='{"votes": 7}', fields=[JSON])
    other = respond(body='{"votes": 8}', fields=[JSON])
    [sample] = pair(site, "/shown/42", one, other)["samples"]
    shown = {name: sample[name] for name in ("word", "target", "answered", "copied")}
    assert shown == {
        "word": "json:.votes",
        "target": "/shown/42",
        "answered": "legacy",
        "copied": "materia",
    }
    assert (sample["expected"], sample["got"]) == ("7", "8")
    code, printed = run(site[0], "/shown/**")
    assert code == 1
    assert "7" in printed and "8" in printed


def test_pain_26_the_pair_is_asked_at_one_time_with_one_readers_credentials(site):
    known = {"Cookie": "sessionid=s1; csrftoken=t1", "Authorization": "Bearer b1"}
    answer = respond(body="ana")
    counts = pair(site, "/session/a", answer, answer, **known)
    assert counts["equal"] == 1
    [asked], [copied] = ([r for r in side.requests if r.path == b"/session/a"] for side in site[1:])
    for name, value in known.items():
        assert asked.get(name) == copied.get(name) == value.encode()


def test_what_is_ignored_does_not_count(site):
    one = respond(body='{"views": 1, "id": 1}', fields=[JSON, ("Vary", "Cookie")])
    other = respond(body='{"id": 1, "views": 2}', fields=[JSON])
    assert pair(site, "/ignore/a", one, other)["equal"] == 1
    other = respond(body='{"id": 2, "views": 2}', fields=[JSON])
    assert pair(site, "/ignore/a", one, other)["mismatches"] == {"json:.id": 1}


def test_large_bodies_are_compared_by_their_bytes(site):
    large = "x" * 5000
    assert pair(site, "/large/a", respond(body=large), respond(body=large, chunks=True))["equal"]
    counts = pair(site, "/large/a", respond(body=large), respond(body=large + "y"))
    assert counts["mismatches"] == {"body:large": 1}


def test_a_cached_page_is_compared_as_legacy_sent_it(site):
    """Not as the cache gives it: with Age, or a part of it."""
    one = respond(body="0123456789", fields=[("Cache-Control", "max-age=60")])
    counts = pair(site, "/cached/a", one, one, Range="bytes=2-3")
    assert counts["equal"] == 1


def test_secrets_are_never_shown(site):
    counts = pair(
        site,
        "/secret/a?token=hunter2&page=1",
        respond(200, "", [("Set-Cookie", "sessionid=hunter2")]),
        respond(200, "", [("Set-Cookie", "other=hunter2")]),
        Cookie="sessionid=hunter2; theme=dark",
        Authorization="Bearer hunter2",
        X_CSRFToken="hunter2",
        Referer="http://www.example.com/?key=hunter2",
    )
    [sample] = counts["samples"]
    assert "hunter2" not in json.dumps(counts)
    assert "hunter2" not in "".join(line for line in site[0].lines if "shadow." in line)
    assert sample["expected"] == "sessionid" and sample["got"] == "other"
    assert ["Cookie", "sessionid=***; theme=***"] in sample["fields"]
    assert ["Authorization", "Bearer ***"] in sample["fields"]
    assert sample["target"] == "/secret/a?token=***&page=1"


def test_a_copy_that_failed_is_told_apart(site):
    counts = pair(site, "/fail/a", respond(200), close())
    assert counts["failures"] == {"connection_terminated": 1}
    assert counts["parity"] is None and counts["compared"] == 0
    assert run(site[0], "/fail/**")[0] == 1


def test_counting_begins_anew(site):
    pair(site, "/fresh/a", respond(200), respond(404))
    code, printed = run(site[0], "/fresh/**", "--reset")
    assert code == 0, printed
    assert told(site[0], "/fresh/**")["shadowed"] == 0
    assert pair(site, "/fresh/a", respond(200), respond(200))["parity"] == 1


def test_a_route_that_is_not_there(site):
    status, document = site[0].admin_json("/-/parity?route=/equl/**")
    assert status == 404 and not document["ok"]
    assert "/equal/**" in document["error"]
    code, printed = run(site[0], "/equl/**")
    assert code == 2 and "did you mean /equal/**" in printed
