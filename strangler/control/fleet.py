# SPDX-License-Identifier: Apache-2.0
"""What the edges of a fleet tell each other of their rollouts, by the store that they share.

Each says, with its word that it lives, where every canary is and what its arms have done. One of
them drives: the first by name of those heard of lately. The others take over from it where a route
is on its way, so that whoever follows it knows what has failed; and all of them judge by what all
have seen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strangler.control.arms import Pair
from strangler.control.stores import Store, Unrecorded
from strangler.rollout import parse_stage
from strangler.rollout.promotion import Progress

ALIVE: Final = 5.0
"""Seconds for which an instance counts as alive after its last word."""
SAME: Final = 5.0
"""Seconds by which two may differ on when a step began: they hear of it one after the other."""
MEMBER: Final = "rollout"
"""Where in its word an instance says it."""


@dataclass(frozen=True, slots=True)
class Word:
    """What an instance says of one canary."""

    progress: Progress
    pair: Pair

    def json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"progress": kept_progress(self.progress), "arms": self.pair.json()}

    @classmethod
    def parse(cls, told: Any) -> Word:
        """Read what `json` wrote. Raises KeyError, TypeError, ValueError."""
        return cls(read_progress(told["progress"]), Pair.parse(told["arms"]))


Words = Mapping[str, Word]
"""By route key."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who drives, and what the others say; `driver` is empty where we drive, or nobody does."""

    driving: bool = False
    driver: Words = field(default_factory=dict)
    others: Sequence[Words] = ()

    def seen(self, key: str, progress: Progress) -> list[Pair]:
        """Return what the others have seen of the route *key* since the same step began."""
        words = [words[key] for words in self.others if key in words]
        return [
            word.pair
            for word in words
            if word.progress.stage == progress.stage
            and abs(word.progress.measured - progress.measured) < SAME
        ]


async def hear(store: Store, name: str) -> Fleet:
    """Return what there is to hear for the instance *name*.

    Nobody drives while the store is gone: it would take no step anyway.
    """
    if store.kind == "file":
        return Fleet(driving=True)
    if store.trouble:
        return Fleet()
    try:
        there = await store.instances()
    except Unrecorded:
        return Fleet()
    now = time.time()
    living = {str(one["name"]): one for one in there if now - float(one["at"]) < ALIVE}
    first = min(living, default="")
    words = {other: _words(one) for other, one in living.items() if other != name}
    return Fleet(
        driving=bool(first) and first == name,
        driver=words.get(first, {}),
        others=tuple(words.values()),
    )


def _words(told: Mapping[str, Any]) -> Words:
    """Read what another instance says; what a later release says otherwise is left out."""
    found = {}
    said = told.get(MEMBER)
    for key, one in said.items() if isinstance(said, dict) else ():
        try:
            found[str(key)] = Word.parse(one)
        except (KeyError, TypeError, ValueError):
            continue
    return found


def kept_progress(progress: Progress) -> dict[str, Any]:
    """Return a progress as JSON holds it."""
    return {
        "stage": str(progress.stage),
        "began": progress.began,
        "measured": progress.measured,
        "rests_until": progress.rests_until,
        "failures": progress.failures,
        "failed": progress.failed,
    }


def read_progress(told: Mapping[str, Any]) -> Progress:
    """Read what `kept_progress` wrote. Raises KeyError, TypeError, ValueError."""
    failed = told["failed"]
    return Progress(
        parse_stage(told["stage"]),
        float(told["began"]),
        float(told["measured"]),
        float(told["rests_until"]),
        int(told["failures"]),
        None if failed is None else int(failed),
    )
