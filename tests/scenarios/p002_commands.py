# SPDX-License-Identifier: Apache-2.0
"""`strangler purge` and `strangler cache`: what an operator or a publishing hook types."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from scenarios.story import cached, detail, opened, together, token

from strangler.testing import Edge, Upstream, respond, unused_port
from strangler.testing.edge import _program

HOST = "http://www.example.com"
ROUTES = {
    "/origin/**": {"to": "app", "cache": "origin"},
    "/below/**": {"to": "app", "cache": {"shared": "60s"}},
    "/noticia/{slug}.ghtml": {
        "to": "app",
        "cache": {"edge": "60s", "shared": "5m", "tags": ["noticia:{slug}"]},
    },
    "/sitemap.xml": {"to": "app"},
}
MINUTE = [("Cache-Control", "max-age=60")]


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    with Upstream() as made:
        made.answers(respond(200, "page", MINUTE))
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream) -> Iterator[Edge]:
    with Edge(cached(origin, routes=ROUTES), access_log="off") as made:
        opened(made, "/below/")
        yield made


def run(edge: Edge, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `strangler` in the edge's folder, as its owner would."""
    given = {**os.environ, "STRANGLER_STATE": str(edge.folder / "var"), **environment}
    return subprocess.run(
        [_program(), *words],
        cwd=edge.folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=30,
    )


def purge(edge: Edge, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(edge, "purge", *words, "--admin", f"127.0.0.1:{edge.admin_port}", **environment)


def rendered(origin: Upstream, path: str) -> int:
    return sum(each.path == path.encode() for each in origin.requests)


PURGES = {
    "url": ("/origin/cli-url", ["--url", HOST + "/origin/cli-url"]),
    "prefix": ("/origin/cli/prefix", ["--prefix", HOST + "/origin/cli/"]),
    "route": ("/noticia/cli-route.ghtml", ["--route", "/noticia/{slug}.ghtml"]),
    "tag": ("/noticia/cli-tag.ghtml", ["--tag", "noticia:cli-tag"]),
}


@pytest.mark.parametrize("how", PURGES)
def test_purge(how, edge, origin):
    path, words = PURGES[how]
    for _ in range(2):
        edge.get(path).expect(200)
    assert rendered(origin, path) == 1
    ended = purge(edge, *words)
    assert ended.returncode == 0, ended
    edge.get(path).expect(200)
    assert rendered(origin, path) == 2


def test_purge_soft(edge, origin):
    path = "/origin/cli-soft"
    origin.on(path, respond(200, "x", [*MINUTE, ("ETag", '"1"')]))
    edge.get(path).expect(200)
    assert purge(edge, "--url", HOST + path, "--soft").returncode == 0
    edge.get(path).expect(200)
    assert origin.requests[-1].get("if-none-match") == b'"1"'


def test_purge_refresh(edge, origin):
    path = "/origin/cli-refresh"
    edge.get(path).expect(200)
    assert purge(edge, "--url", HOST + path, "--refresh").returncode == 0
    before = rendered(origin, path)
    assert before == 2
    edge.get(path).expect(200)
    assert rendered(origin, path) == before


WRONG = {
    "nothing": [],
    "two": ["--url", HOST + "/a", "--tag", "b"],
    "unknown": ["--everything"],
    "unknown-route": ["--route", "/no/such/**"],
}


@pytest.mark.parametrize("what", WRONG)
def test_purge_refuses(what, edge):
    ended = purge(edge, *WRONG[what])
    assert ended.returncode != 0
    assert ended.stderr.strip() or ended.stdout.strip()
    assert "Traceback" not in ended.stderr


def test_purge_with_a_wrong_token(edge, origin):
    path = "/origin/cli-wrong"
    edge.get(path).expect(200)
    ended = purge(edge, "--url", HOST + path, STRANGLER_TOKEN="wrong")
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    edge.get(path).expect(200)
    assert rendered(origin, path) == 1


def test_purge_when_nobody_listens(edge):
    ended = run(edge, "purge", "--url", HOST + "/a", "--admin", f"127.0.0.1:{unused_port()}")
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert ended.stderr.strip()


def test_the_token_is_never_printed(edge):
    for words in (["--url", HOST + "/a"], ["--everything"]):
        ended = purge(edge, *words)
        assert token(edge) not in ended.stdout + ended.stderr


def show(edge: Edge, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    admin = f"127.0.0.1:{edge.admin_port}"
    return run(edge, "cache", "show", url, "--admin", admin, *words)


def test_show_a_stored_page(edge):
    path = "/noticia/mostrada.ghtml"
    edge.get(path).expect(200)
    ended = show(edge, HOST + path)
    assert ended.returncode == 0, ended
    told = ended.stdout
    for word in (path, "edge", "noticia:mostrada"):
        assert word in told, f"no {word} in:\n{told}"


def test_show_all_variants(edge, origin):
    path = "/origin/shown-variants"
    origin.on(path, respond(200, "x", [*MINUTE, ("Vary", "X-Foo")]))
    for value in ("one", "two"):
        edge.get(path, X_Foo=value).expect(200)
    told = show(edge, HOST + path).stdout
    assert "one" in told and "two" in told, told


def test_show_why_nothing_is_stored(edge, origin):
    path = "/origin/shown-private"
    origin.on(path, respond(200, "x", [*MINUTE, ("Set-Cookie", "a=b")]))
    edge.get(path).expect(200)
    ended = show(edge, HOST + path)
    assert "set-cookie" in ended.stdout.lower(), ended


def test_show_asks_the_origin_nothing(edge, origin):
    before = len(origin.requests)
    show(edge, HOST + "/origin/shown-never")
    assert len(origin.requests) == before


def warm_up(edge: Edge, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run(edge, "cache", "warm", source, *words)


def test_warm_from_a_list(edge, origin):
    paths = [f"/origin/warm-{number}" for number in range(20)]
    listed = edge.folder / "urls.txt"
    listed.write_text("\n".join(edge.url + path for path in paths) + "\n\n# a comment\n")
    ended = warm_up(edge, str(listed))
    assert ended.returncode == 0, ended
    before = len(origin.requests)
    with edge.client() as client:
        for path in paths:
            host = [("Host", f"127.0.0.1:{edge.port}")]
            answer = client.request("GET", path, host).expect(200)
            assert detail(answer) == "edge"
    assert len(origin.requests) == before


def test_warm_from_a_sitemap(edge, origin):
    paths = [f"/origin/mapped-{number}" for number in range(10)]
    entries = "".join(f"<url><loc>{edge.url}{path}</loc></url>" for path in paths)
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'
    )
    origin.on("/sitemap.xml", respond(200, xml, [("Content-Type", "application/xml")]))
    ended = warm_up(edge, f"{edge.url}/sitemap.xml")
    assert ended.returncode == 0, ended
    assert all(rendered(origin, path) == 1 for path in paths)


def test_warm_goes_on_past_what_fails(edge, origin):
    origin.on("/origin/warm-bad", respond(500, "oops"))
    listed = edge.folder / "some.txt"
    listed.write_text(f"{edge.url}/origin/warm-bad\n{edge.url}/origin/warm-good\n")
    ended = warm_up(edge, str(listed))
    assert rendered(origin, "/origin/warm-good") == 1
    assert ended.returncode != 0 or "1" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_warm_without_such_a_file(edge):
    ended = warm_up(edge, "no-such-file.txt")
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr


def test_warming_twice_renders_once(edge, origin):
    listed = edge.folder / "twice.txt"
    listed.write_text("".join(f"{edge.url}/origin/twice-{n}\n" for n in range(5)))
    for _ in range(2):
        assert warm_up(edge, str(listed)).returncode == 0
    assert [rendered(origin, f"/origin/twice-{n}") for n in range(5)] == [1] * 5


def test_commands_at_once(edge, origin):
    path = "/origin/at-once"
    edge.get(path).expect(200)
    ended = together(4, lambda _: purge(edge, "--url", HOST + path))
    assert {each.returncode for each in ended} == {0}
