# SPDX-License-Identifier: Apache-2.0
"""What counting and logging costs a hit: the edge as shipped beside one that does neither.

Once a second hits are added up and the control process looks at all counts, in every edge: that
costs the same whatever the load.
"""

from __future__ import annotations

import contextlib
import statistics
from typing import Any

from caches import CachingStrangler, UncountedStrangler
from contenders import HTTPServer, Origin
from measure import load
from sections import Aim, say, table
from sections.cached import CACHE, MORE

KEY = "observed"
TITLE = "What metrics and logs cost"
HOW = {
    "text": "as shipped",
    "json": "as shipped, the log as JSON",
    "off": "counted, no log",
    "bare": "neither counted nor logged",
}


def measure(quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 1) if quick else (15, 1)
    rows: dict[str, list[float]] = {how: [] for how in HOW}
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Origin())
        edges: dict[str, HTTPServer] = {
            how: CachingStrangler(origin.url, CACHE, access_log=how, more=MORE)
            for how in ("text", "json", "off")
        }
        edges["bare"] = UncountedStrangler(origin.url, CACHE, more=MORE)
        for server in edges.values():
            stack.enter_context(server)
        for server in edges.values():
            load(server.pid, server.url, 1)
        for number in range(rounds):
            say(f"round {number + 1}")
            # Short rounds, each begun with another edge: what disturbs one disturbs its neighbour.
            turn = number % len(HOW)
            for how in [*HOW][turn:] + [*HOW][:turn]:
                server = edges[how]
                rows[how].append(load(server.pid, server.url, seconds).cpu_per_1000)
    return {"rounds": rounds, "seconds": seconds, "rows": rows}


def cost(data: dict[str, Any], how: str) -> float:
    """Return the share of a hit's capacity that is lost beside the last edge, the median."""
    *_, least = data["rows"].values()
    both = zip(data["rows"][how], least, strict=True)
    return statistics.median([1 - bare / observed for observed, bare in both])


def report(data: dict[str, Any]) -> list[str]:
    return [
        f"The same hit in {len(data['rows'])} edges side by side, {data['rounds']} rounds of "
        f"{data['seconds']} s, medians.",
        "",
        *table(
            "edge | CPU ms / 1,000 hits | capacity lost",
            *[
                f"{HOW[how]} | {statistics.median(row):.1f} | {cost(data, how):.1%}"
                for how, row in data["rows"].items()
            ],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    lost = cost(data, "text")
    return [Aim("a hit's capacity lost to metrics and logs", "at most 10 %", f"{lost:.1%}",
                lost <= 0.1)]  # fmt: skip
