# SPDX-License-Identifier: Apache-2.0
"""docs/operating.md is read at night: its commands exist, and its tables are the code's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from strangler.cli import parser
from strangler.control.tokens import ROLES
from strangler.rollout.override import KINDS, SCOPES, WORDS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "operating.md").read_text()


def commands() -> list[str]:
    lines = re.findall(r"(?m)^strangler .*$", PAGE)
    found = lines + re.findall(r"`(strangler [a-z][^`]*)`", PAGE.replace("\n", " "))
    return [one for one in found if len(one.split()) > 2]


@pytest.mark.parametrize("command", commands())
def test_its_commands_are_taken(command: str) -> None:
    arguments = shlex.split(command.replace("…", "x"))[1:]
    assert parser().parse_args(arguments).run


def test_there_are_ten_faults_with_one_action_each() -> None:
    table = PAGE.partition("| what is wrong | the one action |\n|---|---|\n")[2].partition("\n\n")[
        0
    ]
    assert len(table.splitlines()) == 10
    assert all("`strangler " in row for row in table.splitlines())


def test_its_table_of_kinds_is_the_codes() -> None:
    table = PAGE.partition("| kind | subject | value |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    assert [row[0].strip("`") for row in rows] == list(KINDS)
    for (kind, subjects, values), known in zip(rows, KINDS, strict=True):
        said = {one.partition(":")[0] for one in re.findall(r"`([^`]+)`", subjects)}
        assert said == set(SCOPES[known]), kind
        for word in WORDS.get(known, ()):
            assert f"`{word}`" in values


def test_its_roles_are_the_codes() -> None:
    table = PAGE.partition("| role | may |\n|---|---|\n")[2].partition("\n\n")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == list(ROLES)
