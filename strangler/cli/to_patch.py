# SPDX-License-Identifier: Apache-2.0
"""`strangler toggle --to-patch`: make what an operator chose for the night the file's own word."""

from __future__ import annotations

import argparse

from strangler.cli.output import answer, ask, complain, count, load_or_say
from strangler.config.for_good import ForGood, for_good
from strangler.config.patch import Unpatchable, write
from strangler.rollout import Overrides


def to_patch(given: argparse.Namespace) -> int:
    """Print the edit that has routes.yaml say what is in force; with ``--write`` make it.

    What can be written is; what can't is named on standard error, with why. Exit 1: nothing to
    write, or the file can't carry a stage or a priority.
    """
    if given.value:
        complain("a TARGET is not for --to-patch: it writes what is in force")
        return 2
    status, told = ask(given, "/-/overrides")
    if not told.get("ok"):
        if status:
            complain(str(told.get("error")))
        return 2
    snapshot = load_or_say(given)
    if isinstance(snapshot, int):
        return snapshot
    found = for_good(snapshot, Overrides.parse(told), given.route)
    if not found.words and not found.left_out:
        what = "nothing" if given.route is None else f"nothing of {given.route}"
        return _refuse(given, f"{what} is overridden now: nothing to write")
    try:
        if given.write:
            write(found.patches, snapshot.root)
    except Unpatchable as why:
        return _refuse(given, str(why))
    except OSError as problem:
        return _refuse(given, f"{problem.filename}: {problem.strerror}")
    _tell(given, found)
    return 0 if found.words and not any(one.odd for one in found.left_out) else 1


def _tell(given: argparse.Namespace, found: ForGood) -> None:
    if given.json:
        answer({**found.json(), "written": given.write})
        return
    print(found.diff, end="")
    for one in found.left_out:
        complain(f"left out: {one}")
    if not found.words:
        complain("nothing to write")
    elif not found.patches:
        complain("routes.yaml says the same already")
    elif given.write:
        complain(
            f"wrote {count(len(found.patches), 'file')}: the site reads it within a second",
            hint="the override wins until it ends; take it back with strangler undo",
        )


def _refuse(given: argparse.Namespace, message: str) -> int:
    if given.json:
        answer({}, [{"message": message}])
    else:
        complain(message)
    return 1
