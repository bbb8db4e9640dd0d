# SPDX-License-Identifier: Apache-2.0
"""The debug token: who shows it is told with each response who answered, why, and how long it took.

    Strangler-Debug: 692aff80.Zk3dX0c5mJ2mR9o4T6bq8A

The second at which it ends, in hex, and a signature. A field or a cookie carries it; what isn't
signed by this site, or has ended, is as if it weren't there.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from typing import Final

FIELD: Final = b"strangler-debug"
COOKIE: Final = b"strangler_debug"
LONGEST: Final = 86_400
"""The longest that one may last, in seconds."""
_BYTES: Final = 16


def key_of(key: bytes) -> bytes:
    """Return the key for debug tokens, of another key of the site's; empty stays empty."""
    return hmac.digest(key, b"debug", "sha256") if key else b""


def mint(key: bytes, ends: float) -> str:
    """Return a token that lasts until *ends*, in Unix seconds."""
    start = f"{int(ends):x}"
    return f"{start}.{_signature(key, start.encode()).decode()}"


def believed(key: bytes, token: bytes, now: float) -> bool:
    """Tell whether *token* was signed with *key* and still lasts."""
    start, _, signature = token.partition(b".")
    if not key or not token.isascii() or not hmac.compare_digest(_signature(key, start), signature):
        return False
    return int(start, 16) > now


def _signature(key: bytes, start: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(key, start, "sha256")[:_BYTES]).rstrip(b"=")
