# SPDX-License-Identifier: Apache-2.0
"""What all tests share: which files are tests, and the fixtures of the scenarios' kit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from strangler.testing import Certificate, Edge, Scenario, Upstream, certificate, configuration


def pytest_configure(config: pytest.Config) -> None:
    """Collect scenarios too: a letter for the theme, a number, what it is about."""
    pattern = "[a-z][0-9][0-9][0-9]_*.py"
    if pattern not in config.getini("python_files"):
        config.addinivalue_line("python_files", pattern)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one process, and all stories in one: they are told side by side.

    For pytest-xdist's ``--dist loadgroup``; nothing else looks at the mark.
    """
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        group = "stories" if "story" in parameters else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


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
