# SPDX-License-Identifier: Apache-2.0
"""How a canary goes up and back: one step at a time, up only where every condition is met.

The steps are those of `canary.steps`; after the last comes `live`, then `sealed`. Up needs: the
hold is over, every gate passes, nobody holds the route or has frozen the site, and the rest after a
failed gate is over. Back needs nothing.

The clock may move what routes.yaml or the rollout itself has put in force, and only within the
canary: what an operator said by hand stays as said, and `live` is a decision of people. A gate that
fails ends the attempt: the step is kept or left by one, as the route's `on_fail` says, and then the
route rests, twice as long after each failure of the same step, so that a canary doesn't swing to
and fro. After `MOST_FAILURES` it waits for a person.

Nothing here reads a clock: times are Unix seconds that the caller gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from .canary import Canary
from .gate import Gate, overall
from .stage import WHOLE, Stage

MOST_FAILURES: Final = 3
"""Failures of one step after which only a person may try it again."""
SHORTEST_REST: Final = 60.0
"""Seconds that a route rests after a failed gate, at least; its hold, where that is longer."""
LONGEST_REST: Final = 86_400.0

_LIVE: Final = Stage("live")
_LEGACY: Final = Stage("legacy")

ConditionName = Literal[
    "step", "hold", "gate samples", "gate errors", "gate p95", "rest", "failures", "freeze",
    "held", "group", "ordered", "parity", "seal",
]  # fmt: skip


_BRAKES: Final[tuple[Literal["freeze", "held", "group", "ordered"], ...]] = (
    "freeze", "held", "group", "ordered",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that the next step needs: whether it is met, and how it stands in words."""

    name: ConditionName
    met: bool
    said: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """Answers of the two sides to the same request: how many were compared, and how many weren't
    equal, an answer that the service didn't give among them.
    """

    compared: int = 0
    differing: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a route is on its way.

    stage: the effective one · began: when it came into force · measured: since when the two arms
    are compared, later than `began` after a rest · rests_until: no step up before · failures: how
    often in a row the step to `failed` (a share, in hundredths of a percent) has failed.
    """

    stage: Stage
    began: float
    measured: float
    rests_until: float = 0.0
    failures: int = 0
    failed: int | None = None

    @classmethod
    def of(cls, stage: Stage, now: float) -> Progress:
        """Begin with *stage* at *now*."""
        return cls(stage, now, now)

    def moved(self, stage: Stage, now: float) -> Progress:
        """Return the progress after a move to *stage*; what failed is forgotten beyond it."""
        cleared = self.failed is not None and stage.share > self.failed
        return Progress(
            stage,
            now,
            max(now, self.rests_until),
            self.rests_until if not cleared else 0.0,
            self.failures if not cleared else 0,
            self.failed if not cleared else None,
        )


@dataclass(frozen=True, slots=True)
class Brakes:
    """What keeps a route where it is, each in words or empty.

    freeze: the site's · held: the route's · by_hand: an operator has said its stage · group:
    another route of the group isn't ready, and a journey stays on one side · ordered: what an
    operator has ordered keeps the two sides from answering as they would, so nothing is judged.
    """

    freeze: str = ""
    held: str = ""
    by_hand: str = ""
    group: str = ""
    ordered: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next step up, or None, and all that it needs."""

    stage: Stage
    next: Stage | None
    conditions: tuple[Condition, ...]

    @property
    def unmet(self) -> tuple[Condition, ...]:
        """The conditions that are not met."""
        return tuple(one for one in self.conditions if not one.met)

    @property
    def ready(self) -> bool:
        """Whether the step may be made."""
        return self.next is not None and not self.unmet


@dataclass(frozen=True, slots=True)
class Move:
    """What the clock does: to which stage (None: it stays), why, and the progress after it."""

    kind: Literal["promote", "back", "hold"]
    stage: Stage | None
    why: str
    progress: Progress


def next_stage(stage: Stage, steps: Sequence[int]) -> Stage | None:
    """Return the stage one step up; None where routes.yaml names none.

    From legacy and shadow it is the first step; after the last one `live`, then `sealed`.
    `retired` says that code is gone, which no run-time choice can make true.
    """
    if stage.word in ("legacy", "shadow"):
        return _canary(steps[0]) if steps else None
    if stage.word == "canary":
        higher = [step for step in steps if step > stage.share]
        if higher:
            return _canary(higher[0])
        return _LIVE if steps or stage.share == WHOLE else None
    return Stage("sealed") if stage.word == "live" else None


def previous_stage(stage: Stage, steps: Sequence[int]) -> Stage | None:
    """Return the stage one step back; None for legacy, where nobody has left Django.

    Below the first step is legacy. From live it is the highest step that leaves readers with
    Django, so that a step back is always felt.
    """
    if stage.word == "legacy":
        return None
    if stage.word in ("retired", "sealed"):
        return Stage("sealed") if stage.word == "retired" else _LIVE
    most = stage.share if stage.word == "canary" else WHOLE if stage.word == "live" else 0
    lower = [step for step in steps if 0 < step < most]
    return _canary(lower[-1]) if lower else _LEGACY


def rest(hold: float, failures: int) -> float:
    """Return the seconds to rest after the *failures*-th failure in a row (1 or more)."""
    return min(max(hold, SHORTEST_REST) * 2.0 ** (min(failures, 30) - 1), LONGEST_REST)


def outlook(
    canary: Canary,
    progress: Progress,
    judged: Sequence[Gate],
    brakes: Brakes,
    now: float,
    *,
    saved: int | None = None,
    pairs: Pairs | None = None,
) -> Outlook:
    """Return what the next step needs and how it stands.

    judged: the gates, where the route has any and is a canary · saved: the answers of a live
    route that legacy had to give in the last day, None: not known · pairs: of a shadow, None: not
    asked.
    """
    stage, steps = progress.stage, canary.steps
    following = next_stage(stage, steps)
    conditions = [Condition("step", following is not None, _about_step(stage, following))]
    if stage.word == "canary":
        if canary.hold:
            kept = max(now - progress.measured, 0.0)
            said = f"kept {span(min(kept, canary.hold))} of {span(canary.hold)}"
            conditions.append(Condition("hold", kept >= canary.hold, said))
        conditions += [_gate(gate) for gate in judged]
    if stage.word == "shadow" and following is not None and pairs is not None:
        conditions.append(_parity(canary, pairs))
    if stage.word == "live" and following is not None:
        conditions.append(_seal(saved))
    if progress.rests_until > now:
        left = span(progress.rests_until - now)
        conditions.append(Condition("rest", False, f"a gate failed, rests for another {left}"))
    if _worn(progress, following):
        said = f"this step has failed {progress.failures} times: a person has to see why"
        conditions.append(Condition("failures", False, said))
    for name in _BRAKES:
        said = getattr(brakes, name)
        if said:
            conditions.append(Condition(name, False, said))
    return Outlook(stage, following, tuple(conditions))


def is_timed(canary: Canary, stage: Stage) -> bool:
    """Tell whether the clock makes the next step: a canary with steps and a hold, before live."""
    following = next_stage(stage, canary.steps)
    return (
        stage.word == "canary"
        and canary.hold > 0
        and following is not None
        and following.word == "canary"
    )


def consider(
    canary: Canary, progress: Progress, judged: Sequence[Gate], brakes: Brakes, now: float
) -> Move | None:
    """Return what the clock has to do now, None for nothing.

    A failed gate counts on every canary, timed or not; a step up is made on a timed one.
    """
    if progress.stage.word != "canary" or now < progress.rests_until or brakes.ordered:
        return None
    if overall(judged) == "fail":
        return _failed(canary, progress, judged, brakes, now)
    if not is_timed(canary, progress.stage) or brakes.by_hand:
        return None
    seen = outlook(canary, progress, judged, brakes, now)
    if not seen.ready or seen.next is None:
        return None
    why = "; ".join(one.said for one in seen.conditions if one.name != "step")
    return Move("promote", seen.next, why, progress.moved(seen.next, now))


def _failed(
    canary: Canary, progress: Progress, judged: Sequence[Gate], brakes: Brakes, now: float
) -> Move:
    """End the attempt at this step: go back or stay, and rest."""
    why = "; ".join(f"{one.name} {one.seen}, limit {one.limit}" for one in judged
                    if one.verdict == "fail")  # fmt: skip
    share = progress.stage.share
    failures = progress.failures + 1 if progress.failed == share else 1
    until = now + rest(canary.hold, failures)
    rested = replace(progress, measured=until, rests_until=until, failures=failures, failed=share)
    braked = brakes.freeze or brakes.held or brakes.by_hand
    if canary.on_fail == "hold" or braked:
        kept = f"{why} (not moved: {braked})" if canary.on_fail == "back" else why
        return Move("hold", None, kept, rested)
    before = previous_stage(progress.stage, canary.steps) or _LEGACY
    return Move("back", before, why, rested.moved(before, now))


def _worn(progress: Progress, following: Stage | None) -> bool:
    """Tell whether the step that failed too often is the next one, or the one that is kept."""
    if progress.failed is None or progress.failures < MOST_FAILURES:
        return False
    return following is None or following.share >= progress.failed


def _about_step(stage: Stage, following: Stage | None) -> str:
    if following is not None:
        return f"{stage} to {following}"
    if stage.word == "retired":
        return "retired is the last stage"
    if stage.word == "sealed":
        return "retired says that the code is gone: routes.yaml has to say it"
    return "the route has no canary.steps: say a stage with toggle"


def _gate(gate: Gate) -> Condition:
    name: ConditionName = f"gate {gate.name}"  # type: ignore[assignment]
    return Condition(name, gate.verdict == "pass", f"{gate.seen}, limit {gate.limit}")


def _parity(canary: Canary, pairs: Pairs) -> Condition:
    """Judge a shadow's pairs: a difference is to the shadow what an error is to the canary."""
    gates = canary.gates
    needed = gates.samples if gates is not None else 1
    limit = (gates.errors or 0.0) if gates is not None else 0.0
    share = pairs.differing / pairs.compared * 100 if pairs.compared else 0.0
    met = pairs.compared >= needed and share <= limit
    said = f"{pairs.compared} of {needed} pairs compared"
    if pairs.compared:
        said += f", {share:.2f}% differ, limit {limit:g}%"
    return Condition("parity", met, said)


def _seal(saved: int | None) -> Condition:
    if saved is None:
        return Condition("seal", False, "how often legacy saved an answer is not known yet")
    times = f"{saved} answer{'s' * (saved != 1)}"
    said = f"legacy saved {times} in the last day" if saved else "legacy was not needed for a day"
    return Condition("seal", saved == 0, said)


def _canary(share: int) -> Stage:
    return Stage("canary", share / 100)


def span(seconds: float) -> str:
    """Write a length of time with its two largest units, as `1h 30m`; under a minute in s."""
    if seconds < 60:
        return f"{seconds:.3g}s"
    whole = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
