# SPDX-License-Identifier: Apache-2.0
"""What the edge tier really weighs, beside what it was allowed to, after 1,000,000 objects.

Each kind of traffic has a process of its own (this file, run as a program), where responses are
put as an exchange puts them: kept, given their prebuilt answer by a hit, evicted. Then the same
through a real edge, with fewer objects and a smaller tier, for what else a worker has.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(BENCH))

from sections import Aim, say, table  # noqa: E402

from strangler.cache.policy import CachePolicy  # noqa: E402
from strangler.cache.stored import Stored  # noqa: E402
from strangler.cache.tiers import waste  # noqa: E402
from strangler.cache.tiers.ladder import Ladder  # noqa: E402
from strangler.cache.tiers.memory import Memory  # noqa: E402
from strangler.exchange.caching.copies import Copies, softer  # noqa: E402

KEY = "memory"
TITLE = "Memory of the edge tier"
LABELS = {
    "news": "a news site's sizes: median 8 KB, up to 600 KB",
    "drift": "tiny ones, then large ones that are all asked for again",
    "changing": "six kinds in turn: tiny, small, tiny, medium, large, tiny",
    "edge": "through a real edge, 1 to 40 KB; all of its processes",
}
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
    b"Cache-Control: max-age=600\r\nDate: Sun, 29 Nov 2026 14:00:00 GMT\r\n"
    b'Vary: Accept-Encoding\r\nETag: "%08x"\r\nSurrogate-Key: noticia:%d editoria:%d\r\n'
    b"Content-Length: %d\r\n"
)


def sizes(kind: str, count: int) -> Callable[[int, random.Random], int]:
    """Return what gives the size of the body of the object with a number."""
    if kind == "news":
        return lambda number, rnd: min(600_000, int(rnd.lognormvariate(9.0, 1.3)))
    if kind == "drift":
        return lambda number, rnd: (
            rnd.randrange(20, 200) if number < count // 2 else rnd.randrange(20_000, 400_000)
        )
    spans = [(20, 200), (300, 2000), (20, 200), (5000, 60_000), (100_000, 400_000), (20, 100)]
    return lambda number, rnd: rnd.randrange(*spans[number * 6 // count])


def fill(kind: str, size: int, count: int) -> dict[str, Any]:
    """Put *count* objects into a tier of *size* bytes; return what the process came to hold."""
    rnd, size_of, pool = random.Random(1), sizes(kind, count), os.urandom(1 << 21)
    eager = kind != "news"  # what is new is asked for at once, so that it drives out the old
    policy = CachePolicy(mode="origin")
    before = waste.resident_bytes()
    memory: Memory[Any] = Memory(size, softer, waste.Waste(size))
    copies = Copies(Ladder(memory), name="strangler")
    worst, began = 0, time.monotonic()
    for number in range(count):
        length = size_of(number, rnd)
        at = rnd.randrange(len(pool) - length)
        now = time.time()
        stored = Stored(
            key=key_of(number),
            status=200,
            head=_HEAD % (number, number, number % 200, length),
            selecting=((b"accept-encoding", b"gzip"),),
            received=now,
            initial_age=0.0,
            lifetime=600.0,
            date=now,
            etag=b'"%08x"' % number,
            length=length,
            tags=(b"noticia:%d" % number, b"editoria:%d" % (number % 200)),
            route=b"/noticia/{slug}.ghtml",
        )
        copies.keep(stored, pool[at : at + length], policy, copies.moments())
        if rnd.random() < (0.9 if eager else 0.5):
            for _ in range(2):
                back = max(0, number - int(rnd.expovariate(1 / (20 if eager else 2000))))
                for ready in memory.get(key_of(back)):
                    if ready.second != int(now):
                        ready.renew(now)
        if number % 2000 == 0:
            worst = max(worst, waste.resident_bytes() - before)
    return {
        "size": size,
        "objects": count,
        "held": len(memory),
        "end": (waste.resident_bytes() - before) / size,
        "worst": worst / size,
        "us": (time.monotonic() - began) / count * 1e6,
    }


def key_of(number: int) -> bytes:
    return b"https\nwww.example.com\n/noticia/tiroteio-deixa-um-morto-%d.ghtml\n" % number


def measure(quick: bool) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    few = 20 if quick else 1
    for kind, size, count in (
        ("news", 256, 1_000_000), ("drift", 128, 300_000), ("changing", 128, 300_000),
    ):  # fmt: skip
        say(kind)
        command = [
            sys.executable,
            __file__,
            kind,
            str(size // (4 if quick else 1)),
            str(count // few),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows[kind] = json.loads(done.stdout)
    say("edge")
    rows["edge"] = through_an_edge(32 if quick else 128, 6 if quick else 30)
    return {"rows": rows}


def through_an_edge(size: int, seconds: int) -> dict[str, Any]:
    """Ask a real edge for ever new pages; its worker's growth is what counts."""
    from caches import CachingStrangler, VaryingOrigin
    from measure import load, resident_bytes

    tiers = f"{{edge: {{store: memory, size: {size}MB}}}}"
    with (
        VaryingOrigin() as origin,
        CachingStrangler(origin.url, "{edge: 10m}", tiers=tiers) as edge,
    ):
        load(edge.pid, edge.url, 1)
        before, worst = resident_bytes(edge.pid), 0
        count = 0
        for _ in range(max(1, seconds // 2)):
            measured = load(edge.pid, edge.url, 2, pages=10_000_000, size=0, first=count)
            count += measured.requests
            worst = max(worst, resident_bytes(edge.pid) - before)
        _, told = edge.admin.get("/-/cache/counters")
        share = size << 20
        return {
            "size": share,
            "objects": count,
            "held": told["memory"]["keys"],
            "end": (resident_bytes(edge.pid) - before) / share,
            "worst": worst / share,
            "us": 0.0,
        }


def report(data: dict[str, Any]) -> list[str]:
    return [
        "Resident memory beyond what the process had at its start, beside the tier's size.",
        "",
        *table(
            "traffic | size | distinct objects | held at the end | at the end | at the worst",
            *[
                f"{LABELS[kind]} | {row['size'] >> 20} MB | {row['objects']:,} | {row['held']:,}"
                f" | {row['end']:.2f} | {row['worst']:.2f}"
                for kind, row in data["rows"].items()
            ],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    return [
        Aim(
            f"the edge tier's memory after {row['objects']:,} objects ({kind})",
            "at most 1.3 times its size, at any time",
            f"{max(row['worst'], row['end']):.2f}",
            max(row["worst"], row["end"]) <= 1.3,
        )
        for kind, row in data["rows"].items()
    ]


if __name__ == "__main__":
    print(json.dumps(fill(sys.argv[1], int(sys.argv[2]) << 20, int(sys.argv[3]))))
