# SPDX-License-Identifier: Apache-2.0
"""Field values as lists and quoted strings, and field lines as blocks (RFC 9110 §5.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from strangler.wire.head import Fields

_MARK: Final = re.compile(rb'[",]')
_QUOTED: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)


def members(lines: Iterable[bytes]) -> list[bytes]:
    """Return the members of a list field's *lines*, trimmed, empty ones left out (§5.6.1).

    A comma inside a quoted string separates nothing. From a quote that never closes on, every
    comma does: a directive must not disappear behind somebody's stray quote. Linear in the input.
    """
    found: list[bytes] = []
    for line in lines:
        parts = _split_quoted(line) if b'"' in line else line.split(b",")
        found += [part for raw in parts if (part := raw.strip(b" \t"))]
    return found


def _split_quoted(line: bytes) -> list[bytes]:
    parts: list[bytes] = []
    start = at = 0
    while (mark := _MARK.search(line, at)) is not None:
        if mark[0] == b",":
            parts.append(line[start : mark.start()])
            start = at = mark.end()
        else:
            quoted = _QUOTED.match(line, mark.start())
            if quoted is None:
                return parts + line[start:].split(b",")
            at = quoted.end()
    parts.append(line[start:])
    return parts


def unquote(value: bytes) -> bytes:
    """Return what a quoted string says (§5.6.4), or *value* itself where it is none."""
    if len(value) >= 2 and _QUOTED.fullmatch(value):
        return _ESCAPE.sub(rb"\1", value[1:-1])
    return value


def lines(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return *pairs* as field lines, each ended by CRLF, without the empty line."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def block(field_lines: bytes) -> Fields:
    """Return *field_lines* (as `lines` writes them) as readable fields."""
    return Fields(b"\r\n" + field_lines + b"\r\n")
