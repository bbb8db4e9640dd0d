# SPDX-License-Identifier: Apache-2.0
"""Edits of a field block on its way through (RFC 9110 §7.6), on bytes and in place.

Removed: what is meant for one hop (Connection and all it names, Keep-Alive, TE, Transfer-Encoding,
Upgrade, Proxy-*, X-Deadline-Ms), and from strangers all that tells an application who its client is
(X-Forwarded-*, Forwarded, X-Real-IP, and the same names spelt with underscores, which a WSGI
server can't tell apart). Then the edge writes its own: that is the only copy an upstream sees.
"""

from __future__ import annotations

import re
from typing import Final

from strangler.wire.head import RequestFields, ResponseHead, members

_HOP: Final = (
    rb"connection|keep-alive|proxy(?:[-_][a-z_-]+)?|te|transfer[-_]encoding|upgrade"
    rb"|content[-_]length|http2-settings|expect|via|strangler[-_][a-z_-]+|x[-_]deadline[-_]ms"
)
_IDENTITY: Final = (
    rb"|forwarded|x[-_]forwarded(?:[-_][a-z_-]+)?|x[-_]real[-_]ip|x[-_]request[-_]id"
    rb"|x[-_]client[-_]ip|x[-_]cluster[-_]client[-_]ip|true[-_]client[-_]ip"
)
#: What only the edge may tell an upstream, whatever a stranger says: for an expression.
OURS: Final = _HOP + _IDENTITY
_IDENTITY_LOOKALIKES: Final = (
    rb"|x[-_]forwarded[-_][a-z_-]*|forwarded|x[-_]real[-_]ip|x[-_]request[-_]id"
)
_FROM_STRANGER: Final = re.compile(rb"\r\n(?:" + OURS + rb"):[^\r]*")
_FROM_STRANGER_NO_HOST: Final = re.compile(rb"\r\n(?:host|" + OURS + rb"):[^\r]*")
_FROM_TRUSTED: Final = re.compile(rb"\r\n(?:" + _HOP + _IDENTITY_LOOKALIKES + rb"):[^\r]*")
_FROM_TRUSTED_NO_HOST: Final = re.compile(
    rb"\r\n(?:host|" + _HOP + _IDENTITY_LOOKALIKES + rb"):[^\r]*"
)
#: What ends at this hop, and what only the edge itself may say.
_PER_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"te", b"transfer-encoding", b"upgrade", b"proxy-connection",
     b"proxy-authenticate", b"proxy-authentication-info", b"strangler-decision")
)  # fmt: skip
#: Cookies that the admin listener gives, and that are good for what no application may do.
_OPERATORS: Final = (b"strangler_session=", b"strangler_debug=")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[^\r]*")
_PLAIN_OPTIONS: Final = frozenset((b"keep-alive", b"close"))
#: What Connection may name without our taking it away: it ends the message or finds the site.
_PROTECTED: Final = frozenset((b"host", b"close", b"keep-alive", b"upgrade", b"content-length"))


def without(raw: bytes, lower: bytes, names: re.Pattern[bytes]) -> bytes:
    """Return the block *raw* less the lines that *names* finds in *lower*, its lower-cased twin."""
    kept = []
    at = 0
    for line in names.finditer(lower):
        kept.append(raw[at : line.start()])
        at = line.end()
    if not at:
        return raw
    kept.append(raw[at:])
    return b"".join(kept)


def named(names: frozenset[bytes] | list[bytes]) -> re.Pattern[bytes]:
    """Return what finds the lines of the fields *names* (lower case) for `without`."""
    return re.compile(rb"\r\n(?:" + b"|".join(re.escape(n) for n in sorted(names)) + rb"):[^\r]*")


def without_fields(block: bytes, names: frozenset[bytes]) -> bytes:
    """Return *block* less the fields *names* (lower case), which a stranger chose.

    Line by line: an expression made of ten thousand names takes a fifth of a second to compile.
    """
    lines = block.split(b"\r\n")
    return b"\r\n".join([line for line in lines if line.partition(b":")[0].lower() not in names])


def request_block(fields: RequestFields, *, trusted: bool, keep_host: bool) -> bytes:
    """Return *fields* as they go upstream, from the first CRLF, without the final one.

    What the edge adds comes after it. *trusted*: the peer may speak for its client. The edit is
    kept with the fields, so a repeated block is edited once.
    """
    key = (trusted, keep_host)
    block = fields.forwarded.get(key)
    if block is None:
        if trusted:
            names = _FROM_TRUSTED if keep_host else _FROM_TRUSTED_NO_HOST
        else:
            names = _FROM_STRANGER if keep_host else _FROM_STRANGER_NO_HOST
        block = without(fields.raw, fields.lower, names)
        if fields.cookies > 1 or fields.operator:
            block = _one_cookie_line(block, fields)
        also = fields.connection - _PROTECTED
        if also:
            block = without_fields(block, also)
        block = block[:-4]
        fields.forwarded[key] = block
    return block


def _one_cookie_line(block: bytes, fields: RequestFields) -> bytes:
    """Join Cookie lines, as HTTP/2 splits them, by ``; `` (RFC 9113 §8.2.3), less an operator's.

    Cookies know no ports (RFC 6265 §8.5): a browser that is signed in at the admin listener shows
    its session to the site of the same name too, and no application may have that.
    """
    block = without(block, block.lower(), named([b"cookie"]))
    told = b"; ".join(fields.all(b"cookie"))
    if fields.operator:
        pairs = [pair.strip(b" \t") for pair in told.split(b";")]
        told = b"; ".join([pair for pair in pairs if not pair.startswith(_OPERATORS)])
        if not told:
            return block
    return block[:-4] + b"\r\nCookie: " + told + b"\r\n\r\n"


def response_block(head: ResponseHead) -> bytes:
    """Return the fields of *head* as they go to the reader, from the first CRLF, without the last.

    Content-Length stays, but of a 1xx or 204, which say nothing of a body (RFC 9110 §8.6); the
    caller adds Transfer-Encoding, Connection and Date where they belong.
    """
    block = head.block
    if block is None:
        block = head.block = _edited(head)
    return block


def _edited(head: ResponseHead) -> bytes:
    raw = head.raw
    lower = head.lower
    for name in head.notable:
        if name in _PER_HOP:
            start = lower.find(b"\n" + name + b":") - 1
            end = lower.index(b"\r", start + 1)
            raw = raw[:start] + raw[end:]
            lower = lower[:start] + lower[end:]
    if head.connection and head.connection not in _PLAIN_OPTIONS:
        also = frozenset(members(head.connection)) - _PROTECTED
        if also:
            raw = without_fields(raw, also)
    if (head.status < 200 or head.status == 204) and head.length is not None:
        raw = without(raw, raw.lower(), _LENGTH)
    return raw[:-4]


def forwarded_node(address: str) -> bytes:
    """Return *address* as a node of Forwarded (RFC 7239 §6): IPv6 quoted, no address unknown."""
    if ":" in address:
        return b'"[%b]"' % address.encode()
    return address.encode() if address and address != "unix" else b"unknown"


def loops(via: bytes, pseudonym: bytes) -> bool:
    """Tell whether *via* names *pseudonym*: the message has been here before (RFC 9110 §7.6.3)."""
    return any(pseudonym in entry.split() for entry in members(via))
