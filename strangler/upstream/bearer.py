# SPDX-License-Identifier: Apache-2.0
"""What an attempt at a protected upstream asks for its token; `oauth2` gives them."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from strangler.config import snapshot as config
from strangler.errors import AttemptFailed

_events = logging.getLogger("strangler.events")

_MISSING: Final = "tornado-alf is not installed: pip install 'strangler[oauth2]'"


class Bearer(Protocol):
    """Gives tokens (RFC 6750)."""

    def at_hand(self) -> str | None:
        """Return a token that is good now, or None: it has to be waited for."""

    async def bearer(self) -> str:
        """Return a token; raises AttemptFailed where there is none to be had."""

    def drop(self, token: str) -> None:
        """Learn that *token* was refused."""


class Unsupported:
    """Has no tokens, since what gets them isn't installed."""

    def __init__(self, name: str) -> None:
        self._name = name
        _events.error("token.unsupported", extra={"fields": {"upstream": name, "why": _MISSING}})

    def at_hand(self) -> str | None:
        """Return None."""
        return None

    async def bearer(self) -> str:
        """Raise AttemptFailed."""
        detail = f"{self._name}: {_MISSING}"
        raise AttemptFailed("token_unavailable", detail, sent=False, word="connect")

    def drop(self, token: str) -> None:
        """Have nothing to drop."""


def bearer_of(definition: config.Upstream) -> Bearer | None:
    """Return what gives tokens for the upstream, None where it needs none."""
    if definition.oauth2 is None:
        return None
    try:
        from strangler.upstream.oauth2 import Tokens
    except ImportError:
        return Unsupported(definition.name)
    return Tokens.of(definition.oauth2, definition.name)
