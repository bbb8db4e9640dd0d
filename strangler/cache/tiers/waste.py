# SPDX-License-Identifier: Apache-2.0
"""What the allocators keep of memory that the edge tier has given back.

Python frees small objects by arenas of a megabyte, and one object that is still used keeps a whole
arena. Where traffic turns from hundreds of thousands of tiny objects to large ones, what is kept
that way comes to more than half of the tier's size: seen from outside, the process outgrows what
it was allowed. So the tier looks at what the process really holds, and counts as spent what can
only be such a remainder. What the C library keeps is given back by asking it to.
"""

from __future__ import annotations

import ctypes
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from strangler.observe.events import announce

#: Bytes of small objects that an entry may leave behind: its fields, head and key, a short body.
LEFT: Final = 2048
#: Share of the size that the process may hold beyond it before anything is done about it, and
#: the bytes of that at least: connections and code weigh something too.
TOLERANCE: Final = 0.1
LEAST: Final = 4 << 20
#: Seconds between two requests to the C library, at least and where no more has gathered since the
#: last one, and how many times the last one's own time.
PAUSE: Final = (1.0, 60.0)
RARELY: Final = 200.0
#: Bytes from which an object has pages of its own, which go back with it, and bytes at the end of
#: the heap that may stay there (mallopt(3): M_MMAP_THRESHOLD, M_TRIM_THRESHOLD).
OWN_PAGES: Final = (-3, 128 << 10)
SPARE: Final = (-1, 4 << 20)


class Waste:
    """Tells how much of a tier of *size* bytes is lost to remainders."""

    def __init__(
        self,
        size: int,
        *,
        resident: Callable[[], int] | None = None,
        trim: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with what the process holds now.

        resident: returns the bytes of memory that the process has, trim: has the C library give
        back what it can; the system's where absent.
        """
        self._size = size
        self._resident = resident or resident_bytes
        self._trim = trim or _library()
        self._clock = clock
        self._tolerance = max(LEAST, int(size * TOLERANCE))
        self._base = self._resident()
        self._peak = 0
        self._trimmed = (float("-inf"), 0.0, 0)  # when, how long it took, what was left

    def measure(self, used: int, entries: int) -> int:
        """Return the bytes that are lost, half of the size at the most. Cost: 10 us.

        used, entries: what the tier counts now. A trim on the way takes some milliseconds.
        """
        self._peak = max(self._peak, entries)
        over = self._over(used)
        if over <= 0:
            return 0
        now = self._clock()
        when, took, left = self._trimmed
        gathered = over - left > self._tolerance // 4
        if now >= when + max(PAUSE[not gathered], RARELY * took):
            self._trim()
            took = self._clock() - now
            before, over = over, self._over(used)
            self._trimmed = (now, took, max(0, over))
            announce(
                "memory.trim", level=logging.DEBUG, given_back=before - over, took_ms=took * 1e3
            )
        # Whatever else has grown in this process is not the tier's.
        possible = (self._peak - entries) * LEFT
        return max(0, min(over, possible, self._size // 2))

    def _over(self, used: int) -> int:
        resident = self._resident()
        self._base = min(self._base, resident - used)
        return resident - self._base - used - self._tolerance


def resident_bytes() -> int:
    """Return the resident memory of this process, 0 where the system doesn't tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _library() -> Callable[[], object]:
    """Settle how the C library allocates; return what has it give back what it can."""
    try:
        library = ctypes.CDLL(None)
        trim = library.malloc_trim
    except (AttributeError, OSError):  # not glibc
        return lambda: None
    # By itself it raises both with what it sees, and never lowers them again: from the first
    # large object that was freed on, large ones would lie among the small and hold their place.
    library.mallopt(*OWN_PAGES)
    library.mallopt(*SPARE)
    return lambda: trim(0)
