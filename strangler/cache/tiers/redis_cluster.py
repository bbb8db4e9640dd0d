# SPDX-License-Identifier: Apache-2.0
"""Commands to a Redis Cluster, through redis-py: it knows which node has which slot.

Retries are off: by default redis-py tries ten times, seconds long, with nobody to answer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from strangler.cache.tiers.resp import CONNECT, Command
from strangler.cache.tiers.store import ExtraMissing, StoreFailed
from strangler.cache.tiers.urls import StoreUrl

try:
    from redis.asyncio.cluster import ClusterNode, RedisCluster
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
except ImportError as missing:
    raise ExtraMissing("redis", "redis") from missing

#: Commands under way at once; each takes a connection of its node.
CONNECTIONS: Final = 32


class Cluster:
    """Commands to the cluster that the hosts of *url* belong to."""

    def __init__(self, url: StoreUrl, *, timeout: float = CONNECT) -> None:
        self._url = url
        self._timeout = timeout
        self._client: RedisCluster | None = None
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Ask any of the hosts for the cluster's map."""
        client = self._client
        if client is None:
            client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in self._url.hosts],
                username=self._url.user,
                password=self._url.password,
                retry=Retry(NoBackoff(), 0),
                max_connections=2 * CONNECTIONS,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                require_full_coverage=False,
            )
            self._client = client
        await client.initialize()

    async def close(self) -> None:
        """Let go of all connections."""
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._opening
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def run(self, *commands: Command) -> list[Any]:
        """Return the replies to *commands*, done one after the other: they may be for two nodes."""
        client = self._client
        if client is None:
            raise StoreFailed("not connected", hard=True)
        try:
            # More at once than it has connections is an error there, not a wait.
            async with self._free:
                return [await client.execute_command(*command) for command in commands]
        except RedisError as error:
            # redis-py forgets its map of the cluster on some errors, and draws it in the next
            # command's time, which is a reader's.
            self._draw_map()
            raise StoreFailed(
                f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            ) from error

    def _draw_map(self) -> None:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._initialize())

    async def _initialize(self) -> None:
        with suppress(Exception):
            async with asyncio.timeout(2 * self._timeout):
                if self._client is not None:
                    await self._client.initialize()
