# SPDX-License-Identifier: Apache-2.0
"""Heads and tables in few words."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from strangler.routing import Conditions, Rule, Table, compile_table, parse_key


@dataclass(frozen=True)
class StubHead:
    """A head with the members that routing asks for and no checks, so that odd bytes get in."""

    path: bytes = b"/"
    method: bytes = b"GET"
    host: bytes = b""
    query: bytes = b""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    cookies: dict[bytes, bytes] = field(default_factory=dict)

    def get(self, name: bytes) -> bytes | None:
        return self.fields.get(name)

    def cookie(self, name: bytes) -> bytes | None:
        return self.cookies.get(name)


@pytest.fixture
def head() -> type[StubHead]:
    return StubHead


@pytest.fixture
def table():
    """Make a table whose values are its keys."""

    def make(*keys: str) -> Table[str]:
        return compile_table(Rule(parse_key(key), Conditions(), key) for key in keys)

    return make
