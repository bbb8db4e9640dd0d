# SPDX-License-Identifier: Apache-2.0
"""What became of each route's requests at the cache: every answer is counted once.

edge, shared, archive    a hit, by the tier that it came from
stale                    a stale copy: during a refresh, or in place of an upstream that failed
confirmed                a stale copy that the upstream confirmed with a 304
miss                     fetched and, where it may be, kept
pass                     fetched for this reader alone: it may not be kept
bypass                   none of the cache's business (another method, an upgrade, …)

`hit` and its kin are the reader's; `collapsed` and `refused` are counted beside them: readers who
shared another's fetch, and answers that were not kept, by reason.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import Any, Final

WORDS: Final = ("edge", "shared", "archive", "stale", "confirmed", "miss", "pass", "bypass")
#: Keys per route whose last reason is remembered.
_MOST_REASONS: Final = 100


class Tally:
    """The counts of one route in one worker, since it started."""

    __slots__ = ("_last", "collapsed", "edge", "others", "refused")

    def __init__(self) -> None:
        #: Apart from the others: counted for every hit that needs no decision.
        self.edge = 0
        self.others: Counter[str] = Counter()
        self.collapsed = 0
        self.refused: Counter[str] = Counter()
        self._last: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def count(self, word: str) -> None:
        """Count one answer."""
        if word == "edge":
            self.edge += 1
        else:
            self.others[word] += 1

    def not_kept(self, key: bytes, reason: str) -> None:
        """Count a response that was not kept, and remember the reason for a while."""
        self.refused[reason] += 1
        last = self._last
        last.pop(key, None)
        last[key] = (time.time(), reason)
        if len(last) > _MOST_REASONS:
            last.popitem(last=False)

    def reason(self, key: bytes) -> tuple[float, str] | None:
        """Return when and why *key* was last not kept, if that is remembered."""
        return self._last.get(key)

    def last_reason(self) -> tuple[float, str] | None:
        """Return when and why anything of this route was last not kept."""
        return next(reversed(self._last.values()), None)

    def json(self) -> dict[str, Any]:
        """Return all counts that are not 0."""
        told: dict[str, Any] = {"edge": self.edge} if self.edge else {}
        told |= {word: self.others[word] for word in WORDS if self.others[word]}
        if self.collapsed:
            told["collapsed"] = self.collapsed
        if self.refused:
            told["refused"] = dict(self.refused)
        return told
