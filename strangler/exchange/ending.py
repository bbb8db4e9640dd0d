# SPDX-License-Identifier: Apache-2.0
"""How an exchange ends: counted once, and told in one line.

These are `Exchange`'s methods, kept apart because all ends meet here, good or bad.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from strangler.exchange import falling
from strangler.exchange.counting import Arm
from strangler.exchange.fetching import traced
from strangler.observe.kept import Bad, masked
from strangler.wire.head import written

if TYPE_CHECKING:
    from strangler.exchange.exchange import Exchange

_CLIENTS: Final = frozenset(("client_aborted", "http_request_error"))
#: Why a target was not asked at all: nobody has failed.
_SPARED: Final = frozenset(("breaker", "drained", "stale_only", "archive_only"))
#: Errors that end a wait for an answer.
_WAITED: Final = frozenset(
    (
        *("client_aborted", "connection_timeout", "dns_timeout", "http_response_incomplete"),
        "http_response_timeout",
    )
)


def log_end(exchange: Exchange, error: str) -> None:
    """Count and log the end of an exchange whose route is known; *error*: a word, or empty."""
    falling.meter(exchange)
    log(
        exchange,
        exchange._plan.key,
        exchange._upstream.name,
        falling.reason(exchange),
        error,
        exchange._arm,
    )


def start(exchange: Exchange, duration: float, error: str) -> float:
    """Return the seconds until the head of a fetched answer, or until it was given up.

    0 where nothing was waited for.
    """
    return exchange._first_byte or (duration if error in _WAITED else 0.0)


def _keep(exchange: Exchange, route: str, target: str, reason: str, error: str) -> None:
    """Keep a bad request for who looks into it: one that hurt its reader, or that a side failed.

    Not what a client did, nor what a breaker or an operator's order spared the side.
    """
    failure = exchange._failure
    if error == "destination_unavailable" and not exchange._attempts:
        return
    if not error:
        first = exchange._first_error
        error = first.error if first is not None else f"status {failure or exchange._status}"
        if isinstance(failure, int):
            if failure < 500 and exchange._status < 500:
                return
        elif failure in _SPARED:
            return
    kept = exchange._edge.kept
    if not kept.wants(route, exchange._status):
        return
    kept.keep(
        Bad(
            time=exchange._time, id=exchange.id, client=exchange.client, route=route,
            target=target, reason=reason, endpoint=exchange._endpoint, status=exchange._status,
            error=error, received=exchange._received,
            **masked(written(exchange._head), exchange.body_begun, exchange.bad_answer),
        )
    )  # fmt: skip


def _ordered(exchange: Exchange) -> bool:
    """Tell whether an operator has kept the target from answering: by a fault, or a drain."""
    if exchange._plan.detour == "fault":
        return True
    first = exchange._first_error
    drained = first is not None and first.word == "drained"
    return drained and exchange._failure in ("", "drained")


def log(
    exchange: Exchange, route: str, target: str, reason: str, error: str, arm: Arm | None = None
) -> None:
    """Forget an exchange that has ended, count it for *arm*, and log its one line."""
    head = exchange._head
    edge = exchange._edge
    edge.exchanges.discard(exchange)
    if exchange._tunnel:
        edge.tunnels -= 1
    if exchange._waits_total is not None:
        exchange._waits_total.end(exchange)
    if exchange._timer is not None:
        exchange._timer.cancel()
    duration = time.monotonic() - exchange._began
    if arm is not None:
        unlike = exchange._plan.special or exchange._first_error is not None
        arm.ended(
            exchange._status, duration=duration, start=exchange._start(duration, error),
            sent=exchange._sent, received=exchange._received, error=error, rung=exchange._rung,
            failure=exchange._failure, ordered=unlike and _ordered(exchange),
        )  # fmt: skip
    if exchange.trace is not None:
        traced.ended(exchange, exchange.trace, route, target, reason, error)
    if (error and error not in _CLIENTS) or exchange._status >= 500 or exchange._rung is not None:
        _keep(exchange, route, target, reason, error)
    edge.log(
        (exchange._time, exchange.client, exchange.id, head.method, head.host, head.rest,
         exchange._status, exchange._sent, exchange._received, duration, exchange._first_byte,
         route, target, reason, exchange._endpoint, exchange._attempts, exchange._cache_word(),
         error, exchange._why)
    )  # fmt: skip
