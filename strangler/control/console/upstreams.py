# SPDX-License-Identifier: Apache-2.0
"""How each upstream is, from what all workers and the prober know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from strangler.config.snapshot import Upstream
from strangler.control.console.known import Known
from strangler.control.console.seen import Verdict
from strangler.control.console.words import plural


@dataclass(frozen=True, slots=True)
class State:
    """What all workers and the prober know of an upstream; out: what is out, and why."""

    up: int
    out: tuple[str, ...]
    inflight: int
    waiting: int
    word: str
    mode: str
    panic: bool
    last_error: str
    drained: bool


def state_of(known: Known, upstream: Upstream) -> State:
    told = [
        status
        for worker in known.workers
        if (status := worker.get("edge", {}).get("upstreams", {}).get(upstream.name)) is not None
    ]
    words = Counter(str(one["breaker"]["word"]) for one in told if "breaker" in one)
    modes = {str(one["breaker"]["mode"]) for one in told if "mode" in one.get("breaker", {})}
    out: dict[str, str] = {}
    for one in told:
        out |= {str(name): str(why) for name, why in one.get("out", {}).items()}
    sick = known.sick.get(upstream.name, {})
    bad = {url for url, is_sick in sick.items() if is_sick}
    named = [f"{name} is out ({why})" for name, why in out.items()]
    named += [f"{url} fails its health check" for url in sorted(bad) if not out]
    down = max(len(out), len(bad))
    drained = known.overrides.of("drain", f"upstream:{upstream.name}") is not None
    return State(
        up=max(len(upstream.endpoints) - down, 0),
        out=tuple(named),
        inflight=sum(int(one.get("inflight", 0)) for one in told),
        waiting=sum(int(one.get("waiting", 0)) for one in told),
        word=worst_word(words),
        mode=next(iter(modes), ""),
        panic=any(one.get("panic") for one in told),
        last_error=next((str(one["last_error"]) for one in told if one.get("last_error")), ""),
        drained=drained,
    )


def worst_word(words: Mapping[str, int]) -> str:
    for word in ("open", "half_open", "half-open", "closed"):
        if words.get(word):
            return word
    return next(iter(words), "")


def shown(known: Known, upstream: Upstream) -> dict[str, Any]:
    state = state_of(known, upstream)
    troubles: list[str] = list(state.out[:3])
    verdict: Verdict = "good"
    if state.out:
        verdict = "warn" if state.up else "bad"
    if state.word and state.word != "closed":
        verdict = "bad"
        why = f", last error {state.last_error}" if state.last_error else ""
        troubles.append(f"breaker {state.word.replace('_', '-')}{why}")
    if state.mode:
        verdict = "warn" if verdict == "good" else verdict
        troubles.append(f"breaker {state.mode.replace('_', ' ')} by an operator")
    if state.drained:
        verdict = "warn" if verdict == "good" else verdict
        troubles.append("drained by an operator")
    if state.panic:
        verdict = "bad"
        troubles.append("all endpoints look bad: they are asked anyway")
    if state.waiting:
        verdict = "warn" if verdict == "good" else verdict
        troubles.append(f"{plural(state.waiting, 'request')} waiting for a place")
    limit = upstream.max_inflight
    limit = limit * known.slots if isinstance(limit, int) else None
    parts = [*troubles]
    if not troubles:
        count = len(upstream.endpoints)
        parts.append(f"{plural(count, 'endpoint')} well" if count > 1 else "well")
        if state.word:
            parts.append(f"breaker {state.word}")
    parts.append(
        f"{state.inflight} of {limit} places taken" if limit else f"{state.inflight} under way"
    )
    said = ", ".join(parts)
    return {
        "name": upstream.name,
        "role": upstream.role,
        "owner": upstream.owner,
        "endpoints": [one.url for one in upstream.endpoints],
        "verdict": verdict,
        "say": said[:1].upper() + said[1:] + ".",
        "troubles": troubles,
        "breaker": state.word or None,
        "mode": state.mode or "auto",
        "drained": state.drained,
        "inflight": state.inflight,
        "waiting": state.waiting,
        "limit": limit,
    }


def would_add(known: Known) -> float:
    """Return the requests a second that legacy gets if every service fails."""
    added = 0.0
    for route in known.snapshot.routes:
        stage = known.stage(route)
        if any(rung.kind == "legacy" for rung in route.fallback_at(stage).then):
            added += known.recent.route(route.key).service.rate
    return added
