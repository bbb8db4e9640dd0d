# SPDX-License-Identifier: Apache-2.0
"""How a request and its answer are changed on their way: as little as the RFCs allow."""

from __future__ import annotations

import json
import re

import pytest

from strangler.testing import (
    Edge,
    RawClient,
    Scenario,
    Upstream,
    build,
    configuration,
    respond,
    unused_port,
)


@pytest.fixture(scope="module")
def materia():
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream, materia: Upstream):
    text = configuration(
        {
            "/**": "legacy",
            "/feed.xml": "materia",
            "/strip/**": {"to": "materia", "strip": "/strip", "fallback": []},
            "/up/**": {"to": "materia", "host": "upstream"},
            "/as/**": {"to": "materia", "host": "internal.test"},
            "/sick/**": {"to": "sick", "fallback": []},
            "/rescued/**": "sick",
        },
        upstreams={
            "legacy": origin,
            "materia": materia,
            "sick": f"http://127.0.0.1:{unused_port()}",
        },
        limits={"drain": "1s"},
    )
    with Edge(text) as made:
        yield made


def test_pain_01_host_is_kept(edge, origin, materia):
    for path, seen in (("/", origin), ("/feed.xml", materia)):
        with edge.client() as client:
            client.request("GET", path, [("Host", "WWW.Example.com:8443")]).expect(200)
        assert seen.requests[-1].all("Host") == [b"WWW.Example.com:8443"]


def test_host_is_the_upstreams_where_the_route_says_so(edge, materia):
    edge.get("/up/x").expect(200)
    assert materia.requests[-1].get("Host") == materia.address.encode()
    edge.get("/as/x").expect(200)
    assert materia.requests[-1].get("Host") == b"internal.test"


HOST = "www.example.com"
REPAIRED = [
    ("Location", "http://{upstream}/next?a=1#f", "http://www.example.com/next?a=1#f"),
    ("Location", "http://{upstream}", "http://www.example.com"),
    ("Location", "/relative/%2F", "/relative/%2F"),
    ("Location", "next", "next"),
    ("Location", "https://accounts.example.org/login", "https://accounts.example.org/login"),
    ("Location", "http://{upstream}1/other-port", "http://{upstream}1/other-port"),
    ("Location", "http://{upstream}.evil.test/", "http://{upstream}.evil.test/"),
    ("Location", "http://user@{upstream}/", None),
    ("Content-Location", "http://{upstream}/v1", "http://www.example.com/v1"),
    ("Refresh", "5; url=http://{upstream}/r", "5; url=http://www.example.com/r"),
    ("Refresh", "5", "5"),
    ("Link", "<http://{upstream}/2>; rel=next", "<http://www.example.com/2>; rel=next"),
    ("Link", "</2>; rel=next", "</2>; rel=next"),
    ("Set-Cookie", "a=1; Domain=127.0.0.1; Path=/", "a=1; Path=/"),
    ("Set-Cookie", "a=1; Domain=example.com; Path=/x", "a=1; Domain=example.com; Path=/x"),
    ("Set-Cookie", "a=1; Path=/; HttpOnly", "a=1; Path=/; HttpOnly"),
]


@pytest.mark.parametrize("name, sent, wanted", REPAIRED, ids=[f"{n}:{s}" for n, s, _ in REPAIRED])
def test_pain_02_redirects_do_not_leak_the_upstream(name, sent, wanted, edge, origin):
    value = sent.format(upstream=origin.address)
    origin.on("/moved", respond(302, "", [(name, value)]))
    got = edge.get("/moved").expect(302).get(name).decode()
    if wanted is None:
        assert origin.address not in got or got == value
        return
    expected = wanted.format(upstream=origin.address)
    if name == "Set-Cookie":
        assert sorted(got.split("; ")) == sorted(expected.split("; "))
    elif expected.startswith("http://www.example.com") and got.startswith("/"):
        assert got == expected.removeprefix("http://www.example.com") or expected == got
    else:
        assert got == expected


def test_pain_03_a_loop_ends_in_508(scene: Scenario):
    origin = scene.upstream("legacy")
    edge = scene.proxy()

    def back_to_the_edge(connection):
        request = connection.request
        with RawClient(edge.address) as client:
            client.send(bytes(request.raw))
            response = client.read()
            connection.send(bytes(response.raw))

    origin.answers(back_to_the_edge)
    response = scene.client.get("/round").expect(508)
    assert "proxy_loop_detected" in (response.get("Proxy-Status") or b"").decode()
    assert len(origin.requests) == 1


def test_pain_03_a_configuration_that_names_the_edge_itself_is_refused(tmp_path):
    port = unused_port()
    text = configuration(upstreams={"legacy": f"http://127.0.0.1:{port}"})
    edge = Edge(text, listen=[f"127.0.0.1:{port}"], ready=False)
    try:
        assert edge.wait_end() != 0
        assert str(port) in edge.log
    finally:
        edge.kill()


SLASHES = ["/s", "/s/", "//s", "/s//b", "/s/b//", "/", "//", "/noticia/x.ghtml/", "/S/"]


@pytest.mark.parametrize("path", SLASHES)
def test_pain_04_slashes_are_never_touched(path, edge, origin):
    origin.on(path, respond(301, "", [("Location", path + "/")]))
    edge.get(path).expect(301, location=path + "/")
    assert origin.requests[-1].target == path.encode()


def test_pain_05_a_post_without_a_slash_keeps_its_content(edge, origin):
    with edge.client() as client:
        client.request("POST", "/votar/7", body="opcao=1").expect(200)
    request = origin.requests[-1]
    assert (request.target, bytes(request.body)) == (b"/votar/7", b"opcao=1")


RAW = ["/a%2Fb", "/a%2fb", "/a%252Fb", "/%7Ea", "/a%20b?c=%2B+", "/caf%C3%A9", "/a;b=c/d", "/a?b?c"]


@pytest.mark.parametrize("target", RAW)
def test_pain_06_a_target_is_forwarded_to_the_byte(target, edge, origin):
    edge.get(target).expect(200)
    assert origin.requests[-1].target == target.encode()


DOTS = ["/a/../b", "/./a", "/a/%2e%2e/b", "/a/..", "//a/../../b", "/a/.hidden", "/a/...", "/a./b."]


@pytest.mark.parametrize("target", DOTS)
def test_pain_07_dot_segments_are_forwarded_raw_or_refused_never_rewritten(target, edge, origin):
    before = len(origin.requests)
    response = edge.get(target)
    if response.status == 400:
        assert len(origin.requests) == before
    else:
        assert origin.requests[-1].target == target.encode()


def test_a_prefix_is_stripped_for_the_service_alone(edge, materia):
    edge.get("/strip/a%2Fb/?q=%20").expect(200)
    assert materia.requests[-1].target == b"/a%2Fb/?q=%20"


def test_pain_16_an_answer_to_a_post_keeps_its_content(edge, origin):
    origin.on("/oops", respond(500, '{"why": "disk full"}', [("Content-Type", "x/json")]))
    with edge.client() as client:
        response = client.request("POST", "/oops", body="x")
    response.expect(500, body='{"why": "disk full"}', content_type="x/json")


def test_an_upstream_that_refuses_gives_502_with_its_reason(edge):
    response = edge.get("/sick/x", Accept="text/html")
    response.expect((502, 503))
    assert "connection_refused" in response.get("Proxy-Status").decode()
    assert response.get("Content-Type").startswith(b"text/html")
    assert "127.0.0.1" not in response.text  # nothing internal is shown to readers


def test_an_error_page_carries_the_id_of_its_log_line(edge):
    response = edge.get("/sick/id", Accept="text/html")
    line = edge.wait_log("/sick/id")
    ids = set(re.findall(r"[0-9a-f-]{12,}", line))
    assert any(each in response.text for each in ids), (ids, response.text)


def test_error_pages_speak_html_json_and_text(edge):
    assert "<html" in edge.get("/sick/a", Accept="text/html").text
    told = json.loads(edge.get("/sick/b", Accept="application/json").text)
    assert told["status"] in (502, 503)
    assert "<html" not in edge.get("/sick/c", Accept="*/*").text


def test_pain_14_nothing_of_a_failed_answer_is_merged_into_the_fallbacks(scene: Scenario):
    legacy = scene.upstream("legacy").reply(200, "from django", X_From="legacy")
    materia = scene.upstream("materia")
    materia.reply(503, "sorry", X_From="materia", X_Only="materia", Set_Cookie="m=1")
    scene.proxy({"/**": "legacy", "/x": "materia"})
    response = scene.client.get("/x").expect(200, body="from django", X_From="legacy")
    assert "X-Only" not in response and "Set-Cookie" not in response
    legacy.expect_requests(1)
    materia.expect_requests(1)


def test_pain_13_the_content_is_there_for_the_fallback(scene: Scenario):
    """A request that is safe to replay and has content: a search by GET with a body."""
    legacy = scene.upstream("legacy").reply(200, "from django")
    scene.upstream("materia").reply(503)
    scene.proxy({"/**": "legacy", "/x": "materia"})
    scene.client.request("GET", "/x", body="the content").expect(200, body="from django")
    assert bytes(legacy.requests[0].body) == b"the content"


def test_pain_13_over_the_cap_there_is_no_second_attempt(scene: Scenario):
    legacy = scene.upstream("legacy")
    scene.upstream("materia").reply(503, "sorry")
    scene.proxy({"/**": "legacy", "/x": {"to": "materia", "body": {"replay": "1KB"}}})
    response = scene.client.request("GET", "/x", body=b"y" * 4096)
    assert response.status in (502, 503)
    legacy.expect_requests(0)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pain_15_what_is_not_safe_is_never_repeated(method, scene: Scenario):
    legacy = scene.upstream("legacy")
    materia = scene.upstream("materia").answers(lambda connection: connection.close())
    scene.proxy({"/**": "legacy", "/x": "materia"})
    scene.client.request(method, "/x", body="order=1").expect((502, 503))
    materia.expect_requests(1)
    legacy.expect_requests(0)


def test_pain_15_a_stale_connection_repeats_a_get_but_not_a_post(scene: Scenario):
    origin = scene.upstream("legacy")
    scene.client.get("/warm").expect(200)
    # The next request meets a connection that the origin closes on sight.
    origin.answers(lambda connection: connection.close()).then(respond(body="fresh"))
    scene.client.request("POST", "/order", body="x").expect((502, 503))
    assert [each.path for each in origin.requests].count(b"/order") == 1


def test_a_pooled_connection_closed_in_the_pause_is_not_used(scene: Scenario):
    origin = scene.upstream("legacy")
    for number in range(5):
        scene.client.get(f"/{number}").expect(200)
        origin.connections[-1].close()
        origin.connections[-1].gone.wait(2)
        response = scene.client.request("POST", f"/{number}", body="x")
        response.expect(200)
    assert len([each for each in origin.requests if each.method == b"POST"]) == 5


def test_pain_44_grpc_is_refused_with_a_clear_message(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        response = client.request(
            "POST",
            "/svc.Greeter/Hi",
            [("Content-Type", "application/grpc"), ("TE", "trailers")],
            "x",
        )
    if response.status == 200:
        pytest.fail("a gRPC call was forwarded over HTTP/1.1, where it cannot work")
    assert response.status in (415, 501, 505)
    assert len(origin.requests) == before
    assert "HTTP/2" in response.text or "gRPC" in response.text


def test_a_services_connection_failure_is_answered_by_legacy(edge, origin):
    origin.on("/rescued/x", respond(body="from django"))
    edge.get("/rescued/x").expect(200, body="from django")


def test_a_request_id_reaches_the_origin_and_the_log(edge, origin):
    edge.get("/with-an-id").expect(200)
    given = origin.requests[-1].get("X-Request-Id")
    assert given
    assert given.decode() in edge.wait_log("/with-an-id")


def test_the_access_line_says_route_target_and_why(edge):
    edge.get("/feed.xml?access").expect(200)
    line = edge.wait_log(r"/feed\.xml\?access")
    for word in ("GET", "200", "/feed.xml", "materia", "live"):
        assert word in line


def test_secrets_of_a_request_are_not_in_the_log(edge):
    with edge.client() as client:
        fields = [("Authorization", "Bearer s3cret-a"), ("Cookie", "sessionid=s3cret-b")]
        client.send(build("GET", "/secrets", fields))
        client.read().expect(200)
    edge.wait_log("/secrets")
    assert "s3cret" not in edge.log


def test_what_a_connection_remembers_of_one_request_never_shows_in_another(edge, origin, materia):
    plain, other = [("Host", "a.test"), ("X-A", "1")], [("Host", "b.test"), ("Cookie", "a=1")]
    asked = [
        ("GET", "/one", plain, b""),
        ("GET", "/two?b=1", plain, b""),
        ("HEAD", "/two", plain, b""),
        ("GET", "/feed.xml", plain, b""),
        ("GET", "/one", other, b""),
        ("GET", "/up/x", plain, b""),
        ("GET", "/as/x", plain, b""),
        ("GET", "/as/y", plain, b""),
        ("GET", "/strip/x", plain, b""),
        ("GET", "/strip/y", plain, b""),
        ("GET", "http://c.test/absolute", plain, b""),
        ("GET", "/one", [*plain, ("Via", "1.1 other")], b""),
        ("POST", "/one", [*plain, ("Content-Length", "2")], b"ab"),
        ("GET", "/one", [*plain, ("Content-Length", "0")], b""),
        ("GET", "/rescued/x", plain, b""),
        ("GET", "/rescued/y", plain, b""),
        ("GET", "/one", [*plain, ("X-Large", "v" * 4000)], b""),
        ("GET", "/one", plain, b""),
    ]

    def seen(client, method, path, fields, body):
        client.send(build(method, path, fields, body=body or None))
        client.read(method).expect(200)
        request = max(
            (upstream.requests[-1] for upstream in (origin, materia) if upstream.requests),
            key=lambda one: one.get("X-Request-Id"),
        )
        told = [pair for pair in request.fields if pair[0].lower() != b"x-request-id"]
        told = [pair for pair in told if pair[0].lower() != b"x-deadline-ms"]
        return request.method, request.target, told

    with edge.client() as same:
        together = [seen(same, *each) for each in asked]
    for each, got in zip(asked, together, strict=True):
        with edge.client() as fresh:
            assert seen(fresh, *each) == got, each
