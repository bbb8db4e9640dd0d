# SPDX-License-Identifier: Apache-2.0
"""What all tests share: which files are tests, and the fixtures of the scenarios' kit."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from strangler.testing import Certificate, Edge, Scenario, Upstream, certificate, configuration

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Collect scenarios too: a letter for the theme, a number, what it is about."""
    # A shell starts what it puts into the background deaf to Ctrl-C, and so would be every command
    # that a test starts and ends that way: it waited for one of them for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pattern = "[a-z][0-9][0-9][0-9]_*.py"
    if pattern not in config.getini("python_files"):
        config.addinivalue_line("python_files", pattern)


class _ByFile(LoadFileScheduling):
    """Keep a file's tests in one process, and all stories in one: they are told side by side."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "stories" if _has_stories(file) else file


@cache
def _has_stories(file: str) -> bool:
    path = ROOT / file
    return path.parent.name == "scenarios" and "(story, told)" in path.read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    """Share the tests out to xdist's processes (-n), whatever --dist says."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def site_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a certificate for www.example.com, localhost and 127.0.0.1."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    return certificate(folder, "www.example.com", "localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    """Return an origin that answers 200 and records, one for the module's tests."""
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream) -> Iterator[Edge]:
    """Return an edge with everything going to *origin*, one for the module's tests.

    A module that wants another configuration overrides this fixture.
    """
    text = configuration(upstreams={"legacy": origin}, limits={"drain": "1s"})
    with Edge(text) as made:
        yield made


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scenario]:
    """Return a scenario named after the test, for tests that bring up everything themselves."""
    with Scenario(request.node.name) as made:
        yield made


@pytest.fixture
def running() -> Iterator[Callable[[Edge], Edge]]:
    """Return a function that stops an edge when the test ends."""
    with ExitStack() as stack:
        yield stack.enter_context
