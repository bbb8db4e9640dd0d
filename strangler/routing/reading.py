# SPDX-License-Identifier: Apache-2.0
"""How the bytes of a path are read. The room's docstring states the rule; here it is done."""

from __future__ import annotations

import re
from collections.abc import Iterator

from strangler.errors import RequestRejected

# Stands for an encoded slash in a reading, so that it stays data within its segment. It can't be
# taken for anything else: no key may hold it, and an encoded NUL isn't decoded.
SLASH = b"\0"

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_DOT_SEGMENT = re.compile(rb"/\.\.?(?:/|\Z)")
_SLASHES = re.compile(rb"//+")
_AS_SLASHES = bytes.maketrans(b"\0\\", b"//")


class AmbiguousPath(RequestRejected):
    """Refuse a path (400) whose readings lead to different places, so that none is safe.

    `path` is the raw path; `detail` says which readings go where.
    """

    def __init__(self, path: bytes, detail: str) -> None:
        super().__init__(400, detail)
        self.path = path


def show(raw: bytes) -> str:
    """Write `raw` as text for people."""
    return raw.replace(SLASH, b"%2F").decode("utf-8", "backslashreplace")


def decode(raw: bytes) -> bytes:
    """Read `raw` as an upstream will: escapes decoded once, an encoded slash kept as SLASH.

    `%00` stays as it is, and so does a `%` without two hex digits.
    """
    return _ESCAPE.sub(_decoded, raw) if b"%" in raw else raw


def _decoded(escape: re.Match[bytes]) -> bytes:
    byte = int(escape[1], 16)
    if byte == 0x2F:
        return SLASH
    return bytes((byte,)) if byte else escape[0]


def raw_offset(raw: bytes, offset: int) -> int:
    """Find where in `raw` the byte stands that is at `offset` in `decode(raw)`."""
    shift = 0
    for escape in _ESCAPE.finditer(raw):
        if escape.start() - shift >= offset:
            break
        if escape[1] != b"00":
            shift += 2
    return offset + shift


def with_slashes(reading: bytes) -> bytes:
    """Read encoded slashes and backslashes as slashes."""
    return reading.translate(_AS_SLASHES)


def has_dot_segments(reading: bytes) -> bool:
    """Tell whether `.` or `..` is one of the segments."""
    return b"/." in reading and _DOT_SEGMENT.search(reading) is not None


def resolved(reading: bytes) -> Iterator[bytes]:
    """Resolve dot segments (RFC 3986 section 5.2.4), once with empty segments and once without.

    Readers differ in whether they merge slashes first, and `/a//../b` is then two paths.
    """
    yield _resolve(reading)
    if b"//" in reading:
        yield _resolve(_SLASHES.sub(b"/", reading))


def _resolve(reading: bytes) -> bytes:
    segments = reading.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
