# SPDX-License-Identifier: Apache-2.0
"""Slow and silent readers: each has a limit, a status, and hurts nobody else."""

from __future__ import annotations

import time

import pytest

from strangler.testing import (
    Closed,
    Edge,
    Scenario,
    Upstream,
    build,
    configuration,
    endless,
    respond,
    until,
)

LIMITS = {
    "head_timeout": "600ms",
    "body_timeout": "600ms",
    "idle_timeout": "1s",
    "write_timeout": "1s",
    "drain": "1s",
}


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    with Edge(configuration(upstreams={"legacy": origin}, limits=LIMITS)) as made:
        yield made


def timed(client, *sent, method="GET"):
    """Send, and return the answer and the seconds that it took from the first byte on."""
    start = time.monotonic()
    response = client.send(*sent).read(method)
    return response, time.monotonic() - start


def test_a_head_that_stops_is_408_at_the_limit(edge):
    with edge.client() as client:
        response, seconds = timed(client, "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        response.expect(408)
        assert 0.5 < seconds < 9
        client.expect_closed()


def test_a_head_that_trickles_is_408_all_the_same(edge):
    with edge.client() as client:
        start = time.monotonic()
        for byte in b"GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Slow: " + b"y" * 200:
            client.send(bytes([byte]))
            try:
                response = client.read(timeout=0.05)
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("a trickled head was waited for")
        response.expect(408)
        assert time.monotonic() - start < 9


def test_half_a_line_is_timed_too(edge):
    with edge.client() as client:
        response, seconds = timed(client, "GE")
        response.expect(408)
        assert seconds < 9


def test_content_that_stops_is_408(edge, origin):
    with edge.client() as client:
        head = build("POST", "/slow", [("Content-Length", "10")])
        response, seconds = timed(client, head, "12345", method="POST")
        response.expect(408)
        assert 0.5 < seconds < 9
    edge.get("/barrier").expect(200)
    assert not any(each.complete for each in origin.requests if each.path == b"/slow")


def test_content_that_trickles_within_the_limit_is_fine(scene: Scenario):
    scene.upstream("legacy")
    scene.proxy(limits={"body_timeout": "3s"})
    scene.client.send(build("POST", "/", [("Content-Length", "8")]))
    for _ in range(8):  # for longer than the limit, which is one of pauses
        time.sleep(0.5)  # the subject is time itself
        scene.client.send("x")
    scene.client.read("POST").expect(200)


def test_a_silent_connection_is_closed_without_a_word(edge):
    with edge.client() as client:
        start = time.monotonic()
        client.get("/").expect(200)
        client.expect_closed(timeout=15)
        assert 0.7 < time.monotonic() - start < 12


def test_a_connection_that_never_says_anything_is_closed(edge):
    with edge.client() as client, pytest.raises(Closed):
        client.read(timeout=15)


def test_a_reader_that_takes_nothing_is_given_up_and_its_origin_freed(edge, origin):
    origin.on("/endless", b"HTTP/1.1 200 OK\r\n\r\n", endless(b"x" * 65536))
    with edge.client(receive_buffer=4096) as client:
        client.send(build("GET", "/endless"))
        until(lambda: any(each.path == b"/endless" for each in origin.requests))
        connection = next(
            each
            for each in origin.connections
            if any(request.path == b"/endless" for request in each.requests)
        )
        connection.wait_gone(15)
        client.sock.settimeout(0.1)


def test_a_slow_reader_holds_back_the_origin_not_the_edges_memory(edge, origin):
    origin.on("/large", respond(200, b"x" * (64 << 20)))
    before = edge.rss()
    with edge.client(receive_buffer=65536, keep=0, timeout=30) as client:
        client.send(build("GET", "/large"))
        for _ in range(8):
            time.sleep(0.1)
            client.sock.recv(65536)
        assert edge.rss() - before < 16 << 20


def test_two_hundred_slow_loris_are_closed_and_hurt_nobody(edge):
    clients = [edge.client() for _ in range(200)]
    start = time.monotonic()
    try:
        for client in clients:
            client.send("GET / HTTP/1.1\r\nHost: a\r\n")
        for _ in range(20):
            begin = time.monotonic()
            edge.get("/other").expect(200)
            assert time.monotonic() - begin < 5
        for client in clients:
            client.read().expect(408)
        assert time.monotonic() - start < 15
    finally:
        for client in clients:
            client.close()


def test_idle_connections_are_let_go(scene: Scenario):
    scene.upstream("legacy")
    edge = scene.proxy(limits={"idle_timeout": "4s"})
    edge.get("/").expect(200)
    before = edge.sockets()
    for _ in range(300):
        scene.connect()
    until(lambda: edge.sockets() >= before + 290)
    edge.get("/").expect(200)
    until(lambda: edge.sockets() <= before + 10)
