# SPDX-License-Identifier: Apache-2.0
"""Thousands of requests and of aborted WebSockets, after which nothing is left of them.

pains.md 47 (sockets and memory leak in a long-lived proxy).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from strangler.testing import Edge, RawClient, build, configuration, until

WEBSOCKETS = 5_000
REQUESTS = 20_000
READERS = 50
SHAKE = build(
    "GET",
    "/ws",
    [
        *(("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ],
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
ROUND = b"".join(
    [
        build("GET", "/a?q=1", [("Cookie", "a=b")]),
        build("POST", "/b", [("Content-Length", "5000")], b"x" * 5000),
        build("POST", "/c", [("Transfer-Encoding", "chunked")], b"5\r\nhello\r\n0\r\n\r\n"),
        build("GET", "/kept/d"),
    ]
)


class Origin(asyncio.Protocol):
    """Answer each request after the other in as few steps as can be: here many are needed."""

    open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Origin.open += 1
        self.transport = transport
        self.data = b""
        self.tunnel = False

    def connection_lost(self, exc: Exception | None) -> None:
        Origin.open -= 1

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            return
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        lower = head.lower()
        if not end or (b"\r\ncontent-length: 5000" in lower and len(body) < 5000):
            return
        if b"\r\ntransfer-encoding" in lower and not body.endswith(b"0\r\n\r\n"):
            return
        self.data = b""
        if b"\r\nupgrade" in lower:
            self.tunnel = True
            self.transport.write(SWITCH)
        else:
            kept = b"Cache-Control: max-age=60\r\n" if b"/kept/" in head else b""
            self.transport.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\nok" % kept)


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Origin, "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, name="origin")
    thread.start()
    try:
        text = configuration(
            {"/**": "legacy", "/kept/**": {"to": "legacy", "cache": "origin"}},
            upstreams={"legacy": {"url": f"http://127.0.0.1:{port}", "max_inflight": READERS}},
            limits={"drain": "1s"},
        )
        with Edge(text, workers=1, access_log="off") as made:
            yield made
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        server.close()
        loop.close()


def abort(edge: Edge, number: int) -> None:
    """Begin a WebSocket and reset the connection: at once, after its 101, amid a frame, amid flow.

    A plain socket: five thousand times the kit's strict reader would be most of the test's time.
    """
    with socket.create_connection(edge.address, timeout=10) as link:
        link.sendall(SHAKE)
        if number % 4:
            got = b""
            while b"\r\n\r\n" not in got:
                got += link.recv(4096)
            assert got.startswith(b"HTTP/1.1 101 ")
            link.sendall(b"\x82\xfe\x03\xe8mask" + b"x" * (500 if number % 4 == 1 else 1000))
        if number % 4 == 3:
            link.shutdown(socket.SHUT_WR)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def ask(clients: list[RawClient], count: int) -> None:
    """Ask *count* requests of four kinds, and read every answer."""
    rounds = count // (len(clients) * 4)
    for _ in range(rounds):
        for client in clients:
            client.send(ROUND)
        for client in clients:
            for _ in range(4):
                client.read().expect(200, body="ok")


def in_hand(edge: Edge) -> tuple[int, int, int]:
    """Return the worker's own count of exchanges, attempts and readers' connections."""
    [worker] = edge.admin_json("/-/workers")[1]["workers"]
    told = worker["edge"]
    return told["inflight"], told["upstreams"]["legacy"]["inflight"], worker["connections"]


def test_pain_47_a_soak_leaves_no_sockets_no_exchanges_and_no_memory(edge: Edge) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(edge.client()) for _ in range(READERS)]
        # The first tenth fills pools, caches and the allocator's arenas.
        ask(clients, REQUESTS // 10)
        for number in range(WEBSOCKETS // 10):
            abort(edge, number)
        until(lambda: in_hand(edge) == (0, 0, READERS), what="nothing in hand")
        sockets, size = edge.sockets(), edge.rss()
        ask(clients, REQUESTS)
        for number in range(WEBSOCKETS):
            abort(edge, number)
        until(lambda: in_hand(edge) == (0, 0, READERS), what="nothing in hand again")
        # The pool may have grown to one connection a reader; nothing else may be left.
        assert edge.sockets() <= sockets + READERS
        assert Origin.open <= READERS
        assert edge.rss() - size < 4 << 20
    until(lambda: in_hand(edge) == (0, 0, 0), what="the readers have left")
