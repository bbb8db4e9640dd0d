# SPDX-License-Identifier: Apache-2.0
"""How commands say things: one style for errors, one shape for JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from strangler.config import ConfigRejected, Diagnostic, Snapshot, load
from strangler.control.client import Client, Unreachable


def add_config(command: argparse.ArgumentParser, *, as_json: bool = True) -> None:
    """Add the options that most commands share."""
    command.add_argument(
        "--config", default="routes.yaml", metavar="FILE", help="default: routes.yaml"
    )
    if as_json:
        command.add_argument("--json", action="store_true", help="answer as one JSON object")


def answer(value: dict[str, Any], errors: Iterable[Any] = ()) -> None:
    """Print the JSON answer: ok, errors, then the members of *value*."""
    listed = list(errors)
    json.dump({"ok": not listed, "errors": listed, **value}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def complain(message: str, *, hint: str | None = None) -> None:
    """Print one error of the command itself."""
    print(f"strangler: {message}", file=sys.stderr)
    if hint:
        print(f"    hint: {hint}", file=sys.stderr)


def folder_of(config: str) -> str:
    """Return what to put before a file's name, so that an editor can open it from here."""
    folder = os.path.dirname(config)
    return os.path.join(folder, "") if folder else ""


def print_diagnostics(diagnostics: Iterable[Diagnostic], config: str) -> None:
    """Print diagnostics to standard error, with the files' names as seen from here."""
    for diagnostic in diagnostics:
        print(diagnostic.text(folder_of(config)), file=sys.stderr)


def count(number: int, noun: str) -> str:
    """Return `1 route`, `2 routes`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def rejected(config: str, diagnostics: Sequence[Diagnostic], *, as_json: bool) -> int:
    """Print why a configuration was rejected; return the exit code."""
    errors = [d for d in diagnostics if d.severity == "error"]
    if as_json:
        warnings = [d.json() for d in diagnostics if d.severity != "error"]
        answer({"warnings": warnings}, [d.json() for d in errors])
    else:
        print_diagnostics(diagnostics, config)
        print(f"{config}: {count(len(errors), 'error')}", file=sys.stderr)
    # A file that cannot be read is a mistake of the command line, not of the configuration.
    unreadable = errors[0].code == "S001" and errors[0].place.file == os.path.basename(config)
    return 2 if unreadable else 1


def load_or_say(given: argparse.Namespace) -> Snapshot | int:
    """Return the snapshot of `--config`, or the exit code after its errors were printed."""
    try:
        return load(given.config)
    except ConfigRejected as error:
        return rejected(given.config, error.diagnostics, as_json=given.json)


def add_admin(command: argparse.ArgumentParser) -> None:
    """Add the options of commands that ask a running site."""
    add_config(command)
    command.add_argument(
        "--admin",
        default="",
        metavar="ADDRESS",
        help="the site's admin listener; default: $STRANGLER_ADMIN, else that of the running site",
    )


def ask(
    given: argparse.Namespace,
    path: str,
    document: dict[str, Any] | None = None,
    query: Mapping[str, Any] | None = None,
) -> tuple[int, dict[str, Any]]:
    """GET *path* from the running site's admin listener, with *query*, or POST *document* to it.

    Return status and document; status 0 where nobody answered, which has been said.
    """
    try:
        client = Client.find(given.config, given.admin)
        if query:
            path += f"?{urlencode(query)}"
        return client.get(path) if document is None else client.post(path, document)
    except Unreachable as problem:
        if given.json:
            answer({}, [{"message": str(problem), "hint": problem.hint}])
        else:
            complain(str(problem), hint=problem.hint)
        return 0, {}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return *rows*, the first of which is the head, in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
