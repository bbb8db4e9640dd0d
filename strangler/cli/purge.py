# SPDX-License-Identifier: Apache-2.0
"""`strangler purge`: take stored responses out of every tier of the running site."""

from __future__ import annotations

import argparse
from typing import Any

from strangler.cli.output import add_admin, answer, ask, complain, count


def add_commands(commands: Any) -> None:
    """Add purge."""
    one = commands.add_parser(
        "purge",
        help="take stored responses out of every tier",
        description="Take stored responses out of every tier of the running site, on all of its "
        "workers, in all variants. It is in force when the command ends. Exit 1: not everywhere; "
        "asking again does no harm.",
    )
    what = one.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--url",
        action="append",
        metavar="URL",
        help="as readers ask it, with its port; without a scheme both are meant; repeatable",
    )
    what.add_argument(
        "--prefix", action="append", metavar="URL", help="every URL that begins so; repeatable"
    )
    what.add_argument(
        "--route", action="append", metavar="KEY", help="as in routes.yaml; repeatable"
    )
    what.add_argument("--tag", action="append", metavar="TAG", help="a surrogate key; repeatable")
    what.add_argument("--all", action="store_true", help="everything there is")
    how = one.add_mutually_exclusive_group()
    how.add_argument(
        "--soft", action="store_true", help="make stale instead: it may serve while it is refreshed"
    )
    how.add_argument(
        "--refresh",
        action="store_true",
        help="fetch URLs anew, and serve what there is until then; others become stale",
    )
    add_admin(one)
    one.set_defaults(run=run_purge)


def run_purge(given: argparse.Namespace) -> int:
    """Purge; return 1 where not everything has taken it, 2 where it made no sense."""
    asked: dict[str, Any] = {}
    words = ""
    for kind in ("url", "prefix", "route", "tag"):
        values = getattr(given, kind)
        if values:
            asked[kind] = values
            words = f"{kind} {values[0]}" if len(values) == 1 else count(len(values), kind)
    if given.all:
        asked, words = {"all": True}, "everything"
    asked |= {name: True for name in ("soft", "refresh") if getattr(given, name)}
    status, told = ask(given, "/-/purge", asked)
    if not status:
        return 2
    if given.json:
        rest = {name: value for name, value in told.items() if name not in ("ok", "errors")}
        answer(rest, [] if told.get("ok") else [{"message": told.get("error")}])
    elif told.get("ok"):
        purged = told["purged"]
        where = [name for name in ("archive", "shared") if name in purged]
        edges = count(len(purged["edge"]), "worker")
        done = "purged"
        if given.soft or given.refresh:
            done = "refreshed" if "refreshed" in told else "made stale"
        print(f"{done}: {words} · {' · '.join([edges, *where])}")
        for url in told.get("failed", ()):
            complain(f"{url}: no answer to keep was had, so what there is is stale now")
    else:
        complain(str(told.get("error")))
    if told.get("ok"):
        return 0
    return 1 if status >= 500 else 2
