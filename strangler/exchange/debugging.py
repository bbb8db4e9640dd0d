# SPDX-License-Identifier: Apache-2.0
"""What a response says of itself to who shows a debug token: the decision, and where time went.

Strangler-Decision: target=busca; reason=canary_in; route="/busca/**"; stage="canary 10%"
Server-Timing: upstream;desc="busca 127.0.0.1:8103";dur=12.3, total;dur=12.5
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from strangler.exchange import falling
from strangler.observe.debugging import COOKIE, FIELD, believed

if TYPE_CHECKING:
    from strangler.exchange.exchange import Exchange


def lines(exchange: Exchange) -> bytes:
    """Return the lines, a CRLF before each; nothing for who shows no good token."""
    return b"".join([b"\r\n%b: %b" % pair for pair in fields(exchange)])


def fields(exchange: Exchange) -> tuple[tuple[bytes, bytes], ...]:
    """Return the same as names and values."""
    head, edge = exchange.head, exchange._edge
    token = head.get(FIELD) or head.cookie(COOKIE) or b""
    if not believed(edge.debug_key, token, time.time()):
        return ()
    return (
        (b"Strangler-Decision", _decision(exchange)),
        (b"Server-Timing", _timing(exchange)),
    )


def _decision(exchange: Exchange) -> bytes:
    edge = exchange._edge
    plan = getattr(exchange, "_plan", None)
    if plan is None:
        return b"reason=refused; generation=%d" % edge.view.generation
    parts = {}
    upstream = getattr(exchange, "_upstream", None)
    if upstream is not None:
        parts["target"] = upstream.name
        parts["reason"] = falling.reason(exchange)
    elif plan.maintenance is not None:
        parts["reason"] = "maintenance"
    else:
        parts["reason"] = plan.route.action if plan.route.action != "proxy" else "refused"
    parts["route"] = _quoted(plan.key)
    if plan.route.action == "proxy":
        parts["stage"] = _quoted(str(plan.stage))
        if plan.stage != plan.route.stage:
            parts["file"] = _quoted(str(plan.route.stage))
    decision = getattr(exchange, "_decision", None)
    if decision is not None and decision.bucket is not None:
        parts["bucket"] = str(decision.bucket)
    cache = exchange._cache_word()
    if cache:
        parts["cache"] = _quoted(cache)
    parts["generation"] = str(edge.view.generation)
    parts["id"] = _quoted(exchange.id)
    return "; ".join(f"{name}={value}" for name, value in parts.items()).encode(
        "latin-1", "replace"
    )


def _timing(exchange: Exchange) -> bytes:
    now = time.monotonic() - exchange._began
    parts = []
    fetch = exchange._fetch
    endpoint = exchange._endpoint
    if fetch is not None and fetch.endpoint is not None:
        endpoint = fetch.endpoint.name
    if endpoint:
        name = f"{exchange._upstream.name} {endpoint}"
        took = (exchange._first_byte or now) * 1000
        parts.append(f"upstream;desc={_quoted(name)};dur={took:.1f}")
    cache = exchange._cache_word()
    if cache:
        parts.append(f"cache;desc={_quoted(cache)}")
    parts.append(f"total;dur={now * 1000:.1f}")
    return ", ".join(parts).encode("latin-1", "replace")


def _quoted(text: str) -> str:
    """Return a quoted string (RFC 9110 §5.6.4), what it can't hold as question marks."""
    kept = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"') + '"'
