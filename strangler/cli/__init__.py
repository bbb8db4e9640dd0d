# SPDX-License-Identifier: Apache-2.0
"""The command `strangler`: `main` parses the arguments, each module here is a group of commands.

Exit codes: 0 done, 1 the answer is no (a configuration with errors, a request that no route
takes), 2 the command cannot be carried out as it was typed. Answers go to standard output, what
went wrong to standard error; with `--json` everything is one JSON object on standard output, with
`ok` and `errors`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

import strangler
from strangler.cli import (
    audit,
    cache,
    check,
    explain,
    overrides,
    parity,
    purge,
    rollout,
    serving,
    start,
    watching,
)

_BUILDS: Final = {
    "compiled": "compiled",
    "sources": "run from its sources",
    "outdated": "run from its sources: what is compiled here is older",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        given = parser().parse_args(arguments)
        return int(given.run(given))
    except BrokenPipeError:
        # Who reads the answer has seen enough (`| head`); say nothing more, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole = argparse.ArgumentParser(
        prog="strangler",
        description="Replace a Django monolith route by route. routes.yaml says who answers.",
        epilog="Each command has its own --help. A first file: strangler init --legacy URL.",
        allow_abbrev=False,
    )
    build = f"%(prog)s {strangler.__version__}, {_BUILDS[strangler.BUILD]}"
    whole.add_argument("--version", action="version", version=build)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    serving.add_commands(commands)
    start.add_commands(commands)
    check.add_commands(commands)
    explain.add_commands(commands)
    purge.add_commands(commands)
    cache.add_commands(commands)
    parity.add_commands(commands)
    overrides.add_commands(commands)
    audit.add_commands(commands)
    rollout.add_commands(commands)
    watching.add_commands(commands)
    return whole
