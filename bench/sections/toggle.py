# SPDX-License-Identifier: Apache-2.0
"""How long an operator's toggle takes until every worker follows it, under load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sections import Aim, table

KEY = "toggle"
TITLE = "A toggle under load"
PROGRAM = Path(__file__).resolve().parent.parent / "toggle.py"


def measure(quick: bool) -> dict[str, Any]:
    command = [sys.executable, str(PROGRAM), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())
    return dict(json.loads(done.stdout))


def report(data: dict[str, Any]) -> list[str]:
    return table("figure | reached", *[f"{key} | {value}" for key, value in data.items()])


def aims(data: dict[str, Any]) -> list[Aim]:
    p99 = float(data["p99_ms"])
    return [
        Aim("a toggle's p99 until every worker follows", "< 250 ms", f"{p99:.0f} ms", p99 < 250)
    ]
