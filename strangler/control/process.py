# SPDX-License-Identifier: Apache-2.0
"""The life of the control process.

It holds the configuration in force as *state* and repeats it to every worker once a second, with
each ping: a worker that missed an announcement, or that took a dead one's place, catches up by
itself. A configuration that is rejected changes nothing but what the admin listener shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from strangler.config.diagnostics import ConfigRejected, Diagnostic
from strangler.config.snapshot import Route, Snapshot
from strangler.control import admin, telling
from strangler.control.arms import epoch
from strangler.control.asking import Asking
from strangler.control.audit import Audit
from strangler.control.console.board import Board
from strangler.control.counted import Counted
from strangler.control.desk import Desk
from strangler.control.fleet import MEMBER, hear
from strangler.control.health import SILENT, Checks
from strangler.control.overrides import Book
from strangler.control.parity import Parity
from strangler.control.prober import Prober
from strangler.control.promoting import Promoting
from strangler.control.readiness import saved_within_a_day
from strangler.control.rollout import Rollout
from strangler.control.sessions import Sessions
from strangler.control.state import State
from strangler.control.stores import make_store
from strangler.control.tokens import Tokens
from strangler.control.watch import Watch
from strangler.edge.channel import Channel, Message
from strangler.edge.server import Server
from strangler.observe import observed
from strangler.observe.events import announce
from strangler.observe.numbers import Arms

PING = 1.0
"""Seconds between two pings."""
HUNG = 30.0
"""Seconds of silence after which a worker is replaced: its share of the readers is waiting."""
_ACK = 3.0
_TELLINGS = 6
"""How often a change of the overrides is said before a worker counts as not answering."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that the control process is given.

    bundle: path of the bundle in force · channels: one a worker slot · doors: sockets of the admin
    listener · load: reads the files, given the snapshot before and whether a loss of many routes
    is confirmed; raises ConfigRejected; may be slow · changes: calls back, on the loop, whenever
    the files may have changed, for ever · lanes: descriptors of the workers' counts · overrides:
    the URL of their store, empty: as the file says · instance: this site's name among those that
    share it · certificates: the files that the edge's listeners prove themselves by.
    """

    snapshot: Snapshot
    bundle: str
    state: State
    channels: Sequence[Channel]
    doors: Sequence[socket.socket]
    load: Callable[[Snapshot, bool], Snapshot]
    changes: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
    rejected: ConfigRejected | None = None
    tokens: Tokens = field(default_factory=Tokens)
    sessions: Sessions = field(default_factory=Sessions)
    lanes: Sequence[int] = ()
    overrides: str = ""
    arm_key: bytes = b""
    instance: str = ""
    certificates: Sequence[str] = ()


@dataclass(slots=True)
class _Told:
    """What a worker said last, and when (monotonic seconds)."""

    status: Message
    at: float


def run(job: Job, link: Channel) -> int:
    """Live as the control process; return the exit code."""
    return asyncio.run(Control(job, link).serve())


class Control:
    """The configuration in force, the workers as they answer, and what the admin listener shows."""

    def __init__(self, job: Job, link: Channel) -> None:
        """Prepare; nothing runs before :meth:`serve`."""
        self._job = job
        self._link = link
        self._snapshot = job.snapshot
        self._bundle = job.bundle
        self._rejected: dict[str, Any] | None = None
        self._workers: dict[int, _Told] = {}
        self._breakers: dict[str, list[float]] = {}
        self._checks = Checks(self)
        self._prober = Prober(self._announce, full=self._full)
        self._asking = Asking(job.channels)
        self.counted = Counted(job.lanes)
        self.totals = self.counted.totals
        self.history = self.counted.history
        self.audit = Audit(lambda: job.state.folder, job.instance)
        self.overrides = Book(
            store=make_store(
                job.overrides or job.snapshot.overrides.store,
                folder=job.state.folder,
                site=job.snapshot.site.name,
            ),
            state=job.state,
            snapshot=lambda: self._snapshot,
            audit=self.audit,
            tell=self._tell_overrides,
            name=job.instance,
            presence=self._presence,
        )
        self.rollout = Rollout(
            book=self.overrides,
            state=job.state,
            snapshot=lambda: self._snapshot,
            totals=self.totals,
            saved=self._saved,
            hear=lambda: hear(self.overrides.store, job.instance),
            epoch=epoch(),
        )
        self.arm_key = job.arm_key
        self.cache = Desk(self._asking, lambda: self._snapshot, self._slots)
        self.watch = Watch(self._asking, self._slots)
        self.parity = Parity(self._asking, lambda: self._snapshot, self._slots)
        self.promoting = Promoting(self.rollout, self.overrides, self.totals, self.parity)
        self.console = Board(self, job.state)
        self._seq = 0
        self._draining = False
        self._stop = asyncio.Event()
        self._answered = asyncio.Event()
        self._reading = asyncio.Lock()
        self._reload_tasks: set[asyncio.Task[Any]] = set()
        self._began = self._changed = time.monotonic()
        self._reported_hung: set[int] = set()
        if job.rejected is not None:
            self._refuse(job.rejected)

    async def serve(self) -> int:
        """Announce, watch, answer the admin listener, until told to stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        for slot, channel in enumerate(self._job.channels):
            channel.attach(partial(self._on_worker, slot))
        self._link.attach(self._on_link, self._stop.set)
        job = self._job
        open_reads = all(map(_is_local, job.doors))
        server = Server(admin.application(self, job.tokens, job.sessions, open_reads=open_reads))
        listeners = [
            await loop.create_server(server.protocol, sock=sock, backlog=128)
            for sock in self._job.doors
        ]
        tasks = [
            asyncio.create_task(self._ping()),
            asyncio.create_task(self._watch()),
            asyncio.create_task(self.counted.run()),
            asyncio.create_task(self.console.follow()),
            asyncio.create_task(self.rollout.run()),
        ]
        self._prober.follow(self._snapshot)
        await self.overrides.start()
        self._link.send({"kind": "ready", "pid": os.getpid()})
        await self._stop.wait()
        for listener in listeners:
            listener.close()
        server.start_drain()
        self._prober.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.abort_all()
        await self.rollout.save()
        await self.overrides.close()
        self.audit.close()
        return 0

    # ---------------------------------------------------------------- workers

    async def _ping(self) -> None:
        while True:
            self._announce()
            self._report_hung()
            await asyncio.sleep(PING)

    def observed(self, seconds: float = 60.0) -> dict[str, Any]:
        """Return what each route and the site did in the last *seconds*, 1 to 300."""
        return observed.observed(self.totals, seconds)

    def numbers(self) -> Arms:
        """Return what all workers have counted since the site began, by route and target."""
        return self.totals.numbers()

    async def metrics(self, form: str) -> str:
        """Return all metrics as text, in one of the forms of `observe.metrics`."""
        workers = {f"worker {slot + 1}": told.status for slot, told in self._workers.items()}
        states = map(self._state_of, range(len(self._job.channels)))
        told = {
            **telling.of_configuration(self._snapshot, self._rejected is not None),
            **telling.of_overrides(self._snapshot, self.overrides.overrides),
            **telling.of_workers(workers, states),
        }
        pids = {name: int(status["pid"]) for name, status in workers.items()}
        return await self.counted.metrics(form, told, pids)

    def _state_of(self, slot: int) -> str:
        told = self._workers.get(slot)
        if told is None or time.monotonic() - told.at > SILENT:
            return "silent"
        if told.status.get("draining"):
            return "draining"
        return "ready" if self._current(told) else "behind"

    def _saved(self, key: str) -> int | None:
        """Return how often legacy has saved an answer of the live route *key* within a day."""
        told = [one.status for one in self._workers.values()]
        return saved_within_a_day(told, key, time.time())

    def _announce(self) -> None:
        self._seq += 1
        state = {
            "kind": "state",
            "seq": self._seq,
            "generation": self._snapshot.generation,
            "hash": self._snapshot.hash,
            "bundle": self._bundle,
            "workers": len(self._job.channels),
            "breakers": self._breakers,
            "sick": self._prober.sick,
            "overrides": self.overrides.told,
        }
        try:
            for channel in self._job.channels:
                channel.send(state)
        except ValueError as problem:  # workers go on with what they know of breakers themselves
            announce("state.cut", level=logging.WARNING, error=str(problem))
            for channel in self._job.channels:
                channel.send(state | {"breakers": {}, "sick": None})

    def _on_worker(self, slot: int, message: Message) -> None:
        if message.get("kind") == "answer":
            self._asking.heard(message)
        if message.get("kind") == "purged":
            self.cache.heard(slot, message)
        if message.get("kind") == "tail":
            self.watch.heard(message)
        if message.get("kind") != "status":
            return
        before = self._workers.get(slot)
        if message.get("draining") and before and before.status["pid"] != message["pid"]:
            return  # the last words of one that has been replaced
        self._workers[slot] = _Told(message, time.monotonic())
        self._answered.set()
        if self._hear_breakers(message["edge"]):
            self._announce()

    def _hear_breakers(self, edge: Message) -> bool:
        """Remember the newest state of each breaker; tell whether there is a newer one."""
        told = {**edge.get("breakers", {})}
        for name, upstream in edge.get("upstreams", {}).items():
            if "breaker" in upstream:
                told[name] = upstream["breaker"]
        newer = False
        for name, breaker in told.items():
            state = breaker["state"]
            if state[0] and state > self._breakers.get(name, []):
                self._breakers[name] = state
                newer = True
        return newer

    def _full(self, name: str) -> bool:
        """Tell whether a worker has no room for guests at the upstream called *name*."""
        for told in self._workers.values():
            upstream = told.status["edge"].get("upstreams", {}).get(name, {})
            guests = upstream.get("guests")
            if guests and (guests["waiting"] or guests["inflight"] >= guests["limit"]):
                return True
        return False

    def _slots(self) -> list[int]:
        """Return the workers' slots, those heard of last first."""
        told = {slot: -one.at for slot, one in self._workers.items()}
        return sorted(range(len(self._job.channels)), key=lambda slot: told.get(slot, 0.0))

    def _report_hung(self) -> None:
        now = time.monotonic()
        for told in self._workers.values():
            pid = int(told.status["pid"])
            if (
                now - told.at > HUNG
                and not told.status.get("draining")
                and pid not in self._reported_hung
            ):
                self._reported_hung.add(pid)
                self._link.send({"kind": "hung", "pid": pid, "silent": round(now - told.at, 1)})

    def _current(self, told: _Told) -> bool:
        return bool(
            told.status["generation"] == self._snapshot.generation
            and told.status["hash"] == self._snapshot.hash
        )

    async def _acknowledged(self, timeout: float) -> int:
        """Wait until every worker serves the snapshot in force; return how many do."""
        return await self._until_all(self._current, timeout)

    async def _until_all(self, true: Callable[[_Told], bool], timeout: float) -> int:
        """Wait until what each worker told last is *true*; return of how many it is."""
        count = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    self._answered.clear()
                    count = sum(map(true, self._workers.values()))
                    if count >= len(self._job.channels):
                        break
                    await self._answered.wait()
        return count

    def _presence(self) -> dict[str, Any]:
        """Return what the other instances of a fleet get to know of this one."""
        return {
            MEMBER: self.rollout.words() if self.overrides.store.kind != "file" else {},
            "pid": os.getpid(),
            "generation": self._snapshot.generation,
            "hash": self._snapshot.hash,
            "workers": f"{sum(map(self._current, self._workers.values()))}/"
            f"{len(self._job.channels)}",
        }

    async def _tell_overrides(self) -> tuple[int, int]:
        """Have every worker take the overrides; return how many serve them, of how many."""
        mark = self.overrides.mark
        wanted = len(self._job.channels)

        def serves(told: _Told) -> bool:
            return bool(told.status["edge"].get("overrides") == mark)

        count = 0
        for _ in range(_TELLINGS):  # a channel whose queue was full has lost the message
            self._announce()
            count = await self._until_all(serves, _ACK / _TELLINGS)
            if count >= wanted or mark != self.overrides.mark:
                break
        return count, wanted

    # ---------------------------------------------------------------- configuration

    def _on_link(self, message: Message) -> None:
        if message.get("kind") == "draining":
            self._draining = True
        elif message.get("kind") == "reload":
            task = asyncio.create_task(self._reload_for_supervisor())
            self._reload_tasks.add(task)
            task.add_done_callback(self._reload_tasks.discard)

    async def _reload_for_supervisor(self) -> None:
        await self._read(yes=False, asked=True)
        self._link.send({"kind": "reloaded"})

    async def _watch(self) -> None:
        async def changed() -> None:
            await self._read(yes=False)

        while True:
            try:
                await self._job.changes(changed)
            except Exception:
                logging.getLogger("strangler.errors").exception("watch.failed")
            await asyncio.sleep(1.0)

    async def _read(self, *, yes: bool, asked: bool = False) -> bool:
        """Load the files; put them in force if they are accepted. Return whether they were."""
        async with self._reading:
            before = self._snapshot
            loop = asyncio.get_running_loop()
            try:
                snapshot = await loop.run_in_executor(None, self._job.load, before, yes)
            except ConfigRejected as rejected:
                self._refuse(rejected)
                return False
            if snapshot.hash == before.hash:
                if self._rejected is not None:
                    self._rejected = None
                    announce("config.restored", generation=before.generation)
                elif asked:
                    announce("config.unchanged", generation=before.generation)
                return True
            return await self._put_in_force(snapshot)

    async def _put_in_force(self, snapshot: Snapshot) -> bool:
        try:
            bundle = self._job.state.accept(snapshot)
        except OSError as problem:
            # Without a bundle a replaced worker could not come back to it: keep what can be kept.
            why = f"cannot write the state folder: {problem.strerror}"
            announce("config.rejected", level=logging.ERROR, error=why)
            self._rejected = _rejection([why], [])
            return False
        before, self._snapshot, self._bundle = self._snapshot, snapshot, bundle
        self._rejected = None
        self._changed = time.monotonic()
        self._prober.follow(snapshot)
        self.overrides.follow(snapshot)
        self._link.send({"kind": "accepted", "generation": snapshot.generation, "bundle": bundle})
        began = time.monotonic()
        self._announce()
        acks = await self._acknowledged(_ACK)
        announce(
            "config.accepted",
            generation=snapshot.generation,
            hash=snapshot.hash[:12],
            routes=len(snapshot.routes),
            workers=f"{acks}/{len(self._job.channels)}",
            took=time.monotonic() - began,
        )
        entry: dict[str, Any] = {"what": "config.accepted", "who": "routes.yaml", "role": ""}
        entry |= {"before": before.generation, "after": snapshot.generation}
        await self.audit.add({**entry, "hash": snapshot.hash[:12], "from": {"by": "file"}})
        for one in snapshot.warnings:
            if one.severity != "note":
                announce("config.warning", level=logging.WARNING, **_fields(one))
        needs = [
            name
            for name in ("listen", "admin", "workers")
            if getattr(before, name) != getattr(snapshot, name)
        ]
        if before.overrides.store != snapshot.overrides.store:
            needs.append("overrides.store")
        if needs:
            announce(
                "config.waits",
                level=logging.WARNING,
                options=",".join(needs),
                hint="in force after `strangler upgrade` or a restart",
            )
        return True

    def _refuse(self, rejected: ConfigRejected) -> None:
        diagnostics = rejected.diagnostics
        same = self._rejected is not None and self._rejected["errors"] == [
            one.json() for one in diagnostics
        ]
        self._rejected = _rejection(
            [str(one) for one in diagnostics], [one.json() for one in diagnostics]
        )
        if same:  # said already; an editor that saves twice is no news
            return
        announce(
            "config.rejected",
            level=logging.ERROR,
            errors=sum(one.severity == "error" for one in diagnostics),
            keeps=self._snapshot.generation,
        )
        for one in diagnostics:
            if one.severity == "error":
                announce("config.error", level=logging.ERROR, **_fields(one))

    # ---------------------------------------------------------------- what the admin shows

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""
        return self._snapshot

    @property
    def instance(self) -> str:
        """Return this site's name among those that share the overrides' store."""
        return self._job.instance or socket.gethostname()

    @property
    def slots(self) -> int:
        """Return how many workers there should be."""
        return len(self._job.channels)

    @property
    def sick(self) -> dict[str, dict[str, bool]]:
        """Return the endpoints that fail their probe, by upstream."""
        return self._prober.sick

    async def health(self) -> dict[str, Any]:
        """Return the health check's document."""
        return await self._checks.document()

    @property
    def folder(self) -> Path:
        """Return the state folder."""
        return self._job.state.folder

    @property
    def certificates(self) -> Sequence[str]:
        """Return the files of the certificates that the edge serves."""
        return self._job.certificates

    def rejection(self) -> str | None:
        """Return why the last edit was rejected, None where it was not."""
        return None if self._rejected is None else str(next(iter(self._rejected["text"]), ""))

    def told(self, slot: int) -> tuple[float, Message] | None:
        """Return how many seconds ago the worker in *slot* told its status, and the status."""
        told = self._workers.get(slot)
        return None if told is None else (time.monotonic() - told.at, told.status)

    async def settled(self) -> None:
        """Wait until every worker serves what is in force, `SILENT` seconds after a change at most.

        Also after our own start: whoever has only just begun has not heard from anybody yet.
        """
        if not self._draining:
            await self._acknowledged(max(0.0, self._changed + SILENT - time.monotonic()))

    def behind(self, status: Mapping[str, Any]) -> bool:
        """Tell whether the worker with *status* serves something else than is in force."""
        ours = (self._snapshot.generation, self._snapshot.hash)
        return (status["generation"], status["hash"]) != ours

    def live(self) -> tuple[bool, str]:
        """Tell whether at least one worker answers."""
        now = time.monotonic()
        answering = sum(now - told.at <= SILENT for told in self._workers.values())
        said = f"{answering} of {len(self._job.channels)} workers answer"
        # A control process that has just been replaced has not heard from anybody yet.
        return answering > 0 or now - self._began < SILENT, said

    def ready(self) -> tuple[bool, str]:
        """Tell whether every worker serves the configuration in force and none drains."""
        if self._draining:
            return False, "draining"
        now = time.monotonic()
        good = sum(
            now - told.at <= SILENT and self._current(told) and not told.status.get("draining")
            for told in self._workers.values()
        )
        wanted = len(self._job.channels)
        said = f"{good} of {wanted} workers serve generation {self._snapshot.generation}"
        return good == wanted, said

    def routes(self) -> list[dict[str, Any]]:
        """Return the effective routes."""
        generation = self._snapshot.generation
        return [_route(route, generation) for route in self._snapshot.routes]

    def config(self) -> dict[str, Any]:
        """Return what is known of the configuration."""
        snapshot = self._snapshot
        return {
            "generation": snapshot.generation,
            "hash": snapshot.hash,
            "root": snapshot.root,
            "files": list(snapshot.files),
            "routes": len(snapshot.routes),
            "warnings": [one.json() for one in snapshot.warnings],
            "rejected": self._rejected,
        }

    def workers(self) -> list[dict[str, Any]]:
        """Return what each worker told last."""
        now = time.monotonic()
        return [
            {"slot": slot, "silent": round(now - told.at, 3), **told.status}
            for slot, told in sorted(self._workers.items())
        ]

    async def reload(self, *, yes: bool) -> dict[str, Any]:
        """Read the configuration anew, as the admin listener was asked to."""
        if await self._read(yes=yes, asked=True):
            return {"ok": True, "status": 200, **self.config()}
        errors = self._rejected["errors"] if self._rejected else []
        text = self._rejected["text"] if self._rejected else []
        return {"ok": False, "error": "rejected", "errors": errors, "text": text, "status": 422}


def _is_local(door: socket.socket) -> bool:
    """Tell whether only this machine reaches a listener."""
    name = door.getsockname()
    if not isinstance(name, tuple):
        return True  # a unix socket
    return ipaddress.ip_address(name[0]).is_loopback


def _rejection(text: list[str], errors: list[dict[str, Any]]) -> dict[str, Any]:
    return {"time": time.time(), "text": text, "errors": errors}


def _fields(one: Diagnostic) -> dict[str, Any]:
    fields = {"at": str(one.place), "code": one.code, "option": one.path, "message": one.message}
    if one.hint:
        fields["hint"] = one.hint
    return {name: value for name, value in fields.items() if value}


def _route(route: Route, generation: int) -> dict[str, Any]:
    target: str | None = None
    if route.action == "proxy":
        target = route.upstream or "legacy"
    elif route.redirect is not None:
        target = str(route.redirect.location)
    return {
        "key": route.key,
        "place": str(route.place),
        "action": route.action,
        "target": target,
        "stage": str(route.stage),
        "owner": route.owner,
        "until": route.until.isoformat() if route.until else None,
        "generation": generation,
    }
