# SPDX-License-Identifier: Apache-2.0
"""What a request asks of the cache, where its route lets clients steer (RFC 9111 §5.2.1, §5.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strangler.cache.directives import MAX_SECONDS, Argument, delta, split
from strangler.cache.fields import members
from strangler.cache.policy import CachePolicy
from strangler.wire.head import Fields, RequestHead


@dataclass(frozen=True, kw_only=True)
class Steering:
    """A request's directives (§5.2.1); what is absent or malformed is None and changes nothing."""

    max_age: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None
    stale_if_error: int | None = None
    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False


NO_STEERING: Final = Steering()


def of_request(fields: Fields) -> Steering:
    """Return what a request asks of caches; Pragma counts only without Cache-Control (§5.4)."""
    found = fields.all(b"cache-control")
    if not found:
        if b"no-cache" in [m.lower() for m in members(fields.all(b"pragma"))]:
            return Steering(no_cache=True)
        return NO_STEERING
    values: dict[bytes, Argument] = {}
    for name, argument in split(found):
        values.setdefault(name, argument)

    def seconds(name: bytes) -> int | None:
        return delta(values[name]) if name in values else None

    unbounded = b"max-stale" in values and values[b"max-stale"] is None
    return Steering(
        max_age=seconds(b"max-age"),
        min_fresh=seconds(b"min-fresh"),
        max_stale=MAX_SECONDS if unbounded else seconds(b"max-stale"),
        stale_if_error=seconds(b"stale-if-error"),
        no_cache=b"no-cache" in values,
        no_store=b"no-store" in values,
        only_if_cached=b"only-if-cached" in values,
    )


def steering(request: RequestHead, policy: CachePolicy) -> Steering | None:
    """Return what *request* asks of the cache where the route lets clients steer, else None."""
    if not policy.client_steers:
        return None
    fields = request.fields
    if b"\ncache-control:" not in fields.lower and b"\npragma:" not in fields.lower:
        return None
    return of_request(fields)
