# SPDX-License-Identifier: Apache-2.0
"""The kit judges the edge, so the kit is judged first: against itself, without an edge."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from strangler.testing import (
    Closed,
    RawClient,
    RawUpstream,
    Reader,
    Truncated,
    Upstream,
    Violation,
    all_taken,
    black_hole,
    build,
    certificate,
    chunked,
    close,
    configuration,
    hang,
    reset,
    tracebacks,
    trickle,
    wait,
)

HEAD = b"HTTP/1.1 200 OK\r\n"


def at(origin: RawUpstream, **options) -> RawClient:
    return RawClient((origin.host, origin.port), **options)


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n X: fold\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /# HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_the_reader_names_what_a_request_breaks(stream):
    reader = Reader("request")
    reader.feed(stream)
    assert reader.broken


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_the_reader_cuts_a_stream_wherever_it_is_split(size):
    stream = (
        build("POST", "/a", body=b"12345")
        + build("GET", "/b?c=d%2F")
        + build("PUT", "/c", [("Transfer-Encoding", "chunked")])
        + chunked(b"abc", b"de", trailers=[("X-T", "1")])
    )
    reader = Reader("request")
    for start in range(0, len(stream), size):
        reader.feed(stream[start : start + size])
    assert reader.broken is None
    assert [bytes(each.body) for each in reader.messages] == [b"12345", b"", b"abcde"]
    assert b"".join(bytes(each.raw) for each in reader.messages) == stream
    assert reader.messages[2].chunks == [3, 2]
    assert reader.messages[2].trailers == [(b"X-T", b"1")]


def test_the_reader_frames_responses_by_their_request():
    reader = Reader("response")
    for method in ("HEAD", "GET", "GET", "GET"):
        reader.expect(method)
    reader.feed(HEAD + b"Content-Length: 9\r\n\r\n")
    reader.feed(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
    reader.feed(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n")
    reader.feed(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    reader.feed(HEAD + b"\r\nuntil the end")
    reader.eof()
    first, second, third, last = reader.messages
    assert first.length == second.length == 0
    assert [each.status for each in second.informational] == [103]
    assert third.violations == ["a 204 with framing fields"]
    assert last.framing == "close" and last.text == "until the end"


def test_an_origin_records_and_answers_in_order():
    with RawUpstream() as origin, at(origin) as client:
        origin.answers(b"HTTP/1.1 200 A\r\nContent-Length: 1\r\n\r\na")
        origin.then(b"HTTP/1.1 200 B\r\nContent-Length: 1\r\n\r\nb")
        sent = build("GET", "/1") + build("POST", "/2", body="xyz") + build("GET", "/3")
        client.send(sent)
        assert [client.read().text for _ in range(3)] == ["a", "b", "b"]
        origin.expect_requests(3).expect_requests(1, path="/2")
        assert origin.received == sent
        assert bytes(origin.requests[1].body) == b"xyz"


def test_an_origin_may_answer_before_the_content_has_come():
    with RawUpstream() as origin, at(origin) as client:
        origin.answers(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", when="head")
        client.send(build("POST", "/", [("Content-Length", "10")]), b"123")
        client.read().expect(413)
        assert not origin.requests[0].complete


def test_cuts_resets_and_ends_are_three_things():
    with RawUpstream() as origin:
        origin.on("/cut", HEAD + b"Content-Length: 9\r\n\r\nabc", close())
        origin.on("/reset", HEAD + b"\r\nabc", reset())
        origin.on("/end", HEAD + b"\r\nabc", close())
        origin.on("/none", close())
        with at(origin) as client, pytest.raises(Truncated) as cut:
            client.get("/cut")
        assert bytes(cut.value.partial.body) == b"abc"
        with at(origin) as client, pytest.raises((Truncated, Closed)):
            client.get("/reset")
        with at(origin) as client:
            client.get("/end").expect(200, body="abc")
        with at(origin) as client, pytest.raises(Closed):
            client.get("/none")


@pytest.mark.parametrize("framing", [b"\r\n", b"Content-Length: 3\r\n\r\n"])
def test_content_that_ends_before_what_is_awaited_is_told(framing):
    with RawUpstream(HEAD + framing + b"abc", close()) as origin, at(origin) as client:
        client.send(build("GET", "/"))
        assert client.read_content(3) == b"abc"
        ended: list[bool] = []

        def read() -> None:
            with pytest.raises(Closed, match="3 of 4 bytes"):
                client.read_content(4)
            ended.append(True)

        reader = threading.Thread(target=read, daemon=True)  # it read on for ever, without a pause
        reader.start()
        reader.join(20)
        assert ended


def test_a_script_waits_for_an_event_and_notices_who_leaves():
    go = threading.Event()
    with RawUpstream() as origin:
        origin.answers(wait(go), HEAD + b"Content-Length: 0\r\n\r\n")
        with at(origin) as client:
            client.send(build("GET", "/"))
            origin.wait_head()
            with pytest.raises(TimeoutError):
                client.read(timeout=0.05)
            go.set()
            client.read()
        origin.answers(hang())
        with at(origin) as client:
            client.send(build("GET", "/"))
            origin.wait_head(2)
        assert origin.connections[-1].wait_gone() < 5


def test_a_trickle_comes_whole():
    with RawUpstream(trickle(HEAD + b"Content-Length: 3\r\n\r\nabc", 0.001, 5)) as origin:
        with at(origin) as client:
            client.get("/").expect(200, body="abc")


def test_surplus_bytes_behind_an_answer_are_seen():
    with RawUpstream(HEAD + b"Content-Length: 1\r\n\r\nab", close()) as origin:
        with at(origin) as client:
            client.get("/").expect(200, body="a")
            with pytest.raises(AssertionError, match="surplus"):
                client.expect_closed()


def test_a_violation_in_an_answer_is_raised():
    with RawUpstream(b"HTTP/1.1 200 OK\nContent-Length: 1\n\na") as origin, at(origin) as client:
        with pytest.raises(Violation):
            client.get("/")


def test_https_and_unix_and_ipv6_origins(tmp_path):
    made = certificate(tmp_path, "www.example.com")
    with Upstream(tls=made.server()) as origin, at(origin, tls=made.client()) as client:
        origin.reply(200, "safe")
        client.get("/").expect(200, body="safe")
        client.get("/").expect(200, body="safe")
    with Upstream(unix=True) as origin, RawClient(origin.path) as client:
        client.get("/").expect(200, body="ok")
    with Upstream(host="::1") as origin, RawClient(("::1", origin.port)) as client:
        client.get("/").expect(200, body="ok")


def test_a_black_hole_takes_no_connection():
    with black_hole() as port, pytest.raises(TimeoutError):
        RawClient(("127.0.0.1", port), timeout=0.2)


def test_what_nobody_has_accepted_or_read_is_not_taken():
    def waits() -> bool:
        with pytest.raises(AssertionError, match="not all was read"):
            all_taken([client], timeout=0.1)
        return True

    with socket.create_server(("127.0.0.1", 0)) as server:
        with RawClient(server.getsockname()) as client:
            assert waits()
            with server.accept()[0] as accepted:
                all_taken([client])
                client.send(b"first")
                assert waits()
                assert accepted.recv(9) == b"first"
                all_taken([client])


def test_a_refusing_origin_refuses():
    with RawUpstream() as origin:
        origin.refuse()
        with pytest.raises(ConnectionRefusedError):
            at(origin)


def test_tracebacks_are_found_in_a_log():
    log = "fine\nTraceback (most recent call last):\n  File x\n    y\nValueError: z\nfine"
    assert tracebacks(log) == ["Traceback (most recent call last):\n  File x\n    y\nValueError: z"]


def test_a_configuration_names_its_origins():
    with Upstream() as origin:
        text = configuration(upstreams={"legacy": origin, "b": {"url": [origin], "owner": "x"}})
        assert text.count(origin.url) == 2 and "role: legacy" in text


def test_many_connections_at_once_are_served():
    start = time.monotonic()
    with RawUpstream() as origin:
        clients = [at(origin) for _ in range(50)]
        for client in clients:
            client.send(build("GET", "/"))
        for client in clients:
            client.read().expect(200)
            client.close()
        origin.expect_requests(50)
    assert time.monotonic() - start < 30
