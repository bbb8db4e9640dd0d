# SPDX-License-Identifier: Apache-2.0
"""The list of faults, and how one is tried."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from chaos.load import Group, Load, percentile
from chaos.trial import Footprint, Outcome, Trial, back
from servers.process import ServerFailed, ServerMissing

from strangler.testing import Edge

WARM = 2.0
"""Seconds of load before a fault: pools are filled, copies lie in the cache."""


class Stage(Protocol):
    """What a set of faults plays on: a running edge, and who asks it."""

    edge: Edge

    def mend(self) -> None:
        """Put everything right, as it may have been left by a trial that broke off."""
        ...

    def groups(self, fault: Fault) -> Sequence[Group]:
        """Return the steady load while *fault* is tried."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `plays` breaks and mends, and notes figures.

    readers: who asks besides the steady load; quick: whether `make test` tries it too;
    memory: MiB by which the edge may be larger after it; pools: sockets that it may hold more;
    replaces: the edge's processes are others after it, so its footprint is not compared.
    """

    name: str
    title: str
    plays: Callable[[Trial], None]
    stage: Callable[[], AbstractContextManager[Any]]
    readers: tuple[str, ...]
    quick: bool
    memory: int
    pools: int
    replaces: bool


FAULTS: dict[str, Fault] = {}


def fault(
    title: str,
    stage: Callable[[], AbstractContextManager[Any]],
    *readers: str,
    quick: bool = False,
    memory: int = 8,
    pools: int = 0,
    replaces: bool = False,
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Put a function on the list, under its own name."""

    def add(plays: Callable[[Trial], None]) -> Callable[[Trial], None]:
        name = plays.__name__.replace("_", "-")
        assert name not in FAULTS, name
        FAULTS[name] = Fault(name, title, plays, stage, readers, quick, memory, pools, replaces)
        return plays

    return add


def attempt(fault: Fault, stage: Any, slack: float = 1.0) -> Outcome:
    """Try *fault* on *stage* and return what came of it; a broken trial is an outcome too."""
    outcome = Outcome(fault.name, fault.title)
    edge: Edge = stage.edge
    stage.mend()
    before = Footprint.of(edge)
    try:
        with Load(edge.port, stage.groups(fault)) as load:
            trial = Trial(outcome, stage, edge, load, slack)
            load.until(lambda: len(load.records) > 20, 20.0, "the readers are there")
            load.go_on(WARM)
            fault.plays(trial)
        records = load.records
        outcome.requests = len(records)
        outcome.failed = sum(bool(one.problem) for one in records)
        outcome.before = percentile(load.between(0.0, trial.began), 0.99)
        outcome.during = percentile(load.between(trial.began, trial.mended), 0.99)
    except (AssertionError, OSError, ServerFailed, ServerMissing) as error:
        outcome.error = f"{type(error).__name__}: {error}"
        return outcome
    if not fault.replaces:
        back(outcome, edge, before, fault.memory, fault.pools, timeout=8.0 * slack)
    return outcome


def now() -> float:
    """Return the instant on the clock that records are stamped by."""
    return time.monotonic()
