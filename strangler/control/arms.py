# SPDX-License-Identifier: Apache-2.0
"""What the two arms of a canary have done since its step began.

The workers' counts only rise, and outlive workers and this process; a step's are what came after
the counts that were noted when it began. When the whole site is started anew its counts begin at
nought: what a step had gathered until then is carried along, so that a restart costs no samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from strangler.observe.counters import COUNTERS, FINE
from strangler.observe.lanes import shortened
from strangler.observe.numbers import ArmNumbers, Arms
from strangler.rollout.gate import Seen, Times

_START: Final = next(one for one in COUNTERS if one.name == "strangler_response_start_seconds")
#: What the cache answers by itself says nothing of the arm behind it.
_STORED: Final = ("edge", "shared", "archive", "stale")
_NONE: Final = Seen()


@dataclass(frozen=True, slots=True)
class Pair:
    """Both arms of a route."""

    legacy: Seen = _NONE
    service: Seen = _NONE

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.legacy + other.legacy, self.service + other.service)

    def since(self, before: Pair) -> Pair:
        """Return what came after *before*."""
        return Pair(self.legacy.since(before.legacy), self.service.since(before.service))

    def json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"legacy": kept(self.legacy), "service": kept(self.service)}

    @classmethod
    def parse(cls, told: Any) -> Pair:
        """Read what `json` wrote. Raises KeyError, TypeError, ValueError."""
        return cls(read(told["legacy"]), read(told["service"]))


def seen_of(numbers: ArmNumbers | None) -> Seen:
    """Return of an arm's counts what gates look at.

    Answers are exchanges that the arm had to see to, whether they were timed or not: one that an
    open breaker refused is an answer that failed.
    """
    if numbers is None:
        return _NONE
    stored = sum(numbers.cache.get(word, 0) for word in _STORED)
    times = Times(FINE, tuple(numbers.places(_START)[: len(FINE) + 1]))
    unwell = numbers.unwell
    return Seen(max(numbers.requests - stored, unwell, 0), unwell, times)


def pair_of(arms: Arms, key: str) -> Pair:
    """Return both arms of the route *key*, since the site began."""
    found = arms.get(shortened(key), {})
    return Pair(seen_of(found.get("legacy")), seen_of(found.get("service")))


class Measured:
    """The counts of each route since its step began.

    *epoch* names this life of the site: counts of two lives can't be compared.
    """

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._base: dict[str, Pair] = {}
        self._carried: dict[str, Pair] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._base

    def begin(self, key: str, arms: Arms) -> None:
        """Measure the route *key* from now on."""
        self._base[key] = pair_of(arms, key)
        self._carried.pop(key, None)

    def forget(self, key: str) -> None:
        """Measure the route *key* no more."""
        self._base.pop(key, None)
        self._carried.pop(key, None)

    def seen(self, key: str, arms: Arms) -> Pair:
        """Return what the arms of the route *key* have done since it began."""
        base = self._base.get(key)
        if base is None:
            return Pair()
        now = pair_of(arms, key).since(base)
        carried = self._carried.get(key)
        return now if carried is None else carried + now

    def json(self, key: str, arms: Arms) -> dict[str, Any]:
        """Return what has to be kept of the route *key*."""
        return {
            "epoch": self._epoch,
            "base": self._base.get(key, Pair()).json(),
            "carried": self._carried.get(key, Pair()).json(),
            "seen": self.seen(key, arms).json(),
        }

    def restore(self, key: str, told: Any) -> None:
        """Go on where `json` was asked. Raises KeyError, TypeError, ValueError."""
        if told["epoch"] == self._epoch:
            base, carried = Pair.parse(told["base"]), Pair.parse(told["carried"])
        else:
            base, carried = Pair(), Pair.parse(told["seen"])
        self._base[key], self._carried[key] = base, carried


def epoch() -> str:
    """Return a name for this life of the site: the supervisor's, which outlives an upgrade."""
    pid = os.getppid()
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            began = file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        began = os.environ.get("STRANGLER_INSTANCE", "")
    return f"{pid}-{began}"


def kept(seen: Seen) -> list[Any]:
    """Return counts as JSON holds them, sparsely: most buckets are empty."""
    buckets = {str(i): count for i, count in enumerate(seen.times.counts) if count}
    return [seen.answers, seen.errors, buckets if seen.times.edges else None]


def read(told: Any) -> Seen:
    """Read what `kept` wrote. Raises TypeError, ValueError."""
    answers, errors, buckets = told
    if buckets is None:
        return Seen(int(answers), int(errors))
    counts = [0] * (len(FINE) + 1)
    for place, count in dict[str, Any](buckets).items():
        counts[int(place)] = int(count)
    return Seen(int(answers), int(errors), Times(FINE, tuple(counts)))


def shown(seen: Seen, recent: ArmNumbers | None, seconds: float) -> Mapping[str, Any]:
    """Return one arm for people: since the step began, and its rate in the last *seconds*."""
    p50, p95 = seen.times.quantile(0.5), seen.p95
    return {
        "answers": seen.answers,
        "errors": seen.errors,
        "error_share": round(seen.error_share, 6),
        "p50_ms": _ms(p50),
        "p95_ms": _ms(p95),
        "per_second": round(recent.requests / seconds, 3) if recent is not None else 0.0,
    }


def _ms(seconds: float | None) -> float | None:
    """Return milliseconds; what is off the scale is its last edge."""
    if seconds is None:
        return None
    return round(min(seconds, FINE[-1]) * 1000, 3)
