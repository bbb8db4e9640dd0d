# SPDX-License-Identifier: Apache-2.0
"""What an unsafe request's success makes invalid (RFC 9111 §4.4)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from strangler.wire.head import RequestHead, ResponseHead

#: RFC 9110 §9.2.1 and the registry's other safe ones; any method not known here may change things.
SAFE: Final = frozenset(
    {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"SEARCH", b"PROPFIND", b"REPORT", b"PRI"}
)


def invalidates(method: bytes, status: int) -> bool:
    """Tell whether a response of *status* to *method* makes stored ones invalid: 2xx and 3xx."""
    return method not in SAFE and 200 <= status < 400


def targets(request: RequestHead, response: ResponseHead, *, scheme: bytes) -> list[bytes]:
    """Return the targets (path and query) of which every stored response is invalid now.

    The request's own first, then Location and Content-Location where they are of the same
    origin: a response may not invalidate what is somebody else's (§4.4). Empty unless
    `invalidates`. Other routes may key them; ask each target's own keying for its URL.
    """
    if not invalidates(request.method, response.status):
        return []
    found = [request.rest]
    origin = (scheme, _authority(request.authority, scheme))
    base = b"%b://%b%b" % (scheme, request.authority, request.rest)
    for name in (b"location", b"content-location"):
        for value in response.all(name):
            try:
                url = urlsplit(urljoin(base, value))
                same = (url.scheme, _authority(url.netloc, url.scheme)) == origin
            except ValueError:
                continue
            if same:
                target = url.path or b"/"
                found.append(b"%b?%b" % (target, url.query) if url.query else target)
    return list(dict.fromkeys(found))


def _authority(authority: bytes, scheme: bytes) -> bytes:
    default = b":443" if scheme == b"https" else b":80"
    return authority.lower().removesuffix(default)
