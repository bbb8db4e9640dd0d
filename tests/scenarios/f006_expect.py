# SPDX-License-Identifier: Apache-2.0
"""Expect: 100-continue, other expectations, and origins that answer before the content."""

from __future__ import annotations

import contextlib
import threading

import pytest

from strangler.testing import Closed, Edge, Upstream, build, configuration, respond, wait

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    with Edge(configuration(upstreams={"legacy": origin}, limits={"drain": "1s"})) as made:
        yield made


@pytest.fixture(autouse=True)
def plain_answers(origin: Upstream):
    origin.answers(respond())


def head(path: str, *, expect: str = "100-continue", size: int = 5, version="HTTP/1.1") -> bytes:
    fields = [("Expect", expect), ("Content-Length", str(size))]
    return build("POST", path, fields, version=version)


def continues():
    """Return a step that asks for the content, then waits for it whole and answers."""
    whole = threading.Event()

    def step(connection):
        connection.send(CONTINUE)
        request = connection.request
        while not request.complete and not connection.gone.wait(0.005):
            pass
        whole.set()
        respond(body=bytes(request.body))(connection)

    return step


def test_content_is_asked_for_and_taken(edge, origin):
    origin.on("/asks", continues(), when="head")
    with edge.client() as client:
        client.send(head("/asks"))
        assert client.read_interim().status == 100
        client.send("hello")
        client.read("POST").expect(200, body="hello")
        client.get("/after").expect(200)


def test_only_one_100_reaches_the_reader_and_the_content_only_once(edge, origin):
    origin.on("/once", continues(), when="head")
    with edge.client() as client:
        client.send(head("/once"))
        client.read_interim()
        client.send("hello")
        response = client.read("POST").expect(200)
        assert response.informational == []
    seen = [each for each in origin.requests if each.path == b"/once"]
    assert len(seen) == 1 and bytes(seen[0].body) == b"hello"


def test_a_reader_that_does_not_wait_is_served(edge, origin):
    with edge.client() as client:
        client.send(head("/eager") + b"hello")
        client.read("POST").expect(200)
        client.get("/after").expect(200)
    assert [bytes(each.body) for each in origin.requests if each.path == b"/eager"] == [b"hello"]


def test_an_origin_that_never_says_100_is_no_dead_end(edge, origin):
    with edge.client() as client:
        client.send(head("/silent"))
        # Either the edge says 100 itself, or nothing comes until the reader goes on.
        with contextlib.suppress(TimeoutError):
            client.read_interim(timeout=0.2)
        client.send("hello")
        client.read("POST").expect(200)


@pytest.mark.parametrize("status", [401, 403, 413, 417, 200, 302])
def test_an_answer_before_the_content_is_passed_on(status, edge, origin):
    path = f"/early-{status}"
    origin.on(path, respond(status, "early"), when="head")
    with edge.client() as client:
        client.send(head(path, size=100_000))
        response = client.read("POST").expect(status, body="early")
        assert [each.status for each in response.informational] in ([], [100])
        if b"close" in response.tokens("connection"):
            client.expect_closed()


def test_no_expectation_without_content(edge, origin):
    with edge.client() as client:
        client.get("/nothing", Expect="100-continue").expect(200)
        client.get("/after").expect(200)


def test_the_word_is_read_in_any_case(edge, origin):
    with edge.client() as client:
        client.send(head("/case", expect="100-Continue") + b"hello")
        client.read("POST").expect(200)


@pytest.mark.parametrize("expect", ["200-ok", "x", "100-continue, x", "100-continue=1", "101"])
def test_an_unknown_expectation_is_417(expect, edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.send(head("/unknown", expect=expect) + b"hello")
        client.read("POST").expect(417)
    assert len(origin.requests) == before


def test_a_100_that_nobody_asked_for_is_passed_on(edge, origin):
    """RFC 9110 §15.2: a proxy forwards it, unless it has asked for it itself; we never do."""
    origin.on("/unasked", CONTINUE, respond())
    with edge.client() as client:
        answer = client.request("POST", "/unasked", body="hello").expect(200)
        assert [each.status for each in answer.informational] == [100]
        assert not origin.requests[-1].get("Expect")
        client.get("/after").expect(200)


def test_a_1_0_reader_gets_no_100(edge, origin):
    origin.on("/old", continues(), when="head")
    with edge.client() as client:
        client.send(head("/old", version="HTTP/1.0") + b"hello")
        response = client.read("POST").expect(200, body="hello")
        assert response.informational == []


def test_the_edge_refuses_before_asking_for_the_content(edge, origin):
    with edge.client() as client:
        client.send(head("/large", size=1 << 40))
        response = client.read("POST").expect(413)
        assert response.informational == []


def test_a_reader_that_gives_up_after_asking_frees_the_origin(edge, origin):
    held = threading.Event()
    origin.on("/given-up", wait(held), when="head")
    with edge.client() as client:
        client.send(head("/given-up"))
        with pytest.raises((TimeoutError, Closed)):
            client.read("POST", timeout=0.1)
    connections = [
        each
        for each in origin.connections
        if any(request.path == b"/given-up" for request in each.requests)
    ]
    for connection in connections:
        connection.wait_gone()
    held.set()
