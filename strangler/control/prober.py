# SPDX-License-Identifier: Apache-2.0
"""Ask every endpoint on purpose how it is: one prober a machine, whatever the workers.

Each endpoint of an upstream with `health` has its own beat, jittered, so that neither the probes
nor several machines are ever in step. `rise` good answers in a row and `fall` bad ones change the
verdict; until then the one before it holds, and who has not been asked yet is healthy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import random
from typing import Final

from strangler.config.snapshot import Endpoint, Snapshot, Upstream
from strangler.control.probe import Outcome, probe

#: A beat is this share shorter or longer.
_JITTER: Final = 0.2

_Key = tuple[Upstream, Endpoint, str]


def _never(upstream: str) -> bool:
    return False


class Prober:
    """Probes what a snapshot names; *changed* is called when a verdict has changed.

    *full* tells whether an upstream has no room for guests: then a probe waits for its next beat.
    It has learnt nothing, which is neither good news nor bad.

    ``sick`` holds the endpoints that fail, by upstream and URL, as workers are told it.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        ask: Callable[..., Awaitable[Outcome]] = probe,
        chance: Callable[[], float] = random,
        full: Callable[[str], bool] = _never,
    ) -> None:
        self.sick: dict[str, dict[str, bool]] = {}
        self._changed = changed
        self._ask = ask
        self._chance = chance
        self._full = full
        self._tasks: dict[str, tuple[_Key, asyncio.Task[None]]] = {}

    def follow(self, snapshot: Snapshot) -> None:
        """Probe what *snapshot* says from now on; what has not changed keeps its beat."""
        host = next((name for name in snapshot.site.hosts if "*" not in name), "")
        wanted: dict[str, _Key] = {
            f"{upstream.name} {endpoint.url}": (upstream, endpoint, host)
            for upstream in snapshot.upstreams.values()
            if upstream.health is not None
            for endpoint in upstream.endpoints
        }
        for name, (key, task) in list(self._tasks.items()):
            if wanted.get(name) != key:
                task.cancel()
                del self._tasks[name]
                self._judge(key[0], key[1], healthy=True)
        for name, key in wanted.items():
            if name not in self._tasks:
                self._tasks[name] = (key, asyncio.create_task(self._watch(*key)))

    def stop(self) -> None:
        """End all probing."""
        for _, task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _watch(self, upstream: Upstream, endpoint: Endpoint, host: str) -> None:
        health = upstream.health
        assert health is not None
        healthy, against = True, 0
        await asyncio.sleep(health.every * self._chance() * _JITTER)
        while True:
            if not self._full(upstream.name):
                outcome = await self._ask(endpoint, health, tls=upstream.tls, host=host)
                against = against + 1 if outcome.passed != healthy else 0
                if against >= (health.fall if healthy else health.rise):
                    healthy, against = not healthy, 0
                    self._judge(upstream, endpoint, healthy=healthy)
            await asyncio.sleep(health.every * (1.0 + _JITTER * (2.0 * self._chance() - 1.0)))

    def _judge(self, upstream: Upstream, endpoint: Endpoint, *, healthy: bool) -> None:
        known = self.sick.get(upstream.name, {})
        if healthy == (endpoint.url not in known):
            return
        if healthy:
            del known[endpoint.url]
            if not known:
                del self.sick[upstream.name]
        else:
            self.sick.setdefault(upstream.name, {})[endpoint.url] = False
        self._changed()
