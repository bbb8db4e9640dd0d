# SPDX-License-Identifier: Apache-2.0
"""Checks and their results, in the format of the talk; no check runs more than once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from strangler.config.snapshot import Endpoint, Health, Snapshot, Upstream
from strangler.control.probe import Outcome, probe

FRESH = 1.0
"""Seconds for which a probe's outcome is good, however often it is asked for."""

_ONLY_CONNECT = Health(path=None)


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a health check.

    time: Unix seconds of the look · duration: seconds that it took · since: Unix seconds from
    which the verdict has been the same.
    """

    checker: str
    output: str
    passed: bool
    time: float
    duration: float
    since: float

    def json(self) -> dict[str, Any]:
        """Return the members of the talk's format."""
        return {
            "checker": self.checker,
            "output": self.output,
            "passed": self.passed,
            "time": round(self.time, 3),
            "duration": round(self.duration, 6),
            "since": round(self.since, 3),
        }


def report(results: Iterable[Result]) -> dict[str, Any]:
    """Return the whole document; its status is failure where one check did not pass."""
    listed = [result.json() for result in results]
    passed = all(one["passed"] for one in listed)
    return {"status": "success" if passed else "failure", "results": listed}


class Checks:
    """Probes of upstreams, shared by all who ask at the same time."""

    def __init__(self, ask: Callable[..., Awaitable[Outcome]] = probe) -> None:
        """Use ``ask`` to probe an endpoint."""
        self._ask = ask
        self._running: dict[object, asyncio.Task[Result]] = {}
        self._last: dict[object, tuple[float, Result]] = {}
        self._since: dict[str, tuple[bool, float]] = {}

    async def upstreams(self, snapshot: Snapshot) -> list[Result]:
        """Probe every endpoint of every upstream, all at once."""
        host = next((name for name in snapshot.site.hosts if "*" not in name), "")
        wanted = [
            (upstream, endpoint)
            for upstream in snapshot.upstreams.values()
            for endpoint in upstream.endpoints
        ]
        known = {_key(upstream, endpoint) for upstream, endpoint in wanted}
        for gone in self._last.keys() - known:
            del self._last[gone]
        return list(await asyncio.gather(*(self._one(u, e, host) for u, e in wanted)))

    async def _one(self, upstream: Upstream, endpoint: Endpoint, host: str) -> Result:
        key = _key(upstream, endpoint)
        last = self._last.get(key)
        if last is not None and time.monotonic() - last[0] < FRESH:
            return last[1]
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._probe(upstream, endpoint, host, key))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)

    async def _probe(
        self, upstream: Upstream, endpoint: Endpoint, host: str, key: object
    ) -> Result:
        health = upstream.health or _ONLY_CONNECT
        outcome = await self._ask(endpoint, health, tls=upstream.tls, host=host)
        checker = f"{upstream.name} {endpoint.url.rstrip('/')}{health.path or ''}"
        result = self.result(checker, outcome.passed, outcome.output, outcome.duration)
        self._last[key] = (time.monotonic(), result)
        return result

    def result(self, checker: str, passed: bool, output: str, duration: float = 0.0) -> Result:
        """Make a result, remembering since when this checker has said so."""
        now = time.time()
        before = self._since.get(checker)
        if before is None or before[0] != passed:
            before = self._since[checker] = (passed, now)
        return Result(checker, output, passed, now, duration, before[1])


def _key(upstream: Upstream, endpoint: Endpoint) -> object:
    return (upstream.name, endpoint.url, upstream.health and repr(upstream.health))
