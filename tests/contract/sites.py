# SPDX-License-Identifier: Apache-2.0
"""What the contract's tests run against: every store there is, on real servers."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import uvloop
from servers.mongod import Mongod
from servers.process import LOOPBACK
from servers.redis import Redis
from servers.redis_cluster import RedisCluster
from servers.redis_sentinel import RedisSentinel
from unit.cache.build import cc, request, stored

from strangler.cache.stored import Stored
from strangler.cache.tiers import Store, Tier, make_store
from strangler.cache.tiers.tier import Copy
from strangler.testing import Certificate

STORES = (
    "memory",
    "sqlite",
    "redis",
    "redis, at a glance",
    "rediss",
    "redis+sentinel",
    "redis+cluster",
    "toredis",
    "mongodb",
)


class Glancing(Tier):
    """A tier that is asked without a task, wherever it can be."""

    async def get(self, key: bytes) -> list[Copy]:
        told: asyncio.Future[list[Copy] | None] = asyncio.get_running_loop().create_future()
        if self.glance(key, told.set_result):
            copies = await told
            if copies is not None:
                return copies
        return await super().get(key)


class Site:
    """One store, and as many workers with a tier on it as a test wants."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self._tiers: list[Tier] = []
        self._only: Store | None = None
        _sites.append(self)

    def store(self, **options: Any) -> Store:
        if self.kind == "memory":  # there is but one process that has it
            self._only = self._only or make_store(self.url, name="shared", **options)
            return self._only
        return make_store(self.url, name="shared", **options)

    async def worker(self, *, deadline: float = 10.0, poll: float = 0.1, **options: Any) -> Tier:
        """Return another worker's tier; it is closed when the test has ended."""
        make = Glancing if "glance" in self.kind else Tier
        store = self.store(**options)
        if self.kind == "redis+cluster":  # its driver gives up by itself, after a second
            store._commands._timeout = max(deadline, 1.0)  # type: ignore[attr-defined]
        tier = make("shared", store, deadline=deadline, poll=poll)
        self._tiers.append(tier)
        await tier.start()
        await until(lambda: tier.up)  # a busy machine's server may be late to let it in
        return tier

    async def close(self) -> None:
        tiers, self._tiers = self._tiers, []
        await asyncio.gather(*[tier.close() for tier in tiers])


#: Those that the test under way has made: closed with it, however it ends.
_sites: list[Site] = []


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test on uvloop, as the edge does, and close what its sites have opened."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def whole() -> None:
            try:
                await asyncio.wait_for(test(*args, **kwargs), 120)
            finally:
                while _sites:
                    await _sites.pop().close()

        uvloop.run(whole())

    return run


class TlsRedis(Redis):
    """A Redis that speaks TLS, and in the clear only to the tests' own questions."""

    def __init__(self, certificate: Certificate) -> None:
        from servers.process import free_port

        self.certificate = certificate
        self.tls_port = free_port()
        files = ["--tls-cert-file", str(certificate.cert), "--tls-key-file", str(certificate.key)]
        files += ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no"]
        super().__init__(*files)

    @property
    def url(self) -> str:
        return f"rediss://{LOOPBACK}:{self.tls_port}/0?ssl_ca_certs={self.certificate.cert}"


class Clearable(Protocol):
    url: str

    def clear(self) -> None: ...


class Servers:
    """The servers that sites need, started when the first one asks."""

    def __init__(self, certificate: Callable[[], Certificate]) -> None:
        self._stack = ExitStack()
        self._certificate = certificate
        self._running: dict[str, Any] = {}

    def get(self, kind: str) -> Any:
        made: dict[str, Callable[[], Any]] = {
            "redis": Redis,
            "rediss": lambda: TlsRedis(self._certificate()),
            "redis+sentinel": RedisSentinel,
            "redis+cluster": RedisCluster,
            "mongodb": Mongod,
        }
        if kind not in self._running:
            self._running[kind] = self._stack.enter_context(made[kind]())
        return self._running[kind]

    def url(self, kind: str, folder: Path) -> str:
        """Return the URL of an empty store."""
        if kind == "memory":
            return "memory"
        if kind == "sqlite":
            return f"sqlite:{folder / 'shared.db'}"
        server = self.get("redis" if kind in ("toredis", "redis, at a glance") else kind)
        server.clear()
        url: str = server.url
        return url.replace("redis:", "toredis:") if kind == "toredis" else url

    def close(self) -> None:
        self._stack.close()


def servers(certificate: Callable[[], Certificate]) -> Iterator[Servers]:
    made = Servers(certificate)
    try:
        yield made
    finally:
        made.close()


def page(
    target: bytes = b"/a",
    *,
    vary: bytes | None = None,
    length: int = 10,
    tags: tuple[bytes, ...] = (),
    route: bytes = b"/**",
    control: bytes = b"max-age=60, stale-while-revalidate=30",
) -> Stored:
    """Return a page as it is stored, received now; *vary* is a reader's Foo."""
    from dataclasses import replace

    fields = [cc(control), *([(b"Vary", b"Foo")] if vary is not None else [])]
    asked = request(*([(b"Foo", vary)] if vary is not None else []), target=target)
    made = stored(*fields, to=asked, length=length, received=time.time())
    return replace(made, tags=tags, route=route)


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> float:
    """Return after how many seconds *condition* (or what it is awaited to be) came true."""
    began = time.monotonic()
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise AssertionError("it never came true")
        await asyncio.sleep(0.01)


async def whole(tier: Tier, copy: Any) -> bytes:
    """Return the body of *copy*."""
    return b"".join([piece async for piece in tier.body(copy)])
