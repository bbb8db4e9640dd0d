# SPDX-License-Identifier: Apache-2.0
"""A tier outside the process: a store under a deadline, with its purges followed.

Nothing here raises on a request's way: a store that is slow, gone or full costs a rung. What comes
back from a store is judged before anybody sees it: expired, purged, cut, altered or unknown
records are dropped and deleted.

A *moment* must be taken before the source of what is put is asked: before the fetch for what is
fetched, before another tier is read for what is copied from there. A put with an older moment is
safe, merely of less use; see `purges`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from strangler.cache import record
from strangler.cache.stored import Stored
from strangler.cache.tiers.envelope import Envelope, open_slice, pack, unpack
from strangler.cache.tiers.follower import PATIENCE, POLL, Follower, reason_of
from strangler.cache.tiers.purges import PER_SECOND, Purge
from strangler.cache.tiers.store import START, Rows, Seen, Store
from strangler.cache.tiers.upload import Upload
from strangler.cache.tiers.within import Within
from strangler.cache.vary import variant_key
from strangler.observe.events import announce

#: Seconds that anything is kept at the most.
LONGEST: Final = 400 * 86400.0

#: Seconds by which the clocks of a fleet may differ; what came in later than that is not believed.
AHEAD: Final = 5.0


class Copy(NamedTuple):
    """A stored response in a tier. body: None where it has to be read in slices (`Tier.body`) ·
    entered: when it came into the tier, wall time · start: what tells its envelope from another.
    """

    stored: Stored
    body: bytes | None
    entered: float
    blob: int = 0
    slices: int = 0
    start: bytes = b""


class Lease(NamedTuple):
    """The right to fetch something alone. token: for `Tier.release` · kept: another look is worth
    while, for something was kept of it by then, maybe by who had it before, or in the place of
    what its taker had seen.
    """

    token: bytes
    kept: bool


_DOWN: Final = Lease(b"", False)


class BodyLost(Exception):
    """A stored body's slice is gone or spoilt; what was sent of it can't be completed.

    ``late``: it may well be there, and its store was only down, or too slow to give it.
    """

    late = False


class Tier(Follower):
    """One tier, shared by the processes that use its store. Use between `start` and `close`."""

    def __init__(
        self, name: str, store: Store, *, deadline: float, keep: float = LONGEST, poll: float = POLL
    ) -> None:
        """Make a tier of *store*.

        deadline: seconds that a reader may wait for it · keep: seconds that anything is kept ·
        poll: seconds between two looks at its purges.
        """
        super().__init__(name, store, deadline=deadline, poll=poll)
        self._keep = keep

    @property
    def moment(self) -> int:
        """The number of the last purge known; 0 where none is known yet, and nothing is put."""
        return self.marks.seq

    # On a reader's way.

    async def get(self, key: bytes) -> list[Copy]:
        """Return the copies of *key*'s variants that no purge has reached; never raises.

        Empty where there are none, and where the store is down, slow or broken. What was purged
        softly comes stale since then.
        """
        if not self.up:
            return []
        try:
            if self._prompt is not None:
                found = await self.store.read(key)
            else:
                async with Within(self.deadline):
                    found = await self.store.read(key)
            if found.seq > self.marks.seq:
                async with Within(self.deadline):
                    await self.reach(found.seq)
        except Exception as error:
            self.failed("read", error)
            return []
        return self._taken(key, found)

    def glance(self, key: bytes, tell: Callable[[list[Copy] | None], None]) -> bool:
        """Read *key* as `get` does, without a task: the copies are told to *tell*, later.

        None is told where only `get` can say what there is. Nothing is, ever, where False is
        returned: the store is down, or has no such way.
        """
        if self._prompt is None or not self.up:
            return False
        try:
            answer = self._prompt.ask(key)
        except Exception as error:
            self.failed("read", error)
            return False
        answer.add_done_callback(partial(self._glanced, key, tell))
        return True

    def _glanced(
        self,
        key: bytes,
        tell: Callable[[list[Copy] | None], None],
        answer: asyncio.Future[list[Any]],
    ) -> None:
        assert self._prompt is not None
        try:
            found = self._prompt.rows(answer.result())
        except Exception as error:
            self.failed("read", error)
            tell([])
            return
        if found is None or found.seq > self.marks.seq:
            tell(None)
        else:
            tell(self._taken(key, found))

    def _taken(self, key: bytes, found: Rows) -> list[Copy]:
        """Return the copies in *found*, which the marks are up to."""
        if found.seq < self.marks.seq:
            self.suspect()  # an answer that a purge has overtaken, or a log that went back
        # Being up again is for the follower to say, who asks without haste.
        if self._reads.up:
            self._reads.succeeded()
        return self._judged(key, found) if found.rows else []

    async def body(self, copy: Copy) -> AsyncIterator[bytes]:
        """Yield the body of *copy*, slice by slice; raise BodyLost where it can't be completed.

        Nothing has been yielded yet when the first slice is found missing.
        """
        if copy.body is not None:
            yield copy.body
            return
        left = copy.stored.length
        for number in range(copy.slices):
            try:
                async with Within(max(self.deadline, PATIENCE if number else 0.0)):
                    sealed = await self.store.read_slice(copy.blob, number)
            except Exception as error:
                self.failed("read", error)
                lost = BodyLost(f"slice {number} of {copy.slices}")
                lost.late = True
                raise lost from error
            data = open_slice(sealed)
            if data is None or len(data) > left:
                raise BodyLost(f"slice {number} of {copy.slices}")
            left -= len(data)
            yield data
        if left:
            raise BodyLost(f"{left} bytes short")

    async def lease(self, key: bytes, seconds: float, seen: Copy | None = None) -> Lease | None:
        """Return a lease where the caller shall fetch *key*, None where another does.

        *seen*: the copy of this tier that has been found wanting, if there was one. Where the
        store is down everybody fetches, with an empty token.
        """
        if not self.up or not self.health["write"].up:
            return _DOWN
        token = secrets.token_bytes(12)
        known = None if seen is None else Seen(variant_key(seen.stored.selecting), seen.start)
        try:
            async with self.in_time():
                kept = await self.store.take(key, token, seconds, known)
        except Exception as error:
            self.failed("write", error)
            self.release(key, token)  # it may have been taken all the same
            return _DOWN
        return None if kept is None else Lease(token, kept)

    def release(self, key: bytes, token: bytes) -> None:
        """End a lease, in the background; one that has run out is nobody's business any more."""
        if token:
            self.spawn(self.write(lambda: self.store.give(key, token), small=True), small=True)

    async def wait(self, key: bytes, seconds: float) -> bool:
        """Return True when the lease of *key* has ended, False after *seconds* of it.

        Asks after 5 ms and then ever more rarely, down to every 50 ms; there is one who asks for
        each key and worker, for a worker's own readers collapse before that.
        """
        until = time.monotonic() + seconds
        pause = 0.005
        while self.up:
            left = until - time.monotonic()
            if left <= 0.0:
                return False
            await asyncio.sleep(min(pause * random.uniform(0.8, 1.2), left))
            try:
                async with self.in_time():
                    if not await self.store.taken(key):
                        return True
            except Exception as error:
                self.failed("read", error)
            pause = min(0.05, pause * 1.5)
        return True

    # After the reader has got the answer.

    async def put(self, stored: Stored, body: bytes, *, stay: float, moment: int) -> bool:
        """Keep *stored* and its *body* for *stay* seconds; tell whether that was done.

        moment: `Tier.moment` before the source was asked.
        """
        if len(body) <= self.store.slice_size:
            return await self.seal(stored, body, 0, 0, stay=stay, moment=moment)
        upload = self.upload(stay=stay)
        await upload.add(body)
        return await upload.finish(stored, moment=moment)

    def upload(self, *, stay: float) -> Upload:
        """Return a way to put a body that comes piece by piece and is never held whole."""
        return Upload(self, min(stay, self._keep))

    async def seal(
        self,
        stored: Stored,
        body: bytes | None,
        blob: int,
        slices: int,
        *,
        stay: float,
        moment: int,
    ) -> bool:
        """Write the envelope of *stored*, with its body or with the name of its slices."""
        now = time.time()
        stay = min(stay, self._keep)
        if moment <= 0 or stay <= 0.0 or self.marks.judge(stored, moment).hard:
            return False
        data = record.dump(stored, body)
        envelope = pack(Envelope(moment, now, now + stay, blob, slices, data))
        variant = variant_key(stored.selecting)
        return await self.write(lambda: self.store.write(stored.key, variant, envelope, stay))

    async def delete(self, stored: Stored) -> bool:
        """Delete one variant, such as one that a 304 did not confirm."""
        variant = variant_key(stored.selecting)
        return await self.write(lambda: self.store.remove(stored.key, [(variant, b"")]))

    async def purge(self, purge: Purge) -> bool:
        """Write *purge* into the store's log; tell whether it is there. Asks a down store too.

        From then on no `get` returns what it hits, in any process; edge tiers hear of it within
        `POLL` seconds.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self.reach(await self.store.purge(purge.labels, purge.soft))
        except Exception as error:
            announce("purge.fail", level=logging.WARNING, tier=self.name, reason=reason_of(error))
            self.failed("write", error)
            return False
        return True

    # Inside.

    def _judged(self, key: bytes, found: Rows) -> list[Copy]:
        now = time.time()
        copies: list[Copy] = []
        dead: list[tuple[bytes, bytes, Envelope | None]] = []
        for variant, data in found.rows:
            envelope = unpack(data)
            loaded = None if envelope is None else record.load(envelope.record, key)
            if envelope is None or loaded is None:
                announce("tier.drop", level=logging.WARNING, tier=self.name, reason="unreadable")
                dead.append((variant, data[:START], envelope))
                continue
            stored, body = loaded
            verdict = self.marks.judge(stored, envelope.moment)
            if verdict.hard or envelope.until <= now:
                dead.append((variant, data[:START], envelope))
                continue
            if verdict.soft:
                stored = softened(stored, verdict.soft / PER_SECOND, now)
            elif envelope.entered > now + AHEAD:
                # The clock has been put back, and would call it fresh for as long as that.
                stored = softened(replace(stored, received=now), now, now)
            entered, blob, slices = envelope.entered, envelope.blob, envelope.slices
            copies.append(Copy(stored, body, entered, blob, slices, data[:START]))
        if dead:
            self.spawn(self._bury(key, dead))
        return copies

    async def _bury(self, key: bytes, dead: list[tuple[bytes, bytes, Envelope | None]]) -> None:
        async def bury() -> None:
            await self.store.remove(key, [(variant, start) for variant, start, _ in dead])
            for _, _, envelope in dead:
                if envelope is not None and envelope.slices:
                    await self.store.remove_slices(envelope.blob, envelope.slices)

        await self.write(bury)


def softened(stored: Stored, purged: float, now: float) -> Stored:
    """Return *stored* as stale since the instant *purged*, or since *now* by a clock that differs.

    Its stale windows count from there.
    """
    since = max(0.0, min(purged, now) - stored.received)
    return replace(stored, lifetime=min(stored.lifetime, stored.initial_age + since))
