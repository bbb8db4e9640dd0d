# SPDX-License-Identifier: Apache-2.0
"""What `/-/healthcheck` looks at: upstreams, tiers, the configuration, workers, the machine.

Probes and looks at disks are made when somebody asks, at most once a second; what workers know
of themselves they tell every second anyway.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from strangler.config.snapshot import Endpoint, Health, Snapshot, Upstream
from strangler.control.certificates import valid_until
from strangler.control.probe import Outcome, probe
from strangler.health import Ask, Failed
from strangler.health import Health as Checkup

FRESH: Final = 1.0
"""Seconds for which an answer is good, however often it is asked for."""
SILENT: Final = 5.0
"""Seconds of silence after which a worker counts as not answering."""
SLOW: Final = 0.5
"""Seconds that a worker's timer may come late."""
FULL: Final = 0.9
"""The share of its file descriptors that a worker may use."""
LITTLE: Final = 64 << 20
"""Bytes that must be free on a disk that we write to."""
SOON: Final = 7 * 86400.0
"""Seconds before its end from which a certificate fails: nobody seems to renew it."""

_ONLY_CONNECT: Final = Health(path=None)
_SQLITE: Final = "sqlite:"

Told = tuple[float, Mapping[str, Any]]
"""How many seconds ago a worker told its status, and the status."""


class Site(Protocol):
    """What the checks ask of the control process."""

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""

    @property
    def slots(self) -> int:
        """Return how many workers there should be."""

    @property
    def folder(self) -> Path:
        """Return the state folder."""

    @property
    def certificates(self) -> Sequence[str]:
        """Return the files of the certificates that the edge serves."""

    def rejection(self) -> str | None:
        """Return why the last edit was rejected, None where it was not."""

    async def settled(self) -> None:
        """Wait until workers have followed the last change, or have had the time to."""

    def told(self, slot: int) -> Told | None:
        """Return what the worker in *slot* told last."""

    def behind(self, status: Mapping[str, Any]) -> bool:
        """Tell whether the worker with *status* serves something else than is in force."""


class Checks:
    """The checks of one site, which follow its configuration."""

    def __init__(
        self,
        site: Site,
        ask: Callable[..., Awaitable[Outcome]] = probe,
        *,
        fresh: float = FRESH,
    ) -> None:
        """Use ``ask`` to probe an endpoint."""
        self._site = site
        self._ask = ask
        self._fresh = fresh
        self._checkup = Checkup(fresh=fresh)
        self._known: dict[str, object] = {}

    async def document(self) -> dict[str, Any]:
        """Return the document of all checks.

        Just after a start or a reload the answer waits until the workers have followed: asked a
        moment too early they would look sick, and a monitor would call somebody.
        """
        await self._site.settled()
        self._follow(self._site.snapshot)
        return await self._checkup.document()

    def _follow(self, snapshot: Snapshot) -> None:
        """Have one check for each thing there is; an unchanged one keeps its answer."""
        wanted: dict[str, tuple[object, Ask, float]] = {}
        host = next((name for name in snapshot.site.hosts if "*" not in name), "")
        for upstream in snapshot.upstreams.values():
            for endpoint in upstream.endpoints:
                health = upstream.health or _ONLY_CONNECT
                name = f"{upstream.name} {endpoint.url.rstrip('/')}{health.path or ''}"
                key: object = (repr(health), upstream.tls, host)
                look = self._probe(upstream, endpoint, health, host)
                # The probe keeps its own time limit, and names it.
                wanted[name] = key, look, health.timeout + 5.0
        for check, look in {
            "configuration": self._configuration,
            **self._workers(),
            **self._tiers(snapshot),
            **self._disks(snapshot),
            **self._certificates(snapshot),
        }.items():
            wanted[check] = None, look, 2.0
        for name in self._known.keys() - wanted.keys():
            self._checkup.remove(name)
            del self._known[name]
        for name, (key, look, timeout) in wanted.items():
            if name not in self._known or self._known[name] != key:
                self._checkup.add(name, look, timeout=timeout)
                self._known[name] = key

    def _probe(self, upstream: Upstream, endpoint: Endpoint, health: Health, host: str) -> Ask:
        async def look() -> str:
            outcome = await self._ask(endpoint, health, tls=upstream.tls, host=host)
            return _verdict(outcome.passed, outcome.output)

        return look

    async def _configuration(self) -> str:
        said = f"generation {self._site.snapshot.generation}"
        why = self._site.rejection()
        if why is not None:
            raise Failed(f"the last edit was rejected, {said} goes on: {why}")
        return said

    # What workers tell.

    def _workers(self) -> dict[str, Ask]:
        looks: dict[str, Ask] = {}
        for slot in range(self._site.slots):
            name = f"worker {slot + 1}"
            looks[name] = self._of_worker(slot, self._answers)
            looks[f"{name} event loop"] = self._of_worker(slot, _loop)
            looks[f"{name} file descriptors"] = self._of_worker(slot, _descriptors)
        return looks

    def _of_worker(self, slot: int, judge: Callable[[Mapping[str, Any]], str]) -> Ask:
        async def look() -> str:
            told = self._site.told(slot)
            if told is None:
                raise Failed("has not answered yet")
            silent, status = told
            if silent > SILENT:
                raise Failed(f"silent for {silent:.0f} s")
            return judge(status)

        return look

    def _answers(self, status: Mapping[str, Any]) -> str:
        if self._site.behind(status):
            trouble = f": {status['trouble']}" if status.get("trouble") else ""
            raise Failed(f"serves generation {status['generation']}{trouble}")
        return f"generation {status['generation']}, {status['connections']} connections"

    def _tiers(self, snapshot: Snapshot) -> dict[str, Ask]:
        """Return a look at each store below the edge tier that some worker has open."""
        names = {
            name for status in self._statuses() for name in status["edge"].get("tiers", {})
        } & snapshot.tiers.keys()
        return {f"cache tier {name}": self._of_tier(name) for name in sorted(names)}

    def _of_tier(self, name: str) -> Ask:
        async def look() -> str:
            told = [one for s in self._statuses() if (one := s["edge"].get("tiers", {}).get(name))]
            down = [one for one in told if not one["up"]]
            said = f"{len(told) - len(down)} of {len(told)} workers reach it"
            if down:
                raise Failed(f"{said}: {down[0]['why'] or 'no answer'}")
            return said

        return look

    def _statuses(self) -> Sequence[Mapping[str, Any]]:
        told = [self._site.told(slot) for slot in range(self._site.slots)]
        return [
            status for one in told if one is not None and one[0] <= SILENT for status in one[1:]
        ]

    # The machine.

    def _disks(self, snapshot: Snapshot) -> dict[str, Ask]:
        folders = {"disk of the state folder": self._site.folder}
        for name, tier in snapshot.tiers.items():
            if tier.store.startswith(_SQLITE):
                path = Path(tier.store.removeprefix(_SQLITE)).absolute()
                folders[f"disk of cache tier {name}"] = path.parent
        return {name: _disk(folder) for name, folder in folders.items()}

    def _certificates(self, snapshot: Snapshot) -> dict[str, Ask]:
        files = set(self._site.certificates)
        files |= {one.tls.ca for one in snapshot.upstreams.values() if one.tls and one.tls.ca}
        return {f"certificate {file}": _certificate(file) for file in sorted(files)}


def _verdict(passed: bool, said: str) -> str:
    if not passed:
        raise Failed(said)
    return said


def _loop(status: Mapping[str, Any]) -> str:
    lag = status["lag"]
    return _verdict(lag <= SLOW, f"a timer came {lag * 1000:.0f} ms late")


def _descriptors(status: Mapping[str, Any]) -> str:
    used, limit = status["descriptors"]
    return _verdict(used <= FULL * limit, f"{used} of {limit} in use")


def _disk(folder: Path) -> Ask:
    def look() -> str:
        place = next(one for one in (folder, *folder.parents) if one.is_dir())
        if not os.access(place, os.W_OK):
            raise Failed(f"{place} is not writable")
        free, whole = shutil.disk_usage(place).free, shutil.disk_usage(place).total
        said = f"{free / (1 << 30):.1f} GiB free of {whole / (1 << 30):.1f}"
        return _verdict(free >= LITTLE, said)

    return look


def _certificate(file: str) -> Ask:
    def look() -> str:
        end = valid_until(Path(file).read_text(encoding="latin-1"))
        left = (end - datetime.fromtimestamp(time.time(), UTC)).total_seconds()
        said = f"valid until {end:%Y-%m-%d}, {max(0.0, left) / 86400:.0f} days"
        return _verdict(left > SOON, said if left > 0 else f"expired on {end:%Y-%m-%d}")

    return look
