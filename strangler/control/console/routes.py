# SPDX-License-Identifier: Apache-2.0
"""What the console shows of a route: in a line of a list, and on its own page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from strangler.config.snapshot import Route
from strangler.control.console.known import NO_ARMS, NOW, Known
from strangler.control.console.seen import total
from strangler.control.console.upstreams import state_of, worst_word
from strangler.control.console.words import plural, seconds, share
from strangler.observe.lanes import shortened
from strangler.rollout.override import spoken


def short(known: Known, route: Route) -> dict[str, Any]:
    seen = known.recent.route(route.key)
    verdict, why = seen.judge(route.upstream or "")
    override = known.overrides.of("stage", f"route:{route.key}")
    effective = known.stage(route)
    decided = seen.legacy.requests + seen.service.requests
    if why and override is not None and known.now - override.created < NOW:
        # The window still holds what was before: nobody is to doubt a remedy for that.
        why += f"; moved {seconds(max(known.now - override.created, 1.0))} ago"
    return {
        "key": route.key,
        "place": str(route.place),
        "owner": known.owner(route),
        "until": route.until.isoformat() if route.until else None,
        "action": route.action,
        "target": _target(route),
        "service": route.upstream if route.action == "proxy" else None,
        "legacy": route.legacy,
        "stage": {
            "file": str(route.stage),
            "override": None if override is None else str(effective),
            "effective": str(effective),
            "service_share": seen.service.requests / decided if decided else None,
        },
        "rate": seen.all.rate,
        "error_share": seen.all.error_share,
        "p50": seen.all.p50,
        "p95": seen.all.p95,
        "inflight": seen.all.inflight,
        "badness": seen.badness,
        "verdict": verdict,
        "why": why,
        "series": None,
    }


def _target(route: Route) -> str | None:
    if route.action == "proxy":
        return route.upstream or route.legacy
    return str(route.redirect.location) if route.redirect is not None else None


def whole(known: Known, key: str, listed: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return everything about one route, None where there is no such route."""
    route = next((one for one in known.snapshot.routes if one.key == key), None)
    told = next((one for one in listed if one["key"] == key), None)
    if route is None or told is None:
        return None
    five = known.five.route(key)
    ever = total(known.ever().get(shortened(key), NO_ARMS).values())
    recent = total(known.five.of(key).values())
    fallbacks = Counter({} if ever is None else ever.fallbacks)
    return {
        **told,
        "history": known.series(key),
        "arms": {
            name: arm.json() if arm.requests else None
            for name, arm in (("legacy", five.legacy), ("service", five.service))
        },
        "tiers": {} if recent is None else recent.cache,
        "caches": route.cache.mode != "none",
        "fallbacks": [
            {"rung": rung, "reason": why, "count": count}
            for name, count in fallbacks.most_common()
            for rung, _, why in [name.partition("/")]
        ],
        "layers": _layers(known, route),
        "example": _example(route),
    }


def _layers(known: Known, route: Route) -> list[dict[str, Any]]:
    """Return what the file, an operator and the counters say, side by side."""
    said = {
        **known.overrides.site,
        **known.overrides.upstream(route.upstream or route.legacy or ""),
        **known.overrides.route(route.key),
    }
    rows: list[dict[str, Any]] = []

    def row(name: str, file: str, kind: str, observed: str | None = None, drift: str = "") -> None:
        override = said.get(kind)
        if override is not None and not drift:
            drift = "" if spoken(override.value) == file else "not what the file says"
        if not file and override is None and observed is None:
            return
        rows.append(
            {
                "name": name,
                "file": file or None,
                "override": None if override is None else spoken(override.value),
                "observed": observed,
                "drift": drift or None,
            }
        )

    if route.action != "proxy":
        row("answers", route.action, "")
        return rows
    seen = known.recent.route(route.key)
    decided = seen.legacy.requests + seen.service.requests
    observed, drift = None, ""
    if decided:
        observed = f"service {share(seen.service.requests / decided)}"
        stood_in = seen.service.stood_in
        if stood_in:
            drift = f"{plural(stood_in, 'time')} lately another stood in"
    row("stage", str(route.stage), "stage", observed, drift)
    row("upstream", route.upstream or route.legacy or "", "", *_endpoints(known, route))
    hits = None
    arms = known.five.of(route.key)
    cached = Counter[str]()
    for numbers in arms.values():
        cached.update(numbers.cache)
    if cached:
        kept = sum(cached[word] for word in ("edge", "shared", "archive", "stale", "confirmed"))
        hits = f"{share(kept / cached.total())} from the cache"
    row("cache", _cache_words(route), "cache", hits)
    word, tripped = _breaker_word(known, route)
    mode = "none" if route.breaker is None else "auto"
    row("breaker", mode, "breaker", word, tripped)
    row("drain", "", "drain")
    row("hold", "", "hold")
    row("maintenance", "", "maintenance")
    row("fault", "", "fault")
    row("priority", str(getattr(route, "priority", "")), "priority")
    if route.until is not None:
        past = route.until < date.fromtimestamp(known.now)
        row("until", route.until.isoformat(), "", "past" if past else None, "past" if past else "")
    return rows


def _cache_words(route: Route) -> str:
    policy = route.cache
    if policy.mode != "tiers":
        return policy.mode
    tiers = (("edge", policy.edge), ("shared", policy.shared), ("archive", policy.archive))
    return ", ".join(f"{name} {_lasting(limit)}" for name, limit in tiers if limit is not None)


def _lasting(value: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if value >= length and value % length == 0:
            return f"{value / length:g}{unit}"
    return f"{value:g}s"


def _endpoints(known: Known, route: Route) -> tuple[str | None, str]:
    upstream = known.snapshot.upstreams.get(route.upstream or route.legacy or "")
    if upstream is None:
        return None, ""
    state = state_of(known, upstream)
    return f"{state.up} of {len(upstream.endpoints)} up", "; ".join(state.out)


def _breaker_word(known: Known, route: Route) -> tuple[str | None, str]:
    if route.breaker is None:
        return None, ""
    name = route.key if route.breaker != "upstream" else (route.upstream or route.legacy or "")
    words = Counter[str]()
    for worker in known.workers:
        edge = worker.get("edge", {})
        told = edge.get("breakers", {}).get(name)
        told = told or edge.get("upstreams", {}).get(name, {}).get("breaker")
        if told:
            words[str(told["word"])] += 1
    if not words:
        return None, ""
    word = worst_word(words)
    return word, "" if word == "closed" else f"{word}: others answer instead"


def _example(route: Route) -> str:
    """Return a target that the route could take, to begin an explanation with."""
    if route.tests:
        return route.tests[0].target.decode(errors="replace")
    path = route.key.rpartition(" ")[2]
    path = path[path.find("/") :] if "/" in path else "/"
    for mark in ("**", "{", "}"):
        path = path.replace(mark, "")
    return path
