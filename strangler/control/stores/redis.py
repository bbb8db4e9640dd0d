# SPDX-License-Identifier: Apache-2.0
"""Redis as the store of a fleet's overrides.

    PREFIX overrides      a hash: epoch, version, document
    PREFIX instances      a hash: an instance's name to what it has left word of

A change is one script that compares epoch and number first, writes and publishes. Who hears of it
reads the document; who hears nothing finds the new number at the next look, half a second later at
most: a lost message or a half-dead subscription costs no more than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from strangler.cache.tiers.redis_urls import client, greeting, locating, tls_context
from strangler.cache.tiers.resp import Commands, pack
from strangler.cache.tiers.store import ExtraMissing, StoreFailed
from strangler.cache.tiers.urls import StoreUrl, parse
from strangler.control.stores.store import Kept, Moved, Unrecorded
from strangler.observe.events import announce
from strangler.rollout import Malformed

try:
    import hiredis
except ImportError as missing:
    raise ExtraMissing("redis", "hiredis") from missing

#: Seconds between two looks at the number.
LOOK: Final = 0.5
#: Seconds that a command may take.
PATIENCE: Final = 2.0
#: Seconds that a start waits for the first look.
_FIRST: Final = 1.0
#: Seconds without a word after which a subscription is asked whether it lives, and then given up.
_SILENCE: Final = 15.0
#: Seconds after which an instance that says nothing is forgotten.
_FORGOTTEN: Final = 86_400.0

#: Overrides must be possible in a Redis that is full; before 7.0 there is no way to say so.
_FLAGS: Final = "#!lua flags=allow-oom\n"
#: KEYS: the hash; ARGV: epoch and number expected, epoch, number and document to be written.
_CHANGE: Final = """
local there = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'document')
if (there[1] or '') ~= ARGV[1] or (there[2] or '') ~= ARGV[2] then
  return {0, there[3] or ''}
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'version', ARGV[4], 'document', ARGV[5])
redis.call('PUBLISH', KEYS[1], ARGV[4])
return {1, ''}
"""


class RedisStore:
    """The document in the Redis, or the cluster, at *url*; of the site called *site*."""

    kind = "redis"

    def __init__(self, url: str, *, site: str) -> None:
        """Prepare; raises ValueError for a URL that leads nowhere."""
        cluster = url.startswith("redis+cluster:")
        address = parse(url, port=26379 if url.startswith("redis+sentinel:") else 6379)
        if address.scheme == "redis+sentinel" and not (address.path and address.path[0]):
            raise ValueError("expected redis+sentinel://HOST,HOST/SERVICE")
        self._address = address
        self._commands: Commands = _cluster(address) if cluster else client(address)
        prefix = f"{address.options.get('prefix', 'strangler:')}{site}:"
        self._key = f"{prefix}overrides".encode()
        self._instances = f"{prefix}instances".encode()
        hosts = ",".join(f"{host}:{port}" for host, port in address.hosts)
        path = "/".join(address.path)
        self.name = f"{address.scheme}://{hosts}/{path} {prefix}overrides"
        self.trouble = "not connected yet"
        self._subscribes = not cluster
        self._flags = _FLAGS
        self._seen: tuple[str, str] | None = None
        self._there = False
        self._lost = False
        self._notice = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, heard: Callable[[Kept | None], None]) -> None:
        self._tasks.append(asyncio.create_task(self._open()))
        looked = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._follow(heard, looked)))
        if self._subscribes:
            self._tasks.append(asyncio.create_task(self._subscribe()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST):
                await looked.wait()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:  # a client that is connecting may take its time, or not hear of it at all
            await asyncio.wait(self._tasks, timeout=PATIENCE)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(PATIENCE):
                await self._commands.close()

    async def write(self, kept: Kept, before: Kept | None) -> None:
        epoch, version = ("", "") if before is None else (before.epoch, before.overrides.version)
        document = json.dumps(kept.json(), ensure_ascii=False)
        number = kept.overrides.version
        try:
            done, there = await self._change(
                epoch, str(version), kept.epoch, str(number), document.encode()
            )
        except StoreFailed as problem:
            self._fail(problem.reason)
            raise Unrecorded(f"{self._address.scheme}: {problem.reason}") from None
        if not done:
            if not there:  # it has lost what was there: written anew, as if nothing had been
                done, there = await self._again(kept, document)
            if not done:
                raise Moved(self._parsed(there))
        self._seen = kept.epoch, str(number)
        self._there = True

    async def beat(self, name: str, told: Mapping[str, Any]) -> None:
        document = json.dumps({"at": time.time(), **told}, ensure_ascii=False)
        await self._ask("HSET", self._instances, name.encode(), document.encode())

    async def instances(self) -> list[dict[str, Any]]:
        found = await self._ask("HGETALL", self._instances)
        pairs = (
            found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        )
        listed, now = [], time.time()
        for name, document in pairs:
            try:
                told = json.loads(document)
                gone = now - float(told["at"]) > _FORGOTTEN
            except (ValueError, TypeError, KeyError):
                gone, told = True, {}
            if gone:
                await self._ask("HDEL", self._instances, name)
            else:
                listed.append({"name": name.decode("utf-8", "replace"), **told})
        return listed

    # ---------------------------------------------------------------- commands

    async def _open(self) -> None:
        """Connect; a client comes back by itself, a cluster's map has to be asked for again."""
        while True:
            try:
                await self._commands.open()
            except Exception as problem:
                self._fail(f"{type(problem).__name__}: {' '.join(str(problem).split())[:100]}")
                await asyncio.sleep(1.0)
            else:
                self._notice.set()
                return

    async def _ask(self, *command: bytes | str | int) -> Any:
        """Return the reply to one command. Raises Unrecorded."""
        try:
            return await self._run(*command)
        except StoreFailed as problem:
            raise Unrecorded(f"{self._address.scheme}: {problem.reason}") from None

    async def _run(self, *command: bytes | str | int) -> Any:
        """Return the reply to one command. Raises StoreFailed."""
        try:
            async with asyncio.timeout(PATIENCE):
                return (await self._commands.run(command))[0]
        except TimeoutError:
            raise StoreFailed(f"no answer within {PATIENCE:g} s", hard=True) from None

    async def _change(self, *arguments: bytes | str) -> tuple[bool, bytes]:
        for flags in dict.fromkeys((self._flags, "")):
            try:
                done, there = await self._run("EVAL", flags + _CHANGE, 1, self._key, *arguments)
            except StoreFailed as problem:
                if not flags or "ompil" not in problem.reason:
                    raise
                self._flags = ""
            else:
                return bool(done), there
        raise StoreFailed("no script is taken")

    async def _again(self, kept: Kept, document: str) -> tuple[bool, bytes]:
        try:
            number = str(kept.overrides.version)
            return await self._change("", "", kept.epoch, number, document.encode())
        except StoreFailed as problem:
            raise Unrecorded(f"{self._address.scheme}: {problem.reason}") from None

    def _parsed(self, document: bytes) -> Kept:
        try:
            return Kept.parse(json.loads(document))
        except (ValueError, Malformed) as problem:
            self.trouble = f"what is there can't be read: {problem}"
            raise Unrecorded(self.trouble) from None

    # ---------------------------------------------------------------- following

    async def _follow(self, heard: Callable[[Kept | None], None], looked: asyncio.Event) -> None:
        while True:
            self._notice.clear()
            try:
                await self._look(heard)
            except (StoreFailed, Unrecorded) as problem:
                self._fail(problem.reason if isinstance(problem, StoreFailed) else str(problem))
            else:
                looked.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._notice.wait()

    async def _look(self, heard: Callable[[Kept | None], None]) -> None:
        epoch, version = await self._run("HMGET", self._key, "epoch", "version")
        if epoch is None or version is None:
            if self._there or self._seen is None:
                heard(None)
            self._seen, self._there = ("", ""), False
        elif (epoch.decode(), version.decode()) != self._seen:
            document = await self._run("HGET", self._key, "document")
            if document is not None:
                kept = self._parsed(document)
                self._seen = kept.epoch, str(kept.overrides.version)
                self._there = True
                heard(kept)
        self._recover()

    def _fail(self, reason: str) -> None:
        self.trouble = reason
        if not self._lost:
            self._lost = True
            announce(
                "overrides.store_lost",
                level=logging.WARNING,
                store=self.name,
                error=reason,
                hint="what is in force stays in force; nothing can be changed",
            )

    def _recover(self) -> None:
        self.trouble = ""
        if self._lost:
            self._lost = False
            announce("overrides.store_back", store=self.name)

    async def _subscribe(self) -> None:
        """Have every message wake the follower; come back for ever."""
        locate = locating(self._address)
        while True:
            with contextlib.suppress(Exception):
                await self._listen(*await locate())
            await asyncio.sleep(0.2 + random.random())

    async def _listen(self, host: str, port: int) -> None:
        tls = tls_context(self._address.options) if self._address.scheme == "rediss" else None
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            said = [*greeting(self._address), ("SUBSCRIBE", self._key)]
            writer.write(b"".join(map(pack, said)))
            replies = hiredis.Reader()
            asked = False
            while True:
                try:
                    async with asyncio.timeout(_SILENCE):
                        data = await reader.read(1 << 16)
                except TimeoutError:
                    if asked:
                        return
                    asked = True
                    writer.write(pack(("PING",)))
                    continue
                if not data:
                    return
                asked = False
                replies.feed(data)
                while (reply := replies.gets()) is not False:
                    if isinstance(reply, hiredis.ReplyError):
                        return
                    if isinstance(reply, list) and reply[0] in (b"message", b"subscribe"):
                        self._notice.set()
        finally:
            writer.close()


def _cluster(address: StoreUrl) -> Commands:
    from strangler.cache.tiers.redis_cluster import Cluster

    return Cluster(address)
