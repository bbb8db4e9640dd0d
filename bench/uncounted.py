# SPDX-License-Identifier: Apache-2.0
"""A copy of the edge whose hits are neither counted nor logged, to measure what that costs.

No option takes the counters off, so what counts and what logs is cut out of the method that answers
a hit. The copy is compiled where the edge that it is measured beside is.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import strangler

ROOT = Path(__file__).resolve().parent.parent
_PACKAGING = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
_OBSERVING = re.compile(r"\bhits\b")
_STATEMENTS = 3
"""How many a hit has: how often its copy was one, where lines of the log go, and this one's."""


def copy(folder: Path) -> None:
    """Make in *folder* the package and what it is compiled by, without what observes a hit.

    Raises:
        CalledProcessError: it doesn't compile.
        RuntimeError: a hit isn't answered as it was when this was written.
    """
    ignored = shutil.ignore_patterns("*.so", "__pycache__", strangler.STAMP.name)
    shutil.copytree(ROOT / "strangler", folder / "strangler", ignore=ignored)
    for name in _PACKAGING:
        shutil.copy(ROOT / name, folder)
    known = folder / "strangler" / "exchange" / "caching" / "known.py"
    known.write_text(without_observing(known.read_text()))
    if strangler.BUILD == "compiled":
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        environment = {**os.environ, "STRANGLER_COMPILE": "1"}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def without_observing(source: str) -> str:
    """Return the module in *source* with a `Known.answer` that doesn't observe."""
    module = ast.parse(source)
    methods = [
        method
        for known in module.body
        if isinstance(known, ast.ClassDef) and known.name == "Known"
        for method in known.body
        if isinstance(method, ast.FunctionDef) and method.name == "answer"
    ]
    (answer,) = methods
    rest = [one for one in answer.body if not _OBSERVING.search(ast.unparse(one))]
    if len(answer.body) - len(rest) != _STATEMENTS:
        raise RuntimeError(f"expected {_STATEMENTS} statements that observe a hit")
    answer.body = rest
    return ast.unparse(module)
