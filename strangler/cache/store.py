# SPDX-License-Identifier: Apache-2.0
"""From an upstream response to a stored one: decided when its head is there, sealed at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from strangler.cache import dates, ranges
from strangler.cache.directives import Directives, of_response
from strangler.cache.fields import lines, members
from strangler.cache.freshness import bound, date_of, initial_age, lifetime, windows
from strangler.cache.policy import CachePolicy
from strangler.cache.storable import Uncacheable, heeded, refusal
from strangler.cache.stored import Span, Stored
from strangler.cache.vary import Selecting, nominated, selecting
from strangler.wire.head import Fields, RequestHead, ResponseHead
from strangler.wire.head import members as tokens

Pairs = list[tuple[bytes, bytes]]

#: RFC 9111 §3.1: fields of one connection; and those that are written anew at each delivery.
_NOT_STORED: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"age",
     b"set-cookie"}
)  # fmt: skip
_COOKIE: Final = frozenset({b"set-cookie"})
#: A directive that names fields, or may.
_QUALIFIED: Final = re.compile(rb"(?:private|no-cache)=")
#: Statuses that have neither content nor Content-Length (RFC 9110 §8.6).
_WITHOUT_LENGTH: Final = frozenset({204, 304})


def plan(
    request: RequestHead,
    response: ResponseHead,
    policy: CachePolicy,
    *,
    key: bytes,
    requested: float,
    received: float,
    tags: Iterable[bytes] = (),
    route: bytes = b"",
) -> Stored | Uncacheable:
    """Return what would be stored of *response*, or why nothing is; its body is yet to come.

    requested and received are the instants at which the request was sent and the head arrived.
    `seal` makes the plan a stored response.
    """
    directives = heeded(of_response(response), policy)
    status = response.status
    limit = bound(policy, status)
    life = lifetime(response, status, directives, received=received, default=limit, cap=limit)
    stale = windows(directives, policy)
    reason = refusal(request, response, directives, policy, lifetime=life, windows=stale)
    if reason is not None:
        return reason
    span = ranges.content_range(response) if status == 206 else None
    if status == 206 and span is None:
        return Uncacheable.PARTIAL
    pairs = kept(response, directives)
    if b"date" not in response:
        pairs.append((b"Date", dates.write(received)))
    planned = Stored(
        key=key,
        status=status,
        head=b"HTTP/1.1 %d %b\r\n%b" % (status, response.reason, lines(pairs)),
        selecting=selection(request, response, policy),
        received=received,
        initial_age=initial_age(response, requested=requested, received=received),
        lifetime=life.seconds,
        while_revalidate=stale.while_revalidate,
        if_error=stale.if_error,
        never_stale=stale.never,
        no_cache=directives.no_cache,
        authorized=directives.allows_authorized or "authorization" in policy.ignore,
        date=received,
        length=0,
        span=span,
        asked=request.get(b"range") if span is not None else None,
        tags=tuple(dict.fromkeys([*tags, *surrogate_keys(response)])),
        route=route,
    )
    return described(planned, response)


def seal(planned: Stored, length: int, *, complete: bool = True) -> Stored | Uncacheable:
    """Return *planned* with a body of *length* bytes.

    Only a body that ended as its framing announced is *complete*; anything else is dropped
    (RFC 9111 §3.3). A part that is shorter than its Content-Range is held as far as it goes; one
    that was to reach the end of the representation has reached it then.
    """
    if not complete:
        return Uncacheable.INCOMPLETE
    span = planned.span
    if span is not None:
        if length == 0 or length > len(span):
            return Uncacheable.PARTIAL
        end = span.first + length
        if span.complete == span.last + 1:
            span = Span(span.first, end - 1, end)
        else:
            span = replace(span, last=end - 1)
    head = planned.head
    if planned.status not in _WITHOUT_LENGTH:
        head += b"Content-Length: %d\r\n" % length
    return replace(planned, head=head, length=length, span=span)


def ended(planned: Stored, length: int) -> Stored | Uncacheable:
    """Return *planned*, of whose body *length* bytes have come and no more will.

    It may be sealed already, where its length was announced; then it must be that long.
    """
    if b"\r\nContent-Length:" not in planned.head:
        return seal(planned, length)
    return planned if planned.length == length else Uncacheable.INCOMPLETE


def kept(fields: Fields, directives: Directives) -> Pairs:
    """Return the fields that are stored (RFC 9111 §3.1), Content-Length apart.

    Set-Cookie is never among them: where the route stores the response nevertheless, its first
    reader gets the cookie (`own_lines`), and a second one must not.
    """
    dropped = _NOT_STORED | directives.unstored
    for value in fields.all(b"connection"):
        dropped = dropped.union(tokens(value.lower()))
    return [
        (name, value)
        for name, value in fields.pairs()
        if (lower := name.lower()) not in dropped
        and lower != b"content-length"
        and not lower.startswith(b"proxy-")
    ]


def own_lines(response: Fields, governing: Fields) -> bytes:
    """Return the lines that only the reader whose request was sent may have, each behind a CRLF.

    Set-Cookie, and what *governing* (the response's fields, or those that a 304 has updated) says
    is private or to be checked: they are not stored (§5.2.2.4, §5.2.2.7).
    """
    names: frozenset[bytes] = frozenset()
    if _QUALIFIED.search(governing.lower):
        names = of_response(governing).unstored
    if b"\nset-cookie:" in response.lower:
        names |= _COOKIE
    if not names:
        return b""
    return b"".join([b"\r\n%b: %b" % pair for pair in response.pairs() if pair[0].lower() in names])


def described(stored: Stored, fields: Fields) -> Stored:
    """Return *stored* with what lookups need of *fields* (its validators, date and language)."""
    modified = fields.get(b"last-modified")
    languages = tokens((fields.combined(b"content-language") or b"").lower())
    return replace(
        stored,
        etag=fields.get(b"etag") or None,
        modified=None if modified is None else dates.parse(modified, now=stored.received),
        date=date_of(fields, received=stored.received),
        language=languages[0] if len(languages) == 1 else None,
    )


def selection(request: RequestHead, response: Fields, policy: CachePolicy) -> Selecting:
    """Return the secondary key of *response* to *request* (RFC 9111 §4.1)."""
    if "vary" in policy.ignore:
        return ()
    return selecting(request.fields, nominated(response, policy.key) or ())


def surrogate_keys(fields: Fields) -> list[bytes]:
    """Return the tags that the origin gave: Surrogate-Key (spaces) and Cache-Tag (commas)."""
    found = [tag for line in fields.all(b"surrogate-key") for tag in line.split()]
    return found + members(fields.all(b"cache-tag"))


def replaces(stored: Stored | None, status: int) -> bool:
    """Tell whether a response of *status* may take the place of *stored*.

    A server's error never replaces a copy that is none: the copy may still be served stale, and
    an answer is worth more than an apology.
    """
    return stored is None or status < 500 or stored.status >= 500
