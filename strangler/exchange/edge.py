# SPDX-License-Identifier: Apache-2.0
"""The data plane's application: match a request, decide who answers, begin its exchange."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from random import random
from typing import Any, Final

from strangler.cache.plain import how_plain
from strangler.clock import Ticker
from strangler.config.snapshot import Route, Snapshot
from strangler.edge.http1 import Connection
from strangler.errors import RequestRejected
from strangler.exchange import answer
from strangler.exchange.arms import decide_canary
from strangler.exchange.caching.cache import Cache
from strangler.exchange.caching.cached import CachedExchange
from strangler.exchange.caching.copies import Copies, tiers_in_use
from strangler.exchange.caching.known import Drawn, Known, Passing, Seen
from strangler.exchange.caching.neighbours import Neighbours
from strangler.exchange.counting import Counts
from strangler.exchange.desk import Desk
from strangler.exchange.exchange import Exchange
from strangler.exchange.fetching import traced
from strangler.exchange.in_force import InForce
from strangler.exchange.plan import NO_OVERRIDES, Plan, View
from strangler.exchange.relief import Relief
from strangler.exchange.shadowing.shadow import Shadows
from strangler.observe.access import AccessLog
from strangler.observe.debugging import key_of
from strangler.observe.kept import Bad, Kept, masked
from strangler.observe.tails import Tails, Wanted
from strangler.observe.tracing import Settings, Tracer
from strangler.resilience import chaos
from strangler.resilience.breaker import State
from strangler.rollout import Decision, Overrides
from strangler.routing import AmbiguousPath, Match
from strangler.upstream import Upstream
from strangler.wire.forward import loops, response_block
from strangler.wire.head import RequestHead, ResponseHead
from strangler.wire.request import NOT_SERVED, Via, hops_left

_events = logging.getLogger("strangler.events")

_NO_DECISION: Final = Decision("legacy", "legacy")
_COMMON: Final = frozenset((b"GET", b"HEAD", b"POST"))
#: Seconds between two looks at what is under way.
_LOOK_EVERY: Final = 1.0
#: Addresses of which it is remembered whether they are trusted.
_MOST_TRUSTED: Final = 4096


class Edge:
    """Answers readers by what the snapshot says; `swap` gives it another one between two requests.

    *instance* tells this site's edge from any other in Via; the workers of one edge share it ·
    *overrides* are in force from the start, under the name *mark* ·
    *arm_key* is what testers' cookies are signed with; empty: none is believed.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        log: AccessLog | None = None,
        ticker: Ticker | None = None,
        instance: str = "",
        overrides: Overrides = NO_OVERRIDES,
        mark: str = "",
        arm_key: bytes = b"",
        counts: Counts | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.ticker = ticker if ticker is not None else Ticker(self.loop)
        self.ticker.start()
        self.ticker.each_tick(self._tick)
        self._access = log if log is not None else AccessLog("off")
        self.said = self._access.said
        self._listen(None)
        #: Sends a message to the control process; set by the worker.
        self.send: Callable[[dict[str, Any]], bool] = _nowhere
        self.tails = Tails(lambda message: self.send(message))
        self.neighbours = Neighbours(lambda message: self.send(message))
        self.exchanges: set[Exchange] = set()
        #: How many of these are tunnels now.
        self.tunnels = 0
        #: How much is let go, 0: nothing; see `relief`.
        self.short = 0
        self.relief = Relief(self)
        self.rescued = 0
        #: What became of each route's requests, over all generations.
        self.counts = counts if counts is not None else Counts()
        self.kept = Kept()
        self._look_again = 0.0
        #: Requests that an operator's fault has struck, by route.
        self.struck: Counter[str] = Counter()
        self._desk = Desk(self)
        self.shadows = Shadows(self)
        self._open_tiers(snapshot)
        self.repaired = 0
        instance = instance or os.environ.get("STRANGLER_INSTANCE", "") or secrets.token_hex(3)
        self._instance = instance
        self.arm_key = arm_key
        self.debug_key = key_of(arm_key)
        self._ids = secrets.token_hex(6)
        #: Requests that had an id: all but hits, whose log gives them theirs.
        self.count = 0
        self._seen = Seen()
        #: Who takes a head that came before; all of them know one view only.
        self.known = self._seen.known
        self._trusted: dict[str, bool] = {}
        self._second = -1
        self._date = b""
        self._ports: dict[Any, bytes] = {}
        self._near_told = float("-inf")
        #: Called when a breaker's state has changed here; the other workers want to know.
        self.changed: Callable[[], None] = _nothing
        self.in_force = InForce(self.loop, self._override, overrides, mark)
        self.view = View(
            snapshot,
            self._upstreams(snapshot, {}),
            self.counts,
            ticker=self.ticker,
            changed=self._tell,
            overrides=self.in_force.overrides,
        )
        self._named(snapshot)
        self.tracer: Tracer | None = None
        self._trace(snapshot)

    def swap(self, snapshot: Snapshot) -> None:
        """Use *snapshot* for every request that begins from now on.

        Upstreams whose definition is unchanged keep their connections.
        """
        self.counts.settle()
        self._trace(snapshot)
        before = self.view.upstreams
        upstreams = self._upstreams(snapshot, before)
        self.view = View(
            snapshot,
            upstreams,
            self.counts,
            ticker=self.ticker,
            before=self.view,
            changed=self._tell,
            overrides=self.in_force.overrides,
        )
        self.known.clear()
        self._trusted.clear()
        self._named(snapshot)
        if tiers_in_use(snapshot) != self._tiers:
            former = self.cache
            self._open_tiers(snapshot)
            self._closing = self.loop.create_task(former.close())
        for name, upstream in before.items():
            if upstreams.get(name) is not upstream:
                upstream.retire()

    def _override(self, overrides: Overrides) -> None:
        self.view = self.view.under(overrides)
        self.known.clear()

    async def opened(self, timeout: float = 2.0) -> None:
        """Wait until the cache's stores are open, at most *timeout* seconds."""
        await asyncio.wait([self._starting], timeout=timeout)

    async def close(self) -> None:
        """Drop all upstream connections."""
        if self.tracer is not None:
            await self.loop.run_in_executor(None, self.tracer.close)
        self.in_force.close()
        self.counts.settle()
        await self.cache.close()
        self.shadows.close()
        for upstream in self.view.everyone():
            upstream.close()
        self.ticker.stop()

    def status(self) -> dict[str, Any]:
        """Return small numbers for the health check."""
        return {
            "inflight": len(self.exchanges),
            "requests": self.count + self.counts.hits,
            "rescued": self.rescued,
            "overrides": self.in_force.mark,
            **({"short": self.short} if self.short else {}),
            **({"struck": dict(self.struck)} if self.struck else {}),
            "upstreams": {upstream.name: upstream.status() for upstream in self.view.everyone()},
            "tiers": {name: tier.status() for name, tier in self.cache.copies.below},
            **({"shadows": self.shadows.status()} if self.shadows.ledgers else {}),
            **self.view.status(),
        }

    def learn(self, told: Mapping[str, Any]) -> None:
        """Take what the control process knows: overrides, breakers elsewhere, its probes."""
        self.in_force.learn(told.get("overrides"))
        self.neighbours.count = int(told.get("workers", 1)) - 1
        view = self.view
        for name, state in told.get("breakers", {}).items():
            circuit = view.circuits.get(name)
            if circuit is not None:
                circuit.learn(State(*state))
        sick = told.get("sick")
        if sick is not None:
            for upstream in view.everyone():
                upstream.probed(sick.get(upstream.name, {}))

    def _tell(self) -> None:
        self.changed()

    def tail(self, order: Mapping[str, Any]) -> None:
        """Begin, go on with or end a tail, as the control process asks; see `observe.tails`."""
        wanted = Wanted.read(order.get("wanted", {}))
        self.tails.lease(int(order["tail"]), wanted, float(order["lease"]))
        self._listen(self._listened if self.tails else None)

    def _listened(self, records: Sequence[Any]) -> None:
        self.tails.take(records)
        if not self.tails:  # the last lease is over
            self._listen(None)

    def _listen(self, listener: Callable[[Sequence[Any]], object] | None) -> None:
        log = self._access
        log.listen(listener)
        self.log, self.hit, self.hits = log.append, log.hit, log.hits

    async def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out what the control process asks; see `desk`."""
        return await self._desk.answer(order)

    # The engine's application.

    def request(self, connection: Connection, head: RequestHead) -> Exchange | None:
        """Begin the exchange for one request; None where it has been answered at once."""
        view = self.view
        fields = head.fields
        if not fields.plain or head.method not in _COMMON or not view.any_host:
            refused = self._refusal(head, view)
            if refused is not None:
                return self._refuse(Exchange(self, connection, head, self._new_id()), *refused)
        near = len(fields.raw) > view.near
        if near:
            self._tell_near(head, view)
        try:
            match = view.table.match(head)
        except AmbiguousPath as error:
            return self._refuse(Exchange(self, connection, head, self._new_id()), error)
        if match is None:
            exchange = Exchange(self, connection, head, self._new_id())
            return self._refuse(exchange, RequestRejected(404, "no route"))
        plan = view.plans[match.value]
        if (
            not plan.hot
            and head.method == b"GET"
            and fields.plain
            and not near
            and self._seen.again(head)
        ):
            self._seen.remember(head, Passing(self, plan, head, match))
        return self.begin(connection, head, plan, match)

    def begin(
        self, connection: Connection, head: RequestHead, plan: Plan, match: Match[Route]
    ) -> Exchange | None:
        """Begin the exchange for a request that has its route; see `request`."""
        trusted = bool(self.view.trusted) and self.trusts(connection.peer)
        trace = None if self.tracer is None else traced.begin(self.tracer, head)
        if plan.cached is None:
            exchange = Exchange(self, connection, head, self._new_id())
        elif not trusted and plan.hot and trace is None and self._hot(connection, head, plan):
            return None
        else:
            exchange = CachedExchange(self, connection, head, self._new_id())
        exchange.trace = trace
        if trusted:
            exchange.trust(self.trusts)
        if plan.special and (plan.maintenance is not None or plan.route.action != "proxy"):
            exchange.answer_itself(plan, match)
            return None
        if self.short and self.relief.lets_go(exchange, plan):
            return None
        decision = plan.decision
        if decision is None:
            decision = decide_canary(self, plan, head, exchange)
        if plan.special:
            plan = self._strike(plan, decision)
        if plan.copying is not None:
            self.shadows.sample(exchange, plan, decision)
        try:
            return exchange.begin(plan, decision, match)
        except AmbiguousPath as error:
            return self._refuse(exchange, error)

    def _strike(self, plan: Plan, decision: Decision) -> Plan:
        """Return *plan*, or what the fault that an operator has ordered makes of it.

        It tries the service, and the ladder below: Django's readers of a canary have none.
        """
        assert plan.fault is not None
        if decision.target == "legacy" and plan.stage.word == "canary":
            return plan
        fault = chaos.strike((plan.fault,), time.time(), random())
        if fault is None:
            return plan
        self.struck[plan.key] += 1
        return plan.struck(fault)

    def _refuse(
        self, exchange: Exchange, error: RequestRejected, proxy_error: str = ""
    ) -> Exchange | None:
        exchange.refuse(error, proxy_error)
        return None

    def _hot(self, connection: Connection, head: RequestHead, plan: Plan) -> bool:
        """Answer from the edge tier without an exchange, where nothing is left to decide."""
        cached = plan.cached
        assert cached is not None
        if not connection.keep_alive or head.version == 10 or head.method != b"GET":
            return False
        if how_plain(head.fields) < (2 if cached.steers else 1):
            return False
        known = Known(self, plan, cached, head, connection.secure)
        wire = known.answer(connection)
        if wire is None:
            return False
        connection.write(wire)
        connection.response_ended()
        tracer = self.tracer
        if tracer is not None and b"\ntraceparent:" in head.fields.lower:
            return True  # its beginner has decided whether it is sampled
        if self._seen.again(head):
            self._seen.remember(head, known if tracer is None else Drawn(known, tracer))
        return True

    def shown(
        self, plan: Plan, upstream: Upstream, head: ResponseHead, scheme: bytes, authority: bytes
    ) -> ResponseHead:
        """Return *head* as readers at this origin may see it."""
        block = self.mended(plan, upstream, head, scheme, authority)
        shown = ResponseHead.parse(b"HTTP/1.1 %d %b%b\r\n\r\n" % (head.status, head.reason, block))
        assert shown is not None
        return shown

    def mended(
        self, plan: Plan, upstream: Upstream, head: ResponseHead, scheme: bytes, authority: bytes
    ) -> bytes:
        """Return the field block of a response as readers may see it: its repairs and edits."""
        block = response_block(head)
        if head.repairable:
            block, count = upstream.repair.apply(block, scheme, authority)
            self.repaired += count
        if plan.response_edits is not None:
            block = plan.response_edits.apply(block)
        return block

    def reject(self, connection: Connection, error: RequestRejected, start: bytes) -> bytes:
        """Return the answer to a request that never had a meaning, and log it."""
        id_ = self._new_id()
        self.counts.refused(error.status)
        accept, language = answer.wishes(start)
        body, content_type = answer.error_body(
            error.status, id_, accept=accept, language=language, detail=error.detail
        )
        line = start.partition(b"\r\n")[0].split(b" ")
        method = line[0][:32] if len(line) > 1 else b"-"
        target = line[1][:2000] if len(line) > 1 else b""
        self.log(
            (time.time(), connection.peer, id_, method, b"", target, error.status,
             0 if method == b"HEAD" else len(body), 0, 0.0, 0.0,
             "", "", "rejected", "", 0, "", error.detail, "")
        )  # fmt: skip
        if start and self.kept.wants("", error.status):
            self.kept.keep(
                Bad(
                    time=time.time(), id=id_, client=connection.peer, route="", target="",
                    reason="rejected", endpoint="", status=error.status, error=error.detail,
                    **masked(start, b"", b""),
                )
            )  # fmt: skip
        return answer.response(
            error.status,
            body,
            date=self.date(),
            method=method,
            content_type=content_type,
            keep_alive=False,
            fields=((b"Cache-Control", b"no-store"), (b"X-Request-Id", id_.encode())),
        )

    def _refusal(self, head: RequestHead, view: View) -> tuple[RequestRejected, str] | None:
        """Return why *head* is not to be forwarded, whatever its route, or None."""
        if not view.any_host and not view.serves(head.host):
            return RequestRejected(421, "Host: not one of this site's"), ""
        fields = head.fields
        if fields.via and loops(fields.via, self._pseudonym):
            detail = "Via: this request has been here before"
            return RequestRejected(508, detail), "proxy_loop_detected"
        if head.method in NOT_SERVED:
            return RequestRejected(405, f"{head.method.decode()}: not served here"), ""
        if (
            fields.chunked or fields.length
        ) and b"\ncontent-type: application/grpc" in fields.lower:
            return RequestRejected(501, "gRPC: needs HTTP/2, this edge speaks HTTP/1.1"), ""
        if fields.max_forwards and head.method == b"OPTIONS":
            left = hops_left(fields.max_forwards)
            if left is None:
                return RequestRejected(400, "Max-Forwards: expected a number"), ""
            if not left:
                return RequestRejected(204, "Max-Forwards: this far and no further"), ""
        return None

    def _new_id(self) -> str:
        self.count += 1
        return f"{self._ids}{self.count:08x}"

    # What exchanges ask.

    def date(self) -> bytes:
        """Return the Date of now (RFC 9110 §6.6.1)."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._date = formatdate(now, usegmt=True).encode()
        return self._date

    def port_of(self, connection: Connection) -> bytes:
        """Return the port that the reader connected to, as text; empty on a unix socket."""
        name = connection.transport.get_extra_info("sockname")
        return b"%d" % name[1] if isinstance(name, tuple) else b""

    def _open_tiers(self, snapshot: Snapshot) -> None:
        """Begin with the tiers of *snapshot*, which come up when their stores do."""
        self._tiers = tiers_in_use(snapshot)
        self.caches = bool(self._tiers)
        self.cache = Cache(self, Copies.of(self._tiers, name=snapshot.site.name))
        self._starting = self.loop.create_task(self.cache.start())

    def _trace(self, snapshot: Snapshot) -> None:
        """Begin to send spans where *snapshot* says so, or end it."""
        asked, former = snapshot.tracing, self.tracer
        settings = None
        if asked is not None:
            settings = Settings(endpoint=asked.endpoint, sample=asked.sample, service=asked.service)
        if settings == (former.settings if former is not None else None):
            return
        if former is not None:
            self.loop.run_in_executor(None, former.close)
        self.tracer = None
        if settings is not None:
            self.tracer = Tracer(settings, self._instance, self.counts.spans)

    def _named(self, snapshot: Snapshot) -> None:
        self.name = f"{snapshot.site.name}-{self._instance}"
        self._pseudonym = self.name.encode()
        self.via = Via.of(self._pseudonym)

    def _upstreams(
        self, snapshot: Snapshot, before: dict[str, Upstream] | Any
    ) -> dict[str, Upstream]:
        kept = {}
        for name, definition in snapshot.upstreams.items():
            known = before.get(name)
            if known is not None and known.definition == definition:
                kept[name] = known
            else:
                kept[name] = Upstream(definition, self.ticker, changed=self._tell)
        return kept

    def trusts(self, address: str) -> bool:
        """Tell whether the peer at *address* may speak for its client."""
        found = self._trusted.get(address)
        if found is None:
            if len(self._trusted) >= _MOST_TRUSTED:
                self._trusted.clear()
            found = self._trusted[address] = self._is_trusted(address)
        return found

    def _is_trusted(self, address: str) -> bool:
        if address == "unix":
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.view.trusted)

    def _tell_near(self, head: RequestHead, view: View) -> None:
        now = self.loop.time()
        if now - self._near_told > 60:
            self._near_told = now
            _events.warning(
                "head.large bytes=%d limit=%d method=%s",
                len(head.fields.raw), view.limits.head, head.method.decode(),
            )  # fmt: skip

    def _tick(self, now: float) -> None:
        self.relief.tick(now)
        for upstream in self.view.everyone():
            upstream.sweep(now)
        if now >= self._look_again:
            self._look_again = now + _LOOK_EVERY
            self.view.turn()
            counts = self.counts
            counts.settle()
            counts.under_way([one.arm for one in self.exchanges])
            counts.look(self.view.everyone(), self.cache.copies)
            self.cache.copies.look_at_clock()


def _nowhere(message: dict[str, Any]) -> bool:
    return False


def _nothing() -> None:
    pass
