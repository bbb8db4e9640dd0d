# SPDX-License-Identifier: Apache-2.0
"""How long a response is fresh, how old it is, and how long it may be served stale.

Three lengths of time meet here. The *lifetime* (RFC 9111 §4.2.1) is the origin's, capped by the
route; where the origin is silent it is the route's, and where the route is silent too it is
guessed (§4.2.2). The *age* (§4.2.3) counts from the origin's own clock. A *stay* is how long a
copy may be used in one tier since it came into that tier: `edge: 10s` sends a reader on to the
shared tier every ten seconds, whatever the age of what lies there; the shared copy's own life
goes on. The lifetime bounds every stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from strangler.cache import dates
from strangler.cache.directives import MAX_SECONDS, Directives
from strangler.cache.policy import CachePolicy, TierName
from strangler.wire.head import Fields

#: RFC 9110 §15.1: statuses whose silence may be read as freshness.
HEURISTIC_STATUSES: Final = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
#: RFC 5861 §4 and RFC 9111 §4.2.4: answers that count as errors for stale-if-error.
STALE_FOR: Final = frozenset({500, 502, 503, 504})
#: A guess is never longer than this.
HEURISTIC_CAP: Final = 86400.0
HEURISTIC_SHARE: Final = 0.1

_DIGITS: Final = re.compile(rb"[0-9]+")

LifetimeSource = Literal["s-maxage", "max-age", "expires", "route", "heuristic", "none"]


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """A freshness lifetime in seconds >= 0 and what said so; `none` means that nothing did."""

    seconds: float
    source: LifetimeSource

    @property
    def explicit(self) -> bool:
        """Tell whether the origin itself said it."""
        return self.source in ("s-maxage", "max-age", "expires")


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How many seconds after its life a response may be served stale, and whether ever.

    while_revalidate: at once, with one fetch in the background (RFC 5861 §3) · if_error: when
    the upstream fails (§4) · never: the origin forbids any stale answer (RFC 9111 §4.2.4).
    """

    while_revalidate: float
    if_error: float
    never: bool


def date_of(fields: Fields, *, received: float) -> float:
    """Return when the origin made the response; a bad or missing Date means *received*."""
    found = fields.all(b"date")
    seconds = dates.parse(found[0], now=received) if len(found) == 1 else None
    return received if seconds is None else float(seconds)


def initial_age(fields: Fields, *, requested: float, received: float) -> float:
    """Return corrected_initial_age in seconds >= 0 (RFC 9111 §4.2.3).

    Age: the first member of the first line counts; what is no whole number >= 0 is ignored, a
    huge one is 2^31. Dates count whole seconds, so the apparent age is taken in whole seconds.
    """
    apparent = float(int(received) - int(date_of(fields, received=received)))
    value = 0
    found = fields.all(b"age")
    if found:
        first = found[0].partition(b",")[0].strip(b" \t")
        if _DIGITS.fullmatch(first) is not None:
            digits = first.lstrip(b"0")
            value = MAX_SECONDS if len(digits) > 10 else min(int(digits or b"0"), MAX_SECONDS)
    delay = max(0.0, received - requested)
    return max(0.0, apparent, value + delay)


def lifetime(
    fields: Fields,
    status: int,
    directives: Directives,
    *,
    received: float,
    default: float | None = None,
    cap: float | None = None,
) -> Lifetime:
    """Return the freshness lifetime of a response; the first that speaks wins (§4.2.1).

    s-maxage, max-age, Expires − Date; then, for statuses whose silence permits it, the route's
    *default*, then a tenth of the time since Last-Modified. *cap* bounds all of them, in
    seconds. Malformed or contradictory values are 0: stale. Never raises.
    """
    seconds, source = _said(fields, directives, received)
    if seconds is None:
        silent = status in HEURISTIC_STATUSES or directives.public
        if silent and default is not None:
            seconds, source = default, "route"
        elif silent:
            seconds, source = _guessed(fields, received)
        else:
            seconds, source = 0.0, "none"
    if cap is not None:
        seconds = min(seconds, cap)
    return Lifetime(seconds=seconds, source=source)


def _said(
    fields: Fields, directives: Directives, received: float
) -> tuple[float | None, LifetimeSource]:
    if directives.s_maxage is not None:
        return float(directives.s_maxage), "s-maxage"
    if directives.max_age is not None:
        return float(directives.max_age), "max-age"
    if directives.targeted:
        return None, "none"
    expires = fields.all(b"expires")
    if not expires:
        return None, "none"
    until = dates.parse(expires[0], now=received) if len(expires) == 1 else None
    if until is None:
        return 0.0, "expires"
    seconds = until - date_of(fields, received=received)
    return min(max(0.0, seconds), float(MAX_SECONDS)), "expires"


def _guessed(fields: Fields, received: float) -> tuple[float, LifetimeSource]:
    value = fields.get(b"last-modified")
    modified = dates.parse(value, now=received) if value is not None else None
    if modified is None:
        return 0.0, "none"
    since = date_of(fields, received=received) - modified
    return min(max(0.0, since * HEURISTIC_SHARE), HEURISTIC_CAP), "heuristic"


def windows(directives: Directives, policy: CachePolicy) -> Windows:
    """Return the stale windows: the origin's directives, else the route's words, else none.

    Whatever else the route says, must-revalidate, proxy-revalidate, no-cache and s-maxage close
    both (RFC 9111 §4.2.4, §5.2.2.10), unless it ignores must-revalidate by name; no-cache closes
    them in any case.
    """
    overridden = "must-revalidate" in policy.ignore and not directives.no_cache
    if directives.forbids_stale and not overridden:
        return Windows(while_revalidate=0.0, if_error=0.0, never=True)

    def first(*words: float | None) -> float:
        return next((float(word) for word in words if word is not None), 0.0)

    return Windows(
        while_revalidate=first(
            directives.stale_while_revalidate, policy.stale_while_revalidate, policy.grace
        ),
        if_error=first(directives.stale_if_error, policy.stale_if_error, policy.grace),
        never=False,
    )


def stay(policy: CachePolicy, tier: TierName, status: int = 200) -> float | None:
    """Return how many seconds a copy may be used in *tier* since it came in; None: no bound.

    0 where the route doesn't use the tier. An error (4xx, 5xx) stays for the shortest of the
    route's durations, and never in the archive: nobody wants yesterday's 404.
    """
    if policy.mode == "none":
        return 0.0
    if policy.mode == "origin":
        return None
    seconds: float | None = getattr(policy, tier)
    if seconds is None:
        return 0.0
    if status >= 400:
        shortest = [s for s in (policy.edge, policy.shared) if s is not None]
        return 0.0 if tier == "archive" or not shortest else min(seconds, *shortest)
    return seconds


def bound(policy: CachePolicy, status: int = 200) -> float | None:
    """Return the route's lifetime, default and cap in one: its longest stay; None: unbounded."""
    if policy.mode == "origin":
        return None
    tiers: tuple[TierName, ...] = ("edge", "shared", "archive")
    return max(stay(policy, tier, status) or 0.0 for tier in tiers)


def usable_until(fresh_until: float, *, entered: float, stay: float | None) -> float:
    """Return the instant until which a copy may be used in a tier that it *entered* then."""
    return fresh_until if stay is None else min(fresh_until, entered + stay)
