# SPDX-License-Identifier: Apache-2.0
"""The forced arm: a signed cookie by which a tester gets one side of a canary, whatever the bucket.

    strangler_arm=s.692aff80.Zk3dX0c5mJ2mR9o4T6bq8A

The arm (`s`ervice or `l`egacy), the second at which it ends in hex, and a signature that also
covers the salt of the route's readers (its group's, else its own). Several are joined by `~`. What
isn't signed by this site, or has ended, is as if it weren't there.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from typing import Final

from .decision import Target

ARM_COOKIE: Final = b"strangler_arm"
MOST: Final = 8
"""Tokens of one cookie that are looked at: each costs a signature."""
LONGEST: Final = 30 * 86_400
"""The longest that a tester may be given an arm, in seconds."""

_LETTERS: Final[dict[Target, str]] = {"legacy": "l", "service": "s"}
_ARMS: Final[dict[bytes, Target]] = {letter.encode(): arm for arm, letter in _LETTERS.items()}
_BYTES: Final = 16


def mint(key: bytes, salt: str, arm: Target, ends: float) -> str:
    """Return the token for *arm* on the routes that hash their readers with *salt*.

    key: this site's, at least 16 bytes (ValueError) · ends: Unix seconds.
    """
    if len(key) < _BYTES:
        raise ValueError("the key is too short to sign with")
    start = f"{_LETTERS[arm]}.{int(ends):x}"
    return f"{start}.{_signature(key, salt, start.encode()).decode()}"


def forced(key: bytes, salt: str, cookie: bytes, now: float) -> Target | None:
    """Return the arm that *cookie* forces on the routes of *salt*, None for none.

    Of several that are valid the first counts.
    """
    if not key:
        return None
    for token in cookie.split(b"~", MOST)[:MOST]:
        start, _, signature = token.rpartition(b".")
        letter, _, ends = start.partition(b".")
        arm = _ARMS.get(letter)
        if arm is None or not signature.isascii():
            continue
        # Only what has been signed here is read as a number.
        if hmac.compare_digest(_signature(key, salt, start), signature) and int(ends, 16) > now:
            return arm
    return None


def _signature(key: bytes, salt: str, start: bytes) -> bytes:
    signed = b"%b\0%b" % (start, salt.encode())
    return urlsafe_b64encode(hmac.digest(key, signed, "sha256")[:_BYTES]).rstrip(b"=")
