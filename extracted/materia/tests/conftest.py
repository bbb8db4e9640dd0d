# SPDX-License-Identifier: Apache-2.0
"""What the tests run on: the stores, each of them real, and a log that a test writes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from servers.mongod import Mongod
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:  # pytest's own script, unlike `python -m pytest`, leaves it out
    sys.path.insert(0, str(ROOT))

from extracted.materia.page import render  # noqa: E402
from extracted.materia.store import Store, open_store  # noqa: E402
from extracted.materia.sync import Sync  # noqa: E402

from .documents import TOKEN, article  # noqa: E402

Opener = Callable[[], Any]


@pytest.fixture(params=["sqlite", "mongodb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, once of each sort."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/materia.sqlite3"
    server: Mongod = request.getfixturevalue("mongod_server")
    server.clear()
    # In its default mode pymongo measures round trips on a second connection; a close that comes
    # while that one is being made leaves a socket to the garbage collector.
    return f"{server.url}&serverMonitoringMode=poll"


@pytest.fixture
def opened(store_url: str) -> Opener:
    """Open the store inside a test's own event loop: `async with opened() as store`."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[Store]:
        store = await open_store(store_url)
        try:
            yield store
        finally:
            await store.close()

    return open_one


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """Stand in for pytest-tornado's own, which makes its loop current in a deprecated way."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


class Log:
    """A publication log that a test writes, served over HTTP as the monolith serves its own."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[int] = []  # the `after` of each request
        self.broken: tuple[int, str] | None = None  # status and body instead of an answer
        self.broken_from = 0  # the `after` from which it is broken
        self.page = 500  # events an answer at most
        self.url = ""

    def append(self, slug: str = "chuva", kind: str = "published", **parts: Any) -> dict[str, Any]:
        """Write the next event and return it."""
        document = None if kind == "removed" else article(slug, **parts)
        row = {"seq": len(self.events) + 1, "kind": kind, "slug": slug, "article": document}
        self.events.append(row)
        return row

    def answer(self, after: int, limit: int) -> dict[str, Any]:
        rest = [e for e in self.events if e["seq"] > after]
        page = rest[: min(limit, self.page)]
        last = page[-1]["seq"] if page else after
        return {"events": page, "last": last, "more": len(rest) > len(page)}


class LogHandler(RequestHandler):
    def get(self) -> None:
        log: Log = self.settings["log"]
        after = int(self.get_query_argument("after"))
        log.asked.append(after)
        if self.request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.set_status(401)
        elif log.broken and after >= log.broken_from:
            self.set_status(log.broken[0])
            self.write(log.broken[1])
        else:
            self.write(log.answer(after, int(self.get_query_argument("limit"))))


@pytest.fixture
def log(io_loop: IOLoop) -> Iterator[Log]:
    """An empty log on a port of its own."""
    served = Log()
    server = HTTPServer(Application([("/api/publicacoes/", LogHandler)], log=served))
    (socket,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(socket)
    served.url = f"http://127.0.0.1:{socket.getsockname()[1]}/api/publicacoes/"
    yield served
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def store(io_loop: IOLoop, store_url: str) -> Iterator[Store]:
    """An open store, once of each sort."""
    opened = io_loop.run_sync(lambda: open_store(store_url))
    yield opened
    io_loop.run_sync(opened.close)


@pytest.fixture
def sync(io_loop: IOLoop, store: Store, log: Log) -> Iterator[Sync]:
    """What follows `log` into `store`; it runs only when a test says so."""
    follower = Sync(store, log.url, TOKEN, render)
    yield follower
    follower.close()
