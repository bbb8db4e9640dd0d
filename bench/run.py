#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure the edge beside its peers: ``make bench``, or ``bench/run.py --quick`` for a minute.

A C-speed origin (nginx with a fixed 10 KiB page) and wrk share one core; each contender in turn
has another core to itself and is started anew for each round; rounds are interleaved (A B C,
A B C, …) so that a disturbance of the machine meets all of them; medians are reported, and ratios
are made within a round. A full run in which nobody failed writes RESULTS.md and results.json
beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import CONTENDER_CORE, CONTENDERS, CORES, LOAD_CORE, Contender, Origin
from measure import Broken, idle_connections, latency, load, resident_bytes
from servers.process import ServerFailed, ServerMissing

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    load_seconds: int
    latency_seconds: float
    latency_rate: int  # requests a second, one at a time
    idle: int  # connections
    long_run: int  # requests; 0 leaves it out


FULL = Plan(5, 5, 5.0, 200, 10_000, 200_000)
QUICK = Plan(2, 1, 1.0, 200, 1_000, 0)


@dataclass(slots=True)
class Row:
    """What was measured of one contender; lists have one entry a round."""

    key: str
    label: str
    log: str
    scenario: str
    version: str
    rate: list[float] = field(default_factory=list)  # requests/s, the contender saturated
    cpu: list[float] = field(default_factory=list)  # CPU ms for 1,000 requests
    p50: list[float] = field(default_factory=list)  # ms
    p99: list[float] = field(default_factory=list)  # ms
    idle_bytes: float | None = None  # an idle keepalive connection
    idle_count: int = 0
    start_rss: float | None = None  # MiB
    long_rss: float | None = None  # MiB more after the long run
    long_requests: int = 0
    broken: str | None = None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute; writes no files")
    parser.add_argument("--only", metavar="KEYS", help="comma list; writes no files")
    parser.add_argument("--rounds", type=int, help="instead of the plan's")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    contenders = CONTENDERS
    if arguments.only:
        known = {contender.key: contender for contender in CONTENDERS}
        if unknown := set(arguments.only.split(",")) - known.keys():
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        contenders = [known[key] for key in arguments.only.split(",")]
    os.sched_setaffinity(0, {LOAD_CORE})
    busy = os.getloadavg()[0]

    rows = {c.key: Row(c.key, c.label, c.log, c.scenario, c.version()) for c in contenders}
    try:
        with Origin() as origin:
            for number in range(plan.rounds):
                for contender in contenders:
                    row = rows[contender.key]
                    if not row.broken:
                        say(f"round {number + 1}: {contender.key}")
                        guard(row, lambda c=contender, r=row: one_round(c, origin.url, r, plan))
            for contender in contenders:
                row = rows[contender.key]
                if not row.broken:
                    say(f"memory: {contender.key}")
                    guard(row, lambda c=contender, r=row: memory(c, origin.url, r, plan))
    except ServerMissing as error:
        sys.exit(f"{error} --bench")
    result = {
        "date": date.today().isoformat(),
        "command": "make bench" if len(sys.argv) == 1 else f"bench/run.py {' '.join(sys.argv[1:])}",
        "machine": machine(),
        "load": busy,
        "plan": asdict(plan),
        "rows": [asdict(row) for row in rows.values()],
    }
    text = report(result)
    print(text)
    broken = any(row.broken for row in rows.values())
    if len(sys.argv) == 1 and not broken:
        (FOLDER / "results.json").write_text(json.dumps(result, indent=1) + "\n")
        (FOLDER / "RESULTS.md").write_text(text)
    return 1 if broken else 0


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def guard(row: Row, step) -> None:  # type: ignore[no-untyped-def]
    """Run one step; a contender that fails is named in the table and left out from then on."""
    try:
        step()
    except (Broken, ServerFailed, OSError) as error:
        row.broken = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        say(f"{row.key} failed:\n{error}")


def one_round(contender: Contender, origin: str, row: Row, plan: Plan) -> None:
    """Measure latency without load, then CPU a request under full load."""
    with contender.start(origin) as server:
        load(server.pid, server.url, 1)  # code warm, upstream connections open
        times = latency(server.port, plan.latency_seconds, plan.latency_rate)
        row.p50.append(times[len(times) // 2])
        row.p99.append(times[len(times) * 99 // 100])
        measured = load(server.pid, server.url, plan.load_seconds)
        row.cpu.append(measured.cpu_per_1000)
        row.rate.append(measured.rate)


def memory(contender: Contender, origin: str, row: Row, plan: Plan) -> None:
    """Measure what idle connections cost, and whether memory stays flat over a long run."""
    with contender.start(origin) as server:
        load(server.pid, server.url, 1)
        before = resident_bytes(server.pid)
        row.start_rss = before / 2**20
        with idle_connections(server.port, plan.idle) as held:
            row.idle_bytes = (resident_bytes(server.pid) - before) / plan.idle
            row.idle_count = plan.idle
            load(server.pid, server.url, 2)  # newcomers are served while they are held,
            for connection in held[:: max(1, plan.idle // 100)]:
                connection.get()  # and so are they
        if plan.long_run and not contender.slow:
            begin, count = resident_bytes(server.pid), 0
            while count < plan.long_run:
                count += load(server.pid, server.url, 5).requests
            row.long_rss = (resident_bytes(server.pid) - begin) / 2**20
            row.long_requests = count


def machine() -> str:
    """Return what the figures depend on and a reader may compare: processor, cores, kernel."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    release = platform.release().split("-")[0]
    return f"{model}, {len(CORES)} cores, Linux {release}, Python {platform.python_version()}"


def ratio(row: dict, peer: dict | None) -> float | None:
    """Return the row's capacity a CPU second as a share of the peer's, the median of rounds."""
    if not peer or not row["cpu"] or not peer["cpu"]:
        return None
    return statistics.median(p / r for p, r in zip(peer["cpu"], row["cpu"], strict=False))


def number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else format(value, form) + unit


def report(result: dict) -> str:
    """Return RESULTS.md."""
    rows = {row["key"]: row for row in result["rows"]}
    plan = result["plan"]
    pinning = (
        f"wrk, the origin and the latency client on core {LOAD_CORE}, the contender on core "
        f"{CONTENDER_CORE}"
        if len(CORES) > 1
        else "one core for all of them: the rates are shared, CPU a request is not"
    )
    versions = "; ".join(dict.fromkeys(row["version"] for row in result["rows"]))
    lines = [
        "# Measured beside its peers",
        "",
        f"`{result['command']}` on {result['date']}: {result['machine']}; {versions}. The "
        f"machine's load average was {result['load']:.1f} before the run began: other work "
        "disturbs the figures, all contenders' alike only in the long run.",
        "",
        f"Pass-through of a 10 KiB page, 64 keepalive connections, a browser's 16 header fields; "
        f"{pinning}. {plan['rounds']} interleaved rounds of {plan['load_seconds']} s, medians; "
        f"latency is one request at a time, {plan['latency_rate']} a second. CPU is utime + stime "
        "of all of a contender's processes. The share is capacity a CPU second against nginx "
        "with its log in the same state, made within each round.",
        "",
        "| contender | access log | CPU ms / 1,000 | share of nginx | requests/s | p50 ms "
        "| p99 ms |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    median = statistics.median
    for row in result["rows"]:
        if not row["cpu"]:
            lines.append(f"| {row['label']} | {row['log']} | {row['broken']} | | | | |")
            continue
        share = ratio(row, rows.get("nginx-quiet" if row["log"].startswith("off") else "nginx"))
        lines.append(
            f"| {row['label']} | {row['log']} | {median(row['cpu']):.0f} | {number(share, '.2f')} "
            f"| {median(row['rate']):,.0f} | {median(row['p50']):.2f} | {median(row['p99']):.2f} |"
        )
    lines += [
        "",
        f"Memory: resident, all processes; the connections are {plan['idle']:,} idle keepalive "
        "ones, each served once; while all are held, wrk loads the contender again.",
        "",
        "| contender | access log | at start | an idle connection | after a long run |",
        "|---|---|--:|--:|--:|",
    ]
    for row in result["rows"]:
        if row["start_rss"] is None:
            continue
        idle = None if row["idle_bytes"] is None else row["idle_bytes"] / 1024
        grown = number(row["long_rss"], "+.1f", f" MiB / {row['long_requests']:,} requests")
        lines.append(
            f"| {row['label']} | {row['log']} | {row['start_rss']:.0f} MiB "
            f"| {number(idle, '.1f', ' KiB')} | {grown} |"
        )
    lines += ["", "## Against the aims", ""]
    lines += [f"- {text}: **{value}**" for text, value in aims(rows)]
    failed = [
        f"- {row['label']} (log {row['log']}): {row['broken']}"
        for row in result["rows"]
        if row["broken"]
    ]
    if failed:
        lines += ["", "Failed:", "", *failed]
    return "\n".join(lines) + "\n"


def aims(rows: dict) -> list[tuple[str, str]]:
    """Return each figure that the project set itself, with what this run gave."""
    found = []
    for key, peer, name in (
        ("strangler", "nginx", "log as shipped"),
        ("strangler-quiet", "nginx-quiet", "log off"),
    ):
        row, against = rows.get(key), rows.get(peer)
        if not row or not against or not row["cpu"] or not against["cpu"]:
            continue
        share = number(ratio(row, against), ".2f")
        found.append((f"share of nginx's capacity, {name} (at least 0.5, aim 0.6)", share))
        slower = statistics.median(
            ours - theirs for ours, theirs in zip(row["p50"], against["p50"], strict=False)
        )
        found.append((f"p50 beyond nginx's, {name} (at most 0.3 ms)", f"{slower:+.2f} ms"))
    ours, naive = rows.get("strangler-quiet"), rows.get("tornado")
    if ours and naive:
        found.append(
            ("times the naive Tornado proxy (at least 10)", number(ratio(ours, naive), ".1f"))
        )
    if (row := rows.get("strangler")) and row["idle_bytes"] is not None:
        idle = f"{row['idle_bytes'] / 1024:.1f} KiB"
        found.append((f"an idle connection, {row['idle_count']:,} held (at most 4 KiB)", idle))
        if row["long_rss"] is not None:
            grown = f"{row['long_rss']:+.1f} MiB"
            found.append((f"memory over {row['long_requests']:,} requests (flat)", grown))
    return found


if __name__ == "__main__":
    sys.exit(main())
