# SPDX-License-Identifier: Apache-2.0
"""The console's sessions: a signed cookie that stands for a token, for a while.

Nothing is kept of them here: the cookie says whose it is and until when, and the signature that we
said so. It ends at once with the token that it was given for.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from strangler.control.tokens import Token

COOKIE: Final = "strangler_session"
LASTS: Final = 2 * 3600.0
"""Seconds for which a session counts; it is renewed while it is used."""
_MOST: Final = 1000


class Sessions:
    """Makes and reads cookies signed with *key*; without one they end with this process."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key or secrets.token_bytes(32)

    def give(self, token: Token, now: float) -> str:
        """Return the cookie's value for *token*; *now* in Unix seconds."""
        told = json.dumps([token.who, _print(token), int(now + LASTS)]).encode()
        return f"{_text(told)}.{_text(self._sign(told))}"

    def find(self, cookie: str, tokens: Iterable[Token], now: float) -> Token | None:
        """Return the token that *cookie* stands for, None where it is none of ours or has ended."""
        told, _, signature = cookie[:_MOST].partition(".")
        try:
            raw = _bytes(told)
            if not hmac.compare_digest(self._sign(raw), _bytes(signature)):
                return None
            who, seen, ends = json.loads(raw)
        except ValueError:
            return None
        if now >= ends:
            return None
        for token in tokens:
            if token.who == who and _print(token) == seen:
                return token
        return None

    def ends(self, cookie: str) -> float:
        """Return when *cookie*, which `find` has accepted, ends (Unix seconds)."""
        return float(json.loads(_bytes(cookie.partition(".")[0]))[2])

    def _sign(self, told: bytes) -> bytes:
        return hmac.digest(self._key, told, "sha256")


def _print(token: Token) -> str:
    """Return what tells this token from another of the same name, and its rights from others."""
    rights = f"{token.role}:{','.join(sorted(token.owners))}"
    return sha256(token.digest + rights.encode()).hexdigest()[:16]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
