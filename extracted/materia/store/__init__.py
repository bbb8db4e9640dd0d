# SPDX-License-Identifier: Apache-2.0
"""The service's own store: the latest event of each article, and how far the log was read.

One interface, two stores: SQLite embedded, MongoDB by URL. Both pass the same contract tests.
"""

from collections.abc import Iterable
from typing import Protocol

from ..event import Event


class StoreFailed(Exception):
    """The store did not answer, or refused; the message says why."""


class Store(Protocol):
    """Where events rest. Each method raises StoreFailed when the store can't do it."""

    async def get(self, slug: str) -> Event | None:
        """Return the latest event of the article, a removal too; None if it was never seen."""
        ...

    async def apply(self, events: Iterable[Event]) -> int:
        """Keep each event that is newer, by seq, than the kept one of its slug.

        Return how many were kept. Applying again, or out of order, ends in the same state.
        """
        ...

    async def head(self) -> int:
        """Return the highest seq kept; 0 in an empty store."""
        ...

    async def mark(self) -> int:
        """Return the seq up to which the log is known to be here without a gap; 0 at first."""
        ...

    async def advance(self, mark: int) -> None:
        """Move the mark to `mark`; it never goes back."""
        ...

    async def count(self) -> int:
        """Return how many articles can be read (removed ones aside)."""
        ...

    async def clear(self) -> None:
        """Forget everything, the mark too."""
        ...

    async def close(self) -> None:
        """Let go of files and connections; the store is not to be used again."""
        ...


async def open_store(url: str) -> Store:
    """Open the store at `url`: `sqlite:PATH`, `mongodb://…` or `mongodb+srv://…`.

    Raise StoreFailed if it can't be opened, ValueError on any other scheme.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        from .sqlite import SqliteStore

        return await SqliteStore.open(rest)
    if scheme in ("mongodb", "mongodb+srv"):
        from .mongo import MongoStore  # pymongo is an extra: only who asks for it needs it

        return await MongoStore.open(url)
    raise ValueError(f"MATERIA_STORE: expected sqlite:PATH or mongodb://…, got {scheme}:…")
