# SPDX-License-Identifier: Apache-2.0
"""What becomes of readers where an upstream is drained: who answers them in its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from strangler.config.snapshot import Route, Snapshot
from strangler.resilience.policy import Rung
from strangler.rollout import Overrides, Stage
from strangler.rollout.override import scope_of

MOST_TOLD: Final = 100
"""Routes that are named of each ladder."""


def instead(snapshot: Snapshot, overrides: Overrides, subject: str) -> Mapping[str, Any]:
    """Return who answers in the place of *subject*, an upstream or an endpoint, by ladder.

    instead: the routes whose readers it answers now, by the rungs that are left to them; none of
    them is a 503 · rung_lost: the routes that could only have fallen back to it. Both are empty
    where the upstream's other endpoints take over.
    """
    _, name = scope_of(subject)
    upstream, _, url = name.partition(" ")
    if url and _others_answer(snapshot, overrides, upstream, url):
        return _told({}, [])
    out = {upstream, *(one for one in snapshot.upstreams if "drain" in overrides.upstream(one))}
    ladders: dict[tuple[str, ...], list[str]] = {}
    lost: list[str] = []
    for route in snapshot.routes:
        if route.action != "proxy":
            continue
        stage = overrides.stage(route.key, route.stage)
        if upstream in route.asks(stage):
            ladders.setdefault(_rungs(route, stage, out), []).append(route.key)
        elif any(_asks(rung, route) == upstream for rung in route.fallback_at(stage).then):
            lost.append(route.key)
    return _told(ladders, lost)


def _told(ladders: Mapping[tuple[str, ...], list[str]], lost: list[str]) -> dict[str, Any]:
    return {
        "instead": [
            {"rungs": list(rungs), "count": len(keys), "routes": keys[:MOST_TOLD]}
            for rungs, keys in sorted(ladders.items(), key=lambda one: -len(one[1]))
        ],
        "rung_lost": {"count": len(lost), "routes": lost[:MOST_TOLD]},
    }


def _others_answer(snapshot: Snapshot, overrides: Overrides, upstream: str, url: str) -> bool:
    """Tell whether the upstream has an endpoint left without the one at *url*."""
    gone = {one.subject.rstrip("/") for one in overrides if one.kind == "drain"}
    gone.add(f"endpoint:{upstream} {url}".rstrip("/"))
    urls = [one.url.rstrip("/") for one in snapshot.upstreams[upstream].endpoints]
    return f"upstream:{upstream}" not in gone and any(
        f"endpoint:{upstream} {one}" not in gone for one in urls
    )


def _rungs(route: Route, stage: Stage, out: Collection[str]) -> tuple[str, ...]:
    """Return the rungs that the readers of *route* have left without the upstreams *out*.

    What is drained falls as what a breaker refuses; the edge walks its ladders by the same words.
    """
    ladder = route.fallback_at(stage)
    if "breaker" not in ladder.when.words:
        return ()
    left = [rung for rung in ladder.then if _answers(rung, route, out)]
    return tuple("page" if rung.kind == "page" else str(rung) for rung in left)


def _answers(rung: Rung, route: Route, out: Collection[str]) -> bool:
    match rung.kind:
        case "page":
            return True
        case "stale":
            return route.cache.mode != "none"
        case "archive":
            return route.cache.uses("archive")
    name = _asks(rung, route)
    return name is not None and name not in out


def _asks(rung: Rung, route: Route) -> str | None:
    """Return the upstream that is asked on this rung."""
    return {"legacy": route.legacy, "upstream": rung.name}.get(rung.kind)
