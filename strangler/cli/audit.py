# SPDX-License-Identifier: Apache-2.0
"""`strangler audit`: who changed what, when and why; `strangler token`: who may."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import time
from typing import Any

from strangler.cli.output import add_admin, add_config, answer, ask, complain, table
from strangler.control.client import state_folder
from strangler.control.tokens import (
    ROLES,
    Token,
    check_name,
    check_role,
    check_teams,
    hashed,
    named_file,
    read_named,
    write_named,
)


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add audit and token; each sets ``run``."""
    one = commands.add_parser("audit", help="show who changed what, the newest first")
    one.add_argument("--limit", type=int, default=20, metavar="N", help="default: 20")
    one.add_argument("--route", metavar="ROUTE", help="only changes of this route")
    one.add_argument("--what", metavar="WHAT", help="only such changes: override, purge, reload")
    one.add_argument("--who", metavar="NAME", help="only changes by this token")
    add_admin(one)
    one.set_defaults(run=_audit)

    one = commands.add_parser("token", help="say who may change something by the admin listener")
    verbs = one.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="make a token and print it, once")
    add.add_argument("name", metavar="NAME", help="whose it is, for the audit log")
    add.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    add.add_argument(
        "--owner", action="append", default=[], metavar="TEAM",
        help="of role owner: the team whose routes it may change; repeatable",
    )  # fmt: skip
    add_config(add)
    add.set_defaults(run=_add_token)
    remove = verbs.add_parser("remove", help="let a token count no more")
    remove.add_argument("name", metavar="NAME")
    add_config(remove)
    remove.set_defaults(run=_remove_token)
    listed = verbs.add_parser("list", help="show whose tokens there are")
    add_config(listed)
    listed.set_defaults(run=_list_tokens)


def _audit(given: argparse.Namespace) -> int:
    query: dict[str, Any] = {"limit": max(1, min(given.limit, 1000))}
    query |= {name: getattr(given, name) for name in ("route", "what", "who")}
    status, told = ask(given, "/-/audit", query={k: v for k, v in query.items() if v})
    if not status:
        return 2
    if given.json or not told.get("ok"):
        if given.json:
            rest = {name: value for name, value in told.items() if name not in ("ok", "errors")}
            answer(rest, () if told.get("ok") else [{"message": told.get("error")}])
        else:
            complain(str(told.get("error")))
        return 0 if told.get("ok") else 2
    rows = [("time", "who", "what", "of", "from", "to", "reason")]
    for one in told["entries"]:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["time"]))
        kind = f"{one['kind']} {one['subject']}" if one.get("kind") else one.get("subject", "")
        rows.append(
            (moment, one.get("who", ""), one["what"], kind, _text(one.get("before")),
             _text(one.get("after")), one.get("reason", ""))
        )  # fmt: skip
    print(table(rows) if len(rows) > 1 else "nothing yet")
    return 0


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _add_token(given: argparse.Namespace) -> int:
    file = named_file(state_folder(given.config), os.environ)
    try:
        teams = check_teams(given.role, ",".join(given.owner))
        name, role = check_name(given.name), check_role(given.role)
        tokens = read_named(file)
        if any(one.who == name for one in tokens):
            raise ValueError(f"{name} has a token already; remove it first")
        secret = secrets.token_urlsafe(32)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_named(file, [*tokens, Token(name, role, hashed(secret), teams)])
    except (OSError, ValueError) as problem:
        return _refuse(given, str(problem))
    if given.json:
        answer({"name": name, "role": role, "owners": sorted(teams), "token": secret})
    else:
        print(secret)
        complain(f"this is {name}'s token, shown this once; it counts from now on")
    return 0


def _remove_token(given: argparse.Namespace) -> int:
    file = named_file(state_folder(given.config), os.environ)
    try:
        tokens = read_named(file)
        kept = [one for one in tokens if one.who != given.name]
        if len(kept) == len(tokens):
            names = ", ".join(one.who for one in tokens) or "none"
            raise ValueError(f"no token of {given.name}; there are: {names}")
        write_named(file, kept)
    except (OSError, ValueError) as problem:
        return _refuse(given, str(problem))
    if given.json:
        answer({"removed": given.name})
    else:
        print(f"{given.name}'s token counts no more, nor any session that was begun with it")
    return 0


def _list_tokens(given: argparse.Namespace) -> int:
    try:
        tokens = read_named(named_file(state_folder(given.config), os.environ))
    except (OSError, ValueError) as problem:
        return _refuse(given, str(problem))
    if given.json:
        listed = [
            {"name": one.who, "role": one.role, "owners": sorted(one.owners)} for one in tokens
        ]
        answer({"tokens": listed})
        return 0
    rows = [("name", "role", "owners")]
    rows += [(one.who, one.role, ", ".join(sorted(one.owners))) for one in tokens]
    print(table(rows) if len(rows) > 1 else "no named tokens; the site's own is in admin.token")
    return 0


def _refuse(given: argparse.Namespace, message: str) -> int:
    if given.json:
        answer({}, [{"message": message}])
    else:
        complain(message)
    return 2
