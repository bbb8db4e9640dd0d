# SPDX-License-Identifier: Apache-2.0
"""One running instance: store, re-sync and HTTP server, put together and taken apart."""

import asyncio
import logging
import signal
import socket
from typing import Self

from tornado.httpserver import HTTPServer

from .health import Checkup, store_checker, sync_checker
from .page import render
from .settings import Settings
from .store import Store, open_store
from .sync import Sync, ended
from .web import MAX_EVENT, InFlight, make_application

log = logging.getLogger("materia")

MAX_HEAD = 64 * 1024  # bytes; the edge's own limit, so that none it lets through fails here
BACKLOG = 1024  # connections that wait to be accepted
IDLE = 120.0  # seconds; longer than the edge keeps a connection, so that the edge closes first
TURNS = 10  # of the loop, from the accept of a connection to its request's count, and some more


def make_sync(store: Store, settings: Settings) -> Sync:
    """Return the follower of the monolith's log that `settings` name."""
    return Sync(
        store,
        f"{settings.legacy}/api/publicacoes/",
        settings.token,
        render,
        every=settings.sync_every,
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an IPv4 or IPv6 address; raise OSError where it can't."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listening.setblocking(False)
    return listening


class Service:
    """A started instance; `port` is the port it listens on."""

    def __init__(self, settings: Settings, store: Store, listening: socket.socket) -> None:
        self.settings = settings
        self.store = store
        self.sync = make_sync(store, settings)
        self.in_flight = InFlight()
        checkup = Checkup(
            {"store": store_checker(store), "sync": sync_checker(self.sync, settings.sync_late)}
        )
        application = make_application(
            store=store,
            sync=self.sync,
            checkup=checkup,
            token=settings.token,
            in_flight=self.in_flight,
        )
        self._server = HTTPServer(
            application,
            max_body_size=MAX_EVENT,
            max_header_size=MAX_HEAD,
            idle_connection_timeout=IDLE,
        )
        self._server.add_socket(listening)
        self.port = listening.getsockname()[1]
        self._following = asyncio.create_task(self.sync.run())

    @classmethod
    async def start(cls, settings: Settings) -> Self:
        """Open the store and listen; raise StoreFailed or OSError where that can't be."""
        store = await open_store(settings.store)
        try:
            listening = listen(settings.host, settings.port)
        except OSError:
            await store.close()
            raise
        return cls(settings, store, listening)

    async def stop(self) -> None:
        """Take no more connections, finish the requests in flight, let go of everything."""
        self.in_flight.draining = True
        # Whom the kernel has let in already would be reset: one turn accepts, another reads.
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self._server.stop()
        await ended(self._following)
        try:
            async with asyncio.timeout(self.settings.drain):
                await self.in_flight.empty()
        except TimeoutError:
            log.warning("requests still in flight after %g s are cut", self.settings.drain)
        await self._server.close_all_connections()
        self.sync.close()
        await self.store.close()


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    service = await Service.start(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if not settings.token:
        log.warning("PUBLISH_TOKEN isn't set: every event will be refused")
    shown = settings.store.rpartition("@")[2]  # without the password
    log.info("serving on http://%s:%d from %s", settings.host, service.port, shown)
    try:
        await stop.wait()
        log.info("stopping")
    finally:
        await service.stop()
