# SPDX-License-Identifier: Apache-2.0
"""The supervisor with children that do nothing: it is tested as a process, from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

PROGRAM = """
import json, os, select, signal, socket, sys, time
from strangler.edge.supervisor import INHERIT, TRIAL, Seat, Supervisor, inherited
from strangler.edge import sockets
from strangler.config.snapshot import Listen
from strangler.observe import events

events.set_up("supervisor", threads=False)
folder = sys.argv[1]
former = inherited() or {}

def flag(name):
    return os.path.exists(os.path.join(folder, name))

if flag("broken"):
    sys.exit("the new code is broken")
if os.environ.get(TRIAL):
    sys.exit(0)

def say(*words):
    os.write(2, (" ".join(map(str, words)) + "\\n").encode())

def child(name):
    def run(link):
        if flag(f"dies-{name}"):
            return 3
        r, w = os.pipe()
        os.set_blocking(w, False)
        signal.set_wakeup_fd(w)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGUSR1, lambda *_: say(name, "usr1"))
        say(name, "up", os.getpid())
        link.send({"kind": "ready", "name": name})
        while True:
            ready, _, _ = select.select([r, link.sock], [], [])
            if link.sock in ready:
                for message in link.receive():
                    say(name, "told", message["kind"])
                    if message["kind"] == "reload" and name == "control":
                        link.send({"kind": "reloaded"})
                        link.send({"kind": "hello", "from": name})
                        if flag("hung"):
                            pid = int(open(os.path.join(folder, "hung")).read())
                            link.send({"kind": "hung", "pid": pid, "silent": 30})
                if link.closed:
                    say(name, "orphaned")
                    return 0
            if r in ready and signal.SIGTERM in os.read(r, 100):
                if flag("leaves-by-itself"):
                    link.send({"kind": "leaving"})
                    while flag("leaves-by-itself"):
                        time.sleep(0.02)
                if flag("stubborn"):
                    say(name, "stubborn")
                    time.sleep(60)
                say(name, "drained")
                return 0
    return run

if former:
    [listener] = sockets.inherit(former["listeners"])["127.0.0.1:0"]
else:
    listener = sockets.bind(Listen(host="127.0.0.1"), 2)
say("port", listener.sockets[0].getsockname()[1])
supervisor = Supervisor(
    [Seat("control", child("control"), last=True), Seat("one", child("one")),
     Seat("two", child("two"))],
    drain=lambda: 0.5,
    on_ready=lambda told: say("serving", os.getpid(), *sorted(told)),
    on_message=lambda seat, message: say("message", seat, json.dumps(message)),
    release=listener.close,
    keep=lambda: {"listeners": sockets.export([listener])},
    former=former.get("children", ()),
)
sys.exit(supervisor.run())
"""


class Site:
    """The program above as a process, with its lines."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        program = folder / "program.py"
        program.write_text(PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self.lines.append("the end")
            self._changed.notify_all()

    def wait(self, pattern: str, *, after: int = 0, timeout: float = 40.0) -> re.Match[str]:
        def find() -> re.Match[str] | None:
            found = (re.search(pattern, line) for line in self.lines[after:])
            return next((one for one in found if one), None)

        with self._changed:
            self._changed.wait_for(lambda: find() or "the end" in self.lines, timeout)
            match = find()
        assert match, f"no {pattern!r} in:\n" + "\n".join(self.lines)
        return match

    def flag(self, name: str) -> Path:
        path = self.folder / name
        path.touch()
        return path

    def pid(self, name: str, *, after: int = 0) -> int:
        return int(self.wait(rf"^{name} up (\d+)", after=after)[1])

    def end(self, code: int | None = 0) -> None:
        status = self.process.wait(60)
        self._reader.join(60)
        assert not self._reader.is_alive(), "a child outlived the supervisor"
        if code is not None:
            assert status == code, "\n".join(self.lines)


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    with contextlib.suppress(ProcessLookupError):
        os.killpg(made.process.pid, signal.SIGKILL)
    made.process.wait()
    made._reader.join(5)


def test_all_children_ready_then_drained_with_control_last(site):
    site.wait("^serving")
    assert site.lines[-1].split()[2:] == ["control", "one", "two"]
    site.process.terminate()
    site.end()
    told = [site.lines.index(f"{name} told draining") for name in ("control", "one", "two")]
    drained = [site.lines.index(f"{name} drained") for name in ("one", "two", "control")]
    assert max(drained[:2]) < drained[2]
    assert told[0] < drained[2]


def test_a_dead_child_is_replaced_at_once(site):
    site.wait("^serving")
    time.sleep(1.1)  # a child that lived shorter is held back: see the next test
    for name in ("one", "control"):
        pid, lines = site.pid(name), len(site.lines)
        os.kill(pid, signal.SIGKILL)
        again = site.pid(name, after=lines)
        assert again != pid
        died = site.wait(rf"process.died process={name}", after=lines).string
        assert "cause=SIGKILL" in died and "restart_in=0.000" in died
    site.process.terminate()
    site.end()


def test_a_child_that_dies_at_once_is_held_back_longer_each_time(site):
    site.wait("^serving")
    flag = site.flag("dies-one")
    os.kill(site.pid("one"), signal.SIGKILL)
    site.wait("process.died.*exit 3.*restart_in=0.400")
    waits = re.findall(r"restart_in=(\S+)", "\n".join(site.lines))
    assert waits[: waits.index("0.400") + 1][-3:] == ["0.100", "0.200", "0.400"]
    flag.unlink()
    lines = len(site.lines)
    site.pid("one", after=lines)
    site.process.terminate()
    site.end()


def test_a_start_that_fails_leaves_nothing_running(tmp_path):
    (tmp_path / "dies-two").touch()
    site = Site(tmp_path)
    site.end(1)
    assert not any(line.startswith("serving") for line in site.lines)


def test_children_end_when_the_supervisor_is_killed(site):
    site.wait("^serving")
    site.process.kill()
    site.end(None)
    for name in ("control", "one", "two"):
        assert f"{name} orphaned" in site.lines


def test_the_second_signal_ends_at_once(site):
    site.flag("stubborn")
    site.wait("^serving")
    site.process.terminate()
    site.wait("one stubborn")
    time.sleep(0.25)
    began = time.monotonic()
    site.process.send_signal(signal.SIGINT)
    site.end()
    assert time.monotonic() - began < 30.0


def test_a_child_that_does_not_drain_in_time_is_killed(site):
    site.flag("stubborn")
    site.wait("^serving")
    site.process.terminate()
    site.wait("process.killed process=one")
    site.end()


def test_one_ctrl_c_passed_on_twice_is_one(site):
    site.wait("^serving")
    site.process.send_signal(signal.SIGINT)
    site.process.send_signal(signal.SIGTERM)
    site.end()
    assert "one drained" in site.lines


def test_reload_and_reopen_are_passed_on(site):
    site.wait("^serving")
    site.process.send_signal(signal.SIGHUP)
    site.wait("control told reload")
    site.wait('message control {"kind": "hello"')
    site.process.send_signal(signal.SIGUSR1)
    site.wait("one usr1")
    site.wait("two usr1")
    site.process.terminate()
    site.end()


def test_a_child_that_leaves_by_itself_is_replaced_before_it_has_gone(site):
    site.wait("^serving")
    site.flag("leaves-by-itself")
    lines = len(site.lines)
    os.kill(site.pid("one"), signal.SIGTERM)
    site.pid("one", after=lines)
    assert "one drained" not in site.lines
    (site.folder / "leaves-by-itself").unlink()
    site.wait("one drained")
    assert not any("process.died" in line for line in site.lines[lines:])
    site.process.terminate()
    site.end()


def test_a_hung_child_is_killed_with_a_traceback_and_replaced(site):
    site.wait("^serving")
    pid, lines = site.pid("one"), len(site.lines)
    (site.folder / "hung").write_text(str(pid))
    site.process.send_signal(signal.SIGHUP)
    site.wait(f"process.hung process=one pid={pid}", after=lines)
    site.wait("Fatal Python error: Aborted", after=lines)
    site.wait("process.died process=one .*cause=SIGABRT", after=lines)
    assert site.pid("one", after=lines) != pid
    (site.folder / "hung").unlink()
    site.process.terminate()
    site.end()


def test_an_upgrade_keeps_pid_and_sockets_and_overlaps(site):
    site.wait("^serving")
    port = site.wait(r"^port (\d+)")[1]
    for _ in range(2):
        old, lines = site.pid("one"), len(site.lines)
        site.process.send_signal(signal.SIGUSR2)
        serving = site.wait(rf"^serving {site.process.pid} ", after=lines)
        assert serving.string in site.lines
        site.wait("upgrade.finished", after=lines)
        for name in ("one", "two", "control"):
            site.wait(f"^{name} drained", after=lines)
        new = site.lines[lines:]
        up = [line.split()[0] for line in new if " up " in line]
        assert sorted(up) == ["control", "one", "two"]
        first_gone = min(i for i, line in enumerate(new) if line.endswith("drained"))
        assert all(i < first_gone for i, line in enumerate(new) if " up " in line)
        assert site.wait(r"^port (\d+)", after=lines)[1] == port
        assert site.pid("one", after=lines) != old
        assert not any("orphaned" in line for line in new)
        site.lines[:] = new
    site.process.terminate()
    site.end()


def test_code_that_does_not_start_is_never_executed_in_our_place(site):
    site.wait("^serving")
    site.flag("broken")
    site.process.send_signal(signal.SIGUSR2)
    site.wait("upgrade.rejected")
    site.wait('"kind": "upgrade_rejected"')
    os.kill(site.pid("one"), 0)
    (site.folder / "broken").unlink()
    site.process.terminate()
    site.end()


def test_systemd_is_told(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        told.settimeout(60)
        site = Site(tmp_path, NOTIFY_SOCKET=path)
        assert f"READY=1\nMAINPID={site.process.pid}" in told.recv(4096).decode()
        site.process.send_signal(signal.SIGHUP)
        assert re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+", told.recv(4096).decode())
        assert told.recv(4096) == b"READY=1"
        site.process.terminate()
        assert told.recv(4096).startswith(b"STOPPING=1")
        site.end()
