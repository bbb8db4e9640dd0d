# SPDX-License-Identifier: Apache-2.0
"""What is going on now, as documents: for the console, `top` and `status`."""

from __future__ import annotations

from typing import Any

from strangler.observe.history import added
from strangler.observe.numbers import ArmNumbers, Arms, Totals


def arm(numbers: ArmNumbers, seconds: float) -> dict[str, Any]:
    """Return what *numbers* of the last *seconds* say, ready for JSON.

    rate: requests a second · errors: share of unwell ones, 0 to 1 · p50_ms, p95_ms, p99_ms: until
    the head of a fetched answer, None without samples · took_p95_ms: whole exchanges, hits
    included, coarse.
    """
    told: dict[str, Any] = {
        "requests": numbers.requests,
        "rate": round(numbers.requests / seconds, 2),
        "unwell": numbers.unwell,
        "errors": round(numbers.errors, 5),
        "samples": numbers.samples,
        **{
            f"p{share}_ms": _milliseconds(numbers.percentile(share / 100)) for share in (50, 95, 99)
        },
        "took_p95_ms": _milliseconds(numbers.took(0.95)),
        "statuses": numbers.classes,
        "sent_per_s": round(numbers.sent / seconds),
        "inflight": numbers.inflight,
    }
    for name, counts in (
        ("failures", numbers.failures),
        ("fallbacks", numbers.fallbacks),
        ("cache", numbers.cache),
    ):
        if counts:
            told[name] = counts
    if numbers.collapsed:
        told["collapsed"] = numbers.collapsed
    return told


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def badness(numbers: ArmNumbers, seconds: float) -> float:
    """Return how much readers are hurt: failing requests a second; those whom a fallback saved
    count by a third.

    It is the rate times the share that fails, so that a busy route with a few errors comes before
    a silent one with nothing else.
    """
    failed = numbers.failed
    return (failed + max(numbers.unwell - failed, 0) / 3) / seconds


def observed(totals: Totals, seconds: float = 60.0) -> dict[str, Any]:
    """Return each route's arms over the last *seconds* (1 to 300), and the site's sum.

    Routes without a request in that time are not in it. `routes` is in the order of badness, then
    of rate.
    """
    recent = totals.recent(seconds)
    span = totals.span(seconds)
    site = ArmNumbers()
    order: list[tuple[float, float, str]] = []
    for route, arms in recent.items():
        numbers = added(arms)
        site = site + numbers
        order.append((-badness(numbers, span), -numbers.requests, route))
    return {
        "seconds": round(span, 1),
        "site": arm(site, span),
        "routes": {route: _route(recent, route, span) for _, _, route in sorted(order)},
    }


def _route(recent: Arms, route: str, span: float) -> dict[str, Any]:
    arms = recent[route]
    return {
        "badness": round(badness(added(arms), span), 4),
        **{target: arm(numbers, span) for target, numbers in arms.items()},
    }
