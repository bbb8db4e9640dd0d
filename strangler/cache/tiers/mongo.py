# SPDX-License-Identifier: Apache-2.0
"""`mongodb://`: the archive of a fleet.

    NAME.kept    _id: digest of key and variant · envelope · entered · until, with a TTL index
    NAME.slices  _id: blob and number · data · until, with a TTL index; a document holds at most
                 16 MB, so large bodies are many
    NAME.log     one document: seq and floor of the log of purges, and its last marks
    NAME.marks   _id: "h" or "s" and the label · seq; all marks, for those who come late
    NAME.leases  _id: key · token · until

A purge is acknowledged when a majority has it. Reads go to the primary while there is one; while
it steps down, to a secondary, judged by the marks that this process has heard of. The number of
the log is asked for beside the object, so that two questions cost one wait.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from strangler.cache.tiers.envelope import unpack
from strangler.cache.tiers.purges import MOST, Mark
from strangler.cache.tiers.store import (
    START,
    VARIANTS,
    ExtraMissing,
    Log,
    Rows,
    Seen,
    StoreFailed,
)

try:
    from bson import Binary, Int64
    from pymongo import AsyncMongoClient, ReadPreference, ReturnDocument, UpdateOne
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.errors import DuplicateKeyError
    from pymongo.write_concern import WriteConcern
except ImportError as missing:
    raise ExtraMissing("mongodb", "pymongo") from missing

_MAJORITY: Final = WriteConcern(w="majority", wtimeout=1500)
#: Microseconds of the server's clock.
_NOW: Final = {"$multiply": [{"$toLong": "$$NOW"}, Int64(1000)]}
#: Marks in the log's document itself, for those who follow closely.
_RECENT: Final = 200
#: Documents that are dealt with together.
_TOGETHER: Final = 500


class Mongo:
    """A store in the database that *url* names (`strangler` where it names none)."""

    kind = "mongodb"
    slice_size = 1 << 20

    def __init__(self, url: str, *, name: str, size: int | None, most: int = MOST) -> None:
        """Use collections whose names begin with *name*; evict over *size* bytes."""
        self._url = url
        self._name = name
        self._size = size
        self._most = most
        self._indexed = False
        self._client: AsyncMongoClient[dict[str, Any]] | None = None

    async def open(self) -> None:
        if self._client is None:
            self._client = AsyncMongoClient(
                self._url,
                appname="strangler",
                connectTimeoutMS=1000,
                socketTimeoutMS=2000,
                serverSelectionTimeoutMS=1500,
                heartbeatFrequencyMS=1000,
                retryReads=False,
                retryWrites=False,
                maxPoolSize=20,
            )
        await self._index()

    async def _index(self) -> None:
        for name in ("kept", "slices", "leases"):
            await self._at(name).create_index("until", expireAfterSeconds=0)
        await self._at("kept").create_index("entered")
        await self._at("slices").create_index("blob")
        await self._at("marks").create_index("seq")
        self._indexed = True

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def read(self, key: bytes) -> Rows:
        found = self._at("kept").find(_variants(key), {"envelope": 1, "variant": 1})
        rows, seq = await asyncio.gather(found.to_list(2 * VARIANTS), self.last())
        if rows and not seq:
            raise StoreFailed("no log of purges")
        return Rows(seq, [(bytes(row["variant"]), bytes(row["envelope"])) for row in rows])

    async def write(self, key: bytes, variant: bytes, envelope: bytes, ttl: float) -> None:
        now = datetime.now(UTC)
        opened = unpack(envelope)
        blob = opened.blob if opened is not None else 0
        document = {
            "variant": variant,
            "start": envelope[:START],
            "envelope": envelope,
            "blob": blob,
            "entered": now,
            "until": now + timedelta(seconds=ttl),
        }
        name = {"_id": Binary(_digest(key) + _digest(variant))}
        kept = self._at("kept")
        if (await kept.replace_one(name, document, upsert=True)).did_upsert:
            over = await kept.count_documents(_variants(key)) - VARIANTS
            if over > 0:
                oldest = kept.find(_variants(key), {"_id": 1}).sort("entered", 1).limit(over)
                names = [each["_id"] async for each in oldest]
                await kept.delete_many({"_id": {"$in": names}})

    async def remove(self, key: bytes, rows: Sequence[tuple[bytes, bytes]]) -> None:
        for variant, start in rows:
            name: dict[str, Any] = {"_id": Binary(_digest(key) + _digest(variant))}
            if start:
                name["start"] = start
            await self._at("kept").delete_one(name)

    async def write_slice(self, blob: int, number: int, data: bytes, ttl: float) -> None:
        until = datetime.now(UTC) + timedelta(seconds=ttl)
        document = {"_id": _slice(blob, number), "blob": blob, "data": data, "until": until}
        await self._at("slices").insert_one(document)

    async def read_slice(self, blob: int, number: int) -> bytes | None:
        found = await self._at("slices").find_one({"_id": _slice(blob, number)})
        return None if found is None else bytes(found["data"])

    async def remove_slices(self, blob: int, slices: int) -> None:
        names = [_slice(blob, number) for number in range(slices)]
        await self._at("slices").delete_many({"_id": {"$in": names}})

    async def last(self) -> int:
        found = await self._at("log").find_one({"_id": 1})
        return 0 if found is None else int(found["seq"])

    async def log(self, after: int) -> Log:
        found = await self._at("log").find_one({"_id": 1})
        if found is None:
            # What is there from before has lost its log: it doesn't count.
            found = await self._number([])
        seq, floor = int(found["seq"]), int(found["floor"])
        since = max(after, floor)
        marks = {(m["seq"], m["_id"]) for m in found["recent"] if m["seq"] > since}
        oldest = min([m["seq"] for m in found["recent"]], default=seq + 1)
        if after < oldest - 1:
            asked = {"seq": {"$gt": since, "$lte": seq}}
            marks |= {(m["seq"], m["_id"]) async for m in self._at("marks").find(asked)}
        return Log(
            seq, floor, [Mark(int(n), bytes(m[1:]), m[:1] == b"s") for n, m in sorted(marks)]
        )

    async def purge(self, labels: Sequence[bytes], soft: bool) -> int:
        how = b"s" if soft else b"h"
        seq = 0
        for at in range(0, len(labels), _RECENT // 2):
            names = [Binary(how + label) for label in labels[at : at + _RECENT // 2]]
            found = await self._number(names)
            seq = int(found["seq"])
            await self._mark([{"_id": name, "seq": found["seq"]} for name in names])
        return seq

    async def restore(self, marks: Sequence[Mark], seq: int) -> None:
        for at in range(0, len(marks), _TOGETHER):
            some = marks[at : at + _TOGETHER]
            names = [Binary((b"s" if mark.soft else b"h") + mark.label) for mark in some]
            await self._mark(
                [{"_id": name, "seq": Int64(m.seq)} for name, m in zip(names, some, strict=True)]
            )
        raised = [{"$set": {"seq": {"$max": ["$seq", Int64(seq)]}, "recent": []}}]
        await self._at("log").update_one({"_id": 1}, raised)

    async def take(
        self, key: bytes, token: bytes, seconds: float, seen: Seen | None
    ) -> bool | None:
        now = datetime.now(UTC)
        lease = {"token": token, "until": now + timedelta(seconds=seconds)}
        with suppress(DuplicateKeyError):
            await self._at("leases").update_one(
                {"_id": Binary(_digest(key)), "until": {"$lte": now}}, {"$set": lease}, upsert=True
            )
            return False
        return None

    async def give(self, key: bytes, token: bytes) -> None:
        await self._at("leases").delete_one({"_id": Binary(_digest(key)), "token": token})

    async def taken(self, key: bytes) -> bool:
        lease = {"_id": Binary(_digest(key)), "until": {"$gt": datetime.now(UTC)}}
        return await self._at("leases").find_one(lease) is not None

    async def upkeep(self) -> None:
        """Index what isn't yet, keep marks, forget the oldest marks, evict the oldest objects."""
        if not self._indexed:
            await self._index()
        found = await self._at("log").find_one({"_id": 1})
        if found is not None:  # whoever made a purge may have died before the second half of it
            await self._mark(found["recent"])
        marks = self._at("marks")
        over = await marks.estimated_document_count() - self._most
        if over > 0:
            oldest = marks.find({}, {"seq": 1}).sort("seq", 1).skip(over + self._most // 8 - 1)
            async for mark in oldest.limit(1):
                floor = [{"$set": {"floor": {"$max": ["$floor", mark["seq"]]}}}]
                await self._at("log").update_one({"_id": 1}, floor)
                await marks.delete_many({"seq": {"$lte": mark["seq"]}})
        while self._size is not None and await self._used() > self._size:
            kept = self._at("kept")
            found_kept = kept.find({}, {"_id": 1, "blob": 1}).sort("entered", 1).limit(_TOGETHER)
            some = await found_kept.to_list(_TOGETHER)
            await kept.delete_many({"_id": {"$in": [each["_id"] for each in some]}})
            blobs = [each["blob"] for each in some if each["blob"]]
            await self._at("slices").delete_many({"blob": {"$in": blobs}})
            if not some:
                return

    async def _used(self) -> int:
        """Return the bytes of all documents, before the server compresses them."""
        total = 0
        for name in ("kept", "slices"):
            stages: list[dict[str, Any]] = [{"$collStats": {"storageStats": {}}}]
            async for found in await self._at(name).aggregate(stages):
                total += int(found["storageStats"]["size"])
        return total

    async def _number(self, names: Sequence[bytes]) -> dict[str, Any]:
        """Give the log a new number and write these marks into it, in one step."""
        rises = {"$max": [_NOW, {"$add": [{"$ifNull": ["$seq", Int64(0)]}, Int64(1)]}]}
        new = [{"_id": name, "seq": "$seq"} for name in names]
        recent = {"$concatArrays": [{"$ifNull": ["$recent", []]}, new]}
        stages: list[dict[str, Any]] = [
            {"$set": {"seq": rises if names else {"$ifNull": ["$seq", _NOW]}}},
            {"$set": {"floor": {"$ifNull": ["$floor", "$seq"]}}},
            {"$set": {"recent": {"$slice": [recent, -_RECENT]}}},
        ]
        log = self._at("log").with_options(write_concern=_MAJORITY)
        for _ in range(3):
            with suppress(DuplicateKeyError):  # two who make it at once
                found = await log.find_one_and_update(
                    {"_id": 1}, stages, upsert=True, return_document=ReturnDocument.AFTER
                )
                if found is not None:
                    return found
        raise StoreFailed("no log of purges")

    async def _mark(self, marks: Sequence[dict[str, Any]]) -> None:
        if marks:
            raised = [({"_id": each["_id"]}, {"$max": {"seq": each["seq"]}}) for each in marks]
            writes = [UpdateOne(name, update, upsert=True) for name, update in raised]
            await self._at("marks").bulk_write(writes, ordered=False)

    def _at(self, name: str) -> AsyncCollection[dict[str, Any]]:
        if self._client is None:
            raise StoreFailed("not connected", hard=True)
        database = self._client.get_default_database("strangler")
        return database.get_collection(
            f"{self._name}.{name}", read_preference=ReadPreference.PRIMARY_PREFERRED
        )


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def _variants(key: bytes) -> dict[str, Any]:
    """Return what finds the documents of *key*: their names begin alike, and are equally long."""
    first = _digest(key)
    return {"_id": {"$gte": Binary(first + b"\0" * 16), "$lte": Binary(first + b"\xff" * 16)}}


def _slice(blob: int, number: int) -> str:
    return f"{blob:x}:{number}"
