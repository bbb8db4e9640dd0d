# SPDX-License-Identifier: Apache-2.0
"""Put a body that comes piece by piece."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from strangler.cache.stored import Stored
from strangler.cache.tiers.envelope import seal_slice
from strangler.cache.tiers.follower import PATIENCE

if TYPE_CHECKING:
    from strangler.cache.tiers.tier import Tier


class Upload:
    """A body on its way into a tier, written a slice at a time as it comes."""

    def __init__(self, tier: Tier, stay: float) -> None:
        self._tier = tier
        self._stay = stay
        self._blob = secrets.randbits(62) + 1
        self._slices = 0
        self._rest = bytearray()
        self._sound = True

    async def add(self, data: bytes) -> bool:
        """Take a piece of the body; False where the upload has failed and nothing will come of it.

        Waits while a slice is written: whoever reads from an upstream may be held up by it, or
        may go on and let this run behind, at the cost of memory.
        """
        size = self._tier.store.slice_size
        self._rest += data
        at = 0
        while self._sound and len(self._rest) - at > size:
            await self._slice(bytes(self._rest[at : at + size]))
            at += size
        del self._rest[: at if self._sound else None]
        return self._sound

    async def finish(self, stored: Stored, *, moment: int) -> bool:
        """Make it a stored response: *stored* is sealed with the length of all that was added."""
        keep = self._tier.seal
        if self._sound and not self._slices:
            return await keep(stored, bytes(self._rest), 0, 0, stay=self._stay, moment=moment)
        if self._sound and self._rest:
            await self._slice(bytes(self._rest))
        numbers = self._blob, self._slices
        if self._sound and await keep(stored, None, *numbers, stay=self._stay, moment=moment):
            return True
        await self.abandon()
        return False

    async def abandon(self) -> None:
        """Delete what has been written; what this misses runs out of its time."""
        self._sound = False
        self._rest.clear()
        if self._slices:
            blob, slices = self._blob, self._slices
            await self._tier.write(lambda: self._tier.store.remove_slices(blob, slices))

    async def _slice(self, data: bytes) -> None:
        # A slice must outlive its envelope.
        blob, number, stay = self._blob, self._slices, self._stay + PATIENCE * 2
        sealed = seal_slice(data)
        store = self._tier.store
        self._slices += 1
        self._sound = await self._tier.write(lambda: store.write_slice(blob, number, sealed, stay))
