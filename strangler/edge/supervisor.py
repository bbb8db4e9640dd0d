# SPDX-License-Identifier: Apache-2.0
"""The parent of all processes of a site: forks, replaces, drains, upgrades.

It has no event loop and no threads, because it forks; it holds what must outlive any child: the
listening sockets and the channels between children. It knows nothing of HTTP or configuration: a
child is a *seat* with a name and a function to run.

An upgrade replaces this process's own code: it first lets the new code prove in a trial that it
starts and accepts the configuration, then executes it in its own place (same pid, so that systemd
and containers notice nothing) with the sockets inherited. The new code forks its own children and
only when all of them are ready lets the old ones drain.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from strangler.edge import systemd
from strangler.edge.channel import Channel, Message, pair
from strangler.observe.events import announce

INHERIT = "STRANGLER_INHERIT"
"""Names the environment variable through which an upgrade passes on what survives it."""
TRIAL = "STRANGLER_TRIAL"
"""Set in the environment of a trial: start up to the point of binding, then exit 0."""

_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)
_TRIAL_SECONDS = 60.0
_LONG_ENOUGH = 1.0
"""A child that lived so many seconds after it was ready is replaced at once."""
_SLOWEST = 10.0
_DRAIN_MARGIN = 2.0
_ONE_PRESS = 0.2
"""Signals to stop that come closer together, in seconds, count as one."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place for one child. ``run(link)`` is the child's whole life and returns its exit code.

    link: joins the child to the supervisor. The child sends ``{"kind": "ready", …}`` once, is told
    ``{"kind": "draining"}`` and ``{"kind": "reload"}``, gets SIGTERM to drain, and must end by
    itself when the link closes, for then the supervisor is gone. It sends ``{"kind": "leaving"}``
    when a drain begins that the supervisor did not ask for, and is replaced without delay.

    last: end this child only when all others have ended.
    """

    name: str
    run: Callable[[Channel], int]
    last: bool = False


@dataclass(slots=True)
class _Child:
    name: str
    pid: int
    link: Channel
    born: float
    last: bool = False
    ready: float | None = None
    told: Message = field(default_factory=dict)
    deadline: float | None = None
    """When it is killed: set once it was asked to leave."""


@dataclass(slots=True)
class _Place:
    seat: Seat
    child: _Child | None = None
    failures: int = 0
    due: float = 0.0


class Supervisor:
    """Keep one child in every seat until told to stop."""

    def __init__(
        self,
        seats: Sequence[Seat],
        *,
        drain: Callable[[], float],
        on_ready: Callable[[dict[str, Message]], None],
        on_message: Callable[[str, Message], None],
        release: Callable[[], None],
        keep: Callable[[], dict[str, object]],
        former: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Set out the seats; nothing is forked before :meth:`run`.

        drain: seconds that a child gets to finish, asked for when a drain begins.
        on_ready: called once all seats are ready for the first time, with what each child told.
        on_message: a child's message that the supervisor itself does not know; also the
        supervisor's own ``{"kind": "upgrade_rejected", "reason": …}``.
        release: close this process's listening sockets (a final drain has begun).
        keep: what an upgrade has to pass on beside the children, as JSON values; its descriptors
        are inheritable already.
        former: the children of the code before an upgrade, from :func:`inherited`.
        """
        self._places = [_Place(seat) for seat in seats]
        self._drain = drain
        self._on_ready = on_ready
        self._on_message = on_message
        self._release = release
        self._keep = keep
        self._former = [_adopt(one) for one in former]
        self._leaving: list[_Child] = []
        self._upgraded = bool(former)
        self._all_ready = False
        self._stopping_since: float | None = None
        self._failed = False
        self._trial: int | None = None
        self._trial_ends = 0.0
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._command = [sys.executable, *sys.orig_argv[1:]]
        self._folder = _logical_folder()
        self._watchdog = systemd.watchdog_seconds()

    # ---------------------------------------------------------------- the loop

    def run(self) -> int:
        """Fork all children and look after them; return the exit code when the last has gone."""
        _raise_file_limit()
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, _ignored)
        # An upgrade blocks signals until here, lest one that comes meanwhile ends the new code.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        gc.collect()
        gc.freeze()  # children share these pages until somebody writes to them
        for child in self._former:
            if child.deadline is not None:
                self._leaving.append(child)
        self._former = [child for child in self._former if child.deadline is None]
        while True:
            now = time.monotonic()
            self._spawn_due(now)
            self._enforce(now)
            if self._stopping_since is not None and not self._children():
                systemd.notify(STATUS="stopped")
                return 1 if self._failed else 0
            self._wait(now)

    def _wait(self, now: float) -> None:
        poll = select.poll()
        poll.register(self._wake_r, select.POLLIN)
        children = {child.link.fileno(): child for child in self._children()}
        for fd, child in children.items():
            if not child.link.closed:
                poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(self._timeout(now)):
            if fd == self._wake_r:
                self._on_signals()
            else:
                self._on_link(children[fd])
        self._reap()
        if self._watchdog is not None:
            systemd.notify(WATCHDOG=1)

    def _timeout(self, now: float) -> float | None:
        """Return how long to sleep at most, in milliseconds."""
        instants = [child.deadline for child in self._children() if child.deadline is not None]
        if self._stopping_since is None:
            instants += [place.due for place in self._places if place.child is None]
        if self._trial is not None:
            instants.append(self._trial_ends)
        if self._watchdog is not None:
            instants.append(now + self._watchdog)
        if not instants:
            return None
        return max(min(instants) - now, 0) * 1000 + 1

    def _on_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            numbers = os.read(self._wake_r, 4096)
            for number in dict.fromkeys(numbers):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self._stop(signal.Signals(number))
                elif number == signal.SIGHUP:
                    systemd.reloading()
                    self._tell({"kind": "reload"})
                elif number == signal.SIGUSR1:
                    for child in self._children():
                        _kill(child.pid, signal.SIGUSR1)
                elif number == signal.SIGUSR2:
                    self._begin_upgrade()

    def _on_link(self, child: _Child) -> None:
        for message in child.link.receive():
            kind = message.get("kind")
            if kind == "ready":
                self._is_ready(child, message)
            elif kind == "reloaded":
                systemd.notify(READY=1)
                self._on_message(child.name, message)
            elif kind == "leaving":
                self._replace_leaving(child)
            elif kind == "hung":
                self._replace_hung(message)
            else:
                self._on_message(child.name, message)

    # ---------------------------------------------------------------- children

    def _children(self) -> list[_Child]:
        seated = [place.child for place in self._places if place.child is not None]
        return seated + self._former + self._leaving

    def _spawn_due(self, now: float) -> None:
        if self._stopping_since is not None:
            return
        for place in self._places:
            if place.child is None and place.due <= now:
                self._spawn(place)

    def _spawn(self, place: _Place) -> None:
        ours, theirs = pair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be(place.seat, ours, theirs)
        theirs.close()
        place.child = _Child(place.seat.name, pid, ours, time.monotonic(), place.seat.last)

    def _be(self, seat: Seat, ours: Channel, theirs: Channel) -> NoReturn:
        """Live as a child. Never return to the supervisor's own code."""
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # Ctrl-C goes to the whole terminal group; the supervisor tells us what it means.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            ours.close()
            for child in self._children():  # else their links would never be seen to close
                child.link.close()
            os.close(self._wake_r)
            os.close(self._wake_w)
            faulthandler.enable()
            code = seat.run(theirs)
        except BaseException:
            logging.getLogger("strangler.errors").exception("process.crashed")
        finally:
            logging.shutdown()
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _is_ready(self, child: _Child, message: Message) -> None:
        child.ready = time.monotonic()
        child.told = message
        seated = [place.child for place in self._places]
        if not all(one is not None and one.ready is not None for one in seated):
            return
        if not self._all_ready:
            self._all_ready = True
            self._on_ready({one.name: one.told for one in seated if one is not None})
            systemd.notify(READY=1, MAINPID=os.getpid(), STATUS="serving")
        if self._former:
            announce("upgrade.finished", pid=os.getpid(), leaving=len(self._former))
            former, self._former = self._former, []
            for one in former:
                self._dismiss(one)

    def _dismiss(self, child: _Child) -> None:
        """Ask a child to drain and leave."""
        child.deadline = time.monotonic() + self._drain() + _DRAIN_MARGIN
        if child not in self._leaving:
            self._leaving.append(child)
        _kill(child.pid, signal.SIGTERM)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._trial:
                self._end_upgrade(os.waitstatus_to_exitcode(status))
                continue
            self._on_link_of(pid)
            self._bury(pid, os.waitstatus_to_exitcode(status))

    def _on_link_of(self, pid: int) -> None:
        """Read what a child said before it died."""
        for child in self._children():
            if child.pid == pid:
                self._on_link(child)

    def _bury(self, pid: int, code: int) -> None:
        now = time.monotonic()
        for group in (self._former, self._leaving):
            for child in group:
                if child.pid == pid:
                    group.remove(child)
                    child.link.close()
                    if code != 0:
                        announce(
                            "process.died", level=logging.WARNING, process=child.name, pid=pid,
                            cause=_cause(code), leaving=True,
                        )  # fmt: skip
                    return
        for place in self._places:
            child_ = place.child
            if child_ is None or child_.pid != pid:
                continue
            place.child = None
            child_.link.close()
            if self._stopping_since is not None:
                return
            if child_.ready is not None and now - child_.ready >= _LONG_ENOUGH:
                place.failures = 0
                wait = 0.0
            else:
                wait = min(0.1 * 2.0**place.failures, _SLOWEST)
                place.failures += 1
            place.due = now + wait
            announce(
                "process.died", level=logging.ERROR, process=child_.name, pid=pid,
                cause=_cause(code), age=now - child_.born, restart_in=wait,
            )  # fmt: skip
            if not self._all_ready and not self._upgraded:
                # The site never stood: say so and leave rather than retry for ever.
                self._failed = True
                self._stop(signal.SIGTERM)

    def _replace_leaving(self, child: _Child) -> None:
        """Seat another child at once where one was told by an operator's signal to drain."""
        if self._stopping_since is None and any(p.child is child for p in self._places):
            announce("process.leaving", process=child.name, pid=child.pid)
            self._unseat(child)
            self._leaving.append(child)
            child.deadline = time.monotonic() + self._drain() + _DRAIN_MARGIN

    def _replace_hung(self, message: Message) -> None:
        """Kill a child that another one found not to answer, leaving a traceback behind."""
        for place in self._places:
            child = place.child
            if child is not None and child.pid == message.get("pid") and child.deadline is None:
                announce(
                    "process.hung", level=logging.ERROR, process=child.name, pid=child.pid,
                    silent=message.get("silent"),
                )  # fmt: skip
                child.deadline = time.monotonic() + 1.0
                _kill(child.pid, signal.SIGABRT)

    def _enforce(self, now: float) -> None:
        for child in self._children():
            if child.deadline is not None and child.deadline <= now:
                announce(
                    "process.killed", level=logging.WARNING, process=child.name, pid=child.pid,
                    reason="did not finish in time",
                )  # fmt: skip
                child.deadline = now + 5.0
                _kill(child.pid, signal.SIGKILL)
        if self._trial is not None and self._trial_ends <= now:
            _kill(self._trial, signal.SIGKILL)
            self._trial_ends = now + 5.0
        if self._stopping_since is not None:
            rest = self._children()
            if rest and all(child.last for child in rest):
                for child in rest:
                    if child.deadline is None:
                        child.deadline = now + _DRAIN_MARGIN
                        _kill(child.pid, signal.SIGTERM)

    def _tell(self, message: Message) -> None:
        for place in self._places:
            if place.child is not None:
                place.child.link.send(message)

    # ---------------------------------------------------------------- stop

    def _stop(self, number: signal.Signals) -> None:
        """Drain at the first signal, end at once at the second."""
        now = time.monotonic()
        if self._stopping_since is not None:
            # A terminal and a process runner may both pass on one Ctrl-C.
            if now - self._stopping_since >= _ONE_PRESS:
                announce("stop.forced", level=logging.WARNING, signal=number.name)
                for child in self._children():
                    child.deadline = now + 1.0
                    _kill(child.pid, signal.SIGKILL)
            return
        self._stopping_since = now
        drain = self._drain()
        if not self._failed:
            announce("stop.draining", signal=number.name, seconds=drain)
        systemd.notify(STOPPING=1, STATUS="draining")
        if self._trial is not None:
            _kill(self._trial, signal.SIGKILL)
        # Close our copies first: a worker that has emptied its queue must be the last to hold it.
        self._release()
        for child in self._children():
            child.link.send({"kind": "draining"})
        for child in self._children():
            if not child.last:
                self._unseat(child)
                self._dismiss(child)

    def _unseat(self, child: _Child) -> None:
        for place in self._places:
            if place.child is child:
                place.child = None
        if child in self._former:
            self._former.remove(child)

    # ---------------------------------------------------------------- upgrade

    def _begin_upgrade(self) -> None:
        if (
            self._stopping_since is not None
            or self._trial is not None
            or self._former
            or not self._all_ready
        ):
            announce("upgrade.ignored", level=logging.WARNING, reason="busy")
            return
        announce("upgrade.started", command=" ".join(self._command))
        systemd.reloading()
        pid = os.fork()
        if pid == 0:
            try:
                for number in _SIGNALS:
                    signal.signal(number, signal.SIG_DFL)
                os.chdir(self._folder)
                os.execve(self._command[0], self._command, os.environ | {TRIAL: "1"})
            except BaseException as problem:
                os.write(2, f"strangler: {problem}\n".encode())
            finally:
                os._exit(127)
        self._trial = pid
        self._trial_ends = time.monotonic() + _TRIAL_SECONDS

    def _end_upgrade(self, code: int) -> None:
        """Become the new code if its trial went well, else go on as before."""
        self._trial = None
        if self._stopping_since is not None:
            return
        if code != 0:
            self._reject_upgrade(f"the trial of the new code ended with {_cause(code)}")
            return
        children = self._children()
        for child in children:
            child.link.sock.set_inheritable(True)
        state = self._keep() | {
            "children": [
                {
                    "name": child.name,
                    "pid": child.pid,
                    "link": child.link.fileno(),
                    "last": child.last,
                    "leaving": child.deadline is not None,
                }
                for child in children
            ]
        }
        environment = os.environ | {INHERIT: json.dumps(state)}
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            os.chdir(self._folder)
            os.execve(self._command[0], self._command, environment)
        except OSError as problem:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for child in children:
                child.link.sock.set_inheritable(False)
            self._reject_upgrade(problem.strerror or str(problem))

    def _reject_upgrade(self, reason: str) -> None:
        announce("upgrade.rejected", level=logging.ERROR, reason=reason)
        self._on_message("supervisor", {"kind": "upgrade_rejected", "reason": reason})
        systemd.notify(READY=1)


def inherited() -> dict[str, Any] | None:
    """Return, once, what the code before an upgrade passed on; None on an ordinary start."""
    told = os.environ.pop(INHERIT, None)
    if told is None:
        return None
    state = json.loads(told)
    return state if isinstance(state, dict) else None


def _adopt(told: dict[str, Any]) -> _Child:
    link = Channel(socket.socket(fileno=int(told["link"])))
    link.sock.set_inheritable(False)
    now = time.monotonic()
    child = _Child(str(told["name"]), int(told["pid"]), link, now, bool(told["last"]), now)
    if told["leaving"]:
        child.deadline = now + 60.0
    return child


def _logical_folder() -> str:
    """Return the working folder as it was named, so that a switched symlink is followed."""
    real = os.getcwd()
    named = os.environ.get("PWD", real)
    with contextlib.suppress(OSError):
        if os.path.samefile(named, real):
            return named
    return real


def _ignored(number: int, frame: object) -> None:
    """Let a signal do nothing by itself: the wakeup descriptor tells of it."""


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _cause(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit {code}"


def _raise_file_limit() -> None:
    """Lift the soft limit of open files to the hard one: a connection costs one, a fetch two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
