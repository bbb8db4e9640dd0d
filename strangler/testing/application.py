# SPDX-License-Identifier: Apache-2.0
"""Serve a real Tornado application in a thread, to compare it direct and through the edge."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application


class TornadoUpstream:
    """A Tornado *application* on a free port of 127.0.0.1, with an event loop of its own.

    Use it as a context manager; `port` and `url` say where it is.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tornado-upstream")
        self.port = 0
        self._thread.start()
        if not self._ready.wait(10):
            raise TimeoutError("the application did not start")

    @property
    def url(self) -> str:
        """Return the URL for an upstream's `url:`."""
        return f"http://127.0.0.1:{self.port}"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def start() -> HTTPServer:
            sockets = bind_sockets(0, "127.0.0.1")
            server = HTTPServer(self._application)
            server.add_sockets(sockets)
            self.port = sockets[0].getsockname()[1]
            return server

        server = self._loop.run_until_complete(start())
        self._ready.set()
        self._loop.run_forever()
        server.stop()
        self._loop.run_until_complete(server.close_all_connections())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def stop(self) -> None:
        """Close all connections and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
