# SPDX-License-Identifier: Apache-2.0
"""Write log bytes from a thread of its own, with bounded memory."""

from __future__ import annotations

import collections
import os
import select
import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

_PIPE_BUF: Final = select.PIPE_BUF
_MOST_BUFFERS: Final = 1024
"""Buffers of one write; no system has a smaller limit."""
_REST: Final = 0.05
"""Seconds of rest after a write, in which what comes only gathers: to wake a thread costs as much
as two hundred lines."""


class Writer:
    """Append bytes to a file or to an inherited descriptor, never on the caller's time.

    What waits to be written is bounded by ``most_bytes``; past that (a full disk, a pipe nobody
    reads) lines are dropped and counted in ``dropped``. ``on_trouble(dropped, error)`` is called
    from the writing thread at most once in ten seconds while lines are being lost.
    """

    def __init__(
        self,
        path: str,
        *,
        most_bytes: int = 8 << 20,
        on_trouble: Callable[[int, str], None] | None = None,
    ) -> None:
        """Write to ``path``; ``-`` is standard output, ``!`` standard error. Raises OSError."""
        self.path = path
        self.dropped = 0
        self._most = most_bytes
        self._on_trouble = on_trouble
        self._queue: collections.deque[tuple[bytes, int]] = collections.deque()
        self._waiting = 0
        self._told = (0.0, 0)
        self._wake = threading.Condition()
        self._resting = False
        self._ending = False
        self._reopen = False
        self._thread: threading.Thread | None = None
        self._fd = self._open()

    def _open(self) -> int:
        if self.path in ("-", "!"):
            fd = 1 if self.path == "-" else 2
        else:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        # Workers share a pipe: only a write of at most PIPE_BUF bytes is never torn by another's.
        try:
            self._piece = _PIPE_BUF if stat.S_ISFIFO(os.fstat(fd).st_mode) else 0
        except OSError:
            self._piece = 0
        return fd

    @property
    def full(self) -> bool:
        """Whether anything given now would be dropped."""
        return self._waiting >= self._most

    def lose(self, lines: int) -> None:
        """Count ``lines`` as dropped by the caller, who saw that there is no room."""
        self.dropped += lines

    def start(self) -> None:
        """Start the thread. Call after any fork."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def write(self, data: bytes, lines: int = 1) -> None:
        """Queue ``data``, whole lines. Drop it if there is no room."""
        with self._wake:
            if self._waiting and self._waiting + len(data) > self._most:
                self.dropped += lines
                return
            self._queue.append((data, lines))
            self._waiting += len(data)
            if not self._resting:
                self._wake.notify()

    def reopen(self) -> None:
        """Open the path anew before the next write (log rotation)."""
        with self._wake:
            self._reopen = True
            self._wake.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most ``timeout`` seconds, and stop."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():  # stuck in a write; the process ends without it
                return
        elif self._queue:
            self._drain()
        if self._fd > 2:
            os.close(self._fd)
            self._fd = -1

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._queue or self._ending or self._reopen):
                    self._wake.wait()
                if self._ending and not self._queue:
                    return
            self._drain()
            with self._wake:
                if not (self._ending or self._reopen):
                    self._resting = True
                    self._wake.wait(_REST)
                    self._resting = False

    def _drain(self) -> None:
        if self._reopen:
            self._reopen = False
            self._open_again()
        while self._queue:
            with self._wake:
                batch = list(self._queue)
                self._queue.clear()
            error = self._put([data for data, _ in batch])
            with self._wake:
                for data, lines in batch:
                    self._waiting -= len(data)
                    if error:
                        self.dropped += lines
            if self.dropped > self._told[1]:
                self._tell(error)

    def _open_again(self) -> None:
        if self.path in ("-", "!"):
            return
        try:
            fresh = self._open()
        except OSError as problem:  # keep writing where we wrote: a line in the old file is a line
            self._tell(problem.strerror or str(problem))
            return
        os.close(self._fd)
        self._fd = fresh

    def _put(self, batch: list[bytes]) -> str:
        """Write all of *batch*; return the error's text, or "" if it was written."""
        try:
            if self._piece:
                for piece in _pieces(b"".join(batch), self._piece):
                    self._write([piece])
            else:
                self._write(batch)
        except OSError as problem:
            return problem.strerror or str(problem)
        return ""

    def _write(self, rest: Sequence[bytes | memoryview]) -> None:
        while rest:
            try:
                rest = _behind(rest, os.writev(self._fd, rest[:_MOST_BUFFERS]))
            except BlockingIOError:  # somebody made the shared pipe non-blocking
                select.select([], [self._fd], [], 1.0)

    def _tell(self, error: str) -> None:
        now = time.monotonic()
        if self._told[0] and now - self._told[0] < 10:
            return
        self._told = (now, self.dropped)
        if self._on_trouble is not None:
            self._on_trouble(self.dropped, error or "too slow")


def _behind(buffers: Sequence[bytes | memoryview], count: int) -> Sequence[bytes | memoryview]:
    """Return what is left of *buffers* behind their first *count* bytes."""
    for index, one in enumerate(buffers):
        if count < len(one):
            return [memoryview(one)[count:], *buffers[index + 1 :]]
        count -= len(one)
    return []


def _pieces(data: bytes, most: int) -> list[bytes]:
    """Cut ``data`` at line ends into pieces of at most ``most`` bytes (0: one piece)."""
    if not most or len(data) <= most:
        return [data]
    pieces = []
    start = 0
    while start < len(data):
        end = start + most
        if end < len(data):
            end = data.rfind(b"\n", start, end) + 1 or start + most
        pieces.append(data[start:end])
        start = end
    return pieces
