# SPDX-License-Identifier: Apache-2.0
"""docs/cli.md beside the parser: every verb is there, and every example can be typed."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from strangler.cli import parser

ROOT = Path(__file__).resolve().parents[3]
ROWS = re.findall(
    r"^\| `([\w-]+)` \| (.+?) \| `(.+)` \|$", (ROOT / "docs" / "cli.md").read_text(), re.M
)


def verbs() -> list[str]:
    [commands] = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return sorted(commands.choices)


def test_every_verb_has_one_row() -> None:
    assert sorted(verb for verb, _, _ in ROWS) == verbs()


@pytest.mark.parametrize(("verb", "does", "example"), ROWS, ids=[row[0] for row in ROWS])
def test_an_example_is_what_the_parser_takes(verb: str, does: str, example: str) -> None:
    program, *words = shlex.split(example)
    assert (program, words[0]) == ("strangler", verb)
    assert callable(parser().parse_args(words).run)
    assert len(does) < 100
