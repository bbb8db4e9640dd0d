# SPDX-License-Identifier: Apache-2.0
"""Fetches of sampled exchanges: each attempt is a span, and gives its context on.

They are classes of their own, chosen where a fetch is made, so that what isn't sampled asks
nothing on its way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from strangler.errors import AttemptFailed
from strangler.exchange.fetching.contract import Fetching
from strangler.exchange.fetching.fetch import Fetch, Terms
from strangler.observe.masking import mask_target
from strangler.observe.otlp import Span
from strangler.observe.tracing import Trace, Tracer, line_of
from strangler.upstream import UpstreamConnection
from strangler.wire.framing import Body
from strangler.wire.head import RequestHead, ResponseHead
from strangler.wire.request import Request

if TYPE_CHECKING:
    from strangler.exchange.exchange import Exchange

_CONTEXT: Final = re.compile(rb"(?i)\r\n(?:traceparent|tracestate):[^\r]*")
_PARENT: Final = re.compile(rb"(?i)\r\ntraceparent:[^\r]*")


class Traced(Fetch):
    """A fetch whose attempts are spans of its request's trace."""

    __slots__ = ("_span",)

    _span: Span | None

    def connected(self, connection: UpstreamConnection) -> None:
        trace = self._trace
        if trace is not None:
            self._end_span(error="")  # one on a kept connection that was found closed
            shadow = self.kind == "shadow"
            name = connection.endpoint.name
            span = self._span = trace.attempt(self.upstream.name, name, shadow=shadow)
            request = self.request
            self.request = request.also(line_of(span))
            super().connected(connection)
            self.request = request
        else:
            super().connected(connection)

    def connect_failed(self, error: AttemptFailed) -> None:
        trace = self._trace
        if trace is not None and self.endpoint is not None:
            shadow = self.kind == "shadow"
            self._span = trace.attempt(self.upstream.name, self.endpoint.name, shadow=shadow)
            self._end_span(error=error.error)
        super().connect_failed(error)

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        span = getattr(self, "_span", None)
        if span is not None:
            span.attributes["http.response.status_code"] = head.status
            if head.status in self.terms.retry.when.statuses:
                self._end_span()  # another attempt may follow from within
        super().response_started(head, body, payload)

    def attempt_failed(self, error: AttemptFailed) -> None:
        self._end_span(error=error.error)
        super().attempt_failed(error)

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        span = getattr(self, "_span", None)
        if span is not None:
            span.attributes["http.response.status_code"] = head.status
            self._end_span()
        super().upgraded(head, ahead)

    def _end(self) -> None:
        self._end_span()
        super()._end()

    @property
    def _trace(self) -> Trace | None:
        return self.request.trace  # type: ignore[no-any-return]

    def _end_span(self, error: str = "") -> None:
        span = getattr(self, "_span", None)
        self._span = None
        trace = self._trace
        if span is not None and trace is not None:
            status = span.attributes.get("http.response.status_code", 0)
            trace.ended(span, status=int(status), error=error)


def begin(tracer: Tracer, head: RequestHead) -> Trace | None:
    """Return the trace of the request *head*, None where it isn't sampled."""
    fields = head.fields
    parent = None
    if b"\ntraceparent:" in fields.lower:
        every = fields.all(b"traceparent")
        parent = every[0] if len(every) == 1 else None
    return tracer.begin(parent, fields.combined(b"tracestate") if parent is not None else None)


def maker(terms: Terms, request: Request) -> Callable[..., Fetching]:
    """Return what makes a fetch of *request* on these terms."""
    if terms.makes is not None:
        return terms.makes
    return Fetch if request.trace is None else Traced


def request_of(exchange: Exchange, request: Request) -> Request:
    """Return the upstream request of a sampled exchange: its attempts write the context anew."""
    trace = exchange.trace
    assert trace is not None
    gone = _PARENT if trace.state else _CONTEXT
    made = request.with_block(gone.sub(b"", request.block))
    made.trace = trace
    return made


def ended(
    exchange: Exchange, trace: Trace, route: str, target: str, reason: str, error: str
) -> None:
    """End the span of an exchange."""
    head = exchange.head
    span = trace.root
    method = head.method.decode("latin-1")
    span.name = f"{method} {route}" if route else method
    path, _, query = mask_target(head.rest).decode("latin-1").partition("?")
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "url.path": path,
        "url.scheme": exchange.scheme.decode(),
        "server.address": head.host.decode("latin-1"),
        "client.address": exchange.client,
        "http.route": route,
        "strangler.target": target,
        "strangler.reason": reason,
        "strangler.request_id": exchange.id,
    }
    if query:
        attributes["url.query"] = query
    cache = exchange._cache_word()
    if cache:
        attributes["strangler.cache"] = cache
    if exchange._sent:
        attributes["http.response.body.size"] = exchange._sent
    span.attributes = {name: value for name, value in attributes.items() if value != ""}
    client = error in ("client_aborted", "http_request_error")
    trace.ended(
        span, status=exchange._status, error="" if client else error if _is_word(error) else ""
    )
    if client:
        span.attributes["error.type"] = error


def _is_word(error: str) -> bool:
    """Tell whether *error* is a name; a refusal's sentence is the status's to tell."""
    return error.replace("_", "").isalnum()
