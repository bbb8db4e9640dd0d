# SPDX-License-Identifier: Apache-2.0
"""Cache-Status: how the cache handled a request, in the reader's hands (RFC 9211)."""

from __future__ import annotations

import math
import re
from typing import Final

from strangler.cache.lookup import Forward, Lookup

_TOKEN: Final = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")


def cache_status(
    name: str,
    *,
    hit: bool = False,
    forward: Forward | None = None,
    status: int | None = None,
    ttl: float | None = None,
    stored: bool = False,
    collapsed: bool = False,
    detail: str | None = None,
) -> bytes:
    """Return the member of Cache-Status that the cache called *name* adds.

    hit and forward exclude each other (§2.1, §2.2) · status: what the upstream answered, where
    that is not what the reader gets · ttl: remaining freshness in seconds, negative when stale ·
    stored: the response was kept · collapsed: the fetch was shared with other readers · detail:
    the tier, or why nothing was kept.
    """
    parts = [_item(name)]
    if hit:
        parts.append("hit")
    elif forward is not None:
        parts.append(f"fwd={forward}")
        if status is not None:
            parts.append(f"fwd-status={status}")
    if ttl is not None:
        parts.append(f"ttl={max(-(10**15) + 1, min(math.floor(ttl), 10**15 - 1))}")
    if not hit and forward is not None:
        if stored:
            parts.append("stored")
        if collapsed:
            parts.append("collapsed")
    if detail is not None:
        parts.append(f"detail={_item(detail)}")
    return "; ".join(parts).encode("ascii")


def of_lookup(name: str, lookup: Lookup, *, tier: str | None = None) -> bytes:
    """Return the member for a response delivered from *lookup*'s stored one out of *tier*."""
    return cache_status(name, hit=True, ttl=lookup.ttl, detail=tier)


def _item(text: str) -> str:
    """Return *text* as a token, or as a string where it is none (RFC 9651 §3.3)."""
    if _TOKEN.fullmatch(text):
        return text
    visible = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + visible.replace("\\", "\\\\").replace('"', '\\"') + '"'
