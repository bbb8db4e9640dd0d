# SPDX-License-Identifier: Apache-2.0
"""What every proxy must do, over the wire: methods, framing, keepalive, pipelining, HTTP/1.0."""

from __future__ import annotations

import gzip
import threading
import time

import pytest

from strangler.testing import (
    Edge,
    Upstream,
    build,
    chunked,
    close,
    configuration,
    respond,
    until,
    wait,
)


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    with Edge(configuration(upstreams={"legacy": origin}, limits={"drain": "1s"})) as made:
        yield made


def test_a_get_goes_through(edge, origin):
    origin.on("/hello", respond(200, "olá", [("Content-Type", "text/plain; charset=utf-8")]))
    response = edge.get("/hello?a=1&b=%20")
    response.expect(200, body="olá", content_type="text/plain; charset=utf-8")
    assert origin.requests[-1].target == b"/hello?a=1&b=%20"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_content_goes_through(method, edge, origin):
    with edge.client() as client:
        client.request(method, "/content", [("Content-Type", "x/y")], body=b"\0\r\n\xff").expect(
            200
        )
    request = origin.requests[-1]
    assert (request.method, bytes(request.body)) == (method.encode(), b"\0\r\n\xff")
    assert request.get("Content-Type") == b"x/y"


def test_chunks_go_through_up(edge, origin):
    with edge.client() as client:
        client.send(build("POST", "/up", [("Transfer-Encoding", "chunked")]), chunked("ab", "cde"))
        client.read("POST").expect(200)
    assert bytes(origin.requests[-1].body) == b"abcde"


def test_chunks_go_through_down_with_trailers(edge, origin):
    origin.on(
        "/down",
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunked("ab", "cde", trailers=[("X-Sum", "5")]),
    )
    with edge.client() as client:
        client.send(build("GET", "/down", [("TE", "trailers"), ("Connection", "TE")]))
        response = client.read().expect(200, body="abcde")
    assert (b"X-Sum", b"5") in response.trailers


def test_head_has_the_gets_fields_and_no_content(edge, origin):
    origin.on("/page", respond(200, "hello", [("ETag", '"x"')]))
    with edge.client() as client:
        client.request("HEAD", "/page").expect(200, body="", content_length="5", ETag='"x"')
        client.get("/page").expect(200, body="hello")
    assert [each.method for each in origin.requests[-2:]] == [b"HEAD", b"GET"]


def test_a_connection_is_kept_on_both_sides(scene):
    origin = scene.upstream("legacy")
    for _ in range(20):
        scene.client.get("/").expect(200)
    origin.expect_requests(20)
    assert len(origin.connections) == 1


def test_connections_of_readers_share_the_pool(scene):
    origin = scene.upstream("legacy")
    for _ in range(10):
        scene.edge.get("/").expect(200)
    assert len(origin.connections) == 1


def test_twenty_requests_in_one_segment_are_answered_in_order(edge, origin):
    for number in range(20):
        origin.on(f"/n/{number}", respond(body=str(number)))
    with edge.client() as client:
        client.send(b"".join(build("GET", f"/n/{number}") for number in range(20)))
        assert [client.read().text for _ in range(20)] == [str(number) for number in range(20)]


def test_a_slow_answer_keeps_its_place_before_a_fast_one(edge, origin):
    go = threading.Event()
    origin.on("/slow", wait(go), respond(body="slow"))
    origin.on("/fast", respond(body="fast"))
    with edge.client() as client:
        client.send(build("GET", "/slow") + build("GET", "/fast"))
        with pytest.raises(TimeoutError):
            client.read(timeout=0.1)
        go.set()
        assert client.read().text == "slow"
        assert client.read().text == "fast"


def test_contents_of_pipelined_requests_stay_with_them(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(
            build("POST", "/p1", body="one")
            + build("POST", "/p2", [("Transfer-Encoding", "chunked")])
            + chunked("two")
            + build("GET", "/p3")
            + build("PUT", "/p4", body="four")
        )
        for method in ("POST", "POST", "GET", "PUT"):
            client.read(method).expect(200)
    seen = [(each.path, bytes(each.body)) for each in origin.requests[before:]]
    assert seen == [(b"/p1", b"one"), (b"/p2", b"two"), (b"/p3", b""), (b"/p4", b"four")]


def test_a_bad_request_in_the_middle_of_a_pipeline_ends_it_there(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(build("GET", "/before"), b"GET /bad\n HTTP/1.1\r\n\r\n", build("GET", "/after"))
        client.read().expect(200)
        client.read().expect(400)
        client.expect_closed()
    assert [each.path for each in origin.requests[before:]] == [b"/before"]


def test_1_0_readers_get_1_0_framing(edge, origin):
    origin.on("/chunky", respond(body="hello", chunks=True))
    with edge.client() as client:
        client.send("GET /chunky HTTP/1.0\r\n\r\n")
        client.read().expect(200, body="hello", transfer_encoding=None)
        client.expect_closed()
    with edge.client() as client:
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        client.read().expect(200, body="ok")
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        client.read().expect(200, body="ok")


def test_an_answer_that_the_end_delimits_is_delivered_whole(edge, origin):
    origin.on("/until-the-end", b"HTTP/1.0 200 OK\r\n\r\nall of it", close())
    with edge.client() as client:
        client.get("/until-the-end").expect(200, body="all of it")
        client.get("/").expect(200)


@pytest.mark.parametrize("status", [201, 206, 301, 400, 401, 403, 404, 409, 418, 429, 500, 501])
def test_a_status_and_its_page_are_the_origins(status, edge, origin):
    origin.on("/status", respond(status, "the origin's own page", reason="Its Own Reason"))
    response = edge.get("/status").expect(status, body="the origin's own page")
    assert response.reason == b"Its Own Reason"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_content(status, edge, origin):
    origin.on("/none", respond(status))
    with edge.client() as client:
        client.get("/none").expect(status, body="")
        client.get("/").expect(200)


def test_early_hints_are_passed_on(edge, origin):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    origin.on("/hints", hint, respond())
    (interim,) = edge.get("/hints").expect(200).informational
    assert interim.status == 103
    assert interim.get("Link") == b"</style.css>; rel=preload"


def test_pain_46_content_is_never_decoded(edge, origin):
    packed = gzip.compress(b"x" * 10_000)
    origin.on("/gzip", respond(200, packed, [("Content-Encoding", "gzip"), ("ETag", '"g"')]))
    response = edge.get("/gzip", Accept_Encoding="gzip")
    response.expect(200, body=packed, content_encoding="gzip", content_length=str(len(packed)))


def test_a_decompression_bomb_passes_as_it_is(edge, origin):
    bomb = gzip.compress(bytes(50_000_000))
    origin.on("/bomb", respond(200, bomb, [("Content-Encoding", "gzip")]))
    before = edge.rss()
    edge.get("/bomb").expect(200, body=bomb)
    assert edge.rss() - before < 10_000_000


def test_a_reader_that_leaves_frees_the_origin(edge, origin):
    origin.on("/held", wait(threading.Event()))
    with edge.client() as client:
        client.send(build("GET", "/held"))
        until(lambda: any(each.path == b"/held" for each in origin.requests))
    connection = next(
        each
        for each in origin.connections
        if any(request.path == b"/held" for request in each.requests)
    )
    assert connection.wait_gone() < 5


def test_a_half_closed_reader_gets_its_answer(edge, origin):
    with edge.client() as client:
        client.send(build("GET", "/half"))
        client.half_close()
        client.read().expect(200)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 13])
def test_a_request_in_pieces(size, edge, origin):
    sent = build("POST", "/pieces", [("X-Long", "y" * 40)], body="hello")
    with edge.client() as client:
        client.send(sent[:size])
        time.sleep(0.02)  # so that the first piece is read alone
        sent = sent[size:]
        for start in range(0, len(sent), size):
            client.send(sent[start : start + size])
        client.read("POST").expect(200)
    assert bytes(origin.requests[-1].body) == b"hello"


def test_pain_43_a_hundred_requests_at_once_on_kept_connections(scene):
    go = threading.Event()
    origin = scene.upstream("legacy").answers(wait(go), respond())
    scene.proxy()
    clients = [scene.connect() for _ in range(100)]
    for client in clients:
        client.send(build("GET", "/"))
    origin.wait_head(100)  # all in flight together: no queue of ten, no status 599
    go.set()
    for client in clients:
        client.read().expect(200)
    for client in clients:
        client.get("/again").expect(200)
    assert len(origin.connections) <= 100


@pytest.mark.parametrize("size", [97, 333, 1460, 9000])
def test_a_long_pipeline_in_segments_of_any_size(size, edge):
    """Segments that arrive between two requests of the pipeline must not be read as one head."""
    sent = b"".join(build("GET", f"/pipe/{number}") for number in range(1500))
    with edge.client(timeout=20) as client:
        sender = threading.Thread(
            target=lambda: [client.send(sent[at : at + size]) for at in range(0, len(sent), size)]
        )
        sender.start()
        try:
            statuses = [client.read().status for _ in range(1500)]
        finally:
            sender.join()
    assert set(statuses) == {200}
