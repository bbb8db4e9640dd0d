# SPDX-License-Identifier: Apache-2.0
"""Answer a request from a stored response: 200, 206, 304 or 416, and which bytes of the body.

Also what the fast path needs: until when a stored response answers its key with nothing to
decide; `plain` says for whom.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from strangler.cache import ranges
from strangler.cache.conditional import head_304, not_modified
from strangler.cache.fields import lines
from strangler.cache.freshness import stay, usable_until
from strangler.cache.plain import how_plain
from strangler.cache.policy import CachePolicy, TierName
from strangler.cache.stored import Stored
from strangler.wire.head import RequestHead

#: Vary members that don't keep a response off the fast path: their normal forms are few.
SIMPLE_VARY: Final = frozenset({b"accept-encoding"})


class Delivery(NamedTuple):
    """A response made of a stored one.

    head: status line and fields, without Age, Connection, Cache-Status and the empty line ·
    start, stop: the slice of the stored body to send; both 0 where none is.
    """

    status: int
    head: bytes
    start: int
    stop: int


def deliver(request: RequestHead, stored: Stored) -> Delivery:
    """Return the response to *request*, which `lookup` found *stored* to satisfy.

    Preconditions come before Range (RFC 9110 §13.2.2). A HEAD gets the fields of the GET.
    """
    fields = request.fields
    if request.method == b"GET" and how_plain(fields):
        return Delivery(stored.status, stored.head, 0, stored.length)
    if b"\nif-" in fields.lower and not_modified(fields, stored):
        return Delivery(304, head_304(stored), 0, 0)
    if request.method == b"HEAD":
        return Delivery(stored.status, stored.head, 0, 0)
    value = fields.get(b"range")
    if value is not None and stored.status in (200, 206):
        part = _part(request, stored, value)
        if part is not None:
            return part
    return Delivery(stored.status, stored.head, 0, stored.length)


def _part(request: RequestHead, stored: Stored, value: bytes) -> Delivery | None:
    span = stored.span
    if value == stored.asked or not ranges.condition_holds(request.fields, stored):
        return None
    if span is None:
        offset, complete, limit = 0, stored.length, stored.length
    else:
        offset, limit = span.first, span.last + 1
        complete = limit if span.complete is None else span.complete
    wanted = ranges.asked(value, complete)
    if wanted == "whole":
        return None
    if wanted == "unsatisfiable":
        return Delivery(416, _head_416(complete), 0, 0)
    first, last = wanted
    shown = ranges.show(first, last, complete if span is None else span.complete)
    head = _with(stored, shown, last - first + 1)
    return Delivery(206, head, first - offset, last + 1 - offset)


def _with(stored: Stored, content_range: bytes, length: int) -> bytes:
    pairs = [
        pair
        for pair in stored.fields.pairs()
        if pair[0].lower() not in (b"content-length", b"content-range")
    ]
    pairs += [(b"Content-Range", content_range), (b"Content-Length", b"%d" % length)]
    return b"HTTP/1.1 206 Partial Content\r\n" + lines(pairs)


def _head_416(complete: int) -> bytes:
    return b"HTTP/1.1 416 Range Not Satisfiable\r\n" + lines(
        [(b"Content-Range", b"bytes */%d" % complete), (b"Content-Length", b"0")]
    )


def undecided_until(
    stored: Stored, policy: CachePolicy, tier: TierName, *, entered: float
) -> float:
    """Return the instant until which *stored* answers every `plain` request for its variant.

    It is to be served as it is, body and all, to whoever has its key and its variant, with no
    decision in between. Minus infinity where each request needs one: it must be validated
    first, is a part, or has a Vary whose values are too many to look up by.
    """
    if (
        policy.mode == "none"
        or stored.no_cache
        or stored.span is not None
        or any(name not in SIMPLE_VARY for name, _ in stored.selecting)
    ):
        return float("-inf")
    limit = stay(policy, tier, stored.status)
    return usable_until(stored.fresh_until, entered=entered, stay=limit)


def assemble(
    delivery_head: bytes,
    age: float,
    *,
    extra: bytes = b"",
    body: bytes = b"",
) -> bytes:
    """Return the bytes of a response: a `Delivery.head` or `Stored.head`, Age, *extra*, *body*.

    extra: field lines such as Cache-Status and Connection, each ended by CRLF. Age is in whole
    seconds, so the same bytes serve for the rest of a second (RFC 9111 §5.1).
    """
    return b"%bAge: %d\r\n%b\r\n%b" % (delivery_head, age, extra, body)
