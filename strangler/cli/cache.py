# SPDX-License-Identifier: Apache-2.0
"""`strangler cache`: each tier's share of the answers, what is held of a URL, warming up."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from strangler.cli import warm
from strangler.cli.output import add_admin, answer, ask, complain, count, table

_WORDS = ("edge", "shared", "archive", "stale", "confirmed", "miss", "pass", "bypass")


def add_commands(commands: Any) -> None:
    """Add cache, with show and warm below it."""
    one = commands.add_parser(
        "cache",
        help="show each tier's share of the answers, or what is held of a URL; warm up",
        description="Show for each route that caches how its requests were answered.",
    )
    add_admin(one)
    one.set_defaults(run=run_counters)
    below = one.add_subparsers(title="commands", metavar="COMMAND")
    show = below.add_parser(
        "show",
        help="say what the tiers hold of a URL, and why nothing",
        description="Say what each tier of the running site holds of a URL: its key, its "
        "variants, their age and size, and why it was not kept. Exit 1: no tier holds it.",
    )
    show.add_argument("url", metavar="URL", help="as readers ask it, with its port")
    show.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header field that the answer varies by; may be repeated",
    )
    add_admin(show)
    show.set_defaults(run=run_show)
    warm.add_commands(below)


def run_counters(given: argparse.Namespace) -> int:
    """Print the table of shares; return 2 where nobody answers."""
    status, told = ask(given, "/-/cache/counters")
    if not status:
        return 2
    if given.json:
        answer({name: value for name, value in told.items() if name not in ("ok", "errors")})
        return 0
    print(shares(told["routes"]))
    memory = told["memory"]
    if memory["size"]:
        used, size = memory["used"] / (1 << 20), memory["size"] / (1 << 20)
        keys = count(memory["keys"], "key")
        print(f"\nedge tier, all workers: {keys}, {used:.1f} of {size:.0f} MB")
    for name in told["silent"]:
        complain(f"{name} did not answer: the counts are without it")
    return 0


def shares(routes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the counts of *routes* as a table, the busiest first, and what was not kept."""
    if not routes:
        return "no route caches"
    used = [word for word in _WORDS if any(counts.get(word) for counts in routes.values())]
    total = {key: sum(counts.get(word, 0) for word in _WORDS) for key, counts in routes.items()}
    rows = [["route", "requests", *used]]
    for key in sorted(routes, key=lambda key: -total[key]):
        all_ = total[key]
        cells = [
            f"{routes[key].get(word, 0) / all_:.1%}" if routes[key].get(word) else "-"
            for word in used
        ]
        rows.append([key, str(all_), *cells])
    lines = [table(rows)]
    for key, counts in routes.items():
        refused: Mapping[str, int] = counts.get("refused", {})
        if refused:
            why = ", ".join(f"{reason} {number}" for reason, number in refused.items())
            lines.append(f"not kept of {key}: {why}")
    return "\n".join(lines)


def run_show(given: argparse.Namespace) -> int:
    """Print what is held; return 1 where nothing is, 2 where that can't be asked."""
    query = [("url", given.url), *(("header", line) for line in given.header)]
    status, told = ask(given, f"/-/cache?{urlencode(query)}")
    if not status:
        return 2
    held = any(
        copies if isinstance(copies, list) else isinstance(copies, dict) and any(copies.values())
        for copies in told.get("tiers", {}).values()
    )
    if given.json:
        rest = {name: value for name, value in told.items() if name not in ("ok", "errors")}
        answer(rest, [] if told.get("ok") else [{"message": told.get("error")}])
    elif told.get("ok"):
        print("\n".join(_lines(told)))
    else:
        complain(str(told.get("error")))
    if not told.get("ok"):
        return 2
    return 0 if held else 1


def _lines(told: Mapping[str, Any]) -> list[str]:
    lines = [str(told["url"])]
    if told.get("route") is None:
        return [*lines, "  route     none takes it"]
    lines.append(f"  route     {told['route']} (cache: {told['mode']})")
    if "key" in told:
        first, *more = str(told["key"]).split("\n")
        lines += [f"  key       {first}", *(f"            {line}" for line in more)]
    tiers: Mapping[str, Any] = told.get("tiers", {})
    for name, worker in tiers.get("edge", {}).items():
        lines += _tier(f"edge, {name}", worker)
    for name, copies in tiers.items():
        if name != "edge":
            lines += _tier(name, copies)
    if "why" in told:
        lines.append(f"  not kept  {told['why']}: such a request is none of the cache's business")
    if "not_kept" in told:
        last = told["not_kept"]
        lines.append(f"  not kept  {last['reason']}, {last['ago']:.0f} s ago, {last['of']}")
    return lines


def _tier(name: str, copies: str | Sequence[Mapping[str, Any]]) -> list[str]:
    if isinstance(copies, str):
        return [f"  {name}: {copies}"]
    if not copies:
        return [f"  {name}: nothing"]
    lines = [f"  {name}: {count(len(copies), 'variant')}"]
    for copy in copies:
        ttl = copy["ttl"]
        life = f"fresh for {_span(ttl)}" if ttl > 0 else f"stale for {_span(-ttl)}"
        mark = "*" if copy["chosen"] else " "
        lines.append(
            f"   {mark} {copy['status']}  {copy['size']} bytes  {_span(copy['age'])} old  {life}"
        )
        if copy.get("vary"):
            vary = (f"{field}: {value}" for field, value in copy["vary"].items())
            lines.append(f"       varies   {' · '.join(vary)}")
        if copy.get("tags"):
            lines.append(f"       tags     {' '.join(copy['tags'])}")
    return lines


def _span(seconds: float) -> str:
    """Return seconds as people say them: `12 s`, `4 min`, `3 h`, `29 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
