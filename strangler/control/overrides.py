# SPDX-License-Identifier: Apache-2.0
"""The book of overrides: what operators have chosen, recorded, told to the workers, ended in time.

A change is recorded in the store first, which takes it only from somebody who knows what is there;
then it is written into the audit log and told to every worker, and acknowledged when all of them
serve it. What the store can't take is refused and changes nothing; what it has taken before goes on
counting while it is gone, from memory and from a file in the state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from strangler.config.snapshot import Snapshot
from strangler.control.audit import Audit
from strangler.control.choice import Choice, file_says, owners_of
from strangler.control.handler import Asker, Rejected
from strangler.control.state import State
from strangler.control.stores import FILE, FileStore, Kept, Moved, Store, Unrecorded
from strangler.observe.events import announce
from strangler.rollout import Malformed, Override, Overrides

BEAT: Final = 2.0
"""Seconds between two words of an instance to the others."""
_FAREWELL: Final = 0.5
"""Seconds for the last of them: whoever takes over needn't wait until we are missed."""
MOST: Final = 500
"""Overrides in force at once."""
_INLINE: Final = 16 << 10
"""Bytes of JSON up to which the set goes with the message itself; a longer one lies in the file."""
_TRIES: Final = 20
#: Seconds at most until the clock, which may be set, is asked again, and until another try to
#: record an end.
_LOOK_AGAIN: Final = 5.0
#: Who ends an override whose time is over.
CLOCK: Final = Asker(who="strangler", role="", address="", agent="", by="clock")

Entry = dict[str, Any]
#: Returns another set and what the audit says of it, or None where nothing is to be changed.
Edit = Callable[[Overrides], tuple[Overrides, list[Entry]] | None]


@dataclass(frozen=True, slots=True)
class Done:
    """A change that counts.

    workers: how many serve it, of how many · audited: it is in the audit log.
    """

    override: Override | None
    version: int
    workers: tuple[int, int]
    seconds: float
    audited: bool

    def json(self) -> dict[str, Any]:
        """Return it as an answer of the API."""
        told: dict[str, Any] = {
            "override": None if self.override is None else self.override.json(),
            "version": self.version,
            "workers": f"{self.workers[0]}/{self.workers[1]}",
            "took_ms": round(self.seconds * 1000, 1),
        }
        if not self.audited:
            told["warning"] = "the audit log could not be written; the error log has the entry"
        return told


class Book:
    """The overrides of one site, as this instance knows them."""

    def __init__(
        self,
        *,
        store: Store,
        state: State,
        snapshot: Callable[[], Snapshot],
        audit: Audit,
        tell: Callable[[], Awaitable[tuple[int, int]]],
        name: str = "",
        presence: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """Keep them in *store*; *tell* has the workers take `told`, and says how many do.

        *presence* is what the instance *name* leaves word of with those who share the store. The
        last known set is kept in the folder of *state*, too.
        """
        self.store = store
        self.audit = audit
        self._state = state
        self._snapshot = snapshot
        self._tell = tell
        self._name = name
        self._presence = presence
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._expired: set[str] = set()
        self._conflicts: dict[str, str] = {}
        self._look = asyncio.Event()
        self._own: deque[str] = deque(maxlen=100)
        self._begun = False
        self._kept = read_copy(state.folder, store.name) or Kept.first()
        self.told: dict[str, Any] = {}
        self._prepare()

    @property
    def overrides(self) -> Overrides:
        """Return those in force now."""
        return self._kept.overrides.still(time.time())

    @property
    def mark(self) -> str:
        """Return what the set in force is called by those who serve it."""
        return str(self.told["mark"])

    async def start(self) -> None:
        """Follow the store, and end what has to end."""
        self._keep(self._mind_the_clock())
        await self.store.start(self._hear)
        self._keep(self._beat())

    async def close(self) -> None:
        """Stop following, once a change that has been recorded is in the audit log, too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._changing.acquire()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not self.store.trouble:  # else nobody would hear it, and the end would wait
            with contextlib.suppress(Unrecorded, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self.store.beat(self._name, {"at": 0.0})
        await self.store.close()

    # ---------------------------------------------------------------- changes

    async def put(self, choice: Choice, asker: Asker) -> Done:
        """Put *choice* in force. Raises Rejected."""
        return await self.put_all((choice,), asker)

    async def put_all(self, choices: Sequence[Choice], asker: Asker) -> Done:
        """Put all *choices* in force in one change, or none of them. Raises Rejected.

        The first one's override is what is told of it.
        """
        now = time.time()
        made = [
            Override(
                id=secrets.token_hex(4),
                kind=choice.kind,
                subject=choice.subject,
                value=choice.value,
                author=asker.who,
                reason=choice.reason,
                created=now,
                expires=now + choice.seconds,
                file=choice.file,
                via=choice.via,
            )
            for choice in choices
        ]

        def edit(overrides: Overrides) -> tuple[Overrides, list[Entry]]:
            entries = []
            for choice, override in zip(choices, made, strict=True):
                if choice.if_version not in (None, overrides.version):
                    raise Rejected(
                        409,
                        f"the overrides have changed: they are number {overrides.version}, "
                        f"not {choice.if_version}",
                        current=self._shown(overrides),
                    )
                former = overrides.by_place.get(override.place)
                # A step back is never refused; a route has one at most.
                if former is None and len(overrides) >= MOST and choice.via != "back":
                    raise Rejected(409, f"{MOST} overrides are in force; clear some first")
                entry = _entry("override.set", asker, override.reason, override)
                entry |= {"before": _value_of(former), "after": override.json()["value"]}
                entry |= {"seconds": round(choice.seconds, 3), "id": override.id}
                entries.append(entry | ({"verb": choice.via} if choice.via else {}))
            return overrides.with_(*made), entries

        return await self._change(edit, made[0])

    async def undo(
        self, id_: str | None, reason: str, asker: Asker, may: Callable[[Override], None]
    ) -> Done:
        """Take back *id_*, or the newest by *asker*; what it took the place of comes back.

        *may* raises where *asker* may not. Raises Rejected.
        """
        back: list[Override | None] = [None]

        def edit(overrides: Overrides) -> tuple[Overrides, list[Entry]]:
            one = self._meant(overrides, id_, asker)
            may(one)
            after, back[0] = overrides.undone(one.id, time.time())
            entry = _entry("override.undo", asker, reason, one)
            entry |= {"before": _value_of(one), "after": _value_of(back[0]), "id": one.id}
            return after, [entry]

        done = await self._change(edit, None)
        return Done(back[0], done.version, done.workers, done.seconds, done.audited)

    async def clear(
        self, chosen: Callable[[Override], bool], reason: str, asker: Asker
    ) -> tuple[list[Override], Done]:
        """Take all that are *chosen* out of force: the file's word counts again."""
        gone: list[Override] = []

        def edit(overrides: Overrides) -> tuple[Overrides, list[Entry]] | None:
            gone[:] = [one for one in overrides if chosen(one)]
            if not gone:
                return None
            entries = []
            for one in gone:
                entry = _entry("override.clear", asker, reason, one)
                entries.append(entry | {"before": _value_of(one), "after": None, "id": one.id})
            return overrides.without({one.id for one in gone}), entries

        return gone, await self._change(edit, None)

    def _meant(self, overrides: Overrides, id_: str | None, asker: Asker) -> Override:
        if id_ is None:
            own = next((one for one in overrides if one.author == asker.who), None)
            if own is None:
                hint = "; name another's by its id" if len(overrides) else ""
                raise Rejected(404, f"no override by {asker.who} is in force{hint}")
            return own
        one = overrides.find(id_)
        if one is None:
            raise Rejected(404, f"no override {id_[:100]} is in force")
        return one

    async def _change(self, edit: Edit, override: Override | None) -> Done:
        """Record what *edit* makes of the set, and have it served. Raises Rejected."""
        began = time.monotonic()
        async with self._changing:
            entries: list[Entry] = []
            others: list[Entry] = []
            older: Kept | None = None
            for _ in range(_TRIES):
                before = self._kept
                edited = edit(before.overrides)
                if edited is None:  # perhaps because another machine has done it meanwhile
                    overrides, entries = before.overrides, []
                    break
                overrides, entries = edited
                # What follows the store may see this change before its answer is here.
                change = secrets.token_hex(4)
                self._own.append(change)
                entries = [{**entry, "change": change} for entry in entries]
                kept = before.after(overrides, entries)
                try:
                    await self.store.write(kept, older or (before if self._begun else None))
                except Moved as moved:
                    self._own.remove(change)
                    older = None
                    if moved.kept.newer_than(self._kept):
                        others += self._news(moved.kept)
                        self._take(moved.kept)
                    elif moved.kept.number != self._kept.number:
                        older = moved.kept  # a failover has lost what had been acknowledged
                    continue
                except Unrecorded as problem:
                    self._own.remove(change)  # if it is there all the same, it will be heard of
                    raise Rejected(503, f"cannot be recorded: {problem}") from None
                if self._kept.number == before.number:
                    self._take(kept)
                break
            else:
                raise Rejected(503, "cannot be recorded: others change the overrides all the time")
            audited, workers = await asyncio.gather(self.audit.add(*others, *entries), self._tell())
        for entry in entries:
            _tell_of(entry)
        return Done(override, overrides.version, workers, time.monotonic() - began, audited)

    # ---------------------------------------------------------------- what others do

    def _hear(self, kept: Kept | None) -> None:
        """Take what the store has."""
        known = self._kept
        if kept is None:
            self._keep(self._restore(None))
        elif kept.number == known.number:
            self._begun = True
        elif kept.newer_than(known):
            entries = self._news(kept)
            self._take(kept)
            self._keep(self._serve(entries))
        else:
            # The store has lost what it had acknowledged: a failover, or a restart from a copy.
            self._keep(self._restore(kept))

    def _news(self, kept: Kept) -> list[Entry]:
        """Return what the audit says of how others have come to *kept* from what is known here."""
        since = self._kept.overrides.version
        if self._kept.epoch != kept.epoch:
            # The first document that is seen is no change; another epoch in its place is one.
            entry: Entry = {"what": "override.begun_anew", "who": "", "via": "store"}
            return [entry | {"before": since, "after": kept.overrides.version}] if since else []
        entries = [dict(one) | {"via": "store"} for one in kept.recent if one["version"] > since]
        first = min((one["version"] for one in entries), default=kept.overrides.version + 1)
        entries = [one for one in entries if one.get("change") not in self._own]
        if first > since + 1:  # only the last changes come along; others' logs have the rest
            entry = {"what": "override.missed", "who": "", "via": "store"}
            entries.insert(0, entry | {"before": since, "after": first - 1})
        return entries

    async def _serve(self, entries: list[Entry]) -> None:
        await self._tell()
        if entries:
            await self.audit.add(*entries)

    async def _restore(self, there: Kept | None) -> None:
        async with self._changing:
            ours = self._kept
            if there is None:
                lost = bool(ours.overrides.version)
            else:
                lost = ours.epoch == there.epoch and ours.newer_than(there)
            if lost:
                with contextlib.suppress(Moved, Unrecorded):
                    await self.store.write(self._kept, there)
                    announce("overrides.restored", version=self._kept.overrides.version,
                             store=self.store.name)  # fmt: skip

    def _take(self, kept: Kept) -> None:
        """Let *kept* be what this instance knows."""
        self._kept = kept
        self._begun = True
        self._prepare()
        self._look.set()

    def _prepare(self) -> None:
        """Write the copy that outlives this process, and what the workers are told."""
        overrides = self._kept.overrides
        text = json.dumps(overrides.json(under=False), separators=(",", ":"))
        mark = mark_of(overrides)
        told: dict[str, Any] = {"mark": mark}
        copied = self._write_copy()
        if len(text) <= _INLINE or not copied:
            told["set"] = json.loads(text)
        else:
            told["file"] = str(self._state.folder / FILE)
        self.told = told

    def _write_copy(self) -> bool:
        if isinstance(self.store, FileStore) and self.store.path == self._state.folder / FILE:
            return True  # it is the store's own
        document = {"store": self.store.name, **self._kept.json()}
        try:
            self._state.write(FILE, json.dumps(document, ensure_ascii=False).encode())
        except OSError as problem:
            announce("overrides.uncopied", level=logging.WARNING, error=problem.strerror)
            return False
        return True

    # ---------------------------------------------------------------- time

    async def _mind_the_clock(self) -> None:
        while True:
            self._look.clear()
            wait = _LOOK_AGAIN
            ended = self._kept.overrides.ended(time.time())
            if ended:
                await self._end({one.id for one in ended})
            else:
                next_end = self._kept.overrides.next_end
                if next_end is not None:
                    wait = min(wait, next_end - time.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait, 0.01)):
                    await self._look.wait()

    async def _end(self, ids: Collection[str]) -> None:
        """Say that overrides have ended, and record it; the workers have ended them already."""
        for one in self._kept.overrides:
            if one.id in ids and one.id not in self._expired:
                self._expired.add(one.id)
                announce("override.expired", level=logging.WARNING, **_about(one))

        def edit(overrides: Overrides) -> tuple[Overrides, list[Entry]] | None:
            ended = [one for one in overrides if one.expires <= time.time()]
            if not ended:
                return None
            entries = []
            for one in ended:
                entry = _entry("override.expired", CLOCK, one.reason, one)
                entries.append(entry | {"before": _value_of(one), "after": None, "id": one.id})
            return overrides.without({one.id for one in ended}), entries

        try:
            await self._change(edit, None)
        except Rejected as problem:
            announce("override.end_unrecorded", level=logging.WARNING, error=problem.reason)
        else:
            self._expired.clear()

    # ---------------------------------------------------------------- what is shown

    def json(self) -> dict[str, Any]:
        """Return what is in force, as the API shows it."""
        store = {"kind": self.store.kind, "ok": not self.store.trouble, "why": self.store.trouble}
        return {**self._shown(self.overrides), "store": store}

    def _shown(self, overrides: Overrides) -> dict[str, Any]:
        return {
            "version": overrides.version,
            "overrides": [self.shown(one) for one in overrides],
        }

    def shown(self, one: Override) -> dict[str, Any]:
        """Return one override, what is left of it, whose it is, and whether the file has moved."""
        snapshot = self._snapshot()
        now = file_says(snapshot, one.kind, one.subject)
        conflict = None
        if now is None:
            conflict = {"was": one.file, "now": None}
        elif now != one.file:
            conflict = {"was": one.file, "now": now}
        left = round(one.left(time.time()), 1)
        [owner] = owners_of(one.subject, snapshot)
        return {
            **one.json(),
            "owner": owner,
            "left_s": left,
            "conflict": conflict,
            "orphan": now is None,
        }

    def follow(self, snapshot: Snapshot) -> None:
        """Say where *snapshot*, which is in force now, has moved under an override."""
        for one in self.overrides:
            now = file_says(snapshot, one.kind, one.subject)
            said = "gone" if now is None else now
            if said != one.file and self._conflicts.get(one.id) != said:
                self._conflicts[one.id] = said
                announce(
                    "override.conflict",
                    level=logging.WARNING,
                    **_about(one),
                    was=one.file,
                    now=said,
                    hint="the override wins until it ends; strangler undo takes it back",
                )
        ids = {one.id for one in self.overrides}
        self._conflicts = {id_: said for id_, said in self._conflicts.items() if id_ in ids}

    async def instances(self) -> list[dict[str, Any]]:
        """Return who shares the store, the last word of each. Raises Unrecorded."""
        now = time.time()
        listed = await self.store.instances()
        for one in listed:
            one.pop("rollout", None)  # for `fleet`, and long
            one["silent"] = round(max(now - float(one["at"]), 0.0), 1)
        return sorted(listed, key=lambda one: str(one["name"]))

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(Unrecorded):
                await self.store.beat(self._name, {**self._presence(), "overrides": self.mark})
            await asyncio.sleep(BEAT)

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def mark_of(overrides: Overrides) -> str:
    """Return what a set is called by those who serve it: its number, and a hash of what it says."""
    text = json.dumps(overrides.json(under=False), sort_keys=True)
    return f"{overrides.version}-{blake2b(text.encode(), digest_size=6).hexdigest()}"


def read_copy(folder: Path, store: str = "") -> Kept | None:
    """Return the set that was known last, None where there is none or it was of another *store*."""
    try:
        told = json.loads((folder / FILE).read_bytes())
        if store and isinstance(told, dict) and told.get("store") != store:
            announce(
                "overrides.foreign",
                level=logging.WARNING,
                store=str(told.get("store"))[:200],
                hint="the site has another store now; what the former holds doesn't count",
            )
            return None
        return Kept.parse(told)
    except FileNotFoundError:
        return None
    except (OSError, Malformed, ValueError) as problem:
        announce("overrides.unreadable", level=logging.ERROR, file=str(folder / FILE),
                 error=str(problem))  # fmt: skip
        return None


def _entry(what: str, asker: Asker, reason: str, one: Override) -> Entry:
    return {
        "what": what,
        "who": asker.who,
        "role": asker.role,
        "kind": one.kind,
        "subject": one.subject,
        "reason": reason,
        "from": asker.json(),
    }


def _value_of(one: Override | None) -> Any:
    return None if one is None else one.json()["value"]


def _about(one: Override) -> Mapping[str, Any]:
    value = one.value if isinstance(one.value, str) else json.dumps(one.json()["value"])
    return {"kind": one.kind, "subject": one.subject, "value": value, "author": one.author,
            "reason": one.reason, "id": one.id}  # fmt: skip


def _tell_of(entry: Entry) -> None:
    """Tell of a change in the log of events; expiry has been told of when it happened."""
    if entry["what"] == "override.expired":
        return
    after = entry["after"]
    announce(
        entry["what"],
        level=logging.WARNING,
        kind=entry["kind"],
        subject=entry["subject"],
        value=after if isinstance(after, str) else json.dumps(after),
        who=entry["who"],
        reason=entry["reason"],
    )
