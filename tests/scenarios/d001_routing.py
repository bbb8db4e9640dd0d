# SPDX-License-Identifier: Apache-2.0
"""Which target answers, over the wire: the grammar of routes.yaml as a reader meets it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from strangler.testing import Edge, Scenario, Upstream, build, configuration, respond, unused_port
from strangler.testing.edge import _program

ROUTES = {
    "/**": "legacy",
    "/feed.xml": "materia",
    "/busca/**": "busca",
    "/noticia/{slug}.ghtml": "materia",
    "/noticia/{slug}/editar/": "legacy",
    "/noticia/ultimas.ghtml": "busca",
    "POST /votar/**": "materia",
    "GET /votar/{id}/": "busca",
    "www.example.com/host": "materia",
    "*.example.org/host": "busca",
    "/header": {"to": "materia", "match": {"header": {"X-App": "ios|android"}}},
    "/cookie": {"to": "materia", "match": {"cookie": {"beta": "1"}}},
    "/query": {"to": "materia", "match": {"query": {"v": "[0-9]+"}}},
    "/old-promo/**": {"redirect": "/promo/", "status": 301},
    "/old/{id}": {"redirect": "/new/{id}"},
    "/flash/**": {"gone": 410},
    "/v1/{id}/full": {"to": "materia", "rewrite": "/v2/{id}"},
    "/edited": {
        "to": "materia",
        "headers": {
            "request": {"set": {"X-Edge": "1"}, "remove": ["X-Secret"]},
            "response": {"set": {"X-Frame-Options": "DENY"}, "remove": ["Server"]},
        },
    },
}


@pytest.fixture(scope="module")
def services():
    with Upstream(respond(body="legacy")) as legacy, Upstream(respond(body="materia")) as materia:
        with Upstream(respond(body="busca")) as busca:
            yield {"legacy": legacy, "materia": materia, "busca": busca}


@pytest.fixture(scope="module")
def edge(services):
    with Edge(configuration(ROUTES, upstreams=services, limits={"drain": "1s"})) as made:
        yield made


@pytest.mark.parametrize(
    "request_line, target",
    [
        ("GET /", "legacy"),
        ("GET /feed.xml", "materia"),
        ("GET /feed.xml?x", "materia"),
        ("GET /feed.xml/", "legacy"),
        ("GET /Feed.xml", "legacy"),
        ("GET //feed.xml", "legacy"),
        ("GET /feed%2Exml", "materia"),
        ("GET /f%65ed.xml", "materia"),
        ("GET /busca", "legacy"),
        ("GET /busca/", "busca"),
        ("GET /busca/a/b", "busca"),
        ("GET /busca//", "busca"),
        ("GET /busca/a%2Fb", "busca"),
        ("GET /buscar", "legacy"),
        ("GET /noticia/a.ghtml", "materia"),
        ("GET /noticia/a.html", "legacy"),
        ("GET /noticia/.ghtml", "legacy"),
        ("GET /noticia/a%20b.ghtml", "materia"),
        ("GET /noticia/ultimas.ghtml", "busca"),
        ("GET /noticia/a/editar/", "legacy"),
        ("POST /votar/7/", "materia"),
        ("GET /votar/7/", "busca"),
        ("HEAD /votar/7/", "busca"),
        ("OPTIONS /votar/7/", "busca"),
        ("DELETE /votar/7/", "legacy"),
        ("GET /header", "legacy"),
        ("GET /cookie", "legacy"),
        ("GET /query", "legacy"),
        ("GET /query?v=1", "materia"),
        ("GET /query?v=x", "legacy"),
        ("GET /query?a=1&v=22", "materia"),
        ("GET /host", "materia"),
        ("GET http://a.example.org/host", "busca"),
        ("GET http://A.Example.ORG:99/host", "busca"),
        ("GET http://example.org/host", "legacy"),
    ],
)
def test_who_answers(request_line, target, edge, services):
    method, path = request_line.split(" ")
    with edge.client() as client:
        response = client.request(method, path).expect(200)
    if method != "HEAD":
        assert response.text == target
    assert services[target].requests[-1].method == method.encode()


@pytest.mark.parametrize(
    "fields, path, target",
    [
        ([("X-App", "ios")], "/header", "materia"),
        ([("x-app", "android")], "/header", "materia"),
        ([("X-App", "ios2")], "/header", "legacy"),
        ([("Cookie", "a=b; beta=1")], "/cookie", "materia"),
        ([("Cookie", "beta=2")], "/cookie", "legacy"),
        ([("Cookie", "xbeta=1")], "/cookie", "legacy"),
        ([("Cookie", "a=beta=1")], "/cookie", "legacy"),
    ],
)
def test_conditions(fields, path, target, edge):
    with edge.client() as client:
        client.request("GET", path, fields).expect(200, body=target)


def test_redirects_gone_and_rewrites(edge, services):
    edge.get("/old-promo/x").expect(301, location="/promo/")
    edge.get("/old/a%2Fb").expect(302, location="/new/a%2Fb")
    edge.get("/flash/x").expect(410)
    edge.get("/v1/a%2Fb/full?q=1").expect(200, body="materia")
    assert services["materia"].requests[-1].target == b"/v2/a%2Fb?q=1"


def test_fields_are_edited_as_the_route_says(edge, services):
    services["materia"].on("/edited", respond(200, "x", [("Server", "secret/1.0")]))
    with edge.client() as client:
        response = client.request("GET", "/edited", [("X-Secret", "1"), ("X-Edge", "0")])
    response.expect(200, x_frame_options="DENY")
    assert b"secret" not in response.head
    request = services["materia"].requests[-1]
    assert request.all("X-Edge") == [b"1"] and "X-Secret" not in request


@pytest.mark.parametrize(
    "path", ["/busca%2Fa", "/x/../feed.xml", "/x/%2e%2e/feed.xml", "/./feed.xml", "/busca%5Ca"]
)
def test_pain_06_what_two_readers_would_route_apart_is_refused(path, edge, services):
    before = {name: len(each.requests) for name, each in services.items()}
    edge.get(path).expect(400)
    assert before == {name: len(each.requests) for name, each in services.items()}


def test_pain_07_the_documented_rule_for_slashes_and_dots_is_frozen(edge, services):
    for path in ("//a", "/a//b", "/a/./b", "/a/../b", "/busca//..a", "/busca/./"):
        response = edge.get(path)
        assert response.status == 200, path
        raw = [each.target for service in services.values() for each in service.requests]
        assert path.encode() in raw


def test_hosts_that_are_not_the_sites_are_misdirected(scene: Scenario):
    scene.upstream("legacy")
    scene.proxy(site={"hosts": ["www.example.com"]})
    scene.client.get("/").expect(200)
    scene.client.request("GET", "/", [("Host", "WWW.EXAMPLE.COM:81")]).expect(200)
    with scene.connect() as client:
        client.request("GET", "/", [("Host", "evil.test")]).expect((400, 404, 421))


def test_a_site_without_a_catch_all_answers_404_itself(scene: Scenario):
    origin = scene.upstream("legacy")
    scene.proxy({"/only/**": "legacy"})
    scene.client.get("/elsewhere").expect(404)
    origin.expect_requests(0)


def run(tmp_path, command: str, routes: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "routes.yaml").write_text(routes, encoding="utf-8")
    return subprocess.run(
        [_program(), command, "--config", str(tmp_path / "routes.yaml"), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_pain_23_a_tie_is_an_error_that_names_both_lines(tmp_path):
    text = (
        "version: 1\nupstreams:\n  legacy: {url: 'http://127.0.0.1:1', role: legacy}\n"
        "  a: {url: 'http://127.0.0.1:2'}\nroutes:\n  /**: legacy\n"
        "  /x/{one}: a\n  /x/{two}: legacy\n"
    )
    result = run(tmp_path, "check", text)
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert "routes.yaml:7" in told or "routes.yaml:8" in told
    assert "/x/{one}" in told and "/x/{two}" in told
    lines = set(re.findall(r"(?:routes\.yaml:|line )(\d+)", told))
    assert {"7", "8"} <= lines, told


def test_pain_24_explain_says_which_rule_took_the_request(tmp_path):
    upstreams = {"legacy": "http://127.0.0.1:1", "materia": "http://127.0.0.1:2"}
    text = configuration({"/**": "legacy", "/noticia/{slug}.ghtml": "materia"}, upstreams=upstreams)
    result = run(tmp_path, "explain", text, "GET", "/noticia/a.ghtml")
    assert result.returncode == 0, result.stderr
    assert "/noticia/{slug}.ghtml" in result.stdout and "materia" in result.stdout
    assert "/**" in result.stdout  # the candidate that lost, too


def test_pain_50_log_and_status_speak_of_routes_never_of_paths(edge):
    for number in range(30):
        edge.get(f"/noticia/{number}-unique.ghtml").expect(200)
    line = edge.wait_log("/noticia/29-unique.ghtml")
    assert "/noticia/{slug}.ghtml" in line
    status, told = edge.admin_json("/-/healthcheck")
    assert status == 200
    assert "unique" not in json.dumps(told)


def test_pain_35_stores_that_are_gone_cost_no_request(scene: Scenario):
    scene.upstream("legacy")
    dead = unused_port()
    edge = scene.proxy(
        tiers={
            "shared": {"store": f"redis://127.0.0.1:{dead}"},
            "archive": {"store": f"mongodb://127.0.0.1:{dead}"},
        }
    )
    scene.client.get("/").expect(200)
    state = edge.folder / "var"
    if state.exists():
        state.rename(edge.folder / "gone")
    scene.client.get("/").expect(200)
    with scene.connect() as client:
        client.get("/").expect(200)


def test_a_canary_shares_readers_and_keeps_them(scene: Scenario):
    scene.upstream("legacy").reply(200, "legacy")
    scene.upstream("materia").reply(200, "materia")
    canary = {"to": "materia", "stage": "canary 30%", "canary": {"by": "header:X-Reader"}}
    scene.proxy({"/**": "legacy", "/x": canary})
    counts = {"legacy": 0, "materia": 0}
    sides = {}
    for reader in range(400):
        sides[reader] = scene.client.get("/x", X_Reader=str(reader)).text
        counts[sides[reader]] += 1
    assert 80 <= counts["materia"] <= 160, counts
    for reader in range(0, 400, 13):
        assert scene.client.get("/x", X_Reader=str(reader)).text == sides[reader]


def test_an_anonymous_reader_gets_one_cookie_and_stays(scene: Scenario):
    scene.upstream("legacy").reply(200, "legacy")
    scene.upstream("materia").reply(200, "materia")
    scene.proxy({"/**": "legacy", "/x": {"to": "materia", "stage": "canary 50%"}})
    for _ in range(8):
        first = scene.client.get("/x").expect(200)
        cookie = first.get("Set-Cookie").decode().partition(";")[0]
        again = scene.client.get("/x", Cookie=cookie).expect(200, body=first.text)
        assert "Set-Cookie" not in again


NEW_READERS = {
    "streamed": "none",
    "filled": "origin",
    "served from a copy": "origin",
}


@pytest.mark.parametrize("how", NEW_READERS)
def test_a_new_readers_cookie_is_in_no_shared_cache(scene: Scenario, how: str):
    """A CDN in front would hand one reader's cookie to all, and all would fall in one bucket."""
    fields = {
        "Cache-Control": "public, max-age=5, s-maxage=60",
        "CDN-Cache-Control": "max-age=600",
        "ETag": '"1"',
    }
    page = scene.upstream("materia").reply(200, "page", **fields)
    scene.upstream("legacy").reply(200, "page", **fields)
    canary = {"to": "materia", "stage": "canary 100%", "cache": NEW_READERS[how]}
    scene.proxy({"/**": "legacy", "/x": canary})
    if how == "served from a copy":
        scene.client.get("/x", Cookie="strangler_reader=abcdefghijklmnopqrstuv").expect(200)
    new = scene.client.get("/x").expect(200, body="page", Cache_Control="private, max-age=5")
    assert new.get("Set-Cookie").startswith(b"strangler_reader=")
    assert "CDN-Cache-Control" not in new
    assert new.get("ETag") == b'"1"'
    again = scene.client.get("/x", If_None_Match='"1"')
    assert "Set-Cookie" in again and again.get("Cache-Control") == b"private, max-age=5"
    # Who has the cookie already gets what the origin said, and our own copy is everybody's.
    cookie = new.get("Set-Cookie").decode().partition(";")[0]
    known = scene.client.get("/x", Cookie=cookie).expect(200, body="page")
    assert known.get("Cache-Control") == b"public, max-age=5, s-maxage=60"
    assert "CDN-Cache-Control" in known and "Set-Cookie" not in known
    page.expect_requests(3 if how == "streamed" else 1)


def test_a_new_readers_cookie_with_an_uncacheable_answer_of_a_caching_route(scene: Scenario):
    scene.upstream("legacy")
    scene.upstream("materia").reply(200, "mine", Surrogate_Control="max-age=9", Vary="*")
    canary = {"to": "materia", "stage": "canary 100%", "cache": "origin"}
    scene.proxy({"/**": "legacy", "/x": canary})
    new = scene.client.get("/x").expect(200, body="mine", Cache_Control="private")
    assert "Set-Cookie" in new and "Surrogate-Control" not in new


def test_a_stage_moves_only_what_it_says(scene: Scenario):
    legacy = scene.upstream("legacy").reply(200, "legacy")
    scene.upstream("materia").reply(200, "materia")
    stages = {
        f"/s{n}": {"to": "materia", "stage": stage}
        for n, stage in enumerate(("legacy", "canary 0%", "canary 100%", "live", "sealed"))
    }
    scene.proxy({"/**": "legacy", **stages})
    answers = [scene.client.get(path).text for path in stages]
    assert answers == ["legacy", "legacy", "materia", "materia", "materia"]
    legacy.expect_requests(2)


def test_pipelined_requests_are_routed_one_by_one(edge):
    with edge.client() as client:
        paths = ["/feed.xml", "/", "/busca/", "/feed.xml", "/busca/"]
        client.send(b"".join(build("GET", path) for path in paths))
        got = [client.read().text for _ in paths]
    assert got == ["materia", "legacy", "busca", "materia", "busca"]
