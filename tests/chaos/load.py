# SPDX-License-Identifier: Apache-2.0
"""The readers' side that the trial sees: start them, look at what became of their requests."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

READERS = Path(__file__).with_name("readers.py")


@dataclass(frozen=True, slots=True)
class Group:
    """Readers of one kind.

    name: what they are called; rate: requests a second; pages: (target, SHA-256 of the right
    content; empty: any); fields: header fields of each request, body: its content, in both of which
    `{id}` is the request's own; status: of the right answer.
    """

    name: str
    rate: float
    pages: Sequence[tuple[str, str]]
    fields: dict[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: str = ""
    status: int = 200


class Record(NamedTuple):
    """One request that has ended; times are of CLOCK_MONOTONIC, in seconds."""

    group: str
    due: float
    ended: float
    status: int
    fallback: str
    cache: str
    fresh: bool
    problem: str
    id: str

    @property
    def took(self) -> float:
        """Return the seconds from when it was due to its end."""
        return self.ended - self.due


class Load:
    """Readers who ask until the block ends; it then waits for the answers under way."""

    def __init__(self, port: int, groups: Sequence[Group]) -> None:
        self.records: list[Record] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, str(READERS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdin
        orders = {"port": port, "groups": [asdict(group) for group in groups]}
        self._process.stdin.write(json.dumps(orders) + "\n")
        self._process.stdin.flush()
        self._thread = threading.Thread(target=self._collect, daemon=True, name="readers")
        self._thread.start()

    def _collect(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                self.records.append(Record(*json.loads(line)))
                self._changed.notify_all()

    def between(self, start: float, end: float, *groups: str) -> list[Record]:
        """Return the requests of *groups* (none: of all) that were due in this time."""
        with self._changed:
            records = tuple(self.records)
        return [one for one in records if start <= one.due < end and _in(one, groups)]

    def until(self, true: Callable[[], bool], timeout: float, what: str = "") -> None:
        """Wait until *true* after some request's end; fails after *timeout* seconds."""
        end = time.monotonic() + timeout
        while not true():
            with self._changed:
                self._changed.wait(0.05)
            assert time.monotonic() < end, f"not within {timeout} s: {what or true}"
            assert self._process.poll() is None, "the readers have ended"

    def go_on(self, seconds: float) -> None:
        """Let the readers ask for *seconds*: the time is the subject."""
        time.sleep(seconds)

    def stop(self) -> None:
        """Have them end after the answers under way."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(40)
        finally:
            self._process.kill()
            self._thread.join(5)
            if self._process.stdout:
                self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _in(record: Record, groups: Sequence[str]) -> bool:
    return not groups or record.group in groups


def percentile(records: Sequence[Record], share: float) -> float:
    """Return the time that *share* (0-1) of *records* took at most, in ms; 0 for none."""
    times = sorted(one.took for one in records)
    return times[min(len(times) - 1, int(len(times) * share))] * 1e3 if times else 0.0
