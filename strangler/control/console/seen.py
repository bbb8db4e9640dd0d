# SPDX-License-Identifier: Apache-2.0
"""What a window of the counters says of a route: how many, how many were hurt, how slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from strangler.control.console.words import seconds as lasting
from strangler.control.console.words import share
from strangler.observe.numbers import CLIENTS, ArmNumbers
from strangler.observe.observed import badness

Verdict = Literal["good", "warn", "bad", "unknown", "info"]

FEWEST: Final = 3
"""Failures in a window below which nobody is woken: one reader's bad luck is no incident."""
_FEWEST_SLOW: Final = 30
"""Samples that each arm needs before they are compared."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a route, one of its targets or the whole site fared in a window of *seconds*.

    failed: readers who got a 5xx or a broken answer · unwell: exchanges in which the decided
    target failed, whoever stood in · p50, p95: seconds, None without samples.
    """

    seconds: float
    requests: int = 0
    failed: int = 0
    unwell: int = 0
    stood_in: int = 0
    sent: int = 0
    inflight: int = 0
    p50: float | None = None
    p95: float | None = None
    samples: int = 0
    failures: Mapping[str, int] | None = None

    @classmethod
    def of(cls, numbers: ArmNumbers | None, seconds: float, *, whole: bool = False) -> Seen:
        """Read *numbers*. With *whole*, times are whole exchanges', hits included."""
        if numbers is None:
            return cls(seconds)
        failures = {k: n for k, n in numbers.failures.items() if k not in CLIENTS}
        percentile = numbers.took if whole else numbers.percentile
        return cls(
            seconds,
            requests=numbers.requests,
            failed=numbers.failed,
            unwell=numbers.unwell,
            stood_in=sum(numbers.fallbacks.values()),
            sent=numbers.sent,
            inflight=numbers.inflight,
            p50=percentile(0.5),
            p95=percentile(0.95),
            samples=numbers.samples,
            failures=failures,
        )

    @property
    def rate(self) -> float:
        """Exchanges a second."""
        return self.requests / self.seconds

    @property
    def error_share(self) -> float:
        """The share of readers who were hurt, 0 to 1."""
        return self.failed / self.requests if self.requests else 0.0

    @property
    def unwell_share(self) -> float:
        """The share of exchanges in which the target failed, 0 to 1."""
        return self.unwell / self.requests if self.requests else 0.0

    def json(self) -> dict[str, Any]:
        """Return what a page shows of it."""
        named = sorted((self.failures or {}).items(), key=lambda one: -one[1])
        return {
            "rate": self.rate,
            "error_share": self.error_share if self.requests else None,
            "unwell_share": self.unwell_share if self.requests else None,
            "p50": self.p50,
            "p95": self.p95,
            "samples": self.samples,
            "fallback_rate": self.stood_in / self.seconds,
            "byte_rate": self.sent / self.seconds,
            "inflight": self.inflight,
            "failures": [{"error": name, "count": count} for name, count in named],
        }


@dataclass(frozen=True, slots=True)
class RouteSeen:
    """One route in a window: both of its targets and all together.

    badness: what the worst routes are sorted by, see `observed.badness`.
    """

    all: Seen
    legacy: Seen
    service: Seen
    badness: float

    @classmethod
    def of(cls, arms: Mapping[str, ArmNumbers], seconds: float) -> RouteSeen:
        """Read the arms of one route."""
        every = total(arms.values())
        return cls(
            Seen.of(every, seconds, whole=True),
            Seen.of(arms.get("legacy"), seconds),
            Seen.of(arms.get("service"), seconds),
            0.0 if every is None else badness(every, seconds),
        )

    @property
    def slow(self) -> bool:
        """Tell whether the service is clearly slower than legacy, where both have been seen."""
        ours, theirs = self.service, self.legacy
        if ours.p95 is None or theirs.p95 is None:
            return False
        if min(ours.samples, theirs.samples) < _FEWEST_SLOW:
            return False
        return ours.p95 > 2 * theirs.p95 and ours.p95 > theirs.p95 + 0.2

    def judge(self, service: str) -> tuple[Verdict, str]:
        """Return the verdict and its reason in words; the service is called *service*."""
        all_ = self.all
        told: list[str] = []
        verdict: Verdict = "good" if all_.requests else "unknown"
        if all_.failed >= FEWEST and all_.error_share >= 0.005:
            verdict = "bad" if all_.error_share >= 0.02 else "warn"
            told.append(f"{share(all_.error_share)} fail")
        for name, arm in ((service or "the service", self.service), ("legacy", self.legacy)):
            saved = arm.unwell - arm.failed
            if saved >= FEWEST and saved / arm.requests >= 0.05:
                verdict = "bad" if verdict == "bad" else "warn"
                told.append(f"{share(saved / arm.requests)} of {name} fails, others stand in")
        if self.slow:
            verdict = "bad" if verdict == "bad" else "warn"
            ours, theirs = self.service.p95 or 0.0, self.legacy.p95 or 0.0
            told.append(f"p95 {lasting(ours)}, legacy's is {lasting(theirs)}")
        if told and all_.failures:
            named = max(all_.failures, key=lambda name: (all_.failures or {})[name])
            return verdict, f"{'; '.join(told)}: {named}"
        return verdict, "; ".join(told)


def total(arms: Any) -> ArmNumbers | None:
    """Return the sum of some numbers, None where there are none."""
    summed: ArmNumbers | None = None
    for numbers in arms:
        summed = numbers if summed is None else summed + numbers
    return summed
