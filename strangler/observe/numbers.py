# SPDX-License-Identifier: Apache-2.0
"""The counts of all workers, added up: totals since the start, and the last seconds and minutes.

`Totals` belongs in the control process. Whoever compares (gates, the console, `top`) asks it for
`ArmNumbers`, by route and target; two of them from different moments subtract to what happened
between.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import add, sub
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from strangler.observe.counters import COARSE, COUNTERS, FINE, LAYOUT, Counter
from strangler.observe.lanes import Name, Reader

_BY_NAME: Final = {one.name: one for one in COUNTERS}
_FIRST: Final = LAYOUT.first
_WORDS: Final = {
    one.name: tuple("/".join(labels.values()) for labels in one.sets())
    for one in COUNTERS
    if one.kind != "histogram"
}
"""By a counter's name: the values of its labels, place by place."""
_STATUS: Final = _FIRST["strangler_requests_total"]
_STATUSES: Final = _BY_NAME["strangler_requests_total"].labels["status"]
_UNWELL: Final = _FIRST["strangler_unwell_requests_total"]
_START: Final = _FIRST["strangler_response_start_seconds"]
_TOOK: Final = _FIRST["strangler_exchange_seconds"]
_SENT: Final = _FIRST["strangler_sent_bytes_total"]
_RECEIVED: Final = _FIRST["strangler_received_bytes_total"]
_INFLIGHT: Final = _FIRST["strangler_inflight_requests"]
_COLLAPSED: Final = _FIRST["strangler_cache_collapsed_total"]
_EMPTY: Final = (0,) * LAYOUT.width

CLIENTS: Final = frozenset({"client_aborted", "http_request_error"})
"""Failures that are a client's doing."""

STEP: Final = 1.0
"""Seconds between two looks of `Totals.tick`."""
_FEW: Final = 10
"""Steps kept one by one; beyond that they are kept by tens."""
LONGEST: Final = 300.0
"""Seconds of the longest window."""


class Row:
    """The numbers of one row, added up over workers; immutable."""

    __slots__ = ("_row",)

    def __init__(self, row: Sequence[int] = _EMPTY) -> None:
        self._row = row

    def __add__(self, other: Self) -> Self:
        return type(self)(list(map(add, self._row, other._row)))

    def __sub__(self, earlier: Self) -> Self:
        """Return what was added since *earlier*; its gauges are meaningless."""
        return type(self)(list(map(sub, self._row, earlier._row)))

    def get(self, name: str, **labels: str) -> int:
        """Return one number of the table, as it lies in memory."""
        return self._row[LAYOUT.place(name, **labels)]

    def places(self, counter: Counter) -> Sequence[int]:
        """Return all numbers of *counter*, in the order of its label sets or bounds."""
        first = _FIRST[counter.name]
        return self._row[first : first + counter.width]

    def by(self, name: str) -> dict[str, int]:
        """Return the numbers of a counter that are not 0, by its labels' values."""
        places = self.places(_BY_NAME[name])
        if not any(places):
            return {}
        return {words: number for words, number in zip(_WORDS[name], places, strict=True) if number}


class ArmNumbers(Row):
    """What one target of one route did.

    An exchange is counted for the target that it was *decided* for, whoever answered in the end,
    so `unwell` tells how that target fared and `fallbacks` who stood in for it.
    """

    __slots__ = ()

    @property
    def requests(self) -> int:
        """Exchanges that ended, whatever became of them."""
        return sum(self._row[_STATUS : _STATUS + len(_STATUSES)])

    @property
    def statuses(self) -> dict[str, int]:
        """Exchanges by status: codes counted apart, `5xx` for others of a class, `none`."""
        found = zip(_STATUSES, self._row[_STATUS : _STATUS + len(_STATUSES)], strict=True)
        return {status: number for status, number in found if number}

    @property
    def classes(self) -> dict[str, int]:
        """Exchanges by class of status: `2xx` … `5xx`, and `none` for those without one."""
        told: dict[str, int] = {}
        for status, number in self.statuses.items():
            word = status if status == "none" else f"{status[0]}xx"
            told[word] = told.get(word, 0) + number
        return told

    @property
    def unwell(self) -> int:
        """Exchanges in which this target failed; see `strangler_unwell_requests_total`."""
        return self._row[_UNWELL]

    @property
    def failed(self) -> int:
        """Exchanges whose reader got a 5xx or a broken answer, whoever gave it.

        A 5xx of the edge's own also has a failure's name; one that an upstream sends has none; an
        answer that breaks off has a name and a good status. The larger of both counts nobody twice.
        """
        named = sum(number for word, number in self.failures.items() if word not in CLIENTS)
        return max(self.classes.get("5xx", 0), named)

    @property
    def errors(self) -> float:
        """The share of unwell exchanges, 0 to 1; 0 where there were none at all."""
        requests = self.requests
        return self.unwell / requests if requests else 0.0

    @property
    def samples(self) -> int:
        """Answers that had to be fetched: as many as `percentile` knows of."""
        return sum(self._row[_START : _START + len(FINE) + 1])

    def percentile(self, share: float) -> float | None:
        """Return the time to the head of a fetched answer that *share* (0 to 1) stayed below.

        Seconds, within 5 %; None without samples. Times beyond the last bound count as it.
        """
        return quantile(self._row[_START : _START + len(FINE) + 1], FINE, share)

    def took(self, share: float) -> float | None:
        """Return how long whole exchanges took, hits included, as `percentile` does; coarse."""
        return quantile(self._row[_TOOK : _TOOK + len(COARSE) + 1], COARSE, share)

    @property
    def mean(self) -> float | None:
        """Mean time to the head of a fetched answer, in seconds; None without samples."""
        samples = self.samples
        return self._row[_START + len(FINE) + 1] / 1e6 / samples if samples else None

    @property
    def sent(self) -> int:
        """Bytes of response bodies."""
        return self._row[_SENT]

    @property
    def received(self) -> int:
        """Bytes of request bodies."""
        return self._row[_RECEIVED]

    @property
    def inflight(self) -> int:
        """Exchanges under way a second ago."""
        return self._row[_INFLIGHT]

    @property
    def failures(self) -> dict[str, int]:
        """Exchanges that ended with an error, by its word."""
        return self.by("strangler_failures_total")

    @property
    def fallbacks(self) -> dict[str, int]:
        """Exchanges that a rung answered, by `rung/why`."""
        return self.by("strangler_fallbacks_total")

    @property
    def cache(self) -> dict[str, int]:
        """Exchanges of a route that caches, by outcome."""
        return self.by("strangler_cache_answers_total")

    @property
    def collapsed(self) -> int:
        """Exchanges that shared the fetch of another."""
        return self._row[_COLLAPSED]


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """Return the value that *share* of the counted stayed below, between two bounds by line.

    *counts* has one more than *bounds*, for what lies above all of them.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = share * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= wanted:
            if index == len(bounds):
                return bounds[-1]
            low = bounds[index - 1] if index else 0.0
            return low + (bounds[index] - low) * max(wanted - below, 0.0) / count
        below += count
    return bounds[-1]


Arms = Mapping[str, Mapping[str, ArmNumbers]]
"""Numbers by route key, then by target: `legacy`, `service`, or `edge` for its own answers."""


class _Sparse(NamedTuple):
    """What was added to a row: places and amounts, packed."""

    places: array[int]
    amounts: array[int]


class _Step(NamedTuple):
    """What was added between two moments."""

    began: float
    ended: float
    rows: dict[Name, _Sparse]


class Totals:
    """All rows added up, and steps of time to make windows from.

    Bounded: what a step keeps is only what changed in it, about 6 bytes a number, and there are at
    most 40 steps.
    """

    def __init__(self, reader: Reader, now: Callable[[], float] = time.monotonic) -> None:
        """Add up what *reader* finds; *now* in seconds."""
        self._reader = reader
        self._now = now
        self._rows: dict[Name, list[int]] = {}
        self._pending: dict[Name, dict[int, int]] = {}
        self._began = now()
        self._fine: deque[_Step] = deque()
        self._coarse: deque[_Step] = deque()
        self._look()
        self._pending.clear()  # what was counted before we came is of no window

    def _look(self) -> None:
        for name, added in self._reader.changes():
            row = self._rows.get(name)
            if row is None:
                row = self._rows[name] = [0] * LAYOUT.width
            pending = self._pending.setdefault(name, {})
            for place, amount in added.items():
                row[place] += amount
                pending[place] = pending.get(place, 0) + amount

    def tick(self) -> None:
        """Close a step. Call every `STEP` seconds."""
        self._look()
        now = self._now()
        self._fine.append(_Step(self._began, now, _packed(self._pending)))
        self._began, self._pending = now, {}
        if len(self._fine) >= 2 * _FEW:
            oldest = [self._fine.popleft() for _ in range(_FEW)]
            rows = _merged([step.rows for step in oldest])
            self._coarse.append(_Step(oldest[0].began, oldest[-1].ended, rows))
        while self._coarse and now - self._coarse[0].ended > LONGEST:
            self._coarse.popleft()

    def rows(self, family: str) -> dict[tuple[str, ...], Row]:
        """Return the totals of a family's rows, by their labels."""
        self._look()
        return {
            name.labels: Row(tuple(row))
            for name, row in self._rows.items()
            if name.family == family
        }

    def numbers(self) -> Arms:
        """Return the totals of all arms since the site began."""
        self._look()
        return _arms((name, row[:]) for name, row in self._rows.items())

    def recent(self, seconds: float) -> Arms:
        """Return what the last *seconds* (up to 300) added to each arm that had anything.

        Whole steps are counted, so it may be up to a tenth more, 10 s beyond 20 s. `inflight` is
        as it is now.
        """
        self._look()
        rows: dict[Name, list[int]] = {}
        for step in self._since(seconds):
            for name, (places, amounts) in step.rows.items():
                row = rows.setdefault(name, [0] * LAYOUT.width)
                for place, amount in zip(places, amounts, strict=True):
                    row[place] += amount
        for name, added in self._pending.items():
            row = rows.setdefault(name, [0] * LAYOUT.width)
            for place, amount in added.items():
                row[place] += amount
        for name, row in rows.items():
            if name.family == "arm":
                row[_INFLIGHT] = self._rows[name][_INFLIGHT]
        return _arms(iter(rows.items()))

    def span(self, seconds: float) -> float:
        """Return how many seconds `recent` really covers: less, shortly after a start."""
        steps = self._since(seconds)
        began = steps[0].began if steps else self._began
        return max(self._now() - began, 1e-3)

    def _since(self, seconds: float) -> list[_Step]:
        since = self._now() - seconds
        return [step for step in (*self._coarse, *self._fine) if step.ended > since]


def _arms(rows: Iterator[tuple[Name, list[int]]]) -> Arms:
    arms: dict[str, dict[str, ArmNumbers]] = {}
    for name, row in rows:
        if name.family == "arm":
            route, target = name.labels
            arms.setdefault(route, {})[target] = ArmNumbers(row)
    return MappingProxyType(arms)


def _packed(step: Mapping[Name, Mapping[int, int]]) -> dict[Name, _Sparse]:
    return {
        name: _Sparse(array("H", added), array("q", added.values())) for name, added in step.items()
    }


def _merged(steps: Sequence[Mapping[Name, _Sparse]]) -> dict[Name, _Sparse]:
    sums: dict[Name, dict[int, int]] = {}
    for step in steps:
        for name, (places, amounts) in step.items():
            row = sums.setdefault(name, {})
            for place, amount in zip(places, amounts, strict=True):
                row[place] = row.get(place, 0) + amount
    return _packed(sums)
