# SPDX-License-Identifier: Apache-2.0
"""The console's sessions: a signed cookie that stands for a token, for a while.

The cookie says whose it is and until when, and the signature that we said so. It ends at once with
the token that it was given for, and by signing out, whoever else has a copy of it. What it is
signed with and which sessions have been signed out stand in one file of the state folder: who loses
the one loses the other, so a session that has ended can't come back.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from strangler.control.state import replace_file
from strangler.control.tokens import Token
from strangler.observe.events import announce

COOKIE: Final = "strangler_session"
FILE: Final = "sessions.json"
"""The file's name in the state folder."""
LASTS: Final = 2 * 3600.0
"""Seconds for which a session counts; it is renewed while it is used."""
_MOST: Final = 1000
_KEY: Final = 32


@dataclass(frozen=True, slots=True)
class _Told:
    """What a cookie says: whose it is, the print of the token, its end (Unix seconds), its name."""

    who: str
    seen: str
    ends: float
    name: str


class Sessions:
    """Makes and reads cookies; without *file*, or where it can't be written, for this process."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._key = secrets.token_bytes(_KEY)
        self._ended: dict[str, float] = {}
        self._stat: tuple[int, int, int] | None = None
        self._unwritable = False

    def give(self, token: Token, now: float, renewed: str = "") -> str:
        """Return the cookie's value for *token*; *now* in Unix seconds.

        renewed: the cookie of the session that goes on, empty for a new one.
        """
        self._look()
        before = self._read(renewed)
        name = secrets.token_urlsafe(12) if before is None else before.name
        told = json.dumps([token.who, _print(token), int(now + LASTS), name]).encode()
        return f"{_text(told)}.{_text(self._sign(told))}"

    def find(self, cookie: str, tokens: Iterable[Token], now: float) -> Token | None:
        """Return the token that *cookie* stands for, None where it is none of ours or has ended."""
        self._look()
        told = self._read(cookie)
        if told is None or now >= told.ends or told.name in self._ended:
            return None
        for token in tokens:
            if token.who == told.who and _print(token) == told.seen:
                return token
        return None

    def ends(self, cookie: str) -> float:
        """Return when *cookie*, which `find` has accepted, ends (Unix seconds)."""
        told = self._read(cookie)
        return 0.0 if told is None else told.ends

    def end(self, cookie: str, now: float) -> None:
        """End the session of *cookie*, which `find` has accepted: no copy of it counts any more.

        Where that can't be written down, it is told, and counts for as long as this process lives.
        """
        told = self._read(cookie)
        if told is None:
            return
        # It may have been renewed since: no cookie of this session lasts longer than this.
        self._ended[told.name] = now + LASTS
        self._ended = {name: until for name, until in self._ended.items() if until > now}
        self._write()

    def _read(self, cookie: str) -> _Told | None:
        """Return what a cookie of ours says, None where it isn't ours."""
        told, _, signature = cookie[:_MOST].partition(".")
        try:
            raw = _bytes(told)
            if not hmac.compare_digest(self._sign(raw), _bytes(signature)):
                return None
            who, seen, ends, name = json.loads(raw)
        except ValueError:
            return None
        return _Told(who, seen, ends, name)

    def _sign(self, told: bytes) -> bytes:
        return hmac.digest(self._key, told, "sha256")

    # The file: {"key": HEX, "ended": {NAME: UNTIL}}.

    def _look(self) -> None:
        """Read the file anew where another process has written it; make one where there is none."""
        if self._file is None:
            return
        try:
            now = self._file.stat()
            stat = (now.st_mtime_ns, now.st_size, now.st_ino)
            if stat == self._stat:
                return
            told = json.loads(self._file.read_bytes())
            key = bytes.fromhex(told["key"])
            ended = {str(name): float(until) for name, until in told["ended"].items()}
            if len(key) != _KEY:
                raise ValueError("the key is cut short")
        except FileNotFoundError:
            if not self._unwritable:
                self._write()
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            binascii.Error,
        ) as problem:
            # Better nobody is signed in than somebody who has signed out.
            announce("sessions.unreadable", level=logging.ERROR, file=str(self._file),
                     error=str(problem), lost="all sessions")  # fmt: skip
            self._key, self._ended = secrets.token_bytes(_KEY), {}
            self._write()
        else:
            self._key, self._ended, self._stat = key, ended | self._ended, stat

    def _write(self) -> None:
        if self._file is None:
            return
        told = {"key": self._key.hex(), "ended": self._ended}
        try:
            replace_file(self._file, json.dumps(told).encode())
            now = self._file.stat()
        except OSError as problem:
            self._unwritable = True
            announce("sessions.unwritable", level=logging.ERROR, file=str(self._file),
                     error=problem.strerror or str(problem),
                     lost="who has signed out, at the next start")  # fmt: skip
            return
        self._stat, self._unwritable = (now.st_mtime_ns, now.st_size, now.st_ino), False


def _print(token: Token) -> str:
    """Return what tells this token from another of the same name, and its rights from others."""
    rights = f"{token.role}:{','.join(sorted(token.owners))}"
    return sha256(token.digest + rights.encode()).hexdigest()[:16]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
