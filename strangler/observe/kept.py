# SPDX-License-Identifier: Apache-2.0
"""The last bad requests of each route, byte for byte, as they came; HAProxy's `show errors`.

A bad one is refused, or its answer was a 5xx, broke off or could not be trusted. They are kept in
this process's memory, a few for each route and all together within a budget; secrets are masked
before they are kept. Of a storm, the first ten of each second are: so it costs next to nothing.
"""

from __future__ import annotations

import base64
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from strangler.observe.masking import mask_body, mask_head

MOST_HEAD: Final = 16 << 10
"""Bytes of a head that are kept."""
MOST_BODY: Final = 4 << 10
"""Bytes of a body that are kept."""
EACH: Final = 3
"""Bad requests kept for a route."""
MOST: Final = 4 << 20
"""Bytes of all that is kept."""
_A_SECOND: Final = 10
"""Bad requests of one route that are kept in a second."""


class Bytes(TypedDict):
    """What of a bad request is bytes."""

    request: bytes
    body: bytes
    response: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One bad request and what came of it.

    time: Unix seconds of its head · route: empty where it never had one · target: who was to
    answer · status: that the reader got, 0 where none · error: a word or a sentence · request: its
    head, or what had come of it · body: the beginning of what the reader sent · received: bytes of
    all that · response: head of the upstream's bad answer, empty where there was none.
    """

    time: float
    id: str
    client: str
    route: str
    target: str
    reason: str
    endpoint: str
    status: int
    error: str
    request: bytes
    body: bytes = b""
    received: int = 0
    response: bytes = b""

    @property
    def weight(self) -> int:
        """Return the bytes of memory that it takes, about."""
        return 800 + len(self.request) + len(self.body) + len(self.response)

    def json(self) -> dict[str, Any]:
        """Return it for a message between processes: bytes in base64."""
        told = {name: getattr(self, name) for name in self.__slots__}
        for name in ("request", "body", "response"):
            told[name] = base64.b64encode(told[name]).decode()
        return told


def read(told: dict[str, Any]) -> dict[str, Any]:
    """Return what `Bad.json` made for people: bytes as text, a character each (latin-1)."""
    return told | {
        name: base64.b64decode(told[name]).decode("latin-1")
        for name in ("request", "body", "response")
    }


class Kept:
    """What is kept in this process."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._routes: OrderedDict[str, deque[Bad]] = OrderedDict()
        self._lately: dict[str, tuple[int, int]] = {}
        self._bytes = 0
        self.passed = 0
        """Bad ones that were not kept, since there had been too many in their second."""

    def wants(self, route: str, status: int) -> bool:
        """Tell whether a bad request of *route* (empty: none) would be kept now."""
        now = int(time.monotonic())
        shelf = _shelf(route, status)
        second, count = self._lately.get(shelf, (now, 0))
        if second == now and count >= _A_SECOND:
            self.passed += 1
            return False
        if len(self._lately) > 10_000:
            self._lately.clear()
        self._lately[shelf] = (now, count + 1 if second == now else 1)
        return True

    def keep(self, bad: Bad) -> None:
        """Keep *bad*, whose bytes are masked already, in place of the oldest of its route."""
        shelf = _shelf(bad.route, bad.status)
        found = self._routes.setdefault(shelf, deque())
        self._routes.move_to_end(shelf)
        found.append(bad)
        self._bytes += bad.weight
        if len(found) > EACH:
            self._bytes -= found.popleft().weight
        while self._bytes > MOST:
            _, gone = self._routes.popitem(last=False)
            self._bytes -= sum(one.weight for one in gone)

    def read(self, route: str | None = None) -> list[Bad]:
        """Return those of *route* (empty: of none; None: all), the newest first."""
        every = [
            one
            for shelf in self._routes.values()
            for one in shelf
            if route is None or one.route == route
        ]
        return sorted(every, key=lambda one: -one.time)


def _shelf(route: str, status: int) -> str:
    """Return where it is kept: a flood of one kind of refusal must not push out the others."""
    return route or f" {status}"


def masked(request: bytes, body: bytes, response: bytes) -> Bytes:
    """Return the bytes of a bad request as they may be kept: cut to size, secrets masked."""
    return Bytes(
        request=mask_head(request[:MOST_HEAD]),
        body=mask_body(body[:MOST_BODY]),
        response=mask_head(response[:MOST_HEAD]),
    )
