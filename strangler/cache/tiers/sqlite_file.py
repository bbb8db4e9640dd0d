# SPDX-License-Identifier: Apache-2.0
"""One SQLite file that the workers of a machine share, and the two threads of a worker that use it.

Reads and writes each have a thread and a connection, so the event loop never waits for a disk, and
a long write never holds up a read (WAL). What waits in a lane is done together: one hop back to
the loop, and for writes one transaction.

A cache's file is worth less than the answer to the next request. One that is corrupt is set aside
(`PATH.corrupt`, the last one only) and made anew; one that has been replaced or deleted is noticed
by its inode, in all workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from strangler.cache.tiers.store import StoreFailed
from strangler.observe.events import announce

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Any]

#: Jobs that may wait in a lane; a disk that hangs must not collect them without end.
MOST_WAITING: Final = 1000
#: Jobs that are done together.
MOST_TOGETHER: Final = 64
#: Seconds for which a read that took long explains why others were late.
_LATELY: Final = 0.1
#: Milliseconds that a writer waits for another process's transaction.
BUSY: Final = 1000

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REASONS: Final = {
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot open",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_IOERR: "disk i/o error",
    sqlite3.SQLITE_BUSY: "busy",
}


def code_of(error: BaseException) -> int:
    """Return SQLite's primary result code of *error*, 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


class File:
    """The file at *path*, made with *schema* where it isn't there."""

    def __init__(self, path: str, schema: str) -> None:
        self.path = Path(path)
        self._schema = schema
        self._lanes: tuple[Lane, Lane] | None = None

    def open(self) -> None:
        """Start the threads; opening the file is left to them."""
        if self._lanes is None:
            loop = asyncio.get_running_loop()
            self._lanes = (Lane(self, loop, writes=False), Lane(self, loop, writes=True))

    async def close(self) -> None:
        """End the threads after what they are doing."""
        lanes, self._lanes = self._lanes, None
        if lanes is not None:
            await asyncio.gather(*[lane.close() for lane in lanes])

    def read(self, job: Callable[[sqlite3.Connection], Result]) -> asyncio.Future[Result]:
        """Do *job* on the reading connection."""
        return self._lane(0).do(job)

    def write(self, job: Callable[[sqlite3.Connection], Result]) -> asyncio.Future[Result]:
        """Do *job* in a transaction on the writing connection, with others where they wait."""
        return self._lane(1).do(job)

    def alone(self, job: Callable[[sqlite3.Connection], Result]) -> asyncio.Future[Result]:
        """Do *job* on the writing connection, outside of any transaction."""
        return self._lane(1).do(job, alone=True)

    def stalled(self, seconds: float) -> bool:
        """Tell whether reads have lately kept SQLite itself for *seconds* or longer."""
        return self._lanes is None or self._lanes[0].stalled(seconds)

    def _lane(self, number: int) -> Lane:
        if self._lanes is None:
            raise StoreFailed("closed", hard=True)
        return self._lanes[number]

    # In the lanes' threads.

    def connect(self) -> sqlite3.Connection:
        """Return a connection, the file made or remade where it has to be."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if code_of(error) not in _CORRUPT:
                raise
            self.set_aside(self.inode())
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        with self._locked():
            connection = sqlite3.connect(self.path, timeout=BUSY / 1000, isolation_level=None)
            try:
                run = connection.execute
                # None of these has an effect on a file that was made before.
                run("PRAGMA page_size = 8192")
                run("PRAGMA auto_vacuum = INCREMENTAL")
                run("PRAGMA journal_mode = WAL")
                run("PRAGMA synchronous = NORMAL")
                run(f"PRAGMA journal_size_limit = {16 << 20}")
                connection.executescript(self._schema)
            except BaseException:
                connection.close()
                raise
        return connection

    def inode(self) -> tuple[int, int] | None:
        """Return which file lies at the path now."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def set_aside(self, inode: tuple[int, int] | None, *, keep: bool = True) -> None:
        """Take the file away, unless another process has already: the path has another inode then.

        keep: leave it as `PATH.corrupt` for whoever wants to look at it.
        """
        with self._locked():
            if inode is None or self.inode() != inode:
                return
            for end in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    if keep and not end:
                        os.replace(self.path, f"{self.path}.corrupt")
                    else:
                        os.unlink(f"{self.path}{end}")
        announce("tier.rebuild", level=logging.WARNING, file=str(self.path), kept=keep)

    @contextlib.contextmanager
    def _locked(self) -> Any:
        # The lock file stays: one that is unlinked can be locked by two at once.
        handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class Lane:
    """A thread with a connection, which does what it is given in order."""

    def __init__(self, file: File, loop: asyncio.AbstractEventLoop, *, writes: bool) -> None:
        self._file = file
        self._loop = loop
        self._writes = writes
        self._waiting: queue.SimpleQueue[tuple[asyncio.Future[Any], Job, bool] | None]
        self._waiting = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._ended = asyncio.Event()
        self._watch = _Watch()
        word = "writes" if writes else "reads"
        self._thread = threading.Thread(target=self._run, name=f"sqlite-{word}", daemon=True)
        self._thread.start()

    def do(self, job: Job, *, alone: bool = False) -> asyncio.Future[Any]:
        """Return the future result of *job*; whoever gives up waiting cancels it."""
        if self._waiting.qsize() >= MOST_WAITING:
            raise StoreFailed("too many waiting")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.put((future, job, alone))
        return future

    def stalled(self, seconds: float) -> bool:
        return self._watch.stalled(seconds)

    async def close(self) -> None:
        self._waiting.put(None)
        await self._ended.wait()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch = [self._waiting.get()]
            while len(batch) < MOST_TOGETHER and batch[-1] is not None:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            open_ = batch[-1] is not None
            jobs = [item for item in batch if item is not None and not item[0].cancelled()]
            self._watch.start()
            done = self._all(jobs) if jobs else []
            self._watch.stop()
            with contextlib.suppress(RuntimeError):  # a loop that was closed over it
                self._loop.call_soon_threadsafe(_settle, done)
        self._disconnect()
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended.set)

    def _all(
        self, jobs: list[tuple[asyncio.Future[Any], Job, bool]]
    ) -> list[tuple[asyncio.Future[Any], Any, Exception | None]]:
        done: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []
        together = [job for job in jobs if self._writes and not job[2]]
        if len(together) > 1:
            try:
                results = self._guarded(partial(_transaction, jobs=[job for _, job, _ in together]))
                done = [(j[0], result, None) for j, result in zip(together, results, strict=True)]
                jobs = [job for job in jobs if job[2]]
            except Exception:
                pass
        for future, job, alone in jobs:
            try:
                if self._writes and not alone:
                    (result,) = self._guarded(partial(_transaction, jobs=[job]))
                else:
                    result = self._guarded(job)
                done.append((future, result, None))
            except Exception as error:
                done.append((future, None, error))
        return done

    def _guarded(self, job: Job) -> Any:
        """Do *job*; make the file anew where it turns out to be corrupt, and do it again."""
        try:
            try:
                return job(self._connected())
            except sqlite3.DatabaseError as error:
                if code_of(error) not in _CORRUPT:
                    raise
                self._file.set_aside(self._inode)
                self._disconnect()
                return job(self._connected())
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise StoreFailed(reason, hard=True) from error
        except sqlite3.Error as error:
            code = code_of(error)
            reason = _REASONS.get(code, f"sqlite: {error}")
            if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                self._disconnect()
                raise StoreFailed(reason, hard=True) from error
            raise StoreFailed(reason) from error

    def _connected(self) -> sqlite3.Connection:
        inode = self._file.inode()
        if self._connection is None or inode != self._inode or inode is None:
            self._disconnect()
            self._connection = self._file.connect()
            self._inode = self._file.inode()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


class _Watch:
    """How long a lane's thread is at something, less what the loop's thread computes meanwhile.

    While the loop computes it has the interpreter, and the lane waits for that, not for SQLite.
    """

    def __init__(self) -> None:
        """Watch for the thread that calls, which is the loop's."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._began: tuple[float, float] | None = None
        self._slow = (0.0, float("-inf"))  # seconds of the last that took long, and when it ended

    def start(self) -> None:
        self._began = (time.monotonic(), time.clock_gettime(self._clock))

    def stop(self) -> None:
        taken = self._taken()
        self._began = None
        now = time.monotonic()
        if taken >= self._slow[0] or now - self._slow[1] > _LATELY:
            self._slow = (taken, now)

    def stalled(self, seconds: float) -> bool:
        taken, when = self._slow
        lately = taken >= seconds and time.monotonic() - when <= max(_LATELY, seconds)
        return lately or self._taken() >= seconds

    def _taken(self) -> float:
        began = self._began  # the lane may end it at any time
        if began is None:
            return 0.0
        return time.monotonic() - began[0] - (time.clock_gettime(self._clock) - began[1])


def _transaction(connection: sqlite3.Connection, jobs: list[Job]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [job(connection) for job in jobs]
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return results


def _settle(done: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
    for future, result, error in done:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
