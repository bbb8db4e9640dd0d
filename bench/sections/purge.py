# SPDX-License-Identifier: Apache-2.0
"""One purge of a tag that 100,000 objects have, across two machines of two workers each.

The machines are two edges with memories of their own on one Redis. Both hold some of the objects
in their workers; all are in Redis. One of the machines is told. What counts is how long that takes
to be acknowledged, how long until no worker of either machine gives the old page any more, and how
many of the others' pages went with it.
"""

from __future__ import annotations

import http.client
import time
from typing import Any

from caches import CachingStrangler, TaggedOrigin
from measure import load
from sections import Aim, say, table
from servers.process import LOOPBACK
from servers.redis import Redis

KEY = "purge"
TITLE = "A purge by tag"
WORKERS = 2
CACHE = "{edge: 10m, shared: 20m}"
LINKS = 16  # connections to each machine, so that every worker has some
SAMPLE = 40  # pages that every worker holds


class Links:
    """Connections to one machine that stay, spread over its workers by the kernel."""

    def __init__(self, port: int) -> None:
        self.all = [http.client.HTTPConnection(LOOPBACK, port, timeout=10) for _ in range(LINKS)]

    def editions(self, page: int) -> set[str]:
        """Return what *page* is an edition of, asked over every connection."""
        found = set()
        for link in self.all:
            link.request("GET", f"/noticia/materia-{page}.ghtml", headers={"Host": "bench.test"})
            response = link.getresponse()
            response.read()
            found.add(response.headers["X-Edition"])
        return found


def measure(quick: bool) -> dict[str, Any]:
    count = 3000 if quick else 100_000
    with Redis() as redis, TaggedOrigin() as origin:
        tiers = f'{{edge: {{store: memory, size: 256MB}}, shared: {{store: "{redis.url}"}}}}'
        machine = [
            CachingStrangler(origin.url, CACHE, tiers=tiers, workers=WORKERS) for _ in range(2)
        ]
        with machine[0] as first, machine[1] as second:
            held = fill(first, redis, count)
            say(f"{held:,} objects in Redis")
            links = [Links(first.port), Links(second.port)]
            for page in range(1, SAMPLE + 1):
                for each in links:
                    assert each.editions(page) == {"1"}
            origin.edition = 2
            began = time.monotonic()
            status, told = first.admin.post("/-/purge", {"tag": "capa"})
            acknowledged = time.monotonic() - began
            if status != 200 or not told["ok"]:
                raise RuntimeError(f"purge: {status} {told}")
            here = until_new(links[0], began)
            there = until_new(links[1], began)
            old = sum(each.editions(page) != {"2"} for page in range(1, SAMPLE) for each in links)
    return {
        "objects": held,
        "machines": 2,
        "workers": WORKERS,
        "acknowledged_ms": acknowledged * 1e3,
        "here_ms": here * 1e3,
        "there_ms": there * 1e3,
        "old": old,
    }


def fill(edge: CachingStrangler, redis: Redis, count: int) -> int:
    """Ask *edge* for *count* pages; return how many objects the store holds then."""
    asked = 0
    while asked < count:
        asked += load(edge.pid, edge.url, 4, pages=10_000_000, first=asked, size=0).requests
    time.sleep(0.5)  # what was put last is on its way
    return int(redis.ask(b"DBSIZE").strip(b":\r\n"))


def until_new(links: Links, began: float) -> float:
    """Return the seconds since *began* at which every worker gave the new page."""
    while links.editions(SAMPLE) != {"2"}:
        if time.monotonic() - began > 10:
            raise RuntimeError("the old page is still given after 10 s")
    return time.monotonic() - began


def report(data: dict[str, Any]) -> list[str]:
    return [
        f"{data['objects']:,} objects with one tag in Redis, {data['machines']} machines with "
        f"{data['workers']} workers each; one of the machines is told.",
        "",
        *table(
            "step | after the request",
            f"acknowledged, on all workers of that machine | {data['acknowledged_ms']:.0f} ms",
            f"every worker of that machine gave the new page | {data['here_ms']:.0f} ms",
            f"every worker of the other machine gave it | {data['there_ms']:.0f} ms",
        ),
        "",
        f"Of {2 * (SAMPLE - 1)} other pages {data['old']} came back old.",
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    last = max(data["acknowledged_ms"], data["here_ms"], data["there_ms"])
    return [
        Aim(
            f"a purge of {data['objects']:,} objects by one tag, everywhere",
            "within 1 s, none comes back",
            f"{last:.0f} ms, {data['old']} came back",
            last < 1000 and not data["old"],
        )
    ]
