# SPDX-License-Identifier: Apache-2.0
"""`strangler explain`: which route takes a request, why, who answers and what would be sent."""

from __future__ import annotations

import argparse
from typing import Any

from strangler.cli.output import add_config, answer, complain, load_or_say
from strangler.cli.overrides import mention
from strangler.config.explained import NoRequest, explain_request, lines, read_request


def add_commands(commands: Any) -> None:
    """Add explain."""
    one = commands.add_parser(
        "explain",
        help="say which route takes a request, and why",
        description="Say which routes a request could take, which one wins and why, who answers "
        "by its stage, and what would be sent. Nothing is sent. Exit 1: no route takes it.",
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
    add_config(one)
    one.set_defaults(run=run_explain)


def run_explain(given: argparse.Namespace) -> int:
    """Explain one request; return 1 if no route takes it, 2 if it is no request."""
    snapshot = load_or_say(given)
    if isinstance(snapshot, int):
        return snapshot
    try:
        head, scheme = read_request(snapshot, given.method, given.url, given.header, given.client)
    except NoRequest as refused:
        if given.json:
            answer({}, [{"message": str(refused)}])
        else:
            complain(str(refused))
        return 2
    try:
        explanation, told = explain_request(snapshot, head, given.client, scheme)
    except NoRequest as refused:
        if given.json:
            answer({}, [{"message": str(refused)}])
        else:
            complain(str(refused))
        return 1
    if given.json:
        errors = [] if told is not None else [{"message": explanation.reason}]
        answer({"explanation": explanation.as_dict(), **(told or {})}, errors)
    else:
        print("\n".join(lines(explanation, told or {})))
        if told is not None:
            route = told["route"]["key"]
            about = {"site", f"route:{route}", f"upstream:{told.get('sends', {}).get('upstream')}"}
            about.add(f"upstream:{told['route']['to']}")
            mention(given.config, about.__contains__)
    return 0 if told is not None else 1
