# SPDX-License-Identifier: Apache-2.0
"""Traces through a real edge into a real collector, which decodes what OpenTelemetry defines.

Issue "OpenTelemetry traces"; pain 21: a shadow is told apart.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from scenarios.m001_metrics import counted

from strangler.testing import Edge, Upstream, configuration, respond, until

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


class Collector:
    """An OTLP collector; `status` is what it answers."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str | None]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.asked.append((self.path, self.headers["Content-Type"]))
                if collector.status == 200:
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *given: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, told: ExportTraceServiceRequest) -> None:
        for resource in told.resource_spans:
            service = {one.key: value(one.value) for one in resource.resource.attributes}
            for span in resource.scope_spans[0].spans:
                told_of = {one.key: value(one.value) for one in span.attributes}
                self.spans.append({"span": span, "resource": service, **told_of})

    def of(self, trace: str, wanted: int) -> list[dict[str, Any]]:
        """Return a trace's spans once there are *wanted*, in the order of their beginnings."""
        found: list[dict[str, Any]] = []

        def all_there() -> bool:
            found[:] = [one for one in list(self.spans) if one["span"].trace_id.hex() == trace]
            return len(found) >= wanted

        until(all_there, what=f"{wanted} spans of {trace}, got {len(found)}")
        return sorted(found, key=lambda one: one["span"].start_time_unix_nano)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *given: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def value(told: Any) -> Any:
    return getattr(told, told.WhichOneof("value"))


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def app() -> Iterator[Upstream]:
    with Upstream().reply(200, "app") as made:
        made.on("/fails/x", respond(503, "no"))
        yield made


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with Upstream().reply(200, "legacy") as made:
        yield made


@pytest.fixture(scope="module")
def edge(collector: Collector, app: Upstream, legacy: Upstream) -> Iterator[Edge]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{held.getsockname()[1]}"
        text = configuration(
            {
                "/app/**": "app",
                "/fails/**": "app",
                "/half/**": {"to": "half", "retry": {"tries": 1, "when": ["connect"]}},
                "/copied/**": {"to": "app", "stage": "shadow 100%"},
                "/kept/**": {"to": "app", "cache": {"edge": "60s"}},
                "/moved/**": {"redirect": "/", "status": 301},
                "/**": "legacy",
            },
            upstreams={
                "app": app,
                "legacy": legacy,
                "half": {"url": [dead, app], "breaker": "none"},
            },
            tracing={"endpoint": collector.url, "sample": "0%", "service": "edge-of-test"},
        )
        with Edge(text, access_log="off") as made:
            yield made


def trace(number: int) -> str:
    return f"{number:032x}"


def ask(edge: Edge, path: str, number: int, flags: str = "01", **fields: str) -> Any:
    return edge.get(path, traceparent=f"00-{trace(number)}-{SPAN}-{flags}", **fields)


def test_an_exchange_and_its_attempt_are_spans_of_the_readers_trace(
    edge: Edge, collector: Collector, app: Upstream
) -> None:
    app.forget()
    assert ask(edge, "/app/a?token=x&page=2", 1, tracestate="vendor=1").status == 200
    exchange, attempt = collector.of(trace(1), 2)
    assert exchange["span"].parent_span_id.hex() == SPAN
    assert exchange["span"].kind == 2 and exchange["span"].name == "GET /app/**"
    assert exchange["http.route"] == "/app/**" and exchange["url.path"] == "/app/a"
    assert exchange["url.query"] == "token=*&page=2"
    assert (exchange["strangler.target"], exchange["strangler.reason"]) == ("app", "live")
    assert exchange["http.response.status_code"] == 200
    assert exchange["resource"]["service.name"] == "edge-of-test"
    assert attempt["span"].parent_span_id == exchange["span"].span_id
    assert attempt["span"].kind == 3 and attempt["strangler.upstream"] == "app"
    assert attempt["http.response.status_code"] == 200
    span, above = attempt["span"], exchange["span"]
    assert above.start_time_unix_nano <= span.start_time_unix_nano
    assert span.start_time_unix_nano < span.end_time_unix_nano <= above.end_time_unix_nano
    [asked] = app.requests
    assert asked.all("traceparent") == [f"00-{trace(1)}-{span.span_id.hex()}-01".encode()]
    assert asked.all("tracestate") == [b"vendor=1"]
    assert collector.asked[0] == ("/v1/traces", "application/x-protobuf")


def test_each_attempt_has_a_span_and_a_context_of_its_own(
    edge: Edge, collector: Collector, app: Upstream
) -> None:
    for number in range(10, 40):
        app.forget()
        assert ask(edge, "/half/x", number).status == 200
        if len(collector.of(trace(number), 2)) > 2:
            break
    exchange, *attempts = collector.of(trace(number), 2)
    assert [one.get("error.type") for one in attempts] == ["connection_refused", None]
    assert [one["strangler.attempt"] for one in attempts] == [1, 2]
    assert [one["span"].status.code for one in attempts] == [2, 0]
    assert exchange["span"].status.code == 0
    [asked] = app.requests
    wanted = f"00-{trace(number)}-{attempts[1]['span'].span_id.hex()}-01".encode()
    assert asked.get("traceparent") == wanted


def test_a_fallbacks_attempt_is_beside_the_one_that_failed(
    edge: Edge, collector: Collector
) -> None:
    assert ask(edge, "/fails/x", 50).text == "legacy"
    exchange, first, second = collector.of(trace(50), 3)
    assert (first["strangler.upstream"], second["strangler.upstream"]) == ("app", "legacy")
    assert (first["http.response.status_code"], first["span"].status.code) == (503, 2)
    assert exchange["strangler.reason"].startswith("fallback:legacy")


def test_a_shadow_is_told_apart(edge: Edge, collector: Collector, app: Upstream) -> None:
    """Pain 21."""
    app.forget()
    assert ask(edge, "/copied/x", 60).text == "legacy"
    spans = collector.of(trace(60), 3)
    shadows = [one for one in spans if one.get("strangler.shadow")]
    assert [one["strangler.upstream"] for one in shadows] == ["app"]
    assert len(spans) == 3 and not spans[0].get("strangler.shadow")
    assert f"-{shadows[0]['span'].span_id.hex()}-01".encode() in (
        app.wait_requests(1)[0].get("traceparent") or b""
    )


def test_a_hit_is_a_span_without_attempts(edge: Edge, collector: Collector) -> None:
    ask(edge, "/kept/x", 70)
    ask(edge, "/kept/x", 71)
    ask(edge, "/moved/x", 72)
    assert len(collector.of(trace(70), 2)) == 2
    [hit] = collector.of(trace(71), 1)
    assert hit["strangler.cache"] == "hit,edge"
    [moved] = collector.of(trace(72), 1)
    assert (moved["http.response.status_code"], moved["strangler.reason"]) == (301, "redirect")


def test_an_unsampled_trace_goes_through_untouched(
    edge: Edge, collector: Collector, app: Upstream
) -> None:
    app.forget()
    ask(edge, "/app/a", 80, flags="00")
    edge.get("/app/b")
    edge.get("/app/c", traceparent="nonsense")
    first, second, third = app.wait_requests(3)
    assert first.get("traceparent") == f"00-{trace(80)}-{SPAN}-00".encode()
    assert second.get("traceparent") is None
    assert third.get("traceparent") == b"nonsense"
    ask(edge, "/app/d", 81)
    collector.of(trace(81), 2)
    assert trace(80) not in {one["span"].trace_id.hex() for one in collector.spans}


def test_a_collector_that_refuses_costs_spans_and_no_request(
    edge: Edge, collector: Collector
) -> None:
    before = len(collector.asked)
    collector.status = 400
    try:
        assert ask(edge, "/app/a", 90).status == 200
        until(lambda: len(collector.asked) > before)
        counted(edge, 2, "strangler_trace_spans_total", outcome="failed")
        edge.wait_log("tracing.failed .*the collector answered 400")
    finally:
        collector.status = 200


def test_new_traces_are_begun_by_share_and_nothing_is_without_the_option(
    collector: Collector, app: Upstream
) -> None:
    told = {"endpoint": collector.url, "sample": "100%", "service": "second"}
    text = configuration(upstreams={"legacy": app})
    with Edge(text, access_log="off") as edge:
        app.forget()
        ask(edge, "/a", 100)
        assert app.wait_requests(1)[0].get("traceparent") == f"00-{trace(100)}-{SPAN}-01".encode()
        lines = len(edge.lines)
        edge.write(configuration(upstreams={"legacy": app}, tracing=told))
        edge.wait_log("config.accepted", after=lines)
        app.forget()
        edge.get("/b")
        given = (app.wait_requests(1)[0].get("traceparent") or b"").decode()
        assert given.endswith("-01")
    # What waited when it stopped was sent.
    spans = collector.of(given.split("-")[1], 2)
    assert spans[0]["resource"]["service.name"] == "second"
    assert spans[0]["span"].parent_span_id == b""
