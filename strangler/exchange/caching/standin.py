# SPDX-License-Identifier: Apache-2.0
"""Find a stored response that answers in place of a target that has failed.

This is a ladder's `stale` and `archive`: whatever is held, however old, but for what the origin
has said must never be served stale (RFC 9111 §4.2.4), and for what is not this reader's.
"""

from __future__ import annotations

from typing import NamedTuple

from strangler.cache.stored import Stored
from strangler.cache.tiers.tier import Copy, Tier
from strangler.cache.vary import select
from strangler.exchange.caching.copies import Copies
from strangler.wire.head import Fields


class StandIn(NamedTuple):
    """A stored response: *body* None where it has to be read from *tier* in slices."""

    stored: Stored
    body: bytes | None
    name: str
    tier: Tier | None = None
    copy: Copy | None = None


async def stand_in(copies: Copies, key: bytes, fields: Fields, *, archive: bool) -> StandIn | None:
    """Return what is held of *key* for a request with *fields*: in the archive, or above it."""
    if not archive:
        ready = copies.held(key)
        stored = _fit([one.stored for one in ready], fields)
        if stored is not None:
            body = next(one.body for one in ready if one.stored is stored)
            return StandIn(stored, body, "edge")
    for name, tier in copies.below:
        if (name == "archive") != archive:
            continue
        found = await tier.get(key)
        stored = _fit([copy.stored for copy in found], fields)
        if stored is not None:
            copy = next(copy for copy in found if copy.stored is stored)
            return StandIn(stored, copy.body, name, tier, copy)
    return None


def _fit(candidates: list[Stored], fields: Fields) -> Stored | None:
    stored = select(candidates, fields)
    if stored is None or stored.never_stale or stored.no_cache or stored.span is not None:
        return None
    if not stored.authorized and b"\nauthorization:" in fields.lower:
        return None
    return stored
