# SPDX-License-Identifier: Apache-2.0
"""Look over the workers' shoulders: their last bad requests, and lines as they are logged.

A tail is a lease: it is told to every worker again and again, so that a new worker joins in, and
ends by itself where this process dies. Without one, nobody formats a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from strangler.control.asking import Asking, Unanswered
from strangler.control.handler import Rejected
from strangler.observe.kept import EACH, read

#: Seconds that a worker has to answer.
PATIENCE: Final = 1.0
MOST_TAILS: Final = 8
"""Tails at the same time."""
_MOST_LINES: Final = 1000
"""Lines that wait for a slow reader of a tail; older ones are dropped and counted."""
_RENEW: Final = 2.0
LEASE: Final = 8.0
"""Seconds after which a worker ends a tail that is not renewed."""


class Tail:
    """Lines on their way to one listener."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.lines: deque[str] = deque()
        self.missed = 0
        self.came = asyncio.Event()

    def take(self, lines: Sequence[str], missed: int) -> None:
        """Take lines from a worker."""
        self.lines.extend(lines)
        self.missed += missed
        while len(self.lines) > _MOST_LINES:
            self.lines.popleft()
            self.missed += 1
        self.came.set()

    async def follow(self) -> AsyncIterator[tuple[list[str], int]]:
        """Yield what has come, with how many were missed; nothing at all every other second."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RENEW):
                    await self.came.wait()
            self.came.clear()
            lines, missed = list(self.lines), self.missed
            self.lines.clear()
            self.missed = 0
            yield lines, missed


class Watch:
    """The workers behind *asking*; *alive*: their slots."""

    def __init__(self, asking: Asking, alive: Callable[[], Sequence[int]]) -> None:
        self._asking = asking
        self._alive = alive
        self._tails: dict[int, Tail] = {}

    async def errors(self, route: str | None = None) -> dict[str, Any]:
        """Return the last bad requests of *route* (empty: of none; None: of all), newest first."""
        found: list[dict[str, Any]] = []
        silent = []
        for slot in sorted(self._alive()):
            after: int | None = 0
            while after is not None:
                order = {"do": "errors", "route": route, "after": after}
                try:
                    page = await self._asking.ask(slot, order, PATIENCE)
                except Unanswered:
                    silent.append(f"worker {slot + 1}")
                    break
                found += [{"worker": slot + 1, **read(one)} for one in page["errors"]]
                after = page["next"]
        found.sort(key=lambda one: -one["time"])
        counts: dict[tuple[str, int], int] = {}
        kept = []
        for one in found:
            shelf = (one["route"], 0 if one["route"] else one["status"])
            counts[shelf] = counts.get(shelf, 0) + 1
            if counts[shelf] <= EACH:
                kept.append(one)
        return {"errors": kept, "silent": silent}

    @contextlib.contextmanager
    def tail(self, wanted: Mapping[str, Any]) -> Iterator[AsyncIterator[tuple[list[str], int]]]:
        """Give lines of JSON that *wanted* lets pass, with how many were missed before them.

        No lines: nothing came for a while. Raises Rejected 503 where there are too many tails; one
        counts from here on, not only once it is read.
        """
        if len(self._tails) >= MOST_TAILS:
            raise Rejected(503, f"{MOST_TAILS} tails run already")
        tail = Tail(secrets.randbits(48))
        self._tails[tail.id] = tail
        keeping = asyncio.create_task(self._renew(tail.id, wanted))
        try:
            yield tail.follow()
        finally:
            keeping.cancel()
            del self._tails[tail.id]
            for slot in range(self._asking.slots):
                self._asking.tell(slot, {"do": "tail", "tail": tail.id, "lease": 0})

    async def _renew(self, id_: int, wanted: Mapping[str, Any]) -> None:
        while True:
            order = {"do": "tail", "tail": id_, "lease": LEASE, "wanted": dict(wanted)}
            for slot in range(self._asking.slots):
                self._asking.tell(slot, order)
            await asyncio.sleep(_RENEW)

    def heard(self, message: Mapping[str, Any]) -> None:
        """Take lines that a worker sends."""
        tail = self._tails.get(message.get("tail", -1))
        if tail is not None:
            tail.take(message.get("lines", ()), int(message.get("missed", 0)))
