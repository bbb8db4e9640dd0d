# SPDX-License-Identifier: Apache-2.0
"""Spans as OpenTelemetry's protocol has them: `ExportTraceServiceRequest` in protobuf.

Written by hand: what is needed of it are three kinds of fields, and the official packages cost
more than the exchange they tell of. A test has the official one decode what is made here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final

Value = str | int | float | bool

SERVER: Final = 2
CLIENT: Final = 3
_ERROR: Final = 2
_BYTES: Final = 2
_FIXED64: Final = 1
_FIXED32: Final = 5
_SAMPLED: Final = 0x01


class Span:
    """One span; times in nanoseconds since 1970, `above` the span id of its parent or empty."""

    __slots__ = (
        *("above", "attributes", "begin", "end", "failed", "id", "kind", "name", "state", "trace"),
    )

    def __init__(self, trace: bytes, id_: bytes, above: bytes, kind: int, begin: int) -> None:
        self.trace = trace
        self.id = id_
        self.above = above
        self.kind = kind
        self.name = ""
        self.begin = begin
        self.end = begin
        self.state = b""
        self.attributes: dict[str, Value] = {}
        self.failed = False


def request(resource_: bytes, spans: Iterable[Span]) -> bytes:
    """Return an ExportTraceServiceRequest; *resource_* as `resource` returns it."""
    scope = _field(1, _field(1, b"strangler"))
    inner = scope + b"".join([_field(2, _span(span)) for span in spans])
    return _field(1, _field(1, resource_) + _field(2, inner))


def resource(attributes: Mapping[str, Value]) -> bytes:
    """Return a Resource with *attributes*."""
    return b"".join([_field(1, _pair(name, value)) for name, value in attributes.items()])


def _span(span: Span) -> bytes:
    parts = [_field(1, span.trace), _field(2, span.id)]
    if span.state:
        parts.append(_field(3, span.state.decode("latin-1").encode()))
    if span.above:
        parts.append(_field(4, span.above))
    parts.append(_field(5, span.name.encode("utf-8", "replace")))
    parts.append(_number(6, span.kind))
    parts.append(_key(7, _FIXED64) + struct.pack("<Q", span.begin))
    parts.append(_key(8, _FIXED64) + struct.pack("<Q", span.end))
    parts += [_field(9, _pair(name, value)) for name, value in span.attributes.items()]
    if span.failed:
        parts.append(_field(15, _number(3, _ERROR)))
    parts.append(_key(16, _FIXED32) + struct.pack("<I", _SAMPLED))
    return b"".join(parts)


def _pair(name: str, value: Value) -> bytes:
    if isinstance(value, bool):
        told = _number(2, int(value))
    elif isinstance(value, int):
        told = _number(3, value)
    elif isinstance(value, float):
        told = _key(4, _FIXED64) + struct.pack("<d", value)
    else:
        told = _field(1, value.encode("utf-8", "replace"))
    return _field(1, name.encode()) + _field(2, told)


def _field(number: int, data: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _key(number, 0) + _varint(value & 0xFFFFFFFFFFFFFFFF)


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
