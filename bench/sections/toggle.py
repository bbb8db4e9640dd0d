# SPDX-License-Identifier: Apache-2.0
"""How long an operator's toggle takes until every worker follows it, under load.

`bench/toggle.py` does it, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sections import Aim, say, table

KEY = "toggle"
TITLE = "A toggle under load"
PROGRAM = Path(__file__).resolve().parent.parent / "toggle.py"
LABELS = {
    "toggles": "toggles under load, 4 workers",
    "p50_ms": "until all workers followed, p50, ms",
    "p99_ms": "p99, ms",
    "longest_ms": "longest, ms",
    "requests": "requests meanwhile",
    "failed": "of these failed",
    "wrong_side": "answered by the wrong side after the acknowledgement",
    "in_a_row": "toggles in a row afterwards",
    "a_second": "of these a second",
    "audited": "of these in the audit log",
    "largest_growth_kb": "largest growth of a process over them, KB",
}


def measure(quick: bool) -> dict[str, Any]:
    command = [sys.executable, str(PROGRAM), "--json", *(["--quick"] if quick else [])]
    say("toggles")
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())
    return dict(json.loads(done.stdout))


def report(data: dict[str, Any]) -> list[str]:
    return table(
        "figure | reached", *[f"{LABELS.get(key, key)} | {value:,}" for key, value in data.items()]
    )


def aims(data: dict[str, Any]) -> list[Aim]:
    p99, failed, wrong = float(data["p99_ms"]), data["failed"], data["wrong_side"]
    told = f"{failed} failed, {wrong} wrong"
    count = data["in_a_row"]
    audit = f"{data['audited']:,} in the audit log, {data['largest_growth_kb']:+,} KB"
    complete = data["audited"] == count and data["largest_growth_kb"] < 8192
    return [
        Aim("a toggle until every worker follows, p99", "< 250 ms", f"{p99:.0f} ms", p99 < 250),
        Aim("requests that a toggle hurts", "none", told, not failed and not wrong),
        Aim(f"{count:,} toggles in a row", "all audited, memory flat", audit, complete),
    ]
