# SPDX-License-Identifier: Apache-2.0
"""Compile the modules that every request passes through, with mypyc.

What the package is stands in setup.cfg. This file adds, where STRANGLER_COMPILE is 1, extension
modules made from the same sources: a request costs them about half of the time in Python.

    STRANGLER_COMPILE=1 python setup.py build_ext --inplace    # in a checkout: `make compile`
    STRANGLER_COMPILE=1 pip install .                          # into an environment

A C compiler and Python's headers are needed. Where compiling fails nothing is lost: the sources
run. `strangler/__init__.py` says which of the two does.
"""

import os
import runpy
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

COMPILED = [
    "strangler/cache/deliver.py",
    "strangler/cache/freshness.py",
    "strangler/cache/key.py",
    "strangler/cache/lookup.py",
    "strangler/cache/plain.py",
    "strangler/cache/record.py",
    "strangler/cache/status_field.py",
    "strangler/cache/steering.py",
    "strangler/cache/storable.py",
    "strangler/cache/stored.py",
    "strangler/cache/tiers/envelope.py",
    "strangler/cache/tiers/memory.py",
    "strangler/cache/vary.py",
    "strangler/clock.py",
    "strangler/edge/http1.py",
    "strangler/exchange/caching/cache.py",
    "strangler/exchange/caching/cached.py",
    "strangler/exchange/caching/copies.py",
    "strangler/exchange/caching/fill.py",
    "strangler/exchange/caching/glance.py",
    "strangler/exchange/caching/known.py",
    "strangler/exchange/caching/nobody.py",
    "strangler/exchange/caching/reader.py",
    "strangler/exchange/caching/ready.py",
    "strangler/exchange/caching/refreshing.py",
    "strangler/exchange/caching/tally.py",
    "strangler/exchange/composing.py",
    "strangler/exchange/counting.py",
    "strangler/exchange/edge.py",
    "strangler/exchange/ending.py",
    "strangler/exchange/exchange.py",
    "strangler/exchange/falling.py",
    "strangler/exchange/fetching/contract.py",
    "strangler/exchange/fetching/fetch.py",
    "strangler/exchange/plan.py",
    "strangler/observe/access.py",
    "strangler/observe/lines.py",
    "strangler/resilience/breaker.py",
    "strangler/resilience/bulkhead.py",
    "strangler/resilience/window.py",
    "strangler/routing/table.py",
    "strangler/upstream/circuit.py",
    "strangler/upstream/connection.py",
    "strangler/upstream/endpoint.py",
    "strangler/upstream/places.py",
    "strangler/upstream/upstream.py",
    "strangler/wire/forward.py",
    "strangler/wire/framing.py",
    "strangler/wire/head.py",
    "strangler/wire/request.py",
]
#: How mypy reads them here: what isn't installed where a wheel is built counts as anything, and
#: `make check` is where types are judged.
READING = ["--config-file=", "--ignore-missing-imports"]
ROOT = Path(__file__).resolve().parent


def extensions() -> list:
    """Return the extension modules, none where they aren't asked for or can't be made yet."""
    if os.environ.get("STRANGLER_COMPILE") != "1":
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:  # pip asks first what is needed to build: `setup_requires`
        return []
    made = mypycify(
        [*READING, *COMPILED], opt_level="1", debug_level="0", group_name="strangler.compiled"
    )
    for extension in made:
        extension.optional = True
        # The warnings are about mypyc's C, and to look for them takes longer than to compile it.
        extension.extra_compile_args.append("-Wno-all")
    return made


class BuildExtensions(build_ext):
    """Builds them all, and stamps them with the digest of their sources, or leaves none."""

    def run(self) -> None:
        folder = ROOT if self.inplace else Path(self.build_lib)
        stamp = folder / "strangler" / "compiled.sha256"
        made = [Path(self.get_ext_fullpath(each.name)) for each in self.extensions]
        # Of a build that fails nothing older is left, nor of what is compiled no longer.
        modules = f"strangler/**/*{EXTENSION_SUFFIXES[0]}"
        for former in (stamp, *folder.glob(modules), *Path(self.build_lib).glob(modules)):
            former.unlink(missing_ok=True)
        super().run()
        if not all(each.exists() for each in made):
            print("strangler: not compiled, its sources will run")
        elif made:
            package = runpy.run_path(str(ROOT / "strangler" / "__init__.py"))
            stamp.write_text(package["digest"]() + "\n")


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildExtensions},
    setup_requires=["mypy>=2.4,<3"] if os.environ.get("STRANGLER_COMPILE") == "1" else [],
)
