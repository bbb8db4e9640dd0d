# SPDX-License-Identifier: Apache-2.0
"""Where stored responses lie: the only I/O of the cache.

Place in the flow: the edge tier (`Memory`) is asked first and holds ready responses; then the
shared and the archive `Tier`, each a `Store` under a deadline. `Ladder` is the three of a site
together, and what purges them.

A store is named by its URL; `STORES` says which there are. Drivers are imported when a store that
needs one is opened, so that the package works without them. docs/tiers.md has the options, the
figures and what happens when each is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strangler.cache.tiers.memory import Memory, footprint
from strangler.cache.tiers.purges import Mark, Marks, Purge
from strangler.cache.tiers.store import ExtraMissing, Store, StoreFailed
from strangler.cache.tiers.tier import BodyLost, Copy, Tier
from strangler.cache.tiers.upload import Upload
from strangler.cache.tiers.urls import StoreUrl, parse

__all__ = [
    "STORES",
    "BodyLost",
    "Copy",
    "ExtraMissing",
    "Mark",
    "Marks",
    "Memory",
    "Purge",
    "Store",
    "StoreFailed",
    "StoreKind",
    "Tier",
    "Upload",
    "footprint",
    "make_store",
    "make_tier",
]

#: Bytes of a tier in memory, where the site says none.
MEMORY_SIZE: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class StoreKind:
    """make: returns a store for (URL, the tier's name, size in bytes or None) · deadline: seconds
    that a reader waits for it, where the site says nothing · shared: who uses the same copies.
    """

    make: Callable[[str, str, int | None], Store]
    deadline: float
    shared: str


def make_store(url: str, *, name: str, size: int | None = None) -> Store:
    """Return the store at *url* for the tier called *name*; nothing is opened yet.

    Raises ValueError for a URL that names no store, ExtraMissing where its driver is not
    installed.
    """
    return _kind(url).make(url, name, size)


def make_tier(
    url: str, *, name: str, size: int | None = None, deadline: float | None = None
) -> Tier:
    """Return the tier *name* on the store at *url*; raises as `make_store` does.

    deadline: seconds that a reader may wait for it; the store's own where absent.
    """
    kind = _kind(url)
    return Tier(name, kind.make(url, name, size), deadline=deadline or kind.deadline)


def _kind(url: str) -> StoreKind:
    kind = STORES.get(url.partition(":")[0])
    if kind is None:
        raise ValueError(f"no such store; there are {', '.join(STORES)}")
    return kind


def _memory(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.memory_store import MemoryStore

    return MemoryStore(size or MEMORY_SIZE)


def _sqlite(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.sqlite import Sqlite

    path = url.partition(":")[2]
    if not path:
        raise ValueError("expected sqlite:PATH")
    return Sqlite(str(Path(path)), size=size)


def _redis(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.redis_urls import direct

    return direct(parse(url, port=6379), name)


def _sentinel(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.redis_urls import by_sentinel

    return by_sentinel(parse(url, port=26379), name)


def _cluster(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.redis import Redis
    from strangler.cache.tiers.redis_cluster import Cluster

    address = parse(url, port=6379)
    return Redis("redis+cluster", Cluster(address), prefix=prefix(address, name))


def _toredis(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.redis import Redis
    from strangler.cache.tiers.toredis import Toredis

    address = parse(url, port=6379)
    return Redis("toredis", Toredis(address), prefix=prefix(address, name))


def _mongo(url: str, name: str, size: int | None) -> Store:
    from strangler.cache.tiers.mongo import Mongo

    return Mongo(url, name=name, size=size)


def prefix(url: StoreUrl, name: str) -> str:
    """Return what the names of a tier's keys begin with: `?prefix=`, and the tier's name."""
    return f"{url.options.get('prefix', 'strangler:')}{name}:"


#: Every store there is, by the scheme of its URL.
STORES: Final[dict[str, StoreKind]] = {
    "memory": StoreKind(_memory, 0.05, "one worker"),
    "sqlite": StoreKind(_sqlite, 0.02, "the workers of a machine"),
    "redis": StoreKind(_redis, 0.005, "all machines"),
    "rediss": StoreKind(_redis, 0.005, "all machines"),
    "redis+sentinel": StoreKind(_sentinel, 0.005, "all machines"),
    "redis+cluster": StoreKind(_cluster, 0.01, "all machines"),
    "toredis": StoreKind(_toredis, 0.01, "all machines"),
    "mongodb": StoreKind(_mongo, 0.05, "all machines"),
    "mongodb+srv": StoreKind(_mongo, 0.05, "all machines"),
}
