# SPDX-License-Identifier: Apache-2.0
"""Pass-through of a 10 KiB page beside nginx, HAProxy and a naive Tornado proxy.

A C-speed origin (nginx with a fixed page) and wrk share one core; each contender in turn has
another core to itself and is started anew for each round; rounds are interleaved (A B C, A B C, …)
so that a disturbance of the machine meets all of them; medians are reported, and ratios are made
within a round.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from contenders import CONTENDER_CORE, CONTENDERS, CORES, LOAD_CORE, Contender, Origin
from measure import Broken, idle_connections, latency, load, resident_bytes
from sections import Aim, say
from servers.process import ServerFailed

KEY = "pass-through"
TITLE = "Pass-through"

#: More pages than are asked for in a run.
PAGES = 10_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    load_seconds: int
    latency_seconds: float
    latency_rate: int  # requests a second, one at a time
    idle: int  # connections
    long_run: int  # requests; 0 leaves it out


FULL = Plan(3, 4, 3.0, 200, 10_000, 200_000)
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
    varied: list[float] = field(default_factory=list)  # the same, no page asked for twice
    p50: list[float] = field(default_factory=list)  # ms
    p99: list[float] = field(default_factory=list)  # ms
    idle_bytes: float | None = None  # an idle keepalive connection
    idle_count: int = 0
    start_rss: float | None = None  # MiB
    long_rss: float | None = None  # MiB more after the long run
    long_requests: int = 0
    broken: str | None = None


def measure(
    quick: bool, *, contenders: Sequence[Contender] = CONTENDERS, rounds: int = 0
) -> dict[str, Any]:
    plan = QUICK if quick else FULL
    rounds = rounds or plan.rounds
    rows = {c.key: Row(c.key, c.label, c.log, c.scenario, c.version()) for c in contenders}
    with Origin() as origin:
        for number in range(rounds):
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
    return {
        "plan": asdict(plan) | {"rounds": rounds},
        "cores": [LOAD_CORE, CONTENDER_CORE, len(CORES)],
        "rows": [asdict(row) for row in rows.values()],
    }


def guard(row: Row, step) -> None:  # type: ignore[no-untyped-def]
    """Run one step; a contender that fails is named in the table and left out from then on."""
    try:
        step()
    except (Broken, ServerFailed, OSError) as error:
        row.broken = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        say(f"{row.key} failed:\n{error}")


def one_round(contender: Contender, origin: str, row: Row, plan: Plan) -> None:
    """Measure latency without load, then CPU a request under full load: one page, and many."""
    with contender.start(origin) as server:
        load(server.pid, server.url, 1)  # code warm, upstream connections open
        times = latency(server.port, plan.latency_seconds, plan.latency_rate)
        row.p50.append(times[len(times) // 2])
        row.p99.append(times[len(times) * 99 // 100])
        measured = load(server.pid, server.url, plan.load_seconds)
        row.cpu.append(measured.cpu_per_1000)
        row.rate.append(measured.rate)
        varied = load(server.pid, server.url, plan.load_seconds, pages=PAGES)
        row.varied.append(varied.cpu_per_1000)


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


def ratio(row: dict, peer: dict | None, figure: str = "cpu") -> float | None:
    """Return the row's capacity a CPU second as a share of the peer's, the median of rounds."""
    if not peer or not row.get(figure) or not peer.get(figure):
        return None
    return statistics.median(p / r for p, r in zip(peer[figure], row[figure], strict=False))


def number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else format(value, form) + unit


def report(data: dict[str, Any]) -> list[str]:
    rows = {row["key"]: row for row in data["rows"]}
    plan = data["plan"]
    load_core, contender_core, cores = data["cores"]
    pinning = (
        f"wrk, the origin and the latency client on core {load_core}, the contender on core "
        f"{contender_core}"
        if cores > 1
        else "one core for all of them: the rates are shared, CPU a request is not"
    )
    lines = [
        "A 10 KiB page, 64 keepalive connections, a browser's 16 header fields; "
        f"{pinning}. {plan['rounds']} interleaved rounds of {plan['load_seconds']} s, medians; "
        f"latency is one request at a time, {plan['latency_rate']} a second. CPU is utime + stime "
        "of all of a contender's processes. The share is capacity a CPU second against nginx "
        "with its log in the same state, made within each round. Varied: no page is asked for "
        "twice, so that nothing is remembered of a request.",
        "",
        "| contender | access log | CPU ms / 1,000 | share of nginx | varied: CPU ms | share "
        "| requests/s | p50 ms | p99 ms |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    median = statistics.median
    for row in data["rows"]:
        if not row["cpu"]:
            lines.append(f"| {row['label']} | {row['log']} | {row['broken']} | | | | | | |")
            continue
        peer = rows.get("nginx-quiet" if row["log"].startswith("off") else "nginx")
        varied = median(row["varied"]) if row.get("varied") else None
        lines.append(
            f"| {row['label']} | {row['log']} | {median(row['cpu']):.0f} "
            f"| {number(ratio(row, peer), '.2f')} | {number(varied, '.0f')} "
            f"| {number(ratio(row, peer, 'varied'), '.2f')} | {median(row['rate']):,.0f} "
            f"| {median(row['p50']):.2f} | {median(row['p99']):.2f} |"
        )
    lines += [
        "",
        f"Memory: resident, all processes; the connections are {plan['idle']:,} idle keepalive "
        "ones, each served once; while all are held, wrk loads the contender again.",
        "",
        "| contender | access log | at start | an idle connection | after a long run |",
        "|---|---|--:|--:|--:|",
    ]
    for row in data["rows"]:
        if row["start_rss"] is None:
            continue
        idle = None if row["idle_bytes"] is None else row["idle_bytes"] / 1024
        grown = number(row["long_rss"], "+.1f", f" MiB / {row['long_requests']:,} requests")
        lines.append(
            f"| {row['label']} | {row['log']} | {row['start_rss']:.0f} MiB "
            f"| {number(idle, '.1f', ' KiB')} | {grown} |"
        )
    failed = [
        f"- {row['label']} (log {row['log']}): {row['broken']}"
        for row in data["rows"]
        if row["broken"]
    ]
    return [*lines, "", "Failed:", "", *failed] if failed else lines


def aims(data: dict[str, Any]) -> list[Aim]:
    rows = {row["key"]: row for row in data["rows"]}
    found = []
    for key, peer, name in (
        ("strangler", "nginx", "log as shipped"),
        ("strangler-quiet", "nginx-quiet", "log off"),
    ):
        row, against = rows.get(key), rows.get(peer)
        share = ratio(row, against) if row else None
        if row is None or against is None or share is None:
            continue
        what = f"pass-through, share of nginx's capacity, {name}"
        found.append(Aim(what, "at least 0.5, aim 0.6", f"{share:.2f}", share >= 0.5))
        slower = statistics.median(
            ours - theirs for ours, theirs in zip(row["p50"], against["p50"], strict=False)
        )
        what = f"pass-through, p50 beyond nginx's, {name}"
        found.append(Aim(what, "at most 0.3 ms", f"{slower:+.2f} ms", slower <= 0.3))
    ours, naive = rows.get("strangler-quiet"), rows.get("tornado")
    if ours and naive and (times := ratio(ours, naive)) is not None:
        found.append(
            Aim("times the naive Tornado proxy", "at least 10", f"{times:.1f}", times >= 10)
        )
    if (row := rows.get("strangler")) and row["idle_bytes"] is not None:
        kib = row["idle_bytes"] / 1024
        what = f"an idle connection, {row['idle_count']:,} held"
        found.append(Aim(what, "at most 4 KiB", f"{kib:.1f} KiB", kib <= 4))
        if row["long_rss"] is not None:
            what = f"memory over {row['long_requests']:,} requests"
            grown = row["long_rss"]
            found.append(Aim(what, "flat: at most 8 MiB", f"{grown:+.1f} MiB", grown <= 8))
    return found
