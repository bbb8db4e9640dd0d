# SPDX-License-Identifier: Apache-2.0
"""Until when the certificates in a PEM file are valid (RFC 5280 §4.1.2.5)."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import Final

_BLOCK: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL | re.ASCII
)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


def valid_until(pem: str) -> datetime:
    """Return when the first certificate of a chain in *pem* to expire does so.

    Raises ValueError where it holds none, or one that can't be read.
    """
    blocks = _BLOCK.findall(pem)
    if not blocks:
        raise ValueError("expected a PEM certificate")
    return min(_not_after(ssl.PEM_cert_to_DER_cert(block)) for block in blocks)


def _not_after(der: bytes) -> datetime:
    try:
        certificate, _ = _take(der, _SEQUENCE)
        signed, _ = _take(certificate, _SEQUENCE)
        if signed[0] == _VERSION:
            _, signed = _take(signed, _VERSION)
        for _ in ("serial number", "signature algorithm", "issuer"):
            _, signed = _take(signed)
        validity, _ = _take(signed, _SEQUENCE)
        _, rest = _take(validity)
        kind = rest[0]
        text = _take(rest)[0].decode("ascii")
        if kind == _UTC_TIME:  # two digits of a year: 50 and more are of the last century
            text = ("20" if text < "50" else "19") + text
        elif kind != _GENERALIZED_TIME:
            raise ValueError("expected a time")
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"not a certificate: {error}") from None


def _take(der: bytes, kind: int | None = None) -> tuple[bytes, bytes]:
    """Return the content of the first element of *der*, and what follows it."""
    if kind is not None and der[0] != kind:
        raise ValueError(f"expected element {kind:#x}, got {der[0]:#x}")
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if start + length > len(der):
        raise ValueError("cut short")
    return der[start : start + length], der[start + length :]
