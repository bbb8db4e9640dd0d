# SPDX-License-Identifier: Apache-2.0
"""Write the outcomes as the page bench/CHAOS.md."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from chaos.trial import Outcome


def written(
    outcomes: Sequence[Outcome], took: float, load: float, slack: float, kernel: str
) -> str:
    """Return the page; took: seconds of the whole run, load: the machine's before it."""
    good = sum(one.holds for one in outcomes)
    failed = [one for one in outcomes if not one.holds]
    lines = [
        "# The site while things fail",
        "",
        f"`make chaos` on {datetime.date.today().isoformat()}: {processor()}, {os.cpu_count()} "
        f"cores, Linux {kernel}, Python {platform.python_version()}; {took:.0f} s. The machine's "
        f"load average was {load:.1f} before the run began: other work slows the figures down."
        + (f" Bounds of time are {slack:g} times those shown." if slack != 1 else ""),
        "",
        "The whole site: Django on gunicorn (legacy), materia, two workers of `strangler serve`, "
        "and readers who ask it 60 to 80 times a second all the while, half of them on new "
        "connections; every answer is compared to the byte with the page as it should be. "
        "`tests/chaos/` is the code; what the columns mean stands in "
        "[The chaos suite](../docs/resilience.md#the-chaos-suite).",
        "",
        f"**{good} of {len(outcomes)} hold.**"
        + (f" Not so: {', '.join(one.name for one in failed)}." if failed else ""),
        "",
        "| fault | requests | failed | p99 before | p99 meanwhile | noticed | recovered | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in outcomes:
        lines.append(
            f"| {one.title} | {one.requests:,} | {one.failed} | {one.before:.0f} ms "
            f"| {one.during:.0f} ms | {_seconds(one.noticed)} | {_seconds(one.recovered)} "
            f"| {'holds' if one.holds else '**fails**'} |"
        )
    lines += ["", "## Every figure and its bound", "", "| fault | figure | seen | bound |",
              "|---|---|--:|--:|"]  # fmt: skip
    for one in outcomes:
        for each in one.figures:
            mark = "" if each.holds else " **broken**"
            lines.append(f"| {one.name} | {each.what} | {each.seen}{mark} | {each.bound} |")
        if one.error:
            lines.append(f"| {one.name} | the trial itself | **{one.error.splitlines()[0]}** | |")
    return "\n".join(lines) + "\n"


def processor() -> str:
    """Return the processor's name as the kernel has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
