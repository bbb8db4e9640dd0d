# SPDX-License-Identifier: Apache-2.0
"""`strangler status`, `top`, `tail` and `errors`: what goes on, for who has a terminal."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from strangler.cli.output import add_admin, answer, ask, complain
from strangler.control.client import Client, Unreachable

_MARKS: Final = {"good": "ok", "info": "..", "unknown": "??", "warn": "WARN", "bad": "BAD"}
_COLOURS: Final = {"good": 32, "info": 36, "unknown": 2, "warn": 33, "bad": 31}
_EVERY: Final = 2.0
_LONGEST_KEY: Final = 44
#: Nothing of an answer may move a terminal's cursor or change its colours.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def add_commands(commands: Any) -> None:
    """Add status, top, tail and errors; each sets ``run``."""
    one = commands.add_parser(
        "status",
        help="answer the five questions: readers, changes, routes, legacy, agreement",
        description="Answer in one screen: is the reader hurt, what changed in the last 30 "
        "minutes, which routes are bad, is legacy safe, do all proxies agree. Exit 1: something is "
        "bad.",
    )
    add_admin(one)
    one.set_defaults(run=run_status)

    one = commands.add_parser(
        "top",
        help="show what each route does now, the worst first, again and again",
        description="Show each route's rate, errors and times over the last seconds, the worst "
        "first: by unwell requests a second. Ctrl-C ends it.",
    )
    one.add_argument(
        "--seconds", type=_seconds, default=10, metavar="N", help="look back, 1 to 300; default 10"
    )
    one.add_argument("--once", action="store_true", help="print once and end")
    add_admin(one)
    one.set_defaults(run=run_top)

    one = commands.add_parser(
        "tail",
        help="show requests as they end, of all workers",
        description="Show access records as they come, of all workers, whether the log is on or "
        "not. Ctrl-C ends it.",
    )
    one.add_argument("--route", metavar="KEY", help="of this route only")
    one.add_argument("--target", metavar="NAME", help="that legacy or this upstream was to answer")
    one.add_argument("--status", metavar="LIST", help="such as 5xx or 404,5xx")
    one.add_argument("--slow", metavar="TIME", help="that took at least this long, such as 500ms")
    add_admin(one)
    one.set_defaults(run=run_tail)

    one = commands.add_parser(
        "errors",
        help="show the last bad requests byte for byte",
        description="Show the last bad requests, what was sent and what an upstream answered, byte "
        "for byte but for secrets, which are asterisks. Exit 1: there are none.",
    )
    one.add_argument(
        "route", nargs="?", metavar="ROUTE", help="its key; '' for those that never had a route"
    )
    add_admin(one)
    one.set_defaults(run=run_errors)


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 300):
        raise argparse.ArgumentTypeError(f"expected 1-300, got {text!r}")
    return int(text)


# -------------------------------------------------------------------- status


def run_status(given: argparse.Namespace) -> int:
    """Print the five answers; return 1 where one is bad, 2 where nobody answers."""
    status, told = ask(given, "/-/state?routes=10")
    if not status:
        return 2
    if not told.get("ok", True):
        complain(str(told.get("error")))
        return 2
    answers = told["answers"]
    bad = any(one["verdict"] == "bad" for one in answers)
    if given.json:
        names = ("generation", "hash", "site", "answers", "observed", "overrides", "changes")
        answer({name: told[name] for name in names})
    else:
        print("\n".join(_status_lines(told, colours=sys.stdout.isatty())))
    return int(bad)


def _status_lines(told: Mapping[str, Any], *, colours: bool) -> Iterator[str]:
    workers, routes = len(told.get("workers", ())), told["routes_total"]
    yield clean(
        f"{told['site']['title']} · generation {told['generation']} · "
        f"{workers} worker{'s' * (workers != 1)} · {routes} route{'s' * (routes != 1)}"
    )
    yield ""
    for one in told["answers"]:
        mark = _MARKS[one["verdict"]].ljust(4)
        if colours:
            mark = f"\x1b[{_COLOURS[one['verdict']]}m{mark}\x1b[0m"
        yield f"  {mark}  {clean(one['question'])}"
        yield f"        {clean(one['say'])}"
        if one.get("more"):
            yield f"        {clean(one['more'])}"
    overrides = told.get("overrides", ())
    if overrides:
        yield ""
        yield "  in force by hand:"
        for one in overrides:
            value = one["value"] if isinstance(one["value"], str) else json.dumps(one["value"])
            yield clean(
                f"    {one['kind']} {one['subject']} = {value}, {one['left_s'] / 60:.0f} min left, "
                f"by {one['author']}: {one['reason']}"
            )


# -------------------------------------------------------------------- top


def run_top(given: argparse.Namespace) -> int:
    """Print the table, again and again on a terminal; return 2 where nobody answers."""
    live = sys.stdout.isatty() and not given.once and not given.json
    try:
        if live:
            sys.stdout.write("\x1b[?1049h\x1b[?25l")
        while True:
            status, told = ask(given, f"/-/numbers?seconds={given.seconds}")
            if not status:
                return 2
            if given.json:
                answer({name: value for name, value in told.items() if name not in _SHARED})
                return 0
            width, height = shutil.get_terminal_size()
            if not live:
                print("\n".join(top_lines(told)))
                return 0
            lines = [line[:width] for line in top_lines(told)][: height - 1]
            sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            sys.stdout.flush()
            time.sleep(_EVERY)
    finally:
        if live:
            sys.stdout.write("\x1b[?25h\x1b[?1049l")
            sys.stdout.flush()


_SHARED: Final = ("ok", "errors", "status")
_HEADS: Final = (
    *("route", "stage", "target", "req/s", "errors", "p50", "p95", "hits", "fallbacks", "open"),
)


def top_lines(told: Mapping[str, Any]) -> list[str]:
    """Return the table of `/-/numbers`, one line a target."""
    site = told["site"]
    lines = [
        f"{site['rate']:g} requests/s · {share(site['errors'])} unwell · "
        f"p95 {milliseconds(site['p95_ms'])} · {site['inflight']} under way · "
        f"last {told['seconds']:g} s · {time.strftime('%H:%M:%S')}",
        "",
    ]
    rows = [list(_HEADS)]
    for key, route in told["routes"].items():
        stage = f"{route['stage']}*" if route.get("overridden") else str(route.get("stage") or "-")
        for target in ("service", "legacy", "edge"):
            if target in route:
                rows.append([shortened(clean(key)), stage, target, *_cells(route[target])])
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADS))]
    for row in rows:
        cells = [
            cell.ljust(width) if index < 3 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    if len(rows) == 1:
        lines.append("nobody asks for anything")
    if any(row[1].endswith("*") for row in rows):
        lines += ["", "* by an override"]
    return lines


def _cells(arm: Mapping[str, Any]) -> list[str]:
    cache: Mapping[str, int] = arm.get("cache", {})
    hits = sum(cache.get(word, 0) for word in ("edge", "shared", "archive", "stale", "confirmed"))
    counted = sum(cache.values())
    return [
        f"{arm['rate']:g}",
        share(arm["errors"]) if arm["unwell"] else "-",
        milliseconds(arm["p50_ms"]),
        milliseconds(arm["p95_ms"]),
        share(hits / counted) if counted else "-",
        str(sum(arm.get("fallbacks", {}).values()) or "-"),
        str(arm["inflight"] or "-"),
    ]


def share(part: float) -> str:
    """Return a share as people read it: `0.02%`, `4.1%`, `100%`."""
    percent = part * 100
    if percent and percent < 0.1:
        return f"{percent:.2f}%"
    return f"{percent:.1f}%" if percent < 99.95 else "100%"


def milliseconds(value: float | None) -> str:
    """Return milliseconds as people read them: `0.4ms`, `120ms`, `3.4s`."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value / 1000:.1f}s"
    return f"{value:.1f}ms" if value < 10 else f"{value:.0f}ms"


def shortened(text: str) -> str:
    """Return a key that is too long for a column without its middle."""
    if len(text) <= _LONGEST_KEY:
        return text
    half = _LONGEST_KEY // 2
    return f"{text[: half - 1]}…{text[-half:]}"


def clean(text: str) -> str:
    r"""Return text from outside as a terminal may have it: control characters as ``\xNN``."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


# -------------------------------------------------------------------- tail


def run_tail(given: argparse.Namespace) -> int:
    """Print records until Ctrl-C; return 2 where nobody answers or the site has gone."""
    names = ("route", "target", "status", "slow")
    query = {name: getattr(given, name) for name in names if getattr(given, name)}
    try:
        client = Client.find(given.config, given.admin)
        for kind, data in client.events(f"/-/tail?{urlencode(query)}"):
            told = json.loads(data)
            if kind == "missed":
                complain(f"{told['missed']} lines were too many and are missing")
            else:
                print(data if given.json else tail_line(told), flush=True)
    except Unreachable as problem:
        complain(str(problem), hint=problem.hint)
        return 2
    complain("the site has ended the tail", hint="it was restarted or stopped; try again")
    return 2


def tail_line(told: Mapping[str, Any]) -> str:
    """Return one record for people, as the access log has it."""
    parts = [
        str(told["time"])[11:23],
        str(told["status"] or "---"),
        f"{told['duration_ms']:.1f}ms".rjust(9),
        f"{told['method']} {told['host']}{told['path']}",
        f"{told['target'] or '-'} ({told['reason'] or '-'})",
        f"route={told['route'] or '-'}",
    ]
    for name in ("endpoint", "cache", "error", "retry"):
        if told.get(name):
            parts.append(f"{name}={told[name]}")
    parts.append(f"id={told['id']}")
    return clean(" ".join(parts))


# -------------------------------------------------------------------- errors


def run_errors(given: argparse.Namespace) -> int:
    """Print what is kept; return 1 where nothing is, 2 where nobody answers."""
    query = "" if given.route is None else f"?{urlencode({'route': given.route})}"
    status, told = ask(given, f"/-/errors{query}")
    if not status:
        return 2
    if given.json:
        answer({"requests": told["errors"], "silent": told["silent"]})
    else:
        for name in told["silent"]:
            complain(f"{name} did not answer: what it keeps is not shown")
        if told["errors"]:
            print("\n\n".join("\n".join(error_lines(one)) for one in reversed(told["errors"])))
        else:
            print("no bad request is kept")
    return 0 if told["errors"] else 1


def error_lines(one: Mapping[str, Any]) -> list[str]:
    """Return one bad request, the newest last; bytes as they are, odd ones as escapes."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["time"]))
    where = f"route {one['route']}" if one["route"] else "no route"
    lines = [
        clean(
            f"{when}  {one['status'] or 'no status'}  {one['error']}  ({where}, "
            f"{one['target'] or 'nobody'}, {one['reason']}"
            + (f", {one['endpoint']}" if one["endpoint"] else "")
            + f")  client {one['client']}  id {one['id']}"
        )
    ]
    lines += _bytes("request", one["request"])
    if one["body"]:
        lines += _bytes(f"body, {one['received']} bytes came", one["body"])
    if one["response"]:
        lines += _bytes("answer of the upstream", one["response"])
    return lines


def _bytes(name: str, text: str) -> Sequence[str]:
    r"""Return bytes line by line, each line's offset before it, as HAProxy shows them."""
    lines = [f"  {name}:"]
    offset = 0
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        lines.append(f"    {offset:05d}  {_escaped(line)}")
        offset += len(line)
    return lines


def _escaped(line: str) -> str:
    return "".join(
        letter
        if " " <= letter <= "~" and letter != "\\"
        else _ESCAPES.get(letter, f"\\x{ord(letter):02x}")
        for letter in line
    )


_ESCAPES: Final = {"\r": "\\r", "\n": "\\n", "\t": "\\t", "\\": "\\\\"}
