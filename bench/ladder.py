#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ten minutes of a news site's readers, compressed in time, through the ladder and its peers.

5,000 articles; popularity falls by Zipf's law with exponent 1.1, which puts some 12 % of all
reading on the first article and 60 % on the first hundred, as front pages do. Everything that has
a length is divided by the same factor: 10 s in the edge become 1 s at --speed 10, 5 min in the
shared tier 30 s, 10 min of traffic one. nginx and Varnish have one tier and are given each of the
two lifetimes in turn. Beside the talk's > 80 % / ~15 % / < 5 %.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cached import CachingStrangler, RenderingOrigin, nginx, varnish
from contenders import HTTPServer
from servers.process import LOOPBACK

ARTICLES = 5000
EXPONENT = 1.1
MINUTES = 10.0
EDGE, SHARED = 10.0, 300.0  # seconds, of the simulated time
CONNECTIONS = 32
_STATUS = re.compile(rb"\r\nCache-Status: [^\r]*strangler[^\r]*", re.I)
_DETAIL = re.compile(rb"detail=\"?(\w+)")


def readings(count: int, seed: int = 1) -> list[bytes]:
    """Return *count* requests, the same ones in each run."""
    weights = list(itertools.accumulate(1 / rank**EXPONENT for rank in range(1, ARTICLES + 1)))
    chosen = random.Random(seed).choices(range(ARTICLES), cum_weights=weights, k=count)
    made = [
        f"GET /noticia/materia-{number}.ghtml HTTP/1.1\r\nHost: bench.test\r\n\r\n".encode()
        for number in range(ARTICLES)
    ]
    return [made[number] for number in chosen]


class _Reader(asyncio.Protocol):
    """One connection; `free` is called when its answer has come."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.buffer = b""
        self.left = -1
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> None:
        self.began = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.left < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[: end + 2]
            found = re.search(rb"\r\nContent-Length: (\d+)", head, re.I)
            assert found is not None and head.startswith(b"HTTP/1.1 200 "), head
            self.left = int(found[1]) - (len(self.buffer) - end - 4)
            self.buffer = b""
            self.traffic.answered(head)
        else:
            self.left -= len(data)
        if self.left == 0:
            self.left = -1
            self.traffic.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.traffic.lost += 1


class Traffic:
    """An open loop: requests are sent when they are due, whether or not others are answered."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        self.requests = requests
        self.rate = rate
        self.where: Counter[str] = Counter()
        self.late = 0
        self.lost = 0
        self._idle: list[_Reader] = []
        self._answers = 0
        self._done = asyncio.Event()

    async def run(self, port: int) -> float:
        """Send everything; return the seconds that it took."""
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, reader = await loop.create_connection(lambda: _Reader(self), LOOPBACK, port)
            self._idle.append(reader)
        began = time.monotonic()
        sent = 0
        while sent < len(self.requests):
            due = min(len(self.requests), int((time.monotonic() - began) * self.rate))
            while sent < due and self._idle:
                self._idle.pop().ask(self.requests[sent])
                sent += 1
            if sent < due:
                self.late += 1
            await asyncio.sleep(0.002)
        try:
            await asyncio.wait_for(self._done.wait(), 30)
        except TimeoutError:
            raise RuntimeError(
                f"{sent - self._answers} of {sent} unanswered, {self.lost} connections lost"
            ) from None
        return time.monotonic() - began

    def answered(self, head: bytes) -> None:
        found = _STATUS.search(head)
        if found is None:
            word = "answered"
        elif b"hit" not in found[0]:
            word = "collapsed" if b"collapsed" in found[0] else "origin"
        else:
            detail = _DETAIL.search(found[0])
            word = detail[1].decode() if detail else "hit"
        self.where[word] += 1

    def free(self, reader: _Reader) -> None:
        self._idle.append(reader)
        self._answers += 1
        if self._answers == len(self.requests):
            self._done.set()


def measure(
    make: Callable[[str], HTTPServer], requests: list[bytes], rate: float
) -> dict[str, Any]:
    with RenderingOrigin() as origin, make(origin.url) as server:
        time.sleep(0.5)
        origin.renders.clear()

        async def run() -> tuple[Traffic, float]:
            traffic = Traffic(requests, rate)
            return traffic, await traffic.run(server.port)

        traffic, taken = asyncio.run(run())
        return {
            "renders": origin.renders.total(),
            "where": dict(traffic.where),
            "seconds": round(taken, 1),
            "late": traffic.late,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--speed", type=float, default=10, help="seconds become 1/SPEED (at most 10)"
    )
    parser.add_argument("--rate", type=float, default=250, help="readers a second, simulated")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="simulated")
    parser.add_argument("--only", metavar="KEYS")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    speed = min(arguments.speed, EDGE)  # nginx has no lifetime below a second
    count = int(arguments.minutes * 60 * arguments.rate)
    requests = readings(count)
    edge, shared = EDGE / speed, SHARED / speed
    ladder = f"{{edge: {edge * 1000:.0f}ms, shared: {shared * 1000:.0f}ms, archive: 30d}}"
    two = f"{{edge: {edge * 1000:.0f}ms, shared: {shared * 1000:.0f}ms}}"
    makers: dict[str, Callable[[str], HTTPServer]] = {
        "strangler": lambda origin: CachingStrangler(origin, ladder),
        "strangler-two": lambda origin: CachingStrangler(origin, two),
        "nginx-edge": lambda origin: nginx(origin, edge),
        "nginx-shared": lambda origin: nginx(origin, shared),
        "varnish-edge": lambda origin: varnish(origin, edge),
        "varnish-shared": lambda origin: varnish(origin, shared),
    }
    keys = arguments.only.split(",") if arguments.only else list(makers)
    rows = {}
    for key in keys:
        print(f"{time.strftime('%H:%M:%S')} {key}", file=sys.stderr, flush=True)
        rows[key] = measure(makers[key], requests, arguments.rate * speed)
    if arguments.json:
        print(json.dumps({"requests": count, "speed": speed, "rows": rows}, indent=1))
    else:
        print(report(rows, requests, speed))
    return 0


_LABELS = {
    "strangler": "**strangler**, edge 10 s, shared 5 min, archive 30 d",
    "strangler-two": "**strangler**, edge 10 s, shared 5 min",
    "nginx-edge": "nginx, 10 s",
    "nginx-shared": "nginx, 5 min",
    "varnish-edge": "Varnish, 10 s",
    "varnish-shared": "Varnish, 5 min",
}


def report(rows: dict[str, dict[str, Any]], requests: list[bytes], speed: float) -> str:
    """Return the table for RESULTS.md."""
    count = len(requests)
    lines = [
        f"### {count:,} readings of {len(set(requests)):,} articles, {speed:g} times as fast",
        "",
        "| | edge | shared | archive | of another's fetch | origin renders | of no cache |",
        "|---|---|---|---|---|---|---|",
        f"| no cache | | | | | {count:,} | 100 % |",
    ]
    for key, row in rows.items():
        where = row["where"]
        shares = [
            f"{where[word] / count:.1%}" if word in where else ""
            for word in ("edge", "shared", "archive", "collapsed")
        ]
        lines.append(
            f"| {_LABELS.get(key, key)} | {' | '.join(shares)}"
            f" | {row['renders']:,} | {row['renders'] / count:.2%} |"
        )
    lines += ["", "The talk: > 80 % edge, ~ 15 % shared, < 5 % archive."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
