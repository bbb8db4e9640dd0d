# SPDX-License-Identifier: Apache-2.0
"""The upstream request: what goes out for what came in (RFC 9110 §7.6). Pure.

The method, the target and every field that is nobody's per-hop business go through as received.
What tells an application who its reader is (X-Forwarded-*, Forwarded, Via, X-Request-Id) is
written by the edge alone, from what it knows or what a trusted hop told it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from strangler.wire.forward import forwarded_node, named, request_block, without
from strangler.wire.head import RequestFields, RequestHead, members

#: Methods that the edge answers itself, with 405 (RFC 9110 §9.3.6, §9.3.8).
NOT_SERVED: Final = frozenset((b"TRACE", b"CONNECT"))
#: Protocols that would end our reading of HTTP, or that are not ours to offer (RFC 9110 §7.8).
_NOT_TUNNELLED: Final = (b"h2", b"http/", b"tls/")
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_PRECONDITIONS: Final = re.compile(rb"\r\n(?:if-none-match|if-modified-since):[^\r]*")
_RANGE: Final = re.compile(rb"\r\n(?:range|if-range):[^\r]*")
_AUTHORIZATION: Final = re.compile(rb"\r\nauthorization:[^\r]*")
_MAX_FORWARDS: Final = re.compile(rb"\r\nmax-forwards:[^\r]*")
#: The most hops that are counted; a larger number is lowered to it, as RFC 9110 §7.6.2 lets us.
_MOST_HOPS: Final = 255


class Request:
    """What goes upstream, but for what depends on the endpoint. Not changed once made.

    ``target`` is the origin form without the endpoint's prefix; ``block`` the field block from
    its first CRLF, without the final one, and ``reader`` the lines of this request alone that
    follow it: a block that repeats is copied but once; ``host_line`` is None where the endpoint's
    own Host is to be sent. ``length``: Content-Length, None: no body; -1: chunked. ``trace``:
    whose attempts are spans of what, for who knows; None: nobody's.
    """

    __slots__ = ("block", "host_line", "length", "method", "reader", "target", "trace", "upgrade")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        block: bytes,
        host_line: bytes | None,
        length: int | None,
        upgrade: bool = False,
        reader: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.block = block
        self.host_line = host_line
        self.length = length
        self.upgrade = upgrade
        self.reader = reader
        self.trace: Any = None

    def also(self, lines: bytes) -> Request:
        """Return this request with further *lines*, a CRLF before each."""
        return self._made(self.block, self.reader + lines)

    def with_block(self, block: bytes) -> Request:
        """Return this request with another field *block*."""
        return self._made(block, self.reader)

    def _made(self, block: bytes, reader: bytes) -> Request:
        made = Request(
            self.method, self.target, block, self.host_line, self.length, self.upgrade, reader
        )
        made.trace = self.trace
        return made

    def as_get(self) -> Request:
        """Return the GET whose fields this HEAD asks for."""
        made = self.also(b"")
        made.method = b"GET"
        return made

    def head(self, host: bytes, prefix: bytes = b"", also: bytes = b"") -> bytes:
        """Return the whole head for an endpoint with this Host and path *prefix*.

        *also*: lines of this attempt alone, a CRLF before each.
        """
        line = self.host_line
        if line is None:
            line = b"\r\nHost: " + host
        return b"%b %b%b HTTP/1.1%b%b%b%b\r\n\r\n" % (
            self.method, prefix, self.target, line, self.block, self.reader, also
        )  # fmt: skip


@dataclass(frozen=True)
class Via:
    """Our entries in Via (RFC 9110 §7.6.3) for requests received as HTTP/1.0 and 1.1."""

    old: bytes
    new: bytes

    @classmethod
    def of(cls, pseudonym: bytes) -> Via:
        """Return the entries of *pseudonym*."""
        return cls(b"1.0 " + pseudonym, b"1.1 " + pseudonym)


class Edits:
    """A route's own edits of a field block: names to remove, lines to add."""

    __slots__ = ("lines", "names")

    def __init__(self, remove: Iterable[bytes], add: Iterable[tuple[bytes, bytes]]) -> None:
        pairs = list(add)
        self.names = named([name.lower() for name in (*remove, *(name for name, _ in pairs))])
        self.lines = b"".join(b"\r\n%b: %b" % pair for pair in pairs)

    def apply(self, block: bytes) -> bytes:
        """Return *block* (no final CRLF) edited."""
        ended = block + b"\r"
        return without(ended, ended.lower(), self.names)[:-1] + self.lines


def reader_lines(head: RequestHead, *, peer: str, scheme: bytes, trusted: bool, via: Via) -> bytes:
    """Return the lines that say who the reader is, up to X-Request-Id's value, which comes last.

    *peer* is the address that connected. Where it is trusted, what it says of its own client is
    passed on and lengthened (RFC 7239 §4); X-Forwarded-Port is the port that the reader asked.
    """
    fields = head.fields
    address = peer.encode()
    authority = head.authority
    port = b"443" if scheme == b"https" else b"80"
    if authority:
        _, colon, given = authority.rpartition(b":")
        if colon and given.isdigit():
            port = given
    forwarded_for, forwarded_host, earlier_hops = address, authority, b""
    if trusted:
        earlier = fields.combined(b"x-forwarded-for")
        if earlier:
            forwarded_for = earlier + b", " + address
        forwarded_host = fields.get(b"x-forwarded-host") or authority
        port = fields.get(b"x-forwarded-port") or port
        chain = _chain(earlier) if earlier else fields.combined(b"forwarded")
        earlier_hops = chain + b", " if chain else b""
    entry = via.old if head.version == 10 else via.new
    if fields.via:
        entry = fields.via + b", " + entry
    node = forwarded_node(peer)
    if authority:
        node += b';host="%b"' % authority
    if forwarded_host:
        forwarded_host = b"\r\nX-Forwarded-Host: " + forwarded_host
    return (
        b"\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b%b\r\nX-Forwarded-Port: %b"
        b"\r\nForwarded: %bfor=%b;proto=%b\r\nVia: %b\r\nX-Request-Id: "
        % (forwarded_for, scheme, forwarded_host, port, earlier_hops, node, scheme, entry)
    )


def _chain(forwarded_for: bytes) -> bytes:
    """Return the hops of X-Forwarded-For as Forwarded's.

    A hop that writes only the one lets the other through as its client made it up, so where
    there is X-Forwarded-For an incoming Forwarded counts for nothing.
    """
    nodes = []
    for member in members(forwarded_for):
        address = member.decode("latin-1").strip("[]")
        known = _ADDRESS.fullmatch(address) is not None
        nodes.append(b"for=" + (forwarded_node(address) if known else b"unknown"))
    return b", ".join(nodes)


def compose(
    head: RequestHead,
    *,
    target: bytes,
    host_mode: str,
    trusted: bool,
    reader: bytes,
    edits: Edits | None,
) -> Request:
    """Return the upstream request for *head*.

    *target*: path and query to ask for · *host_mode*: keep, upstream, or the host to say ·
    *reader*: `reader_lines` and the request id.
    """
    fields = head.fields
    own_host = head.authority == (fields.authority or b"")
    keep_host = host_mode == "keep" and own_host
    block = request_block(fields, trusted=trusted, keep_host=keep_host)
    if edits is not None:
        block = edits.apply(block)
    host_line: bytes | None = b""
    if host_mode == "upstream" or (keep_host and fields.authority is None):
        host_line = None  # HTTP/1.0 without Host: the upstream's own, too
    elif not keep_host:
        host_line = b"\r\nHost: " + (head.authority if host_mode == "keep" else host_mode.encode())
    block += reader
    if fields.plain:
        length = None if fields.length is None else 0
        if length == 0:
            block += b"\r\nContent-Length: 0"
        return Request(head.method, target, block, host_line, None)
    return _with_body_or_upgrade(head, fields, target, block, host_line)


def hops_left(value: bytes) -> int | None:
    """Return how many hops Max-Forwards *value* allows, at most 255; None: it is no number."""
    if not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    return _MOST_HOPS if len(digits) > 3 else min(int(digits or b"0"), _MOST_HOPS)


def _with_body_or_upgrade(
    head: RequestHead, fields: RequestFields, target: bytes, block: bytes, host_line: bytes | None
) -> Request:
    length: int | None = None
    upgrade = False
    if fields.chunked:
        length = -1
        block += b"\r\nTransfer-Encoding: chunked"
    elif fields.length is not None:
        length = fields.length if fields.length else None
        block += b"\r\nContent-Length: %d" % fields.length
    if fields.expect and length is not None and head.version == 11:
        block += b"\r\nExpect: 100-continue"
    if fields.upgrade and length is None and head.version == 11:
        offered = members(fields.combined(b"upgrade") or b"")
        wanted = [p for p in offered if not p.lower().startswith(_NOT_TUNNELLED)]
        if wanted and b"upgrade" in fields.connection:
            upgrade = True
            block += b"\r\nConnection: Upgrade\r\nUpgrade: " + b", ".join(wanted)
    if fields.max_forwards and head.method == b"OPTIONS":
        ended = block + b"\r"
        block = without(ended, ended.lower(), _MAX_FORWARDS)[:-1]
        block += b"\r\nMax-Forwards: %d" % ((hops_left(fields.max_forwards) or 1) - 1)
    return Request(head.method, target, block, host_line, length, upgrade)


def bearing(request: Request, token: bytes) -> Request:
    """Return *request* with *token* in Authorization (RFC 6750 §2.1), for what was there."""
    ended = request.block + b"\r"
    block = without(ended, ended.lower(), _AUTHORIZATION)[:-1]
    block += b"\r\nAuthorization: Bearer " + token
    return request.with_block(block)


def with_target(request: Request, target: bytes) -> Request:
    """Return *request* asking for *target*."""
    made = request.also(b"")
    made.target = target
    return made


def asking_for_store(
    request: Request, validators: Iterable[tuple[bytes, bytes]], *, whole: bool
) -> Request:
    """Return *request* as a cache asks: its own *validators* in place of the client's.

    The client's If-None-Match and If-Modified-Since are judged on what is stored then (RFC 9111
    §4.3.2). *whole*: without the client's Range, too.
    """
    ended = request.block + b"\r"
    block = without(ended, ended.lower(), _PRECONDITIONS)
    if whole:
        block = without(block, block.lower(), _RANGE)
    block = block[:-1] + b"".join(b"\r\n%b: %b" % pair for pair in validators)
    made = request.with_block(block)
    made.upgrade = False  # a tunnel can't be stored
    return made
