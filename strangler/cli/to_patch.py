# SPDX-License-Identifier: Apache-2.0
"""`strangler toggle --to-patch`: make what an operator chose for the night the file's own word."""

from __future__ import annotations

import argparse

from strangler.cli.output import answer, ask, complain, count, load_or_say
from strangler.config.patch import Patch, Unpatchable, patch, write
from strangler.rollout import Overrides, Stage


def to_patch(given: argparse.Namespace) -> int:
    """Print the edit that gives routes.yaml the stages in force; with ``--write`` make it.

    Exit 1: nothing to write, or the file can't carry it.
    """
    if given.value:
        complain("a TARGET is not for --to-patch: it writes what is in force")
        return 2
    status, told = ask(given, "/-/overrides")
    if not told.get("ok"):
        if status:
            complain(str(told.get("error")))
        return 2
    stages = Overrides.parse(told).stages(given.route or "")
    if not stages:
        where = "any route" if given.route is None else given.route
        return _refuse(given, f"no stage of {where} is overridden now: nothing to write")
    snapshot = load_or_say(given)
    if isinstance(snapshot, int):
        return snapshot
    try:
        patches, _ = patch(snapshot, stages)
        if given.write:
            write(patches, snapshot.root)
    except Unpatchable as why:
        return _refuse(given, str(why))
    except OSError as problem:
        return _refuse(given, f"{problem.filename}: {problem.strerror}")
    _tell(given, patches, stages)
    return 0


def _tell(given: argparse.Namespace, patches: list[Patch], stages: dict[str, Stage]) -> None:
    diff = "".join(one.diff() for one in patches)
    if given.json:
        words = {key: str(stage) for key, stage in stages.items()}
        answer({"stages": words, "patch": diff, "written": given.write})
        return
    print(diff, end="")
    if not patches:
        complain("routes.yaml says the same already")
    elif given.write:
        complain(
            f"wrote {count(len(patches), 'file')}: the site reads it within a second",
            hint="the override wins until it ends; take it back with strangler undo",
        )


def _refuse(given: argparse.Namespace, message: str) -> int:
    if given.json:
        answer({}, [{"message": message}])
    else:
        complain(message)
    return 1
