# SPDX-License-Identifier: Apache-2.0
"""An exchange's way down its route's ladder, when its decided target has failed.

These are `Exchange`'s methods, kept apart because they are one story: what failed is dropped
whole, the next rung of `resilience.ladder` is asked, and where none is left the reader gets what
somebody did answer, or an error that says why nobody else was asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from strangler.errors import AttemptFailed
from strangler.exchange import answer as own
from strangler.resilience import ladder
from strangler.resilience.policy import Rung
from strangler.resilience.retry import WORTHWHILE
from strangler.rollout.asset import ABSENT
from strangler.wire.head import written

_READING: Final = frozenset((b"GET", b"HEAD"))

if TYPE_CHECKING:
    from strangler.exchange.exchange import Exchange
    from strangler.exchange.fetching.contract import Answer


def fall(
    exchange: Exchange,
    failure: int | str,
    error: AttemptFailed | None = None,
    *,
    answer: Answer | None = None,
) -> bool:
    """Take the next rung of the route's ladder; False: there is none for this failure.

    What failed is dropped whole: not a field of it reaches the reader. An *answer* that came
    whole is kept, and given after all where no rung has a better one.
    """
    plan = exchange._plan
    if error is not None and error.seen:
        exchange.bad_answer = error.seen
    elif answer is not None and answer[0].status >= 500:
        exchange.bad_answer = written(answer[0])
    first = exchange._failure or failure
    decided = plan.service if exchange._decision.target == "service" else plan.legacy
    policy = plan.ladder(first, exchange._head, decided)
    if policy is None or (answer is not None and failure not in policy.when):
        return False
    fetch = exchange._fetch
    replay: bytes | None = b""
    if fetch is not None:
        exchange._was_sent = exchange._was_sent or fetch.sent
        replay = fetch.replay
    step = ladder.descend(
        policy,
        first,
        method=exchange._head.method,
        sent=exchange._was_sent,
        begun=bool(exchange._status),
        replayable=replay is not None,
        after=exchange._place,
        out=exchange._useless(),
    )
    exchange._skipped += step.skipped
    exchange._place = max(exchange._place, step.index)
    if step.rung is None:
        return False
    if not exchange._failure:
        exchange._failure, exchange._first_error = failure, error
    if answer is not None and answer[1].ended and exchange._held is None:
        exchange._held = (answer, exchange._upstream, exchange._rung)
    exchange._drop_fetch()
    exchange._rung = step.rung
    exchange._take(step.rung, replay or b"")
    return True


def note_absent(exchange: Exchange) -> None:
    """Remember that the decided target hasn't got this asset, where that is why it fell."""
    failure = exchange._failure
    if failure in ABSENT and isinstance(failure, int) and exchange._head.method in _READING:
        exchange._edge.cache.lacks(_asset_key(exchange), failure)


def fall_where_absent(exchange: Exchange) -> bool:
    """Fall at once where the decided target lately said that it hasn't got this asset."""
    if exchange._head.method not in _READING:
        return False
    status = exchange._edge.cache.lacking(_asset_key(exchange))
    return bool(status) and exchange._fall(status)


def _asset_key(exchange: Exchange) -> bytes:
    """Return by what an asset is remembered that the decided target lacks."""
    head = exchange._head
    return b"%b\n%b%b" % (exchange._decision.target.encode(), head.authority, head.rest)


def useless(exchange: Exchange) -> Mapping[str, str]:
    """Return the rungs that are known to be of no use, and why."""
    plan = exchange._plan
    late = exchange._deadline.left(time.monotonic()) <= WORTHWHILE
    out = {"stale": "nothing_stored", "archive": "nothing_stored"}
    for rung, upstream in plan.rungs.items():
        if upstream is exchange._upstream:
            out[str(rung)] = "failed"
        elif late:
            out[str(rung)] = "deadline"
    return out


def _field(exchange: Exchange, rung: Rung) -> tuple[bytes, bytes]:
    return ladder.FIELD, ladder.field_value(rung, exchange._failure)


def line(exchange: Exchange) -> bytes:
    """Return the line that says which rung answers and why, behind its CRLF; else nothing."""
    if exchange._rung is None:
        return b""
    return b"\r\n%b: %b" % _field(exchange, exchange._rung)


def give_up(exchange: Exchange, error: AttemptFailed) -> None:
    """Answer an error, or what somebody answered whole before all rungs had failed."""
    exchange._drop_fetch()
    if exchange._held is not None:
        # Nobody could do better: an answer that came whole is the answer (pain 16: a proxy
        # must not put its own error in an application's place).
        (head, body, payload), exchange._upstream, exchange._rung = exchange._held
        exchange._held = None
        exchange._place = 1 << 30
        exchange.response_started(head, body, payload)
        return
    exchange._rung = None
    error = exchange._first_error = exchange._first_error or error
    if exchange._connection.reading_body:
        exchange._connection.keep_alive = False
    status = own.proxy_status(exchange._edge.name, error.error, _not_again(exchange))
    fields: own.Fields = ((b"Proxy-Status", status),)
    if error.status == 503:
        fields += ((b"Retry-After", b"5"),)
    exchange._answer_error(error.status, "", fields)
    exchange._log_end(error.error)


def _not_again(exchange: Exchange) -> str:
    """Say why there was no other attempt, and no other answer: `retry=budget legacy=sent`."""
    said = [f"retry={exchange._why}"] if exchange._why else []
    said += [f"{rung.partition(':')[0]}={why}" for rung, why in exchange._skipped]
    return " ".join(said)


def take(exchange: Exchange, rung: Rung, replay: bytes) -> None:
    """Let *rung*, a page or another target, answer."""
    if rung.kind == "page":
        _show_page(exchange, rung)
        return
    exchange._upstream = exchange._plan.rungs[rung]
    exchange.kind = "fallback"
    exchange._edge.rescued += 1
    exchange._ask_rung(replay)


def reason(exchange: Exchange) -> str:
    """Return the word of the decision, or of the rung that answered in its stead."""
    rung = exchange._rung
    if rung is None:
        return exchange._decision.reason
    return "fallback:" + ladder.field_value(rung, exchange._failure).decode()


def meter(exchange: Exchange) -> None:
    """Count whether a live route's answer was legacy's; end what its copy needs of it."""
    if exchange.shadow is not None:
        exchange.shadow.ended(exchange)
    meter = exchange._plan.meter
    if meter is None or not exchange._status:
        return
    if exchange._rung is not None and exchange._rung.kind == "legacy":
        meter.rescued(time.monotonic())
    else:
        meter.answers += 1


def _show_page(exchange: Exchange, rung: Rung) -> None:
    """Let a page of the route's own answer, under the status of what failed."""
    error = exchange._first_error
    if error is not None:
        status = error.status
    else:
        status = exchange._failure if isinstance(exchange._failure, int) else 503
    fields: own.Fields = ((b"Cache-Control", b"no-store"), _field(exchange, rung))
    exchange._write_whole(status, exchange._plan.pages[rung], fields=fields)
    exchange._log_end(error.error if error is not None else "")
