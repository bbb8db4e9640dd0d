# SPDX-License-Identifier: Apache-2.0
"""What becomes of readers whom an operator keeps from an upstream: who answers them in its place.

A drain keeps them from it, and a breaker that is forced open, an upstream's or a route's own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from strangler.config.snapshot import Route, Snapshot
from strangler.resilience.policy import Rung
from strangler.rollout import Overrides, Stage
from strangler.rollout.override import scope_of, subject_of

MOST_TOLD: Final = 100
"""Routes that are named of each ladder."""

_VALUES: Final[Mapping[str, object]] = {"drain": True, "breaker": "forced_open"}


def keeps_off(kind: str, value: object) -> bool:
    """Tell whether an override of *kind* with *value* keeps readers from an upstream."""
    return kind in _VALUES and _VALUES[kind] == value


def instead(snapshot: Snapshot, overrides: Overrides, kind: str, subject: str) -> Mapping[str, Any]:
    """Return who answers, by ladder, once *subject* is drained, or its breaker forced open.

    instead: the routes whose readers are kept from it, by the rungs that are left to them; none of
    them is a 503 · rung_lost: the routes that could only have fallen back to it. Both are empty
    where it goes on answering: by other endpoints, or as no route of it heeds that breaker.
    """
    doors = _Doors(snapshot, overrides, kind, subject)
    scope, name = scope_of(subject)
    ladders: dict[tuple[str, ...], list[str]] = {}
    lost: list[str] = []
    for route in snapshot.routes:
        if route.action != "proxy" or (scope == "route" and route.key != name):
            continue
        upstream = _target(route) if scope == "route" else name.partition(" ")[0]
        stage = overrides.stage(route.key, route.stage)
        if upstream in route.asks(stage):
            if doors.keep_off(route, upstream):
                out = doors.shut | {upstream}
                ladders.setdefault(_rungs(route, stage, out), []).append(route.key)
        elif scope != "route" and upstream in doors.shut and _falls(route, stage, upstream):
            lost.append(route.key)
    return {
        "instead": [
            {"rungs": list(rungs), "count": len(keys), "routes": keys[:MOST_TOLD]}
            for rungs, keys in sorted(ladders.items(), key=lambda one: -len(one[1]))
        ],
        "rung_lost": {"count": len(lost), "routes": lost[:MOST_TOLD]},
    }


class _Doors:
    """Whom *overrides* let ask whom, once *kind* of *subject* is among them.

    The same rules hang the doors of a plan's attempts. ``shut``: the upstreams that are drained or
    forced open; the latter are asked all the same by routes that heed another breaker, or none.
    """

    def __init__(self, snapshot: Snapshot, overrides: Overrides, kind: str, subject: str) -> None:
        said = {(one.kind, _alike(one.subject)): one.value for one in overrides}
        self._said: dict[tuple[str, str], object] = {
            **said, (kind, _alike(subject)): _VALUES[kind],
        }  # fmt: skip
        self._drained = {name for name in snapshot.upstreams if self._is_drained(snapshot, name)}
        self.shut = self._drained | {
            name for name in snapshot.upstreams if self._forced("upstream", name) == "forced_open"
        }

    def keep_off(self, route: Route, upstream: str) -> bool:
        """Tell whether the readers of *route* are kept from *upstream*, a side of it."""
        forced = self._forced("route", route.key)
        if upstream in self._drained or _heeds(route, upstream, forced):
            return upstream in self.shut
        return forced == "forced_open"

    def _forced(self, scope: Literal["route", "upstream"], name: str) -> object:
        return self._said.get(("breaker", subject_of(scope, name)), "auto")

    def _is_drained(self, snapshot: Snapshot, upstream: str) -> bool:
        endpoints = snapshot.upstreams[upstream].endpoints
        of_all = [_alike(subject_of("endpoint", f"{upstream} {one.url}")) for one in endpoints]
        whole = subject_of("upstream", upstream)
        return ("drain", whole) in self._said or all(("drain", one) in self._said for one in of_all)


def heeds(route: Route, upstream: str, overrides: Overrides) -> bool:
    """Tell whether the readers of *route* meet the breaker of *upstream*, a side of it.

    Not where the route's own is in front of it, or none, or an operator has forced the route's.
    """
    one = overrides.of("breaker", subject_of("route", route.key))
    return _heeds(route, upstream, "auto" if one is None else one.value)


def _heeds(route: Route, upstream: str, forced: object) -> bool:
    return upstream != _target(route) or (route.breaker == "upstream" and forced == "auto")


def _alike(subject: str) -> str:
    """Return *subject* as it is compared: a slash at the end of an endpoint's URL says nothing."""
    return subject.rstrip("/") if subject.startswith("endpoint:") else subject


def _target(route: Route) -> str | None:
    """Return the side of *route* that its breaker is in front of; the other is legacy."""
    return route.upstream if route.upstream is not None else route.legacy


def _rungs(route: Route, stage: Stage, out: Collection[str]) -> tuple[str, ...]:
    """Return the rungs that the readers of *route* have left without the upstreams *out*.

    What is drained falls as what a breaker refuses; the edge walks its ladders by the same words.
    """
    ladder = route.fallback_at(stage)
    if "breaker" not in ladder.when.words:
        return ()
    left = [rung for rung in ladder.then if _answers(rung, route, out)]
    return tuple("page" if rung.kind == "page" else str(rung) for rung in left)


def _falls(route: Route, stage: Stage, upstream: str) -> bool:
    """Tell whether *upstream* is a rung of *route*'s ladder."""
    return any(_asks(rung, route) == upstream for rung in route.fallback_at(stage).then)


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
