# SPDX-License-Identifier: Apache-2.0
"""A tier's own small breaker: leave a store alone that fails, ask it now and then.

Three failures close together take it down; a success makes up for a tenth of one, so a store
that fails every fourth time goes down as well. Holds grow twofold from half a second to thirty
seconds, with jitter over their upper half. What asks after a hold is never a reader's request:
the tier's follower asks for reads, a write that nobody waits for asks for writes.
"""

from __future__ import annotations

from typing import Final

FAILURES: Final = 3.0
FORGIVEN: Final = 0.1
SHORTEST: Final = 0.5
LONGEST: Final = 30.0


class Health:
    """up: requests may use the store · until: when a down one may be asked again."""

    __slots__ = ("_holds", "_score", "reason", "until", "up")

    def __init__(self) -> None:
        self.up = True
        self.until = 0.0
        self.reason: str | None = None
        self._score = 0.0
        self._holds = 0

    def may_ask(self, now: float) -> bool:
        """Tell whether a caller whom nobody waits for may use the store."""
        return self.up or now >= self.until

    def succeeded(self) -> bool:
        """Count a success; tell whether the store is up again by it."""
        if self._score > 0.0:
            self._score = max(0.0, self._score - FORGIVEN)
        elif self._holds and self.up:
            self._holds = 0
        if self.up:
            return False
        self.up = True
        self.reason = None
        self._score = FAILURES - 1.0  # on probation: the next failure is one too many
        return True

    def failed(self, reason: str, now: float, chance: float, *, hard: bool = False) -> bool:
        """Count a failure; tell whether the store is down by it. hard: one is enough.

        chance: a random number, 0 <= chance < 1, for the jitter.
        """
        self.reason = reason
        was_up = self.up
        self._score += FAILURES if hard else 1.0
        if was_up and self._score < FAILURES:
            return False
        self.up = False
        hold = min(LONGEST, SHORTEST * 2.0 ** min(self._holds, 16))
        self._holds += 1
        self.until = now + hold * (0.5 + 0.5 * chance)
        return was_up
