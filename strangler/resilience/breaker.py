# SPDX-License-Identifier: Apache-2.0
"""Leave an upstream alone that fails, and find out with few requests whether it is back.

closed: everything passes, and the share of failures is watched · open: nothing passes until the
hold is over · half_open: a few probes pass; if they all succeed it closes, if one fails it opens
with a longer hold. A probe has its verdict when its content has come, since what breaks off in
mid-content begins well; one that goes on for as long as the shortest hold has passed, for some
never end. `NEXT` is the whole protocol. Holds follow each other by doubling, with jitter
over their upper half, so that even the longest are not in step (Nygard, "Release It!", names the
pattern; resilience4j the override).

Over this lies what an operator says: `forced_open` and `forced_closed` win and end by themselves.

Workers share `Breaker.state`, a tuple of numbers, JSON as it is; `merge` takes the later one. The
newest opening wins, and of one opening its closing. Times are of the machine's monotonic clock,
which its processes have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Literal, NamedTuple

from .policy import Breaker as Policy
from .window import Window

Word = Literal["closed", "open", "half_open"]
Event = Literal["tripped", "hold_over", "probe_failed", "probes_passed", "told_open", "told_closed"]
Mode = Literal["auto", "forced_open", "forced_closed"]

NEXT: Final[dict[tuple[Word, Event], Word]] = {
    ("closed", "tripped"): "open",
    ("open", "hold_over"): "half_open",
    ("half_open", "probe_failed"): "open",
    ("half_open", "probes_passed"): "closed",
    ("closed", "told_open"): "open",
    ("open", "told_open"): "open",
    ("half_open", "told_open"): "open",
    ("closed", "told_closed"): "closed",
    ("open", "told_closed"): "closed",
    ("half_open", "told_closed"): "closed",
}


class State(NamedTuple):
    """What workers tell each other, in the order in which it is compared.

    opened: when it last opened · closed: when it closed after that, else 0 · until: when its hold
    ends · holds: how many holds came before this one. Times are > 0.
    """

    opened: float = 0.0
    closed: float = 0.0
    until: float = 0.0
    holds: int = -1


def merged(one: State, other: State) -> State:
    """Return the later of two: the newest opening, of one opening its closing, then the longer.

    Commutative, associative and idempotent: messages may come twice and in any order.
    """
    return max(one, other)


class Breaker:
    """One breaker. `word` is its state, before what an operator says.

    `passes` tells that it is closed and nobody has said otherwise: every attempt has a permit then.
    `changes` counts its transitions and mode changes; it is also the permit under which an
    attempt runs, so that an attempt that outlives a transition says nothing about what followed.
    """

    __slots__ = (
        "_begun", "_begun_at", "_passed", "_probed_at", "_probes", "_window", "changes",
        "mode", "mode_until", "passes", "policy", "state", "went_well", "word",
    )  # fmt: skip

    went_well: Callable[[float], None]
    """What `succeeded` comes to where it `passes`, under its permit and a policy without `slow`."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.word: Word = "closed"
        self.state = State()
        self.mode: Mode = "auto"
        self.mode_until = inf
        self.changes = 1
        self._window = Window(policy.window)
        self.went_well = self._window.add
        self.passes = True
        self._probes = 0
        self._passed = 0
        self._probed_at = 0.0
        self._begun = 0
        self._begun_at = 0.0

    # Asking.

    def permit(self, now: float) -> int:
        """Return a permit for an attempt, to be given back with its outcome; 0: refused."""
        return self.changes if self.passes else self._ask(now)

    def succeeded(
        self,
        permit: int,
        now: float,
        took: float = 0.0,
        chance: float = 0.0,
        *,
        whole: bool = True,
    ) -> None:
        """Count an attempt that went well in *took* seconds.

        Under a policy with `slow` one that took longer counts as failed; *chance* is needed then.
        Where the answer is not *whole* yet, what follows is told by `ended`, `broke` or `dropped`:
        a probe is judged by that.
        """
        if permit != self.changes:
            return
        slow = self.policy.slow
        if slow is not None and took > slow:
            self.failed(permit, now, chance)
        elif self.word == "closed":
            self._window.add(now)
        elif self.word == "half_open":
            if whole:
                self._pass(now)
            else:
                self._begun += 1
                self._begun_at = now

    def ended(self, permit: int, now: float) -> None:
        """Learn that the content of an answer has come whole, whose head had succeeded."""
        if permit == self.changes and self.word == "half_open":
            self._begun -= 1
            self._pass(now)

    def failed(self, permit: int, now: float, chance: float) -> None:
        """Count an attempt that failed; *chance* (0 <= chance < 1) is the jitter of a hold."""
        if permit != self.changes:
            return
        if self.word == "closed":
            self._window.add(now, 1)
            self._judge(now, chance)
        elif self.word == "half_open":
            self._trip("probe_failed", now, chance)

    def broke(self, permit: int, now: float, chance: float) -> None:
        """Learn that an answer whose head was counted as good has broken off in its content.

        Long streams are not waited for: they count when they begin, and anew if they break.
        """
        if permit != self.changes:
            return
        if self.word == "closed":
            self._window.amend(now)
            self._judge(now, chance)
        elif self.word == "half_open":
            self._trip("probe_failed", now, chance)

    def dropped(self, permit: int, *, begun: bool = False) -> None:
        """Learn that an attempt ended without saying anything: its reader has gone.

        *begun*: its head had succeeded.
        """
        if permit == self.changes and self.word == "half_open":
            self._probes -= 1
            self._begun -= begun

    # Telling.

    def force(self, mode: Mode, until: float) -> None:
        """Take an operator's word until the instant *until*; `auto` takes it back.

        What lies under it stays as it was and goes on from there.
        """
        self.mode = mode
        self.mode_until = until
        self._begun = 0  # permits of before are none any more: how these probes end isn't told
        self._moved()

    def effective(self, now: float) -> Word:
        """Return the state that counts at *now*: the operator's word, else the breaker's own."""
        if self.mode == "auto" or now >= self.mode_until:
            return self.word
        return "open" if self.mode == "forced_open" else "closed"

    def counts(self, now: float) -> tuple[int, int]:
        """Return the window's attempts, and how many of them failed."""
        return self._window.counts(now)

    def merge(self, told: State) -> bool:
        """Take another worker's state where it is the later; tell whether it was."""
        if merged(self.state, told) == self.state:
            return False
        self._move("told_closed" if told.closed else "told_open", told)
        return True

    # Inside.

    def _ask(self, now: float) -> int:
        if self.mode != "auto":
            if now < self.mode_until:
                return self.changes if self.mode == "forced_closed" else 0
            self.force("auto", inf)
            if self.passes:
                return self.changes
        if self.word == "open":
            if now < self.state.until:
                return 0
            self._probes = self._passed = self._begun = 0
            self._move("hold_over", self.state)
        probes, patience = self.policy.probes, self.policy.retry_in[0]
        # Content that has come for so long without breaking off is good enough: it may never end.
        if self._passed + self._begun >= probes and now - self._begun_at > patience:
            self._move("probes_passed", self.state._replace(closed=now))
            return self.changes
        # A probe whose outcome nobody told must not hold the breaker half open for ever.
        if self._probes >= probes and now - self._probed_at > patience:
            self._probes = self._passed + self._begun
        if self._probes >= probes:
            return 0
        self._probes += 1
        self._probed_at = now
        return self.changes

    def _pass(self, now: float) -> None:
        self._passed += 1
        if self._passed >= self.policy.probes:
            self._move("probes_passed", self.state._replace(closed=now))

    def _judge(self, now: float, chance: float) -> None:
        attempts, failures = self._window.counts(now)
        if attempts >= self.policy.min_requests and failures >= self.policy.errors * attempts:
            self._trip("tripped", now, chance)

    def _trip(self, event: Event, now: float, chance: float) -> None:
        shortest, longest = self.policy.retry_in
        last = self.state
        # A breaker that was well for longer than it had been held begins anew.
        calm = now - last.closed > max(self.policy.window, last.until - last.opened)
        holds = 0 if event == "tripped" and calm else last.holds + 1
        hold = min(longest, shortest * 2.0 ** min(holds + 1, 60)) * (0.5 + 0.5 * chance)
        self._move(event, State(now, 0.0, now + max(shortest, hold), holds))

    def _move(self, event: Event, state: State) -> None:
        self.state = state
        self.word = NEXT[self.word, event]
        if self.word == "closed":
            self._window.clear()
        self._moved()

    def _moved(self) -> None:
        self.changes += 1
        self.passes = self.mode == "auto" and self.word == "closed"
