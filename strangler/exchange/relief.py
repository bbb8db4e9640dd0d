# SPDX-License-Identifier: Apache-2.0
"""Relief for a worker that is short of time or room: who is let go, and how that is told.

The rules are `resilience.shed`'s; here they are asked, once a tick and, only while something is
being let go, once a request. A copy in the edge tier that needs no exchange costs less than a
refusal, so those are always given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import random
from typing import TYPE_CHECKING, Final

from strangler.clock import TICK
from strangler.exchange import answer
from strangler.resilience.crawlers import is_crawler
from strangler.resilience.shed import CRAWLER, WORDS, Priority, Shed, Shedding, pressure

if TYPE_CHECKING:
    from strangler.exchange.edge import Edge
    from strangler.exchange.exchange import Exchange
    from strangler.exchange.plan import Plan

_events = logging.getLogger("strangler.events")

#: How much of a tick's lag counts: one hiccup is no shortage, half a second of lag is.
_WEIGHT: Final = 0.2
#: Seconds of lag at which the pressure is 1, and that one tick may tell of at most, of these: after
#: a stop of minutes there is no shortage.
LAG: Final = 0.5
_MOST_LAG: Final = 4.0
#: Seconds after which those who were let go may ask again, and as many more by lot: all at once
#: would be the next shortage.
_COME_AGAIN: Final = 5


class Relief:
    """What one worker lets go. `connections` counts the open ones; the engine's to give.

    ``lag`` is how late the event loop is, in seconds, on average; ``lag_limit`` at which that is
    a pressure of 1.
    """

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.shedding = Shedding(Shed())
        self.connections: Callable[[], int] = _unknown
        self.lag = 0.0
        self.lag_limit = LAG
        self._before: float | None = None

    def tick(self, now: float) -> None:
        """Take the pressure; *now* is the loop's time."""
        edge = self._edge
        if self._before is not None:
            late = min(max(0.0, now - self._before - TICK), _MOST_LAG * self.lag_limit)
            self.lag += (late - self.lag) * _WEIGHT
        self._before = now
        limits = edge.view.limits
        found = pressure(
            lag=self.lag,
            lag_limit=self.lag_limit,
            connections=self.connections(),
            connections_limit=limits.connections,
            inflight=len(edge.exchanges) - edge.tunnels,
            inflight_limit=limits.inflight,
        )
        if not self.shedding.update(found.worst, now):
            return
        before, edge.short = edge.short, self.shedding.level
        edge.shadows.shed = edge.short > 0
        rising = edge.short > before
        fields: dict[str, object] = {
            "level": edge.short,
            "lets_go": ",".join(word.removeprefix("shed_") for word in WORDS[: edge.short]),
            "lag": found.lag,
            "connections": found.connections,
            "inflight": found.inflight,
        }
        level = logging.WARNING if rising else logging.INFO
        _events.log(level, "edge.short" if edge.short else "edge.calm", extra={"fields": fields})

    def lets_go(self, exchange: Exchange, plan: Plan) -> bool:
        """Refuse *exchange* if it is less important than what there is room for."""
        priority: Priority = plan.priority
        if self.shedding.level > CRAWLER and is_crawler(exchange.head.get(b"user-agent")):
            priority = CRAWLER
        if self.shedding.admits(priority, random()):
            return False
        word = WORDS[priority]
        edge = self._edge
        edge.counts.shed(word.removeprefix("shed_"))
        fields = (
            (b"Retry-After", b"%d" % (_COME_AGAIN + int(random() * _COME_AGAIN))),
            (b"Proxy-Status", answer.proxy_status(edge.name, "connection_limit_reached", word)),
        )
        exchange.answer_let_go(plan, word, fields)
        return True


def _unknown() -> int:
    return 0
