# SPDX-License-Identifier: Apache-2.0
"""Clients misbehave, or are too many; the other readers don't notice."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from pathlib import Path

from chaos.fault import fault
from chaos.plain import plain
from chaos.processes import workers
from chaos.trial import Trial

from strangler.testing import build, until

IDLE = 10_000


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def drop(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def room(count: int) -> None:
    """Let this process have *count* descriptors; raises where the machine forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise AssertionError(f"{count} descriptors are needed, the machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


@fault(f"{IDLE:,} idle connections, each served once", plain, memory=24)
def idle_connections(trial: Trial) -> None:
    room(IDLE + 1000)
    before = trial.edge.rss()
    sockets: list[socket.socket] = []
    target = trial.site.backends.pages[0][0]
    ask = build("GET", target, host="www.example.com")
    pids = workers(trial.edge).values()
    held = sum(map(descriptors, pids))
    try:
        with trial.trouble():
            for first in range(0, IDLE, 500):
                fresh = [socket.create_connection(trial.edge.address, 10) for _ in range(500)]
                sockets += fresh
                for one in fresh:
                    one.sendall(ask)
                for one in fresh:
                    one.settimeout(10)
                    assert one.recv(65536).startswith(b"HTTP/1.1 200 "), first
            trial.go_on(2.0)
            now = sum(map(descriptors, pids)) - held
            trial.figure("connections held", f"{now:,}", f">= {IDLE - 50:,}", now >= IDLE - 50)
            # The largest process has at least half of them.
            each = (trial.edge.rss() - before) / IDLE
            trial.figure("memory of one, in the larger worker", f"{each / 1024:.1f} KiB",
                         "<= 4 KiB", each <= 4096)  # fmt: skip
    finally:
        drop(sockets)
    trial.none_failed()
    during = trial.load.between(trial.mended - 2.0, trial.mended, "cached")
    trial.p99_within(during, 250.0, "p99 of those who read copies, all held")


@fault("200 slow-loris clients: a byte of the head a second", plain)
def slow_loris(trial: Trial) -> None:
    """They are closed with 408 at the limit for heads (2 s here)."""
    sockets: list[socket.socket] = []
    with trial.trouble():
        for _ in range(200):
            sockets.append(socket.create_connection(trial.edge.address, 10))
            sockets[-1].sendall(b"GET / HT")
        began = time.monotonic()
        answered: dict[int, bytes] = {}
        closed: list[float] = []
        for one in sockets:
            one.setblocking(False)
        while time.monotonic() - began < 6.0 * trial.slack and len(closed) < len(sockets):
            for number, one in enumerate(sockets):
                if one.fileno() < 0:
                    continue
                try:
                    piece = one.recv(65536)
                except BlockingIOError:
                    with contextlib.suppress(OSError):
                        one.send(b"T")
                    continue
                except ConnectionResetError:
                    piece = b""
                answered[number] = answered.get(number, b"") + piece
                if not piece:
                    closed.append(time.monotonic() - began)
                    one.close()
            time.sleep(0.2)
    polite = sum(one.startswith(b"HTTP/1.1 408 ") for one in answered.values())
    trial.figure("closed", len(closed), "200", len(closed) == 200)
    trial.figure("answered 408", polite, "200", polite == 200)
    trial.seconds("the last after", max(closed, default=99.0), 3.0)
    trial.none_failed()
    during = trial.load.between(trial.began, trial.mended, "cached")
    trial.p99_within(during, 250.0, "p99 of those who read copies")
    drop(sockets)


@fault("descriptors are used up: a limit of 150, 300 clients", plain)
def descriptors_used_up(trial: Trial) -> None:
    """Nothing spins, nothing floods the log, and readers are served again when there are some."""
    pids = list(workers(trial.edge).values())
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    sockets: list[socket.socket] = []
    with trial.trouble():
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (150, hard))
        for _ in range(600):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(trial.edge.address)
            sockets.append(one)
        time.sleep(0.5)  # until all that fit are in
        lines, cpu = trial.edge.lines[:], trial.edge.cpu()
        time.sleep(1.5)  # the subject is what happens meanwhile: nothing
        spent = trial.edge.cpu() - cpu
        said = [line for line in trial.edge.lines[len(lines) :] if "GET /" not in line]
        drop(sockets)
        freed = time.monotonic()
        trial.figure("CPU in 1.5 s of it", f"{spent:.2f} s", "<= 0.3 s", spent <= 0.3 * trial.slack)
        trial.figure("log lines, requests' apart", len(said), "< 100", len(said) < 100)
    until(lambda: trial.edge.admin_json("/-/ready")[0] == 200, timeout=10.0)
    trial.load.until(
        lambda: any(not one.problem for one in trial.load.between(freed, 1e18) if one.fresh),
        10.0 * trial.slack,
        "a new connection is served",
    )
    good = min(one.ended for one in trial.load.between(freed, 1e18) if not one.problem)
    trial.outcome.recovered = good - freed
    trial.seconds("served again after", good - freed, 1.2)
    for pid, limit in limits.items():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    trial.go_on(1.0)
    late = [one for one in trial.load.between(good + 1.2, time.monotonic()) if one.problem]
    trial.figure("failed afterwards", len(late), "0", not late)
