# SPDX-License-Identifier: Apache-2.0
"""Heads of HTTP/1.x messages: validated whole, read lazily, never parsed into a dictionary.

A head is its start line and its *field block* (every field line and the empty one). One regular
expression checks every byte of a block against RFC 9112 §5; then the few *notable* fields, those
that frame the message or speak to a proxy, are found by a second one. That costs a few
microseconds for a browser's head, where a header dictionary costs twenty.

The expressions are stricter than RFC 9112 asks a recipient to be in three places, each a known
way to make two readers disagree: a bare LF or CR, obs-fold, and space before the colon are always
refused. Request blocks get a second opinion: llhttp reads the same bytes and must see the same
end of the message, or the request is refused. A connection's requests mostly repeat their block,
so parsed request blocks are kept in a small table and a repeated one costs a look-up. So are the
heads of responses, which an upstream repeats while many ask for the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import httptools

from strangler.errors import RequestRejected
from strangler.wire.repair import REPAIRED

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_BLOCK: Final = rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n"

TOKEN: Final = re.compile(_TOKEN)
#: RFC 9112 §3; the target is any visible ASCII but '#', its form is checked apart.
REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([!\"$-~]++) HTTP/1\.([0-9])\r\n")
#: RFC 9112 §5.
FIELD_BLOCK: Final = re.compile(_BLOCK)
#: RFC 9112 §4; a missing reason phrase is tolerated with or without its space.
RESPONSE_HEAD: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n" + _BLOCK
)
#: RFC 3986 §3.2 without userinfo: reg-name, IPv4 or a bracketed IP literal, and a port.
AUTHORITY: Final = re.compile(
    rb"(\[[0-9A-Fa-fvV:.%]{2,}\]|(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::([0-9]{0,5}))?"
)
_ABSOLUTE: Final = re.compile(rb"(?i:https?)://([^/?]*)([/?].*)?")
_VERSION: Final = re.compile(rb"[^ ]+ [^ ]+ HTTP/[0-9](?:\.[0-9])?")
_NOTABLE: Final = re.compile(
    rb"\n(host|content-length|transfer-encoding|connection|expect|upgrade|max-forwards|via"
    rb"|cookie|strangler-debug):([^\r]*)"
)
_RESPONSE_NOTABLE: Final = re.compile(
    rb"\n(content-length|transfer-encoding|connection|keep-alive|proxy-[a-z-]+|te|upgrade|date"
    rb"|location|content-location|refresh|link|set-cookie|strangler-[a-z-]+):([^\r]*)"
)
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")


def members(value: bytes) -> list[bytes]:
    """Return the members of a comma-separated list, trimmed, empty ones left out (RFC 9110 §5.6.1).

    For lists of tokens only: a quoted string with a comma in it is split.
    """
    return [part for raw in value.split(b",") if (part := raw.strip(b" \t"))]


class Fields:
    """A validated field block; ``raw`` begins with CRLF and ends with the empty line's CRLF.

    The leading CRLF (the start line's own) makes every field's place the same: after a line feed.
    """

    __slots__ = ("lower", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.lower = raw.lower()

    def __contains__(self, name: bytes) -> bool:
        return b"\n" + name + b":" in self.lower

    def get(self, name: bytes) -> bytes | None:
        """Return the first field line's value called *name* (lower case), trimmed, or None."""
        start = self.lower.find(b"\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 2
        return self.raw[start : self.raw.index(b"\r", start)].strip(b" \t")

    def all(self, name: bytes) -> list[bytes]:
        """Return every field line's value called *name* (lower case), trimmed, in order."""
        found = []
        needle = b"\n" + name + b":"
        start = self.lower.find(needle)
        while start >= 0:
            start += len(needle)
            end = self.raw.index(b"\r", start)
            found.append(self.raw[start:end].strip(b" \t"))
            start = self.lower.find(needle, end)
        return found

    def combined(self, name: bytes) -> bytes | None:
        """Return all lines of field *name* joined by ``, `` (RFC 9110 §5.3), or None."""
        found = self.all(name)
        return b", ".join(found) if found else None

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Return all fields as (name as received, trimmed value), in order."""
        lines = self.raw[2:-4].split(b"\r\n") if len(self.raw) > 4 else []
        return [
            (name, value.strip(b" \t")) for name, _, value in (ln.partition(b":") for ln in lines)
        ]


class RequestFields(Fields):
    """A request's field block with what frames it and what it asks of a proxy.

    ``authority`` is Host as sent, or None; ``length`` is Content-Length, or None; ``connection``
    holds the lower-case options of Connection; ``upgrade`` and ``expect`` are lower case;
    ``cookies`` counts the lines of Cookie; ``debug`` tells that somebody shows a debug token;
    ``operator`` that a cookie may be the admin listener's; ``plain`` that nothing here speaks to a
    proxy: no body, Via, Upgrade, Expect or Max-Forwards; ``forwarded`` and ``simple`` are where
    `strangler.wire.forward` and the cache keep what they made of this block.
    """

    __slots__ = (
        "authority",
        "chunked",
        "connection",
        "cookies",
        "debug",
        "expect",
        "forwarded",
        "host",
        "length",
        "max_forwards",
        "operator",
        "plain",
        "simple",
        "upgrade",
        "via",
    )

    def __init__(self, raw: bytes) -> None:
        """Read the validated block *raw*; raises RequestRejected 400 or 501 (RFC 9112 §6.3)."""
        super().__init__(raw)
        self.authority: bytes | None = None
        self.host = b""
        self.length: int | None = None
        self.chunked = False
        self.connection: frozenset[bytes] = frozenset()
        self.upgrade = self.expect = self.max_forwards = self.via = b""
        self.cookies = 0
        self.debug = self.operator = False
        self.simple: int | None = None
        self.forwarded: dict[object, bytes] = {}
        self._read(raw)

    def _read(self, raw: bytes) -> None:
        for name, value in _NOTABLE.findall(self.lower):
            self._notable(name, value.strip(b" \t"))
        if self.chunked and self.length is not None:
            raise RequestRejected(400, "framing: both Content-Length and Transfer-Encoding")
        self.plain = not (
            self.length or self.chunked or self.via or self.upgrade or self.expect
            or self.max_forwards
        )  # fmt: skip
        if not _llhttp_agrees(raw, self.chunked or bool(self.length)):
            raise RequestRejected(400, "head: malformed")

    def _notable(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            if self.authority is not None:
                raise RequestRejected(400, "Host: expected one, got several")
            self.authority, self.host = value, host_of(value)
        elif name == b"connection":
            self.connection |= frozenset(members(value))
        elif name == b"content-length":
            if self.length is not None or _DIGITS.fullmatch(value) is None:
                raise RequestRejected(400, "Content-Length: expected one decimal number")
            self.length = int(value)
        elif name == b"transfer-encoding":
            if self.chunked:
                raise RequestRejected(400, "Transfer-Encoding: expected chunked once")
            if value != b"chunked":
                known = TOKEN.fullmatch(value) is not None and value != b"identity"
                raise RequestRejected(
                    501 if known else 400, "Transfer-Encoding: expected chunked, got another"
                )
            self.chunked = True
        elif name == b"expect":
            self.expect = self.expect + b"," + value if self.expect else value
        elif name == b"upgrade":
            self.upgrade = self.upgrade + b"," + value if self.upgrade else value
        elif name == b"max-forwards":
            self.max_forwards = value
        elif name == b"via":
            self.via = self.via + b"," + value if self.via else value
        elif name == b"cookie":
            self.cookies += 1
            if b"strangler_" in value:
                self.debug = self.debug or b"strangler_debug=" in value
                self.operator |= self.debug or b"strangler_session=" in value
        else:
            self.debug = True


class RequestHead:
    """The head of a request.

    ``path`` and ``query`` are the target's raw bytes in origin form (``path`` is ``*`` for the
    asterisk form; ``query`` has no '?', and ``rest`` is the whole origin form, path and query);
    ``authority`` is the effective one (absolute form wins over Host, RFC 9112 §3.2.2), ``host``
    the same in lower case without its port; ``version`` is 10 or 11.
    """

    __slots__ = (
        "authority",
        "fields",
        "host",
        "method",
        "path",
        "query",
        "rest",
        "target",
        "version",
    )

    method: bytes
    target: bytes
    rest: bytes
    path: bytes
    query: bytes
    authority: bytes
    host: bytes
    version: int
    fields: RequestFields

    @classmethod
    def parse(cls, raw: bytes) -> RequestHead:
        """Return the validated head in *raw* (start line to the empty line, all of it).

        Raises RequestRejected with 400, 405, 501 or 505 where RFC 9112 §3 asks for it.
        """
        line = REQUEST_LINE.match(raw)
        if line is None:
            raise _diagnose(raw)
        head = cls()
        method, target, minor = line.groups()
        head.method = method
        head.target = target
        block = raw[line.end() - 2 :]
        fields = _parsed.get(block)
        if fields is None:
            fields = _parse_block(raw, block)
        head.fields = fields
        head.host = fields.host
        if minor == b"0":
            head.version = 10
            if fields.chunked:  # RFC 9112 §6.1: faulty framing
                raise RequestRejected(400, "Transfer-Encoding: expected none in HTTP/1.0")
            head.authority = fields.authority or b""
        else:
            head.version = 11
            if fields.authority is None:
                raise RequestRejected(400, "Host: expected one, got none")
            head.authority = fields.authority
        if target[0] != 0x2F:  # "/"
            target = head._other_form(target)
        head.rest = target
        head.path, _, head.query = target.partition(b"?")
        return head

    @classmethod
    def build(
        cls, method: bytes, target: bytes, fields: Iterable[tuple[bytes, bytes]] = ()
    ) -> RequestHead:
        """Return a head made of parts, for tools and tests; raises as `parse` does."""
        lines = b"".join(b"%s: %s\r\n" % pair for pair in fields)
        if b"\nhost:" not in b"\n" + lines.lower():
            lines = b"Host: localhost\r\n" + lines
        return cls.parse(b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, lines))

    def as_get(self) -> RequestHead:
        """Return the GET whose fields this HEAD asks for."""
        made = RequestHead()
        made.method = b"GET"
        made.target, made.rest = self.target, self.rest
        made.path, made.query = self.path, self.query
        made.authority, made.host = self.authority, self.host
        made.version, made.fields = self.version, self.fields
        return made

    @property
    def keep_alive(self) -> bool:
        """Tell whether the client wants the connection kept (RFC 9112 §9.3)."""
        if self.version == 11:
            return b"close" not in self.fields.connection
        return b"keep-alive" in self.fields.connection and b"close" not in self.fields.connection

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of field *name* (lower case), trimmed, or None."""
        return self.fields.get(name)

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of field *name* (lower case), trimmed, in order."""
        return self.fields.all(name)

    def cookie(self, name: bytes) -> bytes | None:
        """Return the first cookie called *name*, its quotes kept, or None (RFC 6265 §4.2)."""
        for line in self.fields.all(b"cookie"):
            for pair in line.split(b";"):
                key, _, value = pair.strip(b" \t").partition(b"=")
                if key == name:
                    return value
        return None

    def _other_form(self, target: bytes) -> bytes:
        if target == b"*":
            if self.method != b"OPTIONS":
                raise RequestRejected(400, "target *: expected with OPTIONS only")
            return target
        if self.method == b"CONNECT":
            raise RequestRejected(405, "CONNECT: expected a method that a gateway serves")
        found = _ABSOLUTE.fullmatch(target)
        if found is None or not found[1]:
            raise RequestRejected(400, "target: expected a path or an absolute http URL")
        self.authority = found[1]
        self.host = host_of(found[1])
        rest = found[2] or (b"*" if self.method == b"OPTIONS" else b"/")
        return rest if rest[0] != 0x3F else b"/" + rest


class ResponseHead(Fields):
    """The head of a response, with what frames it and what a proxy has to look at.

    ``version`` is 10 or 11. ``length`` and ``coding`` are the values of Content-Length and
    Transfer-Encoding (None where there is none, a comma where there are several), ``size`` is
    Content-Length as a number (-1: none, or no number), ``connection`` the options of Connection
    in lower case, ``keep_alive`` what they and the version say; ``notable`` lists the lower-case
    names, as often as they occur, of the fields above and of those that are per hop, repaired,
    or added if missing; ``dated`` tells of Date, ``repairable`` of those that are repaired.
    ``whole`` is the length of the content that an answer to a GET has (-1: there may be none, or
    only `strangler.wire.framing` can tell). ``start`` is the status line as readers get it, and
    ``block`` where `strangler.wire.forward` keeps what it made of the fields.

    Nobody changes a head once it is parsed: the same bytes may be given the same head again.
    """

    __slots__ = (
        "block",
        "coding",
        "connection",
        "dated",
        "keep_alive",
        "length",
        "notable",
        "reason",
        "repairable",
        "size",
        "start",
        "status",
        "version",
        "whole",
    )

    status: int
    version: int
    whole: int
    reason: bytes
    start: bytes
    block: bytes | None
    keep_alive: bool
    dated: bool
    repairable: bool

    @classmethod
    def parse(cls, raw: bytes) -> ResponseHead | None:
        """Return the validated head in *raw*, or None where it breaks RFC 9112 §4 or §5."""
        known = _parsed_heads.get(raw)
        if known is not None:
            return known
        found = RESPONSE_HEAD.fullmatch(raw)
        if found is None:
            return None
        minor, status, reason = found.groups()
        head = cls(raw[raw.index(b"\r") :])
        head.version = 10 if minor == b"0" else 11
        head.status = int(status)
        head.reason = reason or b""
        head.start = b"HTTP/1.1 %b %b" % (status, head.reason)
        head.block = None
        head._note()
        plain = head.coding is None and head.status >= 200 and head.status not in (204, 304)
        head.whole = head.size if plain else -1
        # Seen again within the second, as Date goes: what many readers ask for now.
        if len(raw) <= _PARSED_HEAD_BYTES and b"set-cookie" not in head.notable:
            if len(_parsed_heads) >= _PARSED_HEADS:
                _parsed_heads.clear()
            _parsed_heads[raw] = head
        return head

    def _note(self) -> None:
        self.length: bytes | None = None
        self.coding: bytes | None = None
        self.connection = b""
        self.notable: list[bytes] = []
        for name, value in _RESPONSE_NOTABLE.findall(self.lower):
            self.notable.append(name)
            if name == b"content-length":
                self.length = value.strip(b" \t") if self.length is None else b","
            elif name == b"connection":
                value = value.strip(b" \t")
                self.connection = self.connection + b"," + value if self.connection else value
            elif name == b"transfer-encoding":
                self.coding = value.strip(b" \t") if self.coding is None else b","
        length = self.length
        numeric = length is not None and _DIGITS.fullmatch(length) is not None
        self.size = int(length) if length is not None and numeric else -1
        self.dated = b"date" in self.notable
        self.repairable = not REPAIRED.isdisjoint(self.notable)
        self.keep_alive = self.version == 11
        if self.connection:
            options = members(self.connection)
            kept = self.keep_alive or b"keep-alive" in options
            self.keep_alive = kept and b"close" not in options


def written(head: RequestHead | ResponseHead) -> bytes:
    """Return a head's bytes as they were received; a response's version may read 1.1 for 1.x."""
    if isinstance(head, ResponseHead):
        minor, reason = head.version - 10, head.reason
        return b"HTTP/1.%d %d %b%b" % (minor, head.status, reason, head.raw)
    return b"%b %b HTTP/1.%d%b" % (head.method, head.target, head.version - 10, head.fields.raw)


def host_of(authority: bytes) -> bytes:
    """Return the lower-case host of *authority* without its port; raises RequestRejected 400.

    Empty for an empty authority, which RFC 9110 §7.2 allows where a target has none.
    """
    if not authority:
        return b""
    found = AUTHORITY.fullmatch(authority)
    if found is None:
        raise RequestRejected(400, "Host: expected a host and an optional port, got neither")
    return found[1].lower()


_PARSED_HEADS: Final = 1024
_PARSED_HEAD_BYTES: Final = 1024
_parsed_heads: dict[bytes, ResponseHead] = {}
_PARSED_BLOCKS: Final = 2048
#: Longest field block of a request that is kept, in bytes.
PARSED_BYTES: Final = 2048
_parsed: dict[bytes, RequestFields] = {}


def _parse_block(raw: bytes, block: bytes) -> RequestFields:
    if FIELD_BLOCK.fullmatch(block, 2) is None:
        raise _diagnose(raw)
    fields = RequestFields(block)
    if len(block) <= PARSED_BYTES:
        if len(_parsed) >= _PARSED_BLOCKS:
            _parsed.clear()  # cheaper than any order of eviction, and a stranger can't pick victims
        _parsed[block] = fields
    return fields


class _SecondReader:
    """Notes whether llhttp saw the message end with its head."""

    ended = False

    def on_message_complete(self) -> None:
        self.ended = True


def _llhttp_agrees(block: bytes, has_body: bool) -> bool:
    """Tell whether llhttp accepts *block* and sees a body exactly where we do."""
    reader = _SecondReader()
    try:
        # llhttp refuses the tabs that RFC 9110 §5.6.3 allows around a value.
        httptools.HttpRequestParser(reader).feed_data(
            b"POST / HTTP/1.1" + block.replace(b"\t", b" ")
        )
    except httptools.HttpParserUpgrade:
        return True  # an upgrade ends llhttp's reading at the head; our own reading stands
    except httptools.HttpParserError:
        return False
    return reader.ended is not has_body


def _diagnose(raw: bytes) -> RequestRejected:
    """Say what is wrong with a head that the grammar refused; off the hot path."""
    line, _, rest = raw.partition(b"\r\n")
    version = _VERSION.fullmatch(line)
    if version is not None and re.search(rb" HTTP/1\.[0-9]$", line) is None:
        return RequestRejected(505, "version: expected HTTP/1.0 or HTTP/1.1, got another")
    if REQUEST_LINE.fullmatch(line + b"\r\n") is None:
        return RequestRejected(400, "request line: expected METHOD target HTTP/1.1, got otherwise")
    for number, field in enumerate(rest[:-4].split(b"\r\n"), start=1):
        name, colon, value = field.partition(b":")
        if b"\n" in field or b"\r" in field:
            return RequestRejected(400, f"field {number}: bare CR or LF")
        if field[:1] in (b" ", b"\t"):
            return RequestRejected(400, f"field {number}: obsolete line folding")
        if not colon or TOKEN.fullmatch(name) is None:
            return RequestRejected(400, f"field {number}: expected a name of token characters")
        if re.search(rb"[^\t\x20-\x7e\x80-\xff]", value):
            return RequestRejected(400, f"field {number}: control character in the value")
    return RequestRejected(400, "head: malformed")
