# SPDX-License-Identifier: Apache-2.0
"""Whether a response may be stored, and if not, why (RFC 9111 §3).

A reason is a word: the access log shows it, a counter has it as its label (`uncacheable:
set-cookie`) and Cache-Status has it as its detail. The set is closed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from enum import StrEnum
from typing import Final

from strangler.cache.directives import Directives, of_response
from strangler.cache.freshness import HEURISTIC_STATUSES, Lifetime, Windows
from strangler.cache.plain import how_plain
from strangler.cache.policy import CachePolicy
from strangler.cache.steering import steering
from strangler.cache.vary import nominated
from strangler.wire.head import RequestHead, ResponseHead


class Uncacheable(StrEnum):
    """Why a response was not stored, or a request was not looked up."""

    NONE = "cache-none"
    METHOD = "method"
    FAT_GET = "request-body"
    UPGRADE = "upgrade"
    UNKEYED = "unkeyed-override"
    REQUEST_NO_STORE = "request-no-store"
    PRECONDITION = "precondition"
    STATUS = "status"
    NO_STORE = "no-store"
    NOT_UNDERSTOOD = "not-understood"
    PRIVATE = "private"
    AUTHORIZATION = "authorization"
    SET_COOKIE = "set-cookie"
    VARY_ANY = "vary-any"
    VARY_COOKIE = "vary-cookie"
    PARTIAL = "partial"
    NO_FRESHNESS = "no-freshness"
    INCOMPLETE = "incomplete"
    WORSE = "error-over-good-copy"


#: Reasons that lie in one reader's request: they say nothing of what another would get.
READERS_OWN: Final = frozenset(
    {
        Uncacheable.AUTHORIZATION,
        Uncacheable.VARY_COOKIE,
        Uncacheable.REQUEST_NO_STORE,
        Uncacheable.PRECONDITION,
        Uncacheable.PARTIAL,
    }
)
#: Fields by which some frameworks let a request be another one than its line says; no key has
#: them, so what answers such a request is nobody else's. And preconditions that are the
#: origin's to evaluate (RFC 9111 §4.3.2).
_TO_BYPASS: Final = re.compile(
    rb"\n(?:x-(?:http-method(?:-override)?|method-override|original-(?:ur[li]|host)|rewrite-url|host"
    rb"|http-host-override)"
    rb"|(if-(?:match|unmodified-since))):"
)
#: RFC 9110 §15: final statuses whose caching semantics are known here (for must-understand).
UNDERSTOOD: Final = HEURISTIC_STATUSES | {
    201, 202, 205, 302, 303, 307, 400, 401, 402, 403, 406, 407, 408, 409, 411, 413, 415, 417,
    421, 422, 425, 426, 428, 429, 431, 451, 500, 502, 503, 504, 505, 511,
}  # fmt: skip
#: Answers to what only this request asked: its validators, its Range, its expectations.
_TO_THIS_REQUEST: Final = frozenset({304, 412, 416, 417})


def bypass(request: RequestHead, policy: CachePolicy) -> Uncacheable | None:
    """Return why *request* has nothing to do with the cache, or None where it may be looked up.

    Such a request is neither answered from the cache nor stored, whatever the response says.
    POST is let through to `refusal`, which may store its response for GET (RFC 9110 §9.3.3).
    """
    if policy.mode == "none":
        return Uncacheable.NONE
    method, fields = request.method, request.fields
    if method == b"GET" and how_plain(fields):
        return None
    if method not in (b"GET", b"HEAD"):
        return Uncacheable.METHOD
    if fields.length or fields.chunked:
        return Uncacheable.FAT_GET
    if fields.upgrade:
        return Uncacheable.UPGRADE
    found = _TO_BYPASS.search(fields.lower)
    if found is None:
        return None
    return Uncacheable.PRECONDITION if found[1] else Uncacheable.UNKEYED


def heeded(directives: Directives, policy: CachePolicy) -> Directives:
    """Return *directives* without those that the route says to ignore."""
    ignored = policy.ignore & {"private", "no-store", "no-cache"}
    if not ignored:
        return directives
    return replace(
        directives,
        private=directives.private and "private" not in ignored,
        no_store=directives.no_store and "no-store" not in ignored,
        no_cache=directives.no_cache and "no-cache" not in ignored,
    )


def refusal(
    request: RequestHead,
    response: ResponseHead,
    directives: Directives,
    policy: CachePolicy,
    *,
    lifetime: Lifetime,
    windows: Windows,
) -> Uncacheable | None:
    """Return why *response* may not be stored, or None where it may (RFC 9111 §3).

    directives are the heeded ones. The order of the tests is the order of blame: what the
    origin says comes before what it merely fails to say.
    """
    reason = _unfit(request, response, policy)
    if reason is not None:
        return reason
    if directives.must_understand:  # §5.2.2.3: overrides no-store for what is understood
        if response.status not in UNDERSTOOD:
            return Uncacheable.NOT_UNDERSTOOD
    elif directives.no_store:
        return Uncacheable.NO_STORE
    if directives.private:
        return Uncacheable.PRIVATE
    ignore = policy.ignore
    if (
        b"authorization" in request.fields
        and not directives.allows_authorized
        and "authorization" not in ignore
    ):
        return Uncacheable.AUTHORIZATION
    if b"set-cookie" in response and "set-cookie" not in ignore:
        return Uncacheable.SET_COOKIE
    if "vary" not in ignore:
        names = nominated(response, policy.key)
        if names is None:
            return Uncacheable.VARY_ANY
        if b"cookie" in names and b"cookie" in request.fields:
            return Uncacheable.VARY_COOKIE
    return _useless(response, directives, lifetime, windows)


def _unfit(request: RequestHead, response: ResponseHead, policy: CachePolicy) -> Uncacheable | None:
    reason = bypass(request, policy)
    if reason is Uncacheable.METHOD and request.method == b"POST":
        reason = None if _stored_for_get(request, response) else Uncacheable.METHOD
    if reason is not None:
        return reason
    if request.method == b"HEAD":
        return Uncacheable.METHOD  # it updates a stored GET, it is never one (`update`)
    if response.status < 200 or response.status in _TO_THIS_REQUEST:
        return Uncacheable.STATUS
    asked = steering(request, policy)
    return Uncacheable.REQUEST_NO_STORE if asked is not None and asked.no_store else None


def _stored_for_get(request: RequestHead, response: ResponseHead) -> bool:
    """Tell whether a POST's answer is what a GET of its URL would give (RFC 9110 §9.3.3)."""
    location = response.all(b"content-location")
    if response.status != 200 or len(location) != 1:
        return False
    value = location[0]
    for prefix in (b"http://", b"https://"):
        if value.lower().startswith(prefix + request.authority.lower()):
            value = value[len(prefix) + len(request.authority) :]
            break
    explicit = of_response(response)
    said = explicit.max_age is not None or explicit.s_maxage is not None
    return value == request.rest and (said or b"expires" in response)


def _useless(
    response: ResponseHead, directives: Directives, lifetime: Lifetime, windows: Windows
) -> Uncacheable | None:
    """Tell a response that could never answer anything: not fresh, not stale, not validated."""
    validator = b"etag" in response or b"last-modified" in response
    if not lifetime.explicit and not (directives.public or response.status in HEURISTIC_STATUSES):
        return Uncacheable.NO_FRESHNESS
    if validator:
        return None
    usable = 0.0 if directives.no_cache else lifetime.seconds
    if usable <= 0.0 and windows.while_revalidate <= 0.0 and windows.if_error <= 0.0:
        return Uncacheable.NO_FRESHNESS
    return None
