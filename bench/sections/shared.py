# SPDX-License-Identifier: Apache-2.0
"""Hits in the shared tier: a route without an edge tier, so every request goes to the store.

2,000 pages in turn, so that nobody waits for another's look-up. Redis and its client's core are
not the same: Redis runs beside wrk, the edge has a core to itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caches import CachingStrangler
from contenders import LOAD_CORE, Origin, pinned
from measure import load
from sections import Aim, say, table
from servers.redis import Redis

KEY = "shared"
TITLE = "Hits in the shared tier"
PAGES = 2000
CACHE = "{shared: 10m}"


class PinnedRedis(Redis):
    """A Redis on the core of the load."""

    def command(self) -> list[str]:
        return pinned(LOAD_CORE, *super().command())


@contextmanager
def stores() -> Iterator[dict[str, str]]:
    """Give the store's URL by its name."""
    with PinnedRedis() as redis:
        yield {"redis": redis.url, "sqlite": "sqlite:var/shared.db"}


def measure(quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 1) if quick else (3, 4)
    rows: dict[str, dict[str, list[float]]] = {}
    with Origin(fresh=600) as origin, stores() as urls:
        for key, url in urls.items():
            row = rows[key] = {"cpu": [], "rate": [], "hits": []}
            say(key)
            tiers = f'{{shared: {{store: "{url}", size: 1GB}}}}'
            with CachingStrangler(origin.url, CACHE, tiers=tiers) as server:
                load(server.pid, server.url, 4, pages=PAGES)  # all of them are stored by now
                for _ in range(rounds):
                    before = hits(server)
                    measured = load(server.pid, server.url, seconds, pages=PAGES)
                    row["cpu"].append(measured.cpu_per_1000)
                    row["rate"].append(measured.rate)
                    row["hits"].append(min(1.0, (hits(server) - before) / measured.requests))
    return {"pages": PAGES, "rounds": rounds, "seconds": seconds, "rows": rows}


def hits(server: CachingStrangler) -> int:
    """Return how many requests the shared tier has answered, by the edge's own account."""
    _, told = server.admin.get("/-/cache/counters")
    return sum(counts.get("shared", 0) for counts in told["routes"].values())


def report(data: dict[str, Any]) -> list[str]:
    median = statistics.median
    return [
        f"{data['pages']:,} pages of 10 KiB in turn, on a route without an edge tier: each request "
        f"asks the store. {data['rounds']} rounds of {data['seconds']} s, medians. A core's hits "
        "are requests a second of the edge's CPU time; the store has another core.",
        "",
        *table(
            "store | CPU us a hit | hits a second of a core | requests/s | share of hits",
            *[
                f"{key} | {median(row['cpu']):.0f} | {1e6 / median(row['cpu']):,.0f}"
                f" | {median(row['rate']):,.0f} | {median(row['hits']):.1%}"
                for key, row in data["rows"].items()
            ],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    row = data["rows"]["redis"]
    rate, share = 1e6 / statistics.median(row["cpu"]), statistics.median(row["hits"])
    return [
        Aim(
            "hits in Redis a second of one core",
            "at least 10,000",
            f"{rate:,.0f}",
            rate >= 10_000 and share > 0.98,
        )
    ]
