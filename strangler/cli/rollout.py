# SPDX-License-Identifier: Apache-2.0
"""`strangler rollout`, `promote`, `hold`, `back` and `arm`: a canary's way up, and back."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from strangler.cli.output import add_admin, answer, ask, complain, table
from strangler.cli.overrides import said, warned


def add_commands(commands: Any) -> None:
    """Add the verbs of a rollout; each sets ``run``."""
    one = commands.add_parser(
        "rollout",
        help="show how routes are rolled out, and what a next step lacks",
        description="Show every route that has a service and legacy to move between; of one ROUTE "
        "the two arms side by side, the gates, what the next step lacks, and whether legacy could "
        "take it back.",
    )
    one.add_argument("route", nargs="?", metavar="ROUTE", help="its key, as in routes.yaml")
    add_admin(one)
    one.set_defaults(run=_rollout)

    one = _verb(
        commands,
        "promote",
        "move a route, and its group, one step up",
        "Exit 1: a condition isn't met; all of them are told.",
    )
    one.add_argument("--force", action="store_true", help="whatever isn't met; the audit says it")
    one.set_defaults(run=_promote)

    one = _verb(commands, "back", "move a route, and its group, one step back; never refused", "")
    one.add_argument("--to", metavar="STAGE", help="further back, such as legacy")
    one.set_defaults(run=_back)

    one = _verb(commands, "hold", "let a route go no step up for a while", "")
    one.add_argument("--end", "--release", dest="release", action="store_true", help="take it back")
    one.set_defaults(run=_hold)

    one = commands.add_parser(
        "arm",
        help="sign a cookie that gives a tester one side of a canary",
        description="Print a cookie that gives its bearer one side of a canary, whatever the "
        "bucket, until it ends.",
    )
    one.add_argument("arm", choices=("service", "legacy"))
    one.add_argument("names", nargs="+", metavar="ROUTE", help="keys, or groups with --group")
    one.add_argument("--group", action="store_true", help="the names are those of groups")
    one.add_argument("--for", dest="lasts", metavar="TIME", help="such as 5m; default: 8h")
    add_admin(one)
    one.set_defaults(run=_arm)


def _verb(commands: Any, name: str, does: str, more: str) -> argparse.ArgumentParser:
    one: argparse.ArgumentParser = commands.add_parser(
        name, help=does, description=f"{does[0].upper()}{does[1:]}. {more}".strip()
    )
    one.add_argument("route", metavar="ROUTE", help="its key, as in routes.yaml")
    one.add_argument("--reason", required=True, metavar="TEXT", help="why, for the log")
    one.add_argument("--for", dest="lasts", metavar="TIME", help="such as 30m")
    add_admin(one)
    return one


def _asked(given: argparse.Namespace) -> dict[str, Any]:
    asked = {"route": given.route, "reason": given.reason}
    return asked if given.lasts is None else asked | {"for": given.lasts}


def _promote(given: argparse.Namespace) -> int:
    asked = _asked(given) | ({"force": True} if given.force else {})
    status, told = ask(given, "/-/promote", asked)
    if status == 409 and told.get("unmet") and not given.json:
        complain(f"{given.route} is not promoted: {len(told['unmet'])} unmet")
        for one in told["unmet"]:
            complain(f"{one['name']}: {one['said']}")
        if told.get("next"):
            complain(f"all the same: strangler promote {given.route!r} --force --reason …")
        return 1
    return _moved(given, status, told)


def _back(given: argparse.Namespace) -> int:
    asked = _asked(given) | ({"to": given.to} if given.to is not None else {})
    status, told = ask(given, "/-/back", asked)
    code = _moved(given, status, told)
    if told.get("ok") and not given.json:
        readiness = told["readiness"]
        if readiness["verdict"] not in ("ready", "unknown"):
            complain(f"legacy: {readiness['why']}")
    return code


def _moved(given: argparse.Namespace, status: int, told: dict[str, Any]) -> int:
    if not told.get("ok") or given.json:
        code = said(given, status, told)
        return 1 if status == 409 else code
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(told["override"]["expires"]))
    for key in told["routes"]:
        print(f"{key}: {told['from']} -> {told['to']} until {until}")
    print(f"{told['workers']} workers in {told['took_ms']:g} ms")
    print(f"undo: strangler undo {told['override']['id']} --reason …")
    return warned(told)


def _hold(given: argparse.Namespace) -> int:
    asked = _asked(given) | ({"release": True} if given.release else {})
    status, told = ask(given, "/-/hold", asked)
    if not told.get("ok") or given.json:
        code = said(given, status, told)
        return 1 if status == 409 else code
    if given.release:
        print(f"{given.route} is at {told['stage']} and may go on")
    else:
        until = time.strftime("%H:%M:%S", time.localtime(told["override"]["expires"]))
        print(f"{given.route} is kept at {told['stage']} until {until}")
    return warned(told)


def _arm(given: argparse.Namespace) -> int:
    asked: dict[str, Any] = {"group" if given.group else "route": given.names, "arm": given.arm}
    if given.lasts is not None:
        asked["for"] = given.lasts
    status, told = ask(given, "/-/arm", asked)
    if not told.get("ok") or given.json:
        return said(given, status, told)
    print(told["cookie"])
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(told["expires"]))
    print(f"until {until}; in the browser's console, on the site:")
    print(f"  {told['script']}")
    return 0


def _rollout(given: argparse.Namespace) -> int:
    path = "/-/rollout"
    status, told = ask(
        given, f"{path}?{urlencode({'route': given.route})}" if given.route else path
    )
    if not status:
        return 2
    if given.json:
        rest = {name: value for name, value in told.items() if name not in ("ok", "errors")}
        answer(rest, [] if told.get("ok") else [{"message": told.get("error")}])
    elif not told.get("ok"):
        complain(str(told.get("error")))
    else:
        print(one_route(told) if given.route else all_routes(told["routes"]))
    return 0 if told.get("ok") else 2


def all_routes(routes: list[Mapping[str, Any]]) -> str:
    """Return a line a route."""
    if not routes:
        return "no route has both a service and legacy"
    rows: list[tuple[str, ...]] = [("route", "file", "now", "next", "by", "what the next lacks")]
    for one in routes:
        lacks = one["unmet"][0] if one["unmet"] else "nothing"
        rows.append(
            (one["route"], one["file"], one["effective"], one["next"] or "-",
             "clock" if one["timed"] else "hand", lacks)
        )  # fmt: skip
    return table(rows)


def one_route(told: Mapping[str, Any]) -> str:
    """Return everything about one route."""
    stage, following, rest = told["stage"], told["next"], told["rest"]
    lines = [f"{told['route']}  {stage['effective']}"]
    if stage["override"] is not None:
        one = stage["override"]
        lines.append(f"  the file says {stage['file']}; by {one['author']}: {one['reason']}")
    if told["until"]:
        overdue = told["overdue"]
        left = f"{-told['days_left']} days ago" if overdue else f"in {told['days_left']} days"
        lines.append(f"  until {told['until']}, {left}")
    if told["journey"]:
        lines.append(f"  moves together with {', '.join(told['journey'])}")
    arms = told["arms"]
    rows = [("", "answers", "errors", "p50", "p95", "a second")]
    for name in ("legacy", "service"):
        arm = arms[name]
        rows.append(
            (name, str(arm["answers"]), f"{arm['error_share']:.2%}", _ms(arm["p50_ms"]),
             _ms(arm["p95_ms"]), f"{arm['per_second']:g}")
        )  # fmt: skip
    lines += [f"  {line}" for line in table(rows).splitlines()]
    if following["stage"]:
        how = "by the clock" if following["by"] == "clock" else "by hand"
        lines.append(f"  next: {following['stage']}, {how}")
    for one in following["conditions"]:
        lines.append(f"    {'ok  ' if one['met'] else 'wait'}  {one['name']}: {one['said']}")
    if rest["failures"]:
        times = "once" if rest["failures"] == 1 else f"{rest['failures']} times"
        lines.append(f"  {rest['failed']} has failed {times}")
    if told["brakes"]["by_hand"]:
        lines.append(f"  the clock leaves it alone: {told['brakes']['by_hand']}")
    back = told["back"]["stage"]
    if back:
        readiness = told["readiness"]
        lines.append(f"  back: {back}; legacy is {readiness['verdict']}: {readiness['why']}")
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} ms"
