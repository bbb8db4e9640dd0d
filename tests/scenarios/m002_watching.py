# SPDX-License-Identifier: Apache-2.0
"""The last bad requests, byte for byte, and lines as they are logged.

Issue "Errors kept".
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from scenarios.story import kept_below

from strangler.testing import Edge, RawClient, Upstream, configuration, respond, until
from strangler.testing.origin import Connection

ODD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\nSet-Cookie: s=abc\r\n\r\nhello"
BROKEN = b"HTTP/1.1 2OO OK\r\nX: y\r\n\r\n"


@pytest.fixture(scope="module")
def app() -> Iterator[Upstream]:
    with Upstream().reply(200, "fine") as made:
        made.on("/app/503", respond(503, "sorry", [("Retry-After", "7")]))
        made.on("/app/odd", raw(ODD))
        made.on("/app/broken", raw(BROKEN))
        made.on("/saved/503", respond(503, "sorry"))
        yield made


def raw(data: bytes) -> Any:
    def step(connection: Connection) -> None:
        connection.send(data)

    return step


@pytest.fixture(scope="module")
def edge(app: Upstream) -> Iterator[Edge]:
    text = configuration(
        {
            "/app/**": {"to": "app", "fallback": "none"},
            "/saved/**": "app",
            "/cached/**": {"to": "app", "cache": {"edge": "60s"}},
            "/ordered/**": {"to": "other", "fallback": ["legacy"]},
            "/old/**": {
                "to": "other",
                "cache": {"edge": "1s", "archive": "1h"},
                "fallback": "none",
            },
            "/**": "legacy",
        },
        upstreams={"app": app, "legacy": app, "other": app},
        site={"hosts": ["www.example.com"]},
    )
    with Edge(text, workers=2, access_log="off") as made:
        yield made


def token(edge: Edge) -> str:
    return (edge.folder / "var" / "admin.token").read_text().strip()


def asked(edge: Edge, path: str, **fields: str) -> tuple[int, dict[str, Any]]:
    with RawClient(edge.admin, server_name="127.0.0.1") as client:
        response = client.get(path, authorization=f"Bearer {token(edge)}", **fields)
        return response.status, json.loads(response.text)


def errors(edge: Edge, query: str, wanted: int = 1) -> list[dict[str, Any]]:
    """Return what is kept, once there are as many as *wanted*."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        status, told = asked(edge, f"/-/errors{query}")
        assert status == 200
        found[:] = told["errors"]
        return len(found) >= wanted and told["silent"] == []  # a busy worker may be late once

    until(are_there)
    return found


def test_a_bad_answer_is_kept_with_what_was_asked(edge: Edge) -> None:
    head = (
        b"POST /app/503?token=abc&page=2 HTTP/1.1\r\nHost: www.example.com\r\n"
        b"X-Odd:  \xe7\xff two  \r\nCookie: sid=deadbeef\r\nContent-Length: 27\r\n\r\n"
    )
    with edge.client() as client:
        client.send(head + b"user=ana&password=hunter2&x")
        assert client.read("POST").status == 503
    found = errors(edge, "?route=/app/**")[0]
    assert found["request"].encode("latin-1") == (
        head.replace(b"=abc&", b"=***&").replace(b"deadbeef", b"********")
    )
    assert found["body"] == "user=ana&password=*******&x"
    assert found["received"] == 27
    assert found["response"].startswith("HTTP/1.1 503 ")
    assert "\r\nRetry-After: 7\r\n" in found["response"]
    assert (found["status"], found["error"], found["target"]) == (503, "status 503", "app")
    assert found["endpoint"].startswith("127.0.0.1:") and found["worker"] in (1, 2)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/app/odd", ODD.partition(b"hello")[0].replace(b"s=abc", b"s=***")), ("/app/broken", BROKEN)],
)
def test_an_answer_that_nobody_should_trust_is_kept_as_it_came(
    edge: Edge, path: str, wanted: bytes
) -> None:
    with edge.client(server_name="www.example.com") as client:
        assert client.get(path).status == 502
    until(lambda: path in errors(edge, "?route=/app/**")[0]["request"])
    found = errors(edge, "?route=/app/**")[0]
    assert found["error"] == "http_protocol_error"
    assert found["response"].encode("latin-1") == wanted


def test_what_a_fallback_saved_is_kept_too(edge: Edge) -> None:
    with edge.client(server_name="www.example.com") as client:
        client.get("/saved/503")
    found = errors(edge, "?route=/saved/**")[0]
    assert found["reason"].startswith("fallback:legacy")
    assert found["response"].startswith("HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("kind", "subject", "value"),
    [
        ("drain", "upstream:other", True),
        ("breaker", "upstream:other", "forced_open"),
        ("breaker", "route:/ordered/**", "forced_open"),
        ("cache", "route:/old/**", "archive_only"),
    ],
)
def test_what_an_operator_ordered_is_no_error_where_the_reader_was_served(
    edge: Edge, kind: str, subject: str, value: Any
) -> None:
    """Nobody failed: a list that fills with them hides the requests that did."""

    def post(path: str, **document: Any) -> int:
        fields = [("Authorization", f"Bearer {token(edge)}"), ("Content-Type", "application/json")]
        with RawClient(edge.admin, server_name="127.0.0.1") as client:
            return client.request("POST", path, fields, json.dumps(document)).status

    route = "/old/**" if kind == "cache" else "/ordered/**"

    def ask() -> list[int]:
        found = []
        for _ in range(8):  # on as many connections, so that both workers have had some
            with edge.client(server_name="www.example.com") as client:
                found.append(client.get(route.replace("**", "x")).status)
        return found

    assert ask() == [200] * 8
    if kind == "cache":
        kept_below(edge, route.replace("**", "x"), "archive")
    asked_for = {"kind": kind, "subject": subject, "value": value, "reason": "new disk"}
    assert post("/-/overrides", **asked_for) == 201
    try:
        assert ask() == [200] * 8
        assert asked(edge, f"/-/errors?route={route}")[1]["errors"] == []
    finally:
        post("/-/overrides/clear", all=True, reason="the test is over")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: Basic YTpi\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", 421),
    ],
)
def test_requests_that_never_had_a_route(edge: Edge, sent: bytes, status: int) -> None:
    with edge.client() as client:
        client.send(sent)
        assert client.read().status == status
    wanted = sent.replace(b"YTpi", b"****").decode("latin-1")
    until(lambda: wanted in [one["request"] for one in errors(edge, "?route=")])
    found = next(one for one in errors(edge, "?route=") if one["request"] == wanted)
    assert (found["status"], found["route"], found["target"]) == (status, "", "")


def test_only_who_shows_a_token_may_look(edge: Edge) -> None:
    assert edge.admin_json("/-/errors")[0] == 401
    assert edge.admin_json("/-/tail")[0] == 401


# -------------------------------------------------------------------- tail


class Listener:
    """Reads a tail in a thread, from when it listens until the block ends."""

    def __init__(self, edge: Edge, query: str = "") -> None:
        self.lines: list[dict[str, Any]] = []
        self._client = RawClient(edge.admin, server_name="127.0.0.1")
        self._client.send(
            f"GET /-/tail{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token(edge)}\r\n\r\n"
        )
        self.head = self._client.read_head()
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        seen, text = 0, b""
        while not self._over:
            try:
                text = self._client.read_content(len(text) + 1)
            except (AssertionError, OSError):
                return
            whole, ended, _ = text[seen:].rpartition(b"\n\n")
            for event in whole.split(b"\n\n"):
                if event.startswith(b"data: "):
                    self.lines.append(json.loads(event[6:]))
            seen += len(whole + ended)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *given: object) -> None:
        self._over = True
        self._client.close()


def visit(edge: Edge, *paths: str) -> None:
    with edge.client(server_name="www.example.com") as client:
        for path in paths:
            client.get(path)


def test_a_tail_gets_lines_though_nothing_is_logged(edge: Edge) -> None:
    with Listener(edge) as tail:
        assert tail.head.status == 200
        assert tail.head.get("content-type") == b"text/event-stream; charset=utf-8"

        def both() -> bool:  # a worker begins when it has heard of it
            visit(edge, "/cached/a?token=abc", "/app/fine")
            return {one["route"] for one in tail.lines} == {"/cached/**", "/app/**"}

        until(both)
        hit = next(one for one in tail.lines if one["route"] == "/cached/**")
        assert hit["path"] == "/cached/a?token=***"
        assert hit["target"] == "app" and hit["status"] == 200


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("?route=/app/**&status=5xx", lambda one: one["status"] == 503),
        ("?target=legacy", lambda one: one["target"] == "legacy"),
        ("?status=200,404", lambda one: one["status"] == 200),
        ("?slow=1ms", lambda one: one["duration_ms"] >= 1),
    ],
)
def test_filters(edge: Edge, query: str, passes: Any) -> None:
    with Listener(edge, query) as tail:

        def some() -> bool:
            visit(edge, "/app/503", "/app/fine", "/elsewhere", "/cached/b", "/cached/b")
            return len(tail.lines) >= 3

        until(some)
        assert all(map(passes, tail.lines))


def test_filters_that_make_no_sense_are_refused(edge: Edge) -> None:
    for query in ("status=6xx", "status=abc", "slow=5", "slow=fast"):
        status, told = asked(edge, f"/-/tail?{query}")
        assert status == 400 and "expected" in told["error"], query


def test_too_many_tails_are_refused_and_room_comes_back(edge: Edge) -> None:
    held: list[Listener] = []

    def room() -> bool:
        one = Listener(edge)
        if one.head.status != 200:  # one that has left may be counted a moment longer
            one.__exit__()
            return False
        held.append(one)
        return True

    for _ in range(8):
        until(room)
    status, told = asked(edge, "/-/tail")
    assert (status, told["error"]) == (503, "8 tails run already")
    for one in held:
        one.__exit__()
    until(room)
    held[-1].__exit__()
