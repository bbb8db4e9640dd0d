# SPDX-License-Identifier: Apache-2.0
"""Lines of the access log for who listens now: chosen, formatted and sent where they arise.

Each tail is a lease that ends by itself. A worker sends at most so many lines a second to each;
what comes above that is counted as missed, never waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from strangler.observe.lines import Record, as_json
from strangler.observe.masking import mask_target

RATE: Final = 200
"""Lines a second from one worker to one tail."""
_MOST_BYTES: Final = 24 << 10
"""Bytes of lines in one message; escaped twice, they must fit into a channel's."""

Send = Callable[[dict[str, Any]], bool]
"""Sends a message to the control process; False: its queue is full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records pass; empty or 0: all.

    route: a key · target: the name of who was to answer · statuses: codes, and classes as their
    hundreds digit · slow: seconds that the exchange took at least.
    """

    route: str = ""
    target: str = ""
    statuses: frozenset[int] = frozenset()
    slow: float = 0.0

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Wanted:
        """Return what the control process has asked for."""
        return cls(
            route=str(told.get("route", "")),
            target=str(told.get("target", "")),
            statuses=frozenset(map(int, told.get("statuses", ()))),
            slow=float(told.get("slow", 0.0)),
        )

    def passes(self, record: Record) -> bool:
        """Tell whether a record is wanted."""
        status = record[6]
        return not (
            (self.route and record[11] != self.route)
            or (self.target and record[12] != self.target)
            or record[9] < self.slow
            or (
                self.statuses and status not in self.statuses and status // 100 not in self.statuses
            )
        )


def statuses(text: str) -> list[int]:
    """Return what `5xx,404` names: classes as 1 to 5, codes as they are. Raises ValueError."""
    found = []
    for part in text.lower().replace(" ", "").split(","):
        if len(part) == 3 and part[0] in "12345" and part[1:] == "xx":
            found.append(int(part[0]))
        elif len(part) == 3 and part.isascii() and part.isdigit() and part[0] in "12345":
            found.append(int(part))
        else:
            raise ValueError(f"expected statuses such as 5xx or 404, got {part[:20]}")
    return found


class _Tail:
    def __init__(self, id_: int) -> None:
        self.id = id_
        self.wanted = Wanted()
        self.until = 0.0
        self.second = 0
        self.sent = 0
        self.missed = 0


class Tails:
    """The tails of this process."""

    def __init__(self, send: Send) -> None:
        """Send lines by *send*."""
        self._send = send
        self._tails: dict[int, _Tail] = {}

    def __bool__(self) -> bool:
        return bool(self._tails)

    def lease(self, id_: int, wanted: Wanted, seconds: float) -> None:
        """Let a tail run for *seconds* from now; 0 ends it."""
        if seconds <= 0:
            self._tails.pop(id_, None)
            return
        tail = self._tails.get(id_)
        if tail is None:
            tail = self._tails[id_] = _Tail(id_)
        tail.wanted = wanted
        tail.until = time.monotonic() + seconds

    def take(self, records: Sequence[Record]) -> None:
        """Send on what is wanted of *records*."""
        now = time.monotonic()
        for tail in list(self._tails.values()):
            if now >= tail.until:
                del self._tails[tail.id]
                continue
            if int(now) != tail.second:
                tail.second, tail.sent = int(now), 0
            lines = []
            for record in records:
                if tail.wanted.passes(record):
                    if tail.sent < RATE:
                        tail.sent += 1
                        lines.append(as_json(_masked(record))[:-1])
                    else:
                        tail.missed += 1
            if lines:
                self._pass_on(tail, lines)

    def _pass_on(self, tail: _Tail, lines: list[str]) -> None:
        while lines:
            size = count = 0
            while count < len(lines) and (not count or size + len(lines[count]) <= _MOST_BYTES):
                size += len(lines[count])
                count += 1
            batch, lines = lines[:count], lines[count:]
            message = {"kind": "tail", "tail": tail.id, "lines": batch, "missed": tail.missed}
            try:
                sent = self._send(message)
            except ValueError:  # a line beyond all measure
                sent = False
            tail.missed = 0 if sent else tail.missed + len(batch)


def _masked(record: Record) -> Record:
    return (*record[:5], mask_target(record[5]), *record[6:])
