# SPDX-License-Identifier: Apache-2.0
"""Compile in this checkout what every request passes through: what ``make compile`` does.

Ends at once where the compiled modules are those of the sources here; ends with 1 where they can't
be made, and why is in build/compile.log. Standard library only.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOG = ROOT / "build" / "compile.log"
BUILD = [sys.executable, "-c", "import strangler; print(strangler.BUILD)"]
MAKE = [sys.executable, "setup.py", "build_ext", "--inplace", "--force", "--parallel", "2"]


def build() -> str:
    """Return which build this checkout runs."""
    asked = {name: value for name, value in os.environ.items() if name != "STRANGLER_BUILD"}
    return subprocess.check_output(BUILD, cwd=ROOT, env=asked, text=True).strip()


def missing() -> str:
    """Return what a compiler of extension modules lacks here; empty: nothing."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"no C compiler: {compiler}"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.exists() else f"no headers of Python: {header}"


def main() -> int:
    if build() == "compiled":
        return 0
    LOG.parent.mkdir(exist_ok=True)
    if lacks := missing():
        LOG.write_text(lacks + "\n")
        return 1
    print("compiling what every request passes through; this takes a minute, once", flush=True)
    with LOG.open("w") as log:
        environment = {**os.environ, "STRANGLER_COMPILE": "1"}
        subprocess.call(MAKE, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    return 0 if build() == "compiled" else 1


if __name__ == "__main__":
    sys.exit(main())
