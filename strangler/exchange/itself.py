# SPDX-License-Identifier: Apache-2.0
"""What the edge itself answers: a redirect, gone, a page; a route that operators have closed.

These are `Exchange`'s methods, kept apart as those of `falling` are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from strangler.config.snapshot import Route
from strangler.exchange import answer as own
from strangler.exchange.overridden import Maintenance
from strangler.routing import Match

if TYPE_CHECKING:
    from strangler.exchange.exchange import Exchange
    from strangler.exchange.plan import Plan

#: Seconds after which a reader of a closed route may ask again, at most: it may open earlier.
_COME_AGAIN: Final = 3600


def answer(exchange: Exchange, plan: Plan, match: Match[Route]) -> None:
    """Answer what has no upstream, or whose upstream isn't to be asked now."""
    route = plan.route
    exchange._plan, exchange._arm = plan, plan.legacy_arm
    if plan.maintenance is not None:
        exchange._arm = exchange._edge.counts.arm(plan.key, "edge")
        _closed(exchange, plan.maintenance)
        exchange._log(plan.key, "", "maintenance", "", exchange._arm)
        return
    if route.redirect is not None:
        location = route.redirect.target(match.params, exchange.head.query)
        exchange._write_whole(route.redirect.status, b"", fields=((b"Location", location),))
    elif route.gone is not None:
        exchange._answer_error(route.gone, "", ())
    else:
        status = route.page.status if route.page is not None else 200
        exchange._write_whole(status, plan.page)
    exchange._log(plan.key, "", route.action, "", exchange._arm)


def let_go(exchange: Exchange, plan: Plan, word: str, fields: own.Fields) -> None:
    """Refuse a request that there is no room for; *word* says whose."""
    exchange._plan, exchange._arm = plan, exchange._edge.counts.arm(plan.key, "edge")
    exchange._answer_error(503, "", fields)
    exchange._log(plan.key, "", word, "connection_limit_reached", exchange._arm)


def _closed(exchange: Exchange, maintenance: Maintenance) -> None:
    left = min(max(1, round(maintenance.until - exchange._time)), _COME_AGAIN)
    fields: own.Fields = ((b"Retry-After", b"%d" % left),)
    if not maintenance.page:
        exchange._answer_error(503, "maintenance", fields, told="maintenance")
        return
    fields += ((b"Cache-Control", b"no-store"),)
    exchange._write_whole(503, maintenance.page, fields=fields)
