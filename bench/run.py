#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the edge beside its peers: ``make bench``, or ``bench/run.py --quick`` for a look.

Every section is a file of bench/sections; ``--only KEY,KEY`` runs some of them, and the key of a
contender runs the pass-through with those alone. A whole run writes RESULTS.md and results.json
beside this file; a section that fails is named there, and the others are measured all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
import traceback
from datetime import date
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

from contenders import CONTENDERS, CORES, LOAD_CORE, first_match  # noqa: E402
from sections import (  # noqa: E402
    Aim,
    cached,
    collapse,
    ladder,
    memory,
    observed,
    passthrough,
    purge,
    say,
    shared,
    stream,
    toggle,
)
from servers.process import ServerMissing, find_binary  # noqa: E402

SECTIONS: list[Any] = [
    passthrough, cached, observed, shared, ladder, collapse, memory, purge, toggle, stream,
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small numbers; writes no files")
    parser.add_argument("--only", metavar="KEYS", help="comma list; writes no files")
    parser.add_argument("--rounds", type=int, default=0, help="of the pass-through")
    parser.add_argument("--json", action="store_true", help="print results.json instead")
    parser.add_argument("--keep", action="store_true", help="with --only: put it in the files")
    given = parser.parse_args()
    sections = {section.KEY: section for section in SECTIONS}
    contenders = {contender.key: contender for contender in CONTENDERS}
    keys = given.only.split(",") if given.only else list(sections)
    if unknown := [key for key in keys if key not in sections and key not in contenders]:
        known = ", ".join([*sections, *contenders])
        parser.error(f"unknown: {', '.join(unknown)}; there are {known}")
    alone = [contenders[key] for key in keys if key in contenders]
    chosen = [key for key in sections if key in keys or (alone and key == passthrough.KEY)]
    os.sched_setaffinity(0, {LOAD_CORE})
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "command": "make bench" if len(sys.argv) == 1 else f"bench/run.py {' '.join(sys.argv[1:])}",
        "machine": machine(),
        "versions": versions(),
        "load": os.getloadavg()[0],
        "sections": {},
        "failed": {},
        "seconds": {},
    }
    for key in chosen:
        say(f"== {key}")
        options: dict[str, Any] = {}
        if key == passthrough.KEY:
            options = {"contenders": alone or CONTENDERS, "rounds": given.rounds}
        began = time.monotonic()
        try:
            result["sections"][key] = sections[key].measure(given.quick, **options)
        except ServerMissing as error:
            sys.exit(f"{error} --bench")
        except Exception as error:
            traceback.print_exc()
            lines = str(error).strip().splitlines() or [""]
            result["failed"][key] = f"{type(error).__name__}: {lines[-1]}"[:300]
        result["seconds"][key] = round(time.monotonic() - began)
    text = report(result)
    print(json.dumps(result, indent=1) if given.json else text)
    if given.keep and not given.quick:
        keep(merged(json.loads((FOLDER / "results.json").read_text()), result))
    elif len(sys.argv) == 1:
        keep(result)
    return 1 if result["failed"] else 0


def keep(result: dict[str, Any]) -> None:
    """Write results.json and RESULTS.md."""
    (FOLDER / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (FOLDER / "RESULTS.md").write_text(report(result))


def merged(kept: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of *kept* with those sections of *result* that were measured apart."""
    sections = kept["sections"] | result["sections"]
    failed = {key: why for key, why in kept["failed"].items() if key not in result["sections"]}
    return kept | {
        "sections": {one.KEY: sections[one.KEY] for one in SECTIONS if one.KEY in sections},
        "failed": failed | result["failed"],
        "seconds": kept["seconds"] | result["seconds"],
        "apart": sorted({*kept.get("apart", ()), *result["sections"]}),
    }


def machine() -> str:
    """Return what the figures depend on and a reader may compare: processor, cores, kernel."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = platform.release().split("-")[0]
    return f"{model}, {len(CORES)} cores, Linux {release}, Python {platform.python_version()}"


def versions() -> list[str]:
    """Return which contenders were measured."""
    found = [contender.version() for contender in CONTENDERS]
    found.append("Varnish " + first_match(r"varnish-([\d.]+)", find_binary("varnishd"), "-V"))
    found.append("Redis " + first_match(r"v=([\d.]+)", find_binary("redis-server"), "--version"))
    return list(dict.fromkeys(found))


def report(result: dict[str, Any]) -> str:
    """Return RESULTS.md."""
    sections = {section.KEY: section for section in SECTIONS}
    found: dict[str, list[Aim]] = {
        key: sections[key].aims(data) for key, data in result["sections"].items()
    }
    every = [aim for aims in found.values() for aim in aims]
    minutes = sum(result["seconds"].values()) / 60
    lines = [
        "# Measured beside its peers",
        "",
        f"`{result['command']}` on {result['date']}, {minutes:.0f} minutes: {result['machine']}; "
        f"{'; '.join(result['versions'])}. The machine's load average was {result['load']:.1f} "
        "before the run began: other work disturbs the figures, all contenders' alike only in the "
        "long run.",
        "",
        f"{sum(aim.met for aim in every)} of {len(every)} aims were reached.",
    ]
    if result.get("apart"):
        command = f"bench/run.py --keep --only {','.join(result['apart'])}"
        lines += ["", f"Measured by itself after that run, by `{command}`."]
    for key, data in result["sections"].items():
        lines += ["", f"## {sections[key].TITLE}", "", *sections[key].report(data)]
        if found[key]:
            lines += ["", "| figure | aim | reached |", "|---|---|---|"]
            for aim in found[key]:
                reached = f"**{aim.reached}**" if aim.met else f"{aim.reached}, **missed**"
                lines.append(f"| {aim.what} | {aim.aim} | {reached} |")
    if result["failed"]:
        lines += ["", "## Not measured", ""]
        lines += [f"- {key}: {why}" for key, why in result["failed"].items()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
