# SPDX-License-Identifier: Apache-2.0
"""Redis, MongoDB and MariaDB die, hang and fail over, as stores of the tiers and of the services.

Django keeps its articles in MariaDB, materia in MongoDB; the edge's shared tier is a Redis, its
archive the same MongoDB.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from chaos.fault import Fault, fault
from chaos.load import Group
from chaos.services import HOLD
from chaos.site import BREAKER, Backends, edge
from chaos.trial import Trial
from servers.mariadb import MariaDB
from servers.mongo_set import MongoSet
from servers.mongod import Mongod
from servers.process import Server
from servers.redis import Redis
from servers.redis_sentinel import RedisSentinel

from strangler.testing import Edge

#: Django's pages carry s-maxage, which forbids what these stages try: the route says otherwise.
LIVES = {"shared": "2s", "archive": "1h", "grace": "1m", "ignore": ["must-revalidate"]}
POOLS = 8
"""Sockets that the drivers of the stores may hold more of, for all workers together."""
TIER = 250.0
"""ms that no reader of a copy may take longer than in 99 % of cases, whatever its store does."""


class Servers:
    """MariaDB, MongoDB and a site that keeps its data there; made once for all stages."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.backends: Backends | None = None

    def start(self) -> Backends:
        if self.backends is None:
            self.mariadb = self._stack.enter_context(MariaDB())
            self.mongod = self._stack.enter_context(Mongod())
            self.store = self.mongod.url.replace("/?", "/materia?")
            backends = Backends(database=self.mariadb.url, store=self.store)
            self.backends = self._stack.enter_context(backends)
        return self.backends

    def close(self) -> None:
        self.backends = None
        self._stack.close()


@cache
def servers() -> Servers:
    """Return the ones of this process."""
    return Servers()


class Fleet:
    """An edge with its tiers in Redis and MongoDB."""

    def __init__(self, backends: Backends, made: Edge, redis: Redis, watched: Any = None) -> None:
        self.backends, self.edge, self.redis, self.watched = backends, made, redis, watched
        self.mariadb, self.mongod = servers().mariadb, servers().mongod

    def mend(self) -> None:
        for server in (self.redis, self.mariadb, self.mongod):
            server.resume()
            server.start()
        self.backends.mend()

    def groups(self, fault: Fault) -> Sequence[Group]:
        """Return the load: `copied` are legacy's own pages, with copies as their ladder."""
        of = self.backends.group
        return [of("cached", 25), of("uncached", 15), of("copied", 20), of("legacy", 10)]


@contextlib.contextmanager
def fleet() -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(Redis())
        yield stack.enter_context(_before(redis, redis.url))


@contextlib.contextmanager
def sentinel() -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        watched = stack.enter_context(RedisSentinel())
        yield stack.enter_context(_before(watched.master, watched.url, watched))


@contextlib.contextmanager
def replicas() -> Iterator[Fleet]:
    """Yield a stage whose archive is a replica set of three."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(Redis())
        members = stack.enter_context(MongoSet())
        yield stack.enter_context(_before(redis, redis.url, members, members.url))


@contextlib.contextmanager
def _before(redis: Redis, shared: str, watched: Any = None, archive: str = "") -> Iterator[Fleet]:
    backends = servers().start()
    archive = (archive or servers().mongod.url).replace("/?", "/strangler?")
    ladder = {"when": ["connect", "timeout", "incomplete", "breaker", "busy", "5xx"]}
    text = backends.routes(
        cache=LIVES,
        tiers={"edge": "none", "shared": {"store": shared}, "archive": {"store": archive}},
        more=[
            {
                "match": {"header": {"X-Reader": "copied"}},
                "to": "legacy",
                "cache": LIVES,
                "fallback": {**ladder, "then": ["stale", "archive"]},
                "breaker": BREAKER,
            }
        ],
    )
    with edge(text) as made:
        yield Fleet(backends, made, redis, watched)


def store_fails(trial: Trial, server: Server, tier: str, *, hangs: bool) -> None:
    """Kill or freeze the store of *tier*, see the edge leave it alone, and come back to it."""
    with trial.trouble():
        server.pause() if hangs else server.kill()
        trial.noticed(f"tier.down tier={tier}", 2.0)
        trial.go_on(3.0)
        lines = len(trial.edge.lines)
        server.resume() if hangs else server.start()
    trial.edge.wait_log(f"tier.up tier={tier}", after=lines, timeout=20.0 * trial.slack)
    trial.outcome.recovered = time.monotonic() - trial.mended
    trial.seconds("the tier is used again after", trial.outcome.recovered, 8.0)
    trial.none_failed()


def archive_passes(trial: Trial) -> bool:
    """Tell whether the edge's own health says that its archive is well."""
    told = trial.edge.admin_json("/-/healthcheck")[1]["results"]
    [archive] = [one["passed"] for one in told if one["checker"] == "cache tier archive"]
    return bool(archive)


def as_quick(trial: Trial) -> None:
    during = trial.load.between(trial.began, trial.mended, "cached", "copied")
    trial.p99_within(during, TIER, "p99 of those who read copies")


@fault("the shared tier's Redis is killed", fleet, pools=POOLS)
def redis_killed(trial: Trial) -> None:
    store_fails(trial, trial.site.redis, "shared", hangs=False)
    as_quick(trial)


@fault("the shared tier's Redis hangs (SIGSTOP)", fleet, pools=POOLS)
def redis_hangs(trial: Trial) -> None:
    store_fails(trial, trial.site.redis, "shared", hangs=True)
    as_quick(trial)


@fault("MongoDB is killed: the archive, and materia's own store", fleet, pools=POOLS)
def mongodb_killed(trial: Trial) -> None:
    store_fails(trial, trial.site.mongod, "archive", hangs=False)


@fault("MongoDB hangs (SIGSTOP): the archive, and materia's own store", fleet, pools=POOLS)
def mongodb_hangs(trial: Trial) -> None:
    store_fails(trial, trial.site.mongod, "archive", hangs=True)


@fault("MongoDB's primary steps down for 3 s", fleet, pools=POOLS)
def mongodb_steps_down(trial: Trial) -> None:
    """A set of one: nobody takes over, so there is no primary until it may stand again."""
    with trial.trouble():
        with trial.site.mongod._client() as client:
            command = {"replSetStepDown": 3, "force": True}
            client.admin.command(command)
        trial.go_on(3.0)
        trial.wait(trial.site.mongod.is_ready, 30.0, "a primary")

    trial.wait(lambda: archive_passes(trial), 30.0, "the archive is used again")
    trial.recovered(2 * HOLD + 2.0, "uncached")
    trial.none_failed()


@fault("MariaDB, Django's database, is killed", fleet, pools=POOLS)
def mariadb_killed(trial: Trial) -> None:
    """Django answers 500: readers of copies and of materia don't notice."""
    with trial.trouble():
        trial.site.mariadb.kill()
        trial.go_on(4.0)
        trial.site.mariadb.start()
    trial.recovered(2 * HOLD + 2.0, "legacy", "copied")
    ill = [one for one in trial.load.between(trial.began, trial.mended, "legacy") if one.problem]
    trial.figure("Django's failures meanwhile, without a ladder", len(ill), "> 0", len(ill) > 0)
    trial.none_failed("cached", "uncached", "copied", what="failed requests to others")
    as_quick(trial)


@fault("MariaDB, Django's database, hangs (SIGSTOP)", fleet, pools=POOLS)
def mariadb_hangs(trial: Trial) -> None:
    """Django hangs with it, all of its threads in the end."""
    with trial.trouble():
        trial.site.mariadb.pause()
        trial.noticed("breaker.open name=", 8.0)
        trial.go_on(2.0)
        trial.site.mariadb.resume()
    trial.recovered(4 * HOLD + 4.0, "legacy", "copied")
    trial.none_failed("cached", "uncached", "copied", what="failed requests to others")
    others = trial.load.between(trial.began, trial.mended, "cached", "uncached")
    trial.p99_within(others, 500.0, "p99 of materia's readers")


@fault("the shared tier's Redis fails over (sentinel)", sentinel, pools=POOLS)
def redis_fails_over(trial: Trial) -> None:
    with trial.trouble():
        trial.site.watched.lose_master()
        trial.noticed("tier.down tier=shared", 2.0)
        lines = len(trial.edge.lines)
        trial.site.watched.wait_for_failover()
        trial.mended = time.monotonic()
        trial.edge.wait_log("tier.up tier=shared", after=lines, timeout=20.0 * trial.slack)
        trial.outcome.recovered = time.monotonic() - trial.mended
        trial.seconds("the new master is used after", trial.outcome.recovered, 5.0)
    trial.none_failed()
    as_quick(trial)


@fault(
    "MongoDB's primary is killed: the archive, a replica set of three", replicas, pools=2 * POOLS
)
def mongodb_fails_over(trial: Trial) -> None:
    """Reads go on, from a secondary; puts are dropped until there is a primary again."""
    members: MongoSet = trial.site.watched
    old = members.wait_for_primary()
    with trial.trouble():
        old.kill()
        members.wait_for_primary()
        elected = time.monotonic()
        trial.seconds("elected after", elected - trial.began, 10.0)
        trial.wait(lambda: archive_passes(trial), 20.0, "the archive is used again")
        trial.outcome.recovered = time.monotonic() - elected
        trial.seconds("the archive is used again after", trial.outcome.recovered, 8.0)
        trial.go_on(2.0)
        old.start()
    trial.none_failed()
    as_quick(trial)
