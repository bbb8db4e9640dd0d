#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A thousand readers ask for one object at once, twice: cold, and when it has just expired.

What counts is how often the origin was asked (the aim is once each time), and how long the last
reader waited beside the origin's own 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cached import RenderingOrigin, nginx, strangler, varnish
from contenders import HTTPServer
from servers.process import LOOPBACK

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

    async def one(reader: asyncio.StreamReader) -> bool:
        return (await reader.read(-1)).startswith(b"HTTP/1.1 200 ")

    good = await asyncio.gather(*[one(reader) for reader, _ in pairs])
    taken = time.monotonic() - began
    for _, writer in pairs:
        writer.close()
    return sum(good), taken


def measure(make: Callable[..., HTTPServer], readers: int) -> dict[str, object]:
    """Return what one cache did, by situation."""
    found: dict[str, object] = {}
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


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--only", metavar="KEYS", help=f"comma list of {', '.join(CACHES)}")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    keys = arguments.only.split(",") if arguments.only else list(CACHES)
    rows = {key: measure(CACHES[key], arguments.readers) for key in keys}
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        print(report(rows, arguments.readers))
    return 0


def report(rows: dict[str, dict[str, object]], readers: int) -> str:
    """Return the table for RESULTS.md."""
    lines = [
        f"### {readers:,} readers at once on one object",
        "",
        f"Rendering takes {RENDER * 1000:.0f} ms. nginx with proxy_cache_lock.",
        "",
        "| | renders, cold | renders, expired | answered | last reader, cold | expired |",
        "|---|---|---|---|---|---|",
    ]
    for key, found in rows.items():
        cold, expired = found["cold"], found["expired"]
        assert isinstance(cold, dict) and isinstance(expired, dict)
        lines.append(
            f"| {key} | {cold['renders']} | {expired['renders']}"
            f" | {cold['answered']}, {expired['answered']}"
            f" | {cold['last_ms']} ms | {expired['last_ms']} ms |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
