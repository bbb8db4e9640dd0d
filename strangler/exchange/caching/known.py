# SPDX-License-Identifier: Apache-2.0
"""Requests that come again byte for byte, and are not read again.

What a GET's bytes mean does not change while its view is in force: its route, who would answer
and its cache key are worked out once. Where the route caches, whether the edge tier has a fresh
copy is all that is asked each time; where the edge tier has no say, the request is begun at once.
What is remembered is bounded, and forgotten with the view.
"""

from __future__ import annotations

from array import array
from time import time
from typing import TYPE_CHECKING, Final

from strangler.cache.stored import Stored
from strangler.cache.vary import select
from strangler.config.snapshot import Route
from strangler.exchange.plan import Cached, Plan
from strangler.observe.lines import Repeated
from strangler.observe.tracing import Tracer
from strangler.routing import Match
from strangler.wire.head import RequestHead

if TYPE_CHECKING:
    from strangler.edge.http1 import Connection
    from strangler.exchange.caching.ready import Ready
    from strangler.exchange.edge import Edge
    from strangler.exchange.exchange import Exchange

#: Bytes of the longest head that is remembered, and how many are: 6 MB at the most.
_LONGEST: Final = 2048
_MOST: Final = 2048
_SLOTS: Final = 4096


class Known(Repeated):
    """A GET of which nothing is left to decide but whether there is a fresh copy for it.

    It has no body, wants the connection kept, and asks for the whole of what is stored
    (`cache.plain.how_plain`).
    """

    __slots__ = (
        "_arm", "_chosen", "_edge", "_fields", "_find", "_key", "_said", "_secure", "_tally",
        "_trusting",
    )  # fmt: skip

    def __init__(
        self, edge: Edge, plan: Plan, cached: Cached, head: RequestHead, secure: bool
    ) -> None:
        """Work out what *head* means by *plan*, whose decision is the same for all."""
        decision = plan.decision
        assert decision is not None
        service = decision.target == "service"
        upstream = plan.service if service else plan.legacy
        super().__init__(
            head.host, head.rest, plan.key,
            upstream.name if upstream is not None else "", decision.reason,
        )  # fmt: skip
        self._edge = edge
        self._secure = secure
        self._fields = head.fields
        self._arm = plan.service_arm if service else plan.legacy_arm
        self._tally = cached.tally
        self._find = edge.cache.copies.memory.get
        self._trusting = bool(edge.view.trusted)
        #: What these fields selected last: the choice stays while nothing else is held.
        self._chosen: Stored | None = None
        #: What the log says of a hit of it.
        self._said = ""
        self._key = cached.keying.key(
            head,
            scheme=b"https" if secure else b"http",
            arm=cached.arm if service else b"",
        )

    def answer(self, connection: Connection) -> bytes | None:
        """Return the answer, counted and logged, or None: no copy will do without a decision."""
        held = self._find(self._key)
        if not held:
            return None
        ready = held[0]
        if ready.stored is not self._chosen or len(held) > 1:
            chosen = self._choose(held)
            if chosen is None:
                return None
            ready = chosen
        edge = self._edge
        now = time()
        if (
            now >= ready.until
            or connection.secure is not self._secure
            or (self._trusting and edge.trusts(connection.peer))
        ):
            return None
        if ready.second != int(now):
            ready.renew(now)
        if ready.arm is self._arm:
            ready.hits += 1
        else:
            edge.counts.first_hit(ready, self._arm, self._tally)
        hits = edge.hits
        if hits is None:
            edge.hit(now, connection.peer, self, ready.stored)
        else:
            if now >= hits.until:
                hits.tell_time(now)
            hits.parts += (hits.time, self._said, connection.peer)
        return ready.wire

    def _choose(self, held: tuple[Ready, ...]) -> Ready | None:
        """Return the copy of *held* that these fields select, or None."""
        stored = select([one.stored for one in held], self._fields)
        if stored is None:
            return None
        if stored is not self._chosen:
            self._chosen = stored
            self._said = self._edge.said(self, stored)
        return next(one for one in held if one.stored is stored)


class Drawn:
    """A known GET of an edge that traces: it is read where it is drawn, else answered as it was."""

    __slots__ = ("_known", "_tracer")

    def __init__(self, known: Known, tracer: Tracer) -> None:
        self._known = known
        self._tracer = tracer

    def answer(self, connection: Connection) -> bytes | None:
        """Return the answer, or None where the request is to be read, for which it was drawn."""
        tracer = self._tracer
        drawn = tracer.draw()
        wire = None if drawn else self._known.answer(connection)
        if wire is None:
            tracer.drawn = drawn
        return wire


class Passing:
    """A GET that no edge tier could answer: read and matched, to be begun as any other."""

    __slots__ = ("_edge", "_ends", "_head", "_match", "_plan")

    def __init__(self, edge: Edge, plan: Plan, head: RequestHead, match: Match[Route]) -> None:
        """Remember what *head* means: the *match* and its *plan*."""
        self._edge = edge
        self._ends = not head.keep_alive
        self._plan = plan
        self._head = head
        self._match = match

    def answer(self, connection: Connection) -> bytes:
        """Begin the request."""
        if self._ends:
            connection.keep_alive = False
        connection.begin(self._head, self)
        return b""

    def request(self, connection: Connection, head: RequestHead) -> Exchange | None:
        """Begin its exchange; None where it has been answered at once."""
        return self._edge.begin(connection, head, self._plan, self._match)


class Seen:
    """What is known of requests by their bytes; who came once is not worth a place."""

    __slots__ = ("_marks", "known")

    def __init__(self) -> None:
        self._marks = array("q", bytes(8 * _SLOTS))
        #: By the bytes of a whole head. Always the same mapping.
        self.known: dict[bytes, Known | Drawn | Passing] = {}

    def again(self, head: RequestHead) -> bool:
        """Tell whether *head* came of late, and note that it has come."""
        # Blocks that repeat are one object (`wire.head`).
        mark = hash(head.target) ^ id(head.fields)
        marks, place = self._marks, mark % _SLOTS
        if marks[place] == mark:
            return True
        marks[place] = mark
        return False

    def remember(self, head: RequestHead, known: Known | Drawn | Passing) -> None:
        """Let *known* take what comes with the bytes of *head*, a GET."""
        raw = b"GET %b HTTP/1.%d%b" % (head.target, head.version - 10, head.fields.raw)
        if len(raw) <= _LONGEST:
            if len(self.known) >= _MOST:
                self.known.clear()
            self.known[raw] = known
