# SPDX-License-Identifier: Apache-2.0
"""What routing needs of a request's head, and no more."""

from __future__ import annotations

from typing import Protocol


class Head(Protocol):
    """The part of a request head that a route can be chosen by."""

    @property
    def method(self) -> bytes:
        """The method, as received."""

    @property
    def host(self) -> bytes:
        """The host, in lower case and without its port; empty if there was none."""

    @property
    def path(self) -> bytes:
        """The path's raw bytes, from its first `/` and without the query, or `*`."""

    @property
    def query(self) -> bytes:
        """The query's raw bytes, without `?`; empty if there was none."""

    def get(self, name: bytes, /) -> bytes | None:
        """The first value of the field `name` (lower case)."""

    def cookie(self, name: bytes, /) -> bytes | None:
        """The value of the cookie `name`."""
