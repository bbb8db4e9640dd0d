# SPDX-License-Identifier: Apache-2.0
"""What operators' overrides keep a rollout from: steps, moves, or any judgement at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strangler.config.snapshot import Route
from strangler.rollout import Override, Overrides
from strangler.rollout.override import SITE, Kind, subject_of
from strangler.rollout.promotion import Brakes, span

#: The verbs that the clock may go on from; a stage said outright is a person's.
OURS: Final = frozenset(("promote", "rollout"))


def brakes_of(overrides: Overrides, route: Route, stage: Override | None, now: float) -> Brakes:
    """Return what keeps *route* where it is."""

    def said(what: str, one: Override | None) -> str:
        if one is None:
            return ""
        return f"{what} by {one.author} for another {span(one.left(now))}: {one.reason}"

    by_hand = stage if stage is not None and stage.via not in OURS else None
    order = next(_orders(overrides, route), None)
    return Brakes(
        freeze=said("the site is frozen", overrides.of("freeze", SITE)),
        held=said("held", overrides.of("hold", subject_of("route", route.key))),
        by_hand=said(f"{by_hand.value} said", by_hand) if by_hand is not None else "",
        ordered=said(f"no comparison: {order.kind} of {order.subject}", order) if order else "",
    )


def _orders(overrides: Overrides, route: Route) -> Iterator[Override]:
    """Yield the orders under which the two sides of *route* don't answer as they would."""
    key = subject_of("route", route.key)
    sides = [subject_of("upstream", name) for name in (route.upstream, route.legacy) if name]
    asked: list[tuple[Kind, list[str]]] = [
        ("fault", [key]),
        ("maintenance", [key, SITE]),
        ("cache", [key, SITE]),
        ("breaker", [key, *sides]),
        ("drain", sides),
    ]
    for kind, subjects in asked:
        for subject in subjects:
            one = overrides.of(kind, subject)
            if one is None or route.cannot_have(kind, one.value):
                continue
            if one.value not in ("auto", "forced_closed", "bypass"):
                yield one
