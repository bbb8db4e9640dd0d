# SPDX-License-Identifier: Apache-2.0
"""What a store of overrides is: one document, compared before it is replaced."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from strangler.rollout import Malformed, Overrides

RECENT: Final = 20
"""Changes that the document carries along, so that every audit log has all of them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The document.

    epoch: made with the first one; numbers of two epochs can't be compared · recent: the last
    changes as the audit log has them, each with the `version` that it led to.
    """

    epoch: str
    overrides: Overrides
    recent: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def first(cls) -> Kept:
        """Return an empty one of an epoch of its own."""
        return cls(secrets.token_hex(8), Overrides())

    @property
    def number(self) -> tuple[str, int]:
        """Return what a change is compared by."""
        return self.epoch, self.overrides.version

    def after(self, overrides: Overrides, entries: Sequence[Mapping[str, Any]]) -> Kept:
        """Return the next one; *entries* tell the changes that led to it."""
        told = [{**entry, "version": overrides.version} for entry in entries]
        return replace(self, overrides=overrides, recent=(*self.recent, *told)[-RECENT:])

    def newer_than(self, other: Kept) -> bool:
        """Tell whether this one follows *other*, or began after it."""
        return self.epoch != other.epoch or self.overrides.version > other.overrides.version

    def json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"epoch": self.epoch, **self.overrides.json(), "recent": list(self.recent)}

    @classmethod
    def parse(cls, told: object) -> Kept:
        """Read what `json` wrote. Raises Malformed."""
        if not isinstance(told, Mapping) or not isinstance(told.get("epoch"), str):
            raise Malformed("a record of overrides", repr(told)[:200])
        recent = told.get("recent", ())
        if not isinstance(recent, list) or not all(isinstance(one, dict) for one in recent):
            raise Malformed("recent: a list of changes", repr(recent)[:200])
        return cls(told["epoch"], Overrides.parse(told), tuple(recent))


class Unrecorded(Exception):
    """The store can't be reached or written to; the text says why. Nothing has changed."""


class Moved(Exception):
    """Somebody else has changed the document; `kept` is what is there now."""

    def __init__(self, kept: Kept) -> None:
        super().__init__(f"it is number {kept.overrides.version} by now")
        self.kept = kept


class Store(Protocol):
    """One document and those who follow it."""

    kind: str
    """`file` or `redis`."""
    name: str
    """Where it is, without a password; two stores have two names."""
    trouble: str
    """Why it can't be reached at present; empty while it can."""

    async def start(self, heard: Callable[[Kept | None], None]) -> None:
        """Begin to follow it: *heard* is called with what is there, and at each change.

        None: nothing is there, where something was before.
        """

    async def write(self, kept: Kept, before: Kept | None) -> None:
        """Put *kept* in the place of *before* (None: of nothing); raise Moved or Unrecorded.

        Where it raises Unrecorded, *kept* is not there, as far as can be known.
        """

    async def beat(self, name: str, told: Mapping[str, Any]) -> None:
        """Leave word that the instance *name* is there. Raises Unrecorded."""

    async def instances(self) -> list[dict[str, Any]]:
        """Return what the instances have left word of, each with its `name` and `at`.

        Raises Unrecorded.
        """

    async def close(self) -> None:
        """Stop following."""
