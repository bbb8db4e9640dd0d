# SPDX-License-Identifier: Apache-2.0
"""What a store keeps of one stored response: a record, and what the tier needs to know of it.

    version · moment · entered · until · blob · slices · check (CRC-32 of those) · record

Big-endian. As with records, what a version's bytes mean never changes, a release reads the
versions it knows, and anything else counts as absent.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

VERSION: Final = 1

_NUMBERS: Final = struct.Struct(">BqddQI")
_CHECK: Final = struct.Struct(">I")
_START: Final = _NUMBERS.size + _CHECK.size


class Envelope(NamedTuple):
    """moment: last purge known when its source was asked · entered, until: when it came into the
    store and when it is of no more use there, wall time · blob, slices: the name of its body's
    slices and their number, both 0 where the body is in the record.
    """

    moment: int
    entered: float
    until: float
    blob: int
    slices: int
    record: bytes


def pack(envelope: Envelope) -> bytes:
    """Return *envelope* as bytes."""
    numbers = _NUMBERS.pack(VERSION, *envelope[:5])
    return b"%b%b%b" % (numbers, _CHECK.pack(zlib.crc32(numbers)), envelope.record)


def unpack(data: bytes) -> Envelope | None:
    """Return the envelope in *data*; None, never an error, where it is cut, altered or newer."""
    if len(data) < _START or data[0] != VERSION:
        return None
    if zlib.crc32(data[: _NUMBERS.size]) != _CHECK.unpack_from(data, _NUMBERS.size)[0]:
        return None
    _, moment, entered, until, blob, slices = _NUMBERS.unpack_from(data)
    return Envelope(moment, entered, until, blob, slices, data[_START:])


def seal_slice(data: bytes) -> bytes:
    """Return a slice of a body as it is stored: with its CRC-32 in front."""
    return _CHECK.pack(zlib.crc32(data)) + data


def open_slice(data: bytes | None) -> bytes | None:
    """Return the bytes of a stored slice; None where it is absent, cut or altered."""
    if data is None or len(data) < _CHECK.size:
        return None
    body = data[_CHECK.size :]
    return body if zlib.crc32(body) == _CHECK.unpack_from(data)[0] else None
