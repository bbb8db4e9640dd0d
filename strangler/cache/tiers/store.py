# SPDX-License-Identifier: Apache-2.0
"""What a store has to offer for a tier to be built on it: bytes in, bytes out.

A store knows nothing of HTTP. It keeps *envelopes* by key and variant, *slices* of large bodies by
number, a numbered log of purges (`purges` says how that is used), and leases. Deadlines, breaking,
judging and decoding are the tier's. Every method raises whatever its driver does; the tier turns
that into a rung less.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from strangler.cache.tiers.purges import Mark

#: Variants of one key that a store keeps. Whoever makes up a new Vary value each time gets misses.
VARIANTS: Final = 32
#: Bytes that tell an envelope from any other of its key and variant.
START: Final = 48
#: Bytes of a key or variant that stand in a store as they are; longer ones are digested.
_LONGEST: Final = 200


class StoreFailed(Exception):
    """A store can't do what it was asked for; `hard`: nor will it do the next thing.

    reason: a few lower-case words for the log, the same for the same fault.
    """

    def __init__(self, reason: str, *, hard: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hard = hard


class ExtraMissing(StoreFailed):
    """A driver isn't installed."""

    def __init__(self, extra: str, module: str) -> None:
        message = f"{module} is not installed: pip install 'strangler[{extra}]'"
        super().__init__(message, hard=True)


class Rows(NamedTuple):
    """What a key has: the number of the log's last purge, read not before the rows were."""

    seq: int
    rows: Sequence[tuple[bytes, bytes]]


class Seen(NamedTuple):
    """A variant of a key as it was read; start: the first `START` bytes of its envelope."""

    variant: bytes
    start: bytes


class Log(NamedTuple):
    """The end of a log of purges: its last number, its floor, the marks asked for, in order."""

    seq: int
    floor: int
    marks: Sequence[Mark]


class Store(Protocol):
    """A place for bytes that processes share. Seconds are relative; instants don't leave it."""

    #: The word in events and figures: `redis`, `sqlite`, …
    kind: str
    #: Bytes of body kept in the envelope; a larger one goes into slices of this size.
    slice_size: int

    async def open(self) -> None:
        """Begin to use it; may return before it is reachable."""

    async def close(self) -> None:
        """Let go of everything."""

    async def read(self, key: bytes) -> Rows:
        """Return the envelopes of *key* by variant, and the log's last number."""

    async def write(self, key: bytes, variant: bytes, envelope: bytes, ttl: float) -> None:
        """Keep *envelope* for *ttl* seconds at most."""

    async def remove(self, key: bytes, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Delete these variants of *key* if their envelopes begin with these bytes still.

        Something new may have come in their place since they were judged. No bytes: whatever it is.
        """

    async def write_slice(self, blob: int, number: int, data: bytes, ttl: float) -> None:
        """Keep a slice of a body for *ttl* seconds at most."""

    async def read_slice(self, blob: int, number: int) -> bytes | None:
        """Return a slice, None where it is gone."""

    async def remove_slices(self, blob: int, slices: int) -> None:
        """Delete the first *slices* slices of *blob*."""

    async def last(self) -> int:
        """Return the number of the last purge, making a log where there is none."""

    async def log(self, after: int) -> Log:
        """Return the log's marks with numbers above *after*, making a log where there is none."""

    async def purge(self, labels: Sequence[bytes], soft: bool) -> int:
        """Write a purge into the log and return its number; it outlives a crash of the store.

        0 where all that was kept has been thrown away instead.
        """

    async def restore(self, marks: Sequence[Mark], seq: int) -> None:
        """Write into the log what it has lost, and raise its last number to *seq*."""

    async def take(
        self, key: bytes, token: bytes, seconds: float, seen: Seen | None
    ) -> bool | None:
        """Lease *key* for *seconds*; None where somebody else has it.

        Else whether another look is worth while, where that is to be had for nothing: what has been
        *seen* is no longer there as it was, or, where that was nothing, something is kept of *key*.
        """

    async def give(self, key: bytes, token: bytes) -> None:
        """End the lease of *key* if it is still *token*'s."""

    async def taken(self, key: bytes) -> bool:
        """Tell whether somebody has *key*'s lease."""

    async def upkeep(self) -> None:
        """Do what has to be done every few seconds: reap, evict."""


@runtime_checkable
class Timed(Protocol):
    """A store that knows how long it really took, however late the loop hears of its answers."""

    def stalled(self, seconds: float) -> bool:
        """Tell whether reads have lately kept the store itself for *seconds* or longer."""


@runtime_checkable
class Prompt(Protocol):
    """A store that can keep a time limit by itself, and counts only its own time.

    So nobody has to watch over a reading, and no task has to wait for it: `ask`, then `rows`.
    """

    def limit(self, seconds: float) -> bool:
        """Raise TimeoutError from now on where `read`, `last`, `take` or `taken` take longer.

        False: it can't, whoever asks has to watch the clock, and `ask` is not for them.
        """

    def ask(self, key: bytes) -> asyncio.Future[list[Any]]:
        """Begin to read *key*, within the limit; raises where that can't even begin."""

    def rows(self, answer: list[Any]) -> Rows | None:
        """Return what the *answer* to `ask` holds; None where only `read` can find that out."""


def short(text: bytes) -> bytes:
    """Return *text*, or its digest where it is long; records say themselves whose they are."""
    if len(text) <= _LONGEST:
        return text
    return b"#" + hashlib.blake2b(text, digest_size=24).hexdigest().encode()
