# SPDX-License-Identifier: Apache-2.0
"""Purge, look and count in the caches of all workers.

The stores that workers share are written to by one of them; what each holds in its own memory is
its own business. So a purge takes two rounds, and is in force everywhere when it is answered.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from strangler.config.diagnostics import did_you_mean
from strangler.config.snapshot import Snapshot
from strangler.control.asking import Asking, Order, Unanswered
from strangler.control.handler import Rejected
from strangler.edge.channel import Message
from strangler.observe.events import announce

#: Seconds that a worker has to answer; a store that hangs is given up before that.
PATIENCE: Final = 5.0
#: The same where a reader may be waiting.
_HEEDED: Final = 1.0
#: The same where it has to fetch from an upstream.
_REFRESHED: Final = 15.0
MOST_VALUES: Final = 1000
"""URLs, prefixes, routes or tags in one purge."""
LONGEST: Final = 8 << 10
"""Characters of one of them."""
_KINDS: Final = ("url", "prefix", "route", "tag")
#: Bytes of values in one order: escaped, they must fit into a channel's message.
_BATCH: Final = 24 << 10


@dataclass(frozen=True, slots=True)
class Purge:
    """A purge as it was asked for; *kind* is one of url, prefix, route, tag, all."""

    kind: str
    values: tuple[str, ...]
    soft: bool = False
    refresh: bool = False

    @classmethod
    def read(cls, asked: Mapping[str, Any], routes: Sequence[str]) -> Purge:
        """Return the purge in a request's JSON; *routes* are the keys of all routes.

        Raises Rejected with everything that is wrong with it.
        """
        kinds = [kind for kind in (*_KINDS, "all") if kind in asked]
        unknown = [str(name)[:100] for name in asked if name not in (*kinds, "soft", "refresh")]
        if len(kinds) != 1 or unknown:
            expected = "expected exactly one of url, prefix, route, tag, all"
            raise Rejected(400, expected + (f"; unknown: {', '.join(unknown)}" if unknown else ""))
        for name in ("soft", "refresh", "all"):
            if not isinstance(asked.get(name, False), bool):
                raise Rejected(400, f"{name}: expected true or false")
        [kind] = kinds
        soft = asked.get("soft", False)
        if soft and asked.get("refresh", False):
            raise Rejected(400, "soft and refresh: one of them, they are two things")
        if kind == "all":
            if not asked["all"]:
                raise Rejected(400, "all: expected true")
            return cls("all", (), soft or asked.get("refresh", False), asked.get("refresh", False))
        values = asked[kind] if isinstance(asked[kind], list) else [asked[kind]]
        if not 1 <= len(values) <= MOST_VALUES:
            raise Rejected(400, f"{kind}: expected 1 to {MOST_VALUES} of them")
        for value in values:
            if not isinstance(value, str) or not value or len(value) > LONGEST:
                raise Rejected(400, f"{kind}: expected text of 1 to {LONGEST} characters")
            if not value.isprintable():
                raise Rejected(400, f"{kind}: expected text without control characters")
            if kind == "route" and value not in routes:
                hint = did_you_mean(value, routes)
                said = f"no route {value[:200]}" + (f"; {hint}" if hint else "")
                raise Rejected(404, said, hint=hint)
        refresh = asked.get("refresh", False)
        return cls(kind, tuple(values), soft or refresh, refresh)

    def orders(self, do: str) -> Iterator[Order]:
        """Yield this as orders, each small enough for a message."""
        batch: list[str] = []
        size = 0
        for value in self.values:
            length = len(json.dumps(value))
            if batch and size + length > _BATCH:
                yield {"do": do, "of": self.kind, "values": batch, "soft": self.soft}
                batch, size = [], 0
            batch.append(value)
            size += length
        yield {"do": do, "of": self.kind, "values": batch, "soft": self.soft}


@dataclass(slots=True)
class _Done:
    """What a purge has reached: stores and workers by name; None: no refresh was asked for."""

    stores: dict[str, bool] = field(default_factory=dict)
    edges: dict[str, bool] = field(default_factory=dict)
    refreshed: int | None = None
    failed: list[str] = field(default_factory=list)

    def missing(self) -> list[str]:
        return [name for name, taken in [*self.stores.items(), *self.edges.items()] if not taken]

    def json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"purged": {**self.stores, "edge": self.edges}}
        if self.refreshed is not None:
            told |= {"refreshed": self.refreshed, "failed": self.failed}
        return told


class Desk:
    """The caches of the workers behind *asking*."""

    def __init__(
        self,
        asking: Asking,
        snapshot: Callable[[], Snapshot],
        alive: Callable[[], Sequence[int]],
    ) -> None:
        """Use the snapshot in force; *alive*: the slots, those that answered last first."""
        self._asking = asking
        self._snapshot = snapshot
        self._alive = alive
        self._passing: set[asyncio.Task[None]] = set()

    def heard(self, slot: int, purged: Message) -> None:
        """Have the other workers take a purge that the one in *slot* has made by itself."""
        task = asyncio.create_task(self._pass_on(slot, purged))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass_on(self, slot: int, purged: Message) -> None:
        others = [other for other in range(self._asking.slots) if other != slot]
        order = {name: purged[name] for name in ("labels", "soft", "known")}
        await self._asking.ask_all({"do": "heed", **order}, _HEEDED, others)
        self._asking.tell(slot, {"do": "heeded", "number": purged["number"]})

    async def purge(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a purge everywhere; return what has taken it. Raises Rejected.

        503: something has not; what could be done is done, and asking again does no harm.
        """
        purge = Purge.read(asked, [route.key for route in self._snapshot().routes])
        done = _Done()
        if purge.refresh and purge.kind == "url":
            await self._refresh(purge, done)
        else:
            await self._purge(purge, done)
        missing = done.missing()
        announce(
            "cache.purged",
            of=purge.kind,
            count=len(purge.values) or 1,
            first=purge.values[0][:200] if purge.values else "*",
            how="refresh" if purge.refresh else "soft" if purge.soft else "hard",
            missing=",".join(missing) or None,
        )
        if missing:
            raise Rejected(503, f"not purged everywhere: {', '.join(missing)}", **done.json())
        return done.json()

    async def _purge(self, purge: Purge, done: _Done) -> None:
        """Let one worker tell the stores, then all of them their memories."""
        for order, forget in zip(purge.orders("purge"), purge.orders("forget"), strict=True):
            _, told = await self._ask_one(order)
            for name, taken in told["stores"].items():
                done.stores[name] = done.stores.get(name, True) and taken
            slots = range(self._asking.slots)
            await self._forget(forget | {"known": told["known"]}, slots, done)

    async def _forget(self, order: Order, slots: Iterable[int], done: _Done) -> None:
        answers = await self._asking.ask_all(order, PATIENCE, slots)
        for slot, answer in answers.items():
            name = f"worker {slot + 1}"
            taken = not isinstance(answer, Unanswered) and "refused" not in answer
            done.edges[name] = done.edges.get(name, True) and taken

    async def _refresh(self, purge: Purge, done: _Done) -> None:
        """Let one worker fetch anew; the others forget what they have when it is there.

        What could not be fetched becomes stale, so that the next reader asks for it.
        """
        done.refreshed = 0
        for order, forget in zip(purge.orders("refresh"), purge.orders("forget"), strict=True):
            slot, told = await self._ask_one(order, _REFRESHED)
            done.refreshed += told["refreshed"]
            done.edges[f"worker {slot + 1}"] = True
            others = [other for other in range(self._asking.slots) if other != slot]
            failed = list(told["failed"])
            fetched = [url for url in order["values"] if url not in failed]
            if fetched:
                only = forget | {"values": fetched, "soft": False, "known": {}}
                await self._forget(only, others, done)
            if failed:
                done.failed += failed
                await self._purge(Purge("url", tuple(failed), soft=True), done)

    async def show(self, url: str, fields: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        """Return what the tiers hold of *url*, the edge tier for each worker."""
        if len(url) > LONGEST or not url.isprintable():
            raise Rejected(400, f"url: expected a URL of at most {LONGEST} characters")
        order = {"do": "show", "url": url, "fields": [list(field) for field in fields]}
        answers = await self._asking.ask_all(order, PATIENCE)
        good = {slot: a for slot, a in answers.items() if not isinstance(a, Unanswered)}
        for answer in good.values():
            if "refused" in answer:
                raise Rejected(400, str(answer["refused"]))
        if not good:
            raise Rejected(503, "no worker answers")
        first = next(iter(good.values()))
        told = {"url": url, **first}
        if "tiers" in first:
            edges = {
                f"worker {slot + 1}": answer.get("tiers", {}).get("edge", [])
                for slot, answer in good.items()
            }
            told["tiers"] = {**first["tiers"], "edge": edges}
        # Each worker knows only of what it has fetched itself.
        reasons = [answer["not_kept"] for answer in good.values() if "not_kept" in answer]
        if reasons:
            told["not_kept"] = min(reasons, key=lambda one: (one["of"] != "this URL", one["ago"]))
        return told

    async def counters(self) -> dict[str, Any]:
        """Return the counts of all workers, summed for each route that caches."""
        routes: dict[str, Counter[str]] = {}
        refused: dict[str, Counter[str]] = {}
        memory = {"used": 0, "size": 0, "keys": 0}
        silent = []
        for slot in sorted(self._alive()):  # one after the other: it is nobody's hurry
            after: int | None = 0
            while after is not None:
                try:
                    told = await self._asking.ask(slot, {"do": "tally", "after": after}, 1.0)
                except Unanswered:
                    silent.append(f"worker {slot + 1}")
                    break
                for key, counts in told["routes"].items():
                    refused.setdefault(key, Counter()).update(counts.pop("refused", {}))
                    routes.setdefault(key, Counter()).update(counts)
                for name, value in told.get("memory", {}).items():
                    memory[name] += value
                after = told["next"]
        listed = {key: {**counts, "refused": dict(refused[key])} for key, counts in routes.items()}
        return {"routes": listed, "memory": memory, "silent": silent}

    async def _ask_one(self, order: Order, timeout: float = PATIENCE) -> tuple[int, dict[str, Any]]:
        """Return the slot and the answer of one worker, whichever; raise Rejected."""
        why = "no worker answers"
        for slot in self._alive():
            try:
                answer = await self._asking.ask(slot, order, timeout)
            except Unanswered as unanswered:
                why = f"worker {slot + 1}: {unanswered}"
                continue
            if "refused" in answer:
                raise Rejected(400, str(answer["refused"]))
            return slot, answer
        raise Rejected(503, why)
