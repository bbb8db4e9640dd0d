# SPDX-License-Identifier: Apache-2.0
"""Parts of a representation that make a larger one (RFC 9111 §3.4)."""

from __future__ import annotations

from strangler.cache import store, update
from strangler.cache.stored import Stored
from strangler.exchange.caching.copies import Copies


def joined_with_held(copies: Copies, part: Stored, body: bytes) -> tuple[Stored, bytes]:
    """Return *part* joined with a part of the same key in the edge tier, where they fit."""
    for ready in copies.held(part.key):
        if ready.stored.span is not None:
            joined = update.completed(ready.stored, ready.body, part, body)
            if joined is not None:
                return joined
    return part, body


def completed(
    old: Stored, old_body: bytes, planned: Stored, rest: bytes
) -> tuple[Stored, bytes] | None:
    """Return the whole that *old* and the *rest* as *planned* make, or None where they don't."""
    sealed = store.seal(planned, len(rest))
    if not isinstance(sealed, Stored):
        return None
    whole = update.completed(old, old_body, sealed, rest)
    return None if whole is None or whole[0].span is not None else whole
