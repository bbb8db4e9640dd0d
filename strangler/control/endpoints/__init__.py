# SPDX-License-Identifier: Apache-2.0
"""The rows of the admin API, by what they are about; a new module adds its `ROWS` here."""

from __future__ import annotations

from typing import Final

from strangler.control.endpoint import Endpoint
from strangler.control.endpoints import (
    audit,
    cache,
    console,
    numbers,
    overrides,
    parity,
    rollout,
    session,
    site,
    tokens,
    watching,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *site.ROWS,
    *console.ROWS,
    *cache.ROWS,
    *overrides.ROWS,
    *audit.ROWS,
    *parity.ROWS,
    *rollout.ROWS,
    *session.ROWS,
    *tokens.ROWS,
    *numbers.ROWS,
    *watching.ROWS,
)
