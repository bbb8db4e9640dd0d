# SPDX-License-Identifier: Apache-2.0
"""Decide what the stored responses of a key can do for a request (RFC 9111 §4).

The caller has asked `storable.bypass` already. Each outcome says what happens next:

    hit          deliver the stored response; no upstream
    stale        deliver it, and let one fetch refresh it in the background (RFC 5861 §3)
    revalidate   ask the upstream with `validators`; a 304 confirms the stored response
    complete     ask the upstream for `validators`' range: the part that isn't held
    miss         ask the upstream for everything
    unavailable  504: the client wants nothing but a stored response (only-if-cached)

For revalidate and complete, `may_stand_in` tells whether the stored response may be delivered
instead when the upstream fails (RFC 5861 §4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from strangler.cache import ranges
from strangler.cache.freshness import STALE_FOR
from strangler.cache.plain import how_plain
from strangler.cache.steering import Steering
from strangler.cache.store import Pairs
from strangler.cache.stored import Stored
from strangler.cache.update import validators
from strangler.cache.vary import select
from strangler.wire.head import RequestHead

Outcome = Literal["hit", "stale", "revalidate", "complete", "miss", "unavailable"]
#: RFC 9211 §2.2: why a request went forward.
Forward = Literal["bypass", "method", "uri-miss", "vary-miss", "request", "stale", "partial"]

_FOREVER: Final = float("inf")


class Lookup(NamedTuple):
    """The outcome for one request.

    stored: the variant selected, None for a miss · age, ttl: seconds, ttl <= 0 where stale ·
    forward: why the upstream is asked, None where it is not · if_error: seconds of staleness up
    to which the stored response may stand in for an upstream that failed.
    """

    outcome: Outcome
    stored: Stored | None = None
    age: float = 0.0
    ttl: float = 0.0
    forward: Forward | None = None
    if_error: float = 0.0

    @property
    def may_stand_in(self) -> bool:
        """Tell whether `stored` may be delivered if the upstream fails, as it is now.

        An error of its own may not: readers would get an old one, and no fallback, for a new one.
        """
        stored = self.stored
        if stored is None or stored.status in STALE_FOR:
            return False
        return -self.ttl <= self.if_error and self.if_error > 0.0

    @property
    def holds_whole(self) -> bool:
        """Tell whether `stored` is there, and no part."""
        return self.stored is not None and self.stored.span is None

    @property
    def validators(self) -> Pairs:
        """Return the request fields that make the upstream's answer a short one, if any do."""
        if self.stored is None:
            return []
        if self.outcome == "complete":
            return list(ranges.completing(self.stored) or ())
        return validators(self.stored)

    def outdates(self, found: Stored) -> bool:
        """Tell whether *found*, in a tier below, is older than what was looked up already.

        It is while a store has yet to take the copy that replaces it.
        """
        return self.stored is not None and found.received < self.stored.received

    def outdated_by(self, new: Stored) -> Stored | None:
        """Return the variant that *new* has proved unsuitable, None where it just replaces it.

        It was asked about and not confirmed (RFC 9111 §4.3.3). One of another Vary would go on
        being selected, and be stale.
        """
        old = self.stored
        return old if old is not None and old.selecting != new.selecting else None


def decide(
    variants: Sequence[Stored],
    request: RequestHead,
    *,
    now: float,
    steering: Steering | None = None,
    usable_until: float = _FOREVER,
) -> Lookup:
    """Return what *variants*, all those of the request's primary key, can do for *request*.

    steering: what the request asks of the cache, where the route lets it (`steering.steering`)
    · usable_until: the instant at which the copies' stay in their tier ends
    (`freshness.usable_until`). Cost: < 2 us for a fresh hit.
    """
    if not variants:
        return _nothing("uri-miss", steering)
    fields = request.fields
    stored = select(variants, fields)
    if stored is None or not _meant_for(stored, request):
        return _nothing("vary-miss" if stored is None else "request", steering)
    age = stored.age(now)
    ttl = min(stored.lifetime - age, usable_until - now)
    if stored.span is not None and (request.method != b"GET" or not ranges.held(stored, fields)):
        return _part(stored, request, age, ttl, steering)
    if steering is not None:
        return _steered(stored, age, ttl, steering)
    if stored.no_cache:
        return Lookup("revalidate", stored, age, ttl, "stale", 0.0)
    if ttl > 0.0:
        return Lookup("hit", stored, age, ttl)
    if -ttl < stored.while_revalidate:
        return Lookup("stale", stored, age, ttl, None, stored.if_error)
    return Lookup("revalidate", stored, age, ttl, "stale", stored.if_error)


def stands_in(lookup: Lookup, status: int | None) -> bool:
    """Tell whether the stored response is to be delivered instead of the upstream's failure.

    status: the upstream's, None where there was none (refused, timed out, cut). Only 500, 502,
    503 and 504 are failures: a 404 or 410 is an answer.
    """
    return lookup.may_stand_in and (status is None or status in STALE_FOR)


def _meant_for(stored: Stored, request: RequestHead) -> bool:
    """Tell whether what is stored may answer a request with these credentials (§3.5).

    The rule forbids sharing what an authorized request got; it is applied both ways here, for
    an origin that doesn't call its answer public may well have another one for this reader.
    """
    fields = request.fields
    return stored.authorized or bool(how_plain(fields)) or b"\nauthorization:" not in fields.lower


def _nothing(forward: Forward, steering: Steering | None) -> Lookup:
    if steering is not None and steering.only_if_cached:
        return Lookup("unavailable", forward=forward)
    return Lookup("miss", forward=forward)


def _part(
    stored: Stored, request: RequestHead, age: float, ttl: float, steering: Steering | None
) -> Lookup:
    """A part that lacks what is asked for: complete it, if it is fresh and that can be done."""
    if steering is not None and steering.only_if_cached:
        return Lookup("unavailable", forward="partial")
    completable = (
        ttl > 0.0
        and not stored.no_cache
        and request.method == b"GET"
        and b"range" not in request.fields
        and ranges.completing(stored) is not None
    )
    if completable:
        return Lookup("complete", stored, age, ttl, "partial")
    return Lookup("miss", forward="partial")


def _steered(stored: Stored, age: float, ttl: float, steering: Steering) -> Lookup:
    """Decide with the request's directives (RFC 9111 §5.2.1)."""
    wanted = ttl
    if steering.max_age is not None:
        wanted = min(wanted, steering.max_age - age)
    if steering.min_fresh is not None:
        wanted = min(wanted, ttl - steering.min_fresh)
    refused = steering.no_cache or stored.no_cache
    if wanted > 0.0 and not refused:
        return Lookup("hit", stored, age, ttl)
    if_error = stored.if_error
    if steering.stale_if_error is not None and not stored.never_stale:
        if_error = max(if_error, float(steering.stale_if_error))
    if not refused and wanted == ttl:  # stale by nature, not because the request is picky
        if -ttl < stored.while_revalidate:
            return Lookup("stale", stored, age, ttl, None, if_error)
        accepted = steering.max_stale
        if accepted is not None and not stored.never_stale and -ttl <= accepted:
            return Lookup("hit", stored, age, ttl)
    if steering.only_if_cached:
        return Lookup("unavailable", stored, age, ttl, "stale")
    fresh = ttl > 0.0 and not stored.no_cache
    return Lookup("revalidate", stored, age, ttl, "request" if fresh else "stale", if_error)
