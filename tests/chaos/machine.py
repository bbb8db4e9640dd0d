# SPDX-License-Identifier: Apache-2.0
"""The machine itself: its disk is full, its clock jumps."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from chaos.fault import Fault, fault
from chaos.load import Group
from chaos.plain import shared
from chaos.site import Backends, edge, ordinary
from chaos.trial import Trial

from strangler.testing import Edge, RawClient


class OnDisk:
    """An edge whose state, tiers and access log lie on a small disk of their own."""

    def __init__(self, backends: Backends, made: Edge, disk: Path) -> None:
        self.backends, self.edge, self.disk = backends, made, disk

    def mend(self) -> None:
        self.backends.mend()
        (self.disk / "fill").unlink(missing_ok=True)

    def groups(self, fault: Fault) -> Sequence[Group]:
        return ordinary(self.backends)


@contextlib.contextmanager
def small_disk() -> Iterator[OnDisk]:
    """Yield the stage; the disk is a tmpfs of 16 MiB, which only root may mount."""
    backends = shared().backends()
    with tempfile.TemporaryDirectory(prefix="small-disk-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "chaos", name], check=True)
        try:
            disk = Path(name)
            text = backends.routes(
                cache={"edge": "1s", "shared": "2s", "archive": "1h"},
                tiers={
                    "shared": {"store": f"sqlite:{disk}/shared.db", "size": "4MB"},
                    "archive": {"store": f"sqlite:{disk}/archive.db"},
                },
            )
            log = ["--access-log-file", str(disk / "access.log")]
            state = {"STRANGLER_STATE": str(disk / "var")}
            with edge(text, arguments=log, environment=state) as made:
                yield OnDisk(backends, made, disk)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def order(trial: Trial) -> int:
    """Try to record an override; return the status."""
    token = (trial.site.disk / "var" / "admin.token").read_text().strip()
    body = {"kind": "freeze", "subject": "site", "value": True, "for": "1m", "reason": "chaos"}
    fields = [("Content-Type", "application/json"), ("Authorization", f"Bearer {token}")]
    with RawClient(trial.edge.admin, server_name="127.0.0.1") as client:
        return client.request("POST", "/-/overrides", fields, json.dumps(body)).status


@fault("the disk is full: state, tiers and access log", small_disk)
def disk_full(trial: Trial) -> None:
    fill = trial.site.disk / "fill"
    whole = trial.edge.config.read_text()
    with trial.trouble():
        with fill.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        left = os.statvfs(trial.site.disk).f_bavail
        trial.figure("blocks left", left, "0", left == 0)
        trial.go_on(3.0)
        lines, began = len(trial.edge.lines), time.monotonic()
        trial.edge.write(whole + "  /nova/**: materia\n")
        trial.edge.wait_log("config.accepted", after=lines, timeout=5.0 * trial.slack)
        trial.seconds("a change of routes.yaml in force after", time.monotonic() - began, 2.0)
        status = order(trial)
        trial.figure("an override that can't be recorded is answered", status, "503", status == 503)
        health = trial.edge.admin_json("/-/healthcheck")
        disk = [one for one in health[1]["results"] if "disk" in one["checker"]]
        told = bool(disk) and not all(one["passed"] for one in disk)
        trial.figure("/-/healthcheck tells it", health[0], "503, disk", told and health[0] == 503)
        fill.unlink()
    trial.wait(lambda: order(trial) == 201, 10.0, "overrides are recorded again")
    trial.outcome.recovered = time.monotonic() - trial.mended
    trial.seconds("overrides are recorded again after", trial.outcome.recovered, 5.0)
    log = trial.site.disk / "access.log"
    size = log.stat().st_size
    trial.wait(lambda: log.stat().st_size > size, 5.0, "the access log goes on")
    trial.none_failed()


class Dated:
    """An edge whose wall clock is read through a shim, `shifted.c`."""

    def __init__(self, backends: Backends, made: Edge, file: Path) -> None:
        self.backends, self.edge, self._file = backends, made, file

    def mend(self) -> None:
        self.backends.mend()
        self.jump(0)

    def groups(self, fault: Fault) -> Sequence[Group]:
        return ordinary(self.backends)

    def jump(self, seconds: int) -> None:
        """Set the clock of all its processes to *seconds* from the real one."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

    def off(self) -> float:
        """Return by how many seconds the edge's own Date differs from ours."""
        with RawClient(self.edge.admin, server_name="127.0.0.1") as client:
            date = client.get("/-/live").get("Date").decode()
        return email.utils.parsedate_to_datetime(date).timestamp() - time.time()


@contextlib.contextmanager
def dated() -> Iterator[Dated]:
    """Yield the stage; only the wall clock is shifted, as when a machine's date is set."""
    backends = shared().backends()
    file, library = backends.folder / "shift", backends.folder / "shifted.so"
    file.write_bytes(bytes(8))
    source = Path(__file__).with_name("shifted.c")
    compile = ["gcc", "-shared", "-fPIC", "-O2", "-nostdlib", "-o", str(library), str(source)]
    subprocess.run(compile, check=True)
    environment = {"LD_PRELOAD": str(library), "SHIFT_FILE": str(file)}
    with edge(backends.routes(), environment=environment) as made:
        yield Dated(backends, made, file)


def jumps(trial: Trial, seconds: int) -> None:
    """Jump and come back; copies must go on being given up: none of an article lives for over 2 s.

    Ahead of its origins the edge takes every answer for old (RFC 9111 §4.2.3): nothing is kept.
    """

    def fetched(since: float) -> int:
        asked = trial.load.between(since, time.monotonic(), "cached")
        return sum("fwd=" in one.cache for one in asked)

    with trial.trouble():
        trial.site.jump(seconds)
        trial.wait(lambda: abs(trial.site.off() - seconds) < 5, 5.0, "the edge's clock has jumped")
        off = trial.site.off()
        trial.figure("the edge's clock is off by", f"{off:+.0f} s", f"{seconds:+d} s", True)
        trial.go_on(5.0)
    seen = fetched(trial.mended - 3.0)
    trial.figure("fetched anew while it is wrong", seen, ">= 24", seen >= 24)
    trial.site.jump(0)
    trial.wait(lambda: abs(trial.site.off()) < 5, 5.0, "the edge's clock is right again")
    trial.go_on(5.0)
    seen = fetched(time.monotonic() - 3.0)
    trial.figure("fetched anew once it is right", seen, ">= 24", seen >= 24)
    late = trial.load.between(time.monotonic() - 3.0, time.monotonic(), "cached")
    hits = sum("hit" in one.cache for one in late)
    trial.figure("answered from copies once it is right", hits, "> 0", hits > 0)
    trial.none_failed()


@fault("the wall clock jumps an hour ahead, and back", dated)
def clock_ahead(trial: Trial) -> None:
    jumps(trial, 3600)


@fault("the wall clock jumps an hour back, and ahead", dated)
def clock_back(trial: Trial) -> None:
    jumps(trial, -3600)
