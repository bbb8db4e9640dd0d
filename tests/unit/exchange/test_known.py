# SPDX-License-Identifier: Apache-2.0
"""Requests that come again byte for byte: answered unread, and only while that is right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.cache.build import cc, request, stored
from unit.exchange.test_in_force import chosen, told

from strangler.cache.policy import CachePolicy
from strangler.cache.stored import Stored
from strangler.cache.tiers.purges import Purge
from strangler.config.load import load
from strangler.edge.http1 import Connection
from strangler.edge.server import Server
from strangler.exchange import Edge
from strangler.exchange.caching.known import _MOST
from strangler.exchange.relief import Relief
from strangler.observe.access import AccessLog
from strangler.observe.writer import Writer
from strangler.rollout import Overrides

ROUTES = """\
version: 1
SITE
upstreams:
  legacy: {url: "http://127.0.0.1:1", role: legacy}
  materia: {url: "http://127.0.0.1:2"}
tiers: {shared: none, archive: none}
routes:
  /**: legacy
  /noticia/**: {to: materia, stage: STAGE, cache: {edge: 1h}}
"""
POLICY = CachePolicy(mode="tiers", edge=3600.0)
PATH = b"/noticia/a"


class NoSocket:
    """A socket that is gone."""

    def fileno(self) -> int:
        raise OSError


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, peer: str = "192.0.2.1") -> None:
        super().__init__({"peername": (peer, 4711), "socket": NoSocket()})
        self.sent: list[bytes] = []
        self.closing = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class Site:
    """An edge with one reader; *lines* is what it logged."""

    def __init__(self, folder: Path, stage: str = "live", site: str = "") -> None:
        self.file = folder / "routes.yaml"
        self.stage, self.site = stage, site
        self.writer = Writer(str(folder / "access.log"))
        self.log = AccessLog("text", self.writer)
        self.edge = Edge(self.load(), log=self.log)
        self.server = Server(self.edge, ticker=self.edge.ticker)
        self.connection, self.transport = self.reader()

    def load(self, stage: str = "") -> Any:
        self.file.write_text(
            ROUTES.replace("STAGE", stage or self.stage).replace("SITE", self.site)
        )
        return load(self.file, {})

    def reader(self, peer: str = "192.0.2.1") -> tuple[Connection, Transport]:
        connection, transport = self.server.protocol(), Transport(peer)
        connection.connection_made(transport)
        return connection, transport

    @property
    def lines(self) -> list[str]:
        self.log.flush()
        self.writer._drain()
        return Path(self.writer.path).read_text().splitlines()

    def keep(
        self, path: bytes = PATH, text: bytes = b"0123456789", arm: bytes = b"materia",
        vary: bytes = b"", coding: bytes = b"",
    ) -> Stored:  # fmt: skip
        asked = [(b"Host", b"a.example")] + ([(b"Accept-Encoding", coding)] if coding else [])
        fields = [cc(b"max-age=600")] + ([(b"Vary", vary)] if vary else [])
        made = stored(
            *fields, to=request(*asked, target=path), length=len(text), received=time.time()
        )
        key = made.key + (b"\na:" + arm if arm else b"")
        made = replace(made, key=key, route=b"/noticia/**")
        copies = self.edge.cache.copies
        copies.keep(made, text, POLICY, copies.moments())
        return made

    def get(self, path: bytes = PATH, *fields: bytes, connection: Any = None) -> bytes | None:
        """Return the body of the answer to a GET; None where the edge tier had none."""
        connection, transport = connection or (self.connection, self.transport)
        lines = b"".join(b"%b\r\n" % field for field in fields)
        before = len(transport.sent)
        connection.data_received(b"GET %b HTTP/1.1\r\nHost: a.example\r\n%b\r\n" % (path, lines))
        if len(transport.sent) == before:
            return None
        assert len(transport.sent) == before + 1
        head, _, body = transport.sent[-1].partition(b"\r\n\r\n")
        assert b"\r\nCache-Status: strangler; hit; ttl=" in head
        return body


def on_a_site(folder: Path, story: Callable[[Site], Any], **said: str) -> None:
    async def run() -> None:
        site = Site(folder, **said)
        try:
            await site.edge.opened()
            found = story(site)
            if found is not None:
                await found
        finally:
            await site.edge.close()

    asyncio.run(run())


def test_what_comes_again_is_answered_and_counted_alike(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        assert [site.get() for _ in range(5)] == [b"0123456789"] * 5
        assert len(site.edge.known) == 1
        assert len(site.lines) == 5
        for line in site.lines:
            assert " 200 GET a.example/noticia/a 10B 0.0ms materia (live) route=" in line
        site.edge.counts.settle()
        assert site.edge.counts.tallies["/noticia/**"].edge == 5
        assert site.edge.status()["requests"] == 5
        assert site.connection in site.server.waits_idle

    on_a_site(tmp_path, story)


def test_who_came_once_takes_no_place(tmp_path):
    def story(site: Site) -> None:
        for number in range(50):
            site.keep(b"/noticia/%d" % number)
            assert site.get(b"/noticia/%d" % number) is not None
        assert not site.edge.known

    on_a_site(tmp_path, story)


def test_places_are_bounded(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        known = site.edge.known
        for number in range(_MOST + 20):
            known[b"%d" % number] = known.get(b"0")  # type: ignore[assignment]
        site.get(), site.get()
        assert len(known) == 1
        long = b"X: " + b"x" * 3000
        site.get(PATH, long), site.get(PATH, long), site.get(PATH, long)
        assert len(known) == 1

    on_a_site(tmp_path, story)


def test_a_purge_hits_the_very_next_request(tmp_path):
    def story(site: Site) -> None:
        made = site.keep()
        assert [site.get() for _ in range(3)] == [b"0123456789"] * 3
        site.edge.cache.copies.memory.purge(Purge.urls(made.key.partition(b"\n")[0]))
        assert site.get() is None

    on_a_site(tmp_path, story)


def test_a_newer_copy_is_given_at_once_and_an_old_one_by_decision(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        site.get(), site.get(), site.get()
        site.keep(text=b"new")
        assert site.get() == b"new"
        (ready,) = site.edge.cache.copies.memory.get(next(iter(site.edge.known.values()))._key)
        ready.until = time.time() - 0.001
        assert site.edge.count == 0
        assert site.get() == b"new"
        assert site.edge.count == 1  # by an exchange, which decided

    on_a_site(tmp_path, story)


def test_another_view_has_to_read_it_anew(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        site.keep(text=b"legacy", arm=b"")
        site.get(), site.get(), site.get()
        site.edge.learn(told(Overrides().with_(chosen("legacy", key="/noticia/**"))))
        assert site.get() == b"legacy"
        site.edge.learn(told(Overrides()))
        assert [site.get() for _ in range(3)] == [b"0123456789"] * 3
        assert site.edge.known
        site.edge.swap(site.load("sealed"))
        assert site.get() == b"0123456789"
        assert "(sealed)" in site.lines[-1]

    on_a_site(tmp_path, story)


@pytest.mark.parametrize("codings", [(b"gzip", b"br"), (b"gzip", b"")])
def test_a_variant_goes_to_whom_it_is_for(codings, tmp_path):
    def story(site: Site) -> None:
        one, other = codings
        site.keep(text=b"one", vary=b"Accept-Encoding", coding=one)
        ours = b"Accept-Encoding: " + one
        assert [site.get(PATH, ours) for _ in range(3)] == [b"one"] * 3
        theirs = [b"Accept-Encoding: " + other] if other else []
        stranger = site.reader()
        assert site.get(PATH, *theirs, connection=stranger) is None
        site.keep(text=b"other", vary=b"Accept-Encoding", coding=other)
        third = site.reader()
        assert [site.get(PATH, *theirs, connection=third) for _ in range(3)] == [b"other"] * 3
        assert [site.get(PATH, ours) for _ in range(3)] == [b"one"] * 3
        assert len(site.edge.known) == 2

    on_a_site(tmp_path, story)


def test_the_same_bytes_from_a_trusted_peer_are_read(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        forwarded = b"X-Forwarded-For: 203.0.113.9"
        assert [site.get(PATH, forwarded) for _ in range(3)] == [b"0123456789"] * 3
        assert site.edge.known
        proxy = site.reader("10.0.0.1")
        connection, transport = proxy
        connection.data_received(next(iter(site.edge.known)))
        assert len(transport.sent) == 1
        assert " client=203.0.113.9 " in site.lines[-1]

    on_a_site(tmp_path, story, site="site: {trust_forwarded_from: [10.0.0.0/8]}")


TRACING = 'tracing: {endpoint: "http://127.0.0.1:9/v1/traces", sample: SHARE}'


@pytest.mark.parametrize(("share", "least", "most"), [("0%", 0, 0), ("50%", 210, 390)])
def test_where_requests_are_traced_those_are_read_that_are_drawn(share, least, most, tmp_path):
    def story(site: Site) -> None:
        site.keep()
        while not site.edge.known:
            assert site.get() == b"0123456789"
        before = site.edge.count
        assert [site.get() for _ in range(600)] == [b"0123456789"] * 600
        assert least <= site.edge.count - before <= most  # a quarter, were each drawn twice
        assert len(site.edge.known) == 1
        site.edge.swap(site.load())
        assert not site.edge.known

    on_a_site(tmp_path, story, site=TRACING.replace("SHARE", share))


def test_a_request_with_a_trace_of_its_own_is_read(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        parent = b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        assert [site.get(PATH, parent) for _ in range(4)] == [b"0123456789"] * 4
        assert not site.edge.known

    on_a_site(tmp_path, story, site=TRACING.replace("SHARE", "0%"))


def test_a_drain_ends_the_connection_with_its_answer(tmp_path):
    def story(site: Site) -> None:
        site.keep()
        site.get(), site.get(), site.get()
        late, _ = site.reader()
        site.server.start_drain()
        raw = next(iter(site.edge.known))
        site.connection.data_received(raw)
        assert b"\r\nConnection: close\r\n" in site.transport.sent[-1]
        assert not late.keep_alive
        assert not site.server.protocol().keep_alive

    on_a_site(tmp_path, story)


def test_a_reader_that_takes_nothing_gets_no_second_answer(tmp_path):
    async def story(site: Site) -> None:
        site.keep()
        site.get(), site.get(), site.get()
        write = site.transport.write

        def full(data: bytes) -> None:
            write(data)
            site.connection.pause_writing()

        site.transport.write = full  # type: ignore[method-assign]
        assert site.get() == b"0123456789"
        site.connection.idle_expired()
        assert not site.transport.closing
        site.transport.write = write  # type: ignore[method-assign]
        assert site.get() is None
        site.connection.resume_writing()
        await asyncio.sleep(0)
        assert len(site.transport.sent) == 5
        assert site.connection in site.server.waits_idle

    on_a_site(tmp_path, story)


def test_a_bug_costs_one_request_a_reading(tmp_path, caplog):
    def story(site: Site) -> None:
        site.keep()
        site.get(), site.get(), site.get()
        next(iter(site.edge.known.values()))._find = None  # type: ignore[assignment]
        assert site.get() == b"0123456789"
        assert "request.failed" in caplog.text
        caplog.clear()

    on_a_site(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "stage", "route"),
    [("/b", "live", "/**"), ("/noticia/b", "canary 50%", "/noticia/**")],
)
def test_a_get_that_is_passed_on_is_read_twice_and_no_more(path, stage, route, tmp_path):
    def story(site: Site) -> None:
        raw = f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode()
        readers = [site.reader() for _ in range(5)]
        for number, (connection, _) in enumerate(readers):
            connection.data_received(raw)
            assert connection.busy
            assert list(site.edge.known) == ([raw] if number else [])
        asked = list(site.edge.exchanges)
        assert len({exchange.id for exchange in asked}) == len(asked) == 5
        assert len({id(exchange.head) for exchange in asked}) == 2
        assert {exchange.plan.key for exchange in asked} == {route}
        site.edge.swap(site.load())
        assert not site.edge.known

    on_a_site(tmp_path, story, stage=stage)


@pytest.mark.parametrize(
    "raw",
    [
        b"HEAD /b HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 x\r\n\r\n",
        b"GET /noticia/b HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a.example\r\nX: " + b"x" * 3000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_the_same_each_time_is_read_each_time(raw, tmp_path):
    def story(site: Site) -> None:
        for _ in range(4):
            site.reader()[0].data_received(raw)
        assert not site.edge.known

    on_a_site(tmp_path, story)


@pytest.mark.parametrize(
    ("version", "field", "kept"),
    [("0", "keep-alive", True), ("0", "close", False), ("1", "close", False)],
)
def test_a_known_pass_ends_the_connection_where_its_reader_wants_that(
    version, field, kept, tmp_path
):
    def story(site: Site) -> None:
        raw = f"GET /b HTTP/1.{version}\r\nHost: a.example\r\nConnection: {field}\r\n\r\n".encode()
        for number in range(4):
            connection, _ = site.reader()
            connection.data_received(raw)
            assert connection.busy and connection.keep_alive is kept
            assert list(site.edge.known) == ([raw] if number else [])

    on_a_site(tmp_path, story)


def test_a_known_pass_that_fails_is_answered_500(tmp_path, monkeypatch, caplog):
    def broken(*_: object) -> bool:
        raise RuntimeError("a bug")

    def story(site: Site) -> None:
        raw = b"GET /b HTTP/1.1\r\nHost: a.example\r\n\r\n"
        for _ in range(3):
            site.reader()[0].data_received(raw)
        assert raw in site.edge.known
        monkeypatch.setattr(Relief, "lets_go", broken)
        site.edge.short = 1
        connection, transport = site.reader()
        connection.data_received(raw)
        assert transport.sent[0].startswith(b"HTTP/1.1 500 ")
        assert "request.failed" in caplog.text
        caplog.clear()

    on_a_site(tmp_path, story)
