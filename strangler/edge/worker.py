# SPDX-License-Identifier: Apache-2.0
"""One worker: the data plane on its own event loop.

A worker serves its inherited sockets with the snapshot in force, applies the generation that the
control process announces, answers its pings, and drains when it is told to. Requests in flight
end with the snapshot they began with. It never needs the control process in order to serve.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from strangler.config.snapshot import Limits, ListenTls, Snapshot
from strangler.edge import tls
from strangler.edge.channel import Channel, Message
from strangler.observe.access import AccessLog
from strangler.observe.events import announce

_errors = logging.getLogger("strangler.errors")

_LAG_EVERY = 0.5
_COUNT_EVERY = 5.0
"""Seconds between two counts of descriptors: ten thousand of them take milliseconds to list."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_AGAIN = 0.01
"""Seconds until an answer that found the queue full is sent again."""
_LAST_HANDSHAKES = 0.5
"""Seconds that TLS handshakes get which had begun, or waited in the queue, when a drain began."""
_GOODBYE = 2.0
"""Seconds that a TLS client gets to answer our close."""


class Engine(Protocol):
    """What a worker asks of the HTTP engine."""

    @property
    def connections(self) -> int:
        """Return how many are open."""

    def protocol(self) -> asyncio.Protocol:
        """Make the protocol of one accepted connection."""

    def set_limits(self, limits: Limits) -> None:
        """Apply ``limits`` to what begins from now on."""

    def start_drain(self) -> None:
        """Take nothing new; let what runs say ``Connection: close``."""

    def drained(self, timeout: float) -> Awaitable[object]:
        """Wait until no connection is left, at most ``timeout`` seconds."""

    def abort_all(self) -> None:
        """Cut every connection."""


class DataPlane(Protocol):
    """What a worker asks of the application that decides and forwards.

    ``changed`` is called when something has changed that the other workers want to know; ``send``
    sends a message to the control process, False where its queue is full.
    """

    changed: Callable[[], None]
    send: Callable[[Message], bool]

    def opened(self) -> Awaitable[None]:
        """Wait, not for long, until it can answer as well as it ever will."""

    def swap(self, snapshot: Snapshot) -> None:
        """Use ``snapshot`` for every request that begins from now on."""

    def ask(self, order: Message) -> Awaitable[Message]:
        """Carry out what an operator asks for; return what is to be said of it."""

    def status(self) -> dict[str, Any]:
        """Return small numbers for the health check."""

    def learn(self, told: Message) -> None:
        """Take what the control process knows of breakers and probes."""

    def close(self) -> Awaitable[None]:
        """Close what is pooled."""


@dataclass(frozen=True, slots=True)
class Door:
    """The sockets of one listener that a worker serves, and their certificate if it has one.

    kept: what the certificate's files held when they loaded last, in case they don't load now.
    """

    sockets: Sequence[socket.socket]
    tls: ListenTls | None = None
    kept: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a worker is given.

    snapshot: in force when the worker starts · load: reads an announced bundle, may be slow ·
    build: makes the data plane and its engine; called on the running loop.
    """

    slot: int
    doors: Sequence[Door]
    channel: Channel
    snapshot: Snapshot
    load: Callable[[str], Snapshot]
    build: Callable[[Snapshot, AccessLog], tuple[DataPlane, Engine]]
    access: Callable[[], AccessLog]


def run(job: Job, link: Channel) -> int:
    """Live as worker ``job.slot`` until drained; return the exit code."""
    # A thread that parses a new configuration gives way to the loop within a millisecond.
    sys.setswitchinterval(0.001)
    keep_freed_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(Worker(job, link).serve())


def keep_freed_memory() -> None:
    """Have glibc keep what large reads free, instead of asking the kernel for it at each.

    A read of a busy stream is a buffer of 256 KB, beyond the size from which glibc gives memory
    back at once: mapping and faulting it in anew made everybody's requests wait beside a large
    download. No effect where there is no glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 8 << 20)


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a uvloop event loop, or asyncio's own where uvloop does not install."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Worker:
    """The life of one worker."""

    def __init__(self, job: Job, link: Channel) -> None:
        """Prepare; nothing is accepted before :meth:`serve`."""
        self._job = job
        self._link = link
        self._snapshot = job.snapshot
        self._started = time.time()
        self._lag = 0.0
        self._counted = (float("-inf"), 0)
        self._stop = asyncio.Event()
        self._draining = False
        self._asked = False
        self._wanted: tuple[int, str, str] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._trouble = ""
        self._told_long = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _limits(self) -> Limits:
        return self._snapshot.limits

    async def serve(self) -> int:
        """Listen, say so, serve until asked to stop, drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        self._access = access = self._job.access()
        access.start()
        loop.add_signal_handler(signal.SIGUSR1, access.reopen)
        self._edge, self._engine = self._job.build(self._snapshot, access)
        await self._edge.opened()
        servers = await self._listen()
        self._link.attach(self._on_link, self._stop.set)
        self._job.channel.attach(self._on_control)
        self._edge.changed = self._tell
        self._edge.send = self._job.channel.send
        self._keep(self._measure_lag())
        gc.collect()
        gc.freeze()
        self._link.send({"kind": "ready", "pid": os.getpid()})
        self._tell()
        await self._stop.wait()
        await self._drain(servers)
        return 0

    async def _listen(self) -> list[tuple[asyncio.Server, socket.socket, ssl.SSLContext | None]]:
        loop = asyncio.get_running_loop()
        servers = []
        certificates: dict[ListenTls, tls.Certificate] = {}
        for door in self._job.doors:
            context = None
            if door.tls is not None:
                if door.tls not in certificates:
                    certificates[door.tls] = tls.Certificate(door.tls, door.kept)
                context = certificates[door.tls].context
            for sock in door.sockets:
                server = await loop.create_server(
                    self._engine.protocol,
                    sock=sock,
                    ssl=context,
                    backlog=4096,
                    ssl_handshake_timeout=self._limits.head_timeout if context else None,
                    ssl_shutdown_timeout=_GOODBYE if context else None,
                )
                servers.append((server, sock, context))
        if certificates:
            loaded = partial(self._link.send, {"kind": "certificate"})
            loaded()  # it may be newer than what this worker was forked with
            self._keep(tls.keep_fresh(certificates.values(), loaded))
        return servers

    async def _drain(
        self, servers: list[tuple[asyncio.Server, socket.socket, ssl.SSLContext | None]]
    ) -> None:
        self._draining = True
        if not self._asked:
            self._link.send({"kind": "leaving"})
        self._tell()
        taken = []
        for server, sock, context in servers:
            taken += [(conn, context) for conn in accept_queued(sock)]
            server.close()
        await self._welcome(taken, any(context is not None for _, _, context in servers))
        self._engine.start_drain()
        await self._engine.drained(self._limits.drain)
        left = self._engine.connections
        if left:
            announce("drain.cut", level=30, connections=left, after=self._limits.drain)
            self._engine.abort_all()
        for task in list(self._tasks):
            task.cancel()
        await self._edge.close()
        self._access.close()

    async def _welcome(
        self, taken: list[tuple[socket.socket, ssl.SSLContext | None]], tls_doors: bool
    ) -> None:
        """Make connections of what the queue held; let handshakes that have begun end."""
        loop = asyncio.get_running_loop()
        began = [
            loop.create_task(loop.connect_accepted_socket(self._engine.protocol, conn, ssl=context))
            for conn, context in taken
        ]
        if began:
            await asyncio.wait(began, timeout=_LAST_HANDSHAKES)
            for task in began:
                if not task.done():
                    task.cancel()
            await asyncio.gather(*began, return_exceptions=True)
        elif tls_doors:  # the engine does not know of a connection before its handshake has ended
            await asyncio.sleep(_LAST_HANDSHAKES)

    # ---------------------------------------------------------------- control

    def _on_link(self, message: Message) -> None:
        if message.get("kind") == "draining":
            self._asked = True

    def _on_control(self, message: Message) -> None:
        if message.get("kind") == "ask":
            self._keep(self._answer(message))
        if message.get("kind") != "state":
            return
        wanted = (int(message["generation"]), str(message["hash"]), str(message["bundle"]))
        if wanted[:2] == (self._snapshot.generation, self._snapshot.hash):
            self._wanted = None
        elif wanted != self._wanted or (self._loading is None and self._trouble):
            self._wanted = wanted
            if self._loading is None:
                self._loading = self._keep(self._catch_up())
        self._edge.learn(message)
        self._tell(message.get("seq", 0))

    async def _answer(self, message: Message) -> None:
        """Do what the control process asks for once, and say how it went."""
        told: Message = {"kind": "answer", "id": message.get("id"), "slot": self._job.slot}
        try:
            told["answer"] = await self._edge.ask(message["order"])
        except Exception as problem:  # an operator's question must not end a worker
            _errors.exception("order.failed %s", str(message.get("order"))[:200])
            told["error"] = f"{type(problem).__name__}: {problem}"[:500]
        try:
            while not self._job.channel.send(told) and not self._job.channel.closed:
                await asyncio.sleep(_AGAIN)
        except ValueError as problem:
            self._job.channel.send(told | {"answer": None, "error": str(problem)})

    async def _catch_up(self) -> None:
        """Load what was announced last, off the loop, and put it in force."""
        loop = asyncio.get_running_loop()
        while self._wanted is not None:
            wanted = self._wanted
            generation, _, bundle = wanted
            # A collection while the new objects come to life would look at all of them, and hold up
            # every connection for tens of milliseconds. Snapshots hold no cycles: the old one goes
            # with its last exchange.
            gc.disable()
            try:
                snapshot = await loop.run_in_executor(None, self._job.load, bundle)
                gc.freeze()
            except Exception as problem:  # whatever it is, the snapshot in force goes on
                self._trouble = f"{type(problem).__name__}: {problem}"
                announce("config.unusable", level=40, generation=generation, error=self._trouble)
                break
            finally:
                gc.enable()
            if wanted != self._wanted:
                continue
            self._edge.swap(snapshot)
            self._engine.set_limits(snapshot.limits)
            self._snapshot = snapshot
            self._wanted = None
            self._trouble = ""
        self._loading = None
        self._tell()

    def _tell(self, seq: int = 0) -> None:
        """Tell the control process how this worker is."""
        self._say(
            {
                "kind": "status",
                "seq": seq,
                "slot": self._job.slot,
                "pid": os.getpid(),
                "started": self._started,
                "generation": self._snapshot.generation,
                "hash": self._snapshot.hash,
                "trouble": self._trouble[:500],
                "draining": self._draining,
                "connections": self._engine.connections,
                "lag": round(self._lag, 4),
                "rss": rss(),
                "descriptors": self._descriptors(),
                "dropped_log_lines": self._access.dropped,
                "edge": self._edge.status(),
            }
        )

    def _say(self, status: Message) -> None:
        """Send *status*; without what its upstreams say where that is more than a message takes."""
        try:
            self._job.channel.send(status)
        except ValueError as problem:
            edge = {name: value for name, value in status["edge"].items() if _is_short(value)}
            self._job.channel.send(status | {"edge": edge})
            if not self._told_long:
                self._told_long = True
                announce("status.cut", level=30, error=str(problem))

    def _descriptors(self) -> tuple[int, int]:
        """Return how many file descriptors are in use, and how many there may be."""
        now = time.monotonic()
        if now - self._counted[0] >= _COUNT_EVERY:
            self._counted = (now, descriptors())
        return self._counted[1], resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    async def _measure_lag(self) -> None:
        """Note how late a timer comes: the time that every connection waits besides its own."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self._lag = max(loop.time() - due, 0.0)

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_short(value: object) -> bool:
    return not isinstance(value, dict | list)


def accept_queued(sock: socket.socket) -> list[socket.socket]:
    """Accept, without waiting, every connection that the kernel has already completed."""
    taken = []
    with contextlib.suppress(OSError):
        while True:
            conn, _ = sock.accept()
            conn.setblocking(False)
            taken.append(conn)
    return taken


def descriptors() -> int:
    """Return how many file descriptors this process has open; 0 where /proc does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def rss() -> int:
    """Return this process's resident memory in bytes; 0 where /proc does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
