# SPDX-License-Identifier: Apache-2.0
"""Mend what a response says of the upstream's own address, and nothing else.

An application that is told its public Host has no reason to name its inner one; where it does all
the same, in Location, Content-Location, Refresh, Link or a cookie's Domain, a reader would be
sent to an address that isn't there. A value that names no upstream goes through to the byte.
"""

from __future__ import annotations

import re
from typing import Final

REPAIRED: Final = frozenset((b"location", b"content-location", b"refresh", b"link", b"set-cookie"))
_URL_LINE: Final = re.compile(rb"(?i)(?<=\r\n)(?:location|content-location|refresh|link):[^\r]*")
_COOKIE_LINE: Final = re.compile(rb"(?i)(?<=\r\n)set-cookie:[^\r]*")
_DOMAIN: Final = re.compile(rb"(?i);[ \t]*domain[ \t]*=[ \t]*\.?([^;]*)")


class Repair:
    """Knows the addresses of one upstream; made once a snapshot."""

    __slots__ = ("_hosts", "_url", "prefix")

    def __init__(self, authorities: frozenset[bytes], prefix: bytes = b"") -> None:
        """Take *authorities* (``host:port`` in lower case) and the upstream's own path *prefix*."""
        spellings = set()
        for authority in authorities:
            spellings.add(authority)
            host, _, port = authority.rpartition(b":")
            if port in (b"80", b"443"):
                spellings.add(host)
        self._hosts = frozenset(authority.rpartition(b":")[0] for authority in authorities)
        alternatives = b"|".join(re.escape(s) for s in sorted(spellings, key=len, reverse=True))
        self._url = re.compile(
            rb"(?i)(?:https?:)?//(?:" + (alternatives or rb"(?!)") + rb")(?![\w.:-])"
            rb"(?:" + re.escape(prefix) + rb"(?=[/?#;>\"', \t]|$))?"
        )
        self.prefix = prefix

    def apply(self, block: bytes, scheme: bytes, authority: bytes) -> tuple[bytes, int]:
        """Return *block* mended for a reader at *scheme*://*authority*, and how often it was.

        A value that already names *authority* is left alone.
        """
        count = 0

        def url_line(line: re.Match[bytes]) -> bytes:
            nonlocal count
            mended, times = self._url.subn(
                lambda m: (
                    m[0]
                    if m[0].lower().endswith(b"//" + authority.lower())
                    else scheme + b"://" + authority
                ),
                line[0],
            )
            count += times if mended != line[0] else 0
            return mended

        def cookie_line(line: re.Match[bytes]) -> bytes:
            nonlocal count
            domain = _DOMAIN.search(line[0])
            if domain is None or domain[1].strip().lower() not in self._hosts:
                return line[0]
            if authority.lower().partition(b":")[0] == domain[1].strip().lower():
                return line[0]
            count += 1
            return line[0][: domain.start()] + line[0][domain.end() :]

        block = _URL_LINE.sub(url_line, block)
        block = _COOKIE_LINE.sub(cookie_line, block)
        return block, count
