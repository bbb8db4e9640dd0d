# SPDX-License-Identifier: Apache-2.0
"""The audit log: who changed what, when, from what to what, why, and from where.

One JSON object a line in ``audit.jsonl`` in the state folder, on the disk before a change is
acknowledged; lines are only ever added, and nothing here removes or rotates them. A line's place
in the file, in bytes, is its number: what comes before it can be asked for without reading it all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from strangler.observe.events import announce

FILE: Final = "audit.jsonl"
"""The name of the log in the state folder."""
_PIECE: Final = 64 << 10
"""Bytes that are read at once, from the end."""
_MOST_READ: Final = 32 << 20
"""Bytes that one question reads at most, however rare what it looks for."""

Entry = Mapping[str, Any]


class Audit:
    """The log in *folder*, which may move; one thread writes it, in order."""

    def __init__(self, folder: Callable[[], Path], instance: str = "") -> None:
        self._folder = folder
        self._instance = instance
        self._writing = ThreadPoolExecutor(1, "audit")
        self.trouble = ""

    @property
    def path(self) -> Path:
        """Return where the log is."""
        return self._folder() / FILE

    async def add(self, *entries: Entry) -> bool:
        """Write *entries* down; return whether they are on the disk.

        Where they can't be, they are told in the error log instead, whole: a full disk must not
        keep anybody from putting a route back, nor leave no trace of it.
        """
        now = time.time()
        lines = [{"time": now, "instance": self._instance, **entry} for entry in entries]
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._writing, self._append, lines)
        except OSError as problem:
            self.trouble = f"{self.path}: {problem.strerror or problem}"
            for line in lines:
                announce(
                    "audit.unwritable",
                    level=logging.ERROR,
                    error=self.trouble,
                    entry=json.dumps(line, ensure_ascii=False, default=str),
                )
            return False
        self.trouble = ""
        return True

    async def read(
        self, *, limit: int, before: int | None, wanted: Callable[[Entry], bool]
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Return at most *limit* entries that are *wanted*, the newest first, and what to go on by.

        *before*: only entries whose `at` is less. The second value is the `before` of the next
        page, None where nothing is left.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._read, limit, before, wanted)

    def close(self) -> None:
        """Wait for what is being written."""
        self._writing.shutdown(wait=True)

    def _append(self, lines: Sequence[Entry]) -> None:
        data = b"".join(
            json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
            for line in lines
        )
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = os.lseek(fd, 0, os.SEEK_END)
            if end and os.pread(fd, 1, end - 1) != b"\n":
                data = b"\n" + data  # a line that a crash has cut short stays one by itself
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
        finally:
            os.close(fd)

    def _read(
        self, limit: int, before: int | None, wanted: Callable[[Entry], bool]
    ) -> tuple[list[dict[str, Any]], int | None]:
        found: list[dict[str, Any]] = []
        at = None
        for at, raw in self._backwards(before):
            try:
                entry = json.loads(raw)
            except ValueError:
                continue
            if isinstance(entry, dict) and wanted(entry):
                found.append({"at": at, **entry})
                if len(found) >= limit:
                    break
        return found, at or None

    def _backwards(self, before: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield each line and where it begins, from the end or from *before* on."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            end = end if before is None else min(before, end)
            least = max(end - _MOST_READ, 0)
            tail = b""
            while end > least:
                begin = max(end - _PIECE, 0)
                file.seek(begin)
                piece = file.read(end - begin) + tail
                lines = piece.split(b"\n")
                place = begin + len(piece)
                for line in reversed(lines[1:]):
                    place -= len(line)
                    if line:
                        yield place, line
                    place -= 1
                tail, end = lines[0], begin
            if tail and end == 0:
                yield 0, tail
