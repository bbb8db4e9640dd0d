# SPDX-License-Identifier: Apache-2.0
"""A body too large to be held, on its way into the tiers below while its readers take it.

Pieces go to every tier in the order in which they came, a slice at a time; a tier that fails is
left out. The fetch is paused while more waits here than `MOST_WAITING`, so a slow store slows a
large download rather than filling the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from strangler.cache import store
from strangler.cache.stored import Stored
from strangler.cache.tiers.upload import Upload

#: Bytes that may wait to be written before the fetch is paused.
MOST_WAITING: Final = 4 << 20


class Spill:
    """Writes one body to *uploads* (each with the moment that its tier's put is to be given)."""

    def __init__(self, uploads: Sequence[tuple[Upload, int]], drained: Callable[[], None]) -> None:
        """Begin; *drained* is called when what waited has been written."""
        self.waiting = 0
        self._uploads = list(uploads)
        self._drained = drained
        self._pieces: list[bytes] = []
        self._news = asyncio.Event()
        self._stored: Stored | None = None
        self._over = False
        #: Ends when all has been written, or nothing is to be kept.
        self.task = asyncio.get_running_loop().create_task(self._write())

    @property
    def full(self) -> bool:
        """Tell whether the fetch should wait."""
        return self.waiting > MOST_WAITING

    def add(self, piece: bytes) -> None:
        """Take the next piece."""
        self._pieces.append(piece)
        self.waiting += len(piece)
        self._news.set()

    def end(self, planned: Stored, size: int) -> None:
        """End the body of *planned* after *size* bytes; what is not as long as said isn't kept."""
        sealed = store.ended(planned, size)
        if isinstance(sealed, Stored):
            self._stored = sealed
            self._over = True
            self._news.set()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Keep nothing: the body broke off."""
        self._over = True
        self._pieces.clear()
        self._news.set()

    async def _write(self) -> None:
        while not self._over or self._pieces:
            await self._news.wait()
            self._news.clear()
            while self._pieces:
                piece = self._pieces.pop(0)
                for upload in [one for one, _ in self._uploads]:
                    if not await upload.add(piece):
                        self._uploads = [pair for pair in self._uploads if pair[0] is not upload]
                self.waiting -= len(piece)
            self.waiting = max(0, self.waiting)
            self._drained()
        for upload, moment in self._uploads:
            if self._stored is None:
                await upload.abandon()
            else:
                await upload.finish(self._stored, moment=moment)
