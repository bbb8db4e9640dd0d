# SPDX-License-Identifier: Apache-2.0
"""Connections that outlive a change, a reader, or the other half of themselves."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import pytest

from strangler.testing import (
    Edge,
    Scenario,
    Upstream,
    all_taken,
    build,
    configuration,
    pause,
    respond,
    until,
    wait,
)
from strangler.testing.origin import Connection


def limited(origin: Upstream, **limits: str) -> str:
    return configuration(upstreams={"legacy": origin}, limits={"drain": "1s", **limits})


def reload(edge: Edge, text: str) -> None:
    """Put *text* in force and wait until the worker says so."""
    before = edge.admin_json("/-/config")[1]["generation"]
    edge.write(text)

    def done() -> bool:
        workers = edge.admin_json("/-/workers")[1]
        found = workers["workers"] if isinstance(workers, dict) else workers
        return all(each["generation"] > before for each in found)

    until(done, what="the new generation in every worker")


def test_an_idle_limit_of_the_past_does_not_close_a_busy_connection(scene: Scenario):
    go = threading.Event()
    origin = scene.upstream("legacy").on("/slow", wait(go), respond(200, "slow"))
    edge = scene.proxy(limits={"idle_timeout": "4s"})  # the reload must be quicker than that
    client = scene.client
    client.get("/").expect(200)
    reload(edge, limited(origin, idle_timeout="60s"))
    client.send(build("GET", "/slow"))
    origin.wait_requests(2)
    with pytest.raises(TimeoutError):
        client.read(timeout=4.5)
    go.set()
    client.read().expect(200, body="slow")


def test_a_head_limit_of_the_past_does_not_write_into_an_answer(scene: Scenario):
    go = threading.Event()
    origin = scene.upstream("legacy").on("/slow", wait(go), respond(200, "slow"))
    edge = scene.proxy(limits={"head_timeout": "4s"})
    client = scene.client
    client.send(b"GET /slow HTTP/1.1\r\n")
    all_taken([client])
    reload(edge, limited(origin, head_timeout="60s"))
    client.send(b"Host: www.example.com\r\n\r\n")
    origin.wait_requests(1)
    with pytest.raises(TimeoutError):
        client.read(timeout=4.5)
    go.set()
    client.read().expect(200, body="slow")


def test_a_shorter_limit_holds_for_connections_that_wait_already(scene: Scenario):
    origin = scene.upstream("legacy")
    edge = scene.proxy()
    client = scene.client
    client.get("/").expect(200)
    reload(edge, limited(origin, idle_timeout="1s"))
    client.expect_closed()


def test_a_reader_that_takes_nothing_of_a_closing_answer_is_given_up_too(scene: Scenario):
    """Its whole answer is written, and the connection closing: the limit counts all the same."""
    scene.upstream("legacy").reply(200, b"x" * (8 << 20))
    edge = scene.proxy(limits={"write_timeout": "1s"})
    sockets = edge.sockets()
    client = scene.connect(receive_buffer=4096)
    client.send(build("GET", "/", [("Connection", "close")]))
    with scene.connect() as other:
        other.get("/").expect(200)
    until(lambda: edge.admin_json("/-/workers")[1] is not None)
    until(lambda: edge.sockets() <= sockets + 1, what="the reader's socket gone")


def test_a_slow_reader_that_takes_its_bytes_is_not_given_up(scene: Scenario):
    size = 3 << 20
    scene.upstream("legacy").reply(200, b"x" * size)
    scene.proxy(limits={"write_timeout": "3s"})
    client = scene.connect(receive_buffer=4096)
    client.send(build("GET", "/"))
    client.read_head()
    tick = threading.Event()
    for _ in range(30):  # about 8 KiB at a time, for longer than the limit
        tick.wait(0.15)
        client.sock.settimeout(20)
        client.reader.feed(client.sock.recv(8192))
    assert client.read().length == size


def test_a_slow_reader_gets_the_end_of_its_last_answer_by_tls_too(
    site_certificate, scene: Scenario
):
    """Some of these sizes are all written, and not yet all the kernel's, when reading stops."""
    origin = scene.upstream("legacy")
    scene.proxy(edge={"tls": site_certificate})
    clients = {}
    for size in range(2 << 20, 4 << 20, 64 << 10):
        origin.reply(200, b"x" * size, on=f"/{size}")
        clients[size] = scene.connect(receive_buffer=4096)
        clients[size].send(build("GET", f"/{size}", [("Connection", "close")]))
        clients[size].read_head()
    threading.Event().wait(3)  # longer than a TLS connection takes to be closed
    for size, client in clients.items():
        assert client.read().length == size


def test_an_empty_line_before_a_request_may_come_in_halves(edge, origin):
    with edge.client() as client:
        client.get("/").expect(200)
        tick = threading.Event()
        for piece in (b"\r", b"\n", b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n"):
            client.send(piece)
            tick.wait(0.05)
        client.read().expect(200)


@pytest.mark.parametrize("pieces", [(b"\r\n",), (b"\r", b"\n")])
def test_an_empty_line_is_no_request_and_waited_behind_as_if_it_were_not_there(
    pieces, scene: Scenario
):
    scene.upstream("legacy")
    scene.proxy(limits={"head_timeout": "500ms", "idle_timeout": "1s"})
    client = scene.client
    tick = threading.Event()
    for piece in pieces:
        client.send(piece)
        tick.wait(0.05)
    client.expect_closed()


def test_an_empty_line_behind_a_form_does_not_keep_its_connection_for_ever(scene: Scenario):
    """Old browsers end a POST's content with one; the idle limit counts from the answer on."""
    scene.upstream("legacy")
    scene.proxy(limits={"idle_timeout": "1s"})
    client = scene.client
    client.send(build("POST", "/", [("Content-Length", "2")]) + b"ok\r\n")
    client.read("POST").expect(200)
    client.expect_closed()


def test_a_tunnel_whose_two_ends_said_goodbye_is_over(scene: Scenario):
    def tunnel(connection: Connection) -> None:
        connection.reader.tunnel()
        connection.send(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        connection.gone.wait(10)

    scene.upstream("legacy").on("/tunnel", tunnel)
    edge = scene.proxy()
    with scene.connect() as other:
        other.get("/").expect(200)
    count = edge.sockets()
    clients = []
    for _ in range(10):
        client = scene.connect()
        fields = [("Connection", "Upgrade"), ("Upgrade", "echo")]
        client.send(build("GET", "/tunnel", fields))
        assert client.read("GET").status == 101
        clients.append(client)
    for client in clients:
        client.half_close()
    for client in clients:
        client.drain()
    # Our own ends stay open: the edge must not wait for them.
    until(lambda: edge.sockets() <= count, what="the tunnels' sockets gone")


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_an_upstream_that_accepts_and_leaves_is_a_502_at_once(how, scene: Scenario):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                if how == "resets":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        scene.proxy(upstreams={"legacy": {"url": f"http://127.0.0.1:{port}", "breaker": "none"}})
        for _ in range(50):
            with scene.connect() as client:
                client.get("/").expect(502)
        listener.shutdown(socket.SHUT_RDWR)


def test_an_upload_waits_for_a_slow_origin_from_its_first_byte(scene: Scenario):
    """Its first 200 KB come before the upstream connection stands, and choke it at once."""
    size = 64 << 20
    free = threading.Event()

    with Upstream(receive_buffer=4096, keep=1 << 16) as origin:
        origin.greets(lambda connection: connection.reading.clear())
        edge = scene.proxy(
            {"/**": {"to": "legacy", "body": {"max": "none"}}},
            upstreams={"legacy": {"url": origin}},
        )
        before = edge.rss()
        client = scene.connect(timeout=30)
        head = build("POST", "/", [("Content-Length", str(size))])

        def upload() -> None:
            client.send(head + b"x" * (1 << 18))
            for _ in range((size >> 18) - 1):
                client.send(b"x" * (1 << 18))

        sender = threading.Thread(target=upload, daemon=True)
        sender.start()
        sender.join(3)
        assert sender.is_alive(), "the edge took 64 MiB that its upstream did not take"
        assert edge.rss() - before < 24 << 20
        free.set()
        for connection in origin.connections:
            connection.reading.set()
        sender.join(60)
        client.read("POST", timeout=60).expect(200)


def uploading(client, size: int) -> threading.Thread:
    """Send a form of *size* bytes in a thread of its own."""

    def upload() -> None:
        with contextlib.suppress(OSError):  # given up, as it may be
            client.send(build("POST", "/", [("Content-Length", str(size))]))
            for _ in range(size >> 18):
                client.send(b"x" * (1 << 18))

    sender = threading.Thread(target=upload, daemon=True)
    sender.start()
    return sender


def test_an_origin_that_takes_nothing_of_an_upload_is_given_up(scene: Scenario):
    """A process that hangs: its place must not be held for ever by who can't send to it."""
    with Upstream(receive_buffer=4096, keep=1 << 16) as origin:
        origin.greets(lambda connection: connection.reading.clear())
        limits = {"first_byte": "3s"}
        scene.proxy(
            {"/**": {"to": "legacy", "body": {"max": "none"}}},
            upstreams={"legacy": {"url": origin, "max_inflight": 1, "timeout": limits}},
        )
        client = scene.connect(timeout=30)
        uploading(client, 64 << 20)
        response = client.read("POST").expect(504)
        assert b"http_response_timeout" in response.get("proxy-status")
        origin.greets()
        scene.client.get("/").expect(200)


def had(connection: Connection) -> int:
    """Return how much of its content the origin has read."""
    return sum(request.length for request in connection.requests)


def test_an_origin_that_takes_little_of_an_upload_is_waited_for(scene: Scenario):
    with Upstream(receive_buffer=4096, keep=1 << 16) as origin:
        origin.greets(lambda connection: connection.reading.clear())
        limits = {"first_byte": "2s"}
        scene.proxy(
            {"/**": {"to": "legacy", "body": {"max": "none"}}},
            upstreams={"legacy": {"url": origin, "timeout": limits}},
        )
        client = scene.connect(timeout=60)
        uploading(client, 64 << 20)
        origin.wait_connections(1)
        [connection] = origin.connections
        began = time.monotonic()
        while time.monotonic() - began < 5:  # longer than the limit: what counts is each piece
            taken = had(connection)
            connection.reading.set()
            until(lambda taken=taken: had(connection) > taken, what="a piece")
            connection.reading.clear()
            time.sleep(0.3)
        assert not client.refused_bytes
        connection.reading.set()
        client.read("POST").expect(200)


def test_a_form_that_waited_for_a_place_leaves_its_connection_usable(scene: Scenario):
    """All of it had come, and more than is held ahead, before there was where to send it."""
    free = threading.Event()
    legacy = scene.upstream("legacy", options={"max_inflight": 1, "timeout": {"connect": "9s"}})
    legacy.answers(respond())
    legacy.on("/first", wait(free), respond())
    scene.proxy()
    first = scene.connect()
    first.send(build("GET", "/first"))
    legacy.wait_requests(1)
    client = scene.connect()
    client.send(build("POST", "/second", body=b"x" * 100_000))
    time.sleep(0.5)  # the edge takes what the kernel has; if it hasn't, all is well anyway
    free.set()
    client.read("POST").expect(200)
    client.get("/third").expect(200)


def test_a_hundred_half_closed_readers_leave_nothing(edge, origin):
    origin.on("/late", pause(0.1), respond(200, "late"))
    with edge.client() as warm:
        warm.get("/").expect(200)
    for _ in range(100):
        with edge.client() as client:
            client.send(build("GET", "/late"))
            client.sock.shutdown(socket.SHUT_WR)
            client.read().expect(200, body="late")
            client.expect_closed()


@pytest.mark.parametrize(
    ("version", "option", "kept"),
    [
        ("HTTP/1.0", "keep-alive", True),
        ("HTTP/1.0", "close", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.1", "close", False),
    ],
)
def test_what_comes_again_is_passed_on_and_answered_as_the_first_time(
    scene: Scenario, version: str, option: str, kept: bool
):
    """The third time its bytes are known: nothing of it may be another version's."""
    origin = scene.upstream("legacy").answers(respond(200, "page"))
    scene.proxy()
    scene.connect().get("/page").expect(200)  # the same target, by another version
    raw = build("GET", "/page", [("Connection", option)] if option else [], version=version)
    client = scene.connect()
    answers = []
    for _ in range(5):
        client.send(raw)
        answers.append(client.read().expect(200, body="page"))
        if not kept:
            client.expect_closed()
            client = scene.connect()
    assert {answer.get("connection") for answer in answers} == {b"keep-alive" if kept else b"close"}

    def lines(number: int) -> list[tuple[str, str]]:
        found = [(str(name), str(value)) for name, value in origin.requests[number].fields]
        return [pair for pair in found if "x-request-id" not in pair[0].lower()]

    origin.wait_requests(6)
    assert all(lines(number) == lines(1) for number in range(2, 6))
    assert ("via" in str(lines(1)).lower()) and (f"{version[-3:]} strangler" in str(lines(1)))
