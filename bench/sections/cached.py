# SPDX-License-Identifier: Apache-2.0
"""Hits in the edge tier beside nginx's proxy_cache and Varnish, the same page in the same run.

The edge has everything on: a site's other routes, the whole ladder, tags and a key of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from caches import CachingStrangler, nginx, varnish
from contenders import HTTPServer, Origin
from measure import latency, load
from sections import Aim, say, table

KEY = "cached"
TITLE = "Hits in the edge tier"

LIFETIME = 600.0
CACHE = (
    "{edge: 10m, shared: 20m, archive: 30d, grace: 60s, key: {query: [page, q], cookies: []},"
    ' tags: ["noticia:{slug}"]}'
)
MORE = "".join(
    f"  {key}: materia\n"
    for key in (
        "/**", "/feed.xml", "/busca/**", "/votar/**", "/admin/**", "/static/**",
        "/api/materias/**", "/noticia/{slug}/editar/",
    )
)  # fmt: skip
CACHES: dict[str, tuple[str, str, Callable[[str], HTTPServer]]] = {
    "nginx": ("nginx", "on", lambda o: nginx(o, LIFETIME, access_log=True)),
    "varnish": ("Varnish", "its own, in memory", lambda o: varnish(o, LIFETIME)),
    "strangler": (
        "**strangler**",
        "on (as shipped)",
        lambda o: CachingStrangler(o, CACHE, access_log="text", more=MORE),
    ),
    "nginx-quiet": ("nginx", "off", lambda o: nginx(o, LIFETIME)),
    "strangler-quiet": ("**strangler**", "off", lambda o: CachingStrangler(o, CACHE, more=MORE)),
}


def measure(quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 1) if quick else (3, 5)
    rows: dict[str, dict[str, list[float]]] = {
        key: {"cpu": [], "rate": [], "p50": [], "p99": []} for key in CACHES
    }
    with Origin() as origin:
        for number in range(rounds):
            for key, (_, _, make) in CACHES.items():
                say(f"round {number + 1}: {key}")
                with make(origin.url) as server:
                    load(server.pid, server.url, 1)
                    times = latency(server.port, 1.0 if quick else 3.0, 200)
                    measured = load(server.pid, server.url, seconds)
                row = rows[key]
                row["cpu"].append(measured.cpu_per_1000)
                row["rate"].append(measured.rate)
                row["p50"].append(times[len(times) // 2])
                row["p99"].append(times[len(times) * 99 // 100])
    return {"rounds": rounds, "seconds": seconds, "rows": rows}


def times_of(rows: dict[str, dict[str, list[float]]], one: str, peer: str) -> float:
    """Return the capacity a CPU second of *one* beside *peer*'s, the median of the rounds."""
    pairs = zip(rows[one]["cpu"], rows[peer]["cpu"], strict=True)
    return statistics.median([theirs / ours for ours, theirs in pairs])


def report(data: dict[str, Any]) -> list[str]:
    rows, median = data["rows"], statistics.median
    return [
        "A 10 KiB page that is stored, 64 keepalive connections, a browser's 16 header fields. "
        f"{data['rounds']} interleaved rounds of {data['seconds']} s, medians. The share is "
        "capacity a CPU second against nginx with its log in the same state.",
        "",
        *table(
            "cache | access log | CPU ms / 1,000 | times nginx | requests/s | p50 ms | p99 ms",
            *[
                f"{label} | {log} | {median(rows[key]['cpu']):.1f}"
                f" | {times_of(rows, key, 'nginx-quiet' if log == 'off' else 'nginx'):.2f}"
                f" | {median(rows[key]['rate']):,.0f}"
                f" | {median(rows[key]['p50']):.2f} | {median(rows[key]['p99']):.2f}"
                for key, (label, log, _) in CACHES.items()
            ],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    rows = data["rows"]
    found = []
    for one, peer, name, least, aim in (
        ("strangler", "nginx", "nginx's capacity, log as shipped", 1.0, "at least 1, aim 1.2"),
        ("strangler-quiet", "nginx-quiet", "nginx's capacity, log off", 1.0, "at least 1, aim 1.2"),
        ("strangler", "varnish", "Varnish's capacity, log as shipped", 1.5, "at least 1.5"),
    ):
        times = times_of(rows, one, peer)
        found.append(Aim(f"a hit, times {name}", aim, f"{times:.2f}", times >= least))
    return found
