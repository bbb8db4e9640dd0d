#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a hit in the shared tier costs: ``bench/shared.py`` prints it as JSON.

The route has a shared tier and no edge tier, so that every request goes to Redis on loopback, for
one of many pages, picked at random: 64 readers of one page would share a look. The edge has a core
to itself; wrk and Redis share the other. All pages are stored before the clock starts. Where Redis
gets no core for longer than the tier's 5 ms, the origin is asked; a run in which that was so for
more than 1 % fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent))

from caches import RenderingOrigin
from contenders import CONNECTIONS, LOAD_CORE, StranglerServer, pinned
from measure import HEADERS, Broken, cpu_seconds
from servers.process import find_binary
from servers.redis import Redis

PAGES = 2000
_SCRIPT = f"""\
request = function()
    return wrk.format("GET", "/noticia/" .. math.random({PAGES}) .. ".ghtml")
end
"""


class Sharing(StranglerServer):
    """The edge with one route that only the shared tier keeps."""

    def __init__(self, origin: str, redis: str, access_log: str) -> None:
        super().__init__(origin, access_log)
        self.redis = redis

    def prepare(self) -> None:
        (self.folder / "routes.yaml").write_text(
            f'version: 1\nupstreams:\n  materia: {{url: "{self.origin}"}}\n'
            f'tiers:\n  shared: {{store: "{self.redis}"}}\n'
            "routes:\n  /noticia/{slug}.ghtml:\n    to: materia\n    cache: {shared: 10m}\n"
        )


def get(url: str) -> str:
    """Return a page's Cache-Status."""
    with urlopen(Request(url, headers=HEADERS), timeout=10) as answer:
        answer.read()
        return str(answer.headers["Cache-Status"])


def fill(server: Sharing, origin: RenderingOrigin) -> None:
    """Have every page stored, and see that it is."""
    for number in range(1, PAGES + 1):
        get(f"{server.url}/noticia/{number}.ghtml")
    until = time.monotonic() + 10
    for number in range(1, PAGES + 1):
        while "hit" not in get(f"{server.url}/noticia/{number}.ghtml"):
            if time.monotonic() > until:
                raise Broken(f"page {number} is not kept")
            time.sleep(0.01)


def measure(server: Sharing, script: Path, seconds: int) -> tuple[float, float]:
    """Return hits a second and CPU us a hit over *seconds* of load."""
    fields = [word for pair in HEADERS.items() for word in ("-H", f"{pair[0]}: {pair[1]}")]
    wrk = [find_binary("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    before = cpu_seconds(server.pid)
    done = subprocess.run(
        pinned(LOAD_CORE, *wrk, *fields, server.url), capture_output=True, text=True, check=True
    )
    used = cpu_seconds(server.pid) - before
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Broken(done.stdout)
    count = int(done.stdout.partition(" requests in ")[0].split()[-1])
    return count / seconds, used / count * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--log", choices=("text", "off"), default="text", help="the access log")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    rates, costs = [], []
    with (
        RenderingOrigin() as origin,
        Redis() as redis,
        Sharing(origin.url, redis.url, arguments.log) as server,
    ):
        fill(server, origin)
        asked = origin.renders.total()
        script = server.folder / "pages.lua"
        script.write_text(_SCRIPT)
        measure(server, script, 1)
        for _ in range(arguments.rounds):
            rate, cost = measure(server, script, arguments.seconds)
            rates.append(rate)
            costs.append(cost)
        missed = origin.renders.total() - asked
    served = sum(rates) * arguments.seconds
    if missed > 0.01 * served:
        raise Broken(f"{missed} of {served:.0f} requests went to the origin")
    best = statistics.median(costs)
    print(
        json.dumps(
            {
                "hits_per_second": round(statistics.median(rates)),
                "cpu_us_per_hit": round(best, 1),
                "hits_per_core_second": round(1e6 / best),
                "rates": [round(rate) for rate in rates],
                "costs": [round(cost, 1) for cost in costs],
                "hit_share": round(1.0 - missed / served, 5),
                "pages": PAGES,
                "access_log": arguments.log,
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
