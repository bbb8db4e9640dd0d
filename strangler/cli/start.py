# SPDX-License-Identifier: Apache-2.0
"""`strangler init`: a first routes.yaml, with which everything stays as it is."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

from strangler.cli.output import complain
from strangler.config.kinds import Rejected
from strangler.config.values import Url

_FIRST = """\
version: 1
upstreams:
  legacy: {legacy}
routes:
  /**: legacy                # everything, as before
  # /feed.xml: feed          # then route by route: add an upstream, name it here
"""


def add_commands(commands: Any) -> None:
    """Add init."""
    one = commands.add_parser(
        "init",
        help="write a first routes.yaml that sends everything to the monolith",
        description="Write a routes.yaml of six lines that sends everything to the monolith. "
        "A file that exists is never overwritten.",
    )
    one.add_argument(
        "--legacy",
        required=True,
        metavar="URL",
        help="where the monolith answers, for example http://127.0.0.1:8100",
    )
    one.add_argument("--config", default="routes.yaml", metavar="FILE", help="default: routes.yaml")
    one.set_defaults(run=run_init)


def run_init(given: argparse.Namespace) -> int:
    """Write the file and its folder; return 1 if it exists or can't be written, 2 for a bad URL."""
    try:
        Url().parse(given.legacy, True)
    except Rejected as refused:
        complain(f"--legacy: expected {refused.expected}, got {given.legacy}", hint=refused.hint)
        return 2
    file = Path(given.config)
    try:
        with contextlib.suppress(FileExistsError):  # a file, say: opening it tells better
            file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(_FIRST.replace("{legacy}", json.dumps(given.legacy)))
    except FileExistsError:
        complain(f"{given.config} exists and was left as it is", hint="name another with --config")
        return 1
    except OSError as error:
        complain(f"cannot write {given.config}: {(error.strerror or str(error)).lower()}")
        return 1
    print(f"wrote {given.config}; next: strangler serve --config {given.config}")
    return 0
