# SPDX-License-Identifier: Apache-2.0
"""A breaker with a name, that says when it changes: an upstream's, or a route's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from random import random
from time import monotonic
from typing import Any, Final

from strangler.resilience.breaker import Breaker, Mode, State
from strangler.resilience.policy import Breaker as Policy

_events = logging.getLogger("strangler.events")

#: Seconds by which two words of an operator's may differ in their end, and be one.
_SAME: Final = 1.0


class Shut:
    """Stands where a breaker does and lets nobody pass: an operator has said so.

    ``word``: what its refusal is called; nothing that is told of attempts matters to it.
    """

    __slots__ = ("name", "word")

    def __init__(self, name: str, word: str) -> None:
        self.name = name
        self.word = word

    def permit(self, now: float) -> int:
        """Refuse."""
        return 0

    def succeeded(self, permit: int, now: float, took: float, whole: bool = True) -> None:
        """Learn nothing."""

    def ended(self, permit: int, now: float) -> None:
        """Learn nothing."""

    def failed(self, permit: int, now: float) -> None:
        """Learn nothing."""

    def broke(self, permit: int, now: float) -> None:
        """Learn nothing."""

    def dropped(self, permit: int, *, begun: bool = False) -> None:
        """Learn nothing."""


class Circuit:
    """A breaker at run time. *changed* is called after each change of state that began here."""

    #: What its refusal is called among the words of a fallback's `when`.
    word = "breaker"

    __slots__ = ("_changed", "_policy", "_told", "breaker", "name")

    def __init__(self, name: str, policy: Policy, changed: Callable[[], None]) -> None:
        self.name = name
        self.breaker = Breaker(policy)
        self._policy = policy
        self._changed = changed
        self._told = self.breaker.changes

    def permit(self, now: float) -> int:
        """Return a permit for an attempt, to be given back with its outcome; 0: refused."""
        if self.breaker.passes:
            return self.breaker.changes
        permit = self.breaker.permit(now)
        if self._told != self.breaker.changes:
            self._tell(now)
        return permit

    def succeeded(self, permit: int, now: float, took: float, whole: bool = True) -> None:
        """Count an attempt that went well; *whole*: its content has come, too."""
        breaker = self.breaker
        if breaker.passes and self._policy.slow is None:
            if permit == breaker.changes:
                breaker.went_well(now)
            return
        chance = 0.0 if self._policy.slow is None else random()
        breaker.succeeded(permit, now, took, chance, whole=whole)
        if self._told != breaker.changes:
            self._tell(now)

    def ended(self, permit: int, now: float) -> None:
        """Learn that the content has come whole of an attempt that was counted as good."""
        self.breaker.ended(permit, now)
        if self._told != self.breaker.changes:
            self._tell(now)

    def failed(self, permit: int, now: float) -> None:
        """Count an attempt that failed."""
        self.breaker.failed(permit, now, random())
        if self._told != self.breaker.changes:
            self._tell(now)

    def broke(self, permit: int, now: float) -> None:
        """Learn that an attempt that was counted as good has broken off in its content."""
        self.breaker.broke(permit, now, random())
        if self._told != self.breaker.changes:
            self._tell(now)

    def dropped(self, permit: int, *, begun: bool = False) -> None:
        """Learn that an attempt ended without saying anything, or (*begun*) more than its head."""
        self.breaker.dropped(permit, begun=begun)

    def force(self, mode: Mode, until: float = inf) -> None:
        """Take an operator's word until the monotonic instant *until*."""
        breaker = self.breaker
        if mode == "auto" == breaker.mode:
            return
        # The same word, told again by another clock, is no news.
        if mode != breaker.mode or abs(until - breaker.mode_until) > _SAME:
            self.breaker.force(mode, until)
            self._tell(monotonic())

    def learn(self, told: State) -> None:
        """Take another worker's state, where it is the later."""
        if self.breaker.merge(told):
            self._tell(monotonic(), elsewhere=True)

    def left(self, now: float) -> float:
        """Return the seconds until it lets somebody try; 0 where it does."""
        breaker = self.breaker
        until = breaker.mode_until if breaker.mode == "forced_open" else breaker.state.until
        return max(0.0, until - now) if breaker.effective(now) == "open" else 0.0

    def status(self, now: float) -> dict[str, Any]:
        """Return what is known, for the console and the other workers."""
        breaker = self.breaker
        attempts, failures = breaker.counts(now)
        told: dict[str, Any] = {
            "word": breaker.effective(now),
            "state": list(breaker.state),
            "attempts": attempts,
            "failures": failures,
        }
        if breaker.mode != "auto" and now < breaker.mode_until:
            told["mode"] = breaker.mode
        return told

    def _tell(self, now: float, *, elsewhere: bool = False) -> None:
        breaker = self.breaker
        self._told = breaker.changes
        word = breaker.effective(now)
        fields: dict[str, object] = {"name": self.name, "mode": breaker.mode}
        if word == "open":
            fields["hold"] = min(self.left(now), 1e6)
        if elsewhere:
            fields["by"] = "worker"
        level = logging.WARNING if word == "open" else logging.INFO
        _events.log(level, f"breaker.{word}", extra={"fields": fields})
        if not elsewhere:
            self._changed()
