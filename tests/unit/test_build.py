# SPDX-License-Identifier: Apache-2.0
"""Which build runs: compiled modules, or the sources where these are others or somebody says so."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import strangler

ROOT = Path(__file__).resolve().parents[2]
ASK = (
    "import strangler, strangler.clock as c; print(strangler.BUILD, c.__file__.rpartition('.')[2])"
)

VERSION = "from strangler.cli import main; main(['--version'])"


def listed() -> list[str]:
    """Return the files that setup.py has compiled."""
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "COMPILED":
            return ast.literal_eval(statement.value)
    raise AssertionError("setup.py: expected COMPILED")


def ask(folder: Path, build: str = "compiled", code: str = ASK) -> str:
    """Return which build a Python runs that finds the package in *folder*, and by what file."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "STRANGLER_BUILD": build},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package as it is here, compiled modules and all."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "strangler", tmp_path / "strangler", ignore=ignored)
    return tmp_path


def test_these_tests_run_what_was_compiled() -> None:
    """`make test` compiles first; where that can't be, this says so instead of passing."""
    assert strangler.BUILD == "compiled", "not compiled: see build/compile.log"
    for file in listed():
        module = import_module(file.removesuffix(".py").replace("/", "."))
        assert module.__file__ and module.__file__.endswith(".so"), file


def test_no_constant_is_a_tuple_that_begins_with_a_number() -> None:
    """mypyc takes such a one for unset, at the first look that a function has at it."""
    found = []
    for file in listed():
        for statement in ast.parse((ROOT / file).read_text()).body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Tuple):
                first = statement.value.elts[0] if statement.value.elts else None
                if isinstance(first, ast.Constant) and isinstance(first.value, int | float):
                    found.append(f"{file}: {ast.unparse(statement)}")
    assert found == []


def test_an_edited_source_is_never_shadowed(package: Path) -> None:
    assert ask(package) == "compiled so"
    edited = package / "strangler" / "rollout" / "stage.py"  # its constants are in what is compiled
    text = edited.read_text()
    edited.write_text(text + "\n")
    assert ask(package) == "outdated py"
    assert ask(package, code=VERSION).endswith("from its sources: what is compiled here is older")
    edited.write_text(text)
    assert ask(package) == "compiled so"
    assert ask(package, code=VERSION).endswith(", compiled")


def test_a_file_more_or_less_is_an_edit_too(package: Path) -> None:
    more = package / "strangler" / "more.py"
    more.touch()
    assert ask(package) == "outdated py"
    more.unlink()
    assert ask(package) == "compiled so"


def test_what_another_python_has_compiled_is_not_taken_for_ours(package: Path) -> None:
    other = "from importlib import machinery as m; m.EXTENSION_SUFFIXES[0] = '.other.so'; "
    assert ask(package, code=other + ASK) == "outdated py"


def test_modules_without_their_stamp_are_not_believed(package: Path) -> None:
    (package / "strangler" / strangler.STAMP.name).unlink()
    assert ask(package) == "sources py"


def test_the_sources_run_where_somebody_says_so(package: Path) -> None:
    assert ask(package, "sources") == "sources py"


def test_a_build_leaves_nothing_of_one_before(package: Path) -> None:
    """A module that is no longer compiled would be loaded, and find others than it was made for."""
    suffix = EXTENSION_SUFFIXES[0]
    gone = package / "strangler" / "wire" / f"gone{suffix}"
    gone.touch()
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, package)
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=package,
        env={**os.environ, "STRANGLER_COMPILE": "0"},
        check=True,
        timeout=60,
    )
    assert list(package.glob(f"strangler/**/*{suffix}")) == []
    assert ask(package) == "sources py"


def test_another_word_is_refused(package: Path) -> None:
    assert ask(package, "fast") == (
        "ValueError: STRANGLER_BUILD: expected compiled or sources, got 'fast'"
    )


def test_what_needs_the_sources_is_run_on_them() -> None:
    """A test so marked is left out of the run of what is compiled, and must be in the other."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        places = [ROOT / place for place in import_module("run_tests").SOURCES]
    finally:
        sys.path.pop(0)
    assert [place for place in places if not place.exists()] == []
    marked = [
        file
        for file in (ROOT / "tests").rglob("*.py")
        if "pytest.mark.sources" in file.read_text() and file != Path(__file__)
    ]
    assert marked
    for file in marked:
        assert any(file.is_relative_to(place) for place in places), file
