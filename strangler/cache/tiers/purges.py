# SPDX-License-Identifier: Apache-2.0
"""Purges as marks: one purge is one entry, however many stored responses it hits.

A purge names *labels*: a tag, a route, a URL, a URL's prefix, or everything. A store keeps a
numbered log of them, and every process that uses the store follows it into a `Marks`, where the
latest purge of each label is one dictionary entry. Every stored response carries the *moment*
that was known before its source was asked: the number of the last purge then. It has been purged
if one of its own labels has a mark with a later number. So

- purging 100,000 responses with one tag writes one entry, and nothing is walked;
- judging a response costs one look-up a label, however many purges there were. No ban list: of
  prefixes the *lengths* in use are tried, never the prefixes;
- an answer whose fetch began before a purge carries an earlier moment and is dead on arrival;
- all variants die together, since they share their labels or their URL;
- no index from tags to keys has to be kept, and none can get out of step. What is dead is deleted
  when it is next read; what nobody reads runs out of its time or is evicted.

Numbers are microseconds of the store's clock, or the last number and one, whichever is more: they
always rise, also when a clock is set back, or when a store has lost the last ones in a failover.
Only the order of numbers of one store is ever compared; no process's clock has a part in it.

The log is bounded. Where its oldest marks have to go, the *floor* rises to their numbers, and
whatever is older than the floor counts as purged: forgetting costs copies, never brings one back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from strangler.cache.key import url_of
from strangler.cache.stored import Stored

#: Marks kept of one log; about 150 bytes each in a process, 20 MB at the most.
MOST: Final = 131_072
#: Purges a second of time of a mark's number.
PER_SECOND: Final = 1_000_000

_TAG, _ROUTE, _URL, _PREFIX = b"t:", b"r:", b"u:", b"p:"
_ALL: Final = b"*"


@dataclass(frozen=True, slots=True)
class Purge:
    """Which stored responses go: those with any of *labels*. soft: they become stale instead."""

    labels: tuple[bytes, ...]
    soft: bool = False

    @classmethod
    def tags(cls, *tags: bytes, soft: bool = False) -> Purge:
        """Return the purge of everything with one of *tags*."""
        return cls(tuple([_TAG + tag for tag in tags]), soft)

    @classmethod
    def routes(cls, *routes: bytes, soft: bool = False) -> Purge:
        """Return the purge of everything that the routes with these keys have stored."""
        return cls(tuple([_ROUTE + route for route in routes]), soft)

    @classmethod
    def urls(cls, *urls: bytes, soft: bool = False) -> Purge:
        """Return the purge of URLs as `Keying.url_key` gives them, in all variants."""
        return cls(tuple([_URL + url for url in urls]), soft)

    @classmethod
    def prefixes(cls, *prefixes: bytes, soft: bool = False) -> Purge:
        """Return the purge of URLs that begin with one of *prefixes*, scheme and host included."""
        return cls(tuple([_PREFIX + prefix for prefix in prefixes]), soft)

    @classmethod
    def everything(cls, *, soft: bool = False) -> Purge:
        """Return the purge of all there is."""
        return cls((_ALL,), soft)


class Mark(NamedTuple):
    """One entry of a log: *label* was purged by the purge with this number."""

    seq: int
    label: bytes
    soft: bool


class Verdict(NamedTuple):
    """hard: it is purged · soft: the number of the last soft purge that hit it, 0 for none."""

    hard: bool
    soft: int


_CLEAR: Final = Verdict(False, 0)
_PURGED: Final = Verdict(True, 0)


class Marks:
    """The latest purge of each label, as far as this process has followed a log.

    seq: number of the last purge known, 0 before the first look · floor: what is older counts
    as purged.
    """

    __slots__ = ("_hard", "_lengths", "_most", "_soft", "floor", "seq")

    def __init__(self, most: int = MOST) -> None:
        self.seq = 0
        self.floor = 0
        self._most = most
        self._hard: dict[bytes, int] = {}
        self._soft: dict[bytes, int] = {}
        self._lengths: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._hard) + len(self._soft)

    def add(self, label: bytes, seq: int, soft: bool = False) -> None:
        """Take a purge in; they come in the order of their numbers, and may come twice."""
        marks = self._soft if soft else self._hard
        # Anew at the end: the dictionary's order is that of numbers.
        marks[label] = max(marks.pop(label, 0), seq)
        if label.startswith(_PREFIX):
            self._lengths = tuple(sorted({*self._lengths, len(label) - 2}))
        if seq > self.seq:
            self.seq = seq
        if len(marks) > self._most // 2:
            self._forget(marks)

    def follow(self, seq: int, floor: int, marks: Iterable[Mark]) -> None:
        """Take in what a log says: its last number, its floor, and the marks after ours."""
        for mark in marks:
            self.add(mark.label, mark.seq, mark.soft)
        self.floor = max(self.floor, floor)
        self.seq = max(self.seq, seq)

    def after(self, seq: int) -> list[Mark]:
        """Return the marks with a number above *seq*, in order: what a log may have lost."""
        found = [Mark(n, label, False) for label, n in self._hard.items() if n > seq]
        found += [Mark(n, label, True) for label, n in self._soft.items() if n > seq]
        return sorted(found)

    def verdict(self, key: bytes, tags: Sequence[bytes], route: bytes, moment: int) -> Verdict:
        """Judge what was stored under *key* with these labels, its source asked at *moment*.

        Cost: < 0.1 us where nothing was purged since, else < 2 us and a look-up a tag.
        """
        if moment >= self.seq:
            return _CLEAR
        if moment < self.floor:
            return _PURGED
        url = url_of(key)
        labels = [_ALL, _URL + url, _ROUTE + route]
        labels += [_TAG + tag for tag in tags]
        for length in self._lengths:
            if length > len(url):
                break
            labels.append(_PREFIX + url[:length])
        hard, soft = self._hard, self._soft
        if hard:
            for label in labels:
                if hard.get(label, 0) > moment:
                    return _PURGED
        if not soft:
            return _CLEAR
        latest = max([soft.get(label, 0) for label in labels])
        return Verdict(False, latest) if latest > moment else _CLEAR

    def judge(self, stored: Stored, moment: int) -> Verdict:
        """Judge a stored response whose source was asked at *moment*."""
        return self.verdict(stored.key, stored.tags, stored.route, moment)

    def _forget(self, marks: dict[bytes, int]) -> None:
        gone = max(1, len(marks) // 4)
        self.floor = max(self.floor, next(islice(marks.values(), gone - 1, None)))
        kept = dict(islice(marks.items(), gone, None))
        marks.clear()
        marks.update(kept)
        both = (*self._hard, *self._soft)
        self._lengths = tuple(sorted({len(x) - 2 for x in both if x.startswith(_PREFIX)}))
