# SPDX-License-Identifier: Apache-2.0
"""Every limit has a status, and what lies within it works: sizes."""

from __future__ import annotations

import contextlib

import pytest

from strangler.testing import Closed, Edge, Scenario, Upstream, build, chunked, configuration, until

LIMITS = {"line": "2KB", "head": "8KB", "fields": 40, "drain": "1s"}


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    routes = {
        "/**": {"to": "legacy", "body": {"max": "100KB"}},
        "POST /large/**": {"to": "legacy", "body": {"max": "none"}},
    }
    with Edge(configuration(routes, upstreams={"legacy": origin}, limits=LIMITS)) as made:
        yield made


def fields(count: int) -> list[tuple[str, str]]:
    return [(f"X-{number}", "y") for number in range(count)]


def test_a_line_up_to_the_limit(edge):
    edge.get("/" + "a" * 1900).expect(200)


@pytest.mark.parametrize("size", [2100, 5000, 7000, 100_000, 1_000_000])
def test_a_longer_line_is_414(size, edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(build("GET", "/" + "a" * size))
        client.read().expect(414)
        client.drain()
    assert len(origin.requests) == before


def test_a_line_without_an_end_is_414(edge):
    with edge.client() as client:
        client.send("GET /" + "a" * 20_000)
        client.read().expect(414)


def test_pain_42_a_head_up_to_the_limit(edge):
    edge.get("/", X="y" * 7000).expect(200)


@pytest.mark.parametrize("size", [9_000, 20_000, 200_000, 2_000_000])
def test_pain_42_a_larger_head_is_431(size, edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(build("GET", "/", [("X", "y" * size)]))
        client.read().expect(431)
    assert len(origin.requests) == before


def test_pain_42_a_browser_is_told_on_a_page_what_to_do_with_its_cookies(edge):
    wanted = [
        ("accept", "text/html,*/*;q=0.8"),
        ("Accept-Language", "pt-BR,en;q=0.5"),
        ("Cookie", "a=" + "b" * 9000),
    ]
    with edge.client() as client:
        client.send(build("GET", "/", wanted))
        page = client.read().expect(431)
    assert page.get("Content-Type") == b"text/html; charset=utf-8"
    assert "Apagar os cookies deste site costuma resolver." in page.text
    id_ = (page.get("X-Request-Id") or b"").decode()
    assert id_
    assert f"431 Request Header Fields Too Large · {id_}" in page.text
    edge.wait_log(f" 431 GET / {len(page.body)}B .* id={id_}")


def test_pain_42_nearness_to_the_limit_is_told_once(edge):
    for _ in range(3):
        edge.get("/near", X="y" * 6500).expect(200)
    edge.wait_log("head.large")
    assert edge.log.count("head.large") == 1


def test_pain_42_the_default_is_no_smaller_than_the_legacy_servers(scene: Scenario):
    """gunicorn takes 100 fields of 8,190 bytes at most; browsers' cookies reach 32 KiB."""
    scene.upstream("legacy")
    scene.client.get("/", Cookie="a=" + "b" * 48_000).expect(200)
    scene.client.request("GET", "/", fields(200)).expect(200)
    scene.client.get("/" + "a" * 15_000).expect(200)


def test_fields_up_to_the_limit(edge):
    with edge.client() as client:
        client.request("GET", "/", fields(39)).expect(200)


@pytest.mark.parametrize("count", [41, 100, 2000])
def test_more_fields_are_431(count, edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.request("GET", "/", fields(count)).expect(431)
    assert len(origin.requests) == before


def test_content_up_to_the_limit(edge, origin):
    with edge.client() as client:
        client.request("POST", "/", body=b"x" * (100 << 10)).expect(200)
    assert origin.requests[-1].length == 100 << 10


def test_pain_41_more_content_is_413_and_names_route_and_limit(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(build("POST", "/up", [("Content-Length", str((100 << 10) + 1))]))
        response = client.read("POST").expect(413)
    assert len(origin.requests) == before
    assert str(100 << 10) in response.text or "100KB" in response.text
    assert "/**" in response.text


def test_pain_41_a_routes_own_cap_and_none(edge, origin):
    with edge.client() as client:
        client.request("POST", "/large/x", body=b"x" * (1 << 20)).expect(200)
    assert origin.requests[-1].length == 1 << 20


def test_chunks_over_the_limit_are_413_as_soon_as_they_are(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(build("POST", "/up", [("Transfer-Encoding", "chunked")]))
        piece = chunked(b"x" * 10_000)[:-5]
        for _ in range(30):
            client.send(piece)
        client.read("POST").expect(413)
    assert not any(each.complete for each in origin.requests[before:])
    edge.get("/after").expect(200)


def test_a_head_over_the_limit_in_a_pipeline_harms_no_other(edge):
    with edge.client() as client:
        client.send(build("GET", "/first"), build("GET", "/", [("X", "y" * 20_000)]))
        client.read().expect(200)
        client.read().expect(431)
        client.expect_closed()


def test_an_error_is_readable_though_its_sender_still_sends(edge):
    """The answer must not be lost to a reset: what still comes is read for a while."""
    with edge.client() as client:
        client.send(build("POST", "/up", [("Content-Length", str(5 << 20))]))
        client.send(b"x" * (1 << 20))
        client.read("POST").expect(413)


def test_connections_over_the_limit_wait_or_are_refused_and_recover(scene: Scenario):
    scene.upstream("legacy")
    edge = scene.proxy(limits={"connections": 10})
    clients = [scene.connect() for _ in range(10)]
    for client in clients:
        client.get("/").expect(200)
    with scene.connect(timeout=1) as late, contextlib.suppress(Closed, TimeoutError):
        late.get("/")
    for client in clients[:5]:
        client.close()
    until(lambda: edge.get("/").status == 200)
    for client in clients[5:]:
        client.get("/").expect(200)


def test_twenty_shapes_cost_no_more_than_their_size(edge):
    """A request twice as large costs about twice as much, whatever its shape."""

    def cost(sent: bytes) -> float:
        best = 9.0
        for _ in range(3):
            with edge.client(timeout=20) as client:
                start = edge.cpu()
                client.send(sent)
                client.read("POST")
                best = min(best, edge.cpu() - start)
        return best

    def shapes(scale: int) -> dict[str, bytes]:
        chunky = [("Transfer-Encoding", "chunked")]
        return {
            "tiny chunks": build("POST", "/large/", chunky) + b"1\r\nx\r\n" * scale + b"0\r\n\r\n",
            "pipelined": build("GET", "/nowhere", [("X", "y")]) * (scale // 50),
            "cookies": build("GET", "/", [("Cookie", "a=b; " * (scale // 40))]),
            "commas": build("GET", "/", [("Connection", "," * (scale // 8))]),
            "slashes": build("GET", "/" * (scale // 30)),
            "dots": build("GET", "/" + "../" * (scale // 60)),
            "escapes": build("GET", "/" + "%2F" * (scale // 60)),
            "query": build("GET", "/?" + "a=b&" * (scale // 80)),
            "empty fields": build("GET", "/", [("X", "")] * (scale // 800)),
            "spaces": build("GET", "/", [("X", " " * (scale // 8))]),
            "forwarded": build("GET", "/", [("X-Forwarded-For", "1, " * (scale // 20))]),
        }

    small, large = shapes(16_000), shapes(32_000)
    slow = {}
    for name in small:
        first, second = cost(small[name]), cost(large[name])
        if second > 0.05 and second > 4 * first:
            slow[name] = (first, second)
    assert not slow, slow
