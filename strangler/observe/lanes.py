# SPDX-License-Identifier: Apache-2.0
"""Counts in memory that workers share with whoever adds them up.

A *lane* is a memory file that one worker at a time counts in. The supervisor makes the lanes and
hands them to every child, so a count is there for others the moment it is made, and it stays when
its worker dies: the next one that takes the lane goes on from it. So the sums over all lanes only
ever rise, whatever happens to workers and to the control process, and nothing has to be sent.

A lane is a list of rows of one size: a small head with the row's name, then the numbers. Each
number is written by one process in one aligned store, so a reader never sees half of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from strangler.observe.counters import FAMILIES, LAYOUT
from strangler.observe.events import announce

MOST_ROWS: Final = 20_000
"""Rows of one lane; what comes after them is counted in a row without names."""
_NAME: Final = 512
"""Bytes for a row's name; the longest route key that is told whole has about that many."""
_HEAD: Final = 16 + _NAME
_STRIDE: Final = _HEAD + 8 * LAYOUT.width
_ROWS: Final = 64
_CHUNK: Final = -(-_ROWS * _STRIDE // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
"""Bytes that a lane grows by, `_ROWS` rows."""
_USED: Final = 1
_FAMILIES: Final = tuple(FAMILIES)
_OTHERS: Final = "(others)"

Numbers = memoryview
"""A row's numbers: a view of unsigned 64-bit integers."""


class Name(NamedTuple):
    """Which row it is: its family and the values of that family's labels."""

    family: str
    labels: tuple[str, ...]


def create() -> int:
    """Return the descriptor of a new, empty lane. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("strangler-counts", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class _Mapped:
    """A lane's bytes, chunk by chunk."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.chunks: list[memoryview] = []

    def follow(self) -> None:
        """Map what has been added to the file."""
        size = os.fstat(self.fd).st_size
        while (len(self.chunks) + 1) * _CHUNK <= size:
            self._map()

    def grow(self) -> None:
        """Add a chunk. Raises OSError."""
        offset = len(self.chunks) * _CHUNK
        if not hasattr(os, "memfd_create"):  # a hole in a file on a full disk would kill us
            os.posix_fallocate(self.fd, offset, _CHUNK)
        os.ftruncate(self.fd, offset + _CHUNK)
        self._map()

    def _map(self) -> None:
        offset = len(self.chunks) * _CHUNK
        self.chunks.append(memoryview(mmap.mmap(self.fd, _CHUNK, offset=offset)))

    def __len__(self) -> int:
        return len(self.chunks) * _ROWS

    def row(self, index: int) -> memoryview:
        chunk, place = divmod(index, _ROWS)
        return self.chunks[chunk][place * _STRIDE : (place + 1) * _STRIDE]


def _name_of(row: memoryview) -> Name | None:
    """Return the name in a row; None where it is not in use yet."""
    if row[0] != _USED:
        return None
    length = int.from_bytes(row[2:4], "little")
    labels = bytes(row[16 : 16 + length]).decode("utf-8", "replace").split("\0")
    family = _FAMILIES[row[1]]
    return Name(family, tuple(labels) if FAMILIES[family] else ())


def shortened(label: str) -> str:
    """Return a label as rows can hold it: a very long one loses its middle."""
    return label if len(label.encode()) <= _NAME - 16 else f"{label[:120]}…{label[-60:]}"


class Lane:
    """One worker's counts, in a memory file that is this process's alone until it ends."""

    def __init__(self, fd: int | None = None) -> None:
        """Go on counting in the lane *fd*; None: in memory that nobody else can see."""
        self._shared = _Mapped(fd if fd is not None else create())
        self._rows: dict[Name, Numbers] = {}
        self._used = 0
        self._full = False
        self._shared.follow()
        for index in range(len(self._shared)):
            row = self._shared.row(index)
            name = _name_of(row)
            if name is None:
                break
            self._used = index + 1
            numbers = row[_HEAD:].cast("Q")
            for place in LAYOUT.gauges[name.family]:
                numbers[place] = 0  # a dead worker has nothing under way
            self._rows[name] = numbers

    @classmethod
    def take(cls, fds: Sequence[int]) -> Lane:
        """Take the first lane that no living process has; without one, a private lane, loudly."""
        for fd in fds:
            with contextlib.suppress(OSError):
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(fd)
        if fds:
            announce("counts.lost", level=logging.WARNING, reason="every lane is taken")
        return cls()

    def row(self, family: str, *labels: str) -> Numbers:
        """Return the numbers of a row, making it if need be; the same view every time."""
        name = Name(family, tuple([shortened(label) for label in labels]))
        numbers = self._rows.get(name)
        if numbers is None:
            if self._used >= MOST_ROWS:
                self._tell(f"more than {MOST_ROWS} rows")
                name = Name(family, tuple([_OTHERS for _ in labels]))
            numbers = self._rows.get(name) or self._new(name)
            self._rows[name] = numbers
        return numbers

    def _new(self, name: Name) -> Numbers:
        try:
            if self._used >= len(self._shared):
                self._shared.grow()
        except OSError as problem:
            self._tell(problem.strerror or str(problem))
            return memoryview(array("Q", bytes(8 * LAYOUT.width)))
        row = self._shared.row(self._used)
        self._used += 1
        text = "\0".join(name.labels).encode()[:_NAME]
        row[16 : 16 + len(text)] = text
        row[2:4] = len(text).to_bytes(2, "little")
        row[1] = _FAMILIES.index(name.family)
        row[0] = _USED
        return row[_HEAD:].cast("Q")

    def _tell(self, reason: str) -> None:
        if not self._full:
            self._full = True
            announce("counts.lost", level=logging.WARNING, reason=reason)


class Reader:
    """The rows of all lanes, and what has been added to them since the last look."""

    def __init__(self, fds: Sequence[int]) -> None:
        """Read the lanes *fds*; nothing is read before `changes`."""
        self._lanes = [_Mapped(fd) for fd in fds]
        self._names: list[list[Name]] = [[] for _ in fds]
        self._last: list[list[bytes]] = [[] for _ in fds]

    def changes(self) -> Iterator[tuple[Name, dict[int, int]]]:
        """Yield each row that changed in a lane, with what was added at which place.

        A gauge's change may be negative. Cost: about 1 us a row, more for those that changed.
        """
        for lane, names, last in zip(self._lanes, self._names, self._last, strict=True):
            lane.follow()
            for index in range(len(lane)):
                row = lane.row(index)
                if index == len(names):
                    name = _name_of(row)
                    if name is None:
                        break
                    names.append(name)
                    last.append(bytes(8 * LAYOUT.width))
                found = row[_HEAD:].tobytes()
                if found == last[index]:
                    continue
                was, now = array("Q", last[index]), array("Q", found)
                last[index] = found
                added = {place: now[place] - was[place] for place in _unlike(was, now)}
                yield names[index], added


def _unlike(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
