# SPDX-License-Identifier: Apache-2.0
"""The other workers of this machine, who hear at once of a purge that a reader has waited for.

They follow the stores' logs as other machines do, a look every `follower.POLL` seconds. Whoever
has just changed a page may well be served by another worker next: these are told by way of the
control process, and their word is waited for.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from strangler.cache.tiers.purges import Purge

#: Seconds that their word is waited for at the most; then the stores' logs will have to do.
PATIENCE: Final = 0.5


class Neighbours:
    """They are told by *send*, which sends a message to the control process.

    ``count`` is how many there are, 0 while the control process is silent.
    """

    def __init__(self, send: Callable[[dict[str, Any]], bool]) -> None:
        self.count = 0
        self._send = send
        # What a dead worker asked may still be answered to its successor: it must not fit.
        self._last = secrets.randbits(48)
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def tell(self, purge: Purge, known: Mapping[str, int]) -> None:
        """Return when all have taken *purge*, or `PATIENCE` is over.

        known: by tier, the number up to which its log is to be followed for that.
        """
        if not self.count:
            return
        self._last += 1
        number = self._last
        told = {
            "kind": "purged", "number": number, "soft": purge.soft, "known": dict(known),
            "labels": [label.decode("latin-1") for label in purge.labels],
        }  # fmt: skip
        heeded = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            with suppress(ValueError):  # longer than a message takes
                if self._send(told):
                    async with asyncio.timeout(PATIENCE):
                        await heeded
        except TimeoutError:
            self.count = 0
        finally:
            del self._waiting[number]

    def heeded(self, number: int) -> None:
        """Learn that all have taken the purge with this *number*."""
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
