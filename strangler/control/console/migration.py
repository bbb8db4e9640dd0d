# SPDX-License-Identifier: Apache-2.0
"""How far the migration is: by stage, by owner, and what Django still answers most."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from strangler.config.snapshot import Route
from strangler.control.console.known import Known
from strangler.control.console.seen import RouteSeen
from strangler.rollout import LIFE

_OWNERS: Final = 100
_BUSIEST: Final = 10


def migration(known: Known) -> dict[str, Any]:
    proxied = [route for route in known.snapshot.routes if route.action == "proxy"]
    stages: dict[str, list[Route]] = {word: [] for word in LIFE}
    owners: dict[str, list[Route]] = {}
    for route in proxied:
        stages[known.stage(route).word].append(route)
        owners.setdefault(known.owner(route), []).append(route)
    five = known.five
    rates = {route.key: five.route(route.key) for route in proxied}
    busy = sorted(proxied, key=lambda route: -rates[route.key].legacy.requests)
    theirs = sum(seen.legacy.requests for seen in rates.values())
    today = date.fromtimestamp(known.now)
    now = {
        "time": round(known.now),
        "stages": {word: len(found) for word, found in stages.items() if found},
        "legacy_share": _legacy_share(rates.values()),
    }
    return {
        "routes": len(proxied),
        "legacy_share": _legacy_share(rates.values()),
        "stages": {
            word: {
                "routes": len(found),
                "rate": sum(rates[route.key].all.rate for route in found),
                "legacy_share": _legacy_share(rates[route.key] for route in found),
            }
            for word, found in stages.items()
            if found
        },
        "owners": [
            {
                "owner": owner,
                "routes": len(found),
                "left": sum(1 for route in found if _left(known, route)),
                "rate": sum(rates[route.key].all.rate for route in found),
                "legacy_share": _legacy_share(rates[route.key] for route in found),
            }
            for owner, found in sorted(owners.items(), key=lambda one: -len(one[1]))[:_OWNERS]
        ],
        "busiest": [
            {
                "key": route.key,
                "stage": str(known.stage(route)),
                "legacy_rate": rates[route.key].legacy.rate,
                "share": rates[route.key].legacy.requests / theirs,
            }
            for route in busy[:_BUSIEST]
            if rates[route.key].legacy.requests
        ],
        "until": [
            {"key": route.key, "until": route.until.isoformat(), "past": route.until < today}
            for route in sorted(
                (route for route in known.snapshot.routes if route.until),
                key=lambda route: route.until or today,
            )
            if route.until
        ],
        "points": [*known.points, now],
    }


def _left(known: Known, route: Route) -> bool:
    return known.stage(route).word not in ("sealed", "retired")


def _legacy_share(seen: Iterable[RouteSeen]) -> float | None:
    legacy = service = 0
    for one in seen:
        legacy += one.legacy.requests
        service += one.service.requests
    return legacy / (legacy + service) if legacy + service else None
