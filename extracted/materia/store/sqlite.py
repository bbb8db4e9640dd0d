# SPDX-License-Identifier: Apache-2.0
"""The embedded store: one SQLite file, shared by all processes of the machine."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from ..event import Event
from . import StoreFailed

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS materia (
    slug TEXT PRIMARY KEY, seq INTEGER NOT NULL, kind TEXT NOT NULL, article TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS materia_seq ON materia (seq);
CREATE TABLE IF NOT EXISTS sync (id INTEGER PRIMARY KEY CHECK (id = 1), mark INTEGER NOT NULL);
INSERT OR IGNORE INTO sync VALUES (1, 0);
"""
UPSERT = """
INSERT INTO materia VALUES (?, ?, ?, ?)
ON CONFLICT (slug) DO UPDATE SET seq = excluded.seq, kind = excluded.kind,
    article = excluded.article WHERE excluded.seq > materia.seq
"""
BUSY = 5.0  # seconds that a writer waits for another process


class SqliteStore:
    """Reads on the event loop, everything else on one thread.

    In WAL mode a reader waits for nobody and a read by key takes some 20 us, less than the way
    to a thread and back; a write may wait for another process, so it never runs on the loop.
    """

    def __init__(self, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        self._reader = reader
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, "sqlite")
        self._closed = False

    @classmethod
    async def open(cls, path: str) -> Self:
        """Open the file at `path`, made with its folder if absent."""
        return await asyncio.to_thread(cls._open, path)

    @classmethod
    def _open(cls, path: str) -> Self:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            writer = _connect(path)
            writer.execute("PRAGMA journal_mode = WAL")
            writer.execute("PRAGMA synchronous = NORMAL")  # a lost tail is what re-sync is for
            writer.executescript(SCHEMA)
            reader = _connect(path)
            reader.execute("PRAGMA query_only = ON")
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"sqlite:{path}: {error}") from error
        return cls(reader, writer)

    async def get(self, slug: str) -> Event | None:
        try:
            row = self._reader.execute(
                "SELECT seq, kind, article FROM materia WHERE slug = ?", (slug,)
            ).fetchone()
        except sqlite3.Error as error:
            raise StoreFailed(str(error)) from error
        except UnicodeEncodeError:
            return None
        if row is None:
            return None
        seq, kind, article = row
        return Event(seq, kind, slug, article and json.loads(article))

    async def apply(self, events: Iterable[Event]) -> int:
        rows = [
            (e.slug, e.seq, e.kind, None if e.article is None else json.dumps(e.article))
            for e in events
        ]

        def write(db: sqlite3.Connection) -> int:
            db.execute("BEGIN IMMEDIATE")
            return sum(db.execute(UPSERT, row).rowcount for row in rows)

        return await self._run(write)

    async def head(self) -> int:
        return await self._number("SELECT coalesce(max(seq), 0) FROM materia")

    async def mark(self) -> int:
        return await self._number("SELECT mark FROM sync")

    async def advance(self, mark: int) -> None:
        await self._run(lambda db: db.execute("UPDATE sync SET mark = max(mark, ?)", (mark,)))

    async def count(self) -> int:
        return await self._number("SELECT count(*) FROM materia WHERE kind != 'removed'")

    async def clear(self) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("DELETE FROM materia")
            db.execute("UPDATE sync SET mark = 0")

        await self._run(write)

    async def close(self) -> None:
        def close() -> None:
            self._reader.close()
            self._writer.close()

        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, close)
            self._thread.shutdown()

    async def _number(self, sql: str) -> int:
        return await self._run(lambda db: int(db.execute(sql).fetchone()[0]))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the thread, in a transaction if it begins one."""

        def run() -> T:
            try:
                with self._writer:  # commits, or rolls back
                    return work(self._writer)
            except (sqlite3.Error, UnicodeEncodeError) as error:
                raise StoreFailed(str(error)) from error

        if self._closed:
            raise StoreFailed("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
