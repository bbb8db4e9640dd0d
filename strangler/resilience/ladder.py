# SPDX-License-Identifier: Apache-2.0
"""What answers instead when the decided target has failed: one rung after the other, downwards.

The failed answer is discarded whole (pain 14). A write goes to another target only if nothing of
it was sent, or its route declares that safe; an upstream's own answer to a write is never
replaced by a page (pain 16). Every answer of a rung says so, in the field `Strangler-Fallback`
and in the log, with the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from .policy import Fallback, Rung

#: The response field that says which rung answered, and why: `legacy;why=connect`.
FIELD: Final = b"Strangler-Fallback"
#: RFC 9110 §9.2.1.
SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE"})

#: Methods that a stored answer can serve (RFC 9111 §2, §4).
_STORED: Final = frozenset({b"GET", b"HEAD"})
_NOTHING_OUT: Final[Mapping[str, str]] = MappingProxyType({})

Reason = Literal["next", "not_listed", "answer_begun", "exhausted"]
"""next: the rung that follows · not_listed: the failure is not in `when` · answer_begun: the
reader has bytes · exhausted: no rung is left, `skipped` says why of each."""
Skip = Literal["method", "sent", "replay_over_cap", "answered"]
"""method: a stored answer is none for it · sent: a write that may have had its effect ·
replay_over_cap: the body is not at hand any more · answered: a write that its upstream answered."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next rung and its place in the ladder, or None and why.

    skipped: the rungs passed over on the way, each with a `Skip` or the word that the caller gave.
    """

    rung: Rung | None
    index: int
    reason: Reason
    skipped: tuple[tuple[str, str], ...] = ()


_BEGUN: Final = Step(None, -1, "answer_begun")
_NOT_LISTED: Final = Step(None, -1, "not_listed")


def descend(
    policy: Fallback,
    failure: str | int,
    *,
    method: bytes,
    sent: bool,
    begun: bool,
    replayable: bool,
    after: int = -1,
    out: Mapping[str, str] = _NOTHING_OUT,
) -> Step:
    """Return the next rung of the ladder after place *after* (-1: from its top).

    Args:
        failure: the failure word or status of the decided target. It stays the reason for all
            rungs of an exchange, whatever went wrong with the first ones.
        sent: a byte of the request may have reached a target.
        begun: a byte of an answer has gone to the reader.
        replayable: the request body so far is at hand whole (or there is none).
        out: rungs, by `str(rung)`, that are known to be of no use, and the word for why: the
            target that has just failed, `legacy_busy`, nothing stored, a breaker.

    Rungs only ever follow each other downwards, so an exchange tries each once at most.
    """
    if begun:
        return _BEGUN
    if failure not in policy.when:
        return _NOT_LISTED
    skipped: list[tuple[str, str]] = []
    for index in range(after + 1, len(policy.then)):
        rung = policy.then[index]
        name = str(rung)
        skip = out.get(name) or _unfit(policy, rung, failure, method, sent, replayable)
        if skip is None:
            return Step(rung, index, "next", tuple(skipped))
        skipped.append((name, skip))
    return Step(None, len(policy.then), "exhausted", tuple(skipped))


def _unfit(
    policy: Fallback, rung: Rung, failure: str | int, method: bytes, sent: bool, replayable: bool
) -> Skip | None:
    """Return why *rung* can't answer this request, or None."""
    if rung.kind in ("stale", "archive"):
        return None if method in _STORED else "method"
    if rung.kind == "page":
        return "answered" if isinstance(failure, int) and method not in SAFE else None
    if not replayable:
        return "replay_over_cap"
    if sent and method not in SAFE and not policy.writes:
        return "sent"
    return None


def field_value(rung: Rung, failure: str | int) -> bytes:
    """Return the value of `FIELD`: a token with a parameter (RFC 9651), `materia-2;why=503`.

    A page's file is left out: it is nobody's business outside.
    """
    name = "page" if rung.kind == "page" else str(rung)
    return f"{name};why={failure}".encode()
