# SPDX-License-Identifier: Apache-2.0
"""A real edge in a thread of the test's process, for what only another part of it can order.

Sockets, engine and data plane are the real ones; overrides come as the control process tells them.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

from strangler.config.load import load
from strangler.edge.server import Server
from strangler.exchange import Edge
from strangler.rollout import Override, Overrides
from strangler.testing import RawClient, until


class Record(NamedTuple):
    """What a test wants to know of an access record."""

    reason: str
    endpoint: str
    attempts: int
    error: str
    retry: str


class Inside:
    """An edge with *routes* as its file; `override` and `undo` are in force when they return."""

    def __init__(
        self,
        routes: str,
        pages: Mapping[str, str] = MappingProxyType({}),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="inside-")
        folder = Path(self._folder.name)
        for name, text in pages.items():
            (folder / name).write_text(text)
        file = folder / "routes.yaml"
        file.write_text(routes)
        self._snapshot = load(file, environment)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._ids = itertools.count(1)
        self._overrides = Overrides()
        self.records: list[Any] = []
        self._thread = threading.Thread(target=self._run, name="edge-inside")
        self._thread.start()
        assert self._ready.wait(60), "the edge did not start"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _start(self) -> None:
        self.edge = Edge(self._snapshot)
        self.edge.log = self.records.append
        self.server = Server(self.edge, limits=self._snapshot.limits, ticker=self.edge.ticker)
        self._listener = await self._loop.create_server(self.server.protocol, "127.0.0.1", 0)
        self.address = self._listener.sockets[0].getsockname()[:2]
        await self.edge.opened()

    async def _end(self) -> None:
        self._listener.close()
        self.server.abort_all()
        await self.edge.close()
        await asyncio.sleep(0)

    def do(self, work: Callable[[], Any]) -> Any:
        """Call *work* on the edge's loop; return what it returns."""

        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(60)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await *work* on the edge's loop; return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def override(self, kind: str, subject: str, value: Any, *, ends: float = 600.0) -> str:
        """Put an override in force for *ends* seconds; return its id."""
        now = time.time()
        one = Override(
            id=f"o{next(self._ids)}", kind=kind, subject=subject, value=value, author="ana",
            reason="a test", created=now, expires=now + ends,
        )  # fmt: skip
        self._tell(self._overrides.with_(one))
        return one.id

    def undo(self, *ids: str) -> None:
        """Take overrides back, or all."""
        self._tell(self._overrides.without(ids or [one.id for one in self._overrides]))

    def _tell(self, overrides: Overrides) -> None:
        self._overrides = overrides
        told = {"mark": f"m{overrides.version}", "set": overrides.json(under=False)}
        self.do(lambda: self.edge.learn({"overrides": told}))

    def client(self, **options: Any) -> RawClient:
        """Return a new connection; options as for RawClient."""
        return RawClient(self.address, **options)

    def small_buffers(self) -> None:
        """Let the kernel hold next to nothing for readers that come from now on."""
        sock = self._listener.sockets[0]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def waiting(self) -> int:
        """Return the most bytes that wait for one reader."""
        return max(one.transport.get_write_buffer_size() for one in self.server.open)

    def get(self, target: str, **fields: str) -> Any:
        """GET *target* on a connection of its own; return the response."""
        with self.client() as client:
            return client.get(target, **fields)

    def record(self, path: str) -> Record:
        """Wait for the access record of the request for *path*; return what it says."""
        wanted = path.encode()
        until(lambda: any(each[5] == wanted for each in list(self.records)), what=path)
        found = next(each for each in self.records if each[5] == wanted)
        return Record(found[13], found[14], found[15], found[17], found[18])

    def reasons(self) -> list[str]:
        """Return the reason of each access record so far."""
        return [record[13] for record in list(self.records)]

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
