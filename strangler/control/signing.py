# SPDX-License-Identifier: Apache-2.0
"""The site's signing key: what it has signed itself, it knows again, on every worker and machine.

It lies in ``signing.key`` in the state folder, readable by its owner alone, written at the first
start. The edges of a fleet have to be given the same one, by STRANGLER_SIGNING_KEY.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import Final

from strangler.control.state import State
from strangler.observe.events import announce

FILE: Final = "signing.key"
#: The fewest characters of a key.
SHORTEST: Final = 32


def signing_key(state: State, environment: Mapping[str, str]) -> bytes:
    """Return the site's key, writing its file where there is none.

    Where the file can't be written the key lasts until the site stops. Raises ValueError for a
    STRANGLER_SIGNING_KEY that is too short.
    """
    given = environment.get("STRANGLER_SIGNING_KEY", "").strip()
    if given:
        if len(given) < SHORTEST:
            raise ValueError(f"STRANGLER_SIGNING_KEY: expected at least {SHORTEST} characters")
        return given.encode()
    path = state.folder / FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        told = path.read_text(encoding="ascii").strip()
        if len(told) >= SHORTEST:
            return told.encode()
    made = secrets.token_urlsafe(48)
    try:
        state.write(FILE, f"{made}\n".encode())  # made by mkstemp: 0600 from its first byte
    except OSError as problem:
        announce(
            "signing_key.unwritable",
            level=logging.WARNING,
            file=str(path),
            error=problem.strerror or str(problem),
            lost="what was signed, at the next start",
        )
    return made.encode()


def derived(key: bytes, purpose: str) -> bytes:
    """Return the key for one *purpose*, so that nothing signed for one can serve another."""
    return hmac.digest(key, purpose.encode(), "sha256")
