# SPDX-License-Identifier: Apache-2.0
"""`memory` as a store: for a shared or archive tier of a site with one worker, and for tests.

It is `Memory` behind the interface that the others have. Nothing is shared with other processes,
so a purge reaches it only through the process that makes it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from strangler.cache.tiers.memory import Memory, footprint
from strangler.cache.tiers.purges import MOST, PER_SECOND, Mark, Marks
from strangler.cache.tiers.store import VARIANTS, Log, Rows, Seen, short

_Row = tuple[bytes, bytes, float]


class MemoryStore:
    """A store of *size* bytes in this process."""

    kind = "memory"
    slice_size = 256 << 10

    def __init__(self, size: int, *, most: int = MOST) -> None:
        self._size = size
        self._most = most
        self._memory: Memory[_Row] = Memory(size)
        self._marks = Marks(most)
        self._leases: dict[bytes, tuple[bytes, float]] = {}

    async def open(self) -> None:
        if not self._marks.seq:
            self._marks.seq = self._marks.floor = int(time.time() * PER_SECOND)

    async def close(self) -> None:
        pass

    async def read(self, key: bytes) -> Rows:
        now = time.time()
        rows = self._memory.get(b"o" + short(key))
        return Rows(self._marks.seq, [(v, data) for v, data, until in rows if until > now])

    async def write(self, key: bytes, variant: bytes, envelope: bytes, ttl: float) -> None:
        variant = short(variant)
        self._put(b"o" + short(key), (variant, envelope, time.time() + ttl))

    async def remove(self, key: bytes, rows: Sequence[tuple[bytes, bytes]]) -> None:
        name = b"o" + short(key)
        gone = {short(variant): start for variant, start in rows}
        kept = [
            row
            for row in self._memory.get(name)
            if row[0] not in gone or not row[1].startswith(gone[row[0]])
        ]
        self._memory.delete(name)
        for row in kept:
            self._put(name, row)

    async def write_slice(self, blob: int, number: int, data: bytes, ttl: float) -> None:
        self._put(b"b%d:%d" % (blob, number), (b"", data, time.time() + ttl))

    async def read_slice(self, blob: int, number: int) -> bytes | None:
        rows = self._memory.get(b"b%d:%d" % (blob, number))
        return rows[0][1] if rows and rows[0][2] > time.time() else None

    async def remove_slices(self, blob: int, slices: int) -> None:
        for number in range(slices):
            self._memory.delete(b"b%d:%d" % (blob, number))

    async def last(self) -> int:
        return self._marks.seq

    async def log(self, after: int) -> Log:
        return Log(self._marks.seq, self._marks.floor, self._marks.after(after))

    async def purge(self, labels: Sequence[bytes], soft: bool) -> int:
        seq = max(int(time.time() * PER_SECOND), self._marks.seq + 1)
        for label in labels:
            self._marks.add(label, seq, soft)
        return seq

    async def restore(self, marks: Sequence[Mark], seq: int) -> None:
        self._marks.follow(seq, 0, marks)

    async def take(
        self, key: bytes, token: bytes, seconds: float, seen: Seen | None
    ) -> bool | None:
        now = time.monotonic()
        if key in self._leases and self._leases[key][1] > now:
            return None
        self._leases[key] = token, now + seconds
        rows = (await self.read(key)).rows
        if seen is None:
            return bool(rows)
        variant, start = short(seen.variant), seen.start
        return not any(one == variant and data.startswith(start) for one, data in rows)

    async def give(self, key: bytes, token: bytes) -> None:
        if key in self._leases and self._leases[key][0] == token:
            del self._leases[key]

    async def taken(self, key: bytes) -> bool:
        return key in self._leases and self._leases[key][1] > time.monotonic()

    async def upkeep(self) -> None:
        now = time.monotonic()
        for key in [key for key, (_, until) in self._leases.items() if until <= now]:
            del self._leases[key]

    def _put(self, name: bytes, row: _Row) -> None:
        rows = [one for one in self._memory.get(name) if one[0] != row[0]][1 - VARIANTS :]
        size = footprint(row[0], row[1]) + 120
        self._memory.put(
            name, row, size, moment=self._memory.moment, replaces=lambda one: one not in rows
        )
