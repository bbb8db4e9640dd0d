# SPDX-License-Identifier: Apache-2.0
"""The stage of most faults: Django on SQLite, materia, an edge with the tiers built in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cache

from chaos.fault import Fault
from chaos.load import Group
from chaos.scripted import Scripted
from chaos.site import Backends, edge, ordinary

from strangler.testing import Edge


class Shared:
    """Backends that several stages play on; made by the first, ended by `close`."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._backends: Backends | None = None

    def backends(self) -> Backends:
        """Return the running Django and materia."""
        if self._backends is None:
            self._backends = self._stack.enter_context(Backends())
        return self._backends

    def close(self) -> None:
        """Stop them."""
        self._backends = None
        self._stack.close()


@cache
def shared() -> Shared:
    """Return the one of this process."""
    return Shared()


class Plain:
    """An edge before Django, materia and one scripted service."""

    def __init__(self, backends: Backends, made: Edge, scripted: Scripted) -> None:
        self.backends, self.edge, self.scripted = backends, made, scripted

    def mend(self) -> None:
        self.backends.mend()
        self.scripted.well()

    def groups(self, fault: Fault) -> Sequence[Group]:
        """Return the steady load, and who else the fault wants."""
        return ordinary(self.backends, *fault.readers)


@contextlib.contextmanager
def plain() -> Iterator[Plain]:
    """Yield the stage."""
    backends = shared().backends()
    with Scripted(backends.content) as scripted:
        text = backends.routes(scripted={"scripted": scripted.url})
        with edge(text) as made:
            yield Plain(backends, made, scripted)


class Patient:
    """An edge whose breakers hold as they do where nothing else is said, and two kinds of readers.

    Half are legacy's anyway, half are materia's, with legacy as their ladder: so one can be held
    against the other.
    """

    RATE = 30.0

    def __init__(self, backends: Backends, made: Edge) -> None:
        self.backends, self.edge = backends, made

    def mend(self) -> None:
        self.backends.mend()

    def groups(self, fault: Fault) -> Sequence[Group]:
        return [self.backends.group(name, self.RATE) for name in ("uncached", "legacy")]


def patient() -> contextlib.AbstractContextManager[Patient]:
    """Yield the stage."""
    return _patient()


def often() -> contextlib.AbstractContextManager[Patient]:
    """Yield the same with a breaker that holds for a second, so that it may open many times."""
    return _patient(retry_in="1s..1s")


@contextlib.contextmanager
def _patient(**breaker: str) -> Iterator[Patient]:
    backends = shared().backends()
    said = {"window": "5s", "min_requests": 10, **breaker}
    with edge(backends.routes(breaker=said)) as made:
        yield Patient(backends, made)
