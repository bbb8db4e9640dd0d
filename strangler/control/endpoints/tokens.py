# SPDX-License-Identifier: Apache-2.0
"""The named tokens: who has one, and taking one away, which is an admin's business alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from strangler.config.diagnostics import did_you_mean
from strangler.control.choice import read_reason, refuse_unknown
from strangler.control.endpoint import Endpoint
from strangler.control.handler import Handler, Rejected

Told = Mapping[str, Any] | None


async def _list(asked: Handler) -> Told:
    return {
        "tokens": [
            {"name": one.who, "role": one.role, "owners": sorted(one.owners)}
            for one in asked.tokens.every()
        ]
    }


async def _remove(asked: Handler) -> Told:
    given = asked.json_body()
    refuse_unknown(given, ("name", "reason"))
    name, reason = given.get("name"), read_reason(given)
    if not isinstance(name, str):
        raise Rejected(400, "name: expected whose token it is")
    try:
        removed = await asyncio.to_thread(asked.tokens.remove, name)
    except (OSError, ValueError) as problem:
        raise Rejected(503, f"the file of named tokens: {problem}") from None
    if removed is None:
        hint = did_you_mean(name, [one.who for one in asked.tokens.every()])
        said = f"no named token {name[:100]}" + (f"; {hint}" if hint else "")
        raise Rejected(404, said)
    await asked.view.audit.add(
        asked.entry("token.removed", subject=removed.who, before=removed.role, reason=reason)
    )
    return {"removed": removed.who}


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/tokens",
        answer=_list,
        doc="who has a token, and with which role; never the token itself",
        access="admin",
        told={
            "type": "object",
            "properties": {"tokens": {"type": "array", "items": {"type": "object"}}},
            "required": ["tokens"],
        },
    ),
    Endpoint(
        method="POST",
        path="/-/tokens/remove",
        answer=_remove,
        doc='{"name", "reason"}: a named token counts no more, nor any session begun with it',
        access="admin",
        body={
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "reason": {"type": "string", "minLength": 1, "maxLength": 500},
            },
            "required": ["name", "reason"],
            "additionalProperties": False,
        },
        told={
            "type": "object",
            "properties": {"removed": {"type": "string"}},
            "required": ["removed"],
        },
        also=(404, 503),
    ),
)
