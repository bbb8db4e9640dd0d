# SPDX-License-Identifier: Apache-2.0
"""Parity: what became of copies to the other side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected

Told = Mapping[str, Any] | None


async def _show(asked: Handler) -> Told:
    route = asked.get_query_argument("route", "", strip=False)
    parity = asked.view.parity
    return {**await (parity.of(route) if route else parity.every())}


async def _reset(asked: Handler) -> Told:
    told = asked.json_body()
    route = told.get("route")
    if not isinstance(route, str) or told.keys() - {"route"}:
        raise Rejected(400, 'expected {"route": KEY}')
    asked.permit([asked.view.parity.owner(route)], f"route {route}")
    return {**await asked.view.parity.reset(route)}


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/parity",
        answer=_show,
        doc="what became of the copies to the other side; ?route=KEY: where answers differ",
        query=(Parameter(name="route", doc="a route's key; without it, the counts of all"),),
        also=(404,),
    ),
    Endpoint(
        method="POST",
        path="/-/parity/reset",
        answer=_reset,
        doc='{"route": KEY}: count its copies from now on',
        access="owner",
        body={
            "type": "object",
            "properties": {"route": {"type": "string"}},
            "required": ["route"],
            "additionalProperties": False,
        },
        also=(404, 503),
    ),
)
