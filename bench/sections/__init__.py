# SPDX-License-Identifier: Apache-2.0
"""What `make bench` measures: one module a figure, each with the same five names.

    KEY, TITLE       how it is called on the command line and in RESULTS.md
    measure(quick)   run it; returns what results.json keeps. quick: small numbers, a few seconds
    report(data)     returns the lines of its part of RESULTS.md, from that alone
    aims(data)       returns the `Aim`s that the project has set itself for it

`bench/run.py --only KEY` runs one alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Aim:
    """One figure: what it is, what it should be, what this run gave, whether that is enough."""

    what: str
    aim: str
    reached: str
    met: bool


def say(text: str) -> None:
    """Tell who waits what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def table(head: str, *rows: str) -> list[str]:
    """Return a table: *head* and *rows* are cells between bars; the first column is text."""
    columns = head.count("|") + 1
    return [f"| {head} |", "|---" + "|--:" * (columns - 1) + "|", *[f"| {row} |" for row in rows]]
