# SPDX-License-Identifier: Apache-2.0
"""Readers who wait for the same thing are served one by one: who stumbles over a bug goes alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from scenarios.g001_collapse import asked
from scenarios.inside import Inside
from scenarios.story import detail
from servers.redis import Redis

from strangler.testing import (
    Connection,
    RawClient,
    Truncated,
    Upstream,
    build,
    respond,
    until,
    wait,
)

ROUTES = """
version: 1
upstreams:
  legacy: {{url: "{legacy}", role: legacy, timeout: 10s}}
tiers:
  edge: {{store: memory, size: 64MB}}
  shared: {{store: "{redis}", timeout: 5s}}
  archive: none
routes:
  /**: {{to: legacy, cache: origin}}
  /below/**: {{to: legacy, cache: {{shared: 60s}}}}
"""
KEPT = [("Cache-Control", "max-age=60")]
SOON = 4.0
"""Seconds: less than any limit that would end a wait by itself."""
READERS = 5
ODD = 2

#: What one of the readers meets is put in the place of what an exchange has.
pytestmark = pytest.mark.sources


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as made:
        yield made


@pytest.fixture(scope="module")
def inside(origin: Upstream, redis: Redis) -> Iterator[Inside]:
    with Inside(ROUTES.format(legacy=origin.url, redis=redis.url)) as made:
        until(lambda: all(tier.up for _, tier in made.edge.cache.copies.below), what="Redis")
        yield made


class Crowd:
    """Readers who have all asked for *path*, and are known to the edge by a number."""

    def __init__(self, inside: Inside, path: str) -> None:
        self._inside = inside
        self.clients = [inside.client(timeout=SOON) for _ in range(READERS)]
        for number, client in enumerate(self.clients):
            client.send(build("GET", path, [("X-Number", str(number))]))
        until(lambda: len(inside.edge.exchanges) == READERS, what="all who ask")

    def spoil(self, what: str = "_arm") -> None:
        """Have the way of one of them meet a bug."""

        def spoil() -> None:
            exchanges = list(self._inside.edge.exchanges)
            odd = next(e for e in exchanges if e.head.get(b"x-number") == b"%d" % ODD)
            if what == "_delivery":
                odd._delivery._connection = None
            else:
                setattr(odd, what, None)

        self._inside.do(spoil)

    @property
    def odd(self) -> RawClient:
        return self.clients[ODD]

    def others(self) -> list[RawClient]:
        return [client for number, client in enumerate(self.clients) if number != ODD]

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def crowded(inside: Inside, caplog) -> Iterator:
    made: list[Crowd] = []

    def crowd(path: str) -> Crowd:
        made.append(Crowd(inside, path))
        return made[-1]

    yield crowd
    for each in made:
        each.close()
    until(lambda: not inside.edge.exchanges, timeout=10, what="all have ended")
    assert "answer.failed" in [record.msg for record in caplog.get_records("call")]


def test_of_a_fetched_answer(crowded, origin):
    go = threading.Event()
    origin.on("/page", wait(go), respond(200, "x" * 5000, KEPT))
    crowd = crowded("/page")
    crowd.spoil()
    go.set()
    assert {(r.status, r.length) for r in (c.read() for c in crowd.others())} == {(200, 5000)}
    assert crowd.odd.read().status == 500
    assert asked(origin, "/page") == 1


def test_of_an_answer_that_may_not_be_kept(crowded, origin):
    go = threading.Event()
    origin.on("/own", wait(go), respond(200, "mine", [("Cache-Control", "no-store")]))
    crowd = crowded("/own")
    crowd.spoil()
    go.set()
    assert {(r.status, r.text) for r in (c.read() for c in crowd.others())} == {(200, "mine")}


def test_of_a_failure(crowded, origin):
    go = threading.Event()
    origin.on("/sick", wait(go), Connection.reset)
    crowd = crowded("/sick")
    crowd.spoil("_plan")
    go.set()
    assert {r.status for r in (c.read() for c in crowd.others())} == {502}
    assert crowd.odd.read().status == 500


def test_of_content_on_its_way(crowded, origin):
    go, on = threading.Event(), threading.Event()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n"
    origin.on("/flow", wait(go), head + b"first", wait(on), b"-last")
    crowd = crowded("/flow")
    go.set()
    for client in crowd.clients:
        client.read_head()
        assert client.read_content(5) == b"first"
    crowd.spoil("_delivery")
    on.set()
    assert {r.text for r in (c.read() for c in crowd.others())} == {"first-last"}
    with pytest.raises(Truncated):
        crowd.odd.read()
    assert asked(origin, "/flow") == 1


def test_of_what_is_found_at_a_glance(crowded, inside, origin, redis):
    origin.on("/below/page", respond(200, "x"))
    until(lambda: detail(inside.get("/below/page")) == "shared")
    redis.pause()
    try:
        crowd = crowded("/below/page")
        crowd.spoil()
    finally:
        redis.resume()
    assert {(r.status, r.text) for r in (c.read() for c in crowd.others())} == {(200, "x")}
    assert crowd.odd.read().status == 500


def test_a_bug_before_anybody_is_served_leaves_nobody_waiting(crowded, inside, origin, redis):
    origin.on("/below/broken", respond(200, "x"))
    redis.pause()
    try:
        crowd = crowded("/below/broken")
        copies = inside.edge.cache.copies
        inside.do(lambda: setattr(copies, "search", None))
    finally:
        redis.resume()
    try:
        assert {client.read().status for client in crowd.clients} == {500}
    finally:
        inside.do(lambda: delattr(copies, "search"))
