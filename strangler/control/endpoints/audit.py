# SPDX-License-Identifier: Apache-2.0
"""The audit log, page by page, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler

MOST: Final = 1000
_AT_MOST: Final = {"type": "integer", "minimum": 1, "maximum": MOST}
_PLACE: Final = {"type": "integer", "minimum": 0, "maximum": 1 << 53}


async def _audit(asked: Handler) -> Mapping[str, Any]:
    before = asked.get_query_argument("before", "")
    route, what, who = (asked.get_query_argument(name, "") for name in ("route", "what", "who"))

    def wanted(entry: Mapping[str, Any]) -> bool:
        return (
            (not route or entry.get("subject") == f"route:{route}")
            and (not what or str(entry.get("what", "")).startswith(what))
            and (not who or entry.get("who") == who)
        )

    entries, before_next = await asked.view.audit.read(
        limit=int(asked.get_query_argument("limit", "50")),
        before=int(before) if before else None,
        wanted=wanted,
    )
    return {"entries": entries, "next": before_next}


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/audit",
        answer=_audit,
        doc="?limit=&before=&route=&what=&who=: who changed what, the newest first; "
        "`next` is the `before` of the next page",
        access="viewer",
        query=(
            Parameter(name="limit", doc="how many entries, 50 unless told", schema=_AT_MOST),
            Parameter(name="before", doc="only entries whose `at` is less", schema=_PLACE),
            Parameter(name="route", doc="only changes of this route, by its key"),
            Parameter(name="what", doc="only such changes: override, override.set, purge, …"),
            Parameter(name="who", doc="only changes by this token"),
        ),
        told={
            "type": "object",
            "properties": {
                "entries": {"type": "array", "items": {"type": "object"}},
                "next": {"type": ["integer", "null"]},
            },
            "required": ["entries", "next"],
        },
    ),
)
