# SPDX-License-Identifier: Apache-2.0
"""Our server in the place of Tornado's: pytest-tornado's own fixture, with nothing else changed."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.web import (
    Application,
    ErrorHandler,
    Finish,
    HTTPError,
    RedirectHandler,
    RequestHandler,
    StaticFileHandler,
    stream_request_body,
)
from tornado.websocket import WebSocketHandler, websocket_connect

from strangler.edge.server import Server

SEEN: dict[str, object] = {}


class Hello(RequestHandler):
    def get(self):
        self.write(f"hello {self.get_query_argument('name', 'world')}")

    def post(self):
        self.write({"form": self.get_body_arguments("a"), "n": len(self.request.body)})


class Asker(RequestHandler):
    def get(self):
        request = self.request
        self.write(
            {
                "version": request.version,
                "uri": request.uri,
                "ip": request.remote_ip,
                "protocol": request.protocol,
                "host": request.host,
                "many": request.headers.get_list("X-Many"),
            }
        )


class Pieces(RequestHandler):
    async def get(self):
        for piece in ("one ", "two ", "three"):
            self.write(piece)
            await self.flush()


class Leaving(RequestHandler):
    def on_connection_close(self):
        SEEN["left"].set()

    async def get(self):
        SEEN["came"].set()
        await SEEN["go"].wait()


class Endless(RequestHandler):
    async def get(self):
        SEEN["sent"] = 0
        try:
            while True:
                self.write(b"x" * 65536)
                await self.flush()
                SEEN["sent"] += 65536
        except StreamClosedError:
            SEEN["left"].set()


@stream_request_body
class Upload(RequestHandler):
    def prepare(self):
        self.pieces = []
        self.request.connection.set_max_body_size(64 << 20)

    async def data_received(self, data):
        self.pieces.append(len(data))
        SEEN["taken"] = SEEN.get("taken", 0) + len(data)
        if "go" in SEEN:
            await SEEN["go"].wait()

    def post(self):
        self.write({"bytes": sum(self.pieces)})

    def on_connection_close(self):
        if "left" in SEEN:
            SEEN["left"].set()


class Short(RequestHandler):
    def get(self):
        self.set_header("Content-Length", "10")
        self.write("short")


class Broken(RequestHandler):
    def get(self):
        raise ZeroDivisionError


class Refusing(RequestHandler):
    def get(self):
        self.set_status(403)
        raise Finish("no")

    def post(self):
        raise HTTPError(418)


class Nothing(RequestHandler):
    def get(self):
        self.set_status(204)


class Echo(WebSocketHandler):
    async def on_message(self, message):
        if message == "flood":
            SEEN["sent"] = 0
            try:
                while SEEN["sent"] < 64 << 20:
                    await self.write_message(b"x" * 65536, binary=True)
                    SEEN["sent"] += 65536
            finally:
                SEEN["flooded"].set()
        elif message == "slow":
            await SEEN["go"].wait()
        elif message == "bye":
            self.close(4000, "bye")
        else:
            await self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self):
        if "left" in SEEN:
            SEEN["left"].set()


@pytest.fixture
def io_loop():
    """Return pytest-tornado's loop, made without the ways that Tornado has given up."""
    SEEN.clear()
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


@pytest.fixture
def app(tmp_path):
    (tmp_path / "a.txt").write_text("0123456789" * 20000)
    return Application(
        [
            ("/", Hello),
            ("/asker", Asker),
            ("/pieces", Pieces),
            ("/leaving", Leaving),
            ("/endless", Endless),
            ("/upload", Upload),
            ("/short", Short),
            ("/broken", Broken),
            ("/refusing", Refusing),
            ("/nothing", Nothing),
            ("/gone", ErrorHandler, {"status_code": 410}),
            ("/old", RedirectHandler, {"url": "/", "permanent": False}),
            ("/static/(.*)", StaticFileHandler, {"path": str(tmp_path)}),
            ("/echo", Echo),
        ],
        compress_response=False,
    )


@pytest.fixture(params=[Server, HTTPServer], ids=["ours", "tornado"])
def http_server(request, io_loop, _unused_port, app):
    """Do what pytest-tornado's fixture does, for both servers: the tests can't tell them apart."""
    server = request.param(app)
    server.add_socket(_unused_port[0])
    yield server
    server.stop()
    io_loop.run_sync(server.close_all_connections, timeout=60)


@pytest.fixture
def ask(http_client, base_url):
    async def fetch(path, **options):
        request = HTTPRequest(base_url + path, follow_redirects=False, **options)
        return await http_client.fetch(request, raise_error=False)

    return fetch


class Raw:
    """A raw connection on the test's own loop."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port, *, buffer=None):
        sock = socket.socket()
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=4096))

    async def answer(self):
        """Return (head, content) of one answer with a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head, await self.reader.readexactly(length)


@pytest.fixture
def raw(http_server, http_port):
    made = []

    async def connect(**options):
        made.append(await Raw.to(http_port, **options))
        return made[-1]

    yield connect
    for each in made:
        each.writer.transport.abort()


@pytest.mark.gen_test
async def test_arguments_forms_and_json(ask):
    assert (await ask("/?name=eu")).body == b"hello eu"
    answer = await ask("/", method="POST", body="a=1&a=2")
    assert answer.body == b'{"form": ["1", "2"], "n": 7}'
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.gen_test
async def test_what_a_handler_sees_of_a_request(raw, http_port):
    client = await raw()
    client.writer.write(
        b"GET /asker?q=%2f&x HTTP/1.1\r\nHost: a.example:1\r\nX-Many: 1\r\nX-Many: 2\r\n\r\n"
    )
    _, content = await client.answer()
    assert content == (
        b'{"version": "HTTP/1.1", "uri": "/asker?q=%2f&x", "ip": "127.0.0.1", "protocol": "http", '
        b'"host": "a.example:1", "many": ["1", "2"]}'
    )


@pytest.mark.gen_test
async def test_head_is_get_without_content(raw):
    client = await raw()
    client.writer.write(b"HEAD /static/a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert b"Content-Length: 200000\r\n" in head
    client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await client.answer())[1] == b"hello world"


@pytest.mark.gen_test
async def test_tornados_own_handlers(ask):
    assert (await ask("/gone")).code == 410
    assert (await ask("/nowhere")).code == 404
    moved = await ask("/old")
    assert (moved.code, moved.headers["Location"]) == (302, "/")
    whole = await ask("/static/a.txt")
    assert (whole.code, len(whole.body)) == (200, 200000)
    again = await ask("/static/a.txt", headers={"If-None-Match": whole.headers["Etag"]})
    assert (again.code, again.body) == (304, b"")
    part = await ask("/static/a.txt", headers={"Range": "bytes=5-9"})
    assert (part.code, part.body) == (206, b"56789")
    refused = await ask("/refusing")
    assert (refused.code, refused.body) == (403, b"no")
    assert (await ask("/refusing", method="POST", body="")).code == 418
    nothing = await ask("/nothing")
    assert (nothing.code, nothing.body) == (204, b"")
    assert (await ask("/broken")).code == 500


@pytest.mark.gen_test
async def test_pieces_are_chunks_and_end_with_the_connection_for_1_0(ask, raw):
    assert (await ask("/pieces")).body == b"one two three"
    client = await raw()
    client.writer.write(b"GET /pieces HTTP/1.0\r\n\r\n")
    answer = await client.reader.read(-1)
    assert answer.endswith(b"\r\n\r\none two three")
    assert b"chunked" not in answer


@pytest.mark.gen_test
async def test_a_pipeline_is_answered_in_order_and_a_close_ends_it(raw):
    client = await raw()
    one = b"GET /?name=%d HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /?name=9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    client.writer.write(b"".join(one % n for n in range(5)) + last)
    for number in (0, 1, 2, 3, 4, 9):
        assert (await client.answer())[1] == b"hello %d" % number
    assert await client.reader.read() == b""


@pytest.mark.gen_test
async def test_100_continue_comes_before_the_content(raw):
    client = await raw()
    client.writer.write(
        b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    client.writer.write(b"abc")
    assert (await client.answer())[1] == b'{"bytes": 3}'


@pytest.mark.gen_test
async def test_a_large_upload_comes_in_pieces(ask):
    answer = await ask("/upload", method="POST", body=b"x" * (8 << 20))
    assert answer.body == b'{"bytes": 8388608}'


@pytest.mark.gen_test
async def test_an_upload_waits_for_its_handler(raw):
    SEEN["go"] = asyncio.Event()
    client = await raw()
    size = 32 << 20
    head = b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    client.writer.write(head + b"x" * size)
    while not SEEN.get("taken"):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert client.writer.transport.get_write_buffer_size() > size // 2
    SEEN["go"].set()
    assert (await client.answer())[1] == b'{"bytes": 33554432}'


@pytest.mark.gen_test
async def test_a_reader_that_leaves_is_told_to_its_handler(raw):
    SEEN.update(came=asyncio.Event(), left=asyncio.Event(), go=asyncio.Event())
    client = await raw()
    client.writer.write(b"GET /leaving HTTP/1.1\r\nHost: a\r\n\r\n")
    await SEEN["came"].wait()
    client.writer.transport.abort()
    await asyncio.wait_for(SEEN["left"].wait(), 50)
    SEEN["go"].set()


@pytest.mark.gen_test
async def test_a_reader_that_leaves_in_its_upload_is_told_to_the_handler(raw):
    SEEN.update(left=asyncio.Event())
    client = await raw()
    client.writer.write(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    while not SEEN.get("taken"):
        await asyncio.sleep(0.01)
    client.writer.transport.abort()
    await asyncio.wait_for(SEEN["left"].wait(), 50)


@pytest.mark.gen_test
async def test_flush_waits_for_a_slow_reader_and_fails_when_it_leaves(raw):
    SEEN.update(left=asyncio.Event(), sent=0)
    client = await raw(buffer=4096)
    client.writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    seen = -1
    while seen != SEEN["sent"]:
        seen = SEEN["sent"]
        await asyncio.sleep(0.2)
    assert seen < 16 << 20
    client.writer.transport.abort()
    await asyncio.wait_for(SEEN["left"].wait(), 50)


@pytest.mark.gen_test
async def test_a_handler_that_writes_less_than_it_said_gives_no_whole_answer(raw):
    client = await raw()
    client.writer.write(b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        answer = await asyncio.wait_for(client.reader.read(-1), 50)
    except ConnectionResetError:
        answer = b""
    assert not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"\r\n\r\n" + b"short" * 2)


@pytest.mark.gen_test
async def test_a_websocket_talks_both_ways_and_closes_with_its_code(http_server, http_port):
    socket_ = await websocket_connect(f"ws://127.0.0.1:{http_port}/echo")
    for message in ("olá", b"\x00\xff" * 50000, "x" * 200000):
        await socket_.write_message(message, binary=isinstance(message, bytes))
        assert await socket_.read_message() == message
    await socket_.write_message("bye")
    assert await socket_.read_message() is None
    assert (socket_.close_code, socket_.close_reason) == (4000, "bye")
    socket_.close()


SHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def masked(payload: bytes) -> bytes:
    """Return *payload* as one text frame of a client whose mask is zero."""
    if len(payload) < 126:
        return b"\x81" + bytes([0x80 | len(payload)]) + b"\0\0\0\0" + payload
    return b"\x82\xff" + len(payload).to_bytes(8, "big") + b"\0\0\0\0" + payload


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_websockets_leaving_is_told(how, raw):
    SEEN["left"] = asyncio.Event()
    client = await raw()
    client.writer.write(SHAKE)
    await client.reader.readuntil(b"\r\n\r\n")
    getattr(client.writer.transport, how)()
    await asyncio.wait_for(SEEN["left"].wait(), 50)


@pytest.mark.gen_test
async def test_a_websocket_waits_for_a_slow_reader(raw):
    SEEN.update(flooded=asyncio.Event(), sent=0)
    client = await raw(buffer=4096)
    client.writer.write(SHAKE)
    await client.reader.readuntil(b"\r\n\r\n")
    client.writer.write(masked(b"flood"))
    seen = -1
    while seen != SEEN["sent"] or not seen:
        seen = SEEN["sent"]
        await asyncio.sleep(0.2)
    assert seen < 16 << 20
    client.writer.transport.abort()
    await asyncio.wait_for(SEEN["flooded"].wait(), 50)


@pytest.mark.gen_test
async def test_a_websocket_holds_back_a_fast_sender(raw):
    SEEN["go"] = asyncio.Event()
    client = await raw()
    client.writer.write(SHAKE)
    await client.reader.readuntil(b"\r\n\r\n")
    client.writer.write(masked(b"slow") + masked(b"x" * 65536) * 600)
    await asyncio.sleep(0.5)
    assert client.writer.transport.get_write_buffer_size() > 8 << 20
    SEEN["go"].set()
    for _ in range(600):
        await client.reader.readexactly(10 + 65536)


@pytest.mark.gen_test
async def test_a_large_body_is_refused_where_the_application_set_no_other_limit(raw):
    client = await raw()
    client.writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
    answer = await asyncio.wait_for(client.reader.read(-1), 50)
    assert answer[:12] in (b"HTTP/1.1 413", b"HTTP/1.1 400", b"")


def test_it_is_made_and_told_to_listen_before_any_loop_runs(io_loop, app):
    server = Server(app)
    server.listen(0, "127.0.0.1")
    server.stop()

    async def settle():
        await asyncio.sleep(0)
        await server.close_all_connections()

    io_loop.run_sync(settle, timeout=60)


@pytest.mark.gen_test
async def test_who_stops_listens_no_more_but_ends_what_runs(
    http_server, raw, http_client, base_url
):
    SEEN.update(came=asyncio.Event(), left=asyncio.Event(), go=asyncio.Event())
    client = await raw()
    client.writer.write(b"GET /leaving HTTP/1.1\r\nHost: a\r\n\r\n")
    await SEEN["came"].wait()
    http_server.stop()
    await asyncio.sleep(0)
    with pytest.raises((HTTPClientError, OSError)):
        await http_client.fetch(base_url + "/")
    SEEN["go"].set()
    assert (await client.answer())[0].startswith(b"HTTP/1.1 200")
