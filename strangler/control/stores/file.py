# SPDX-License-Identifier: Apache-2.0
"""A file as the store: for all processes of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from strangler.control.state import replace_file
from strangler.control.stores.store import Kept, Moved, Unrecorded
from strangler.observe.events import announce
from strangler.rollout import Malformed

#: Seconds between two looks at whether another process has written it.
LOOK: Final = 0.25


class FileStore:
    """The document in *path*, replaced whole and on the disk before a change is acknowledged."""

    kind = "file"
    name = "file"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._seen: tuple[int, int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._here: dict[str, dict[str, Any]] = {}

    async def start(self, heard: Callable[[Kept | None], None]) -> None:
        self._look(heard)
        self._task = asyncio.create_task(self._follow(heard))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def write(self, kept: Kept, before: Kept | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._seen = await loop.run_in_executor(None, self._write, kept, before)
        except OSError as problem:
            self.trouble = f"{self.path}: {problem.strerror or problem}"
            raise Unrecorded(self.trouble) from None
        self.trouble = ""

    async def beat(self, name: str, told: Mapping[str, Any]) -> None:
        self._here[name] = {"name": name, "at": time.time(), **told}

    async def instances(self) -> list[dict[str, Any]]:
        return list(self._here.values())

    def _write(self, kept: Kept, before: Kept | None) -> tuple[int, int, int] | None:
        with self._locked():
            there = self._read_or_set_aside()
            known = None if before is None else before.number
            if there is not None and there.number != known:
                raise Moved(there)
            document = {"store": self.name, **kept.json()}
            replace_file(self.path, json.dumps(document, ensure_ascii=False).encode())
            return self._stat()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes of this machine from writing meanwhile."""
        with open(self.path.with_name(f".{self.path.name}.lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self) -> Kept | None:
        """Return the document, None where there is none. Raises OSError, Malformed."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            told = json.loads(raw)
        except ValueError:
            raise Malformed("JSON", repr(raw[:100])) from None
        if isinstance(told, dict) and told.get("store", self.name) != self.name:
            return None  # the copy of another store's, which the site has had before
        return Kept.parse(told)

    def _read_or_set_aside(self) -> Kept | None:
        """Return the document; one that nobody can read is renamed, and kept for who mends it.

        A damaged disk must not keep anybody from putting a route back.
        """
        try:
            return self.read()
        except Malformed as problem:
            aside = self.path.with_name(f"{self.path.name}.broken")
            self.path.replace(aside)
            announce("overrides.set_aside", level=logging.ERROR, file=str(aside),
                     error=str(problem))  # fmt: skip
            return None

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            told = self.path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino

    def _look(self, heard: Callable[[Kept | None], None]) -> None:
        now = self._stat()
        if now == self._seen:
            return
        if now is None:  # somebody has removed it
            self._seen = None
            heard(None)
            return
        try:
            kept = self.read()
        except (OSError, Malformed) as problem:
            self.trouble = f"{self.path}: {problem}"
            return
        self._seen, self.trouble = now, ""
        if kept is not None:
            heard(kept)

    async def _follow(self, heard: Callable[[Kept | None], None]) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self._look(heard)
