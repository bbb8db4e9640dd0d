# SPDX-License-Identifier: Apache-2.0
"""Redis as a store, whichever client speaks to it.

    PREFIX o:KEY        a hash: variant to envelope; its time to live is its longest variant's
    PREFIX b:BLOB:N     a slice
    PREFIX l:KEY        a lease: a token with a time to live
    {PREFIX}seq         "number floor" of the log of purges
    {PREFIX}log         a sorted set: "h" or "s" and the label, by number

The log's number is read with every object, in the same round trip. If Redis loses it, by a flush
or an eviction, whatever was stored before counts as purged. What a failover loses of it is written
back by any worker that had heard of it. Redis bounds its memory itself (`maxmemory` with
`allkeys-lfu`): `size` is not its client's to keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from strangler.cache.tiers.purges import MOST, Mark
from strangler.cache.tiers.resp import Client, Command, Commands
from strangler.cache.tiers.store import VARIANTS, Log, Rows, Seen, StoreFailed, short

#: Purges must be possible in a Redis that is full; before 7.0 there is no way to say so.
_FLAGS: Final = "#!lua flags=allow-oom\n"
_NOW: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function text(n) return string.format('%.0f', n) end
local said = redis.call('GET', KEYS[1])
local last, floor = string.match(said or '', '^(%d+) (%d+)$')
if not last then last, floor = text(now), text(now) end
"""
#: KEYS: seq, log. Makes the log anew where its two halves don't fit together.
_OPEN: Final = (
    _NOW
    + """
local top = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
if tonumber(last) > tonumber(floor) and (not top[2] or tonumber(top[2]) < tonumber(last)) then
  floor = last
end
local now_said = last .. ' ' .. floor
if now_said ~= said then redis.call('SET', KEYS[1], now_said) end
return now_said
"""
)
#: KEYS: seq, log; ARGV: most marks, then "h" or "s" and the label.
_PURGE: Final = (
    _NOW
    + """
local seq = text(math.max(now, last + 1))
for i = 2, #ARGV do redis.call('ZADD', KEYS[2], seq, ARGV[i]) end
local most = tonumber(ARGV[1])
local over = redis.call('ZCARD', KEYS[2]) - most
if over > 0 then
  local gone = redis.call('ZPOPMIN', KEYS[2], over + math.ceil(most / 8))
  floor = text(math.max(tonumber(floor), tonumber(gone[#gone])))
end
redis.call('SET', KEYS[1], seq .. ' ' .. floor)
return seq
"""
)
#: KEYS: seq, log; ARGV: number, then score and mark by turns.
_RESTORE: Final = (
    _NOW
    + """
for i = 2, #ARGV, 2 do
  local old = redis.call('ZSCORE', KEYS[2], ARGV[i + 1])
  if not old or tonumber(old) < tonumber(ARGV[i]) then
    redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
last = text(math.max(tonumber(last), tonumber(ARGV[1])))
redis.call('SET', KEYS[1], last .. ' ' .. floor)
return last
"""
)
#: KEYS: an object's; ARGV: variant and the start of its envelope by turns.
_REMOVE: Final = """
for i = 1, #ARGV, 2 do
  local found = redis.call('HGET', KEYS[1], ARGV[i])
  if found and string.sub(found, 1, #ARGV[i + 1]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 0
"""
#: KEYS: an object's; ARGV: variant and the start of its envelope. 0 where it is there still.
_OTHER: Final = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found and string.sub(found, 1, #ARGV[2]) == ARGV[2] then return 0 end
return 1
"""
_GIVE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
#: Marks that are written back together.
_TOGETHER: Final = 500


class Redis:
    """A store in the Redis that *commands* reach; *bulk* is for what is large or can wait."""

    slice_size = 64 << 10

    def __init__(
        self,
        kind: str,
        commands: Commands,
        bulk: Commands | None = None,
        *,
        prefix: str = "strangler:",
        most: int = MOST,
    ) -> None:
        self.kind = kind
        self._commands = commands
        self._bulk = bulk if bulk is not None else commands
        self._most = most
        self._objects = prefix.encode() + b"o:"
        self._slices = prefix.encode() + b"b:%d:%d"
        self._leases = prefix.encode() + b"l:"
        # In a cluster both have to be on one node, and scripts may touch no other.
        self._seq_key = b"{%b}seq" % prefix.encode()
        self._log_key = b"{%b}log" % prefix.encode()
        self._ask_seq: Command = ("GET", self._seq_key)
        self._said = b""
        self._seq = 0
        self._expire_by: tuple[str, ...] = ("NX", "GT")
        self._flags = _FLAGS
        self._within = 0.0
        self._prompt: Client | None = None

    def limit(self, seconds: float) -> bool:
        """Take no longer than *seconds* for what readers wait for; False where it can't tell."""
        if not isinstance(self._commands, Client):
            return False
        self._within = seconds
        self._prompt = self._commands
        return True

    def _soon(self, *commands: Command) -> Awaitable[list[Any]]:
        """Run what readers wait for."""
        if self._prompt is not None:
            return self._prompt.run_within(self._within, *commands)
        return self._commands.run(*commands)

    async def open(self) -> None:
        # Both begin to connect, whichever has to wait.
        await asyncio.gather(*[client.open() for client in {self._commands, self._bulk}])

    async def close(self) -> None:
        await asyncio.gather(*[client.close() for client in {self._commands, self._bulk}])

    async def read(self, key: bytes) -> Rows:
        flat, said = await self._soon(*self._questions(key))
        if said is None:
            await self._number(None)
            said = self._said
        found = self.rows([flat, said])
        assert found is not None
        return found

    def ask(self, key: bytes) -> asyncio.Future[list[Any]]:
        assert self._prompt is not None, "no limit is set"
        return self._prompt.run_within(self._within, *self._questions(key))

    def rows(self, answer: list[Any]) -> Rows | None:
        flat, said = answer
        if said != self._said:
            if said is None:
                return None
            self._learn(said)
        if type(flat) is dict:
            return Rows(self._seq, list(flat.items()))
        flat = iter(flat)
        return Rows(self._seq, list(zip(flat, flat, strict=True)))

    def _questions(self, key: bytes) -> tuple[Command, Command]:
        # The number after the object: what was purged in between is judged by the later one.
        return ("HGETALL", self._objects + short(key)), self._ask_seq

    async def write(self, key: bytes, variant: bytes, envelope: bytes, ttl: float) -> None:
        name = self._objects + short(key)
        life = max(1, int(ttl * 1000))
        expire: list[Command] = [("PEXPIRE", name, life, how) for how in self._expire_by]
        if not expire:
            expire = [("PEXPIRE", name, life)]
        try:
            replies = await self._bulk.run(
                ("HSET", name, short(variant), envelope), *expire, ("HLEN", name)
            )
        except StoreFailed as error:
            # Redis before 7.0 can't say so; there a variant may take the others with it.
            if not self._expire_by or "PEXPIRE" not in error.reason.upper():
                raise
            self._expire_by = ()
            await self.write(key, variant, envelope, ttl)
            return
        if replies[-1] > VARIANTS:
            (fields,) = await self._bulk.run(("HKEYS", name))
            others = [field for field in fields if field != short(variant)]
            await self._bulk.run(("HDEL", name, *others[: replies[-1] - VARIANTS]))

    async def remove(self, key: bytes, rows: Sequence[tuple[bytes, bytes]]) -> None:
        pairs = [part for variant, start in rows for part in (short(variant), start)]
        await self._bulk.run(("EVAL", _REMOVE, 1, self._objects + short(key), *pairs))

    async def write_slice(self, blob: int, number: int, data: bytes, ttl: float) -> None:
        name = self._slices % (blob, number)
        await self._bulk.run(("PSETEX", name, max(1, int(ttl * 1000)), data))

    async def read_slice(self, blob: int, number: int) -> bytes | None:
        (data,) = await self._bulk.run(("GET", self._slices % (blob, number)))
        return data if data is None else bytes(data)

    async def remove_slices(self, blob: int, slices: int) -> None:
        for number in range(slices):
            await self._bulk.run(("UNLINK", self._slices % (blob, number)))

    async def last(self) -> int:
        (said,) = await self._soon(self._ask_seq)
        return await self._number(said)

    async def log(self, after: int) -> Log:
        said = await self._script(_OPEN)
        seq, floor = map(int, bytes(said).split())
        found = await self._bulk.run(
            ("ZRANGEBYSCORE", self._log_key, b"(%d" % after, "+inf", "WITHSCORES")
        )
        self._said, self._seq = bytes(said), seq
        return Log(seq, floor, _marks(found[0]))

    async def purge(self, labels: Sequence[bytes], soft: bool) -> int:
        how = b"s" if soft else b"h"
        try:
            return int(await self._script(_PURGE, self._most, *[how + label for label in labels]))
        except StoreFailed as error:
            if not error.reason.startswith("OOM"):
                raise
        # No room for a mark: forget the log, so that whatever is stored counts as purged.
        await self._commands.run(("DEL", self._seq_key), ("DEL", self._log_key))
        return await self.last()

    async def restore(self, marks: Sequence[Mark], seq: int) -> None:
        for at in range(0, max(1, len(marks)), _TOGETHER):
            arguments: list[bytes | int] = []
            for mark in marks[at : at + _TOGETHER]:
                arguments += [mark.seq, (b"s" if mark.soft else b"h") + mark.label]
            await self._script(_RESTORE, seq, *arguments)

    async def take(
        self, key: bytes, token: bytes, seconds: float, seen: Seen | None
    ) -> bool | None:
        life = max(1, int(seconds * 1000))
        name = self._objects + short(key)
        ask: Command = ("EXISTS", name)
        if seen is not None:
            ask = ("EVAL", _OTHER, 1, name, short(seen.variant), seen.start)
        said, kept = await self._soon(
            ("SET", self._leases + short(key), token, "NX", "PX", life), ask
        )
        return None if said is None else bool(kept)

    async def give(self, key: bytes, token: bytes) -> None:
        await self._commands.run(("EVAL", _GIVE, 1, self._leases + short(key), token))

    async def taken(self, key: bytes) -> bool:
        (there,) = await self._soon(("EXISTS", self._leases + short(key)))
        return bool(there)

    async def upkeep(self) -> None:
        """Do nothing: Redis expires and evicts by itself."""

    async def _number(self, said: Any) -> int:
        """Return the number in *said*; without one, make a log, before which nothing counts."""
        if said is None:
            async with asyncio.timeout(self._within or None):
                said = await self._script(_OPEN)
        self._learn(said)
        return self._seq

    def _learn(self, said: Any) -> None:
        """Remember the number in *said*, so that it is read but once."""
        self._seq = int(bytes(said).split()[0])
        self._said = bytes(said)

    async def _script(self, script: str, *arguments: bytes | int) -> Any:
        keys = (2, self._seq_key, self._log_key)
        try:
            return (await self._bulk.run(("EVAL", self._flags + script, *keys, *arguments)))[0]
        except StoreFailed as error:
            if not self._flags or "ompil" not in error.reason:
                raise
            self._flags = ""
        return (await self._bulk.run(("EVAL", script, *keys, *arguments)))[0]


def _marks(found: Any) -> list[Mark]:
    """Return marks from a sorted set's members and scores, flat or in pairs."""
    if found and isinstance(found[0], list | tuple):
        pairs = [(member, score) for member, score in found]
    else:
        pairs = list(zip(found[::2], found[1::2], strict=True))
    return [Mark(int(float(n)), bytes(m[1:]), m[:1] == b"s") for m, n in pairs]
