# SPDX-License-Identifier: Apache-2.0
"""What the console asks for: the document of everything, and the way of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from strangler.config.explained import NoRequest, explain_request, lines, read_request
from strangler.control.console.document import Asked
from strangler.control.console.pages import state_of
from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected

Told = Mapping[str, Any] | None


async def _state(asked: Handler) -> Told:
    listed = asked.get_query_argument("routes", "all")
    if listed != "all" and not (listed.isascii() and listed.isdigit() and len(listed) < 7):
        raise Rejected(400, f"routes: expected a count or all, got {listed[:50]}")
    route = asked.get_query_argument("route", None, strip=False)
    if route is not None and "routes" not in asked.request.query_arguments:
        listed = "0"
    return await state_of(
        asked,
        Asked(
            routes=None if listed == "all" else int(listed),
            find=asked.get_query_argument("find", "")[:200],
            route=route,
            migration=asked.get_query_argument("migration", "") in ("1", "true"),
        ),
    )


async def _explain(asked: Handler) -> Told:
    view = asked.view
    snapshot, in_force = view.snapshot, view.overrides.overrides
    url = asked.get_query_argument("url", "", strip=False)
    method = asked.get_query_argument("method", "GET")
    client = asked.get_query_argument("from", "127.0.0.1")
    fields = asked.get_query_arguments("header", strip=False)[:100]
    try:
        head, scheme = read_request(snapshot, method, url, fields, client)
        explanation, told = await asyncio.get_running_loop().run_in_executor(
            None,
            lambda: explain_request(
                snapshot,
                head,
                client,
                scheme,
                in_force,
                view.arm_key,
            ),
        )
    except NoRequest as refused:
        raise Rejected(400, str(refused)[:500]) from None
    return {
        "generation": snapshot.generation,
        "explanation": explanation.as_dict(),
        **(told or {}),
        "lines": lines(explanation, told or {}),
    }


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/state",
        answer=_state,
        doc="all that the console shows, in one document",
        query=(
            Parameter(name="routes", doc="how many routes to list, the worst first; or all"),
            Parameter(name="find", doc="list only routes that have these words somewhere"),
            Parameter(name="route", doc="the key of a route to tell everything about"),
            Parameter(name="migration", doc="1: tell how far the migration is"),
        ),
        also=(400,),
    ),
    Endpoint(
        method="GET",
        path="/-/explain",
        answer=_explain,
        doc="?url=URL&method=GET&header=NAME: VALUE: which route takes it, and why",
        query=(
            Parameter(name="url", doc="a path with query, or a whole URL"),
            Parameter(name="method", doc="GET where it isn't said"),
            Parameter(name="header", doc="a request field, NAME: VALUE", many=True),
            Parameter(name="from", doc="the reader's address; 127.0.0.1 where it isn't said"),
        ),
        also=(400,),
    ),
)
