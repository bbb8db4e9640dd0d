# SPDX-License-Identifier: Apache-2.0
"""Read HTTP/1 messages as strictly as RFC 9112 is written, to judge what a proxy sends.

A tolerant parser hides a proxy's faults; this one names them. It shares no code with the edge
on purpose: a fault in one cannot hide in the other.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Fields = list[tuple[bytes, bytes]]
Framing = Literal["none", "length", "chunked", "close", "tunnel"]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")  # no '#', no control, no raw byte above 0x7e
_REQUEST_LINE = re.compile(rb"([^ ]+) ([^ ]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})([\t ]*;[\t\x20-\x7e\x80-\xff]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")

MAX_HEAD = 1 << 20
"""Bytes after which a head without an end is given up."""


class Violation(AssertionError):
    """What arrived breaks a MUST of RFC 9112 in a way that leaves the message unreadable."""


class Closed(AssertionError):
    """The connection ended before the message that was awaited began."""


class Truncated(AssertionError):
    """The connection ended inside a message: the reader can tell that it is not whole.

    Attributes:
        partial: the message as far as it came.
    """

    def __init__(self, partial: Message, why: str = "the message was cut") -> None:
        super().__init__(f"{why}: {partial!r}")
        self.partial = partial


def _text(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8")


@dataclass(slots=True, kw_only=True, repr=False)
class Message:
    """One HTTP/1 message as it stood on the wire.

    Attributes:
        fields: (name, value) in order of arrival, the name as spelt, the value without OWS.
        raw: the bytes of head and body as received, up to the reader's *keep*.
        body: the content without its framing, up to the reader's *keep*.
        length: size of the whole content in bytes, also where *body* was not kept.
        chunks: size of each chunk; extensions: what followed the sizes; trailers: as fields.
        violations: every breach that still left the message readable.
    """

    start: bytes = b""
    fields: Fields = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    head: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    length: int = 0
    framing: Framing = "none"
    chunks: list[int] = field(default_factory=list)
    extensions: list[bytes] = field(default_factory=list)
    trailers: Fields = field(default_factory=list)
    complete: bool = False
    version: int = 11
    violations: list[str] = field(default_factory=list)

    def all(self, name: bytes | str) -> list[bytes]:
        """Return every value of field *name*, in order."""
        wanted = _text(name).lower()
        return [value for key, value in self.fields if key.lower() == wanted]

    def get(self, name: bytes | str) -> bytes | None:
        """Return the only value of field *name*, None where it is absent; several are a fault."""
        values = self.all(name)
        assert len(values) <= 1, f"{len(values)} lines of {name!r}: {values}"
        return values[0] if values else None

    def tokens(self, name: bytes | str) -> list[bytes]:
        """Return the lower-case members of the list field *name*, over all its lines."""
        joined = b",".join(self.all(name))
        return [part.strip().lower() for part in joined.split(b",") if part.strip()]

    def __contains__(self, name: bytes | str) -> bool:
        return bool(self.all(name))

    @property
    def text(self) -> str:
        """Return the content as UTF-8 text, bad bytes replaced."""
        return bytes(self.body).decode("utf-8", "replace")

    def __repr__(self) -> str:
        state = "" if self.complete else ", incomplete"
        return f"<{self.start!r}, {self.length} bytes as {self.framing}{state}>"


@dataclass(slots=True, kw_only=True, repr=False)
class Request(Message):
    """A request as an origin saw it."""

    method: bytes = b""
    target: bytes = b""

    @property
    def path(self) -> bytes:
        """Return the target without its query."""
        return self.target.partition(b"?")[0]


@dataclass(slots=True, kw_only=True, repr=False)
class Response(Message):
    """A response as a client saw it.

    Attributes:
        informational: the 1xx responses that came before this one.
    """

    status: int = 0
    reason: bytes = b""
    informational: list[Response] = field(default_factory=list)

    def expect(
        self,
        status: int | Iterable[int] | None = None,
        *,
        body: bytes | str | None = None,
        has: Iterable[tuple[str | bytes, str | bytes]] = (),
        lacks: Iterable[str | bytes] = (),
        **fields: str | bytes | None,
    ) -> Response:
        """Assert on this response and return it.

        Args:
            status: the status, or any of several.
            body: the whole content.
            has: (name, value) pairs of which each must be one of that field's lines.
            lacks: field names that must be absent.
            fields: name with underscores for dashes; the only value, or None for absent.
        """
        if status is not None:
            allowed = {status} if isinstance(status, int) else set(status)
            assert self.status in allowed, f"status: expected {allowed}, got {self!r}: {self.text}"
        if body is not None:
            assert bytes(self.body) == _text(body), f"body: expected {body!r}, got {self.body!r}"
        for name, value in has:
            assert _text(value) in self.all(name), f"{name!r}: got {self.all(name)}"
        for name in lacks:
            assert name not in self, f"{name!r} should be absent, got {self.all(name)}"
        for key, wanted in fields.items():
            name = key.replace("_", "-")
            got = self.get(name)
            expected = None if wanted is None else _text(wanted)
            assert got == expected, f"{name}: expected {expected!r}, got {got!r}"
        assert not self.violations, self.violations
        return self


def build(
    method: str,
    target: str | bytes,
    fields: Iterable[tuple[str | bytes, str | bytes]] = (),
    body: bytes | str | None = None,
    *,
    host: str | bytes | None = "www.example.com",
    version: str = "HTTP/1.1",
) -> bytes:
    """Return the bytes of one request; Host and Content-Length are added unless given."""
    lines = [b"%s %s %s" % (_text(method), _text(target), _text(version))]
    pairs = [(_text(name), _text(value)) for name, value in fields]
    named = {name.lower() for name, _ in pairs}
    if host is not None and b"host" not in named:
        lines.append(b"Host: " + _text(host))
    lines += [name + b": " + value for name, value in pairs]
    content = b"" if body is None else _text(body)
    if body is not None and not named & {b"content-length", b"transfer-encoding"}:
        lines.append(b"Content-Length: %d" % len(content))
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def chunked(*pieces: bytes | str, trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """Return *pieces* framed as chunks with the last chunk and *trailers*."""
    out = b"".join(b"%x\r\n%s\r\n" % (len(_text(piece)), _text(piece)) for piece in pieces)
    tail = b"".join(_text(f"{name}: {value}\r\n") for name, value in trailers)
    return out + b"0\r\n" + tail + b"\r\n"


class Reader:
    """Cut a stream of bytes into messages, without doing I/O.

    Args:
        kind: what the stream carries.
        keep: bytes of raw and of body to keep for each message; the rest is only counted.
        on_head: called with each message when its head is whole (not for 1xx responses).

    Attributes:
        messages: whole messages not yet taken.
        partial: the message under way, or None between messages.
        broken: why the rest of the stream cannot be read, or None.
        rest: bytes behind the breach, or behind an upgrade.
    """

    def __init__(
        self,
        kind: Literal["request", "response"],
        *,
        keep: int = 1 << 24,
        on_head: Callable[[Message], None] | None = None,
    ) -> None:
        self.kind = kind
        self.keep = keep
        self.on_head = on_head
        self.messages: deque[Message] = deque()
        self.partial: Message | None = None
        self.broken: str | None = None
        self.rest = bytearray()
        self.tunnelled = False
        self._methods: deque[bytes] = deque()
        self._informational: list[Response] = []
        self._buffer = bytearray()
        self._state: Callable[[], bool] = self._head
        self._left = 0

    def expect(self, method: bytes | str) -> None:
        """Say which method the next response answers: HEAD and CONNECT change its framing."""
        self._methods.append(_text(method).upper())

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; look at *messages*, *partial* and *broken* afterwards."""
        if self.broken or self.tunnelled:
            self.rest += data
            return
        self._buffer += data
        try:
            while self._state():
                pass
        except Violation as fault:
            self.broken = str(fault)
            self.rest = self._buffer
            self._buffer = bytearray()

    def eof(self) -> None:
        """Tell that the stream has ended; finishes a message that the end delimits."""
        message = self.partial
        if message is not None and message.framing == "close" and not self.broken:
            self._finish(message)

    def tunnel(self) -> None:
        """Read no more messages: what follows goes to *rest* (after an upgrade)."""
        self.tunnelled = True
        self.rest += self._buffer
        self._buffer.clear()

    # -- states: each consumes what it can and returns whether to go on

    def _head(self) -> bool:
        buffer = self._buffer
        if not buffer:
            return False
        end = buffer.find(b"\r\n\r\n")
        look = bytes(buffer if end < 0 else buffer[: end + 4])
        if re.search(rb"(?<!\r)\n|\r(?=[^\n])", look):
            raise Violation(f"bare LF or CR in a head: {look[:200]!r}")
        if look.startswith(b"\r\n"):
            raise Violation("an empty line where a start line belongs")
        if end < 0:
            if len(buffer) > MAX_HEAD:
                raise Violation(f"a head of over {MAX_HEAD} bytes")
            return False
        del buffer[: end + 4]
        start, *lines = look[:-4].split(b"\r\n")
        message = self._start(start)
        message.start, message.head = start, look
        message.raw += look[: self.keep]
        message.fields = [self._field(line) for line in lines]
        if isinstance(message, Response) and 100 <= message.status < 200 and message.status != 101:
            if "content-length" in message or "transfer-encoding" in message:
                raise Violation(f"a {message.status} with framing fields: {look!r}")
            message.complete = True
            self._informational.append(message)
            return True
        self.partial = message
        self._frame(message)
        if isinstance(message, Response):
            message.informational, self._informational = self._informational, []
        if self.on_head is not None:
            self.on_head(message)
        if message.framing == "none":
            self._finish(message)
            if isinstance(message, Response) and message.status == 101:
                self.tunnel()
                return False
        return not self.tunnelled

    def _start(self, line: bytes) -> Message:
        if self.kind == "request":
            found = _REQUEST_LINE.fullmatch(line)
            if not found:
                raise Violation(f"request line: {line!r}")
            method, target, minor = found.groups()
            if not _TOKEN.fullmatch(method):
                raise Violation(f"method: {method!r}")
            if not _TARGET.fullmatch(target):
                raise Violation(f"target: {target!r}")
            return Request(method=method, target=target, version=10 + int(minor))
        found = _STATUS_LINE.fullmatch(line)
        if not found:
            raise Violation(f"status line: {line!r}")
        minor, status, reason = found.groups()
        return Response(status=int(status), reason=reason, version=10 + int(minor))

    @staticmethod
    def _field(line: bytes) -> tuple[bytes, bytes]:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise Violation(f"field line: {line!r}")
        if not _VALUE.fullmatch(value):
            raise Violation(f"control bytes in a field: {line!r}")
        return name, value.strip(b" \t")

    def _frame(self, message: Message) -> None:
        """Decide how the content ends, as numbered in RFC 9112 section 6.3."""
        lengths = message.all(b"content-length")
        codings = message.all(b"transfer-encoding")
        if lengths and codings:
            raise Violation(f"both Content-Length and Transfer-Encoding: {message.head!r}")
        if len(lengths) > 1 or len(codings) > 1:
            raise Violation(f"repeated framing field: {message.head!r}")
        if lengths and not _DIGITS.fullmatch(lengths[0]):
            raise Violation(f"Content-Length: {lengths[0]!r}")
        if codings:
            if message.version < 11:
                raise Violation("Transfer-Encoding in an HTTP/1.0 message")
            if codings[0].lower() != b"chunked":
                raise Violation(f"Transfer-Encoding: {codings[0]!r}")
        if isinstance(message, Request):
            hosts = message.all(b"host")
            if len(hosts) > 1 or (message.version == 11 and not hosts):
                raise Violation(f"{len(hosts)} Host fields: {message.head!r}")
        if isinstance(message, Response):
            method = self._methods.popleft() if self._methods else b"GET"
            if message.status in (204, 101) and (lengths or codings):
                message.violations.append(f"a {message.status} with framing fields")
            if message.status == 304 and codings:
                message.violations.append("a 304 with Transfer-Encoding")
            if method == b"CONNECT" and 200 <= message.status < 300:
                message.framing = "none"
                return
            if method == b"HEAD" or message.status in (101, 204, 304):
                return  # 1.
        if codings:
            message.framing = "chunked"  # 4.
            self._state = self._chunk_line
        elif lengths and lengths[0].lstrip(b"0"):
            message.framing = "length"  # 6.
            self._left = int(lengths[0])
            self._state = self._counted
        elif not lengths and isinstance(message, Response):
            message.framing = "close"  # 8.
            self._state = self._until_close

    def _take(self, count: int) -> int:
        """Move up to *count* bytes of content into the message; return how many."""
        message = self.partial
        assert message is not None
        buffer = self._buffer
        count = min(count, len(buffer))
        if message.length + count <= self.keep:
            message.body += buffer[:count]
            message.raw += buffer[:count]
        message.length += count
        del buffer[:count]
        return count

    def _counted(self) -> bool:
        self._left -= self._take(self._left)
        if self._left:
            return False
        assert self.partial is not None
        self._finish(self.partial)
        return True

    def _until_close(self) -> bool:
        self._take(len(self._buffer))
        return False

    def _line(self, what: str) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise Violation(f"{what} of over {MAX_HEAD} bytes")
            return None
        line = bytes(self._buffer[: end + 1])
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Violation(f"bare LF or CR in {what}: {line!r}")
        del self._buffer[: end + 1]
        assert self.partial is not None
        if len(self.partial.raw) < self.keep:
            self.partial.raw += line
        return line[:-2]

    def _chunk_line(self) -> bool:
        line = self._line("a chunk's line")
        if line is None:
            return False
        message = self.partial
        assert message is not None
        found = _CHUNK_LINE.fullmatch(line)
        if not found:
            raise Violation(f"chunk line: {line!r}")
        if found[2]:
            message.extensions.append(found[2])
        self._left = int(found[1], 16)
        if self._left:
            message.chunks.append(self._left)
            self._state = self._chunk_data
        else:
            self._state = self._trailer
        return True

    def _chunk_data(self) -> bool:
        self._left -= self._take(self._left)
        if self._left:
            return False
        self._state = self._chunk_end
        return True

    def _chunk_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise Violation(f"a chunk not ended by CRLF: {bytes(self._buffer[:20])!r}")
        del self._buffer[:2]
        assert self.partial is not None
        if len(self.partial.raw) < self.keep:
            self.partial.raw += b"\r\n"
        self._state = self._chunk_line
        return True

    def _trailer(self) -> bool:
        line = self._line("a trailer")
        if line is None:
            return False
        message = self.partial
        assert message is not None
        if line:
            message.trailers.append(self._field(line))
        else:
            self._finish(message)
        return True

    def _finish(self, message: Message) -> None:
        message.complete = True
        self.partial = None
        self._state = self._head
        self.messages.append(message)
