# SPDX-License-Identifier: Apache-2.0
"""Trace context as W3C says, and spans as OpenTelemetry's own decoder reads them."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from strangler.observe import otlp, tracing
from strangler.observe.otlp import CLIENT, SERVER, Span
from strangler.observe.tracing import Settings, Tracer, address_of, headers_of, read_parent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_a_context_is_read(value: str, sampled: bool) -> None:
    assert read_parent(value.encode()) == (bytes.fromhex(TRACE), bytes.fromhex(SPAN), sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01 ",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
    ],
)
def test_what_is_none_begins_a_trace_of_its_own(value: str) -> None:
    assert read_parent(value.encode()) is None


def test_the_official_decoder_reads_every_field() -> None:
    span = Span(bytes.fromhex(TRACE), bytes.fromhex(SPAN), b"12345678", CLIENT, 1_700_000_000_000)
    span.end, span.name, span.state, span.failed = span.begin + 5, "caf\xe9", b"a=1,b=2", True
    span.attributes = {"text": "x" * 300, "whole": -7, "real": 1.5, "yes": True, "no": False}
    root = Span(bytes(15) + b"\x01", b"87654321", b"", SERVER, 1)
    body = otlp.request(
        otlp.resource({"service.name": "edge", "process.pid": 1 << 40}), [span, root]
    )
    told = ExportTraceServiceRequest.FromString(body)
    [resource] = told.resource_spans
    assert {one.key: one.value for one in resource.resource.attributes}[
        "process.pid"
    ].int_value == 1 << 40
    [scope] = resource.scope_spans
    assert scope.scope.name == "strangler"
    first, second = scope.spans
    assert (first.trace_id.hex(), first.span_id.hex()) == (TRACE, SPAN)
    assert (first.parent_span_id, first.name, first.trace_state) == (
        b"12345678",
        "caf\xe9",
        "a=1,b=2",
    )
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (span.begin, span.end)
    assert first.kind == 3 and first.status.code == 2 and first.flags == 1
    values = {one.key: one.value for one in first.attributes}
    assert values["text"].string_value == "x" * 300
    assert values["whole"].int_value == -7 and values["real"].double_value == 1.5
    assert values["yes"].bool_value is True and values["no"].WhichOneof("value") == "bool_value"
    assert second.parent_span_id == b"" and second.status.code == 0 and second.kind == 2


def test_the_beginners_decision_is_honoured() -> None:
    tracer = Tracer(Settings(endpoint="http://127.0.0.1:9", sample=0.0), "1")
    try:
        assert tracer.begin(None, None) is None
        assert tracer.begin(f"00-{TRACE}-{SPAN}-00".encode(), None) is None
        assert tracer.begin(b"nonsense", None) is None
        trace = tracer.begin(f"00-{TRACE}-{SPAN}-01".encode(), b"a=1")
        assert trace is not None
        assert trace.root.trace.hex() == TRACE and trace.root.above.hex() == SPAN
        assert trace.state == b"a=1"
        tracer.settings = Settings(endpoint="", sample=1.0)
        own = tracer.begin(None, b"a=1")
        assert own is not None and own.root.above == b"" and own.state == b""
        other = tracer.begin(None, None)
        assert other is not None and other.root.trace != own.root.trace
    finally:
        tracer.close()


def test_a_request_that_was_drawn_for_is_not_drawn_for_again() -> None:
    tracer = Tracer(Settings(endpoint="http://127.0.0.1:9", sample=1.0), "1")
    try:
        tracer.drawn = False
        assert tracer.begin(None, None) is None
        assert tracer.begin(None, None) is not None
        tracer.settings = Settings(endpoint="", sample=0.0)
        tracer.drawn = True
        assert tracer.begin(None, None) is not None
        assert tracer.begin(None, None) is None
    finally:
        tracer.close()


def test_what_finds_the_queue_full_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    held = threading.Event()
    monkeypatch.setattr(tracing, "MOST", 10)
    monkeypatch.setattr(tracing.Tracer, "_run", lambda self: held.wait(60))
    tracer = Tracer(
        Settings(endpoint="http://127.0.0.1:9", sample=1.0),
        "1",
        lambda word, number: counted.update({word: number}),
    )
    began = time.monotonic()
    for _ in range(25):
        trace = tracer.begin(None, None)
        assert trace is not None
        trace.ended(trace.root, status=200)
    assert counted == {"dropped": 15}
    assert time.monotonic() - began < 30
    held.set()
    tracer.close()


def test_where_and_with_what_it_is_sent() -> None:
    assert address_of("http://127.0.0.1:4318") == "/v1/traces"
    assert address_of("https://otel.example/otlp/") == "/otlp/v1/traces"
    assert address_of("http://127.0.0.1:4318/v1/traces") == "/v1/traces"
    told = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc%20d, x = y,broken"}
    assert headers_of(told) == {"api-key": "abc d", "x": "y"}
    assert headers_of({}) == {}
