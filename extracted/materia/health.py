# SPDX-License-Identifier: Apache-2.0
"""The detailed health check: every part by name, what it said, whether it passed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .store import Store
from .sync import Sync

KEPT = 1.0  # seconds that one result answers all who ask
TIMEOUT = 1.0  # seconds that a part has to answer


class Unhealthy(Exception):
    """A part that answered, and what it said isn't well."""


Checker = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Health:
    """The state of all parts at one moment."""

    results: tuple[Mapping[str, Any], ...]

    @property
    def passed(self) -> bool:
        return all(r["passed"] for r in self.results)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "status": "success" if self.passed else "failure",
            "results": list(self.results),
        }


class Checkup:
    """Asks all parts at once, each with its own timeout, at most once every KEPT seconds."""

    def __init__(
        self, checkers: Mapping[str, Checker], *, timeout: float = TIMEOUT, kept: float = KEPT
    ) -> None:
        self._checkers = checkers
        self._timeout = timeout
        self._kept = kept
        self._running: asyncio.Task[Health] | None = None
        self._until = 0.0
        self._since: dict[str, tuple[bool, float]] = {}

    async def health(self) -> Health:
        """Return the state now, or the one found less than KEPT seconds ago."""
        if self._running is None or (self._running.done() and time.monotonic() >= self._until):
            self._running = asyncio.create_task(self._ask())
        return await asyncio.shield(self._running)  # one asker who leaves doesn't end the others'

    async def _ask(self) -> Health:
        results = await asyncio.gather(*(self._one(*c) for c in self._checkers.items()))
        self._until = time.monotonic() + self._kept
        return Health(tuple(results))

    async def _one(self, name: str, checker: Checker) -> Mapping[str, Any]:
        start = time.monotonic()
        passed = False
        try:
            async with asyncio.timeout(self._timeout):
                output = await checker()
            passed = True
        except TimeoutError:
            output = f"no answer in {self._timeout:g} s"
        except Unhealthy as error:
            output = str(error)
        except Exception as error:
            output = f"{type(error).__name__}: {error}"
        took, now = round(time.monotonic() - start, 6), round(time.time(), 3)
        before = self._since.get(name)
        if before is None or before[0] != passed:
            before = self._since[name] = (passed, now)
        return {
            "checker": name,
            "output": output,
            "passed": passed,
            "time": now,
            "duration": took,
            "since": before[1],
        }


def store_checker(store: Store) -> Checker:
    """Pass while the store answers and isn't empty."""

    async def check() -> str:
        head = await store.head()
        if not head:
            raise Unhealthy("empty: fill it")
        return f"newest event {head}"

    return check


def sync_checker(sync: Sync, late: float, clock: Callable[[], float] = time.monotonic) -> Checker:
    """Pass while the latest good re-sync is less than `late` seconds ago (0: however old).

    A monolith that is down publishes nothing, so the pages stay right without it: `late` is
    hours, not seconds, lest its fall take this service along.
    """

    async def check() -> str:
        since = sync.started if sync.succeeded is None else sync.succeeded
        age = clock() - since
        text = "no re-sync yet" if sync.succeeded is None else f"last re-sync {age:.0f} s ago"
        if sync.rejected:
            text += f", {len(sync.rejected)} events left out"
        if sync.error:
            text += f", the latest failed: {sync.error}"
        if late and age > late:
            raise Unhealthy(f"{text} (allowed: {late:.0f} s)")
        return text

    return check
