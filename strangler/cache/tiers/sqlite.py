# SPDX-License-Identifier: Apache-2.0
"""`sqlite:PATH`: a store without a server, for the workers of one machine.

Its size is what SQLite itself counts: pages in use. Over it, what has run out goes first, then
what has not been read for longest, to the minute: reads are noted in memory and written down
together. A purge is flushed to the disk before it is acknowledged. Where it can't be written, for
the disk is full, the whole file goes: forgetting costs fetches, an undead page costs more.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Final

from strangler.cache.tiers.envelope import unpack
from strangler.cache.tiers.purges import MOST, PER_SECOND, Mark
from strangler.cache.tiers.sqlite_file import File, code_of
from strangler.cache.tiers.store import VARIANTS, Log, Rows, Seen, short

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS kept (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, variant BLOB NOT NULL, until REAL NOT NULL,
    used INTEGER NOT NULL, blob INTEGER NOT NULL, envelope BLOB NOT NULL, UNIQUE (key, variant));
CREATE INDEX IF NOT EXISTS kept_until ON kept (until);
CREATE INDEX IF NOT EXISTS kept_used ON kept (used);
CREATE TABLE IF NOT EXISTS slice (
    blob INTEGER NOT NULL, number INTEGER NOT NULL, until REAL NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (blob, number));
CREATE INDEX IF NOT EXISTS slice_until ON slice (until);
CREATE TABLE IF NOT EXISTS mark (
    label BLOB NOT NULL, soft INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (label, soft)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mark_seq ON mark (seq);
CREATE TABLE IF NOT EXISTS log (
    one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, floor INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS lease (key BLOB PRIMARY KEY, token BLOB NOT NULL, until REAL NOT NULL);
INSERT OR IGNORE INTO log
    SELECT 1, n, n FROM (SELECT CAST((julianday('now') - 2440587.5) * 86400e6 AS INTEGER) AS n);
"""

#: Seconds to which the time of the last use is noted.
_NOTED: Final = 60
#: Seconds of a lease at the most; a longer one is from before the machine was started.
_LONGEST_LEASE: Final = 600.0
#: Rows that one transaction deletes.
_TOGETHER: Final = 500


class Sqlite:
    """A store in one file; `size` bytes of pages in use at the most, None for no bound of ours."""

    kind = "sqlite"
    slice_size = 256 << 10

    def __init__(self, path: str, *, size: int | None, most: int = MOST) -> None:
        self.file = File(path, _SCHEMA)
        self._size = size
        self._most = most
        self._read: set[int] = set()
        self._written = 0

    async def open(self) -> None:
        self.file.open()

    async def close(self) -> None:
        await self.file.close()

    def stalled(self, seconds: float) -> bool:
        return self.file.stalled(seconds)

    async def read(self, key: bytes) -> Rows:
        return await self.file.read(lambda c: self._find(c, key))

    async def write(self, key: bytes, variant: bytes, envelope: bytes, ttl: float) -> None:
        now = time.time()
        opened = unpack(envelope)
        blob = opened.blob if opened is not None else 0
        values = (short(key), short(variant), now + ttl, int(now), blob, envelope)

        def job(c: sqlite3.Connection) -> None:
            c.execute(
                "INSERT INTO kept (key, variant, until, used, blob, envelope)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, variant) DO UPDATE SET"
                " until = excluded.until, used = excluded.used, blob = excluded.blob,"
                " envelope = excluded.envelope",
                values,
            )
            (variants,) = c.execute(
                "SELECT count(*) FROM kept WHERE key = ?", values[:1]
            ).fetchone()
            if variants > VARIANTS:
                c.execute(
                    "DELETE FROM kept WHERE id IN"
                    " (SELECT id FROM kept WHERE key = ? ORDER BY until LIMIT ?)",
                    (values[0], variants - VARIANTS),
                )
            self._make_room(c, len(envelope))

        await self.file.write(job)

    async def remove(self, key: bytes, rows: Sequence[tuple[bytes, bytes]]) -> None:
        values = [(short(key), short(variant), len(start), start) for variant, start in rows]
        statement = (
            "DELETE FROM kept WHERE key = ? AND variant = ?"
            " AND ifnull(substr(envelope, 1, ?), x'') = ?"
        )
        await self.file.write(lambda c: c.executemany(statement, values) and None)

    async def write_slice(self, blob: int, number: int, data: bytes, ttl: float) -> None:
        values = (blob, number, time.time() + ttl, data)

        def job(c: sqlite3.Connection) -> None:
            c.execute("INSERT OR REPLACE INTO slice VALUES (?, ?, ?, ?)", values)
            self._make_room(c, len(data))

        await self.file.write(job)

    async def read_slice(self, blob: int, number: int) -> bytes | None:
        statement = "SELECT data FROM slice WHERE blob = ? AND number = ?"
        row = await self.file.read(lambda c: c.execute(statement, (blob, number)).fetchone())
        return None if row is None else bytes(row[0])

    async def remove_slices(self, blob: int, slices: int) -> None:
        statement = "DELETE FROM slice WHERE blob = ? AND number < ?"
        await self.file.write(lambda c: c.execute(statement, (blob, slices)) and None)

    async def last(self) -> int:
        return await self.file.read(_last)

    async def log(self, after: int) -> Log:
        return await self.file.read(lambda c: _log(c, after))

    async def purge(self, labels: Sequence[bytes], soft: bool) -> int:
        return await self.file.alone(lambda c: self._purge(c, labels, soft))

    async def restore(self, marks: Sequence[Mark], seq: int) -> None:
        def job(c: sqlite3.Connection) -> None:
            for mark in marks:
                _mark(c, mark)
            c.execute("UPDATE log SET seq = max(seq, ?)", (seq,))

        await self.file.write(job)

    async def take(
        self, key: bytes, token: bytes, seconds: float, seen: Seen | None
    ) -> bool | None:
        # The clock that all processes of a machine have in common and nobody sets.
        now = time.monotonic()
        values = (short(key), token, now + seconds, now, now + _LONGEST_LEASE)

        def job(c: sqlite3.Connection) -> bool | None:
            found = c.execute(
                "INSERT INTO lease VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " token = excluded.token, until = excluded.until"
                " WHERE until <= ? OR until > ?",
                values,
            )
            if not found.rowcount:
                return None
            if seen is None:
                kept = "SELECT 1 FROM kept WHERE key = ? AND until > ?"
                return c.execute(kept, (short(key), time.time())).fetchone() is not None
            start = "SELECT substr(envelope, 1, ?) FROM kept WHERE key = ? AND variant = ?"
            row = c.execute(start, (len(seen.start), short(key), short(seen.variant))).fetchone()
            return row is None or bytes(row[0]) != seen.start

        return await self.file.write(job)

    async def give(self, key: bytes, token: bytes) -> None:
        statement = "DELETE FROM lease WHERE key = ? AND token = ?"
        await self.file.write(lambda c: c.execute(statement, (short(key), token)) and None)

    async def taken(self, key: bytes) -> bool:
        statement = "SELECT 1 FROM lease WHERE key = ? AND until > ?"
        values = (short(key), time.monotonic())
        return await self.file.read(lambda c: c.execute(statement, values).fetchone() is not None)

    async def upkeep(self) -> None:
        read, self._read = self._read, set()

        def note(c: sqlite3.Connection) -> None:
            now = int(time.time())
            statement = "UPDATE kept SET used = ? WHERE id = ? AND used < ?"
            c.executemany(statement, [(now, row, now - _NOTED) for row in tuple(read)])
            c.execute("DELETE FROM lease WHERE until <= ?", (time.monotonic(),))

        await self.file.write(note)
        while await self.file.write(_reap):
            pass
        await self.file.write(self._shrink)
        await self.file.write(lambda c: _bound(c, self._most))
        await self.file.alone(lambda c: c.execute("PRAGMA incremental_vacuum(256)").fetchall())

    # In the lanes' threads.

    def _find(self, c: sqlite3.Connection, key: bytes) -> Rows:
        rows = c.execute(
            "SELECT id, variant, envelope FROM kept WHERE key = ?", (short(key),)
        ).fetchall()
        if len(self._read) < 10_000:
            self._read.update([row[0] for row in rows])
        # After the rows: what was purged in between is judged by the later number.
        return Rows(_last(c), [(row[1], row[2]) for row in rows])

    def _purge(self, c: sqlite3.Connection, labels: Sequence[bytes], soft: bool) -> int:
        try:
            c.execute("PRAGMA synchronous = FULL")
            c.execute("BEGIN IMMEDIATE")
            try:
                seq = max(int(time.time() * PER_SECOND), _last(c) + 1)
                for label in labels:
                    _mark(c, Mark(seq, label, soft))
                c.execute("UPDATE log SET seq = ?", (seq,))
                c.execute("COMMIT")
            except BaseException:
                if c.in_transaction:
                    c.execute("ROLLBACK")
                raise
            finally:
                c.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            if code_of(error) != sqlite3.SQLITE_FULL:
                raise
            self.file.set_aside(self.file.inode(), keep=False)
            # Nothing is left to be judged. Whoever comes next makes an empty file, if there is
            # room for that, with a log that begins then.
            return 0
        return seq

    def _make_room(self, c: sqlite3.Connection, more: int) -> None:
        """Look at the size after every sixteenth of a megabyte, not after every write."""
        self._written += more
        if self._written >= 1 << 16:
            self._written = 0
            self._shrink(c)

    def _shrink(self, c: sqlite3.Connection) -> None:
        """Delete what was not used for longest, until a twentieth of the size is free."""
        if self._size is None or _used(c) <= self._size:
            return
        for _ in range(1000):
            rows = c.execute("SELECT id, blob FROM kept ORDER BY used LIMIT 50").fetchall()
            c.executemany("DELETE FROM kept WHERE id = ?", [(row,) for row, _ in rows])
            blobs = [(blob,) for _, blob in rows if blob]
            c.executemany("DELETE FROM slice WHERE blob = ?", blobs)
            if not rows:  # slices of what is gone, and of what never came to be
                c.execute("DELETE FROM slice")
            if not rows or _used(c) <= self._size * 0.95:
                return


def _last(c: sqlite3.Connection) -> int:
    return int(c.execute("SELECT seq FROM log").fetchone()[0])


def _log(c: sqlite3.Connection, after: int) -> Log:
    c.execute("BEGIN")
    try:
        seq, floor = c.execute("SELECT seq, floor FROM log").fetchone()
        statement = "SELECT seq, label, soft FROM mark WHERE seq > ? ORDER BY seq"
        rows = c.execute(statement, (after,)).fetchall()
    finally:
        c.execute("COMMIT")
    return Log(seq, floor, [Mark(n, label, bool(soft)) for n, label, soft in rows])


def _mark(c: sqlite3.Connection, mark: Mark) -> None:
    c.execute(
        "INSERT INTO mark VALUES (?, ?, ?) ON CONFLICT (label, soft)"
        " DO UPDATE SET seq = max(seq, excluded.seq)",
        (mark.label, mark.soft, mark.seq),
    )


def _bound(c: sqlite3.Connection, most: int) -> None:
    """Forget the oldest of the marks, down to seven eighths, where they are too many."""
    (count,) = c.execute("SELECT count(*) FROM mark").fetchone()
    if count <= most:
        return
    (last,) = c.execute(
        "SELECT max(seq) FROM (SELECT seq FROM mark ORDER BY seq LIMIT ?)",
        (count - most + most // 8,),
    ).fetchone()
    c.execute("DELETE FROM mark WHERE seq <= ?", (last,))
    c.execute("UPDATE log SET floor = max(floor, ?)", (last,))


def _reap(c: sqlite3.Connection) -> bool:
    """Delete some of what has run out; tell whether there may be more."""
    now = time.time()
    more = False
    for table in ("kept", "slice"):
        statement = f"DELETE FROM {table} WHERE rowid IN"
        statement += f" (SELECT rowid FROM {table} WHERE until <= ? LIMIT {_TOGETHER})"
        more |= c.execute(statement, (now,)).rowcount == _TOGETHER
    return more


def _used(c: sqlite3.Connection) -> int:
    def number(name: str) -> int:
        return int(c.execute(f"PRAGMA {name}").fetchone()[0])

    return (number("page_count") - number("freelist_count")) * number("page_size")
