# SPDX-License-Identifier: Apache-2.0
"""What belongs to one hop stays there; naming a field in Connection disarms nothing of ours."""

from __future__ import annotations

import pytest

from strangler.testing import (
    Edge,
    Request,
    Upstream,
    Vector,
    build,
    chunked,
    configuration,
    judge,
)
from strangler.testing.vectors import clean, content, every, has, keeps, lacks, reject, valid

H = b"Host: www.example.com\r\n"


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    limits = {"head_timeout": "500ms", "body_timeout": "500ms", "drain": "1s"}
    with Edge(configuration(upstreams={"legacy": origin}, limits=limits)) as made:
        yield made


def get(fields: bytes, *, minor: int = 1) -> bytes:
    return b"GET /hop HTTP/1.%d\r\n" % minor + H + fields + b"\r\n"


def post(fields: bytes, body: bytes) -> bytes:
    return b"POST /hop HTTP/1.1\r\n" + H + fields + b"\r\n" + body


def not_named(*names: str):
    """Return a check that the Connection that went on names none of these."""
    unwanted = {name.lower().encode() for name in names}

    def check(request: Request) -> None:
        left = unwanted & set(request.tokens("connection"))
        assert not left, f"Connection still names {left}"

    return check


OURS = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "Host")

NAMED = [
    valid(
        "named-field",
        get(b"Connection: X-Foo\r\nX-Foo: 1\r\nX-Bar: 2\r\n"),
        check=every(lacks("X-Foo"), has("X-Bar", "2"), not_named("X-Foo")),
        rfc="9110 7.6.1",
    ),
    valid(
        "named-in-other-case",
        get(b"connection: x-FOO\r\nX-Foo: 1\r\n"),
        check=every(lacks("X-Foo"), not_named("X-Foo")),
        rfc="9110 7.6.1",
    ),
    valid(
        "named-in-a-list",
        get(b"Connection: keep-alive,X-Foo ,, X-Bar\r\nX-Foo: 1\r\nX-Bar: 2\r\nX-Baz: 3\r\n"),
        check=every(lacks("X-Foo", "X-Bar"), has("X-Baz", "3")),
        rfc="9110 7.6.1",
    ),
    valid(
        "named-in-two-lines",
        get(b"Connection: X-Foo\r\nX-Foo: 1\r\nConnection: X-Bar\r\nX-Bar: 2\r\n"),
        check=lacks("X-Foo", "X-Bar"),
        rfc="9110 7.6.1",
    ),
    valid(
        "named-behind-it",
        get(b"X-Foo: 1\r\nConnection: X-Foo\r\nX-Foo: 2\r\n"),
        check=lacks("X-Foo"),
        rfc="9110 7.6.1",
    ),
    valid(
        "named-with-close",
        get(b"Connection: close, X-Foo\r\nX-Foo: 1\r\n"),
        check=lacks("X-Foo"),
        rfc="9110 7.6.1",
    ),
    valid(
        "named-but-absent",
        get(b"Connection: X-Nothing\r\nX-Nothing-Else: 1\r\n"),
        check=has("X-Nothing-Else", "1"),
        rfc="9110 7.6.1",
    ),
    valid(
        "prefix-of-a-name",
        get(b"Connection: X-F\r\nX-Foo: 1\r\nMy-X-F: 2\r\n"),
        check=every(has("X-Foo", "1"), has("My-X-F", "2")),
        rfc="9110 7.6.1",
    ),
    *(
        valid(
            f"names-{name}",
            get(f"Connection: {name}\r\n".encode()),
            check=every(keeps(*OURS), not_named(name)),
            rfc="9110 7.6.1: must not disarm what the proxy adds",
        )
        for name in (*OURS, "close, X-Forwarded-For", "Forwarded", "x-forwarded-for", "host")
    ),
    valid(
        "names-all-of-ours",
        get(b"Connection: " + b", ".join(each.encode() for each in OURS) + b"\r\n"),
        check=keeps(*OURS),
        rfc="9110 7.6.1",
    ),
    valid(
        "names-x-forwarded-for-and-sends-it",
        get(b"Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\n"),
        check=has("X-Forwarded-For", "127.0.0.1"),
        rfc="9110 7.6.1",
    ),
    valid(
        "names-content-length",
        post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello"),
        check=content(b"hello"),
        rfc="9110 7.6.1",
    ),
    valid(
        "names-transfer-encoding",
        post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", chunked("hello")),
        check=content(b"hello"),
        rfc="9110 7.6.1",
    ),
    valid(
        "names-content-length-and-holds-a-request",
        post(
            b"Connection: content-length\r\nContent-Length: 24\r\n", b"GET /smuggled HTTP/1.1\r\n"
        ),
        check=content(b"GET /smuggled HTTP/1.1\r\n"),
        rfc="9110 7.6.1",
    ),
    valid(
        "names-cookie",
        get(b"Connection: Cookie\r\nCookie: a=1\r\n"),
        check=keeps(*OURS),
        rfc="9110 7.6.1",
    ),
    valid(
        "names-authorization",
        get(b"Connection: Authorization\r\nAuthorization: Basic x\r\n"),
        check=keeps(*OURS),
        rfc="9110 7.6.1",
    ),
    valid("empty-connection", get(b"Connection:\r\n"), check=keeps(*OURS), rfc="9110 5.6.1"),
    valid("connection-of-commas", get(b"Connection: ,,,\r\n"), check=keeps(*OURS), rfc="5.6.1"),
    clean("connection-quoted", get(b'Connection: "close"\r\n'), 400, rfc="9110 7.6.1"),
    clean("connection-with-spaces", get(b"Connection: a b\r\n"), 400, rfc="9110 7.6.1"),
    clean(
        "a-thousand-names",
        get(
            b"Connection: " + b", ".join(b"X-%d" % each for each in range(1000)) + b"\r\nX-7: 1\r\n"
        ),
        400,
        431,
        check=lacks("X-7"),
        rfc="9110 7.6.1",
    ),
]

FIXED = [
    *(
        valid(
            f"removes-{name}",
            get(f"{name}: {value}\r\nX-Bar: 2\r\n".encode()),
            check=every(lacks(name), has("X-Bar", "2")),
            rfc="9110 7.6.1",
        )
        for name, value in {
            "Keep-Alive": "timeout=5",
            "Proxy-Connection": "keep-alive",
            "Proxy-Authorization": "Basic x",
            "Proxy-Authenticate": "Basic",
            "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
            "TE": "gzip",
            "Upgrade": "websocket",
            "keep-alive": "timeout=5",
            "PROXY-CONNECTION": "close",
        }.items()
    ),
    valid(
        "te-trailers-is-ours-to-say",
        get(b"Connection: TE\r\nTE: trailers\r\n"),
        check=lambda request: _te(request),
        rfc="9110 10.1.4",
    ),
    valid(
        "te-of-codings",
        get(b"Connection: TE\r\nTE: gzip;q=1, deflate\r\n"),
        check=lacks("TE"),
        rfc="9110 10.1.4",
    ),
    valid("connection-close-is-for-us", get(b"Connection: close\r\n"), rfc="9112 9.6"),
    valid("close-in-capitals", get(b"Connection: CLOSE\r\n"), rfc="9110 7.6.1"),
    valid("keep-alive-in-1.0", get(b"Connection: keep-alive\r\n", minor=0), rfc="9112 9.3"),
    valid("keep-alive-in-1.1", get(b"Connection: keep-alive\r\n"), rfc="9112 9.3"),
]


def _te(request: Request) -> None:
    if "TE" in request:
        assert request.tokens("te") == [b"trailers"], request.all("te")
        assert b"te" in request.tokens("connection")


UPGRADES = [
    valid(
        "h2c",
        get(
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
        ),
        check=every(lacks("Upgrade", "HTTP2-Settings"), not_named("upgrade", "http2-settings")),
        rfc="9110 7.8, 9113 3.1",
    ),
    valid(
        "h2c-without-settings",
        get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        check=lacks("Upgrade"),
        rfc="9110 7.8",
    ),
    valid(
        "h2c-in-capitals",
        get(b"Connection: UPGRADE\r\nUpgrade: H2C\r\n"),
        check=lacks("Upgrade"),
        rfc="9110 7.8",
    ),
    valid(
        "h2c-in-two-lines",
        get(b"Connection: Upgrade\r\nUpgrade: x\r\nUpgrade: h2c\r\n"),
        check=lambda request: _no_h2(request),
        rfc="9110 7.8",
    ),
    valid(
        "h2c-beside-websocket",
        get(b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        check=lambda request: _no_h2(request),
        rfc="9110 7.8",
    ),
    valid(
        "h2",
        get(b"Connection: Upgrade\r\nUpgrade: h2\r\n"),
        check=lambda request: _no_h2(request),
        rfc="9110 7.8",
    ),
    valid(
        "tls-upgrade",
        get(b"Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n"),
        check=lambda request: _no_h2(request),
        rfc="9110 7.8",
    ),
    valid(
        "upgrade-unconnected",
        get(b"Upgrade: websocket\r\n"),
        check=lacks("Upgrade"),
        rfc="9110 7.8: only with the connection option",
    ),
    valid(
        "connection-upgrade-alone",
        get(b"Connection: Upgrade\r\n"),
        check=not_named("upgrade"),
        rfc="9110 7.8",
    ),
    valid(
        "upgrade-in-1.0",
        get(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", minor=0),
        check=lacks("Upgrade"),
        rfc="9110 7.8: ignore in HTTP/1.0",
    ),
    valid(
        "upgrade-declined",
        get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        rfc="9110 7.8",
    ),
    valid(
        "h2c-with-content",
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"hello"),
        check=every(lacks("Upgrade"), content(b"hello")),
        rfc="9110 7.8",
    ),
    valid(
        "declined-with-a-request-behind",
        get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n") + build("GET", "/second"),
        requests=2,
        rfc="9110 7.8",
    ),
]


def _no_h2(request: Request) -> None:
    assert not {b"h2c", b"h2"} & set(request.tokens("upgrade")), request.head


FORWARDS = [
    valid(
        "max-forwards-on-get-is-left",
        get(b"Max-Forwards: 0\r\n"),
        check=lambda request: None,
        rfc="9110 7.6.2: may ignore for other methods",
    ),
    valid(
        "max-forwards-is-counted-down",
        b"OPTIONS /hop HTTP/1.1\r\n" + H + b"Max-Forwards: 5\r\n\r\n",
        check=has("Max-Forwards", "4"),
        methods=("OPTIONS",),
        rfc="9110 7.6.2",
    ),
    valid(
        "max-forwards-of-six-thousand-digits-is-lowered",
        b"OPTIONS /hop HTTP/1.1\r\n" + H + b"Max-Forwards: " + b"9" * 6000 + b"\r\n\r\n",
        check=has("Max-Forwards", "254"),
        methods=("OPTIONS",),
        rfc="9110 7.6.2: or the most that is supported",
    ),
    valid(
        "max-forwards-with-zeros",
        b"OPTIONS /hop HTTP/1.1\r\n" + H + b"Max-Forwards: 0005\r\n\r\n",
        check=has("Max-Forwards", "4"),
        methods=("OPTIONS",),
        rfc="9110 7.6.2",
    ),
    clean(
        "max-forwards-not-a-number",
        b"OPTIONS /hop HTTP/1.1\r\n" + H + b"Max-Forwards: x\r\n\r\n",
        400,
        methods=("OPTIONS",),
        rfc="9110 7.6.2",
    ),
    valid(
        "via-is-added", get(b""), check=lambda request: _via(request, [b"1.1"]), rfc="9110 7.6.3"
    ),
    valid(
        "via-says-1.0",
        get(b"", minor=0),
        check=lambda request: _via(request, [b"1.0"]),
        rfc="9110 7.6.3: the received protocol",
    ),
    valid(
        "via-is-appended",
        get(b"Via: 1.0 fred, 1.1 p.example.net\r\n"),
        check=lambda request: _via(request, [b"1.0 fred", b"1.1 p.example.net", b"1.1"]),
        rfc="9110 7.6.3",
    ),
    valid(
        "via-in-two-lines-is-appended",
        get(b"Via: 1.0 fred\r\nX: y\r\nVia: 1.1 p.example.net\r\n"),
        check=lambda request: _via(request, [b"1.0 fred", b"1.1 p.example.net", b"1.1"]),
        rfc="9110 7.6.3",
    ),
    reject(
        "via-with-connection-cannot-hide-nul",
        get(b"Via: a\0\r\nConnection: Via\r\n"),
        400,
        rfc="5.5",
    ),
]


def _via(request: Request, expected: list[bytes]) -> None:
    """Assert on Via; the last entry is ours: *expected* has its version, the name is checked."""
    *before, ours = request.tokens("via")
    version, _, name = ours.partition(b" ")
    assert [*before, version] == expected, request.all("via")
    assert name.startswith(b"strangler"), name


@pytest.mark.parametrize("vector", NAMED, ids=lambda v: v.id)
def test_named_in_connection(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", FIXED, ids=lambda v: v.id)
def test_of_one_hop_by_their_name(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", UPGRADES, ids=lambda v: v.id)
def test_upgrades_not_taken(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", FORWARDS, ids=lambda v: v.id)
def test_via_and_max_forwards(vector: Vector, edge, origin):
    judge(vector, edge, origin)


def test_options_with_no_forwards_left_ends_here(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.request("OPTIONS", "/hop", [("Max-Forwards", "0")]).expect((200, 204))
    assert len(origin.requests) == before


def test_a_reader_that_says_close_is_closed(edge):
    with edge.client() as client:
        client.send(get(b"Connection: close\r\n"), get(b""))
        response = client.read()
        assert b"close" in response.tokens("connection")
        client.expect_closed()


def test_nothing_behind_a_close_is_executed(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(get(b"Connection: close\r\n") + build("POST", "/must-not-run", body="x"))
        client.read().expect(200)
        client.expect_closed()
    edge.get("/barrier").expect(200)
    assert b"/must-not-run" not in [each.path for each in origin.requests[before:]]


def test_a_1_0_reader_is_closed_unless_it_asks_to_be_kept(edge):
    with edge.client() as client:
        client.send(get(b"", minor=0))
        client.read().expect(200)
        client.expect_closed()
    with edge.client() as client:
        client.send(get(b"Connection: keep-alive\r\n", minor=0))
        response = client.read()
        assert b"keep-alive" in response.tokens("connection")
        client.send(get(b"Connection: keep-alive\r\n", minor=0))
        client.read().expect(200)
