# SPDX-License-Identifier: Apache-2.0
"""Cache-Status: how the cache handled a request, in the reader's hands (RFC 9211)."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

from strangler.cache.lookup import Forward

_MOST: Final = 10**15 - 1
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
        parts.append(f"ttl={_seconds(ttl)}")
    if not hit and forward is not None:
        if stored:
            parts.append("stored")
        if collapsed:
            parts.append("collapsed")
    if detail is not None:
        parts.append(f"detail={_item(detail)}")
    return "; ".join(parts).encode("ascii")


def of_hit(name: str, ttl: float, tier: str) -> bytes:
    """Return what `cache_status` does for a hit in *tier* that is fresh for *ttl* seconds more."""
    return f"{_item(name)}; hit; ttl={_seconds(ttl)}; detail={_item(tier)}".encode("ascii")


def _seconds(ttl: float) -> int:
    """Return *ttl* as whole seconds that an Integer can hold (RFC 9651 §3.3.1)."""
    return max(-_MOST, min(math.floor(ttl), _MOST))


@lru_cache(maxsize=64)
def _item(text: str) -> str:
    """Return *text* as a token, or as a string where it is none (RFC 9651 §3.3)."""
    if _TOKEN.fullmatch(text):
        return text
    visible = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + visible.replace("\\", "\\\\").replace('"', '\\"') + '"'
