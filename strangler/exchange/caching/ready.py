# SPDX-License-Identifier: Apache-2.0
"""What the edge tier holds: a stored response, and the bytes that answer a request for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strangler.cache.deliver import assemble, undecided_until
from strangler.cache.freshness import stay, usable_until
from strangler.cache.policy import CachePolicy
from strangler.cache.status_field import of_hit
from strangler.cache.stored import Stored
from strangler.cache.tiers.memory import footprint

if TYPE_CHECKING:
    from strangler.exchange.counting import Arm


class Ready:
    """A stored response in the edge tier, with the bytes that answer a plain GET of it.

    ``until``: the instant up to which `wire` answers without a decision · ``entered``: when it
    came into this tier · ``body_at``: where in `wire` the body begins; it is held only there ·
    ``arm``, ``hits``: who has had how many hits of it that are still to be added up.
    """

    __slots__ = (
        "arm", "body_at", "entered", "hits", "name", "second", "stay", "stored", "until", "wire",
    )  # fmt: skip

    def __init__(
        self, stored: Stored, body: bytes, policy: CachePolicy, *, entered: float, name: str
    ) -> None:
        self.stored = stored
        self.entered = entered
        self.name = name
        self.stay = stay(policy, "edge", stored.status)
        self.until = undecided_until(stored, policy, "edge", entered=entered)
        self.wire = body
        self.body_at = 0
        self.second = -1
        self.arm: Arm | None = None
        self.hits = 0

    @property
    def body(self) -> bytes:
        """Return the body."""
        return self.wire[self.body_at :]

    @property
    def usable_until(self) -> float:
        """Return the instant at which its stay here, or its freshness, ends."""
        return usable_until(self.stored.fresh_until, entered=self.entered, stay=self.stay)

    @property
    def weight(self) -> int:
        """Return the bytes of memory that this takes, its prebuilt head included."""
        return 160 + footprint(self.stored) + len(self.wire) + len(self.stored.head) + 120

    def renew(self, now: float) -> None:
        """Write Age and Cache-Status anew; both count whole seconds, so once a second will do."""
        self.second = int(now)
        status = of_hit(self.name, self.until - now, "edge")
        head = assemble(
            self.stored.head,
            self.stored.age(now),
            extra=b"Cache-Status: %b\r\n" % status,
        )
        self.wire = head + self.wire[self.body_at :]
        self.body_at = len(head)
