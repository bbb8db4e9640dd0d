# SPDX-License-Identifier: Apache-2.0
"""Ten minutes of a news site's readers, compressed in time, through the ladder and its peers.

5,000 articles; popularity falls by Zipf's law with exponent 1.1, which puts some 16 % of all
reading on the first article and 68 % on the first hundred, as front pages do. 600 readers a
second, a modest hour of such a site. Everything that has a length is divided by ten: 10 s in the
edge become 1 s, 5 min in the shared tier 30 s, 10 min of traffic one. nginx and Varnish have one
tier and are given the longer of the two lifetimes. Beside the talk's > 80 % / ~15 % / < 5 %.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvloop
from caches import CachingStrangler, RenderingOrigin, nginx, varnish
from contenders import BODY_SIZE, HTTPServer
from sections import Aim, say, table
from servers.process import LOOPBACK

KEY = "ladder"
TITLE = "The ladder: ten minutes of a news site"

ARTICLES = 5000
EXPONENT = 1.1
MINUTES = 10.0
EDGE, SHARED = 10.0, 300.0  # seconds, of the simulated time
CONNECTIONS = 32
SPEED = 10.0  # nginx has no lifetime below a second, so not more
RATE = 600.0  # readers a second, of the simulated time
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes) -> None:
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.left < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[: end + 2]
            assert head.startswith(b"HTTP/1.1 200 "), head
            self.left = BODY_SIZE - (len(self.buffer) - end - 4)
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
        for _ in range(CONNECTIONS):
            self._idle.append(await self._connect(port))
        began = time.monotonic()
        sent = 0
        while sent < len(self.requests):
            due = min(len(self.requests), int((time.monotonic() - began) * self.rate))
            while sent < due and self._idle:
                reader = self._idle.pop()
                if reader.transport.is_closing():  # a server may close a connection between two
                    reader = await self._connect(port)
                reader.ask(self.requests[sent])
                sent += 1
            if sent < due:
                self.late += 1
            await asyncio.sleep(0.002)
            if time.monotonic() - began > 2.5 * len(self.requests) / self.rate:
                raise RuntimeError("the machine has no room for this rate")
        try:
            await asyncio.wait_for(self._done.wait(), 30)
        except TimeoutError:
            raise RuntimeError(
                f"{sent - self._answers} of {sent} unanswered, {self.lost} connections lost"
            ) from None
        return time.monotonic() - began

    async def _connect(self, port: int) -> _Reader:
        loop = asyncio.get_running_loop()
        _, reader = await loop.create_connection(lambda: _Reader(self), LOOPBACK, port)
        return reader

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


def one(make: Callable[[str], HTTPServer], requests: list[bytes], rate: float) -> dict[str, Any]:
    with RenderingOrigin() as origin, make(origin.url) as server:
        time.sleep(0.5)
        origin.renders.clear()

        async def run() -> tuple[Traffic, float]:
            traffic = Traffic(requests, rate)
            return traffic, await traffic.run(server.port)

        traffic, taken = uvloop.run(run())
        return {
            "renders": origin.renders.total(),
            "where": dict(traffic.where),
            "seconds": round(taken, 1),
            "late": traffic.late,
        }


def measure(quick: bool) -> dict[str, Any]:
    count = int((1.0 if quick else MINUTES) * 60 * RATE)
    requests = readings(count)
    edge, shared = EDGE / SPEED, SHARED / SPEED
    two = f"edge: {edge * 1000:.0f}ms, shared: {shared * 1000:.0f}ms"
    makers: dict[str, Callable[[str], HTTPServer]] = {
        "strangler": lambda origin: CachingStrangler(origin, f"{{{two}, archive: 30d}}"),
        "strangler-two": lambda origin: CachingStrangler(origin, f"{{{two}}}"),
        "nginx-shared": lambda origin: nginx(origin, shared),
        "varnish-shared": lambda origin: varnish(origin, shared),
    }
    rows = {}
    for key, make in makers.items():
        say(key)
        rows[key] = one(make, requests, RATE * SPEED)
    return {"requests": count, "articles": len(set(requests)), "speed": SPEED, "rows": rows}


_LABELS = {
    "strangler": "**strangler**, edge 10 s, shared 5 min, archive 30 d",
    "strangler-two": "**strangler**, edge 10 s, shared 5 min",
    "nginx-shared": "nginx, 5 min",
    "varnish-shared": "Varnish, 5 min",
}


def report(data: dict[str, Any]) -> list[str]:
    count = data["requests"]
    rows = [f"no cache | | | | | {count:,} | 100 % |"]
    for key, row in data["rows"].items():
        where = row["where"]
        shares = [
            f"{where[word] / count:.1%}" if word in where else ""
            for word in ("edge", "shared", "archive", "collapsed")
        ]
        renders = row["renders"]
        rows.append(
            f"{_LABELS[key]} | {' | '.join(shares)} | {renders:,} | {renders / count:.2%}"
            f" | {row['seconds']:.0f} s"
        )
    rows.append("the talk | > 80 % | ~ 15 % | < 5 % | | | |")
    return [
        f"{count:,} readings of {data['articles']:,} articles, Zipf with exponent {EXPONENT}, "
        f"{data['speed']:g} times as fast: every length is divided by that. nginx and Varnish "
        "have one tier and are given the longer lifetime. The origin says nothing about "
        "caching. A row took as long as its readers asked; where it took longer, the machine had "
        "no room for them.",
        "",
        *table(
            "cache | edge | shared | archive | of another's fetch | origin renders | of no cache"
            " | took",
            *rows,
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    found = []
    count, rows = data["requests"], data["rows"]
    where = rows["strangler"]["where"]
    edge, shared = where.get("edge", 0) / count, where.get("shared", 0) / count
    below = (where.get("archive", 0) + rows["strangler"]["renders"]) / count
    found.append(Aim("share of the edge tier", "> 80 %", f"{edge:.1%}", edge > 0.8))
    what = "share of the shared tier, with those who waited for another's fetch"
    waited = shared + where.get("collapsed", 0) / count
    found.append(Aim(what, "about 15 %", f"{waited:.1%}", waited < 0.2))
    found.append(Aim("share of the archive and the origin", "< 5 %", f"{below:.1%}", below < 0.05))
    peers = [row["renders"] for key, row in rows.items() if key.endswith("-shared")]
    ours = rows["strangler-two"]["renders"]
    what = "origin renders with edge and shared tier, beside nginx and Varnish with 5 min"
    beside = ", ".join(f"{peer:,}" for peer in peers)
    reached = f"{ours:,} beside {beside}"
    found.append(Aim(what, "as few, within 5 %", reached, ours <= min(peers) * 1.05))
    return found
