# SPDX-License-Identifier: Apache-2.0
"""Pytest fixtures, one server a test session; name one as a parameter and it is started.

A test that stops, kills or pauses its server starts one of its own: ``with Redis() as server``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers.mariadb import MariaDB
from servers.mongod import Mongod
from servers.redis import Redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    with MariaDB() as server:
        yield server


@pytest.fixture(scope="session")
def mongod_server() -> Iterator[Mongod]:
    with Mongod() as server:
        yield server
