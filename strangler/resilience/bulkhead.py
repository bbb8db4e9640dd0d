# SPDX-License-Identifier: Apache-2.0
"""A cap on concurrent attempts, with a short queue, so that one slow upstream can't take it all.

Only the counts are here: who waits, in which order and for how long, is the caller's.
"""

from __future__ import annotations

from typing import Final

#: In place of a limit where there is none.
UNLIMITED: Final = 1 << 62


class Bulkhead:
    """Places for *limit* attempts (None: no bound), and for *queue* that wait.

    `limit` may change while attempts run (`resize`): what runs goes on, nothing enters until
    there is room again.
    """

    __slots__ = ("inflight", "limit", "queue", "refused", "waiting")

    def __init__(self, limit: int | None, queue: int) -> None:
        self.limit = UNLIMITED if limit is None else limit
        self.queue = queue
        self.inflight = 0
        self.waiting = 0
        self.refused = 0

    def enter(self) -> bool:
        """Take a place; False: all are taken, or others have waited longer."""
        if self.inflight < self.limit and not self.waiting:
            self.inflight += 1
            return True
        return False

    def wait(self) -> bool:
        """Take a place in the queue; False: it is full."""
        if self.waiting < self.queue:
            self.waiting += 1
            return True
        self.refused += 1
        return False

    def give_up(self) -> None:
        """Leave the queue without a place."""
        self.waiting -= 1

    def leave(self) -> bool:
        """Give a place back; True: who has waited longest has it now."""
        if self.waiting and self.inflight <= self.limit:
            self.waiting -= 1
            return True
        self.inflight -= 1
        return False

    def resize(self, limit: int) -> int:
        """Change the limit; return how many of those that wait have a place now."""
        self.limit = limit
        entered = max(0, min(self.waiting, limit - self.inflight))
        self.waiting -= entered
        self.inflight += entered
        return entered
