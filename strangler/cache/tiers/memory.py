# SPDX-License-Identifier: Apache-2.0
"""The edge tier: what one worker holds in its own memory, as ready values, within a byte budget.

Eviction is S3-FIFO (Yang et al., SOSP 2023). What is new waits in a small queue, a tenth of the
budget; what nobody asks for again while it is there leaves, and only what was asked for goes on
to the main queue. A crawler that walks through the whole archive of a news site once therefore
passes through the tenth and leaves the pages that readers want alone, which LRU would throw out.
A hit only counts up a number in its entry, so it costs less than LRU's move to the front; each
step of an eviction is a popleft. Keys that left the small queue are remembered for a while by
their hashes, in a table of fixed size: one that comes back goes to the main queue at once.

Nobody waits here and nothing is looked up elsewhere: a purge is taken in by `purge`, called by
whoever follows the purges of the tiers below, and judged once for each entry, when it is next
asked for. The budget counts what the process really spends, as measured in docs/tiers.md: values
by their callers' reckoning (`footprint`), entries and tables by ours.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from strangler.cache.stored import Stored
from strangler.cache.tiers.purges import Marks, Purge
from strangler.cache.tiers.waste import Waste

Value = TypeVar("Value")

#: Variants of one key; the oldest leaves when one more comes.
VARIANTS: Final = 32
#: The small queue's share of the budget.
SMALL: Final = 0.1
#: The largest value, as a share of the budget.
LARGEST: Final = 0.25
#: The share of the size after which the process's own memory is looked at again.
_LOOK: Final = 1 / 64

_IN_SMALL, _IN_MAIN, _GONE = 0, 1, 2


class _Entry(Generic[Value]):
    """All variants of one key: they live, are evicted and are purged together."""

    __slots__ = ("count", "key", "moment", "place", "route", "size", "sizes", "tags", "values")

    def __init__(self, key: bytes, place: int) -> None:
        self.key = key
        self.values: tuple[Value, ...] = ()
        self.sizes: tuple[int, ...] = ()
        self.size = 0
        self.tags: tuple[bytes, ...] = ()
        self.route = b""
        self.moment = 0  # no purge up to this number has hit it
        self.count = 0  # how often it was asked for, up to 3
        self.place = place


class Memory(Generic[Value]):
    """Values by key, `size` bytes of them at the most.

    A value is whatever the caller wants back for a variant, with its prebuilt response in it.
    """

    def __init__(
        self,
        size: int,
        soften: Callable[[Value], Value | None] | None = None,
        waste: Waste | None = None,
    ) -> None:
        """Hold up to *size* bytes.

        soften: returns a value as stale, None to drop it; without it soft purges are hard ones
        here, and the stale copy is the next tier's · waste: what the allocators keep counts too.
        """
        self.size = size
        self._waste = waste
        self._allowed = size
        self._unlooked = 0
        self.marks = Marks()
        self._soften = soften
        self._entries: dict[bytes, _Entry[Value]] = {}
        self._queues: tuple[deque[_Entry[Value]], deque[_Entry[Value]]] = (deque(), deque())
        self._bytes = [0, 0]
        self._gone = 0
        slots = 1 << max(10, (size // 8192).bit_length())
        self._ghosts = array("q", bytes(8 * slots))
        self._mask = slots - 1

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def used(self) -> int:
        """Bytes spent, tables included."""
        small, main = self._queues
        tables = self._entries.__sizeof__() + small.__sizeof__() + main.__sizeof__()
        return self._bytes[0] + self._bytes[1] + tables + 8 * len(self._ghosts)

    @property
    def moment(self) -> int:
        """What `put` is to be given; taken before the source of what is put is asked."""
        return self.marks.seq

    def get(self, key: bytes) -> tuple[Value, ...]:
        """Return the values of *key*'s variants, the newest last. Cost: < 0.2 us."""
        entry = self._entries.get(key)
        if entry is None or (entry.moment != self.marks.seq and not self._judge(entry)):
            return ()
        if entry.count < 3:
            entry.count += 1
        return entry.values

    def put(
        self,
        key: bytes,
        value: Value,
        size: int,
        *,
        moment: int,
        replaces: Callable[[Value], bool] | None = None,
        tags: Sequence[bytes] = (),
        route: bytes = b"",
    ) -> bool:
        """Hold *value*, of *size* bytes (`footprint`); tell whether it is held.

        replaces: tells which of the key's values it takes the place of; all, where absent ·
        moment: `Memory.moment` before its source was asked · tags, route: what it is purged by.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.moment != self.marks.seq and not self._judge(entry):
            entry = None
        if self.marks.verdict(key, tags, route, moment) != (False, 0):
            return False
        kept = []
        if entry is not None and replaces is not None:
            pairs = zip(entry.values, entry.sizes, strict=True)
            kept = [pair for pair in pairs if not replaces(pair[0])][1 - VARIANTS :]
        if size > self.size * LARGEST:
            if entry is not None:
                self._drop(entry)
            return False
        if entry is None:
            entry = self._new(key)
        entry.values = (*[one for one, _ in kept], value)
        entry.sizes = (*[each for _, each in kept], size)
        entry.tags = tuple(dict.fromkeys((*entry.tags, *tags))) if kept else tuple(tags)
        entry.route = route
        entry.moment = self.marks.seq
        self._weigh(entry)
        self._unlooked += size
        if self._waste is not None and self._unlooked > self.size * _LOOK:
            self._unlooked = 0
            self._allowed = self.size - self._waste.measure(self.used, len(self._entries))
        while self.used > self._allowed and self._entries:
            self._evict()
        return entry.place != _GONE

    def delete(self, key: bytes) -> None:
        """Drop all variants of *key*."""
        entry = self._entries.get(key)
        if entry is not None:
            self._drop(entry)

    def purge(self, purge: Purge) -> None:
        """Take a purge in. What it hits is never returned again. Cost: < 2 us a label."""
        seq = self.marks.seq + 1
        for label in purge.labels:
            self.marks.add(label, seq, purge.soft)

    def clear(self) -> None:
        """Drop everything at once and give the memory back."""
        self.purge(Purge.everything())
        self._entries.clear()
        for queue in self._queues:
            queue.clear()
        self._bytes = [0, 0]
        self._gone = 0

    # Inside.

    def _judge(self, entry: _Entry[Value]) -> bool:
        """Tell whether *entry* may be used still; its time of judgement is now."""
        verdict = self.marks.verdict(entry.key, entry.tags, entry.route, entry.moment)
        if verdict.hard or (verdict.soft and self._soften is None):
            self._drop(entry)
            return False
        entry.moment = self.marks.seq
        if verdict.soft and self._soften is not None:
            pairs = list(zip(map(self._soften, entry.values), entry.sizes, strict=True))
            entry.values = tuple([value for value, _ in pairs if value is not None])
            entry.sizes = tuple([size for value, size in pairs if value is not None])
            if not entry.values:
                self._drop(entry)
                return False
            self._weigh(entry)
        return True

    def _new(self, key: bytes) -> _Entry[Value]:
        mark = hash(key)
        known = self._ghosts[mark & self._mask] == mark
        place = _IN_MAIN if known else _IN_SMALL
        entry = self._entries[key] = _Entry[Value](key, place)
        self._queues[place].append(entry)
        return entry

    def _weigh(self, entry: _Entry[Value]) -> None:
        size = _ENTRY + footprint(entry.key, *entry.tags) + sum(entry.sizes)
        size += 16 * len(entry.values) + 8 * len(entry.tags)
        self._bytes[entry.place] += size - entry.size
        entry.size = size

    def _drop(self, entry: _Entry[Value]) -> None:
        """Forget *entry*; its husk stays in its queue until it comes to the front."""
        self._forget(entry)
        self._gone += 1
        if self._gone > 64 + len(self._entries) // 8:
            for queue in self._queues:
                alive = [one for one in queue if one.place != _GONE]
                queue.clear()
                queue.extend(alive)
            self._gone = 0

    def _forget(self, entry: _Entry[Value]) -> None:
        del self._entries[entry.key]
        self._bytes[entry.place] -= entry.size
        entry.place = _GONE
        entry.values = entry.sizes = entry.tags = ()

    def _evict(self) -> None:
        """Take one step towards less: evict one, or move one on."""
        small, main = self._queues
        if small and (self._bytes[_IN_SMALL] > self.size * SMALL or not main):
            entry = small.popleft()
            if entry.place == _GONE:
                self._gone -= 1
            elif entry.count > 1:
                entry.count = 0
                entry.place = _IN_MAIN
                self._bytes[_IN_SMALL] -= entry.size
                self._bytes[_IN_MAIN] += entry.size
                main.append(entry)
            else:
                mark = hash(entry.key)
                self._ghosts[mark & self._mask] = mark
                self._forget(entry)
        else:
            entry = main.popleft()
            if entry.place == _GONE:
                self._gone -= 1
            elif entry.count:
                entry.count -= 1
                main.append(entry)
            else:
                self._forget(entry)


def footprint(*values: bytes | Stored) -> int:
    """Return the bytes of memory that *values* take: buffers, or stored responses.

    What is shared with others (a status line's constant, an interned tag) counts for each: the
    budget is a promise, so this errs upwards.
    """
    total = 0
    for value in values:
        if isinstance(value, bytes):
            total += _rounded(33 + len(value))
        else:
            total += _STORED + footprint(value.key, value.head, value.route, *value.tags)
            total += footprint(value.etag or b"", value.language or b"", value.asked or b"")
            total += sum([_PAIR + footprint(n, v or b"") for n, v in value.selecting])
            total += 8 * len(value.tags)
    return total


def _rounded(size: int) -> int:
    """Return what the allocators take for *size* bytes, with what they lose between blocks."""
    if size <= 512:
        return (size + 15) // 16 * 16
    return (size + 8 + 15) // 16 * 16 + size // 16


#: An entry, its two tuples of one, the integers in them, and the gaps between all that.
_ENTRY: Final = sys.getsizeof(_Entry(b"", 0)) + 16 + 2 * (56 + 16) + 40 + 3 * 32
#: A Stored without its texts: 22 fields, six floats, two integers, two tuples, a span.
_STORED: Final = sys.getsizeof(object()) + 22 * 8 + 16 + 6 * 24 + 2 * 32 + 2 * 56 + 64
_PAIR: Final = 72
