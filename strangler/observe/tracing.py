# SPDX-License-Identifier: Apache-2.0
"""Traces: one span an exchange, one an attempt, sent as OpenTelemetry's OTLP over HTTP.

The context of a request comes in and goes out as W3C says (Trace Context, traceparent and
tracestate). Whether a trace is sampled is its beginner's decision: ours only where there is none.
What isn't sampled costs one look at a field; spans are encoded and sent by a thread, and what finds
its queue full is dropped and counted.
"""

from __future__ import annotations

import http.client
import logging
import os
import random
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from strangler.observe import otlp
from strangler.observe.events import announce
from strangler.observe.otlp import CLIENT, SERVER, Span

MOST: Final = 4096
"""Spans that wait to be sent."""
_BATCH: Final = 512
_EVERY: Final = 1.0
"""Seconds until what has gathered is sent."""
_TIMEOUT: Final = 5.0
_TRIES: Final = 4
_AGAIN: Final = frozenset((408, 429, 502, 503, 504))
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)

Count = Callable[[str, int], None]
"""Counts spans by what became of them: exported, dropped, failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where spans go. endpoint: an http or https URL · sample: share of new traces, 0 to 1."""

    endpoint: str
    sample: float = 0.01
    service: str = "strangler"


class Trace:
    """One sampled exchange: its span, and those of its attempts."""

    __slots__ = ("_attempts", "_tracer", "root", "state")

    def __init__(self, tracer: Tracer, root: Span, state: bytes) -> None:
        self._tracer = tracer
        self.root = root
        self.state = state
        self._attempts = 0

    def attempt(self, upstream: str, endpoint: str, *, shadow: bool = False) -> Span:
        """Begin the span of an attempt."""
        self._attempts += 1
        root = self.root
        span = Span(root.trace, os.urandom(8), root.id, CLIENT, time.time_ns())
        host, _, port = endpoint.rpartition(":")
        span.name = f"attempt {upstream}"
        span.state = root.state
        span.attributes = {
            "strangler.upstream": upstream,
            "strangler.attempt": self._attempts,
            "server.address": host or endpoint,
        }
        if port.isdigit():
            span.attributes["server.port"] = int(port)
        if shadow:
            span.attributes["strangler.shadow"] = True
        return span

    def ended(self, span: Span, *, status: int = 0, error: str = "") -> None:
        """End a span; *status* is an answer's, *error* what went wrong."""
        span.end = time.time_ns()
        if status:
            span.attributes["http.response.status_code"] = status
        if error:
            span.attributes["error.type"] = error
        elif status >= 500:
            span.attributes["error.type"] = str(status)
        # What a client asked wrongly is no fault of the server that says so.
        span.failed = bool(error) or status >= (500 if span.kind == SERVER else 400)
        self._tracer.put(span)


def line_of(span: Span) -> bytes:
    """Return the line, behind its CRLF, that gives a sampled span on to the next server."""
    return b"\r\ntraceparent: 00-%b-%b-01" % (span.trace.hex().encode(), span.id.hex().encode())


class Tracer:
    """Begins traces, and sends spans from a thread of its own."""

    def __init__(self, settings: Settings, instance: str, count: Count | None = None) -> None:
        """Send as *instance* of the service."""
        self.settings = settings
        self._count = count if count is not None else _ignored
        #: Whether the request that is read next has been drawn; None: it has still to be.
        self.drawn: bool | None = None
        self._queue: deque[Span] = deque()
        self._wake = threading.Condition()
        self._ending = False
        self._told = float("-inf")
        self._resource = otlp.resource(
            {
                "service.name": settings.service,
                "service.instance.id": instance,
                "process.pid": os.getpid(),
            }
        )
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def draw(self) -> bool:
        """Draw whether a request without a trace of its own begins one."""
        return random.random() < self.settings.sample

    def begin(self, parent: bytes | None, state: bytes | None) -> Trace | None:
        """Return the trace of a request with these fields; None: it isn't sampled."""
        known = read_parent(parent) if parent is not None else None
        if known is None:
            drawn, self.drawn = self.drawn, None
            if not (self.draw() if drawn is None else drawn):
                return None
            trace, above, state = os.urandom(16), b"", None
        else:
            trace, above, sampled = known
            if not sampled:
                return None
        span = Span(trace, os.urandom(8), above, SERVER, time.time_ns())
        span.state = state or b""
        return Trace(self, span, span.state)

    def put(self, span: Span) -> None:
        """Queue a span that has ended."""
        queue = self._queue
        if len(queue) >= MOST:
            self._count("dropped", 1)
            return
        queue.append(span)
        if len(queue) >= _BATCH:
            with self._wake:
                self._wake.notify()

    def close(self, timeout: float = 1.0) -> None:
        """Send what waits, for at most *timeout* seconds."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        sender = _Sender(self.settings.endpoint)
        while True:
            with self._wake:
                if not self._ending and len(self._queue) < _BATCH:
                    self._wake.wait(_EVERY)
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._send(sender, batch)
            if self._ending:
                sender.close()
                return

    def _send(self, sender: _Sender, batch: list[Span]) -> None:
        body = otlp.request(self._resource, batch)
        why = ""
        for attempt in range(_TRIES):
            if attempt:
                with self._wake:
                    if not self._ending:
                        self._wake.wait(random.uniform(0, 2.0**attempt))
            why, again = sender.post(body)
            if not why:
                self._count("exported", len(batch))
                return
            if not again or self._ending:
                break
        self._count("failed", len(batch))
        now = time.monotonic()
        if now - self._told >= 60:
            self._told = now
            announce("tracing.failed", level=logging.WARNING, spans=len(batch), error=why)


def read_parent(value: bytes) -> tuple[bytes, bytes, bool] | None:
    """Return trace id, span id and whether it is sampled; None for what is no traceparent.

    A higher version is read as far as this one goes (Trace Context §4.3).
    """
    found = _PARENT.fullmatch(value)
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more):
        return None
    ids = bytes.fromhex(trace.decode()), bytes.fromhex(span.decode())
    if ids[0] == _NO_TRACE or ids[1] == _NO_SPAN:
        return None
    return (*ids, bool(int(flags, 16) & 1))


def address_of(endpoint: str) -> str:
    """Return where to post to: OTLP's own path, where the endpoint has none."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/")
    return path if path.endswith("/v1/traces") else f"{path}/v1/traces"


def headers_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that OTEL_EXPORTER_OTLP_HEADERS names: `key=value`, a comma between."""
    told = environment.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = (part.partition("=") for part in told.split(",") if "=" in part)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


class _Sender:
    """Posts to one collector, on one kept connection; in the thread."""

    def __init__(self, endpoint: str) -> None:
        self._parts = urlsplit(endpoint)
        self._path = address_of(endpoint)
        self._fields = {"Content-Type": "application/x-protobuf", **headers_of(os.environ)}
        self._link: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> tuple[str, bool]:
        """Return why it was not taken, empty where it was, and whether to try again."""
        try:
            link = self._link or self._open()
            link.request("POST", self._path, body, self._fields)
            response = link.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            return f"{type(problem).__name__}: {problem}", True
        if response.status < 300:
            return "", False
        return f"the collector answered {response.status}", response.status in _AGAIN

    def _open(self) -> http.client.HTTPConnection:
        host = self._parts.hostname or "127.0.0.1"
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            self._link = http.client.HTTPSConnection(
                host, self._parts.port or 443, timeout=_TIMEOUT, context=context
            )
        else:
            self._link = http.client.HTTPConnection(
                host, self._parts.port or 4318, timeout=_TIMEOUT
            )
        return self._link

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _ignored(word: str, number: int) -> None:
    pass
