# SPDX-License-Identifier: Apache-2.0
"""The same small Tornado application on Tornado's HTTPServer and on ours: the same answers.

Both are brought up by the same lines, and asked by the same bytes over a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from typing import Any

import pytest
import uvloop
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from strangler.edge.server import Server
from strangler.testing import unused_port

SERVERS = {"tornado": HTTPServer, "ours": Server}


class Echo(RequestHandler):
    def get(self, name: str) -> None:
        self.set_header("X-Name", name)
        self.set_cookie("seen", "1")
        self.write({"name": name, "args": self.get_arguments("q"), "host": self.request.host})

    def post(self, name: str) -> None:
        self.set_status(201, "Made")
        self.write(self.request.body[::-1])


class Pieces(RequestHandler):
    async def get(self) -> None:
        for piece in ("one ", "two ", "three"):
            self.write(piece)
            await self.flush()


class Fails(RequestHandler):
    def get(self, status: str) -> None:
        if status == "304":
            self.set_status(304)
        elif status == "204":
            self.set_status(204)
        else:
            raise HTTPError(int(status))


def application() -> Application:
    return Application([(r"/echo/(\w+)", Echo), ("/pieces", Pieces), (r"/status/(\d+)", Fails)])


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: a.example", *fields, "", ""]).encode() + body


REQUESTS = {
    "get": request("GET /echo/ana?q=1&q=%C3%A7 HTTP/1.1"),
    "head": request("HEAD /echo/ana HTTP/1.1"),
    "not-found": request("GET /nowhere HTTP/1.1"),
    "method": request("DELETE /echo/a HTTP/1.1"),
    "post": request("POST /echo/a HTTP/1.1", "Content-Length: 5", body=b"12345"),
    "post-in-chunks": request(
        "POST /echo/a HTTP/1.1", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"
    ),
    "pieces": request("GET /pieces HTTP/1.1"),
    "pieces-for-1.0": request("GET /pieces HTTP/1.0"),
    "kept-for-1.0": request("GET /echo/a HTTP/1.0", "Connection: keep-alive"),
    "close": request("GET /echo/a HTTP/1.1", "Connection: close"),
    "status-204": request("GET /status/204 HTTP/1.1"),
    "status-304": request("GET /status/304 HTTP/1.1"),
    "status-403": request("GET /status/403 HTTP/1.1"),
    "conditional": request(
        "GET /echo/ana HTTP/1.1", 'If-None-Match: "0000000000000000000000000000000000000000"'
    ),
    "pipeline": request("GET /echo/a HTTP/1.1") * 2 + request("GET /echo/b HTTP/1.1"),
    "expect": request(
        "POST /echo/a HTTP/1.1", "Expect: 100-continue", "Content-Length: 2", body=b"ab"
    ),
}


async def answer(port: int, data: bytes) -> bytes:
    """Send *data*, then no more; return all that comes, less what no two answers share."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if b"Connection: close" not in data and b"HTTP/1.0" not in data:
        writer.write(request("GET /status/403 HTTP/1.1", "Connection: close"))
    got = await asyncio.wait_for(reader.read(-1), 5) if b"keep-alive" not in data else b""
    if b"keep-alive" in data:
        got = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    writer.close()
    return re.sub(rb"Date: [^\r]*", b"Date: now", got)


def compared(raw: bytes) -> list[tuple[bytes, list[bytes]]]:
    """Return heads and contents, less what HTTP says means the same.

    That is the order of fields, the case of their names and of connection options, a reason
    phrase, and `Connection: close` where the connection's end is read anyway.
    """
    parts = []
    for head in re.split(rb"(?=HTTP/1\.1 \d{3})", raw):
        lines, _, rest = head.partition(b"\r\n\r\n")
        first, *fields = lines.split(b"\r\n")
        status = b" ".join(first.split(b" ")[:2])
        named = set()
        for name, _, value in (field.partition(b":") for field in fields):
            name = name.lower()
            named.add(name + b":" + (value.lower() if name == b"connection" else value))
        parts.append((status + b"|" + rest, sorted(named - {b"connection: close"})))
    return parts


@pytest.mark.parametrize("name", REQUESTS)
def test_answers_are_the_same(name: str) -> None:
    async def ask(kind: Any) -> bytes:
        server = kind(application())
        [sock] = bind_sockets(0, "127.0.0.1")
        server.add_sockets([sock])
        try:
            return await answer(sock.getsockname()[1], REQUESTS[name])
        finally:
            server.stop()
            await server.close_all_connections()

    theirs, ours = (asyncio.run(ask(kind)) for kind in SERVERS.values())
    assert compared(ours) == compared(theirs)


@pytest.mark.parametrize("kind", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("how", ["listen", "bind and start", "add_socket"])
def test_it_is_brought_up_and_down_by_the_same_calls(kind: Any, how: str) -> None:
    port = unused_port()

    async def story() -> None:
        server = kind(application())
        if how == "listen":
            server.listen(port, "127.0.0.1")
        elif how == "add_socket":
            server.add_socket(bind_sockets(port, "127.0.0.1")[0])
        else:
            server.bind(port, "127.0.0.1")
            server.start()
        assert b" 403 " in await answer(port, REQUESTS["status-403"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUESTS["post"])
        await reader.readuntil(b"54321")
        server.stop()
        await asyncio.sleep(0.01)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUESTS["post"])  # what is open goes on
        await reader.readuntil(b"54321")
        await server.close_all_connections()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(-1), 50) == b""
        writer.close()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_bound_sockets_that_were_never_started_are_closed_by_stop() -> None:
    async def story() -> None:
        server = Server(application())
        server.bind(0, "127.0.0.1")
        server.stop()
        server.start()
        assert server.connections == 0

    asyncio.run(story())


def test_it_does_not_fork() -> None:
    async def story() -> None:
        with pytest.raises(ValueError, match="expected 1"):
            Server(application()).start(0)

    asyncio.run(story())


def test_an_application_of_tornado_is_all_it_needs() -> None:
    assert isinstance(application(), HTTPServerConnectionDelegate)


class Blocks(asyncio.Protocol):
    """Work of the loop that takes too long, and meanwhile *client*'s request comes."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        time.sleep(1.2)
        self._client.sendall(REQUESTS["get"])


def test_a_request_that_crosses_the_end_of_an_idle_connection_is_not_reset() -> None:
    """Who sees a clean end may send it again; a reset says nothing of what was done."""

    async def ask() -> bytes:
        server = Server(application())
        [sock] = bind_sockets(0, "127.0.0.1")
        server.add_sockets([sock])
        client = socket.create_connection(sock.getsockname())
        reader, writer = await asyncio.open_connection(sock=client.dup())
        writer.write(REQUESTS["get"])
        await reader.readuntil(b"}")
        server.start_drain()
        server._close_idle()
        client.sendall(REQUESTS["get"])
        try:
            return await asyncio.wait_for(reader.read(-1), 20)
        except ConnectionError:
            return b"reset"
        finally:
            client.close()
            writer.close()
            await asyncio.wait_for(server.drained(20), 20)

    assert uvloop.run(ask()) == b""


def test_a_request_that_a_late_loop_has_yet_to_read_keeps_a_drain_waiting() -> None:
    """The moment that idle connections get had passed when the loop came to look at them."""

    async def ask() -> bytes:
        server = Server(application())
        [sock] = bind_sockets(0, "127.0.0.1")
        server.add_sockets([sock])
        client = socket.create_connection(sock.getsockname())
        reader, writer = await asyncio.open_connection(sock=client.dup())
        writer.write(REQUESTS["get"])
        await reader.readuntil(b"}")
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(lambda: Blocks(client), sock=ours)
        server.start_drain()
        theirs.send(b"x")
        try:
            return await asyncio.wait_for(reader.read(-1), 20)
        except ConnectionError:
            return b"reset"
        finally:
            for each in (client, theirs, writer, transport):
                each.close()
            await server.close_all_connections()

    assert b"Connection: close" in uvloop.run(ask())


def test_a_drain_waits_for_whom_the_loop_has_just_let_in() -> None:
    """Between accept and the connection's first word lies a turn of the loop."""

    async def ask() -> bytes:
        loop = asyncio.get_running_loop()
        server = Server(application())
        [sock] = bind_sockets(0, "127.0.0.1")
        listener = await loop.create_server(server.protocol, sock=sock)
        with socket.create_connection(sock.getsockname()) as client:
            client.sendall(REQUESTS["get"])
            await asyncio.sleep(0)  # the loop accepts; the server has yet to be told
            listener.close()
            server.start_drain()
            await server.drained(20)
            client.settimeout(20)
            return client.recv(1 << 16)

    assert b"200 OK" in uvloop.run(ask())
