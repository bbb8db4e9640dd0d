# SPDX-License-Identifier: Apache-2.0
"""The operator's verbs: each asks the running site for one override, or to take one back.

All of them go by the admin listener, so they work while every store of the cache is down; what the
site answers is in force on all of its workers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

from strangler.cli.output import add_admin, answer, ask, complain, table
from strangler.cli.to_patch import to_patch
from strangler.control.client import state_folder
from strangler.rollout.override import WORDS, spoken
from strangler.units import show_duration


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add toggle, undo, overrides and the verbs of the other kinds; each sets ``run``."""
    one = _verb(commands, "toggle", "put a route into another stage for a while", reason=False)
    one.add_argument("route", nargs="?", metavar="ROUTE", help="its key, as in routes.yaml")
    one.add_argument(
        "value", nargs="*", metavar="TARGET", help="legacy, live, canary 10%%, shadow 5%%, sealed"
    )
    one.add_argument(
        "--to-patch",
        action="store_true",
        help="print what to edit in routes.yaml to make the stages and priorities that are in "
        "force (of ROUTE, or of every route) the file's own, and what it has no word for",
    )
    one.add_argument("--write", action="store_true", help="with --to-patch: edit the file")
    one.set_defaults(run=_toggle)

    one = _verb(commands, "drain", "send an upstream, or one endpoint of it, nothing new")
    one.add_argument("upstream", metavar="UPSTREAM")
    one.add_argument("url", nargs="?", metavar="URL", help="one endpoint, as in routes.yaml")
    one.set_defaults(run=_drain)

    one = _verb(commands, "breaker", "force a breaker open or closed, or leave it to itself")
    one.add_argument("name", metavar="UPSTREAM|ROUTE")
    one.add_argument("value", choices=WORDS["breaker"], nargs="?", help="not with --end")
    one.set_defaults(run=_breaker)

    one = _verb(commands, "cache-mode", "serve stale only, from the archive only, or no copies")
    one.add_argument("name", metavar="ROUTE|site")
    one.add_argument("value", choices=WORDS["cache"], nargs="?", help="not with --end")
    one.set_defaults(run=_cache_mode)

    one = _verb(commands, "fault", "harm a share of a route's requests on purpose")
    one.add_argument("route", metavar="ROUTE")
    one.add_argument(
        "fault", nargs="?", metavar="FAULT", help="delay, abort, cut, trickle, corrupt"
    )
    one.add_argument("--share", type=_share, default=1.0, metavar="SHARE", help="such as 10%%")
    one.add_argument(
        "--amount", type=float, default=0.0, metavar="N", help="seconds, status, bytes"
    )
    one.set_defaults(run=_fault)

    one = _verb(commands, "freeze", "let no timer and no gate move any stage")
    one.set_defaults(run=lambda given: _set(given, "freeze", "site", True))

    one = _verb(commands, "shadows", "stop all copies to the other side")
    one.add_argument("value", choices=WORDS["shadows"], nargs="?", help="not with --end")
    one.set_defaults(run=lambda given: _set(given, "shadows", "site", given.value))

    one = _verb(commands, "maintenance", "answer a route, or the whole site, with a page")
    one.add_argument("name", metavar="ROUTE|site")
    one.add_argument("--page", metavar="FILE", help="below the folder of routes.yaml")
    one.set_defaults(run=_maintenance)

    one = _verb(commands, "priority", "say which route is shed first, and which last")
    one.add_argument("route", metavar="ROUTE")
    one.add_argument("value", choices=WORDS["priority"], nargs="?", help="not with --end")
    one.set_defaults(run=lambda given: _set(given, "priority", f"route:{given.route}", given.value))

    one = commands.add_parser("undo", help="take an override back; what was before comes back")
    one.add_argument("id", nargs="?", metavar="ID", help="default: the newest of your own")
    one.add_argument("--reason", required=True, metavar="TEXT")
    add_admin(one)
    one.set_defaults(run=_undo)

    one = commands.add_parser("overrides", help="show what is in force over routes.yaml")
    add_admin(one)
    one.set_defaults(run=_overrides)


def _verb(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    does: str,
    *,
    reason: bool = True,
) -> argparse.ArgumentParser:
    one = commands.add_parser(name, help=does)
    one.add_argument("--for", dest="lasts", metavar="TIME", help="such as 30m; default: the site's")
    one.add_argument("--reason", required=reason, metavar="TEXT", help="why, for the log")
    one.add_argument("--end", action="store_true", help="take it back: routes.yaml counts again")
    one.add_argument("--preview", action="store_true", help="say what would change, change nothing")
    add_admin(one)
    return one


def _share(text: str) -> float:
    number = text.removesuffix("%")
    if number == text:
        raise argparse.ArgumentTypeError(f"expected a percentage such as 10%, got {text!r}")
    return float(number) / 100


def _toggle(given: argparse.Namespace) -> int:
    if given.to_patch:
        return to_patch(given)
    if given.route is None or not (given.value or given.end):
        complain("say which route and what: strangler toggle ROUTE TARGET --reason TEXT")
        return 2
    if not given.reason:
        complain("say why: --reason TEXT")
        return 2
    return _set(given, "stage", f"route:{given.route}", " ".join(given.value))


def _drain(given: argparse.Namespace) -> int:
    one = given.url is not None
    subject = f"endpoint:{given.upstream} {given.url}" if one else f"upstream:{given.upstream}"
    return _set(given, "drain", subject, True)


def _breaker(given: argparse.Namespace) -> int:
    scope = "route" if "/" in given.name else "upstream"
    return _set(given, "breaker", f"{scope}:{given.name}", given.value)


def _cache_mode(given: argparse.Namespace) -> int:
    return _set(given, "cache", _route_or_site(given.name), given.value)


def _fault(given: argparse.Namespace) -> int:
    value = {"kind": given.fault, "share": given.share, "amount": given.amount}
    return _set(given, "fault", f"route:{given.route}", value if given.fault else None)


def _maintenance(given: argparse.Namespace) -> int:
    value = {"page": given.page} if given.page else True
    return _set(given, "maintenance", _route_or_site(given.name), value)


def _route_or_site(name: str) -> str:
    return "site" if name == "site" else f"route:{name}"


def _set(given: argparse.Namespace, kind: str, subject: str, value: Any) -> int:
    """Ask for one override, or with --end to take it away."""
    if given.end:
        return _clear(given, kind, subject)
    if value is None:
        complain(f"say what: strangler {kind} --help", hint="or --end to take it back")
        return 2
    asked = {"kind": kind, "subject": subject, "value": value, "reason": given.reason}
    if given.lasts is not None:
        asked["for"] = given.lasts
    path = "/-/overrides/preview" if given.preview else "/-/overrides"
    status, told = ask(given, path, asked)
    if not told.get("ok") or given.json:
        return said(given, status, told)
    if given.preview:
        affects = told["affects"]
        lasts = show_duration(told["seconds"])
        print(f"{kind} of {subject}: {_shown(told['now'])} -> {_shown(told['then'])} for {lasts}")
        print(f"routes affected: {affects['count']}")
        for key in affects["routes"]:
            print(f"  {key}")
        for one in affects.get("instead", ()):
            who = ", then ".join(one["rungs"]) or "nobody, a 503"
            print(f"answered instead by {who}: {_named(one)}")
        lost = affects.get("rung_lost", {"count": 0})
        if lost["count"]:
            print(f"left without it as a fallback: {_named(lost)}")
        return 0
    one = told["override"]
    until = time.strftime("%H:%M:%S", time.localtime(one["expires"]))
    lasts = show_duration(round(one["expires"] - one["created"]))
    print(
        f"{kind} of {subject} is {_shown(one['value'])} until {until} ({lasts}) · "
        f"{told['workers']} workers in {told['took_ms']:g} ms"
    )
    print(f"undo: strangler undo {one['id']} --reason …")
    return warned(told)


def _named(some: Mapping[str, Any]) -> str:
    """Say how many routes these are, and name a few of them."""
    few = some["routes"][:3]
    more = f" and {some['count'] - len(few)} more" if some["count"] > len(few) else ""
    return ", ".join(few) + more


def _clear(given: argparse.Namespace, kind: str, subject: str) -> int:
    asked = {"kind": kind, "subject": subject, "reason": given.reason}
    status, told = ask(given, "/-/overrides/clear", asked)
    if told.get("ok") and not told["cleared"] and not given.json:
        _, there = ask(given, "/-/overrides")
        others = [one["subject"] for one in there.get("overrides", ()) if one["kind"] == kind]
        hint = f"there is one of {', '.join(others)}" if others else None
        complain(f"no {kind} of {subject} is in force", hint=hint)
        return 1
    if not told.get("ok") or given.json:
        return said(given, status, told)
    print(f"{kind} of {subject}: routes.yaml counts again · {told['workers']} workers")
    return warned(told)


def _undo(given: argparse.Namespace) -> int:
    asked = {"reason": given.reason}
    if given.id:
        asked["id"] = given.id
    status, told = ask(given, "/-/overrides/undo", asked)
    if not told.get("ok") or given.json:
        return said(given, status, told)
    one = told["override"]
    if one is None:
        print(f"routes.yaml counts again · {told['workers']} workers")
    else:
        print(
            f"{one['kind']} of {one['subject']} is {_shown(one['value'])} again · "
            f"{told['workers']} workers"
        )
    return warned(told)


def _overrides(given: argparse.Namespace) -> int:
    status, told = ask(given, "/-/overrides")
    if not told.get("ok") or given.json:
        return said(given, status, told)
    rows = [("id", "kind", "subject", "value", "left", "by", "reason", "")]
    for one in told["overrides"]:
        conflict = one["conflict"]
        note = ""
        if conflict is not None:
            gone = conflict["now"] is None
            note = "gone from the file" if gone else f"the file says {conflict['now']} now"
        left = _left(one["left_s"])
        rows.append(
            (one["id"], one["kind"], one["subject"], _shown(one["value"]), left, one["author"],
             one["reason"], note)
        )  # fmt: skip
    print(table(rows) if len(rows) > 1 else "nothing: routes.yaml counts everywhere")
    if not told["store"]["ok"]:
        complain(f"no change can be recorded: {told['store']['why']}")
    return 0


def said(given: argparse.Namespace, status: int, told: dict[str, Any]) -> int:
    """Print what was answered as JSON, or what went wrong; return the exit code."""
    if not status:
        return 2
    if given.json:
        rest = {name: value for name, value in told.items() if name not in ("ok", "errors")}
        answer(rest, () if told.get("ok") else told.get("errors") or [{"message": told["error"]}])
    else:
        errors = [one for one in told.get("errors", ()) if isinstance(one, dict)]
        complain(str(told.get("error")))
        for one in errors[1:]:
            complain(f"{one.get('field')}: {one.get('message')}", hint=one.get("hint"))
    if told.get("ok"):
        return 0
    return 1 if status >= 500 else 2


def warned(told: dict[str, Any]) -> int:
    """Return the exit code of a change; 1 where a worker doesn't serve it yet."""
    if told.get("warning"):
        complain(told["warning"])
    serving, _, all_ = told["workers"].partition("/")
    if serving != all_:
        complain(f"only {serving} of {all_} workers have taken it so far")
        return 1
    return 0


def mention(config: str, subjects: Callable[[str], bool]) -> None:
    """Say on standard error what operators have put over the file that *config* names.

    For verbs that read the file alone, and work without a running site: it is the copy in the
    state folder that is looked at.

    Args:
        config: path of routes.yaml.
        subjects: tells whether an override of this subject matters here.
    """
    # Here: it brings the engine along, which most verbs do without.
    from strangler.control.overrides import read_copy

    kept = read_copy(state_folder(config))
    now = time.time()
    for one in kept.overrides if kept is not None else ():
        if one.expires > now and subjects(one.subject):
            left, value = _left(one.expires - now), _shown(one.json()["value"])
            complain(
                f"over the file, for another {left}: {one.kind} of {one.subject} is {value} "
                f"({one.author}: {one.reason})"
            )


def _left(seconds: float) -> str:
    """Return what is left, in the unit that one thinks in: `90s`, `29m`, `3h`."""
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{round(seconds / length)}{unit}"
    return f"{round(seconds)}s"


def _shown(value: Any) -> str:
    return spoken(value) or "as the file says"
