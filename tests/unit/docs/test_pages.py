# SPDX-License-Identifier: Apache-2.0
"""The pages keep their promises: links lead somewhere, commands exist, the README stays short."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    prose = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", page.read_text())
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    lost = [
        link for link in links if ":" not in link and not (page.parent / link).resolve().exists()
    ]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    code = "\n".join(re.findall(r"(?ms)^```.*?^```|`[^`\n]*`", page.read_text()))
    named = {word for words in re.findall(r"\bmake((?: [a-z]+)+)", code) for word in words.split()}
    assert named <= targets


def test_the_readme_is_at_most_90_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"(?m)^\.PHONY: (.+)$", makefile)
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True
    )
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.strip()}
    assert listed == set(phony.split())
