# SPDX-License-Identifier: Apache-2.0
"""The edge's own processes die, are replaced, stopped and given other files, all under load."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from chaos.fault import Fault, fault
from chaos.load import Group
from chaos.plain import plain, shared
from chaos.scripted import Scripted
from chaos.site import Backends, edge, ordinary
from chaos.trial import Trial

from strangler.testing import Edge, RawClient, build, pause, respond, until
from strangler.testing.origin import Connection


def workers(edge: Edge) -> dict[int, int]:
    """Return the pid of each worker's seat, as the control process knows them."""
    return {one["slot"]: one["pid"] for one in edge.admin_json("/-/workers")[1]["workers"]}


def ready(trial: Trial) -> None:
    trial.wait(lambda: trial.edge.admin_json("/-/ready")[0] == 200, 10.0, "ready")


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


SLOW = 0.3
"""Seconds that the scripted service takes here, so that there is always something in hand."""


def take_time(trial: Trial) -> None:
    """Have the scripted service take a while over each answer."""
    scripted = trial.site.scripted
    scripted.ill(
        pause(SLOW), lambda connection: respond(200, scripted.page(connection))(connection)
    )
    trial.go_on(1.0)


@fault("a worker is killed (SIGKILL)", plain, "scripted", quick=True, replaces=True)
def worker_killed(trial: Trial) -> None:
    """Lost is only what it had in its hands: what was under way just then."""
    take_time(trial)
    told = trial.edge.admin_json("/-/workers")[1]["workers"]
    busiest = max(told, key=lambda one: one["connections"])
    slot, pid = busiest["slot"], busiest["pid"]
    with trial.trouble():
        os.kill(pid, signal.SIGKILL)
        trial.wait(lambda: workers(trial.edge).get(slot, pid) != pid, 5.0, "another one")
        trial.outcome.recovered = time.monotonic() - trial.began
        trial.seconds("another worker serves after", trial.outcome.recovered, 1.0)
        trial.go_on(2.0)
    ready(trial)
    everything = trial.load.between(trial.started, time.monotonic())
    # A moment's grace: the signal is not there at the instant at which it was sent.
    killed = trial.began + 0.02
    late = [one for one in everything if one.problem and one.due > killed]
    shown = f"{len(late)}: {late[0].problem}" if late else "0"
    trial.figure("failed of those that began later", shown, "0", not late)
    hands = sum(one.due <= killed and one.ended >= trial.began for one in everything)
    lost = sum(bool(one.problem) for one in everything)
    trial.figure("lost", lost, f"<= {hands}, all that were under way", lost <= hands)
    trial.enough(60)


@fault("the control process is killed (SIGKILL)", plain, replaces=True)
def control_killed(trial: Trial) -> None:
    [control] = set(trial.edge.pids[1:]) - set(workers(trial.edge).values())
    with trial.trouble():
        os.kill(control, signal.SIGKILL)
        trial.noticed("process.died process=control", 1.0)
        ready(trial)
        trial.outcome.recovered = time.monotonic() - trial.began
        trial.seconds("another one answers after", trial.outcome.recovered, 3.0)
        trial.go_on(1.0)
    trial.none_failed()


@fault(
    "strangler upgrade, twice: all processes are replaced",
    plain,
    "scripted",
    replaces=True,
)
def upgraded(trial: Trial) -> None:
    take_time(trial)
    with trial.trouble():
        for _ in range(2):
            old, lines = trial.edge.pids, len(trial.edge.lines)
            trial.edge.signal(signal.SIGUSR2)
            trial.edge.wait_log("upgrade.finished", after=lines, timeout=30.0 * trial.slack)
            trial.wait(lambda old=old: all(map(gone, old[1:])), 15.0, "the old are gone")
            trial.go_on(0.5)
    ready(trial)
    trial.none_failed()
    trial.enough(100)


@fault("routes.yaml is changed 50 times", plain, "scripted", memory=16)
def reloaded_50_times(trial: Trial) -> None:
    take_time(trial)
    whole = trial.edge.config.read_text()
    times = []
    with trial.trouble():
        for number in range(50):
            lines, began = len(trial.edge.lines), time.monotonic()
            # A route more, a route less: the table is another one each time.
            more = f"  /nova-{number}/**: materia\n" if number % 2 == 0 else ""
            trial.edge.write(whole + more)
            trial.edge.wait_log("config.accepted", after=lines, timeout=5.0 * trial.slack)
            times.append(time.monotonic() - began)
    times.sort()
    trial.none_failed()
    trial.seconds("in force after, median", times[25], 1.0)
    trial.seconds("in force after, at worst", times[-1], 2.5)
    trial.enough(200)


@fault("routes.yaml is half-written, then nonsense, then away", plain)
def file_broken(trial: Trial) -> None:
    whole = trial.edge.config.read_text()
    routes = len(trial.edge.admin_json("/-/routes")[1]["routes"])
    with trial.trouble():
        with trial.edge.config.open("w") as file:
            file.write(whole[: len(whole) // 2])
            file.flush()
            os.fsync(file.fileno())
            trial.noticed("config.error", 2.0)
            trial.go_on(1.0)
            file.write(whole[len(whole) // 2 :])
        for text in ("version: 1\nroutes: [", "\x00\x01\x02", ""):
            lines = len(trial.edge.lines)
            trial.edge.write(text)
            trial.edge.wait_log("config.error", after=lines, timeout=5.0 * trial.slack)
        kept = len(trial.edge.admin_json("/-/routes")[1]["routes"])
        trial.figure("routes in force meanwhile", kept, f"{routes}, the old ones", kept == routes)
        trial.edge.config.unlink()
        trial.go_on(0.5)
        trial.edge.write(whole)
    until(lambda: trial.edge.admin_json("/-/config")[1]["rejected"] is None, timeout=10.0)
    trial.none_failed()
    trial.enough(60)


class Ending:
    """An edge that is stopped during the trial, and a service that gives a slow download."""

    def __init__(self, backends: Backends, made: Edge, scripted: Scripted) -> None:
        self.backends, self.edge, self.scripted = backends, made, scripted

    def mend(self) -> None:
        self.backends.mend()
        self.scripted.well()

    def groups(self, fault: Fault) -> Sequence[Group]:
        return ordinary(self.backends)


@contextlib.contextmanager
def ending() -> Iterator[Ending]:
    backends = shared().backends()
    with Scripted(backends.content) as scripted:
        text = backends.routes(scripted={"scripted": scripted.url})
        with edge(text) as made:
            yield Ending(backends, made, scripted)


@fault("SIGTERM amid 20 downloads", ending, quick=True, replaces=True)
def stopped_amid_downloads(trial: Trial) -> None:
    """All 20 come whole, and so does every request that had begun."""
    piece, pieces = b"x" * 65536, 8
    go = threading.Event()

    def download(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * pieces))
        connection.send(piece)
        go.wait(20)
        for _ in range(pieces - 1):
            connection.send(piece)

    trial.site.scripted.ill(download)
    target = trial.site.backends.pages[0][0]
    clients: list[RawClient] = []
    for _ in range(20):
        clients.append(trial.edge.client(timeout=20))
        clients[-1].send(build("GET", target, [("X-Reader", "scripted")]))
    for client in clients:
        client.read_content(1000)
    with trial.trouble():
        trial.edge.signal(signal.SIGTERM)
        trial.noticed("stop.draining", 1.0)
        trial.go_on(0.5)
        go.set()
        whole = 0
        for client in clients:
            with client:
                whole += client.read().length == len(piece) * pieces
        trial.edge.process.wait(15)
        trial.seconds("ended after", time.monotonic() - trial.began, 5.0)
    trial.figure("downloads that came whole", whole, "20", whole == 20)
    begun = [one for one in trial.load.between(trial.started, trial.began) if one.problem]
    shown = f"{len(begun)}: {begun[0].problem}" if begun else "0"
    trial.figure("requests lost that had begun", shown, "0", not begun)
    trial.load.stop()
    # Who comes later is refused, and told so at once: nothing hangs, nothing is cut.
    cut = [one for one in trial.load.between(trial.began, time.monotonic())
           if one.problem and "refused" not in one.problem.lower()]  # fmt: skip
    shown = f"{len(cut)}: {cut[0].problem}" if cut else "0"
    trial.figure("later ones that were not just refused", shown, "0", not cut)
