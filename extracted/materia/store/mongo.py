# SPDX-License-Identifier: Apache-2.0
"""The store of a fleet: MongoDB, shared by all instances (needs pymongo)."""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pymongo
from bson.errors import BSONError
from pymongo import ASCENDING, AsyncMongoClient, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from ..event import Event
from . import StoreFailed

DATABASE = "materia"  # where the URL names none
TIMEOUT = 2.0  # seconds for one read or small write: the edge has a fallback and won't wait longer
BATCH_TIMEOUT = 30.0  # seconds for a batch of events: nobody waits for it
DUPLICATE_KEY = 11000


class MongoStore:
    """One document an article, `_id` its slug; the mark in a collection of its own.

    The article is kept as JSON text, so that what JSON can say and BSON can't (long integers,
    any key) is no special case.
    """

    def __init__(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        self._client = client
        db = client.get_default_database(DATABASE)
        self._articles = db["materia"]
        self._sync = db["sync"]

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `url`; its options win over the timeouts given here."""
        given = url.partition("?")[2].lower()
        options: dict[str, Any] = {
            name: TIMEOUT * 1000
            for name in ("timeoutMS", "serverSelectionTimeoutMS")
            if name.lower() not in given
        }
        async with _failures():
            store = cls(AsyncMongoClient(url, **options))
        try:
            async with _failures():
                await store._articles.create_index([("seq", ASCENDING)])
        except StoreFailed:
            await store.close()
            raise
        return store

    async def get(self, slug: str) -> Event | None:
        try:
            async with _failures():
                found = await self._articles.find_one({"_id": slug})
        except UnicodeEncodeError:
            return None
        if found is None:
            return None
        article = found["article"]
        return Event(found["seq"], found["kind"], slug, article and json.loads(article))

    async def apply(self, events: Iterable[Event]) -> int:
        events = list(events)
        async with _failures():
            with pymongo.timeout(BATCH_TIMEOUT):
                kept, refused = await self._write(events, upsert=True)
                # Refused: the filter missed and the insert met a document of that slug. Either
                # it was as new, or another writer made it in between; a plain update can tell.
                again, _ = await self._write([events[i] for i in refused], upsert=False)
        return kept + again

    async def head(self) -> int:
        async with _failures():
            found = await self._articles.find_one({}, {"seq": 1}, sort=[("seq", -1)])
        return found["seq"] if found else 0

    async def mark(self) -> int:
        async with _failures():
            found = await self._sync.find_one({"_id": "mark"})
        return found["seq"] if found else 0

    async def advance(self, mark: int) -> None:
        async with _failures():
            await self._sync.update_one({"_id": "mark"}, {"$max": {"seq": mark}}, upsert=True)

    async def count(self) -> int:
        async with _failures():
            return await self._articles.count_documents({"kind": {"$ne": "removed"}})

    async def clear(self) -> None:
        async with _failures():
            await self._articles.delete_many({})
            await self._sync.delete_many({})

    async def close(self) -> None:
        await self._client.close()

    async def _write(self, events: Sequence[Event], *, upsert: bool) -> tuple[int, list[int]]:
        """Return how many were kept, and the places of those refused as duplicates."""
        if not events:
            return 0, []
        updates = [
            UpdateOne(
                {"_id": e.slug, "seq": {"$lt": e.seq}},
                {"$set": {"seq": e.seq, "kind": e.kind, "article": _text(e)}},
                upsert=upsert,
            )
            for e in events
        ]
        try:
            # Ordered, the first refusal would stop the rest.
            done = await self._articles.bulk_write(updates, ordered=False)
        except BulkWriteError as error:
            said = error.details
            refused = [e["index"] for e in said["writeErrors"] if e["code"] == DUPLICATE_KEY]
            if said.get("writeConcernErrors") or len(refused) < len(said["writeErrors"]):
                raise
            return said["nUpserted"] + said["nModified"], refused
        return done.upserted_count + done.modified_count, []


def _text(event: Event) -> str | None:
    return None if event.article is None else json.dumps(event.article)


@asynccontextmanager
async def _failures() -> AsyncIterator[None]:
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise StoreFailed(f"mongodb: {error!s:.300}") from error
