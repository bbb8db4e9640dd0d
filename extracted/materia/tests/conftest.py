# SPDX-License-Identifier: Apache-2.0
"""The stores that the tests run on, each of them real."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from servers.mongod import Mongod

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:  # pytest's own script, unlike `python -m pytest`, leaves it out
    sys.path.insert(0, str(ROOT))


from extracted.materia.store import Store, open_store  # noqa: E402

Opener = Callable[[], Any]


@pytest.fixture(params=["sqlite", "mongodb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, once of each sort."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/materia.sqlite3"
    server: Mongod = request.getfixturevalue("mongod_server")
    server.clear()
    return server.url


@pytest.fixture
def opened(store_url: str) -> Opener:
    """Open the store inside a test's own event loop: `async with opened() as store`."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Store]:
        store = await open_store(store_url)
        try:
            yield store
        finally:
            await store.close()

    return open_one
