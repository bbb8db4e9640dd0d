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
        self._names = [self.path]
        self._before: list[_Stamp] = []

    async def run(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Await *changed* after every change, one at a time, for ever; cancel to stop."""
        async for _ in self.changes():
            await changed()

    async def changes(self) -> AsyncIterator[Gathered]:
        """Yield the files after every change that has settled, for ever.

        What changes while the receiver is busy is yielded next, once.
        """
        current = await self._read()
        if self.digest is None:
            self.digest = current.digest
        while True:
            if current.digest != self.digest:
                current = await self._settle(current)
            if current.digest != self.digest:
                self.digest = current.digest
                yield current
            current = await self._wait()

    async def _wait(self) -> Gathered:
        """Sleep until some stat differs or it is time to read anyway; return what is read."""
        end = time.monotonic() + self.reread
        while time.monotonic() < end:
            await asyncio.sleep(self.every)
            if await asyncio.to_thread(_stamps, self._names) != self._before:
                break
        return await self._read()

    async def _settle(self, found: Gathered) -> Gathered:
        """Return the files once they have stopped to change."""
        while True:
            broken = any(problem.severity == "error" for problem in found.diagnostics)
            await asyncio.sleep(SETTLED_BROKEN if broken else SETTLED)
            again = await self._read()
            if again.digest == found.digest:
                return again
            found = again

    async def _read(self) -> Gathered:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Gathered:
        """Read the files. Stats are taken before the bytes: what changes in between shows."""
        for _ in range(2):
            self._before = _stamps(self._names)
            found = gather(self.path, self.env)
            names = self._all_names(found)
            if names == self._names:
                break
            self._names = names  # An include has more or fewer now: once more, with their stats.
        return found

    def _all_names(self, found: Gathered) -> list[str]:
        folder = os.path.dirname(self.path)
        files = [os.path.join(folder, source.name) for source in found.sources]
        return list(dict.fromkeys([self.path, *files, *found.folders]))


def _stamps(names: list[str]) -> list[_Stamp]:
    return [_stamp(name) for name in names]


def _stamp(name: str) -> _Stamp:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev
