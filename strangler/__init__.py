# SPDX-License-Identifier: Apache-2.0
"""Strangler: an edge proxy that replaces a Django monolith route by route.

The modules that every request passes through may lie here compiled, beside their sources; see
`setup.py`. They are used only where they were made from the very sources that are here, so that an
edit is never shadowed by what it was before; else, and where STRANGLER_BUILD is `sources`, Python
runs the sources.
"""

import os
import sys
from hashlib import sha256
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path

__version__ = "0.1.0"

_FOLDER = Path(__file__).resolve().parent
#: Written with compiled modules: the digest of what they were made from.
STAMP = _FOLDER / "compiled.sha256"


def digest() -> str:
    """Return the digest of what compiled modules are made from: all sources, and this Python.

    All, because what one module says is known to the others: its constants, its types.
    """
    whole = sha256(EXTENSION_SUFFIXES[0].encode())
    for source in sorted(_FOLDER.rglob("*.py")):
        content = source.read_bytes()
        whole.update(b"%b %d\n" % (os.fsencode(source.relative_to(_FOLDER)), len(content)))
        whole.update(content)
    return whole.hexdigest()


def _build() -> str:
    """Return which build this process runs: `compiled`, `sources`, or `outdated`: sources, too.

    Raises ValueError for a STRANGLER_BUILD of another word.
    """
    wanted = os.environ.get("STRANGLER_BUILD", "compiled")
    if wanted not in ("compiled", "sources"):
        raise ValueError(f"STRANGLER_BUILD: expected compiled or sources, got {wanted!r}")
    if wanted == "sources" or not STAMP.exists():
        return "sources"
    return "compiled" if STAMP.read_text().strip() == digest() else "outdated"


def _find_sources(path: str) -> FileFinder:
    """Find modules in *path*, a folder of this package, by their sources alone (PEP 302)."""
    if not Path(path).is_relative_to(_FOLDER):
        raise ImportError
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


BUILD = _build()
if BUILD != "compiled":
    sys.path_hooks.insert(0, _find_sources)
