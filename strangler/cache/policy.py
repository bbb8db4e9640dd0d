# SPDX-License-Identifier: Apache-2.0
"""What a route says about caching and a site about its tiers: routes.yaml's words, as values.

Durations are seconds, sizes bytes. None always means "not said"; 0 is a real zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from strangler.template import Template

TierName = Literal["edge", "shared", "archive"]
Override = Literal[
    "set-cookie", "private", "no-store", "no-cache", "authorization", "vary", "must-revalidate"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Where a cache tier lives.

    store: `memory`, `sqlite:PATH` or a URL, which may hold a password and so has no repr ·
    size: bytes before eviction (None: no bound of ours) · timeout: longest wait on a request's
    way (None: the store's own).
    """

    name: TierName
    store: str = field(repr=False)
    size: int | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryKey:
    """Which query parameters belong to the key.

    all: every one, as it stands · allow: only `names` · drop: all but `names`, and but the known
    tracking parameters if `tracking`. `sort` puts parameters in order of name; it is always true
    for allow and drop.
    """

    mode: Literal["all", "allow", "drop"] = "all"
    names: frozenset[bytes] = frozenset()
    tracking: bool = False
    sort: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """What else than method and path tells two stored responses apart; names are sorted.

    headers are lower-case names; cookies keep their case.
    """

    host: bool = True
    query: QueryKey = QueryKey()
    cookies: tuple[bytes, ...] = ()
    headers: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How a route's responses are stored and reused.

    none: never · origin: exactly RFC 9111, in every tier the site has · tiers: only in the tiers
    that have a duration here, which is the lifetime where the origin is silent and a cap where
    it speaks. grace: how long past its life a copy may be served while a fetch refreshes or the
    upstream is sick; stale_while_revalidate and stale_if_error (RFC 5861) say the two apart, and
    stand for the origin's own directives where it sends none. ignore: what the route says to
    store nevertheless. client_steers: obey a request's Cache-Control.
    """

    mode: Literal["none", "origin", "tiers"] = "none"
    edge: float | None = None
    shared: float | None = None
    archive: float | None = None
    key: KeyPolicy = KeyPolicy()
    tags: tuple[Template, ...] = ()
    grace: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    ignore: frozenset[Override] = frozenset()
    client_steers: bool = False
    collapse: bool = True

    def uses(self, tier: TierName) -> bool:
        """Tell whether responses are looked up and kept in *tier*."""
        if self.mode == "tiers":
            return getattr(self, tier) is not None
        return self.mode == "origin"
