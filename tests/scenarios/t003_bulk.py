# SPDX-License-Identifier: Apache-2.0
"""Large contents both ways with the edge's memory flat. STRANGLER_BULK says how large, in MiB."""

from __future__ import annotations

import os
import threading

import pytest

from strangler.testing import Edge, Upstream, build, configuration, endless, until

SIZE = int(os.environ.get("STRANGLER_BULK", "256")) << 20
PIECE = b"x" * (1 << 18)
GROWTH = 12 << 20
"""Bytes that a process may grow by, whatever passes through it."""


@pytest.fixture(scope="module")
def origin():
    with Upstream(keep=1 << 16) as made:
        yield made


@pytest.fixture(scope="module")
def edge(origin):
    routes = {"/**": {"to": "legacy", "body": {"max": "none"}}}
    with Edge(configuration(routes, upstreams={"legacy": origin}, limits={"drain": "1s"})) as made:
        edge_warm(made)
        yield made


def edge_warm(edge: Edge) -> None:
    with edge.client() as client:
        for _ in range(50):
            client.request("POST", "/warm", body=b"x" * 1000).expect(200)


def test_pain_41_a_large_upload_streams(edge, origin):
    before = edge.rss()
    with edge.client(timeout=60) as client:
        client.send(build("POST", "/up", [("Content-Length", str(SIZE))]))
        for _ in range(SIZE // len(PIECE)):
            client.send(PIECE)
        client.read("POST").expect(200)
    assert origin.requests[-1].length == SIZE
    assert edge.rss() - before < GROWTH


def test_a_large_upload_in_chunks(edge, origin):
    before = edge.rss()
    chunk = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
    with edge.client(timeout=60) as client:
        client.send(build("POST", "/up-chunks", [("Transfer-Encoding", "chunked")]))
        for _ in range(SIZE // 4 // len(PIECE)):
            client.send(chunk)
        client.send(b"0\r\n\r\n")
        client.read("POST").expect(200)
    assert origin.requests[-1].length == SIZE // 4
    assert edge.rss() - before < GROWTH


@pytest.mark.parametrize("framing", ["length", "chunks", "close"])
def test_a_large_download_streams(framing, edge, origin):
    head = b"HTTP/1.1 200 OK\r\n"
    size = SIZE if framing == "length" else SIZE // 4
    if framing == "length":
        steps = (head + b"Content-Length: %d\r\n\r\n" % size, endless(PIECE, size))
    elif framing == "chunks":
        chunk = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
        count = size // len(PIECE)
        steps = (
            head + b"Transfer-Encoding: chunked\r\n\r\n",
            endless(chunk, count * len(chunk)),
            b"0\r\n\r\n",
        )
    else:
        steps = (head + b"\r\n", endless(PIECE, size), lambda connection: connection.close())
    origin.on(f"/down-{framing}", *steps)
    before = edge.rss()
    with edge.client(timeout=60, keep=0) as client:
        response = client.get(f"/down-{framing}")
    assert response.length == size
    assert edge.rss() - before < GROWTH


def test_a_slow_origin_holds_back_the_upload(edge, origin):
    before = edge.rss()
    sent = 0
    with edge.client(timeout=0.5) as client:
        client.send(build("POST", "/slow-up", [("Content-Length", str(64 << 20))]))
        until(lambda: any(each.path == b"/slow-up" for each in origin.requests))
        connection = next(
            each
            for each in origin.connections
            if any(request.path == b"/slow-up" for request in each.requests)
        )
        connection.reading.clear()
        try:
            while sent < 64 << 20:
                client.sock.settimeout(0.5)
                sent += client.sock.send(PIECE)
        except TimeoutError:
            pass
        assert edge.rss() - before < GROWTH
        assert sent < 48 << 20, "nothing held the reader back"
        connection.reading.set()


def test_ten_downloads_at_once_stay_flat(edge, origin):
    size = SIZE // 16
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    origin.on("/ten", head, endless(PIECE, size))
    before = edge.rss()
    lengths = []

    def take():
        with edge.client(timeout=60, keep=0) as client:
            lengths.append(client.get("/ten").length)

    threads = [threading.Thread(target=take) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [size] * 10
    assert edge.rss() - before < 2 * GROWTH
