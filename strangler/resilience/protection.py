# SPDX-License-Identifier: Apache-2.0
"""Keep what is done on legacy for others' sake from becoming the second outage.

Legacy's own readers go to it freely. Everyone else is a guest: fallbacks of services that failed,
revalidations, shadows, probes. Guests share one limit on how many of them are at work at a time,
and that limit follows what legacy can bear: it grows by one while legacy is as quick as it is by
habit, and is cut when it gets slower or fails (additive increase, multiplicative decrease, as TCP
does; Chiu and Jain, 1989). Legacy is judged by what its own readers feel; only where it has no
readers of its own any more, by what the guests feel.

A fallback has a reader behind it: it may use the whole limit, and wait a little for a place. A
revalidation or a shadow may only use a part, so that there is room when fallbacks come. A probe
that is denied has learnt nothing, which is not bad news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .bulkhead import Bulkhead

Kind = Literal["live", "fallback", "revalidation", "shadow", "probe"]
Verdict = Literal["admit", "wait", "deny"]
Reason = Literal["live", "room", "queued", "legacy_busy", "readers_wait", "legacy_full"]
"""live: never refused here · room: within the limit · queued: it may wait for a place ·
legacy_busy: this kind's part of the limit is taken · readers_wait: legacy's own readers wait ·
legacy_full: the limit is taken, and the queue too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """How much legacy does for guests.

    least, initial, most: guests at a time, in a worker · queue: fallbacks that may wait ·
    revalidations, shadows: their part of the limit, 0-1 · tolerance: slower than usual by this
    factor is too slow, > 1 · failures: more than this share of failed answers is too many ·
    back_off: what a cut leaves of the limit · window: seconds of a sample · samples: answers that
    a sample needs.
    """

    least: int = 2
    initial: int = 64
    most: int = 512
    queue: int = 256
    revalidations: float = 0.5
    shadows: float = 0.25
    tolerance: float = 2.0
    failures: float = 0.1
    back_off: float = 0.7
    window: float = 0.5
    samples: int = 20


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request goes to legacy now, may wait, or does not; and why."""

    verdict: Verdict
    reason: Reason


_LIVE: Final = Admission("admit", "live")
_ROOM: Final = Admission("admit", "room")
_QUEUED: Final = Admission("wait", "queued")
_BUSY: Final = Admission("deny", "legacy_busy")
_READERS: Final = Admission("deny", "readers_wait")
_FULL: Final = Admission("deny", "legacy_full")


class _Sample:
    """The latency of one sort of requests: of the last window, and by habit."""

    __slots__ = ("count", "failed", "sum", "usual")

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.sum = 0.0
        self.usual = 0.0

    def judge(self, policy: Protection, rise: float) -> bool:
        """Tell whether a window was bad, and learn from it what is usual.

        *rise*: how much of the way up it goes, 0-1; a fifth of the way down in any case.
        """
        answered = self.count - self.failed
        bad = self.failed > policy.failures * self.count
        if answered:
            mean = self.sum / answered
            bad = bad or (self.usual > 0.0 and mean > policy.tolerance * self.usual)
            if self.usual == 0.0:
                self.usual = mean
            else:
                self.usual += (mean - self.usual) * (rise if mean > self.usual else 0.2)
        self.count = self.failed = 0
        self.sum = 0.0
        return bad


class Guard:
    """What a worker knows of legacy. `places` counts the guests."""

    __slots__ = (
        "_ends", "_guests", "_most_guests", "_readers", "_turned_away", "_was_quiet", "places",
        "policy",
    )  # fmt: skip

    def __init__(self, policy: Protection, now: float) -> None:
        self.policy = policy
        self.places = Bulkhead(policy.initial, policy.queue)
        self._readers = _Sample()
        self._guests = _Sample()
        self._ends = now + policy.window
        self._most_guests = 0
        self._was_quiet = True
        self._turned_away = False

    def ask(self, kind: Kind, *, readers_wait: bool = False) -> Admission:
        """Decide about a request of *kind*; an admitted guest has to `leave`.

        readers_wait: requests of legacy's own routes are waiting for a place at it.
        """
        if kind == "live":
            return _LIVE
        policy, places = self.policy, self.places
        room = places.limit
        if kind == "fallback":
            # While readers wait, only so many are let in that the queue goes on moving.
            room = policy.least if readers_wait else room
        elif readers_wait:
            room = 0
        elif kind != "probe":
            room = int(room * (policy.revalidations if kind == "revalidation" else policy.shadows))
        if places.inflight < room and places.enter():
            self._most_guests = max(self._most_guests, places.inflight)
            return _ROOM
        self._turned_away = True
        if kind == "fallback":
            return _QUEUED if places.wait() else _FULL
        return _READERS if readers_wait else _BUSY

    def give_up(self) -> None:
        """Take a fallback out of the queue that got no place in time."""
        self.places.give_up()

    def leave(self) -> bool:
        """Give a guest's place back; True: the fallback that waited longest has it now."""
        return self.places.leave()

    def answered(self, kind: Kind, took: float, failed: bool, now: float) -> int:
        """Count legacy's answer to a *kind*, that began after *took* seconds, or *failed*.

        Returns how many waiting fallbacks have a place now.
        """
        if kind == "probe":
            return 0  # a health check's latency says nothing of a page's
        sample = self._readers if kind == "live" else self._guests
        sample.count += 1
        if failed:
            sample.failed += 1
        else:
            sample.sum += took
        return self._end_window(now) if now >= self._ends else 0

    def _end_window(self, now: float) -> int:
        policy, places = self.policy, self.places
        readers = self._readers.count >= policy.samples
        guests = self._guests.count >= policy.samples
        if not (readers or guests):
            return 0
        quiet = self._most_guests <= policy.least and not self._turned_away
        begins = self._was_quiet and not quiet
        bad = guests and self._guests.judge(policy, 0.1) and not begins
        if readers:
            # With few guests legacy is slower for its own reasons, a deployment say; with many,
            # the slowness that they cause must not pass for usual (not for minutes, at least).
            bad = self._readers.judge(policy, 0.1 if quiet else 0.002)
        if quiet or self._was_quiet:
            # A storm may be of other pages, slower by nature: learn from its first whole window.
            self._guests.usual = 0.0
        self._was_quiet = quiet
        limit = places.limit
        if bad:
            limit = max(policy.least, int(limit * policy.back_off))
        elif self._most_guests * 2 >= limit:
            limit = min(policy.most, limit + 1)
        elif limit < policy.initial:
            limit += 1
        self._most_guests = places.inflight
        self._turned_away = False
        self._ends = now + policy.window
        return places.resize(limit)
