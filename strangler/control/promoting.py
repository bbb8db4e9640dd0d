# SPDX-License-Identifier: Apache-2.0
"""What people do to a rollout: promote, hold, back; and how it is shown to them.

The routes of one group move together: a reader's journey is to be on one side.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from strangler import units
from strangler.config.snapshot import Route
from strangler.control.arms import shown
from strangler.control.choice import Choice
from strangler.control.handler import Asker, Rejected
from strangler.control.overrides import Book, Done
from strangler.control.parity import Parity
from strangler.control.readiness import readiness
from strangler.control.rollout import LASTS, Rollout, Standing
from strangler.observe.lanes import shortened
from strangler.observe.numbers import Arms, Totals
from strangler.rollout import LIFE, Malformed, Override, Stage, parse_stage
from strangler.rollout.override import subject_of
from strangler.rollout.promotion import Pairs, Progress, previous_stage

WINDOW: Final = 60.0
"""Seconds of the rates that are shown."""


class Promoting:
    """The verbs and the views of the admin API for rollouts."""

    def __init__(self, rollout: Rollout, book: Book, totals: Totals, parity: Parity) -> None:
        self._rollout = rollout
        self._book = book
        self._totals = totals
        self._parity = parity

    async def stand(self, key: str) -> list[Standing]:
        """Return how the route *key* stands, then its journey; see `Rollout.stand`.

        A shadow's pairs are asked for, and looked at as well. Raises Rejected.
        """
        unit = self._rollout.stand(key)
        if unit[0].stage.word == "shadow":
            unit[0] = self._rollout.compared(unit[0], _pairs(await self._parity.of(key)))
        return unit

    # ---------------------------------------------------------------- verbs

    async def promote(
        self,
        unit: Sequence[Standing],
        reason: str,
        asker: Asker,
        *,
        force: bool = False,
        lasts: str | None = None,
    ) -> dict[str, Any]:
        """Move a route, and its journey, one step up. Raises Rejected.

        Where a condition isn't met it is refused with all of them, unless *force*: then the audit
        says which were not. Of two people at once the second is told so.
        """
        here = unit[0]
        following, unmet = here.outlook.next, here.outlook.unmet
        told = [{"name": one.name, "said": one.said} for one in unmet]
        if following is None:
            raise Rejected(409, f"not promoted: {unmet[0].said}", unmet=told)
        if unmet and not force:
            said = "; ".join(f"{one.name}: {one.said}" for one in unmet)
            raise Rejected(409, f"not promoted: {said}", unmet=told, next=str(following))
        seconds = _lasts(lasts, max(LASTS, 2 * here.route.canary.hold))
        why = f"{reason} (forced: {', '.join(one.name for one in unmet)})" if unmet else reason
        version = self._book.overrides.version
        choices = self._choices(unit, following, why, "promote", seconds, version)
        done = await self._book.put_all(choices, asker)
        return await self._moved(unit, following, done) | {"forced": [one.name for one in unmet]}

    async def back(
        self,
        unit: Sequence[Standing],
        reason: str,
        asker: Asker,
        *,
        longest: float,
        to: str | None = None,
        lasts: str | None = None,
    ) -> dict[str, Any]:
        """Move a route, and its journey, one step back or to the stage *to*. Raises Rejected.

        There is no condition: not a freeze, not a hold. The answer says what legacy will have to
        do.
        """
        here = unit[0]
        steps = here.route.canary.steps
        before = previous_stage(here.stage, steps) if to is None else _lower(here, to)
        if before is None or before == here.stage:
            raise Rejected(409, f"{here.route.key} is at {here.stage} already")
        seconds = _lasts(lasts, longest, longest)
        told = self._readiness(here)
        choices = self._choices(unit, before, reason, "back", seconds)
        done = await self._book.put_all(choices, asker)
        return await self._moved(unit, before, done) | {"readiness": told}

    async def hold(
        self, here: Standing, reason: str, asker: Asker, *, longest: float, lasts: str | None = None
    ) -> dict[str, Any]:
        """Keep a route where it is: nothing but `back` moves it. Raises Rejected."""
        choice = Choice(
            kind="hold",
            subject=subject_of("route", here.route.key),
            value=True,
            seconds=_lasts(lasts, longest, longest),
            reason=reason,
            owners=(here.route.owner,),
            file="",
        )
        done = await self._book.put(choice, asker)
        return {"stage": str(here.stage), **done.json()}

    async def release(self, here: Standing, reason: str, asker: Asker) -> dict[str, Any]:
        """End a hold. Raises Rejected."""
        subject = subject_of("route", here.route.key)

        def chosen(one: Override) -> bool:
            return one.kind == "hold" and one.subject == subject

        gone, done = await self._book.clear(chosen, reason, asker)
        if not gone:
            raise Rejected(409, f"{here.route.key} is not held")
        return {"stage": str(here.stage), **done.json()}

    def _choices(
        self,
        unit: Sequence[Standing],
        stage: Stage,
        why: str,
        via: str,
        seconds: float,
        version: int | None = None,
    ) -> list[Choice]:
        for one in unit:
            problem = one.route.cannot_be(stage)
            if problem:
                raise Rejected(409, f"{one.route.key} can't be {stage}: {problem}")
        return [self._rollout.choice(one.route, stage, why, via, seconds, version) for one in unit]

    async def _moved(self, unit: Sequence[Standing], stage: Stage, done: Done) -> dict[str, Any]:
        """Go on from here; return what is answered."""
        for one in unit:
            self._rollout.moved(one.route.key, Progress.of(stage, time.time()))
        await self._rollout.save()
        return {
            "route": unit[0].route.key,
            "from": str(unit[0].stage),
            "to": str(stage),
            "routes": [one.route.key for one in unit],
            **done.json(),
        }

    # ---------------------------------------------------------------- views

    async def list(self) -> list[dict[str, Any]]:
        """Return every route that has two sides, in short."""
        standings = self._rollout.stand_all()
        if any(one.stage.word == "shadow" for one in standings):
            counts = (await self._parity.every())["routes"]
            standings = [
                self._rollout.compared(one, _pairs(counts.get(one.route.key)))
                if one.stage.word == "shadow"
                else one
                for one in standings
            ]
        return [
            {
                "route": one.route.key,
                "owner": one.route.owner,
                **_until(one.route),
                "file": str(one.route.stage),
                "effective": str(one.stage),
                "next": str(one.outlook.next) if one.outlook.next is not None else None,
                "ready": one.outlook.ready,
                "timed": one.timed,
                "unmet": [condition.said for condition in one.outlook.unmet],
            }
            for one in standings
        ]

    def show(self, unit: Sequence[Standing]) -> dict[str, Any]:
        """Return everything about one route's rollout."""
        here, route = unit[0], unit[0].route
        recent, seconds = self._recent()
        arms = recent.get(shortened(route.key), {})
        one, canary = here.override, route.canary
        before = previous_stage(here.stage, canary.steps)
        progress = here.progress
        return {
            "route": route.key,
            "owner": route.owner,
            **_until(route),
            "life": list(LIFE),
            "stage": {
                "file": str(route.stage),
                "override": None if one is None else self._book.shown(one),
                "effective": str(here.stage),
                "began": round(progress.began, 3),
            },
            "policy": {
                "by": str(canary.by),
                "group": canary.group,
                "steps": [str(Stage("canary", step / 100)) for step in canary.steps],
                "hold_s": canary.hold,
                "on_fail": canary.on_fail,
                "gates": _gates(route),
            },
            "journey": [other.route.key for other in unit[1:]],
            "arms": {
                "legacy": shown(here.pair.legacy, arms.get("legacy"), seconds),
                "service": shown(here.pair.service, arms.get("service"), seconds),
                "since": round(progress.measured, 3),
                "edges": here.edges,
            },
            "gates": [
                {
                    "name": gate.name,
                    "limit": gate.limit,
                    "seen": gate.seen,
                    "verdict": gate.verdict,
                }
                for gate in here.judged
            ],
            "next": {
                "stage": str(here.outlook.next) if here.outlook.next is not None else None,
                "ready": here.outlook.ready,
                "by": "clock" if here.timed and not here.brakes.by_hand else "hand",
                "conditions": [
                    {"name": condition.name, "met": condition.met, "said": condition.said}
                    for condition in here.outlook.conditions
                ],
            },
            "back": {"stage": str(before) if before is not None else None},
            "rest": {
                "until": round(progress.rests_until, 3) or None,
                "failures": progress.failures,
                "failed": None
                if progress.failed is None
                else str(Stage("canary", progress.failed / 100)),
            },
            "brakes": {
                "freeze": here.brakes.freeze,
                "held": here.brakes.held,
                "by_hand": here.brakes.by_hand,
                "ordered": here.brakes.ordered,
            },
            "readiness": self._readiness(here),
            "driving": self._rollout.driving,
        }

    def _readiness(self, here: Standing) -> dict[str, Any]:
        recent, seconds = self._recent()
        legacy = self._rollout.legacy_of(here.route)
        return readiness(here.route, legacy, recent, seconds, self._rollout.peaks)

    def _recent(self) -> tuple[Arms, float]:
        return self._totals.recent(WINDOW), min(max(self._totals.span(WINDOW), 1.0), WINDOW)


def wrong(name: str, message: str) -> Rejected:
    """Return the refusal of a request whose member *name* makes no sense."""
    return Rejected(400, f"{name}: {message}", errors=[{"field": name, "message": message}])


def _pairs(counts: Mapping[str, Any] | None) -> Pairs:
    if counts is None:
        return Pairs()
    failed = counts["failed"]
    return Pairs(counts["compared"] + failed, counts["mismatched"] + failed)


def _lower(here: Standing, text: str) -> Stage:
    """Return the stage that *text* says, which must not be a step up. Raises Rejected."""
    try:
        stage = parse_stage(text)
    except Malformed as problem:
        hint = f"; {problem.hint}" if problem.hint else ""
        raise wrong("to", f"expected {problem.expected}, got {problem.got}{hint}") from None
    now = here.stage
    if stage != now and (stage.step, stage.share) >= (now.step, now.share):
        way = "strangler toggle puts a route into any stage"
        if here.override is not None and stage == here.route.stage:
            way = (
                f"routes.yaml says {stage}: strangler undo {here.override.id} ends what is above it"
            )
        raise wrong("to", f"{stage} is no step back from {now}; {way}")
    return stage


def _lasts(said: str | None, default: float, longest: float = LASTS) -> float:
    """Return for how many seconds a move is to last. Raises Rejected."""
    if said is None:
        return default
    try:
        seconds = units.duration(said)
    except units.UnitError as problem:
        raise wrong("for", str(problem)) from None
    if not 1.0 <= seconds <= longest:
        most = units.show_duration(longest)
        raise wrong("for", f"expected 1s to {most}, got {said[:50]}")
    return seconds


def _until(route: Route) -> Mapping[str, Any]:
    """Return when the route should be gone, and in how many days (pain 54)."""
    if route.until is None:
        return {"until": None}
    days = (route.until - date.today()).days
    return {"until": route.until.isoformat(), "days_left": days, "overdue": days < 0}


def _gates(route: Route) -> dict[str, Any] | None:
    gates = route.canary.gates
    if gates is None:
        return None
    told: dict[str, Any] = {"samples": gates.samples}
    if gates.errors is not None:
        told["errors"] = f"+{gates.errors:g}pp"
    if gates.p95 is not None:
        told["p95"] = f"+{gates.p95:g}%"
    return told
