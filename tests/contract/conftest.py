# SPDX-License-Identifier: Apache-2.0
"""The stores that the contract is tested against, one server of each for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.sites import STORES, Servers, Site, servers

from strangler.testing import certificate


@pytest.fixture(scope="session")
def store_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("certificates")
    yield from servers(lambda: certificate(folder, "localhost", "127.0.0.1"))


@pytest.fixture(params=STORES)
def site(request: pytest.FixtureRequest, store_servers: Servers, tmp_path: Path) -> Site:
    """Return each kind of store in turn, empty."""
    return Site(request.param, store_servers.url(request.param, tmp_path))
