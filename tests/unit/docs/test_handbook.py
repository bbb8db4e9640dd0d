# SPDX-License-Identifier: Apache-2.0
"""The handbook is read at 3 am: each incident's action exists, on the page and at the prompt."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from strangler.cli import parser

ROOT = Path(__file__).resolve().parents[3]
STATIC = ROOT / "strangler" / "control" / "console" / "static"
HANDBOOK = (ROOT / "docs" / "handbook.md").read_text()
INCIDENTS = re.findall(r"(?ms)^## (\d+)\. (.+?)\n(.*?)(?=^## )", HANDBOOK)


def test_there_are_ten_incidents() -> None:
    assert [int(number) for number, _, _ in INCIDENTS] == list(range(1, 11))


@pytest.mark.parametrize(("number", "title", "text"), INCIDENTS, ids=lambda value: value[:40])
def test_an_incident_has_one_action_on_either_way(number: str, title: str, text: str) -> None:
    [command] = re.findall(r"(?ms)^```sh\n(.*?)^```$", text)
    program, *arguments = shlex.split(command)
    assert program == "strangler"
    given = parser().parse_args(arguments)
    assert given.run
    assert "reason" not in vars(given) or given.reason
    console = re.search(r"(?m)^- \*\*Console:\*\* (.+?)$", text)
    assert console and "*Looks like:*" in text
    buttons = re.findall(r"\*\*([^*]+?)\*\*", console[1])
    pages = "".join(file.read_text() for file in STATIC.glob("*.js"))
    assert buttons and all(button in pages for button in buttons), buttons


def test_commands_in_the_text_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in set(re.findall(r"`strangler\s([a-z-]+)", HANDBOOK)):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([verb, "--help"])
        assert ended.value.code == 0, verb
    capsys.readouterr()


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs").glob("*.png"))
    assert pictures and all(file.stat().st_size <= 150 << 10 for file in pictures)
