# SPDX-License-Identifier: Apache-2.0
"""What a route or an upstream says about failure: the words of routes.yaml, as values.

These are definitions only; the state machines that act on them live beside this module.
Durations are seconds, shares are fractions 0-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FailureWord = Literal["connect", "timeout", "incomplete", "breaker", "busy"]
"""connect: no connection (refused, unreachable, no address, connect timeout, TLS) · timeout: no
first byte in time · incomplete: the connection broke before a whole head · breaker: the breaker
is open · busy: the bulkhead and its queue are full."""

FAILURE_WORDS: Final[tuple[FailureWord, ...]] = (
    "connect",
    "timeout",
    "incomplete",
    "breaker",
    "busy",
)


@dataclass(frozen=True, slots=True)
class Failures:
    """A set of failures: words and upstream statuses."""

    words: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()

    def __contains__(self, failure: object) -> bool:
        """Tell whether a word or a status code is in the set."""
        return failure in self.words or failure in self.statuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full jitter: wait uniform(0, min(cap, base * 2**n)) seconds before attempt n."""

    base: float = 0.05
    cap: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """Start a second attempt after a fixed time, or after a percentile of recent latency."""

    after: float | None = None
    percentile: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When an attempt may be followed by another.

    tries: attempts after the first, 0-10 · methods: upper-case; unless named the safe ones
    (RFC 9110 §9.2.1), but for TRACE, which the edge passes on to nobody · budget: the share of an
    upstream's attempts that may be retries · idempotency_key: lower-case name of the field whose
    presence makes any method safe to repeat.
    """

    tries: int = 1
    when: Failures = Failures(frozenset({"connect"}))
    methods: frozenset[bytes] = frozenset({b"GET", b"HEAD", b"OPTIONS"})
    budget: float = 0.20
    backoff: Backoff = Backoff()
    idempotency_key: bytes | None = None
    hedge: Hedge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When an upstream is left alone.

    errors: share of failed attempts that opens it · window: seconds looked at · min_requests:
    attempts in the window before the share counts · retry_in: shortest and longest hold ·
    slow: attempts slower than this count as failed (None: never) · probes: attempts let through
    at once when half-open.
    """

    errors: float = 0.50
    window: float = 10.0
    min_requests: int = 20
    retry_in: tuple[float, float] = (5.0, 300.0)
    slow: float | None = None
    probes: int = 1


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a fallback ladder.

    kind: what answers · name: the upstream's name or the page's file, else empty.
    """

    kind: Literal["stale", "legacy", "archive", "upstream", "page"]
    name: str = ""

    def __str__(self) -> str:
        if self.kind == "page":
            return f"page:{self.name}"
        return self.name or self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What answers instead, in order, when the decided target failed in one of these ways.

    writes: also for requests that are not safe to repeat, even if something was sent.
    """

    when: Failures = Failures(frozenset(FAILURE_WORDS), frozenset({502, 503, 504}))
    then: tuple[Rung, ...] = (Rung("legacy"),)
    writes: bool = False
