# SPDX-License-Identifier: Apache-2.0
"""Shape the one document that the console shows (GET /-/state) from what is known; pure.

File, override and observed are three things and stay three: `stage.file`, `stage.override` and what
the counters saw. Effective is the override, else the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strangler.config.snapshot import Snapshot
from strangler.control.console import answers, upstreams
from strangler.control.console.known import Known
from strangler.control.console.migration import migration as how_far
from strangler.control.console.routes import short, whole

_SPARKS: Final = 200
_WORKER: Final = (
    *("slot", "pid", "silent", "started", "generation", "connections", "lag", "rss", "draining"),
)


def document(
    known: Known, *, routes: int | None, route: str | None, migration: bool
) -> dict[str, Any]:
    """Return the document.

    Args:
        routes: how many routes to list, the worst and then the busiest first; None: all.
        route: key of a route to tell everything about, as `route`.
        migration: tell how far the migration is, as `migration`.
    """
    listed = sorted(
        (short(known, one) for one in known.snapshot.routes),
        key=lambda one: (-one["badness"], one["verdict"] != "warn", -one["rate"], one["key"]),
    )
    listed_upstreams = [upstreams.shown(known, one) for one in known.snapshot.upstreams.values()]
    legacy = next((one for one in listed_upstreams if one["role"] == "legacy"), None)
    site = known.recent.site()
    usual = known.history.usual_p95()
    shown = listed if routes is None else listed[:routes]
    for one in shown[:_SPARKS]:
        one["series"] = known.spark(one["key"])
    told: dict[str, Any] = {
        "time": known.now,
        "generation": known.snapshot.generation,
        "hash": known.snapshot.hash,
        "site": {"title": _title(known.snapshot), "hosts": list(known.snapshot.site.hosts)},
        "answers": [
            one.json()
            for one in (
                answers.reader(site, usual, listed),
                answers.changes(known.changes, known.now),
                answers.routes(listed, len(listed)),
                answers.legacy(legacy, known.recent.site("legacy"), upstreams.would_add(known)),
                answers.agree(known.instances, known.config, known.overrides.version),
            )
        ],
        "observed": {**site.json(), "usual_p95": usual},
        "series": known.series(),
        "routes": shown,
        "routes_total": len(listed),
        "upstreams": listed_upstreams,
        "overrides": list(known.overrides_told),
        "overrides_version": known.overrides.version,
        "store": dict(known.store),
        "changes": list(known.changes),
        "instances": list(known.instances),
        "workers": [_worker(one) for one in known.workers],
        "config": dict(known.config),
    }
    if route is not None:
        told["route"] = whole(known, route, listed)
    if migration:
        told["migration"] = how_far(known)
    return told


def _worker(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told.get(name) for name in _WORKER}


def _title(snapshot: Snapshot) -> str:
    return next((host for host in snapshot.site.hosts if "*" not in host), snapshot.site.name)
