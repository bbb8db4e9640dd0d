#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Try every fault under load and write bench/CHAOS.md: what `make chaos` does.

`run.py --list` shows them; `run.py NAME…` tries some and writes nothing, `--quick` those of
`make test`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

# In the place of this folder: its modules go by their package's name.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaos.every import FAULTS
from chaos.fault import Fault, attempt
from chaos.plain import shared
from chaos.report import written
from chaos.stores import servers
from chaos.trial import Outcome

REPORT = Path(__file__).resolve().parents[2] / "bench" / "CHAOS.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="these alone; writes no file")
    parser.add_argument("--quick", action="store_true", help="those of make test; writes no file")
    parser.add_argument("--list", action="store_true", help="show what there is")
    parser.add_argument("--slack", type=float, default=1.0, help="multiplies bounds of time")
    given = parser.parse_args()
    if unknown := set(given.names) - FAULTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; --list shows what there is")
    chosen = [
        one for one in FAULTS.values()
        if (not given.names or one.name in given.names) and (one.quick or not given.quick)
    ]  # fmt: skip
    if given.list:
        for one in chosen:
            print(f"{one.name:28} {one.title}")
        return 0
    load = os.getloadavg()[0]
    began = time.monotonic()
    try:
        outcomes = list(tried(chosen, given.slack))
    finally:
        servers().close()
        shared().close()
    took = time.monotonic() - began
    bad = [one for one in outcomes if not one.holds]
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} faults hold, in {took:.0f} s")
    if not given.names and not given.quick:
        REPORT.write_text(written(outcomes, took, load, given.slack, platform.release()))
        print(f"written: {REPORT}")
    return 1 if bad else 0


def tried(chosen: Iterable[Fault], slack: float) -> Iterable[Outcome]:
    """Try the faults, those of one stage after each other on it; yield each outcome."""
    stages: dict[Callable[..., object], list[Fault]] = {}
    for one in chosen:
        stages.setdefault(one.stage, []).append(one)
    for stage, faults in stages.items():
        with stage() as site:  # type: ignore[attr-defined]
            for one in faults:
                began = time.monotonic()
                outcome = attempt(one, site, slack)
                show(outcome, time.monotonic() - began)
                yield outcome


def show(outcome: Outcome, took: float) -> None:
    """Print one outcome; of one that holds a line."""
    word = "holds" if outcome.holds else "FAILS"
    print(f"{word} {outcome.name}: {outcome.requests} requests, {outcome.failed} failed, "
          f"{took:.0f} s", flush=True)  # fmt: skip
    if outcome.error:
        print(f"    {outcome.error[-3000:]}", flush=True)
    for one in outcome.figures:
        if not one.holds or os.environ.get("CHAOS_FIGURES"):
            sign = " " if one.holds else "!"
            print(f"  {sign} {one.what}: {one.seen} (bound {one.bound})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
