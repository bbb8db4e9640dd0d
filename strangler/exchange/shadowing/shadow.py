# SPDX-License-Identifier: Apache-2.0
"""Copies of safe requests to the other side, and the comparison of the two answers.

A `Pair` stands between the reader's fetch and whoever it works for: it hands everything on first
and keeps the answer. When that has ended, and the reader has it, the request goes to the other
side as a fetch without a client. Nothing that a copy does is seen by a reader, counted as an
answer, or held against an endpoint or a breaker that readers depend on; and whatever is short
(places, memory, time) a copy gives way: it is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from strangler.clock import Waits
from strangler.errors import AttemptFailed
from strangler.exchange.fetching.authorized import renews
from strangler.exchange.fetching.contract import Asking
from strangler.exchange.fetching.fetch import Fetch, Terms
from strangler.exchange.fetching.traced import Traced
from strangler.exchange.plan import Plan
from strangler.exchange.shadowing.pair import LARGEST, Gathered, Pair, seen
from strangler.migrate.ledger import Dropped, Ledger, difference_of
from strangler.migrate.parity import Answer, Difference, compare
from strangler.observe.events import announce
from strangler.resilience.failure import is_failure
from strangler.resilience.policy import Breaker, Retry
from strangler.rollout import Decision, bucket, is_shadowed
from strangler.upstream import Circuit, Gate, Places
from strangler.upstream.places import Entrant
from strangler.wire.framing import Body
from strangler.wire.head import ResponseHead

if TYPE_CHECKING:
    from strangler.exchange.edge import Edge
    from strangler.exchange.exchange import Exchange

#: What may be copied: asked twice it has no second effect (RFC 9110 §9.2.1, pain 18).
COPIED: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
#: Copies at a time, copies and comparisons that wait, in a worker.
MOST_RUNNING: Final = 32
MOST_WAITING: Final = 200
#: Bytes of answers held for copies and comparisons, in a worker.
MOST_BYTES: Final = 16 << 20
#: Seconds that a copy may wait for its turn, and take.
MOST_WAIT: Final = 5.0
MOST_TIME: Final = 30.0
#: Comparisons take at most one part in so many of a worker's time.
_PART: Final = 10
#: Seconds in which one sort of mismatch is told of once.
TOLD_EVERY: Final = 60.0

_errors = logging.getLogger("strangler.errors")
_ONCE: Final = Retry(tries=0)


def _nothing() -> None:
    pass


class Spare:
    """An upstream's places as copies meet them: of the half that readers leave free, unqueued."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        self._places = places

    def ask(self, entrant: Entrant) -> str:
        """Return IN or `busy`."""
        bulkhead = self._places.bulkhead
        if bulkhead.waiting or bulkhead.inflight >= max(1, bulkhead.limit // 2):
            return "busy"
        return self._places.ask(entrant)

    def leave(self) -> None:
        """Give a place back."""
        self._places.leave()

    def give_up(self, entrant: Entrant) -> None:
        """Have no queue to leave."""


class _CopyFetch(Fetch):
    """A fetch whose outcome no reader's breaker, endpoint or budget hears of; made once."""

    __slots__ = ()

    def start(self) -> None:
        self.attempts = 1  # the first is what a budget of retries is measured by: not a copy
        super().start()

    def _tries_again(
        self,
        failure: str | int,
        *,
        connecting: bool = False,
        retry_after: float | None = None,
        whole: bool = True,
    ) -> bool:
        self._count(is_failure(failure), time.monotonic())
        return False

    def _went_well(self, whole: bool) -> None:
        self._count(False, time.monotonic(), whole)

    def _broke_off(self) -> None:
        spent, self._spent = self._spent, 0
        if self.terms.circuit is not None:
            self.terms.circuit.broke(spent, time.monotonic())

    def _came_whole(self) -> None:
        spent, self._spent = self._spent, 0
        if self.terms.circuit is not None:
            self.terms.circuit.ended(spent, time.monotonic())

    def _went_badly(self, head: ResponseHead, body: Body, payload: bytes) -> bool:
        if head.status == 401 and renews(self, head, body):
            return True
        self._count(is_failure(head.status), time.monotonic(), body.ended)
        return False

    def _fail(self, error: AttemptFailed) -> None:
        if not self._over:
            self._end()
            self._sink.fetch_failed(error)


class _TracedCopy(Traced, _CopyFetch):
    """The same, in a trace: a span that says that it is a shadow's."""

    __slots__ = ()


class _Copy(Asking):
    """A copy under way: the sink of its fetch."""

    __slots__ = ("_began", "_fetch", "_gathered", "_head", "_over", "_shadows", "pair", "waits")

    def __init__(self, shadows: Shadows, pair: Pair, terms: Terms) -> None:
        self._shadows = shadows
        self.pair = pair
        self._head: ResponseHead | None = None
        self._gathered = Gathered(pair.copying.policy.body)
        self._over = False
        seconds = min(MOST_TIME, pair.plan.total or MOST_TIME)
        self.waits = shadows.waits(seconds)
        self._began = time.monotonic()
        within = pair.plan.within(self._began)
        request = pair.request()
        make = _CopyFetch if request.trace is None else _TracedCopy
        self._fetch: _CopyFetch | None = make(self, pair.other, request, terms, deadline=within)

    def start(self) -> None:
        """Ask the other side."""
        assert self._fetch is not None
        self._fetch.start()

    def expired(self) -> None:
        """Wait no longer."""
        self._stop()
        self._failed("http_response_timeout")

    def cancel(self, why: Dropped) -> None:
        """Give up for the worker's sake."""
        self._stop()
        if self._end():
            self._shadows.drop(self.pair, why)

    # The fetch's sink.

    def interim(self, head: ResponseHead) -> None:
        """Have nobody to tell."""

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        self._head = head
        self.response_body(payload, body)

    def response_body(self, payload: bytes, body: Body) -> None:
        if self._over:
            return
        before = self._gathered.held
        self._gathered.add(payload)
        self._shadows.hold(self._gathered.held - before)
        if self._shadows.full:
            self.cancel("memory")
        elif self._gathered.length > 2 * LARGEST:
            # The reader's was at most half of that: no need to see the end to know they differ.
            self._stop()
            self._answered()
        elif body.ended:
            self._answered()

    def fetch_failed(self, error: AttemptFailed) -> None:
        if error.word == "breaker":
            if self._end():
                self._shadows.drop(self.pair, "breaker")
        elif error.word == "busy" or error.error == "connection_limit_reached":
            if self._end():
                self._shadows.drop(self.pair, "busy")
        else:
            self._failed(error.error)

    def _answered(self) -> None:
        assert self._head is not None
        gathered = self._gathered
        if self._end():
            got = gathered.answer(seen(self.pair, self.pair.other, self._head))
            self._shadows.answered(self.pair, got, time.monotonic() - self._began, gathered.held)

    def _failed(self, error: str) -> None:
        if self._end():
            self._shadows.failed(self.pair, error)

    def _stop(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()

    def _end(self) -> bool:
        """Let go of everything; False: that is done already."""
        if self._over:
            return False
        self._over = True
        self._shadows.hold(-self._gathered.held)
        self._gathered = Gathered(0)
        self._fetch = None
        self._shadows.over(self)
        return True


class Shadows:
    """The copies of one worker. `ledgers`: what became of them, by route; `shed`: the edge is
    short, and makes none.
    """

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.ledgers: dict[str, Ledger] = {}
        self.shed = False
        self._held = 0
        self._waiting: deque[Pair] = deque()
        self._running: set[_Copy] = set()
        self._answers: deque[tuple[Pair, Answer, float, int]] = deque()
        self._comparing = False
        self._thread: ThreadPoolExecutor | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._circuits: dict[str, Circuit] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def sample(self, exchange: Exchange, plan: Plan, decision: Decision) -> None:
        """Let *exchange* be copied, if its request may be and its bucket says so."""
        copying, fields = plan.copying, exchange.head.fields
        if (
            copying is None
            or exchange.head.method not in COPIED
            or fields.length
            or fields.chunked
            or fields.upgrade
            or not is_shadowed(copying.share, bucket(exchange.id.encode(), copying.salt))
        ):
            return
        first, other = plan.legacy, plan.service
        if decision.target == "service":
            first, other = other, first
        assert first is not None and other is not None
        if self.shed:
            ledger = self.ledger(plan.key)
            ledger.shadowed += 1
            ledger.dropped["shed"] += 1
            self._edge.counts.shadow(plan.key, "dropped")
        else:
            exchange.shadow = Pair(self, exchange, plan, first, other)

    def ledger(self, key: str) -> Ledger:
        """Return the counts of the route called *key*."""
        ledger = self.ledgers.get(key)
        if ledger is None:
            ledger = self.ledgers[key] = Ledger(time.time())
        return ledger

    def reset(self, key: str) -> None:
        """Count the route called *key* from now on; what is under way counts where it began."""
        self.ledgers.pop(key, None)

    def status(self) -> dict[str, int]:
        """Return small numbers."""
        return {
            "running": len(self._running),
            "waiting": len(self._waiting) + len(self._answers),
            "held": self._held,
        }

    # What pairs and copies tell.

    def waits(self, seconds: float) -> Waits[_Copy]:
        """Return the queue of copies that may take *seconds*."""
        return self._edge.ticker.waits(seconds, _Copy.expired)

    def hold(self, size: int) -> None:
        """Count *size* bytes more (or less) that are held."""
        self._held += size

    @property
    def full(self) -> bool:
        """Tell whether no more bytes may be held."""
        return self._held > MOST_BYTES

    def drop(self, pair: Pair, why: Dropped) -> None:
        """Count a copy that readers were more important than."""
        pair.ledger.dropped[why] += 1
        self._edge.counts.shadow(pair.plan.key, "dropped")
        pair.release()

    def offer_soon(self, pair: Pair) -> None:
        """Take a pair whose reader is just getting the end of its answer."""
        self._edge.loop.call_soon(self._offer, pair)

    def _offer(self, pair: Pair) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self.drop(pair, "queue_full")
            return
        self._waiting.append(pair)
        self._start()

    def over(self, copy: _Copy) -> None:
        """Learn that *copy* is over."""
        self._running.discard(copy)
        copy.waits.end(copy)
        if self._waiting:
            self._edge.loop.call_soon(self._start)

    def answered(self, pair: Pair, got: Answer, took: float, held: int) -> None:
        """Compare, at once where that costs nothing, else when its turn comes."""
        expected = pair.answer()
        if expected.length == got.length and (expected.body, expected.digest) == (
            got.body, got.digest
        ):  # fmt: skip
            self._judge(pair, _difference(pair, expected, got), took)
        elif len(self._answers) >= MOST_WAITING:
            self.drop(pair, "queue_full")
        else:
            self.hold(held)
            self._answers.append((pair, got, took, held))
            self._compare()

    def failed(self, pair: Pair, error: str) -> None:
        """Count a copy that was not answered; *error* is a type of RFC 9209."""
        pair.ledger.failed[error] += 1
        self._edge.counts.shadow(pair.plan.key, "failed")
        pair.release()
        self._tell("shadow.failed", pair, error, {"upstream": pair.other.name, "error": error})

    # Steps.

    def _start(self) -> None:
        while self._waiting and len(self._running) < MOST_RUNNING:
            pair = self._waiting.popleft()
            why = self._why_not(pair)
            if why is not None:
                self.drop(pair, why)
                continue
            copy = _Copy(self, pair, self._terms(pair))
            self._running.add(copy)
            copy.waits.start(copy)
            copy.start()

    def _why_not(self, pair: Pair) -> Dropped | None:
        now = time.monotonic()
        if self._edge.view.shadows_stopped:
            return "stopped"
        if self.shed:
            return "shed"
        if now - pair.ended_at > MOST_WAIT:
            return "too_old"
        circuit = pair.other.circuit
        return "breaker" if circuit is not None and circuit.left(now) > 0 else None

    def _terms(self, pair: Pair) -> Terms:
        other = pair.other
        terms = pair.plan.terms_for(other, "shadow")
        circuit = self._circuits.get(other.name)
        if circuit is None:
            circuit = Circuit(f"shadow {other.name}", Breaker(), _nothing)
            self._circuits[other.name] = circuit
        gates: tuple[Gate, ...] = tuple(
            [Spare(gate) if isinstance(gate, Places) else gate for gate in terms.gates]
        )
        return Terms(
            limits=terms.limits, replay=0, retry=_ONCE, circuit=circuit, gates=gates, kind="shadow",
            tokens=terms.tokens,
        )  # fmt: skip

    def _compare(self) -> None:
        """Compare what has waited longest, off the loop; then leave time to others."""
        self._pause = None
        if self._comparing or not self._answers:
            return
        self._comparing = True
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "compare")
        pair, got, took, held = self._answers.popleft()
        began = time.monotonic()

        def compared(work: asyncio.Future[Difference | None]) -> None:
            self._comparing = False
            self.hold(-held)
            if work.cancelled() or work.exception() is not None:
                _errors.error("shadow.uncompared", exc_info=work.exception())
                self.failed(pair, "uncompared")
            else:
                self._judge(pair, work.result(), took)
            spent = time.monotonic() - began
            if self._thread is not None:
                later = self._edge.loop.call_later
                self._pause = later((_PART - 1) * min(spent, 0.1), self._compare)

        asked = self._edge.loop.run_in_executor(self._thread, _difference, pair, pair.answer(), got)
        asked.add_done_callback(compared)

    def _judge(self, pair: Pair, difference: Difference | None, took: float) -> None:
        ledger = pair.ledger
        pair.release()
        ledger.compared(pair.took, took)
        outcome = "equal" if difference is None else "mismatch"
        self._edge.counts.shadow(pair.plan.key, outcome, took)
        if difference is None:
            ledger.equal += 1
            return
        head = pair.exchange.head
        mismatch = difference_of(
            difference,
            at=time.time(),
            id_=pair.exchange.id,
            method=head.method,
            target=head.rest,
            fields=head.fields.pairs(),
            answered=pair.first.name,
            copied=pair.other.name,
        )
        ledger.mismatched(mismatch)
        told = {"word": mismatch.word, "target": mismatch.target, "id": mismatch.id}
        told |= {"upstream": pair.other.name, "expected": mismatch.expected, "got": mismatch.got}
        self._tell("shadow.mismatch", pair, mismatch.word, told)

    def _tell(self, event: str, pair: Pair, word: str, fields: dict[str, str]) -> None:
        """Log one of a sort at a time: the first, and after a while how many there were."""
        key = (pair.plan.key, word)
        now = time.monotonic()
        told_at, since = self._told.get(key, (-TOLD_EVERY, 0))
        if now - told_at < TOLD_EVERY:
            self._told[key] = (told_at, since + 1)
            return
        if len(self._told) >= 1000:
            self._told.clear()
        self._told[key] = (now, 0)
        more: dict[str, object] = {"more": since} if since else {}
        announce(event, level=logging.WARNING, route=pair.plan.key, **fields, **more)

    def close(self) -> None:
        """End all copies; they count as dropped."""
        if self._pause is not None:
            self._pause.cancel()
        waiting, self._waiting = self._waiting, deque()
        answers, self._answers = self._answers, deque()
        for pair in [*waiting, *(answer[0] for answer in answers)]:
            self.drop(pair, "closing")
        for copy in list(self._running):
            copy.cancel("closing")
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)


def _difference(pair: Pair, expected: Answer, got: Answer) -> Difference | None:
    heads_only = pair.exchange.head.method == b"HEAD"
    return compare(expected, got, pair.copying.policy, now=time.time(), heads_only=heads_only)
