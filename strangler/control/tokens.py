# SPDX-License-Identifier: Apache-2.0
"""Who may change something by the admin listener: tokens, and how often a wrong one may be tried.

The first start writes a token to ``admin.token`` in the state folder, readable by its owner alone;
STRANGLER_TOKEN, where the site is started with it, is another. Both are the operator's own: a
token's ``who`` is what an audit will say, its role what it may do.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import secrets
import stat
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from strangler.control.client import FILE
from strangler.control.state import State
from strangler.observe.events import announce

#: The fewest characters of a token: guessing one must be hopeless without any rate limit.
SHORTEST: Final = 16
#: Wrong tokens that one address may show, and the seconds after which it may show one more.
WRONG: Final = 10
EVERY: Final = 6.0
_MOST_ADDRESSES: Final = 1000

Role = Literal["viewer", "owner", "operator", "admin"]


@dataclass(frozen=True, slots=True)
class Token:
    """A secret, whose it is, and what it permits."""

    who: str
    role: Role
    secret: bytes = field(repr=False)


class Tokens:
    """The tokens of one site."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._tokens = tuple(tokens)
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @classmethod
    def of(cls, state: State, environment: Mapping[str, str]) -> Tokens:
        """Return the site's tokens, writing the token file where there is none.

        Raises ValueError for a STRANGLER_TOKEN that is too short.
        """
        tokens = []
        given = environment.get("STRANGLER_TOKEN", "").strip()
        if given:
            if len(given) < SHORTEST:
                raise ValueError(f"STRANGLER_TOKEN: expected at least {SHORTEST} characters")
            tokens.append(Token("STRANGLER_TOKEN", "admin", given.encode()))
        written = _from_file(state)
        if written:
            tokens.append(Token(FILE, "admin", written.encode()))
        return cls(tokens)

    def find(self, authorization: str) -> Token | None:
        """Return the token that an Authorization field names, or None.

        Takes as long for one that is nearly right as for one that isn't.
        """
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        secret = given.strip().encode()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.secret, secret):
                found = token
        return found

    def may_be_wrong(self, address: str, now: float) -> bool:
        """Count a wrong token from *address*; return False where they are too many.

        A right one is never refused: whoever floods from the same machine must not lock out
        the one who comes to put things right.
        """
        left, at = self._wrong.pop(address, (float(WRONG), now))
        left = min(float(WRONG), left + (now - at) / EVERY)
        allowed = left >= 1.0
        self._wrong[address] = (left - 1.0 if allowed else left, now)
        if len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return allowed


def _from_file(state: State) -> str:
    """Return the token in the state folder, made if it is not there; empty where it can't be."""
    path = state.folder / FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        told = path.read_text(encoding="ascii").strip()
        if len(told) >= SHORTEST:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                announce(
                    "token.readable",
                    level=logging.WARNING,
                    file=str(path),
                    mode=f"{mode:o}",
                    hint=f"chmod 600 {path}, and remove it before the next start if in doubt",
                )
            return told
    made = secrets.token_urlsafe(32)
    try:
        state.write(FILE, f"{made}\n".encode())
        os.chmod(path, 0o600)
    except OSError as problem:
        announce("token.unwritable", level=logging.ERROR, file=str(path), error=problem.strerror)
        return ""
    announce("token.written", file=str(path))
    return made
