# SPDX-License-Identifier: Apache-2.0
"""Keep one reader's response out of caches that many readers share."""

from __future__ import annotations

import re
from typing import Final

from strangler.wire.head import members

_CONTROL: Final = re.compile(rb"\r\ncache-control:([^\r]*)", re.IGNORECASE)
# What a shared cache may obey in place of Cache-Control: RFC 9213's targeted fields, and what
# was there before them.
_TARGETED: Final = re.compile(
    rb"\r\n(?:(?:[a-z0-9-]+-)?(?:cdn-cache-control|surrogate-control)|x-accel-expires):[^\r]*",
    re.IGNORECASE,
)
_FOR_SHARED: Final = frozenset((b"private", b"public", b"s-maxage", b"proxy-revalidate"))
_DIRECTIVE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-zA-Z-]+(?:=(?:[^\s\",=]+|\"[^\"\\]*\"))?")


def private(block: bytes) -> bytes:
    """Return the field *block* with `Cache-Control: private` (RFC 9111 §5.2.2.7).

    What is said to a reader's own cache stays (max-age, no-cache, Expires); what is said to shared
    ones goes. The block begins with CRLF and ends without one, or with the last line's.
    """
    kept = [b"private"]
    for line in _CONTROL.finditer(block):
        for member in members(line[1]):
            name = member.partition(b"=")[0].strip().lower()
            if name in _FOR_SHARED:
                continue
            if _DIRECTIVE.fullmatch(member):
                kept.append(member)
            elif name == b"no-cache":  # a list of fields, cut in two: the whole is the safe reading
                kept.append(name)
    line_ = b"\r\nCache-Control: " + b", ".join(dict.fromkeys(kept))
    return line_ + _TARGETED.sub(b"", _CONTROL.sub(b"", block))
