# SPDX-License-Identifier: Apache-2.0
"""Notice that a configuration's files have changed, by their content.

Notification of the system's misses what matters here: editors that replace a file, symbolic links
swapped under a folder (`..data` of Kubernetes), network file systems. So every 150 ms the files
and the folders that includes search are looked at (a stat each, in a thread, since a network file
system may hang), and whenever a stat differs, or every two seconds anyway, the bytes are read and
compared. What is found must have settled: the same bytes twice, 50 ms apart; and 300 ms apart while
they are no YAML, because a file that is half written mostly isn't.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from strangler.config.load import Gathered, gather

EVERY: Final = 0.15
REREAD: Final = 2.0
SETTLED: Final = 0.05
SETTLED_BROKEN: Final = 0.30

_Stamp = tuple[int, int, int, int, int] | None


class Watcher:
    """Watches the file at *path* and all that it includes.

    digest: of the files as they were last known (a snapshot's hash); None: as they are when
    watching begins. every: seconds between two looks. reread: seconds after which the bytes are
    compared though no stat differs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        digest: str | None = None,
        env: Mapping[str, str] = os.environ,
        every: float = EVERY,
        reread: float = REREAD,
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.digest = digest
        self.env = env
        self.every = every
        self.reread = reread

    async def run(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Await *changed* after every change, one at a time, for ever; cancel to stop."""
        async for _ in self.changes():
            await changed()

    async def changes(self) -> AsyncIterator[Gathered]:
        """Yield the files after every change that has settled, for ever.

        What changes while the receiver is busy is yielded next, once.
        """
        current = await asyncio.to_thread(gather, self.path, self.env)
        if self.digest is None:
            self.digest = current.digest
        while True:
            if current.digest != self.digest:
                current = await self._settle(current)
            if current.digest != self.digest:
                self.digest = current.digest
                yield current
            current = await self._wait(current)

    async def _wait(self, current: Gathered) -> Gathered:
        """Sleep until some stat differs or it is time to read anyway; return what is read."""
        names = self._names(current)
        # The stats are those of before the sleep, but the bytes were read before them: a change
        # between the two would be missed, so read anyway soon.
        before = await asyncio.to_thread(_stamps, names)
        end = time.monotonic() + self.reread
        while time.monotonic() < end:
            await asyncio.sleep(self.every)
            if await asyncio.to_thread(_stamps, names) != before:
                break
        return await asyncio.to_thread(gather, self.path, self.env)

    async def _settle(self, found: Gathered) -> Gathered:
        """Return the files once they have stopped to change."""
        while True:
            broken = any(problem.severity == "error" for problem in found.diagnostics)
            await asyncio.sleep(SETTLED_BROKEN if broken else SETTLED)
            again = await asyncio.to_thread(gather, self.path, self.env)
            if again.digest == found.digest:
                return again
            found = again

    def _names(self, current: Gathered) -> list[str]:
        folder = os.path.dirname(self.path)
        files = [os.path.join(folder, source.name) for source in current.sources]
        return list(dict.fromkeys([self.path, *files, *current.folders]))


def _stamps(names: list[str]) -> list[_Stamp]:
    return [_stamp(name) for name in names]


def _stamp(name: str) -> _Stamp:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
