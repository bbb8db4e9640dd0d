# SPDX-License-Identifier: Apache-2.0
"""Gates: is the service, by what was seen so far, worse than legacy by more than is allowed?

A gate has three verdicts. *pass*: both sides gave the answers that `samples` asks for, and the
service is within the limit. *fail*: they did, and the service is beyond the limit by more than
chance explains. *wait* is everything between: too few answers (however they look), or a limit
passed by so little that the next hundred answers may well take it back. Wait is never pass.

The verdicts are looked at again and again while answers come in, and each look is a new chance to
be unlucky: what counts as clear is `CLEAR` standard errors, not the customary 1.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Final, Literal

from .canary import Gates

Verdict = Literal["pass", "fail", "wait"]
Name = Literal["samples", "errors", "p95"]

CLEAR: Final = 3.0
"""Standard errors beyond which a difference is no chance: once in 740 looks at equal sides."""
_P95: Final = 0.95


@dataclass(frozen=True, slots=True)
class Times:
    """How long answers took: `counts[i]` took at most `edges[i]` seconds and more than the edge
    before; the last count, one more than there are edges, is of those beyond.
    """

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = field(default=(0,))

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("expected one count more than edges")

    @property
    def total(self) -> int:
        """How many were timed."""
        return sum(self.counts)

    def at(self, rank: float) -> float | None:
        """Return about what the answer of *rank* (1 the fastest) took, in seconds.

        Answers are taken to lie evenly in their bucket; of those beyond the last edge nothing
        more is known (infinity). None where there is no such rank.
        """
        if rank > self.total or rank <= 0:
            return None
        below = 0
        for place, count in enumerate(self.counts[:-1]):
            if count and below + count >= rank:
                start = self.edges[place - 1] if place else 0.0
                return start + (self.edges[place] - start) * (rank - below) / count
            below += count
        return inf

    def quantile(self, share: float) -> float | None:
        """Return the quantile *share* (0-1) in seconds; None where nothing was timed."""
        return self.at(max(share * self.total, min(self.total, 1)))

    def bounds(self, share: float, clear: float = CLEAR) -> tuple[float, float]:
        """Return between which seconds the quantile is by more than chance.

        By the ranks around it, whose spread is binomial: whatever the times look like.
        """
        total = self.total
        spread = clear * sqrt(total * share * (1 - share))
        low, high = self.at(share * total - spread), self.at(share * total + spread)
        return 0.0 if low is None else low, inf if high is None else high


@dataclass(frozen=True, slots=True)
class Seen:
    """What one arm did in some time.

    answers: exchanges that it was decided for and that have ended · errors: those that it failed,
    also where the reader was rescued by something else · times: of the answers.
    """

    answers: int = 0
    errors: int = 0
    times: Times = Times()

    @property
    def error_share(self) -> float:
        """Errors for each answer, 0-1; 0 where there were none."""
        return self.errors / self.answers if self.answers else 0.0

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the time taken, in seconds; None where nothing was timed."""
        return self.times.quantile(_P95)

    def __add__(self, other: Seen) -> Seen:
        """Add what another time or another worker saw."""
        return Seen(
            self.answers + other.answers,
            self.errors + other.errors,
            _combined(self.times, other.times, 1),
        )

    def since(self, before: Seen) -> Seen:
        """Return what came after *before*; everything, where the counts began anew since."""
        times = _combined(self.times, before.times, -1)
        answers, errors = self.answers - before.answers, self.errors - before.errors
        if answers < 0 or errors < 0 or min(times.counts) < 0:
            return self
        return Seen(answers, errors, times)


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate as it stands: its limit as written, what was seen in words, and the verdict."""

    name: Name
    limit: str
    seen: str
    verdict: Verdict


def judge(gates: Gates, legacy: Seen, service: Seen) -> tuple[Gate, ...]:
    """Compare the two arms; the gate on samples comes first and is always there."""
    enough = min(legacy.answers, service.answers) >= gates.samples
    seen = f"legacy {legacy.answers}, service {service.answers}"
    judged = [Gate("samples", str(gates.samples), seen, "pass" if enough else "wait")]
    if gates.errors is not None:
        judged.append(_errors(gates.errors, legacy, service, enough=enough))
    if gates.p95 is not None:
        judged.append(_p95(gates.p95, legacy, service, enough=enough))
    return tuple(judged)


def overall(judged: Iterable[Gate]) -> Verdict:
    """Return one verdict: fail if one fails, else wait if one waits. No gate at all: pass."""
    verdicts = {gate.verdict for gate in judged}
    return "fail" if "fail" in verdicts else "wait" if "wait" in verdicts else "pass"


def _errors(limit: float, legacy: Seen, service: Seen, *, enough: bool) -> Gate:
    rise = (service.error_share - legacy.error_share) * 100
    seen = f"{rise:+.2f}pp (legacy {legacy.error_share:.2%}, service {service.error_share:.2%})"
    verdict: Verdict = "wait"
    if enough:
        # Each side is given one failure and one success more (Agresti and Caffo): else a side
        # without a single error would have no spread at all.
        old, new = _smoothed(legacy), _smoothed(service)
        spread = sqrt(sum(p * (1 - p) / n for p, n in (old, new)))
        beyond = new[0] - old[0] - limit / 100
        verdict = "pass" if rise <= limit else "fail" if beyond > CLEAR * spread else "wait"
    return Gate("errors", f"+{limit:g}pp", seen, verdict)


def _smoothed(seen: Seen) -> tuple[float, int]:
    return (seen.errors + 1) / (seen.answers + 2), seen.answers + 2


def _p95(limit: float, legacy: Seen, service: Seen, *, enough: bool) -> Gate:
    said = f"+{limit:g}%"
    old, new = legacy.p95, service.p95
    if old is None or new is None or not 0 < old < inf:
        seen = f"legacy {_shown(old)}, service {_shown(new)}"
        return Gate("p95", said, seen, "wait")
    growth = (new / old - 1) * 100
    seen = f"{growth:+.1f}% (legacy {_shown(old)}, service {_shown(new)})"
    verdict: Verdict = "wait"
    if enough:
        at_least = service.times.bounds(_P95)[0]
        at_most = legacy.times.bounds(_P95)[1] * (1 + limit / 100)
        verdict = "pass" if growth <= limit else "fail" if at_least > at_most else "wait"
    return Gate("p95", said, seen, verdict)


def _shown(seconds: float | None) -> str:
    if seconds is None:
        return "nothing timed"
    return "off the scale" if seconds == inf else f"{seconds * 1000:.3g} ms"


def _combined(one: Times, other: Times, sign: int) -> Times:
    """Add or take away, bucket by bucket; what has no edges yet takes the other's."""
    if one.edges != other.edges:
        if not other.total:
            return one
        if not one.total and sign > 0:
            return other
        if sign < 0:  # another scale: a new release counts anew
            return one
        raise ValueError("times on different scales don't add up")
    pairs: Sequence[tuple[int, int]] = list(zip(one.counts, other.counts, strict=True))
    return Times(one.edges, tuple(a + sign * b for a, b in pairs))
