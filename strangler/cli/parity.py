# SPDX-License-Identifier: Apache-2.0
"""`strangler parity`: do the service's answers equal Django's, and where don't they?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from strangler.cli.output import add_admin, answer, ask, complain, table


def add_commands(commands: Any) -> None:
    """Add parity."""
    one = commands.add_parser(
        "parity",
        help="show how many copied requests were answered alike, and where answers differ",
        description="Show for each route that is shadowed how many of its copies were answered as "
        "the reader was; of one ROUTE the differences too, with the last requests that had them. "
        "Exit 1: a pair differed, a copy failed, or nothing has been compared yet.",
    )
    one.add_argument("route", nargs="?", metavar="ROUTE", help="the route's key, as in routes.yaml")
    one.add_argument("--reset", action="store_true", help="count ROUTE from now on")
    add_admin(one)
    one.set_defaults(run=run_parity)


def run_parity(given: argparse.Namespace) -> int:
    """Print the counts; return 0 only where all that was compared was equal, 2 where unasked."""
    if given.reset and not given.route:
        complain("which route? strangler parity ROUTE --reset")
        return 2
    if given.reset:
        status, told = ask(given, "/-/parity/reset", {"route": given.route})
    elif given.route:
        status, told = ask(given, f"/-/parity?{urlencode({'route': given.route})}")
    else:
        status, told = ask(given, "/-/parity")
    if not status:
        return 2
    if given.json:
        rest = {name: value for name, value in told.items() if name not in ("ok", "errors")}
        answer(rest, [] if told.get("ok") else [{"message": told.get("error")}])
    elif not told.get("ok"):
        complain(str(told.get("error")))
    elif given.reset:
        print(f"{given.route}: counted from now on")
    else:
        print(one_route(told) if given.route else all_routes(told["routes"]))
        for name in told["silent"]:
            complain(f"{name} did not answer: the counts are without it")
    if not told.get("ok"):
        return 2
    if given.reset:
        return 0
    routes = [told] if given.route else list(told["routes"].values())
    return 0 if routes and all(map(_proven, routes)) else 1


def _proven(counts: Mapping[str, Any]) -> bool:
    return bool(counts["compared"] and counts["parity"] == 1 and not counts["failed"])


def percent(share: float | None) -> str:
    """Return a share as people read it; never 100 % of what is less."""
    if share is None:
        return "-"
    return "100%" if share == 1 else f"{min(share * 100, 99.99):.2f}%"


def all_routes(routes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the counts of all routes as a table, the worst first."""
    if not routes:
        return "nothing has been copied; a route with `stage: shadow 10%` copies safe requests"
    names = ("shadowed", "equal", "mismatched", "failed", "dropped", "pending")
    rows = [["route", "parity", *names]]
    for key, counts in sorted(routes.items(), key=lambda pair: pair[1]["parity"] or 0.0):
        rows.append([key, percent(counts["parity"]), *(str(counts[name]) for name in names)])
    return table(rows)


def one_route(told: Mapping[str, Any]) -> str:
    """Return all that is known of one route's copies."""
    lines = [
        f"{told['route']}: parity {percent(told['parity'])} of {told['compared']} compared",
        "  {shadowed} shadowed = {equal} equal + {mismatched} mismatched + {failed} failed"
        " + {dropped} dropped + {pending} under way".format_map(told),
    ]
    if told["compared"]:
        reader, copy = (f"{seconds * 1000:.1f} ms" for seconds in told["took"])
        lines.append(f"  took {reader} (the reader's answer), {copy} (the copy's), on average")
    for name, title in (
        ("mismatches", "differ at"),
        ("failures", "failed"),
        ("drops", "dropped"),
        ("skips", "not copied"),
    ):
        for word, number in told[name].items():
            lines.append(f"  {title:<10}  {number:>6}  {word}")
    for sample in told["samples"]:
        at = time.strftime("%H:%M:%S", time.localtime(sample["at"]))
        lines += [
            f"  {at}  {sample['method']} {sample['target']}  id={sample['id']}  {sample['word']}",
            f"      {sample['answered']}: {sample['expected']}",
            f"      {sample['copied']}: {sample['got']}",
        ]
    return "\n".join(lines)
