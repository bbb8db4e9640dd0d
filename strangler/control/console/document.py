# SPDX-License-Identifier: Apache-2.0
"""Shape the one document that the console shows (GET /-/state) from what is known; pure.

File, override and observed are three things and stay three: `stage.file`, `stage.override` and what
the counters saw. Effective is the override, else the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Asked:
    """What of the document is asked for.

    routes: how many routes to list, the worst and then the busiest first; None: all · find: words
    that a listed route must have in its key, owner, target or stage · route: key of a route to
    tell everything about · migration: tell how far the migration is.
    """

    routes: int | None = None
    find: str = ""
    route: str | None = None
    migration: bool = False


def document(known: Known, asked: Asked) -> dict[str, Any]:
    """Return the document."""
    listed = sorted(
        (short(known, one) for one in known.snapshot.routes),
        key=lambda one: (-one["badness"], one["verdict"] != "warn", -one["rate"], one["key"]),
    )
    listed_upstreams = [upstreams.shown(known, one) for one in known.snapshot.upstreams.values()]
    legacy = next((one for one in listed_upstreams if one["role"] == "legacy"), None)
    site = known.recent.site()
    usual = known.history.usual_p95()
    found = listed if not asked.find else [one for one in listed if _has(one, asked.find)]
    shown = found if asked.routes is None else found[: asked.routes]
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
        "routes_found": {"count": len(found), "rate": sum(one["rate"] for one in found)},
        "upstreams": listed_upstreams,
        "overrides": list(known.overrides_told),
        "overrides_version": known.overrides.version,
        "store": dict(known.store),
        "changes": list(known.changes),
        "instances": list(known.instances),
        "workers": [_worker(one) for one in known.workers],
        "config": dict(known.config),
    }
    if asked.route is not None:
        told["route"] = whole(known, asked.route, listed)
    if asked.migration:
        told["migration"] = how_far(known)
    return told


def _has(route: Mapping[str, Any], words: str) -> bool:
    fields = (route["key"], route["owner"], route["target"], route["action"])
    text = " ".join(map(str, (*fields, route["stage"]["effective"]))).lower()
    return all(word in text for word in words.lower().split())


def _worker(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: told.get(name) for name in _WORKER}


def _title(snapshot: Snapshot) -> str:
    return next((host for host in snapshot.site.hosts if "*" not in host), snapshot.site.name)
