# SPDX-License-Identifier: Apache-2.0
"""The last bad requests, and lines as they are logged."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from tornado.iostream import StreamClosedError

from strangler.control.choice import refuse_unknown
from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected
from strangler.observe.debugging import COOKIE, LONGEST, key_of, mint
from strangler.observe.tails import statuses
from strangler.units import duration

Told = Mapping[str, Any] | None


async def _errors(asked: Handler) -> Told:
    route = asked.get_query_argument("route", None, strip=False)
    return {**await asked.view.watch.errors(route)}


async def _tail(asked: Handler) -> Told:
    # Who went away is noticed at the next word, which comes every other second at least.
    with asked.view.watch.tail(_wanted(asked)) as lines, contextlib.suppress(StreamClosedError):
        asked.set_header("Content-Type", "text/event-stream; charset=utf-8")
        asked.write(": listening\n\n")
        await asked.flush()
        async for batch, missed in lines:
            if missed:
                asked.write(f"event: missed\ndata: {json.dumps({'missed': missed})}\n\n")
            asked.write("".join(f"data: {line}\n\n" for line in batch) or ": nothing new\n\n")
            await asked.flush()
    return None


def _wanted(asked: Handler) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for name in ("route", "target"):
        value = asked.get_query_argument(name, "", strip=False)
        if value:
            wanted[name] = value
    text = asked.get_query_argument("status", "")
    slow = asked.get_query_argument("slow", "")
    try:
        if text:
            wanted["statuses"] = statuses(text)
        if slow:
            wanted["slow"] = duration(slow)
    except ValueError as problem:
        raise Rejected(400, str(problem)) from None
    return wanted


async def _debug_cookie(asked: Handler) -> Told:
    """Sign a token by which a browser or curl is told who answered it and why."""
    given = asked.json_body()
    refuse_unknown(given, ("for",))
    said = given.get("for", "1h")
    try:
        if not isinstance(said, str):
            raise ValueError("expected a duration such as 1h")
        seconds = duration(said)
    except ValueError as problem:
        raise Rejected(400, f"for: {problem}") from None
    if not 1.0 <= seconds <= LONGEST:
        raise Rejected(400, f"for: expected 1s to 24h, got {said[:50]}")
    if not asked.view.arm_key:
        raise Rejected(503, "the site has no signing key")
    expires = time.time() + seconds
    token = mint(key_of(asked.view.arm_key), expires)
    pair = f"{COOKIE.decode()}={token}"
    return {
        "expires": int(expires),
        "token": token,
        "header": f"Strangler-Debug: {token}",
        "cookie": pair,
        "set_cookie": f"{pair}; Path=/; Max-Age={int(seconds)}; HttpOnly; SameSite=Lax",
        "script": f'document.cookie = "{pair}; path=/; max-age={int(seconds)}"',
    }


ROWS: Final = (
    Endpoint(
        method="POST",
        path="/-/debug-cookie",
        answer=_debug_cookie,
        doc='{"for": "1h"}: a token that has each response say who answered, why, and how long '
        "it took; as a cookie or a field",
        access="viewer",
        body={
            "type": "object",
            "properties": {"for": {"type": "string"}},
            "additionalProperties": False,
        },
        also=(400, 503),
    ),
    Endpoint(
        method="GET",
        path="/-/errors",
        answer=_errors,
        doc="the last bad requests, byte for byte, secrets masked; newest first",
        access="viewer",
        query=(Parameter(name="route", doc="a route's key; empty: those that never had a route"),),
    ),
    Endpoint(
        method="GET",
        path="/-/tail",
        answer=_tail,
        doc="access records as they come, as server-sent events",
        access="viewer",
        query=(
            Parameter(name="route", doc="a route's key"),
            Parameter(name="target", doc="who was to answer: legacy or an upstream's name"),
            Parameter(name="status", doc="such as 5xx or 404,5xx"),
            Parameter(name="slow", doc="at least this long, such as 500ms"),
        ),
        also=(400, 503),
        content="text/event-stream",
    ),
)
