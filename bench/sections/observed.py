# SPDX-License-Identifier: Apache-2.0
"""What counting and logging costs a hit: the edge as shipped beside one without its access log.

Counters can't be turned off, for they cost next to nothing; so the pair bounds what metrics and
logs cost together.
"""

from __future__ import annotations

import statistics
from typing import Any

from caches import CachingStrangler
from contenders import Origin
from measure import load
from sections import Aim, say, table
from sections.cached import CACHE, MORE

KEY = "observed"
TITLE = "What metrics and logs cost"
HOW = {"text": "log as shipped", "off": "no log"}


def measure(quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 1) if quick else (5, 3)
    rows: dict[str, list[float]] = {how: [] for how in HOW}
    with (
        Origin() as origin,
        CachingStrangler(origin.url, CACHE, access_log="text", more=MORE) as logged,
        CachingStrangler(origin.url, CACHE, access_log="off", more=MORE) as quiet,
    ):
        pair = {"text": logged, "off": quiet}
        for server in pair.values():
            load(server.pid, server.url, 1)
        for number in range(rounds):
            say(f"round {number + 1}")
            for how, server in pair.items():
                rows[how].append(load(server.pid, server.url, seconds).cpu_per_1000)
    return {"rounds": rounds, "seconds": seconds, "rows": rows}


def cost(data: dict[str, Any]) -> float:
    """Return the share of a hit's capacity that is lost, the median of the rounds."""
    pairs = zip(data["rows"]["text"], data["rows"]["off"], strict=True)
    return statistics.median([1 - quiet / logged for logged, quiet in pairs])


def report(data: dict[str, Any]) -> list[str]:
    return [
        f"The same hit in two edges side by side, {data['rounds']} rounds of {data['seconds']} s.",
        "",
        *table(
            "edge | CPU ms / 1,000 hits",
            *[f"{HOW[how]} | {statistics.median(row):.1f}" for how, row in data["rows"].items()],
        ),
    ]


def aims(data: dict[str, Any]) -> list[Aim]:
    lost = cost(data)
    return [Aim("a hit's capacity lost to metrics and logs", "at most 10 %", f"{lost:.1%}",
                lost <= 0.1)]  # fmt: skip
