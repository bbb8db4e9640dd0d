# SPDX-License-Identifier: Apache-2.0
"""What a later response does to a stored one: 304, HEAD, and the rest of a part."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from strangler.cache import dates, ranges
from strangler.cache.directives import NO_DIRECTIVES, of_response
from strangler.cache.fields import block, lines
from strangler.cache.freshness import bound, initial_age, lifetime, windows
from strangler.cache.policy import CachePolicy
from strangler.cache.storable import Uncacheable, heeded
from strangler.cache.store import Pairs, described, kept, selection, surrogate_keys
from strangler.cache.stored import Stored
from strangler.cache.vary import nominated
from strangler.wire.head import Fields, RequestHead, ResponseHead


def validators(stored: Stored) -> Pairs:
    """Return the preconditions that ask the upstream whether *stored* still holds (§4.3.1).

    They replace the client's own; the client's are judged afterwards, on what is stored then.
    """
    found: Pairs = []
    if stored.etag is not None:
        found.append((b"If-None-Match", stored.etag))
    if stored.modified is not None:
        found.append((b"If-Modified-Since", dates.write(stored.modified)))
    return found


def confirms(stored: Stored, response: Fields) -> bool:
    """Tell whether a 304 speaks of *stored* (RFC 9111 §4.3.4).

    A strong entity tag in it must be the stored one exactly, a weak one by weak comparison, a
    Last-Modified the same instant; a 304 without any speaks of what was asked about. Where this
    is false the stored response is to be dropped and the request sent again, unconditionally.
    """
    etag = response.get(b"etag")
    if etag:
        return etag == stored.etag if etag.startswith(b'"') else same_weakly(etag, stored.etag)
    value = response.get(b"last-modified")
    if value is not None and stored.etag is None and stored.modified is not None:
        return dates.parse(value, now=stored.received) == stored.modified
    return True


def same_weakly(one: bytes, other: bytes | None) -> bool:
    """Tell whether two entity tags are the same by weak comparison (RFC 9110 §8.8.3.2)."""
    return other is not None and one.removeprefix(b"W/") == other.removeprefix(b"W/")


def freshened(
    stored: Stored,
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy,
    *,
    requested: float,
    received: float,
) -> tuple[Stored, Uncacheable | None]:
    """Return *stored* with the fields of a 304 or a HEAD's 200, its life begun anew (§3.2).

    Fields that *response* omits stay; those it has replace all lines of their name, Content-Length
    excepted (and Content-Range, where a part is stored). The second value says why the result
    may answer this request but not be kept, or None.
    """
    new = [
        pair
        for pair in kept(response, NO_DIRECTIVES)
        if stored.span is None or pair[0].lower() != b"content-range"
    ]
    if b"date" not in response:
        new.append((b"Date", dates.write(received)))
    merged = _merged(stored.fields.pairs(), new)
    fields = block(lines(merged))
    directives = heeded(of_response(fields), policy)
    if directives.unstored:  # by what this response says, or by what an earlier one said
        merged = [pair for pair in merged if pair[0].lower() not in directives.unstored]
        fields = block(lines(merged))
    limit = bound(policy, stored.status)
    life = lifetime(fields, stored.status, directives, received=received, default=limit, cap=limit)
    stale = windows(directives, policy)
    fresh = replace(
        stored,
        head=_status_line(stored) + lines(merged),
        selecting=selection(request, fields, policy),
        received=received,
        initial_age=initial_age(response, requested=requested, received=received),
        lifetime=life.seconds,
        while_revalidate=stale.while_revalidate,
        if_error=stale.if_error,
        never_stale=stale.never,
        no_cache=directives.no_cache,
        authorized=directives.allows_authorized or "authorization" in policy.ignore,
        tags=tuple(dict.fromkeys([*stored.tags, *surrogate_keys(fields)])),
    )
    reason: Uncacheable | None = None
    if directives.no_store:
        reason = Uncacheable.NO_STORE
    elif directives.private:
        reason = Uncacheable.PRIVATE
    elif "vary" not in policy.ignore and nominated(fields, policy.key) is None:
        reason = Uncacheable.VARY_ANY
    return described(fresh, fields), reason


def head_effect(stored: Stored, response: ResponseHead) -> Literal["update", "stale", "none"]:
    """Return what a HEAD's response means for the stored GET (RFC 9111 §4.3.5).

    update: use `freshened` · stale: the representation is another now, or gone · none: says
    nothing about it.
    """
    if response.status in (404, 410):
        return "stale" if stored.status != response.status else "none"
    if response.status != 200 or stored.status != 200 or stored.span is not None:
        return "none"
    etag = response.get(b"etag")
    if etag is not None and etag != stored.etag:
        return "stale"
    modified = response.get(b"last-modified")
    if modified is not None and dates.parse(modified, now=stored.received) != stored.modified:
        return "stale"
    length = response.get(b"content-length")
    return "stale" if length is not None and length != b"%d" % stored.length else "update"


def completed(
    old: Stored, old_body: bytes, new: Stored, new_body: bytes
) -> tuple[Stored, bytes] | None:
    """Return two parts as one stored response and its body, or None (`ranges.join`, §3.4).

    Fields are the newer part's over the older one's. Where nothing is missing any more the
    result is a whole 200.
    """
    joined = ranges.join(old, old_body, new, new_body)
    if joined is None:
        return None
    span, body = joined
    pairs = _merged(old.fields.pairs(), new.fields.pairs())
    apart = (b"content-range", b"content-length")
    pairs = [pair for pair in pairs if pair[0].lower() not in apart]
    whole = span.complete == len(body) and span.first == 0
    if not whole:
        pairs.append((b"Content-Range", ranges.show(span.first, span.last, span.complete)))
    pairs.append((b"Content-Length", b"%d" % len(body)))
    line = b"HTTP/1.1 200 OK\r\n" if whole else _status_line(new)
    stored = replace(
        new,
        status=200 if whole else 206,
        head=line + lines(pairs),
        length=len(body),
        span=None if whole else span,
        asked=None,
    )
    return stored, body


def _merged(old: Pairs, new: Pairs) -> Pairs:
    replaced = {name.lower() for name, _ in new}
    return [pair for pair in old if pair[0].lower() not in replaced] + new


def _status_line(stored: Stored) -> bytes:
    return stored.head[: stored.head.index(b"\r\n") + 2]
