# SPDX-License-Identifier: Apache-2.0
"""Ranges: what part of a representation is asked for, held, or still wanted (RFC 9110 §14).

One range is answered by 206. Several are answered by the whole representation, which §14.2
permits: readers that ask for several cope with it, and the amplification that overlapping ranges
are known for has nowhere to live. Parts are kept as one run of bytes a variant; a part is
completed, and two are joined, only under the same strong validator (RFC 9111 §3.4): without one
nobody can say that they are halves of the same thing.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from strangler.cache import dates
from strangler.cache.stored import Span, Stored
from strangler.wire.head import Fields

_ONE: Final = re.compile(rb"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.I)
_CONTENT_RANGE: Final = re.compile(rb"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)", re.I)
_DIGITS_LIMIT: Final = 18

Asked = tuple[int, int] | Literal["whole", "unsatisfiable"]


def asked(value: bytes, complete: int) -> Asked:
    """Return the first and last byte that Range *value* asks of *complete* bytes (§14.1.2).

    `whole` where Range is to be ignored: another unit, a syntax error, several ranges, or
    nothing that a 206 could show. `unsatisfiable` where 416 is the answer.
    """
    found = _ONE.fullmatch(value)
    if found is None or len(value) > 64:
        return "whole"
    start, end = found.groups()
    if len(start) > _DIGITS_LIMIT or len(end) > _DIGITS_LIMIT:
        return "whole"
    if not start:
        if not end:
            return "whole"
        suffix = int(end)
        if suffix == 0:
            return "unsatisfiable"
        return (max(0, complete - suffix), complete - 1) if complete else "whole"
    first = int(start)
    last = int(end) if end else complete - 1
    if end and last < first:
        return "whole"
    if first >= complete:
        return "unsatisfiable"
    return first, min(last, complete - 1)


def content_range(fields: Fields) -> Span | None:
    """Return the span that Content-Range names, or None where it names none (§14.4)."""
    found = fields.all(b"content-range")
    match = _CONTENT_RANGE.fullmatch(found[0]) if len(found) == 1 else None
    if match is None or max(map(len, match.groups())) > _DIGITS_LIMIT:
        return None
    first, last = int(match[1]), int(match[2])
    complete = None if match[3] == b"*" else int(match[3])
    if last < first or (complete is not None and last >= complete):
        return None
    return Span(first, last, complete)


def show(first: int, last: int, complete: int | None) -> bytes:
    """Return the value of Content-Range for these bytes."""
    if complete is None:
        return b"bytes %d-%d/*" % (first, last)
    return b"bytes %d-%d/%d" % (first, last, complete)


def condition_holds(request: Fields, stored: Stored) -> bool:
    """Tell whether If-Range lets Range apply to *stored* (§13.1.5); absent, it does.

    An entity tag must be strong and the same; a date must be Last-Modified exactly, and that a
    strong validator: at least a second older than Date (§8.8.2.2).
    """
    value = request.get(b"if-range")
    if value is None:
        return True
    if value.startswith((b'"', b"W/")):
        return value == stored.strong_etag
    seconds = dates.parse(value, now=stored.received)
    return seconds is not None and seconds == stored.modified and stored.date - seconds >= 1


def held(stored: Stored, request: Fields) -> bool:
    """Tell whether the bytes that *request* asks for are all in *stored*, whole or part.

    The very Range that a part answered is answered by it again, whatever its numbers.
    """
    span = stored.span
    if span is None:
        return True
    value = request.get(b"range")
    if value is None or not condition_holds(request, stored):
        return False
    if value == stored.asked:
        return True
    wanted = _within(span, value)
    return wanted is not None and span.first <= wanted[0] and wanted[1] <= span.last


def _within(span: Span, value: bytes) -> tuple[int, int] | None:
    if span.complete is None:  # only a range with both ends names bytes of an unknown whole
        found = _ONE.fullmatch(value)
        if found is None or not (found[1] and found[2]):
            return None
        wanted = asked(value, span.last + 1)
        return wanted if isinstance(wanted, tuple) and wanted[1] == int(found[2]) else None
    wanted = asked(value, span.complete)
    return wanted if isinstance(wanted, tuple) else None


def completing(stored: Stored) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the request fields that ask for the rest of a part, or None where none can.

    The rest must be one run of bytes and the part must have a strong validator; If-Range makes
    the upstream send the whole, should it have changed meanwhile (RFC 9111 §3.4).
    """
    span, validator = stored.span, _strong_validator(stored)
    if span is None or validator is None or span.complete is None:
        return None
    if span.first == 0:
        rest = b"bytes=%d-" % (span.last + 1)
    elif span.last == span.complete - 1:
        rest = b"bytes=0-%d" % (span.first - 1)
    else:
        return None
    return (b"Range", rest), (b"If-Range", validator)


def _strong_validator(stored: Stored) -> bytes | None:
    """Return the entity tag or the date by which parts of *stored* are known, as it is sent."""
    date = stored.strong_date
    return stored.strong_etag if date is None else dates.write(date)


def join(old: Stored, old_body: bytes, new: Stored, new_body: bytes) -> tuple[Span, bytes] | None:
    """Return the two parts as one, with its span, or None where they don't belong together.

    They need the same strong validator and complete length, and no gap between them
    (RFC 9110 §15.3.7.3). Where they overlap, it says that the bytes are the same. Variants are
    never joined: a date doesn't tell them apart, and not every origin's tags do.
    """
    validator = _strong_validator(old)
    if validator is None or validator != _strong_validator(new) or old.selecting != new.selecting:
        return None
    if old.span is None or new.span is None or old.span.complete != new.span.complete:
        return None
    early, late, head, tail = old.span, new.span, old_body, new_body
    if late.first < early.first:
        early, late, head, tail = late, early, tail, head
    if late.first > early.last + 1:
        return None
    if late.last <= early.last:
        return early, head
    return Span(early.first, late.last, early.complete), head + tail[early.last + 1 - late.first :]
