# SPDX-License-Identifier: Apache-2.0
"""Conditional requests answered from a stored response (RFC 9110 §13, RFC 9111 §4.3.2)."""

from __future__ import annotations

import re
from typing import Final

from strangler.cache import dates
from strangler.cache.fields import members
from strangler.cache.stored import Stored
from strangler.cache.update import same_weakly
from strangler.wire.head import Fields

#: RFC 9110 §15.4.5, and Last-Modified, which a downstream cache without entity tags goes by.
_IN_304: Final = re.compile(
    rb"(?:cache-control|content-location|date|etag|expires|last-modified|vary):", re.I
)


def not_modified(request: Fields, stored: Stored) -> bool:
    """Tell whether *request*, which *stored* satisfies, is to be answered by 304.

    If-None-Match wins over If-Modified-Since (§13.1.3), in weak comparison, over all members of
    all lines; `*` is met by any stored response. A date is compared with Last-Modified, where
    that is missing with Date; a malformed or doubled one is ignored. Only a 2xx has
    preconditions (§13.2.1).
    """
    if not 200 <= stored.status < 300:
        return False
    tags = request.all(b"if-none-match")
    if tags:
        return any(tag == b"*" or same_weakly(tag, stored.etag) for tag in members(tags))
    since = request.all(b"if-modified-since")
    if len(since) != 1:
        return False
    seconds = dates.parse(since[0], now=stored.received)
    if seconds is None:
        return False
    return (stored.date if stored.modified is None else stored.modified) <= seconds


def head_304(stored: Stored) -> bytes:
    """Return the status line and fields of a 304 for *stored*, each line ended by CRLF (§15.4.5).

    As `Stored.head`, it lacks Age, Connection, Cache-Status and the empty line.
    """
    lines = stored.lines.split(b"\r\n")[:-1]
    fields = [line + b"\r\n" for line in lines if _IN_304.match(line)]
    return b"HTTP/1.1 304 Not Modified\r\n" + b"".join(fields)
