# SPDX-License-Identifier: Apache-2.0
"""WebSocket conversations with a real Tornado application: through the edge exactly as direct.

Each conversation is held twice, directly and through the edge; the two transcripts must be equal.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import time

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

from strangler.testing import Edge, RawClient, TornadoUpstream, build, configuration, until

CLOSES: list[tuple[str, int | None, str | None]] = []


class Talk(WebSocketHandler):
    """Echo, and do what it is told."""

    deflate = False

    def get_compression_options(self):
        return {} if self.deflate else None

    def check_origin(self, origin):
        return "evil" not in origin

    def select_subprotocol(self, subprotocols):
        return "chat.v2" if "chat.v2" in subprotocols else None

    def open(self):
        if self.get_argument("greet", None):
            self.write_message(f"hello {self.get_argument('greet')} {self.get_cookie('c', '-')}")

    async def on_message(self, message):
        if not isinstance(message, str) or not message.startswith("!"):
            await self.write_message(message, binary=isinstance(message, bytes))
            return
        word, *rest = message[1:].split(" ", 2)
        if word == "close":
            self.close(int(rest[0]) if rest else None, rest[1] if len(rest) > 1 else None)
        elif word == "ping":
            self.ping(b"are you there")
        elif word == "big":
            await self.write_message(b"x" * int(rest[0]), binary=True)
        elif word == "many":
            for number in range(int(rest[0])):
                await self.write_message(str(number))
        elif word == "drop":
            self.ws_connection.stream.close()

    def on_pong(self, data):
        self.write_message(b"pong: " + data, binary=True)

    def on_close(self):
        CLOSES.append((self.get_argument("id", ""), self.close_code, self.close_reason))


class Deflated(Talk):
    deflate = True


@pytest.fixture(scope="module")
def application():
    """Return the port of a real Tornado application."""
    app = Application([("/ws", Talk), ("/deflate", Deflated)], websocket_max_message_size=32 << 20)
    with TornadoUpstream(app) as made:
        yield made.port


@pytest.fixture(scope="module")
def edge(application):
    text = configuration(
        upstreams={"legacy": f"http://127.0.0.1:{application}"}, limits={"drain": "1s"}
    )
    with Edge(text) as made:
        yield made


# -- conversations with Tornado's client: coroutines from (port, path) to a transcript


async def said(connection) -> object:
    return await asyncio.wait_for(connection.read_message(), 10)


async def leave(connection) -> None:
    connection.close()
    while await said(connection) is not None:
        pass


async def hold(port, lines, *, path="/ws", **options):
    """Say *lines*, one answer each; then close. Return what was answered."""
    connection = await websocket_connect(f"ws://127.0.0.1:{port}{path}", **options)
    heard = []
    for each in lines:
        await connection.write_message(each, binary=isinstance(each, bytes))
        heard.append(await said(connection))
    heard.append(connection.selected_subprotocol)
    connection.close(1000, "bye")
    heard.append(await said(connection))
    return [*heard, connection.close_code, connection.close_reason]


def lines(*what, **options):
    return lambda port: hold(port, what, **options)


async def many(port):
    connection = await websocket_connect(f"ws://127.0.0.1:{port}/ws")
    await connection.write_message("!many 500")
    heard = [await said(connection) for _ in range(500)]
    await leave(connection)
    return heard


async def burst(port):
    connection = await websocket_connect(f"ws://127.0.0.1:{port}/ws")
    for number in range(300):
        connection.write_message(str(number))
    heard = [await said(connection) for _ in range(300)]
    await leave(connection)
    return heard


async def at_once(port):
    return await asyncio.gather(*(hold(port, [f"{n}", b"x" * n]) for n in range(40)))


def closed_by_server(command):
    async def talk(port):
        connection = await websocket_connect(f"ws://127.0.0.1:{port}/ws")
        await connection.write_message(command)
        heard = [await said(connection), connection.close_code, connection.close_reason]
        connection.close()
        return heard

    return talk


def refused(path, **fields):
    async def talk(port):
        request = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers=fields)
        try:
            await websocket_connect(request)
        except HTTPClientError as error:
            return [error.code, error.response.body if error.response else None]
        return "accepted"

    return talk


def with_fields(path, **fields):
    async def talk(port):
        request = HTTPRequest(f"ws://127.0.0.1:{port}{path}", headers=fields)
        connection = await websocket_connect(request)
        heard = [await said(connection)]
        await leave(connection)
        return heard

    return talk


async def write_after_close(port):
    connection = await websocket_connect(f"ws://127.0.0.1:{port}/ws")
    await connection.write_message("!close 1001 going")
    heard = [await said(connection)]
    try:
        await connection.write_message("too late")
    except WebSocketClosedError:
        heard.append("closed")
    connection.close()
    return heard


TALKS = {
    "text": lines("hello"),
    "text-empty": lines(""),
    "text-utf-8": lines("olá, “mundo” 🌍"),
    "text-nul": lines("a\0b"),
    "binary": lines(b"\0\xff\r\n\r\n"),
    "binary-empty": lines(b""),
    "mixed": lines("a", b"b", "c", b"d"),
    "looks-like-http": lines("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    **{f"size-{n}": lines(b"x" * n) for n in (1, 125, 126, 127, 65535, 65536, 1 << 20, 5 << 20)},
    "large-from-the-server": lines("!big 8000000"),
    "five-hundred-from-the-server": many,
    "three-hundred-before-reading": burst,
    "forty-at-once": at_once,
    "subprotocol": lines("x", subprotocols=["chat.v1", "chat.v2"]),
    "subprotocol-unknown": lines("x", subprotocols=["other"]),
    "deflate": lines("x" * 5000, path="/deflate", compression_options={}),
    "deflate-binary": lines(b"ab" * 50_000, path="/deflate", compression_options={}),
    "deflate-many": lines(*["again"] * 20, path="/deflate", compression_options={}),
    "deflate-offered-only": lines("x" * 500, compression_options={}),
    "deflate-not-offered": lines("x" * 500, path="/deflate"),
    "server-closes": closed_by_server("!close"),
    "server-closes-1000": closed_by_server("!close 1000 done"),
    "server-closes-4001": closed_by_server("!close 4001 no more"),
    "server-vanishes": closed_by_server("!drop"),
    "write-after-close": write_after_close,
    "refused-origin": refused("/ws", Origin="http://evil.test"),
    "refused-path": refused("/nowhere"),
    "query-and-cookie": with_fields("/ws?greet=a%20b", Cookie="c=1; d=2"),
    "foreign-origin": with_fields("/ws?greet=o", Origin="https://www.example.com"),
}


@pytest.mark.parametrize("name", TALKS)
def test_a_conversation_is_the_same_as_direct(name, edge, application):
    async def both():
        return [await TALKS[name](application), await TALKS[name](edge.port)]

    direct, through = asyncio.run(both())
    assert through == direct


# -- conversations in raw frames

KEY = base64.b64encode(b"0123456789abcdef").decode()
FIELDS = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
]
SHAKE = build("GET", "/ws", FIELDS)


def frame(opcode: int, payload: bytes = b"", *, final=True, mask=True, reserved=0) -> bytes:
    """Return one frame of a client (RFC 6455 5.2)."""
    first = (0x80 if final else 0) | reserved | opcode
    size = len(payload)
    flag = 0x80 if mask else 0
    if size < 126:
        head = struct.pack("!BB", first, flag | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, flag | 126, size)
    else:
        head = struct.pack("!BBQ", first, flag | 127, size)
    if not mask:
        return head + payload
    key = b"\x01\x02\x03\x04"
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return head + key + masked


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
BYE = frame(CLOSE, struct.pack("!H", 1000))
RAW = {
    "text": frame(TEXT, b"hi") + BYE,
    "fragments": frame(TEXT, b"a", final=False)
    + frame(0, b"b", final=False)
    + frame(0, b"c")
    + BYE,
    "ping": frame(PING, b"p") + BYE,
    "ping-empty": frame(PING) + BYE,
    "ping-of-125": frame(PING, b"p" * 125) + BYE,
    "ping-too-long": frame(PING, b"p" * 126),
    "ping-between-fragments": frame(TEXT, b"a", final=False) + frame(PING) + frame(0, b"b") + BYE,
    "pong-unasked": frame(PONG, b"x") + BYE,
    "server-pings": frame(TEXT, b"!ping") + frame(PONG, b"are you there") + BYE,
    "close-without-code": frame(CLOSE),
    "close-with-reason": frame(CLOSE, struct.pack("!H", 1001) + b"away"),
    "close-4999": frame(CLOSE, struct.pack("!H", 4999)),
    "unmasked": frame(TEXT, b"hi", mask=False) + BYE,
    "reserved-bits": frame(TEXT, b"hi", reserved=0x40),
    "unknown-opcode": frame(3, b"hi"),
    "bad-utf-8": frame(TEXT, b"\xff\xfe"),
    "continuation-of-nothing": frame(0, b"hi"),
    "two-starts": frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
    "a-fragmented-ping": frame(PING, b"p", final=False),
}


def raw(address, sent: bytes, *, pieces: int = 0, separately: bool = True) -> tuple[int, bytes]:
    """Shake hands, send *sent*, return the status and all that came until the server closed."""
    with RawClient(address, timeout=8) as client:
        if not separately:
            client.send(SHAKE + sent)
        elif pieces:
            for start in range(0, len(SHAKE), pieces):
                client.send(SHAKE[start : start + pieces])
        else:
            client.send(SHAKE)
        response = client.read()
        assert response.status == 101
        if separately:
            client.send(sent)
        return response.status, client.drain(timeout=8)


@pytest.mark.parametrize("name", RAW)
def test_frames_are_the_same_as_direct(name, edge, application):
    direct = raw(("127.0.0.1", application), RAW[name])
    assert raw(edge.address, RAW[name]) == direct


def test_frames_behind_the_handshake_are_not_lost(edge, application):
    direct = raw(("127.0.0.1", application), RAW["text"], separately=False)
    assert raw(edge.address, RAW["text"], separately=False) == direct


def test_a_handshake_in_pieces(edge, application):
    direct = raw(("127.0.0.1", application), RAW["text"])
    assert raw(edge.address, RAW["text"], pieces=5) == direct


def test_the_handshakes_fields_are_the_servers(edge, application):
    answers = []
    for address in (("127.0.0.1", application), edge.address):
        with RawClient(address) as client:
            client.send(build("GET", "/ws", [*FIELDS, ("Sec-WebSocket-Protocol", "chat.v2")]))
            answers.append(client.read().expect(101))
    for name in ("Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Upgrade"):
        assert answers[0].get(name) == answers[1].get(name)
    assert answers[1].tokens("connection") == [b"upgrade"]


def test_a_reader_that_vanishes_is_noticed_by_the_server(edge):
    CLOSES.clear()
    for number in range(10):
        with edge.client() as client:
            client.send(build("GET", f"/ws?id=v{number}", FIELDS))
            client.read().expect(101)
            if number % 2:
                client.reset()
    # Those of the tests before may come late.
    until(lambda: {f"v{number}" for number in range(10)} <= {one[0] for one in CLOSES})


def test_pain_47_aborted_websockets_leave_no_sockets(edge):
    edge.get("/ws")
    before, size = edge.sockets(), edge.rss()
    for number in range(300):
        with edge.client() as client:
            client.send(SHAKE)
            if number % 3:
                client.read().expect(101)
                client.send(frame(BINARY, b"x" * 1000)[: 500 if number % 2 else 2000])
            client.reset()
    until(lambda: edge.sockets() <= before + 2, what="sockets back to where they were")
    assert edge.rss() - size < 8 << 20


def test_the_connection_of_a_refused_handshake_goes_on(edge):
    with edge.client() as client:
        client.send(build("GET", "/nowhere", FIELDS))
        client.read().expect(404)
        client.get("/ws").expect(400)


def test_a_tunnel_is_quick(edge):
    """Small messages are not held back by Nagle or by a buffer."""
    with edge.client() as client:
        client.send(SHAKE)
        client.read().expect(101)
        start = time.perf_counter()
        for _ in range(300):
            client.send(frame(TEXT, b"hi"))
            assert client.read_tunnel(4) == b"\x81\x02hi"
        assert time.perf_counter() - start < 10
