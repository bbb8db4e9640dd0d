# SPDX-License-Identifier: Apache-2.0
"""The rollout of every route: what the clock does, what people do, and how it stands.

A step is an override of the route's stage, so it is in force everywhere, survives restarts, can be
undone and is in the audit log. What is only this instance's, where a route is on its way and what
its arms have done since the step began, lies in ``rollout.json`` in the state folder.

In a fleet one instance drives (`fleet`), and judges by what all have seen. Should two drive for a
moment, the second one's step is refused by the store: the overrides have changed under it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from strangler.config.diagnostics import did_you_mean
from strangler.config.snapshot import Route, Snapshot, Upstream
from strangler.control.arms import Measured, Pair, kept, read
from strangler.control.brakes import OURS, brakes_of
from strangler.control.choice import LONGEST_REASON, Choice, find_route
from strangler.control.fleet import SAME, Fleet, Word, kept_progress, read_progress
from strangler.control.handler import Asker, Rejected
from strangler.control.overrides import Book
from strangler.control.readiness import Peaks, legacy_rate
from strangler.control.state import State
from strangler.observe.events import announce
from strangler.observe.numbers import Arms, Totals
from strangler.rollout import Override, Overrides, Stage
from strangler.rollout.gate import Gate, Seen, judge
from strangler.rollout.override import subject_of
from strangler.rollout.promotion import (
    Brakes,
    Move,
    Outlook,
    Pairs,
    Progress,
    consider,
    is_timed,
    outlook,
    rest,
    span,
)
from strangler.rollout.stage import WHOLE

FILE: Final = "rollout.json"
"""The name of the file in the state folder."""
LASTS: Final = 7 * 86_400.0
"""Seconds that a step lasts unless the next one follows; routes.yaml should say it by then."""
TICK: Final = 1.0
_SAVE: Final = 10.0
_SAVE_IDLE: Final = 300.0
_PEAK: Final = 10.0
_DAY: Final = 86_400.0
#: Seconds after which an override that says what the file says is taken back.
_SETTLED: Final = 10.0
CLOCK: Final = Asker(who="rollout", role="", address="", agent="", by="clock")


@dataclass(slots=True)
class Track:
    """One route on its way.

    reference: what legacy had done when the last readers left it · told: what was announced last,
    so that it is said once.
    """

    progress: Progress
    reference: Seen | None = None
    told: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a route stands now; *edges*: how many have seen what *pair* says."""

    route: Route
    stage: Stage
    override: Override | None
    pair: Pair
    judged: tuple[Gate, ...]
    brakes: Brakes
    progress: Progress
    outlook: Outlook
    saved: int | None = None
    edges: int = 1

    @property
    def timed(self) -> bool:
        """Whether the clock makes the next step."""
        return is_timed(self.route.canary, self.stage)


class Rollout:
    """The rollouts of one site; `run` is the clock."""

    def __init__(
        self,
        *,
        book: Book,
        state: State,
        snapshot: Callable[[], Snapshot],
        totals: Totals,
        saved: Callable[[str], int | None],
        hear: Callable[[], Awaitable[Fleet]],
        epoch: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Move stages in *book* by what *totals* say.

        saved: answers of a live route that legacy gave within a day, None: not known · hear: what
        the other instances say, and whose clock counts · epoch: names this life of the site.
        """
        self.peaks = Peaks()
        self._fleet = Fleet()
        self._book = book
        self._state = state
        self._snapshot = snapshot
        self._totals = totals
        self._saved = saved
        self._hear = hear
        self._now = now
        self._measured = Measured(epoch)
        self._tracks: dict[str, Track] = {}
        self._save_at = self._peak_at = 0.0
        self._overdue: dict[str, int] = {}
        self._load()

    @property
    def driving(self) -> bool:
        """Whether this instance's clock is the one that counts."""
        return self._fleet.driving

    async def run(self) -> None:
        """Consider every route once a second, for ever."""
        while True:
            try:
                await self.tick()
            except Exception:
                logging.getLogger("strangler.errors").exception("rollout.failed")
            await asyncio.sleep(TICK)

    # ---------------------------------------------------------------- the clock

    async def tick(self) -> None:
        """Look at every route once, and do what is due."""
        now = self._now()
        overrides = self._book.overrides
        routes = [route for route in self._snapshot().routes if has_sides(route)]
        if now >= self._peak_at:
            self._peak_at = now + _PEAK
            seconds = max(min(self._totals.span(60.0), 60.0), _PEAK)
            self.peaks.saw(now, legacy_rate(self._totals.recent(60.0), seconds))
        self._fleet = await self._hear()
        arms: Arms = {}
        canaries = []
        for route in routes:
            override = overrides.of("stage", subject_of("route", route.key))
            stage = effective(route, override)
            if self.driving and override is not None:
                await self._settle(route, stage, override, now)
            if stage.word == "canary":
                arms = arms or self._totals.numbers()
                canaries.append(self._stand_alone(route, arms, now, overrides))
            else:
                self._follow(route, stage, override, arms, now)
        for unit in units(canaries):
            await self._consider(unit, arms, now)
        self._forget({route.key for route in routes})
        self._tell_overdue(now)
        if self._tracks and now >= self._save_at:
            await self.save()

    async def _consider(self, unit: Sequence[Standing], arms: Arms, now: float) -> None:
        """See to the routes of one journey, which are at the same stage."""
        for standing in unit:
            key = standing.route.key
            if standing.brakes.ordered:
                self._tracks[key].progress = replace(
                    standing.progress, measured=max(now, standing.progress.measured)
                )
            if standing.brakes.ordered or now < standing.progress.measured:
                # What happens now doesn't count: it rests, or answers otherwise than it would.
                self._measured.begin(key, arms)
        if not self.driving:
            return
        brakes = _together(unit)
        moves = [consider(one.route.canary, one.progress, one.judged, brakes, now) for one in unit]
        failed = next((move for move in moves if move is not None and move.kind != "promote"), None)
        move = failed or (moves[0] if all(moves) else None)
        if move is not None:
            await self._make(unit, move, arms, now)

    def _stand_alone(self, route: Route, arms: Arms, now: float, overrides: Overrides) -> Standing:
        """Return how *route* stands for itself, following what others have moved."""
        override = overrides.of("stage", subject_of("route", route.key))
        stage = effective(route, override)
        track = self._follow(route, stage, override, arms, now)
        heard = self._fleet.seen(route.key, track.progress) if stage.word == "canary" else []
        pair = sum(heard, self._measured.seen(route.key, arms))
        if stage.share == WHOLE and track.reference is not None:
            pair = replace(pair, legacy=track.reference)
        gates = route.canary.gates
        judged: tuple[Gate, ...] = ()
        if gates is not None and stage.word == "canary":
            judged = judge(gates, pair.legacy, pair.service)
        brakes = brakes_of(overrides, route, override, now)
        saved = self._saved(route.key) if stage.word == "live" else None
        seen = outlook(route.canary, track.progress, judged, brakes, now, saved=saved)
        return Standing(
            route, stage, override, pair, judged, brakes, track.progress, seen, saved,
            1 + len(heard),
        )  # fmt: skip

    def _follow(
        self, route: Route, stage: Stage, override: Override | None, arms: Arms, now: float
    ) -> Track:
        """Return the route's track, begun anew where somebody else has moved its stage."""
        key = route.key
        track = self._tracks.get(key)
        if track is not None and track.progress.stage == stage:
            if stage.word == "canary" and key not in self._measured:
                self._measured.begin(key, arms)
            self._adopt(key, track, arms)
            return track
        # An undo brings an older choice back: that begins anew, it is no step of anybody's.
        known = track.progress.began if track is not None else 0.0
        fresh = override is not None and override.created > known
        began = min(override.created, now) if override is not None and fresh else now
        progress = Progress.of(stage, began)
        reference = None
        if track is not None:
            reference = self._reference(key, arms, track)
            if override is not None and fresh and override.author == CLOCK.who:
                progress = _as_moved(track.progress, stage, began, route.canary.hold)
        track = self._tracks[key] = Track(progress, reference)
        if stage.word == "canary":
            self._measured.begin(key, arms)
        else:
            self._measured.forget(key)
        self._save_at = 0.0
        return track

    def _adopt(self, key: str, track: Track, arms: Arms) -> None:
        """Be where the driver says that the route is, so that whoever follows it goes on there."""
        word = self._fleet.driver.get(key)
        if word is None or word.progress.stage != track.progress.stage:
            return
        if word.progress.measured > track.progress.measured + SAME:
            self._measured.begin(key, arms)
        track.progress = word.progress

    def _reference(self, key: str, arms: Arms, track: Track) -> Seen | None:
        """Return what legacy has done, for when nobody is left to compare with."""
        seen = self._measured.seen(key, arms).legacy
        return seen if seen.answers else track.reference

    async def _make(self, unit: Sequence[Standing], move: Move, arms: Arms, now: float) -> None:
        """Do what the clock has decided for the routes of *unit*, and say so."""
        key, stage = unit[0].route.key, unit[0].stage
        fields = {"route": ", ".join(one.route.key for one in unit), "stage": str(stage)}
        fields["why"] = move.why
        if move.stage is None:
            for one in unit:
                progress = replace(move.progress, began=one.progress.began)
                self._tracks[one.route.key].progress = progress
                self._measured.begin(one.route.key, arms)
            rests = span(move.progress.rests_until - now)
            announce("rollout.failed", level=logging.WARNING, **fields, rests=rests)
            await self._book.audit.add(*(_failed(one, move.why) for one in unit))
            await self.save()
            return
        version = self._book.overrides.version
        choices = [
            self.choice(one.route, move.stage, move.why, "rollout", version=version) for one in unit
        ]
        try:
            await self._book.put_all(choices, CLOCK)
        except Rejected as refused:
            if refused.status_code != 409:  # else somebody was faster: look again
                self._say_once(key, "rollout.unrecorded", error=str(refused.reason))
            return
        word = "rollout.promoted" if move.kind == "promote" else "rollout.back"
        level = logging.INFO if move.kind == "promote" else logging.WARNING
        announce(word, level=level, **fields, to=str(move.stage))
        for one in unit:
            self.moved(one.route.key, move.progress, arms)
        await self.save()

    async def _settle(self, route: Route, stage: Stage, one: Override, now: float) -> None:
        """Take back a step that routes.yaml says by now; warn of one that ends soon."""
        if one.via not in OURS or route.key not in self._tracks:
            return
        if route.stage == stage and now - one.created > _SETTLED:
            why = f"routes.yaml says {stage} itself"
            with contextlib.suppress(Rejected):
                await self._book.clear(lambda other: other.id == one.id, why, CLOCK)
        elif one.left(now) < _DAY:
            self._say_once(
                route.key,
                "rollout.ends",
                id=one.id,
                stage=str(stage),
                then=str(route.stage),
                left=span(one.left(now)),
                hint="write the stage into routes.yaml, or promote",
            )

    def _say_once(self, key: str, event: str, **fields: str) -> None:
        """Announce, unless this was what was said of the route last."""
        known = fields.get("id") or json.dumps(fields)
        told = self._tracks[key].told
        if told.get(event) != known:
            told[event] = known
            announce(event, level=logging.WARNING, route=key, **fields)

    def _tell_overdue(self, now: float) -> None:
        """Say once a day which routes are past their `until` (pain 54)."""
        day = int(now // _DAY)
        today = date.fromtimestamp(now)
        for route in self._snapshot().routes:
            if route.until is None or route.until >= today or self._overdue.get(route.key) == day:
                continue
            self._overdue[route.key] = day
            announce(
                "route.overdue",
                level=logging.WARNING,
                route=route.key,
                until=route.until.isoformat(),
                days=(today - route.until).days,
                owner=route.owner,
                hint="remove the route, or move the date",
            )

    # ---------------------------------------------------------------- for whoever asks or moves

    def stand(self, key: str) -> list[Standing]:
        """Return how the route *key* stands, then the others of its journey at the same stage.

        What the others lack keeps it from going up as well. Raises Rejected.
        """
        route = find_route(self._snapshot(), key)
        if route is None:
            hint = did_you_mean(key, [one.key for one in self._snapshot().routes])
            raise Rejected(404, f"no route {key[:200]}" + (f"; {hint}" if hint else ""))
        if not has_sides(route):
            raise Rejected(409, f"{key} has no service and legacy to move between")
        return self._journey(route, self._totals.numbers())

    def compared(self, here: Standing, pairs: Pairs) -> Standing:
        """Return how a shadowed route stands, its *pairs* looked at."""
        seen = outlook(here.route.canary, here.progress, (), here.brakes, self._now(), pairs=pairs)
        return replace(here, outlook=seen)

    def stand_all(self) -> list[Standing]:
        """Return how every route stands that has two sides, in the order of the file."""
        arms = self._totals.numbers()
        routes = [route for route in self._snapshot().routes if has_sides(route)]
        return [self._journey(route, arms)[0] for route in routes]

    def _journey(self, route: Route, arms: Arms) -> list[Standing]:
        now, overrides = self._now(), self._book.overrides
        here = self._stand_alone(route, arms, now, overrides)
        alone = route.canary.group is None
        others = [
            other
            for one in (() if alone else self._snapshot().routes)
            if one is not route and has_sides(one) and _same_group(one, route)
            if (other := self._stand_alone(one, arms, now, overrides)).stage == here.stage
        ]
        lacking = [
            f"{other.route.key}: {other.outlook.unmet[0].said}"
            for other in others
            if other.outlook.unmet
        ]
        if lacking:
            brakes = replace(here.brakes, group="; ".join(lacking))
            seen = outlook(route.canary, here.progress, here.judged, brakes, now, saved=here.saved)
            here = replace(here, brakes=brakes, outlook=seen)
        return [here, *others]

    def choice(
        self,
        route: Route,
        stage: Stage,
        why: str,
        via: str,
        seconds: float | None = None,
        version: int | None = None,
    ) -> Choice:
        """Return the override that makes *stage* the route's, over the set number *version*."""
        lasts = max(LASTS, 2 * route.canary.hold) if seconds is None else seconds
        return Choice(
            kind="stage",
            subject=subject_of("route", route.key),
            value=str(stage),
            seconds=lasts,
            reason=why[:LONGEST_REASON],
            owners=(route.owner,),
            file=str(route.stage),
            if_version=version,
            via=via,
        )

    def legacy_of(self, route: Route) -> Upstream | None:
        """Return the upstream that a route would go back to."""
        return self._snapshot().upstreams.get(route.legacy or "")

    def moved(self, key: str, progress: Progress, arms: Arms | None = None) -> None:
        """Go on from *progress*, after a move that counts."""
        found = self._totals.numbers() if arms is None else arms
        track = self._tracks[key]
        track.reference = self._reference(key, found, track)
        track.progress = progress
        if progress.stage.word == "canary":
            self._measured.begin(key, found)
        else:
            self._measured.forget(key)

    def words(self) -> dict[str, Any]:
        """Return what the others of a fleet get to know."""
        arms = self._totals.numbers()
        return {
            key: Word(track.progress, self._measured.seen(key, arms)).json()
            for key, track in self._tracks.items()
            if track.progress.stage.word == "canary"
        }

    # ---------------------------------------------------------------- what outlives this process

    async def save(self) -> None:
        """Write down where each route is."""
        arms = self._totals.numbers()
        routes = {
            key: _kept(track) | {"counts": self._measured.json(key, arms)}
            for key, track in self._tracks.items()
            if track.progress.stage.word == "canary"
        }
        self._save_at = self._now() + (_SAVE if routes else _SAVE_IDLE)
        document = json.dumps({"routes": routes, "peaks": self.peaks.json()}).encode()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # a step's samples are what is lost
            await loop.run_in_executor(None, self._state.write, FILE, document)

    def _load(self) -> None:
        try:
            told = json.loads((self._state.folder / FILE).read_bytes())
            self.peaks = Peaks.parse(told["peaks"])
            for key, kept in dict(told["routes"]).items():
                self._tracks[key] = _track(kept)
                self._measured.restore(key, kept["counts"])
        except FileNotFoundError:
            return
        except (OSError, KeyError, TypeError, ValueError) as problem:
            announce("rollout.unreadable", level=logging.WARNING, error=str(problem),
                     lost="how long the steps have been kept, and their samples")  # fmt: skip

    def _forget(self, keys: Collection[str]) -> None:
        for key in [one for one in self._tracks if one not in keys]:
            del self._tracks[key]
            self._measured.forget(key)


def has_sides(route: Route) -> bool:
    """Tell whether a route has both a service and legacy, to move between."""
    return route.action == "proxy" and route.upstream is not None and route.legacy is not None


def _same_group(one: Route, other: Route) -> bool:
    """Tell whether two routes are of one journey, whose readers are to be on one side."""
    return one.canary.group is not None and one.canary.group == other.canary.group


def units(standings: Iterable[Standing]) -> list[list[Standing]]:
    """Put those together that move together: of one group, and at the same stage."""
    made: dict[tuple[str, str], list[Standing]] = {}
    for one in standings:
        group = one.route.canary.group
        name = f"group {group}" if group is not None else f"route {one.route.key}"
        made.setdefault((name, str(one.stage)), []).append(one)
    return list(made.values())


def _together(unit: Sequence[Standing]) -> Brakes:
    """Return what keeps any of them: one that is held keeps its whole journey."""
    names = ("freeze", "held", "by_hand", "ordered")
    return Brakes(
        **{
            name: next(filter(None, (getattr(one.brakes, name) for one in unit)), "")
            for name in names
        }
    )


def effective(route: Route, override: Override | None) -> Stage:
    """Return the stage that counts: the override's where the route can have it, else the file's."""
    if override is None or route.cannot_be(override.stage):
        return route.stage
    return override.stage


def _as_moved(before: Progress, stage: Stage, at: float, hold: float) -> Progress:
    """Return the progress after another instance's clock has moved the route."""
    if stage.share >= before.stage.share:
        return before.moved(stage, at)
    share = before.stage.share
    failures = before.failures + 1 if before.failed == share else 1
    until = at + rest(hold, failures)
    failed = replace(before, rests_until=until, failures=failures, failed=share)
    return failed.moved(stage, at)


def _failed(standing: Standing, why: str) -> dict[str, Any]:
    """Return the audit's entry of a gate that failed and moved nothing."""
    return {
        "what": "rollout.failed",
        "who": CLOCK.who,
        "role": CLOCK.role,
        "kind": "stage",
        "subject": subject_of("route", standing.route.key),
        "before": str(standing.stage),
        "after": str(standing.stage),
        "reason": why,
        "from": CLOCK.json(),
    }


def _kept(track: Track) -> dict[str, Any]:
    reference = None if track.reference is None else kept(track.reference)
    return kept_progress(track.progress) | {"reference": reference}


def _track(told: Mapping[str, Any]) -> Track:
    """Read what `_kept` wrote. Raises KeyError, TypeError, ValueError."""
    reference = told["reference"]
    return Track(read_progress(told), None if reference is None else read(reference))
