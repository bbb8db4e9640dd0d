# SPDX-License-Identifier: Apache-2.0
"""The composition root: options and one snapshot become rooms, listeners and processes."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import strangler
from strangler.config.diagnostics import ConfigRejected
from strangler.config.load import guard_shrink, load, load_bundle
from strangler.config.snapshot import Listen, ListenTls, Snapshot
from strangler.config.watch import Watcher
from strangler.control import process
from strangler.control.client import state_folder
from strangler.control.overrides import mark_of, read_copy
from strangler.control.sessions import FILE as SESSIONS
from strangler.control.sessions import Sessions
from strangler.control.signing import derived, signing_key
from strangler.control.state import InUse, State, noted
from strangler.control.stores import Store, make_store
from strangler.control.tokens import Tokens
from strangler.edge import sockets, tls, worker
from strangler.edge.channel import Channel, Message, pair
from strangler.edge.server import Server
from strangler.edge.supervisor import TRIAL, Seat, Supervisor, inherited
from strangler.exchange import Edge
from strangler.exchange.counting import Counts
from strangler.observe import events, lanes
from strangler.observe.access import AccessLog, Form
from strangler.observe.counters import LAYOUT
from strangler.observe.events import announce
from strangler.observe.writer import Writer
from strangler.rollout import Overrides

_REFUSED = 2
"""Exit code for what the person who typed has to correct."""
_FAILED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `strangler serve` is told. Empty or None: routes.yaml decides, else the default.

    admin: an address, or "none".
    """

    config: str = "routes.yaml"
    listen: tuple[str, ...] = ()
    admin: str = ""
    workers: int | None = None
    access_log: Form = "text"
    access_file: str = "-"
    log: Literal["text", "json"] = "text"
    tls_cert: str = ""
    tls_key: str = ""
    last_good: bool = False


class _Refused(Exception):
    """Stop the start with a message for the person who typed."""


def serve(options: Options) -> int:
    """Run the site until it is told to stop; return the exit code.

    0: drained · 1: a process or address failed · 2: the configuration or an option is refused.
    """
    events.set_up("supervisor", options.log, threads=False)
    if strangler.BUILD == "outdated":
        announce("build.outdated", level=logging.WARNING, runs="sources", mend="make compile")
    try:
        return _Site(options).serve()
    except KeyboardInterrupt:  # before the supervisor minds its signals
        return _FAILED
    except ConfigRejected as rejected:
        for one in rejected.diagnostics:
            print(one, file=sys.stderr)
        count = sum(one.severity == "error" for one in rejected.diagnostics)
        print(
            f"strangler: {options.config} was rejected ({count} error{'s' * (count != 1)}); "
            "nothing was started",
            file=sys.stderr,
        )
        return _REFUSED
    except (_Refused, sockets.BadAddress) as refused:
        print(f"strangler: {refused}", file=sys.stderr)
        return _REFUSED
    except sockets.BindFailed as failed:
        print(f"strangler: {failed}", file=sys.stderr)
        return _FAILED


class _Site:
    """One start of the site: everything that the supervisor hands to its children."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.former = inherited() or {}
        # The folder in use rather than the one wished for: it may be a temporary one.
        self.state = State(Path(self.former.get("state") or state_folder(options.config)))
        self.tls = self._tls()
        self.told = tuple(sockets.parse(text, tls=self.tls) for text in options.listen)
        self.rejected: ConfigRejected | None = None
        self.snapshot = self._first_snapshot()
        self.bundle = ""
        self.listeners: list[sockets.Listener] = []
        self.certificates: dict[ListenTls, ssl.SSLContext] = {}
        self.activated: list[str] = []
        self.admin: sockets.Listener | None = None
        self.workers = options.workers or self.snapshot.workers or cores()
        self.channels: list[tuple[Channel, Channel]] = []
        self.lanes: list[int] = []
        self.upgrade_rejected = ""
        self.lock = -1
        self.tokens = Tokens()
        self.signing = b""

    # ---------------------------------------------------------------- start

    def serve(self) -> int:
        if os.environ.get(TRIAL):
            # The code before an upgrade asks whether this code starts at all.
            self._addresses()
            return 0
        self.lock = self._claim()
        # All workers are one hop to those who look for loops; another site is another.
        os.environ.setdefault("STRANGLER_INSTANCE", secrets.token_hex(3))
        try:
            self.tokens = Tokens.of(self.state, os.environ)
            self.signing = signing_key(self.state, os.environ)
            self._override_store()
        except ValueError as problem:
            raise _Refused(str(problem)) from None
        self._open()
        self.bundle = self.state.accept(self.snapshot)
        self.channels = [pair() for _ in range(self.workers)]
        self.lanes = self._lanes()
        seats = [Seat("control", self._run_control, last=True)]
        seats += [Seat(f"worker {slot + 1}", self._worker(slot)) for slot in range(self.workers)]
        supervisor = Supervisor(
            seats,
            drain=lambda: self.snapshot.limits.drain,
            on_ready=self._on_ready,
            on_message=self._on_message,
            release=self._release,
            keep=self._keep,
            former=self.former.get("children", ()),
        )
        code = supervisor.run()
        sockets.unlink_unix([*self.listeners, *([self.admin] if self.admin else [])])
        self._forget_pid()
        return code

    def _claim(self) -> int:
        """Keep a second site out of the state folder: each would undo what the other records."""
        try:
            lock = self.state.claim(self.former.get("lock"))
        except InUse as problem:
            hint = "give this one a folder of its own by STRANGLER_STATE, or upgrade that one"
            raise _Refused(f"{problem}\n    hint: {hint}") from None
        if lock >= 0:
            os.set_inheritable(lock, False)
        return lock

    def _first_snapshot(self) -> Snapshot:
        """Load the files; fall back on the configuration accepted last where that is allowed."""
        try:
            snapshot = load(self.options.config, listen=self.told)
            return replace(snapshot, generation=self.state.next_generation(snapshot.hash))
        except ConfigRejected as rejected:
            last = self.state.accepted()
            # A running site goes on with what it serves; a new one only if it is told so.
            if last is None or not (self.options.last_good or self.former or _is_trial()):
                raise
            snapshot = load_bundle(last.bundle)
            self.rejected = rejected
            announce(
                "config.last_good",
                level=logging.WARNING,
                generation=last.generation,
                hash=last.hash[:12],
            )
            return snapshot

    def _tls(self) -> ListenTls | None:
        cert, key = self.options.tls_cert, self.options.tls_key
        if bool(cert) != bool(key):
            raise _Refused("--tls-cert and --tls-key go together")
        if not cert:
            return None
        return ListenTls(cert=os.path.abspath(cert), key=os.path.abspath(key))

    def _addresses(self) -> tuple[list[Listen], Listen | None]:
        """Settle the addresses: the command line, else the file, else the defaults."""
        options, snapshot = self.options, self.snapshot
        if self.told:
            listen = list(self.told)
        elif snapshot.listen:
            listen = list(snapshot.listen)
        else:
            port = os.environ.get("EDGE_PORT", "8000")
            listen = [sockets.parse(f"127.0.0.1:{port}", tls=self.tls)]
        for one in listen:
            if one.tls is not None:
                _load(one.tls)
        if options.admin == "none":
            return listen, None
        admin = snapshot.admin
        if options.admin or admin is None:
            port = os.environ.get("ADMIN_PORT", "8010")
            admin = sockets.parse(options.admin or f"127.0.0.1:{port}")
        return listen, admin

    def _open(self) -> None:
        """Bind all addresses, or take over the sockets of the code before an upgrade."""
        listen, admin = self._addresses()
        found = sockets.inherit(self.former.get("listeners", ()))
        activated = sockets.from_systemd() if not self.told else []
        for address in self.former.get("activated", ()):
            activated.append(found[address].pop(0))
        if activated:
            self.activated = [str(one.listen) for one in activated]
            self.listeners = [
                replace(one, listen=replace(one.listen, tls=self.tls)) for one in activated
            ]
            listen = []
        try:
            for one in listen:
                self.listeners.append(self._take(one, found, self.workers))
            if admin is not None:
                self.admin = self._take(admin, found, 1)
        except sockets.BindFailed:
            self._release()
            raise
        pairs = {one.listen.tls for one in self.listeners if one.listen.tls is not None}
        self.certificates = {pair: _load(pair) for pair in pairs}
        if self.admin is not None and not self.admin.loopback:
            announce(
                "admin.exposed",
                level=logging.WARNING,
                address=self.admin.url,
                hint="anybody who reaches it reads your routes; loopback is safer",
            )
        for spare in (listener for group in found.values() for listener in group):
            spare.close()

    def _lanes(self) -> list[int]:
        """Make the memory that workers count in, or take over the one of before an upgrade.

        A worker that drains beside its successor has a lane of its own, and so may the one before.
        """
        told = self.former.get("counts") or {}
        found = [int(fd) for fd in told.get("lanes", ())]
        for fd in found:
            os.set_inheritable(fd, False)
        if told.get("layout") != LAYOUT.digest.hex():
            for fd in found:
                os.close(fd)
            found = []
        wanted = 2 * self.workers + 2
        try:
            return found + [lanes.create() for _ in range(wanted - len(found))]
        except OSError as problem:
            announce("counts.lost", level=logging.WARNING, reason=problem.strerror)
            return found

    def _take(
        self, listen: Listen, found: dict[str, list[sockets.Listener]], slots: int
    ) -> sockets.Listener:
        inherited_ones = found.get(str(listen))
        if not inherited_ones:
            return sockets.bind(listen, slots)
        listener = inherited_ones.pop(0)
        listener.listen = listen
        sockets.grow(listener, slots)
        return listener

    # ---------------------------------------------------------------- the supervisor's questions

    def _on_ready(self, told: dict[str, Message]) -> None:
        where = ", ".join(listener.url for listener in self.listeners)
        self._note_pid()  # first: whoever reads the line may type a command at once
        if self.options.log == "json":
            announce(
                "site.serving",
                listen=where,
                admin=self.admin.url if self.admin is not None else "none",
                workers=self.workers,
                routes=len(self.snapshot.routes),
                generation=self.snapshot.generation,
            )
            return
        parts = [f"strangler: serving on {where}"]
        if self.admin is not None:
            parts.append(f"admin {self.admin.url}")
        parts += [
            f"{self.workers} worker{'s' * (self.workers != 1)}",
            f"{len(self.snapshot.routes)} route{'s' * (len(self.snapshot.routes) != 1)}",
            f"generation {self.snapshot.generation}",
        ]
        os.write(2, (" · ".join(parts) + "\n").encode())

    def _on_message(self, seat: str, message: Message) -> None:
        if message.get("kind") == "accepted":
            # A worker forked from now on begins with this one and need not read it first.
            with contextlib.suppress(Exception):
                self.snapshot = load_bundle(str(message["bundle"]))
                self.bundle = str(message["bundle"])
                self.state.folder = Path(self.bundle).parent
                self.rejected = None
        elif message.get("kind") == "certificate":
            # A worker has loaded its pairs, maybe renewed: one that is forked while the next
            # renewal is half done begins with them.
            for pair in self.certificates:
                with contextlib.suppress(OSError, ssl.SSLError):
                    self.certificates[pair] = tls.make_context(pair)
        elif message.get("kind") == "upgrade_rejected":
            self.upgrade_rejected = str(message["reason"])
            self._note_pid()

    def _release(self) -> None:
        for listener in self.listeners:
            listener.close()
        if self.admin is not None:
            self.admin.close()

    def _keep(self) -> dict[str, object]:
        kept = [*self.listeners, *([self.admin] if self.admin is not None else [])]
        for fd in self.lanes:
            os.set_inheritable(fd, True)
        locked = {}
        if self.lock >= 0:
            os.set_inheritable(self.lock, True)
            locked["lock"] = self.lock
        return {
            **locked,
            "listeners": sockets.export(kept),
            "counts": {"layout": LAYOUT.digest.hex(), "lanes": self.lanes},
            "activated": self.activated,
            "state": str(self.state.folder),
        }

    def _note_pid(self) -> None:
        """Leave word of where this site runs, for `strangler upgrade` and `strangler reload`."""
        with contextlib.suppress(OSError):
            self.state.write(
                "supervisor.json",
                json.dumps(
                    {
                        "pid": os.getpid(),
                        "ready": time.time(),  # changes when an upgrade ends, either way
                        "admin": self.admin.url if self.admin is not None else None,
                        "upgrade_rejected": self.upgrade_rejected,
                    }
                ).encode(),
            )

    def _forget_pid(self) -> None:
        told = noted(self.state.folder)
        if told and told.get("pid") == os.getpid():
            with contextlib.suppress(OSError):
                (self.state.folder / "supervisor.json").unlink()

    # ---------------------------------------------------------------- children

    def _data_plane(self, snapshot: Snapshot, access: AccessLog) -> tuple[Edge, Server]:
        counts = Counts(lanes.Lane.take(self.lanes))
        kept = read_copy(self.state.folder, self._override_store().name)
        overrides = kept.overrides if kept is not None else Overrides()
        edge = Edge(
            snapshot,
            log=access,
            arm_key=derived(self.signing, "arm"),
            counts=counts,
            overrides=overrides,
            mark=mark_of(overrides),
        )
        server = Server(edge, limits=snapshot.limits, ticker=edge.ticker)
        edge.relief.connections = lambda: server.connections
        return edge, server

    def _override_store(self) -> Store:
        """Return where overrides are recorded. Raises ValueError."""
        return make_store(
            os.environ.get("STRANGLER_OVERRIDES", "") or self.snapshot.overrides.store,
            folder=self.state.folder,
            site=self.snapshot.site.name,
        )

    def _worker(self, slot: int) -> Callable[[Channel], int]:
        def live(link: Channel) -> int:
            name = f"worker {slot + 1}"
            events.set_up(name, self.options.log)
            doors = []
            for listener in self.listeners:
                mine = listener.for_slot(slot, self.workers)
                for sock in listener.sockets:
                    if sock not in mine:
                        sock.close()
                pair = listener.listen.tls
                kept = None if pair is None else self.certificates[pair]
                doors.append(worker.Door(mine, pair, kept))
            if self.admin is not None:
                self.admin.close()
            for index, (ours, theirs) in enumerate(self.channels):
                ours.close()
                if index != slot:
                    theirs.close()
            job = worker.Job(
                slot=slot,
                doors=doors,
                channel=self.channels[slot][1],
                snapshot=self._newest(),
                load=load_bundle,
                build=self._data_plane,
                access=self._access_log,
            )
            try:
                return worker.run(job, link)
            finally:
                events.put_down()

        return live

    def _newest(self) -> Snapshot:
        """Return the configuration in force, which may be newer than what was forked with."""
        last = self.state.accepted()
        if last is None or last.generation <= self.snapshot.generation:
            return self.snapshot
        try:
            return load_bundle(last.bundle)
        except Exception:
            return self.snapshot

    def _access_log(self) -> AccessLog:
        form = self.options.access_log
        if form == "off":
            return AccessLog("off")
        return AccessLog(form, Writer(self.options.access_file, on_trouble=_tell_of_lost_lines))

    def _run_control(self, link: Channel) -> int:
        events.set_up("control", self.options.log)
        for listener in self.listeners:
            listener.close()
        for _, theirs in self.channels:
            theirs.close()
        snapshot = self._newest()
        last = self.state.accepted()
        job = process.Job(
            snapshot=snapshot,
            bundle=last.bundle if last and last.hash == snapshot.hash else self.bundle,
            state=self.state,
            channels=[ours for ours, _ in self.channels],
            doors=self.admin.sockets if self.admin is not None else [],
            load=self._load_again,
            changes=Watcher(self.options.config, digest=snapshot.hash).run,
            rejected=self.rejected,
            tokens=self.tokens,
            overrides=os.environ.get("STRANGLER_OVERRIDES", ""),
            instance=f"{socket.gethostname()}-{os.environ['STRANGLER_INSTANCE']}",
            sessions=Sessions(self.state.folder / SESSIONS),
            lanes=self.lanes,
            arm_key=derived(self.signing, "arm"),
            certificates=[pair.cert for pair in self.certificates],
        )
        try:
            return process.run(job, link)
        finally:
            events.put_down()

    def _load_again(self, before: Snapshot, yes: bool) -> Snapshot:
        """Load the files anew; without ``yes`` refuse a loss of many routes."""
        snapshot = load(self.options.config, generation=before.generation + 1, listen=self.told)
        lost = guard_shrink(before, snapshot)
        if lost is not None and not yes:
            raise ConfigRejected([lost], snapshot.files)
        return snapshot


def cores() -> int:
    """Return how many cores this process may use: its affinity, and its container's quota."""
    count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    return max(count, 1)


def _load(pair: ListenTls) -> ssl.SSLContext:
    try:
        return tls.make_context(pair)
    except (OSError, ssl.SSLError) as problem:
        raise _Refused(f"{pair.cert}: {tls.why(problem)}") from None


def _is_trial() -> bool:
    return bool(os.environ.get(TRIAL))


def _tell_of_lost_lines(count: int, error: str) -> None:
    announce("access_log.dropped", level=logging.WARNING, lines=count, error=error)
