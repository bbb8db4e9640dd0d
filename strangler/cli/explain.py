# SPDX-License-Identifier: Apache-2.0
"""`strangler explain`: which route takes a request, why, who answers and what would be sent.

By the file, which needs nothing that runs; and by the running site's word, which knows what
operators have chosen over it and whether it serves this file at all.
"""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import urlencode

from strangler.cli.output import add_admin, answer, complain, load_or_say
from strangler.cli.overrides import mention
from strangler.config.explained import NoRequest, explain_request, lines, read_request
from strangler.control.client import Client, Unreachable


def add_commands(commands: Any) -> None:
    """Add explain."""
    one = commands.add_parser(
        "explain",
        help="say which route takes a request, and why",
        description="Say which routes a request could take, which one wins and why, who answers "
        "by its stage, and what would be sent: by the file, and by what is in force where the site "
        "runs. Nothing is sent. Exit 1: no route of the file takes it.",
    )
    one.add_argument("method", metavar="METHOD", help="for example GET")
    one.add_argument("url", metavar="URL", help="a path with query, or a whole URL")
    one.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header field; may be repeated",
    )
    one.add_argument(
        "--from",
        dest="client",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="the client's address; default: 127.0.0.1",
    )
    add_admin(one)
    one.set_defaults(run=run_explain)


def run_explain(given: argparse.Namespace) -> int:
    """Explain one request by the file, and by what is in force where a site runs.

    Return 1 if no route of the file takes it, 2 if it is no request.
    """
    snapshot = load_or_say(given)
    if isinstance(snapshot, int):
        return snapshot
    try:
        head, scheme = read_request(snapshot, given.method, given.url, given.header, given.client)
    except NoRequest as refused:
        return _refused(given, refused, 2)
    try:
        explanation, told = explain_request(snapshot, head, given.client, scheme)
    except NoRequest as refused:
        return _refused(given, refused, 1)
    said = lines(explanation, told or {})
    running = _running(given)
    if given.json:
        errors = [] if told is not None else [{"message": explanation.reason}]
        in_force = {} if running is None else {"in_force": running}
        answer({"explanation": explanation.as_dict(), **(told or {}), **in_force}, errors)
        return 0 if told is not None else 1
    print("\n".join(said))
    if running is not None:
        print("\n".join(_in_force(running, said)))
    elif told is not None:
        route = told["route"]["key"]
        about = {"site", f"route:{route}", f"upstream:{told.get('sends', {}).get('upstream')}"}
        about.add(f"upstream:{told['route']['to']}")
        mention(given.config, about.__contains__)
    return 0 if told is not None else 1


def _refused(given: argparse.Namespace, why: NoRequest, code: int) -> int:
    if given.json:
        answer({}, [{"message": str(why)}])
    else:
        complain(str(why))
    return code


def _running(given: argparse.Namespace) -> dict[str, Any] | None:
    """Return what the running site says of the same request, None where none can be asked."""
    try:
        client = Client.find(given.config, given.admin)
    except Unreachable:
        return None  # nobody runs, and nobody has been named
    query = {"method": given.method, "url": given.url, "from": given.client}
    query["header"] = given.header
    try:
        _, told = client.get(f"/-/explain?{urlencode(query, doseq=True)}")
    except Unreachable as problem:
        complain(f"what is in force isn't known: {problem}", hint=problem.hint)
        return None
    return {"admin": client.address, **told}


def _in_force(running: dict[str, Any], said: list[str]) -> list[str]:
    """Return for people what is in force, in one line where it is what the file says."""
    where = f"in force at {running['admin']}"
    if not running.get("ok"):
        return [f"{where}: {running.get('error')}"]
    where += f", generation {running['generation']}"
    if running["lines"] == said:
        return [f"{where}: the same"]
    return [f"{where}, it is otherwise:", *running["lines"][1:]]
