# SPDX-License-Identifier: Apache-2.0
"""Tunnels, server-sent events, endless answers and early ends: what flows while it flows."""

from __future__ import annotations

import threading
import time

import pytest

from strangler.testing import (
    Closed,
    Edge,
    Scenario,
    Truncated,
    Upstream,
    build,
    close,
    configuration,
    echo,
    endless,
    half_close,
    hang,
    pause,
    reset,
    respond,
    until,
    wait,
)

OK = b"HTTP/1.1 200 OK\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo/1\r\n\r\n"
ASK = [("Connection", "Upgrade"), ("Upgrade", "foo/1")]


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    with Edge(configuration(upstreams={"legacy": origin}, limits={"drain": "1s"})) as made:
        yield made


def connection_of(origin: Upstream, path: str):
    """Return the origin's connection on which *path* came, once it has."""
    wanted = path.encode()

    def find():
        return [
            each
            for each in list(origin.connections)
            if any(request.path == wanted for request in list(each.requests))
        ]

    until(lambda: bool(find()))
    return find()[-1]


# -- events and endless answers


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_each_event_arrives_when_it_is_sent(framing, edge, origin):
    gates = [threading.Event() for _ in range(4)]
    steps = [STREAM + (b"Transfer-Encoding: chunked\r\n\r\n" if framing == "chunked" else b"\r\n")]
    for number, gate in enumerate(gates):
        event = b"data: %d\n\n" % number
        steps += [
            wait(gate),
            b"%x\r\n%s\r\n" % (len(event), event) if framing == "chunked" else event,
        ]
    end = [b"0\r\n\r\n"] if framing == "chunked" else [close()]
    origin.on(f"/events-{framing}", *steps, *end)
    with edge.client() as client:
        client.send(build("GET", f"/events-{framing}", [("Accept", "text/event-stream")]))
        assert client.read_head().get("Content-Type") == b"text/event-stream"
        for number, gate in enumerate(gates):
            gate.set()
            assert client.read_content(9 * (number + 1)).endswith(b"data: %d\n\n" % number)


def test_the_head_of_an_answer_does_not_wait_for_its_content(edge, origin):
    origin.on("/head-first", OK + b"Content-Length: 2\r\n\r\n", hang())
    with edge.client() as client:
        client.send(build("GET", "/head-first"))
        assert client.read_head().status == 200


def test_a_reader_that_leaves_ends_the_fetch_within_a_second(edge, origin):
    for path, steps in {
        "/leaves-events": (STREAM + b"\r\n", hang()),
        "/leaves-endless": (OK + b"\r\n", endless(b"x" * 65536)),
        "/leaves-chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", hang()),
    }.items():
        origin.on(path, *steps)
        with edge.client() as client:
            client.send(build("GET", path))
            client.read_head()
        assert connection_of(origin, path).wait_gone() < 5


def test_a_reader_that_leaves_in_an_upload_ends_the_fetch(edge, origin):
    with edge.client() as client:
        client.send(build("POST", "/leaves-up", [("Content-Length", "100")]), b"x" * 50)
        connection = connection_of(origin, "/leaves-up")
    assert connection.wait_gone() < 5
    assert not connection.requests[-1].complete


def test_an_upload_streams_before_it_has_ended(edge, origin):
    with edge.client() as client:
        client.send(build("POST", "/streams-up", [("Transfer-Encoding", "chunked")]))
        client.send(b"5\r\nhello\r\n")
        connection = connection_of(origin, "/streams-up")
        until(lambda: bytes(connection.requests[-1].body) == b"hello")
        client.send(b"5\r\nworld\r\n")
        until(lambda: bytes(connection.requests[-1].body) == b"helloworld")
        client.send(b"0\r\n\r\n")
        client.read("POST").expect(200)


def test_an_answer_streams_while_the_upload_goes_on(edge, origin):
    origin.on("/both-ways", OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n", when="head")
    with edge.client() as client:
        client.send(build("POST", "/both-ways", [("Transfer-Encoding", "chunked")]), b"1\r\na\r\n")
        client.read_head("POST")
        assert client.read_content(3) == b"one"
        client.send(b"1\r\nb\r\n0\r\n\r\n")
        connection = connection_of(origin, "/both-ways")
        until(lambda: connection.requests[-1].complete)
        connection.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert client.read_content(6) == b"onetwo"


@pytest.mark.parametrize("end", [close, reset])
def test_a_stream_that_breaks_off_is_visibly_broken(end, edge, origin):
    origin.on(
        "/breaks", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", pause(0.05), end()
    )
    with edge.client() as client, pytest.raises((Truncated, Closed)):
        client.get("/breaks")


def test_a_large_answer_to_a_1_0_reader_ends_with_the_connection(edge, origin):
    origin.on("/old", respond(200, b"x" * 3_000_000, chunks=True))
    with edge.client() as client:
        client.send("GET /old HTTP/1.0\r\n\r\n")
        assert client.read().length == 3_000_000


# -- tunnels


def test_another_protocol_is_tunnelled_both_ways(edge, origin):
    origin.on("/foo", SWITCH, b"welcome", echo())
    with edge.client() as client:
        client.send(build("GET", "/foo", ASK))
        response = client.read().expect(101, upgrade="foo/1")
        assert response.tokens("connection") == [b"upgrade"]
        assert client.read_tunnel(7) == b"welcome"
        client.send(b"\0\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        assert client.read_tunnel(23) == b"\0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    connection_of(origin, "/foo").wait_gone()


def test_bytes_behind_the_request_wait_for_the_101(edge, origin):
    go = threading.Event()
    origin.on("/behind", wait(go), SWITCH, echo())
    with edge.client() as client:
        client.send(build("GET", "/behind", ASK), b"early")
        connection = connection_of(origin, "/behind")
        time.sleep(0.05)
        assert b"early" not in connection.received  # it is no tunnel yet
        go.set()
        client.read().expect(101)
        assert client.read_tunnel(5) == b"early"


def test_bytes_behind_a_declined_upgrade_are_a_request(edge, origin):
    origin.on("/declined", respond(200, "no"))
    before = len(origin.requests)
    with edge.client() as client:
        client.send(build("GET", "/declined", ASK) + build("GET", "/next"))
        client.read().expect(200, body="no")
        client.read().expect(200, body="ok")
    seen = [each.path for each in origin.requests[before:]]
    assert seen == [b"/declined", b"/next"]


def test_a_declined_upgrade_with_426(edge, origin):
    upgrade = [("Upgrade", "foo/2"), ("Connection", "Upgrade")]
    origin.on("/426", respond(426, "upgrade", upgrade))
    with edge.client() as client:
        client.send(build("GET", "/426", ASK))
        client.read().expect(426)
        client.get("/after").expect(200)


def test_the_upstreams_end_of_a_tunnel_reaches_the_reader(edge, origin):
    origin.on("/ends", SWITCH, b"bye", close())
    with edge.client() as client:
        client.send(build("GET", "/ends", ASK))
        client.read().expect(101)
        assert client.read_tunnel(3) == b"bye"
        assert client.drain() == b""


def test_an_upstream_that_closes_its_half_still_hears_the_reader(edge, origin):
    origin.on("/half", SWITCH, b"last word", half_close(), hang())
    with edge.client() as client:
        client.send(build("GET", "/half", ASK))
        client.read().expect(101)
        assert client.read_tunnel(9) == b"last word"
        client.send(b"heard")
        connection = connection_of(origin, "/half")
        until(lambda: connection.received.endswith(b"heard") or connection.gone.is_set())
    connection.wait_gone()


def test_a_large_flow_through_a_tunnel_with_a_slow_end(edge, origin):
    origin.on("/flow", SWITCH, endless(b"y" * 65536, 64 << 20), close())
    before = edge.rss()
    with edge.client(timeout=20, receive_buffer=65536) as client:
        client.send(build("GET", "/flow", ASK))
        client.read().expect(101)
        time.sleep(0.3)  # the reader takes nothing: the origin must be held back
        assert edge.rss() - before < 8 << 20
        received = len(client.reader.rest)
        client.reader.rest.clear()
        while received < 64 << 20:
            data = client.sock.recv(1 << 18)
            assert data, received
            received += len(data)


def test_a_silent_tunnel_is_closed_at_its_limit(scene: Scenario):
    origin = scene.upstream("legacy").answers(SWITCH, hang())
    scene.proxy(limits={"tunnel_idle": "1s"})
    client = scene.connect()
    start = time.monotonic()
    client.send(build("GET", "/", ASK))
    client.read().expect(101)
    client.drain(timeout=20)
    assert 0.9 < time.monotonic() - start < 15
    origin.connections[0].wait_gone()


def test_two_hundred_tunnels_at_once(edge, origin):
    origin.on("/many", SWITCH, echo())
    clients = [edge.client() for _ in range(200)]
    try:
        for client in clients:
            client.send(build("GET", "/many", ASK))
        for number, client in enumerate(clients):
            client.read().expect(101)
            client.send(b"%3d" % number)
        for number, client in enumerate(clients):
            assert client.read_tunnel(3) == b"%3d" % number
    finally:
        for client in clients:
            client.close()
