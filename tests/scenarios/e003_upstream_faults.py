# SPDX-License-Identifier: Apache-2.0
"""Twenty ways in which an upstream fails: each gives a clean answer, in time, with its reason."""

from __future__ import annotations

import gzip
import time

import pytest

from strangler.testing import (
    Closed,
    Edge,
    RawUpstream,
    Truncated,
    Upstream,
    black_hole,
    build,
    close,
    configuration,
    endless,
    pause,
    reset,
    respond,
    trickle,
    until,
    unused_port,
)

OK = b"HTTP/1.1 200 OK\r\n"
GZIP = [("Content-Encoding", "gzip")]
TIMEOUT = {"connect": "300ms", "first_byte": "500ms", "between": "500ms"}
#: For those whose fault is no silence: a busy machine's must not be taken for one.
PATIENT = {"connect": "9s", "first_byte": "9s", "between": "9s"}
BAD, LATE = (502, 503), (504,)
CUT = "cut"

FAULTS = {
    "closes-at-once": ((close(),), BAD, "connection_terminated"),
    "resets-at-once": ((reset(),), BAD, None),
    "closes-in-the-head": ((OK + b"Content-", close()), BAD, "http_response_incomplete"),
    "resets-in-the-head": ((OK + b"Content-", pause(0.05), reset()), BAD, None),
    "says-nothing": ((pause(12),), LATE, "http_response_timeout"),
    "stops-in-the-head": ((OK + b"X: ", pause(12)), LATE, None),
    "drips-its-head": ((trickle(OK + b"X: " + b"y" * 99, 0.1),), LATE, None),
    "huge-head": ((OK + b"X: " + b"y" * (2 << 20) + b"\r\n\r\n", close()), BAD, None),
    "endless-head": ((OK, endless(b"X: yyyyyyyyyyyyyyy\r\n" * 1000)), BAD, None),
    "garbage": ((b"\x00\x01garbage\r\n\r\n", close()), BAD, "http_protocol_error"),
    "bad-status": ((b"HTTP/1.1 abc OK\r\n\r\n", close()), BAD, "http_protocol_error"),
    "cut-content": ((OK + b"Content-Length: 9\r\n\r\nabc", close()), CUT, None),
    "reset-in-the-content": (
        (OK + b"Content-Length: 9\r\n\r\nabc", pause(0.05), reset()),
        CUT,
        None,
    ),
    "cut-chunks": ((OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc", close()), CUT, None),
    "reset-before-its-end": ((OK + b"\r\nabc", pause(0.05), reset()), CUT, None),
    "stops-in-the-content": ((OK + b"Content-Length: 9\r\n\r\nabc", pause(12)), CUT, None),
    "surplus": ((OK + b"Content-Length: 2\r\n\r\nokokok", close()), 200, None),
    "bad-gzip": ((respond(200, b"\x1f\x8b\x00bad", GZIP),), 200, None),
    "gzip-of-a-bomb": ((respond(200, gzip.compress(bytes(1 << 24)), GZIP),), 200, None),
    "503": ((respond(503, "busy", [("Retry-After", "1")]),), 503, None),
    "500": ((respond(500, "oops"),), 500, None),
}


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    upstream = {"url": origin, "breaker": {"min_requests": 100_000}}
    text = configuration(
        {
            "/**": "legacy",
            "/late/**": {"to": "late", "fallback": []},
            "/refused": {"to": "refused", "fallback": []},
            "/hole": {"to": "hole", "fallback": []},
        },
        upstreams={
            "legacy": {**upstream, "timeout": PATIENT},
            "late": {**upstream, "timeout": TIMEOUT},
            "refused": {"url": f"http://127.0.0.1:{unused_port()}", "timeout": PATIENT},
            "hole": {"url": "http://127.0.0.1:9", "timeout": TIMEOUT},
        },
        limits={"drain": "1s"},
    )
    with black_hole() as port, Edge(text.replace(":9\n", f":{port}\n")) as made:
        yield made


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_answered_cleanly_and_in_time(name, edge, origin):
    steps, wanted, reason = FAULTS[name]
    path = f"/late/{name}" if wanted == LATE or name == "stops-in-the-content" else f"/{name}"
    origin.on(path, *steps)
    start = time.monotonic()
    with edge.client() as client:
        try:
            response = client.get(path)
        except (Truncated, Closed):
            response = None
    seconds = time.monotonic() - start
    if wanted == CUT:
        assert response is None or response.status in (502, 504), f"looks whole: {response!r}"
    else:
        assert response is not None, "the reader got nothing"
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        response.expect(allowed)
        if wanted == LATE:
            assert 0.35 < seconds < 9
        elif wanted == BAD:
            assert seconds < 9
        if reason is not None:
            assert reason in response.get("Proxy-Status").decode()
    edge.get("/fine").expect(200)


def test_a_refusing_upstream_is_told_at_once(edge):
    start = time.monotonic()
    response = edge.get("/refused").expect(BAD)
    assert time.monotonic() - start < 9
    assert "connection_refused" in response.get("Proxy-Status").decode()


def test_a_black_hole_is_given_up_at_the_connect_limit(edge):
    start = time.monotonic()
    response = edge.get("/hole").expect((502, 503, 504))
    assert 0.2 < time.monotonic() - start < 9
    assert "connection_timeout" in response.get("Proxy-Status").decode()


def test_every_fault_is_in_the_log_by_its_rfc_9209_name(edge):
    edge.get("/refused?logged")
    assert "connection_refused" in edge.wait_log(r"/refused\?logged")


def test_an_early_answer_to_a_half_sent_upload(edge, origin):
    origin.on("/early", respond(413, "too much"), when="head")
    with edge.client() as client:
        client.send(build("POST", "/early", [("Content-Length", str(8 << 20))]), b"x" * 65536)
        client.read("POST").expect(413, body="too much")
    for _ in range(3):
        edge.get("/fine").expect(200)
    assert not origin.violations  # the half-sent upload's connection was not used again


def test_an_early_answer_and_close_is_not_lost_to_the_upload(edge, origin):
    origin.on("/early-close", respond(401, "who are you"), close(), when="head")
    with edge.client() as client:
        client.send(build("POST", "/early-close", [("Content-Length", str(8 << 20))]))
        for _ in range(64):
            client.send(b"x" * 65536)
        client.read("POST").expect(401, body="who are you")
    edge.get("/fine").expect(200)


def test_an_endless_answer_streams(edge, origin):
    origin.on("/endless", OK + b"\r\n", endless(b"x" * 65536))
    before = edge.rss()
    with edge.client(keep=1 << 20) as client:
        client.send(build("GET", "/endless"))
        client.read_content(20 << 20)
    assert edge.rss() - before < 16 << 20


def test_an_upstream_that_comes_back_is_used_again(running):
    with RawUpstream() as gone:
        port = gone.port
    edge = running(Edge(configuration(upstreams={"legacy": f"http://127.0.0.1:{port}"})))
    edge.get("/").expect(BAD)
    with Upstream(port=port):
        until(lambda: edge.get("/").status == 200)


def test_the_total_limit_bounds_all_attempts(running, origin):
    origin.on("/total", trickle(OK + b"Content-Length: 99\r\n\r\n" + b"x" * 99, 0.05, 5))
    upstream = {"url": origin, "timeout": {"first_byte": "5s", "between": "5s", "total": "300ms"}}
    edge = running(Edge(configuration(upstreams={"legacy": upstream})))
    start = time.monotonic()
    with edge.client() as client, pytest.raises((Truncated, Closed)):
        # Content may have begun; then only a cut can tell.
        raise Closed if client.get("/total").status == 504 else AssertionError("looks whole")
    assert time.monotonic() - start < 4


def test_a_routes_own_timeout_wins(running, origin):
    origin.on("/quick/x", pause(12), respond())
    routes = {"/**": "legacy", "/quick/**": {"to": "legacy", "timeout": "200ms"}}
    edge = running(Edge(configuration(routes, upstreams={"legacy": origin})))
    start = time.monotonic()
    edge.get("/quick/x").expect(504)
    assert time.monotonic() - start < 4
