#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a toggle takes until all of 4 workers follow it: ``bench/toggle.py`` prints it.

wrk keeps the edge as busy as it can be, from a core of its own; a second set of readers, on
connections that reach every worker, notes who answered each of its requests and when it began. A
toggle's time is from the command's first byte until its answer says that all workers serve it. A
request that began after that answer, and was given by the other side, is on the wrong side.

Then many toggles in a row, without the load: how the processes' memory and the audit log fare.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import CONNECTIONS, LOAD_CORE, PATH, Nginx, StranglerServer, pinned
from measure import HEADERS, Broken, process_tree, resident_of
from servers.process import LOOPBACK, find_binary

WORKERS = 4
ROUTE = "/noticia/**"
READERS = 16
"""Connections beside wrk's; the kernel spreads them over the workers."""
SIDES = ("legacy", "materia")
_ROUTES = """\
version: 1
upstreams:
  legacy: {{url: "{legacy}", role: legacy}}
  materia: {{url: "{materia}"}}
tiers: {{shared: none, archive: none}}
overrides: {{changes: none}}
routes:
  /**: legacy
  /noticia/**: materia
"""


class Named(Nginx):
    """An origin whose answers say which one it is."""

    name = "origin"
    core = LOAD_CORE

    def __init__(self, name: str) -> None:
        block = (
            f"server {{ listen {LOOPBACK}:PORT backlog=4096; keepalive_requests 100000000;"
            f" default_type text/plain; location / {{ return 200 '{name}'; }} }}"
        )
        super().__init__(block, access_log=False)


class Sided(StranglerServer):
    """The edge with a route that both origins can answer."""

    workers = WORKERS

    def __init__(self, legacy: str, materia: str) -> None:
        super().__init__(materia, "off")
        self.legacy = legacy

    def prepare(self) -> None:
        text = _ROUTES.format(legacy=self.legacy, materia=self.origin)
        (self.folder / "routes.yaml").write_text(text)


class Readers:
    """READERS connections that ask again and again; who answered is noted."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: list[tuple[float, str]] = []
        self.failed = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Readers:
        self._tasks = [asyncio.create_task(self._read()) for _ in range(READERS)]
        while len(self.answers) < 10 * READERS:
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        asked = f"GET {PATH} HTTP/1.1\r\nHost: bench.test\r\n\r\n".encode()
        while True:
            began = time.monotonic()
            try:
                writer.write(asked)
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                if not head.startswith(b"HTTP/1.1 200") or body.decode() not in SIDES:
                    raise ValueError(head)
                self.answers.append((began, body.decode()))
            except (OSError, ValueError, asyncio.IncompleteReadError):
                self.failed += 1
                writer.close()
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            await asyncio.sleep(0.005)


class Operator:
    """Toggles the route by the admin listener, over one connection."""

    def __init__(self, server: Sided) -> None:
        client = server.admin
        host, _, port = client.address.rpartition(":")
        self._link = http.client.HTTPConnection(host, int(port), timeout=30)
        token = (server.folder / "var" / "admin.token").read_text().strip()
        self._fields = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def toggle(self, side: str) -> float:
        """Let *side* answer; return the seconds until all workers did so."""
        value = "legacy" if side == "legacy" else "live"
        asked = {"kind": "stage", "subject": f"route:{ROUTE}", "value": value, "reason": "bench"}
        began = time.monotonic()
        self._link.request("POST", "/-/overrides", json.dumps(asked), self._fields)
        response = self._link.getresponse()
        told = json.loads(response.read())
        taken = time.monotonic() - began
        if response.status != 201 or told["workers"] != f"{WORKERS}/{WORKERS}":
            raise Broken(str(told))
        return taken

    def audited(self) -> int:
        """Return how many toggles the audit log has."""
        count, before = 0, ""
        while True:
            self._link.request("GET", f"/-/audit?limit=1000&what=override.set{before}", None,
                               self._fields)  # fmt: skip
            told = json.loads(self._link.getresponse().read())
            count += len(told["entries"])
            if told["next"] is None:
                return count
            before = f"&before={told['next']}"


async def under_load(server: Sided, operator: Operator, count: int) -> dict[str, Any]:
    """Toggle *count* times while wrk and the readers ask."""
    fields = [word for pair in HEADERS.items() for word in ("-H", f"{pair[0]}: {pair[1]}")]
    wrk = [find_binary("wrk"), "-t1", f"-c{CONNECTIONS}", "-d3600s", *fields, server.url + PATH]
    load = subprocess.Popen(
        pinned(LOAD_CORE, *wrk), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    times, wrong = [], 0
    loop = asyncio.get_running_loop()
    try:
        async with Readers(server.port) as readers:
            for number in range(count):
                side = SIDES[number % 2]
                times.append(await loop.run_in_executor(None, operator.toggle, side))
                acknowledged = time.monotonic()
                seen = len(readers.answers)
                while len(readers.answers) < seen + 2 * READERS:
                    await asyncio.sleep(0.005)
                wrong += sum(
                    began > acknowledged and name != side for began, name in readers.answers[seen:]
                )
    finally:
        load.send_signal(2)  # wrk prints what it has seen
        said = load.communicate(timeout=20)[0]
    found = re.search(r"(\d+) requests in", said)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+)", said)
    failed = readers.failed + (int(refused[1]) if refused else 0)
    failed += sum(map(int, errors.groups())) if errors else 0
    times.sort()
    return {
        "toggles": count,
        "p50_ms": round(statistics.median(times) * 1000, 1),
        "p99_ms": round(times[min(int(0.99 * count), count - 1)] * 1000, 1),
        "longest_ms": round(times[-1] * 1000, 1),
        "requests": int(found[1]) + len(readers.answers) if found else 0,
        "failed": failed,
        "wrong_side": wrong,
    }


def in_a_row(server: Sided, operator: Operator, count: int) -> dict[str, Any]:
    """Toggle *count* times; return what memory and the audit log say of it."""

    def memory() -> dict[int, int]:
        return {pid: resident_of(pid) for pid in process_tree(server.pid)}

    before_count = operator.audited()
    for number in range(count // 10):  # whatever grows to its size once has it now
        operator.toggle(SIDES[number % 2])
    before = memory()
    began = time.monotonic()
    for number in range(count - count // 10):
        operator.toggle(SIDES[number % 2])
    taken = time.monotonic() - began
    after = memory()
    grown = max(after[pid] - size for pid, size in before.items() if pid in after)
    return {
        "in_a_row": count,
        "a_second": round((count - count // 10) / taken),
        "audited": operator.audited() - before_count,
        "largest_growth_kb": grown >> 10,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--json", action="store_true", help="print JSON, which is all it prints")
    given = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    loaded, row = (50, 200) if given.quick else (300, 10_000)
    with (
        Named("legacy") as legacy,
        Named("materia") as materia,
        Sided(legacy.url, materia.url) as server,
    ):
        operator = Operator(server)
        told = asyncio.run(under_load(server, operator, loaded))
        told |= in_a_row(server, operator, row)
    if told["failed"] or told["wrong_side"] or told["audited"] != told["in_a_row"]:
        print(json.dumps(told), file=sys.stderr)
        return 1
    print(json.dumps(told, indent=None if given.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
