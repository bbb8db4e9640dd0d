# SPDX-License-Identifier: Apache-2.0
"""One fault under load: when it began, was noticed and was over, and which figures held."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from chaos.load import Load, Record, percentile

from strangler.testing import Edge, until


@dataclass(frozen=True, slots=True)
class Figure:
    """What was seen, and the bound that it is held to."""

    what: str
    seen: str
    bound: str
    holds: bool


@dataclass(slots=True)
class Outcome:
    """What one fault came to; times in seconds, `before` and `during` in ms of the 99th percentile.

    error: why the trial itself could not be made, else empty.
    """

    name: str
    title: str
    requests: int = 0
    failed: int = 0
    before: float = 0.0
    during: float = 0.0
    noticed: float | None = None
    recovered: float | None = None
    figures: list[Figure] = field(default_factory=list)
    error: str = ""

    @property
    def holds(self) -> bool:
        return not self.error and bool(self.figures) and all(one.holds for one in self.figures)


class Trial:
    """What a fault has in its hands.

    site: whatever its stage has set up; edge, load: the running ones; slack: by what bounds of
    time are multiplied, on a machine that does other things meanwhile. Bounds of counts never are.
    """

    def __init__(self, outcome: Outcome, site: Any, edge: Edge, load: Load, slack: float) -> None:
        self.outcome = outcome
        self.site = site
        self.edge = edge
        self.load = load
        self.slack = slack
        self.started = self.began = self.mended = time.monotonic()
        self._lines = len(edge.lines)

    # -- the course of it

    @contextlib.contextmanager
    def trouble(self) -> Iterator[None]:
        """Mark what is inside as the time of the fault."""
        self._lines = len(self.edge.lines)
        self.began = time.monotonic()
        yield
        self.mended = time.monotonic()

    def go_on(self, seconds: float) -> None:
        """Let the readers ask for *seconds*."""
        self.load.go_on(seconds)

    def noticed(self, pattern: str, bound: float) -> float:
        """Wait for the line that says that the edge has noticed; return when that was."""
        self.edge.wait_log(pattern, after=self._lines, timeout=bound * self.slack + 5.0)
        now = time.monotonic()
        self.outcome.noticed = now - self.began
        self.seconds("noticed", now - self.began, bound)
        return now

    def recovered(self, bound: float, *groups: str) -> None:
        """Wait until a second has passed in which the service itself answered *groups*."""
        calm = 1.0

        def last() -> float:
            return max(
                (one.due for one in self.load.between(self.mended, time.monotonic(), *groups)
                 if one.fallback or one.problem),
                default=self.mended,
            )  # fmt: skip

        self.load.until(
            lambda: (
                time.monotonic() > last() + calm
                and len(self.load.between(last(), time.monotonic(), *groups)) > 5
            ),
            bound * self.slack + 10.0,
            "the service answers again",
        )
        self.outcome.recovered = last() - self.mended
        self.seconds("recovered", last() - self.mended, bound)

    def wait(self, true: Callable[[], bool], timeout: float, what: str) -> None:
        until(true, timeout=timeout * self.slack, what=what)

    # -- figures

    def figure(self, what: str, seen: Any, bound: str, holds: bool) -> None:
        """Note a figure; *holds* is the judgement."""
        self.outcome.figures.append(Figure(what, str(seen), bound, holds))

    def seconds(self, what: str, seen: float, bound: float) -> None:
        """Note a time that may be at most *bound* seconds."""
        self.figure(what, f"{seen:.2f} s", f"<= {bound:g} s", seen <= bound * self.slack)

    def none_failed(self, *groups: str, what: str = "failed requests") -> None:
        """Note that every request so far was answered, whole and right."""
        bad = [one for one in self.load.between(self.started, time.monotonic(), *groups)
               if one.problem]  # fmt: skip
        shown = f"{len(bad)}: {bad[0].problem}" if bad else "0"
        self.figure(what, shown, "0", not bad)

    def none_wrong(self, *groups: str) -> None:
        """Note that no answer looked whole and was not: what failed was seen to be cut."""
        bad = [one for one in self.load.between(self.started, time.monotonic(), *groups)
               if one.problem and not one.problem.startswith("cut")]  # fmt: skip
        shown = f"{len(bad)}: {bad[0].problem}" if bad else "0"
        self.figure("broken answers that look whole", shown, "0", not bad)

    def enough(self, least: int, *groups: str) -> None:
        """Note that there were requests enough while the fault lasted to mean anything."""
        count = len(self.load.between(self.began, self.mended, *groups))
        self.figure("requests while it lasted", count, f">= {least}", count >= least)

    def p99_within(self, records: Sequence[Record], bound: float, what: str) -> None:
        """Note that *records* took at most *bound* ms in 99 % of cases."""
        seen = percentile(records, 0.99)
        self.figure(what, f"{seen:.0f} ms", f"<= {bound:.0f} ms", seen <= bound * self.slack)

    def as_legacy(self, ours: Sequence[Record], legacy: Sequence[Record]) -> None:
        """Note that *ours* took as long as *legacy*'s own readers at the same time, and 2 ms."""
        for share, name in ((0.5, "median"), (0.95, "p95"), (0.99, "p99")):
            self.beyond(legacy, ours, share, name, 2.0)

    def beyond(
        self,
        legacy: Sequence[Record],
        ours: Sequence[Record],
        share: float,
        name: str,
        bound: float,
    ) -> None:
        """Note by how much *ours* took longer than *legacy* in *share* (0-1) of cases.

        The bound, in ms, is broken where the confidence interval of that lies above it.
        """
        took, theirs = percentile(ours, share), percentile(legacy, share)
        least, most = difference(ours, legacy, share)
        shown = f"{took:.1f} - {theirs:.1f} = {took - theirs:+.1f} ms"
        shown += f" (95 %: {least:+.1f} to {most:+.1f})"
        holds = least <= bound * self.slack
        self.figure(f"{name}, less legacy's", shown, f"<= {bound:g} ms", holds)


BLOCK = 0.5
"""Seconds that are drawn together: what slows the machine down lasts a while, and slows both."""


def difference(
    ours: Sequence[Record], theirs: Sequence[Record], share: float, draws: int = 1000
) -> tuple[float, float]:
    """Return between which bounds the difference of two percentiles lies in 95 % of cases, in ms.

    A bootstrap over the blocks of time in which both groups asked, side by side. Infinite where
    there is nothing to draw from.
    """
    blocks: dict[int, tuple[list[Record], list[Record]]] = {}
    for side, records in enumerate((ours, theirs)):
        for one in records:
            blocks.setdefault(int(one.due / BLOCK), ([], []))[side].append(one)
    if not ours or not theirs:
        return inf, inf
    chance, every = random.Random(len(ours)), list(blocks.values())
    found = []
    for _ in range(draws):
        drawn = chance.choices(every, k=len(every))
        one, other = ([record for block in drawn for record in block[side]] for side in (0, 1))
        if one and other:
            found.append(percentile(one, share) - percentile(other, share))
    found.sort()
    return found[int(len(found) * 0.025)], found[int(len(found) * 0.975)]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the edge holds when nobody asks: bytes of its largest process, and sockets."""

    memory: int
    sockets: int

    @classmethod
    def of(cls, edge: Edge) -> Footprint:
        return cls(edge.rss(), edge.sockets())


def back(
    outcome: Outcome, edge: Edge, before: Footprint, memory: int, pools: int, timeout: float
) -> None:
    """Wait until *edge* holds no more sockets than *before*; note that, and its memory.

    memory: MiB that the largest process may have grown by; pools: sockets that it may hold more.
    """
    most = before.sockets + pools
    # Until all of them are back, not just as many as may stay: else what is still closing would
    # be part of what the next trial begins with, and the bound would creep.
    with contextlib.suppress(AssertionError):
        until(lambda: edge.sockets() <= before.sockets, timeout=timeout)
    now = Footprint.of(edge)
    outcome.figures.append(
        Figure("sockets", f"{now.sockets} (before: {before.sockets})",
               f"<= {most}" if pools else "as before", now.sockets <= most)
    )  # fmt: skip
    grown = (now.memory - before.memory) / 2**20
    outcome.figures.append(
        Figure("memory", f"{grown:+.1f} MiB", f"<= +{memory} MiB", grown <= memory)
    )
