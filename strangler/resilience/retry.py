# SPDX-License-Identifier: Apache-2.0
"""May this failure be followed by another attempt, when, and why not?

RFC 9110 §9.2.2: a proxy must not repeat a request of a method that isn't idempotent. What may be
repeated is named by the route (`methods`), or by the request itself with the idempotency key that
the route declares; a request of which nothing was sent was not made yet, so any method may go to
an endpoint again. Nothing is repeated once the reader has a byte of an answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from .budget import Budget
from .policy import Backoff, Retry

Reason = Literal[
    "retry",
    "hedge",
    "fault",
    "elsewhere",
    "not_listed",
    "answer_begun",
    "tries_used",
    "not_repeatable",
    "replay_over_cap",
    "retry_after",
    "deadline",
    "budget",
]
"""retry: again, after the wait · hedge: beside the first, which was slow · elsewhere: at once, at
an endpoint not tried yet, since this one could not be connected to · not_listed: the failure is
not in `when` · answer_begun: the reader has bytes · tries_used · not_repeatable: the method, and
no key · replay_over_cap: the body has outgrown the replay buffer · retry_after: the upstream asks
for more patience than there is · deadline: nothing would be left of it · budget: spent · fault: an
operator's order harmed it (`chaos`)."""

#: Seconds of the deadline below which another attempt is not worth beginning.
WORTHWHILE: Final = 0.005

_SECONDS: Final = re.compile(rb"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether there is another attempt, why (not), and after how many seconds."""

    again: bool
    reason: Reason
    wait: float = 0.0


_ELSEWHERE: Final = Decision(True, "elsewhere")
_NO: Final[dict[Reason, Decision]] = {
    reason: Decision(False, reason)
    for reason in (
        "not_listed",
        "answer_begun",
        "tries_used",
        "not_repeatable",
        "replay_over_cap",
        "retry_after",
        "deadline",
        "budget",
    )
}  # fmt: skip


def repeatable(policy: Retry, method: bytes, *, keyed: bool) -> bool:
    """Tell whether a request of which something was sent may be made twice.

    *keyed*: it carries the field that the route names as its idempotency key.
    """
    return method in policy.methods or (keyed and policy.idempotency_key is not None)


def backoff(policy: Backoff, retry: int, chance: float) -> float:
    """Return the seconds to wait before the *retry*-th retry (from 0), with full jitter.

    uniform(0, min(cap, base * 2**retry)); *chance* is the random number, 0 <= chance < 1. There
    is jitter at the cap too, so that clients who failed together don't come back together.
    """
    # 2.0**60 is beyond any cap, and far from overflowing.
    return chance * min(policy.cap, policy.base * 2.0 ** min(retry, 60))


def decide(
    policy: Retry,
    failure: str | int,
    *,
    method: bytes,
    keyed: bool,
    sent: bool,
    begun: bool,
    replayable: bool,
    retries: int,
    elsewhere: bool,
    left: float,
    budget: Budget,
    now: float,
    chance: float,
    retry_after: float | None = None,
) -> Decision:
    """Decide about another attempt after *failure* (a word or a status); takes from *budget*.

    Args:
        sent: a byte of the request may have reached the endpoint.
        begun: a byte of an answer has gone to the reader.
        replayable: the request body so far is at hand whole (or there is none).
        retries: attempts after the first that were made, those `elsewhere` not counted.
        elsewhere: another endpoint has not been tried yet.
        left: seconds until the exchange's deadline; infinite without one.
        chance: a random number, 0 <= chance < 1.
        retry_after: seconds that the answer asked for (RFC 9110 §10.2.3), if it did.

    An endpoint that could not be connected to costs neither a try nor budget while there is
    another: no request has been made. `retry: none` (no tries) doesn't forbid that.
    """
    if begun:
        return _NO["answer_begun"]
    if not replayable:
        return _NO["replay_over_cap"]
    if failure == "connect" and not sent and elsewhere:
        return _ELSEWHERE if left > WORTHWHILE else _NO["deadline"]
    if failure not in policy.when:
        return _NO["not_listed"]
    if retries >= policy.tries:
        return _NO["tries_used"]
    if sent and not repeatable(policy, method, keyed=keyed):
        return _NO["not_repeatable"]
    wait = backoff(policy.backoff, retries, chance)
    if retry_after is not None and retry_after > wait:
        if retry_after > policy.backoff.cap:
            return _NO["retry_after"]
        wait = retry_after
    if wait + WORTHWHILE > left:
        return _NO["deadline"]
    if not budget.take(policy.budget, now):
        return _NO["budget"]
    return Decision(True, "retry", wait)


def parse_retry_after(value: bytes | None, wall: float) -> float | None:
    """Return the seconds >= 0 that a Retry-After field asks for (RFC 9110 §10.2.3).

    A whole number of seconds, or an HTTP date, taken from *wall* (seconds since the epoch); one
    in the past is 0. Absent or malformed: None.
    """
    if value is None:
        return None
    if _SECONDS.fullmatch(value) is not None:
        return float(value)
    try:
        when = parsedate_to_datetime(value.decode("ascii"))
        # A date with no zone, as asctime's form has none, is in UTC (RFC 9110 §5.6.7).
        aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        return max(0.0, aware.timestamp() - wall)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
