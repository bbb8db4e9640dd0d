# SPDX-License-Identifier: Apache-2.0
"""Where a message ends (RFC 9112 §6), and the bodies in between.

Three decoders share one interface: `feed` takes bytes as they arrive and returns the payload
among them; `ended` tells that the body is complete; `surplus` holds the bytes that came after
its end. Chunked bodies are always decoded and framed anew by us: what one peer wrote between the
payload (extensions, zeros, odd sizes) never reaches the other.
"""

from __future__ import annotations

import re
from typing import Final

from strangler.wire.forward import OURS
from strangler.wire.head import FIELD_BLOCK, ResponseHead

_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
#: Largest chunk, in bytes: what is larger is an attempt at an overflow.
SIZE_LIMIT: Final = 1 << 48
#: Longest chunk line and trailer section that are read, in bytes.
LINE_LIMIT: Final = 4096
TRAILER_LIMIT: Final = 16384

#: Where the reading of a chunked body stands.
_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3

#: RFC 9110 §6.5.1: fields that frame, route, authenticate or control never count as trailers, nor
#: what the edge alone may say: some servers take trailers for fields.
_NOT_IN_TRAILERS: Final = re.compile(
    rb"(?i)(?:" + OURS + rb"|content[-_](?:encoding|type|range)|trailer|host|max[-_]forwards|range"
    rb"|if[-_][a-z_-]+|authorization|www-authenticate|set[-_]cookie2?|cookie|cache-control|age|date"
    rb"|expires|pragma|warning|vary|location|retry-after)"
)


class MalformedBody(Exception):
    """Say that the bytes of a body break its framing; nothing after them can be trusted."""


class Length:
    """A body of a known length (Content-Length)."""

    __slots__ = ("ended", "left", "surplus")

    trailers = b""

    def __init__(self, length: int) -> None:
        self.left = length
        self.ended = length == 0
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in *data*."""
        left = self.left - len(data)
        if left > 0:
            self.left = left
            return data
        self.ended = True
        if left < 0:
            self.surplus = data[self.left :]
            data = data[: self.left]
        self.left = 0
        return data


class UntilClose:
    """A response body that ends with its connection (RFC 9112 §6.3 item 8)."""

    __slots__ = ("ended",)

    surplus = b""
    trailers = b""

    def __init__(self) -> None:
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Return *data*, all of which is payload."""
        return data


class Chunked:
    """A chunked body (RFC 9112 §7.1), read strictly.

    A size may begin with zeros; extensions are read over; a bare LF, a sign, a missing CRLF or a
    size of any other form raises MalformedBody. ``trailers`` are the trailer fields that may go
    on, each ended by CRLF.
    """

    __slots__ = ("_buffer", "_left", "_state", "ended", "surplus", "trailers")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = _SIZE
        self.ended = False
        self.surplus = b""
        self.trailers = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in *data*; raises MalformedBody."""
        if self._state == _DATA and len(data) < self._left:
            self._left -= len(data)
            return data
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        payload: list[bytes] = []
        while True:
            if self._state == _SIZE:
                line = _CHUNK_LINE.match(data, at)
                if line is None:
                    self._wait_for_line(data, at)
                    break
                if line.end() - at > LINE_LIMIT:
                    raise MalformedBody("chunk: a longer line than any")
                at = line.end()
                self._left = int(line[1], 16)
                if self._left > SIZE_LIMIT:
                    raise MalformedBody("chunk: larger than any body")
                self._state = _DATA if self._left else _TRAILERS
            elif self._state == _DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if piece:
                    payload.append(piece)
                if self._left:
                    break
                self._state = _DATA_END
            elif self._state == _DATA_END:
                end = data[at : at + 2]
                if end != b"\r\n":
                    if end not in (b"", b"\r"):
                        raise MalformedBody("chunk: expected CRLF after its data")
                    self._buffer = end
                    break
                at += 2
                self._state = _SIZE
            else:
                self._end(data, at)
                break
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def _wait_for_line(self, data: bytes, at: int) -> None:
        rest = data[at:]
        if b"\n" in rest[:LINE_LIMIT] or len(rest) > LINE_LIMIT or _not_a_size(rest):
            raise MalformedBody("chunk: expected a hexadecimal size and CRLF")
        self._buffer = rest

    def _end(self, data: bytes, at: int) -> None:
        rest = data[at:]
        if rest.startswith(b"\r\n"):
            end = 2
        else:
            end = rest.find(b"\r\n\r\n") + 4
            if end == 3:
                if len(rest) > TRAILER_LIMIT or re.search(rb"[^\r]\n|\r[^\n]|^\n", rest):
                    raise MalformedBody("trailers: expected field lines ended by CRLF")
                self._buffer = rest
                return
            if end > TRAILER_LIMIT or FIELD_BLOCK.fullmatch(rest, 0, end) is None:
                raise MalformedBody("trailers: expected field lines ended by CRLF")
            self.trailers = b"".join(
                line + b"\r\n"
                for line in rest[: end - 4].split(b"\r\n")
                if _NOT_IN_TRAILERS.fullmatch(line.partition(b":")[0]) is None
            )
        self.surplus = rest[end:]
        self.ended = True


def _not_a_size(start: bytes) -> bool:
    return re.match(rb"[0-9A-Fa-f]*(?:[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?\Z", start) is None


Body = Length | Chunked | UntilClose

#: Any body whose length is known, and that has come.
WHOLE: Final = Length(0)


def chunk(payload: bytes) -> bytes:
    """Return *payload* (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def last_chunk(trailers: bytes = b"") -> bytes:
    """Return the bytes that end a chunked body; each trailer line ends with CRLF already."""
    return b"0\r\n" + trailers + b"\r\n"


def response_body(method: bytes, head: ResponseHead) -> Body | None:
    """Return the decoder of a response's body, or None where its framing can't be trusted.

    RFC 9112 §6.3, more strictly: several lengths, a length beside Transfer-Encoding, or any
    coding but `chunked` are refused rather than guessed at. A 204 ends with its head, whatever its
    fields say. *method* is the request's.
    """
    status, coding = head.status, head.coding
    if coding is not None:
        if coding != b"chunked" or head.length is not None or head.version == 10:
            return None
        if status < 200:
            return None
    elif head.size < 0 and head.length is not None:
        return None
    if method == b"HEAD" or status == 304 or status == 204 or status < 200:
        return Length(0)
    if coding is not None:
        return Chunked()
    return UntilClose() if head.length is None else Length(head.size)
