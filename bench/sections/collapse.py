# SPDX-License-Identifier: Apache-2.0
"""A thousand readers ask for one object at once, twice: cold, and when it has just expired.

What counts is how often the origin was asked (the aim is once each time), and how long the last
reader waited beside the origin's own 200 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from caches import RenderingOrigin, nginx, strangler, varnish
from contenders import HTTPServer
from sections import Aim, say, table
from servers.process import LOOPBACK

KEY = "collapse"
TITLE = "A thousand readers of one page at once"

RENDER = 0.2  # seconds
LIFETIME = 2.0
CACHES: dict[str, Callable[..., HTTPServer]] = {
    "strangler": strangler,
    "nginx": nginx,
    "varnish": varnish,
}
_REQUEST = (
    b"GET /noticia/nunca-lida.ghtml HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
)


async def crowd(port: int, count: int) -> tuple[int, float]:
    """Ask *count* times at once; return the good answers and the seconds of the last."""
    pairs = []
    for _ in range(count):
        pairs.append(await asyncio.open_connection(LOOPBACK, port))
    began = time.monotonic()
    for _, writer in pairs:
        writer.write(_REQUEST)

    async def whole(reader: asyncio.StreamReader) -> bool:
        return (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")

    good = await asyncio.gather(*[whole(reader) for reader, _ in pairs])
    taken = time.monotonic() - began
    for _, writer in pairs:
        writer.close()
    return sum(good), taken


def measure(quick: bool) -> dict[str, Any]:
    readers = 100 if quick else 1000
    rows = {}
    for key, make in CACHES.items():
        say(key)
        rows[key] = one(make, readers)
    return {"readers": readers, "rows": rows}


def one(make: Callable[..., HTTPServer], readers: int) -> dict[str, Any]:
    """Return what one cache did, by situation."""
    found: dict[str, Any] = {}
    with RenderingOrigin(delay=RENDER) as origin, make(origin.url, LIFETIME) as server:
        time.sleep(0.5)
        for situation in ("cold", "expired"):
            before = origin.renders.total()
            good, taken = asyncio.run(crowd(server.port, readers))
            found[situation] = {
                "renders": origin.renders.total() - before,
                "answered": good,
                "last_ms": round(taken * 1000),
            }
            time.sleep(LIFETIME + 0.3)
    return found


def report(data: dict[str, Any]) -> list[str]:
    return [
        f"{data['readers']:,} connections ask at once for a page that takes "
        f"{RENDER * 1000:.0f} ms to render, cold and when it has just expired. nginx with "
        "proxy_cache_lock, each with its cache's usual way to wait.",
        "",
        *table(
            "cache | renders, cold | renders, expired | answered | last reader, cold | expired",
            *[
                f"{key} | {found['cold']['renders']} | {found['expired']['renders']}"
                f" | {found['cold']['answered']:,}, {found['expired']['answered']:,}"
                f" | {found['cold']['last_ms']} ms | {found['expired']['last_ms']} ms"
                for key, found in data["rows"].items()
            ],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    ours = data["rows"]["strangler"]
    renders = [ours[which]["renders"] for which in ("cold", "expired")]
    answered = min(ours[which]["answered"] for which in ("cold", "expired"))
    return [
        Aim(
            f"renders for {data['readers']:,} readers, cold and expired",
            "1 and 1, all answered",
            f"{renders[0]} and {renders[1]}, {answered:,} answered",
            renders == [1, 1] and answered == data["readers"],
        )
    ]
