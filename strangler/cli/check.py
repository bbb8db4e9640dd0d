# SPDX-License-Identifier: Apache-2.0
"""`strangler check`, `routes` and `schema`: what a configuration says, and whether it may."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from strangler.cli.output import (
    add_config,
    answer,
    count,
    load_or_say,
    print_diagnostics,
    rejected,
    table,
)
from strangler.cli.overrides import mention
from strangler.config import ConfigRejected, Route, load
from strangler.config.inline import run_tests, target_name
from strangler.config.reference import json_schema, markdown

# What the proxy serves on with and only warns of, but a change should not pass with.
_FATAL_HERE = frozenset({"S306"})


def add_commands(commands: Any) -> None:
    """Add check, routes and schema."""
    one = commands.add_parser(
        "check",
        help="say everything that is wrong with routes.yaml",
        description="Validate routes.yaml and what it includes, run the tests beside the routes, "
        "and fail for routes past their `until`. Exit 0: fine, 1: errors, 2: no such file.",
    )
    add_config(one)
    one.set_defaults(run=run_check)

    one = commands.add_parser(
        "routes",
        help="list the routes",
        description="List every route: key, target, stage, owner, last day, place.",
    )
    add_config(one)
    one.set_defaults(run=run_routes)

    one = commands.add_parser(
        "schema",
        help="print the JSON Schema of routes.yaml",
        description="Print the JSON Schema (draft 2020-12) of routes.yaml, for editors and CI.",
    )
    form = one.add_mutually_exclusive_group()
    form.add_argument("--included", action="store_true", help="of a file that routes.yaml includes")
    form.add_argument("--markdown", action="store_true", help="print the reference page instead")
    one.set_defaults(run=run_schema)


def run_check(given: argparse.Namespace) -> int:
    """Check a configuration; return 0, 1 for errors, 2 for an unreadable file."""
    try:
        snapshot = load(given.config)
    except ConfigRejected as error:
        # Warnings that are errors here are errors also beside others.
        found = [
            replace(d, severity="error") if d.code in _FATAL_HERE else d for d in error.diagnostics
        ]
        return rejected(given.config, found, as_json=given.json)
    found = [
        replace(d, severity="error") if d.code in _FATAL_HERE else d for d in snapshot.warnings
    ]
    tests = sum(len(route.tests) for route in snapshot.routes)
    found += run_tests(snapshot)
    if any(d.severity == "error" for d in found):
        return rejected(given.config, found, as_json=given.json)
    if given.json:
        answer(
            {
                "warnings": [d.json() for d in found],
                "files": list(snapshot.files),
                "hash": snapshot.hash,
                "routes": len(snapshot.routes),
                "upstreams": len(snapshot.upstreams),
                "tests": tests,
            }
        )
        return 0
    print_diagnostics(found, given.config)
    parts = [
        count(len(snapshot.routes), "route"),
        count(len(snapshot.upstreams), "upstream"),
        count(tests, "test"),
    ]
    for severity in ("warning", "note"):
        if told := sum(d.severity == severity for d in found):
            parts.append(count(told, severity))
    print(f"{given.config}: ok, {', '.join(parts)}")
    return 0


def describe(route: Route) -> dict[str, object]:
    """Return what a list of routes says of one."""
    return {
        "key": route.key,
        "target": target_name(route),
        "stage": str(route.stage) if route.action == "proxy" else "",
        "owner": route.owner,
        "until": route.until.isoformat() if route.until else None,
        "place": str(route.place),
    }


def run_routes(given: argparse.Namespace) -> int:
    """List the routes in the order of the files."""
    snapshot = load_or_say(given)
    if isinstance(snapshot, int):
        return snapshot
    rows = [describe(route) for route in snapshot.routes]
    if given.json:
        answer({"routes": rows})
        return 0
    heads = ("key", "target", "stage", "owner", "until", "place")
    print(table([heads, *([str(row[name] or "-") for name in heads] for row in rows)]))
    mention(given.config, lambda subject: subject.startswith("route:"))
    return 0


def run_schema(given: argparse.Namespace) -> int:
    """Print the schema, as JSON Schema or as the reference page."""
    if given.markdown:
        sys.stdout.write(markdown())
    else:
        json.dump(json_schema(included=given.included), sys.stdout, indent=2)
        sys.stdout.write("\n")
    return 0
