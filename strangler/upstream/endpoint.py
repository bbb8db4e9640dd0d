# SPDX-License-Identifier: Apache-2.0
"""One address of an upstream: its idle connections, and opening new ones."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, cast

from strangler.config import snapshot as config
from strangler.errors import AttemptFailed
from strangler.resilience.ejection import Standing
from strangler.upstream.connection import UpstreamConnection

_log = logging.getLogger("strangler.events")

#: Seconds for which a resolved name is used without asking again.
RESOLVE_EVERY: Final = 5.0
#: Seconds that one of a name's addresses is tried alone before the next is tried beside it.
HEAD_START: Final = 0.25
#: Seconds since its last use after which a connection is not trusted with a request that may not
#: be repeated: the endpoint may be closing it just now.
_TRUSTED_IDLE: Final = 2.0


Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives a name's addresses, the preferred first, or raises OSError."""


class Waiting(Protocol):
    """Who waits for a connection."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Take a new connection."""

    def connect_failed(self, error: AttemptFailed) -> None:
        """Learn that there is none to be had at this endpoint."""


class Endpoint:
    """An address, with its pool.

    ``inflight`` counts the attempts that run or connect; ``standing`` is what is known of its
    health, and its upstream's to keep.
    """

    standing: Standing

    def __init__(
        self,
        address: config.Endpoint,
        *,
        connect_timeout: float,
        keepalive: config.Keepalive,
        tls: config.Tls | None,
        resolver: Resolver | None = None,
    ) -> None:
        """Make the pool of *address*; *resolver* answers for the system's name service."""
        self.address = address
        self.name = address.unix or _authority(address.host, address.port)
        self.prefix = address.prefix
        self.host_field = address.host_field
        self.inflight = 0
        self.opened = 0
        self.reused = 0
        self._connect_timeout = connect_timeout
        self._keepalive = keepalive
        self._ssl = _ssl_context(tls) if address.scheme == "https" else None
        self._server_name = (tls.server_name if tls else None) or address.host
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection] = set()
        self._connecting: dict[Waiting, asyncio.Task[None]] = {}
        self._left: set[UpstreamConnection] = set()
        self._resolver = resolver if resolver is not None else _resolved
        self._named = address.unix is None and not _is_numeric(address.host)
        self._asking: asyncio.Task[None] | None = None
        self._addresses: tuple[str, ...] = ()
        self._preferred = ""
        self._unanswered = False
        self._resolved_at = float("-inf")
        #: How many connections may idle: none once it is retired, or while it is drained.
        self._most_idle = keepalive.connections
        self._retired = False
        self._loop = asyncio.get_running_loop()

    def take(self, *, repeatable: bool = True) -> UpstreamConnection | None:
        """Return the most recently used idle connection, or None where a new one is needed.

        Not *repeatable*: one that has idled for more than a moment won't do.
        """
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport.is_closing():
                continue
            if not repeatable and self._loop.time() - connection.idle_since > _TRUSTED_IDLE:
                idle.append(connection)
                return None
            if connection.has_spoken():
                connection.close()
                continue
            self.inflight += 1
            self.reused += 1
            return connection
        return None

    def connect(self, waiting: Waiting) -> None:
        """Open a connection and hand it to *waiting*."""
        self.inflight += 1
        task = self._loop.create_task(self._connect(waiting))
        self._connecting[waiting] = task

    def forget(self, waiting: Waiting) -> None:
        """Learn that *waiting* waits no more."""
        task = self._connecting.pop(waiting, None)
        if task is not None:
            task.cancel()
            self.inflight -= 1

    def release(self, connection: UpstreamConnection) -> None:
        """Keep *connection* for the next attempt, if there is room."""
        idle = self._idle
        if len(idle) >= self._most_idle or connection in self._left:
            connection.close()
        else:
            connection.idle_since = self._loop.time()
            idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """Learn that *connection* has closed."""
        self._all.discard(connection)
        self._left.discard(connection)
        if connection.taker is None and connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close what has idled too long, oldest first; notice a name that has moved.

        Connections that are kept are no reason to open new ones, which would ask.
        """
        idle = self._idle
        while idle and now - idle[0].idle_since > self._keepalive.idle:
            idle.pop(0).close()
        if self._named and idle and now - self._resolved_at > RESOLVE_EVERY:
            self._ask()

    def drain(self, drained: bool) -> None:
        """Keep no connection from now on; attempts under way end as they would. Or do again."""
        self._most_idle = 0 if drained or self._retired else self._keepalive.connections
        if drained:
            self._close_idle()

    def retire(self) -> None:
        """Take no more; attempts under way end as they would."""
        self._retired = True
        self._most_idle = 0
        self._close_idle()

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def close(self) -> None:
        """Drop everything."""
        self.retire()
        for task in list(self._connecting.values()):
            task.cancel()
        if self._asking is not None:
            self._asking.cancel()
        for connection in list(self._all):
            connection.transport.abort()

    @property
    def takes_part(self) -> bool:
        """Tell whether it is neither drained, nor ejected, nor called sick by its probes."""
        standing = self.standing
        return standing.healthy and not standing.ejected and not standing.drained

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._all)

    async def _connect(self, waiting: Waiting) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._open()
            if connection.transport.is_closing():
                raise ConnectionResetError
        except asyncio.CancelledError:
            raise
        except Exception as cause:
            if self._connecting.pop(waiting, None) is not None:
                self.inflight -= 1
            waiting.connect_failed(_named(cause, self.name))
            return
        self.opened += 1
        self._all.add(connection)
        if self._connecting.pop(waiting, None) is None:
            self.release(connection)
        else:
            waiting.connected(connection)

    async def _open(self) -> UpstreamConnection:
        if self.address.unix is not None:
            transport, connection = await self._loop.create_unix_connection(
                self._protocol, self.address.unix
            )
            return await self._secured(transport, cast(UpstreamConnection, connection))
        addresses = await self._resolve()
        if len(addresses) == 1:
            return await self._connect_to(addresses[0])
        return await self._race(addresses)

    async def _connect_to(self, address: str) -> UpstreamConnection:
        transport, connection = await self._loop.create_connection(
            self._protocol, address, self.address.port
        )
        return await self._secured(transport, cast(UpstreamConnection, connection))

    async def _secured(
        self, transport: asyncio.Transport, connection: UpstreamConnection
    ) -> UpstreamConnection:
        """Speak TLS on *transport*, where the endpoint does.

        The loop could do it while it connects. But where nobody waits any more inside such a
        handshake, uvloop writes to the transport that it has closed, and holds on to 50 KiB until
        the minute is over that a handshake may take.
        """
        if self._ssl is None:
            return connection
        if transport.is_closing():
            raise ConnectionResetError
        try:
            secure = await self._loop.start_tls(
                transport,
                cast(asyncio.Protocol, connection),
                self._ssl,
                server_hostname=self._server_name,
            )
        except BaseException:
            transport.abort()
            raise
        if secure is None:  # closed meanwhile
            raise ConnectionResetError
        connection.connection_made(secure)
        return connection

    def _protocol(self) -> asyncio.Protocol:
        return cast(asyncio.Protocol, UpstreamConnection(self))

    async def _race(self, addresses: Sequence[str]) -> UpstreamConnection:
        """Connect to the first address that lets us, each with a head start (RFC 8305 §5).

        The winner is asked first from now on: one that drops what it gets costs its head start
        once, not at every connection.
        """
        waiting = list(addresses)
        running: dict[asyncio.Task[UpstreamConnection], str] = {}
        failure: OSError = socket.gaierror("no address")
        try:
            while waiting or running:
                if waiting:
                    address = waiting.pop(0)
                    running[self._loop.create_task(self._connect_to(address))] = address
                done, _ = await asyncio.wait(
                    running,
                    timeout=HEAD_START if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    address = running.pop(task)
                    try:
                        connection = task.result()
                    except ssl.SSLError:
                        raise
                    except OSError as error:
                        failure = error
                    else:
                        self._preferred = address
                        return connection
            raise failure
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_abandon)

    async def _resolve(self) -> Sequence[str]:
        """Return the endpoint's addresses, asked for anew every `RESOLVE_EVERY` seconds."""
        if not self._named:
            return (self.address.host,)
        if self._loop.time() - self._resolved_at > RESOLVE_EVERY:
            await asyncio.shield(self._ask())
        return sorted(self._addresses, key=lambda address: address != self._preferred)

    def _ask(self) -> asyncio.Task[None]:
        """Ask for the name's addresses, once for all who want to know."""
        if self._asking is None:
            self._asking = self._loop.create_task(self._ask_on())
        return self._asking

    async def _ask_on(self) -> None:
        try:
            found = await self._resolver(self.address.host, self.address.port)
        except OSError:
            # A name service that fails is no reason to leave addresses that serve.
            if not self._addresses:
                raise
            if not self._unanswered:
                _log.warning("endpoint.unresolved endpoint=%s keeps=%s",
                             self.name, ",".join(self._addresses))  # fmt: skip
            self._unanswered = True
            found = self._addresses
        else:
            self._unanswered = False
        finally:
            self._asking = None
        if set(found) != set(self._addresses) and self._addresses:
            self._left_behind(set(found))
        self._addresses = tuple(found)
        self._resolved_at = self._loop.time()

    def _left_behind(self, addresses: set[str]) -> None:
        """Close connections to addresses that the name no longer has: at once, or after use."""
        _log.info("endpoint.moved endpoint=%s addresses=%s", self.name, ",".join(sorted(addresses)))
        for connection in list(self._all):
            peer = connection.transport.get_extra_info("peername")
            if peer is None or peer[0] in addresses:
                continue
            if connection in self._idle:
                self._idle.remove(connection)
                connection.close()
            else:
                self._left.add(connection)


async def _resolved(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of *host*."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _abandon(task: asyncio.Task[UpstreamConnection]) -> None:
    """Drop what a connection attempt made that nobody wants any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().transport.abort()


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ssl_context(tls: config.Tls | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca if tls else None)
    if tls is not None and not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _named(cause: Exception, endpoint: str) -> AttemptFailed:
    """Name a failure to connect by its RFC 9209 type."""
    if isinstance(cause, TimeoutError):
        error, why = "connection_timeout", "no connection in time"
    elif isinstance(cause, ConnectionRefusedError | FileNotFoundError):
        error, why = "connection_refused", "connection refused"
    elif isinstance(cause, ssl.SSLCertVerificationError):
        error, why = "tls_certificate_error", str(cause.verify_message)
    elif isinstance(cause, ssl.SSLError):
        error, why = "tls_protocol_error", str(cause.reason)
    elif isinstance(cause, socket.gaierror):
        error, why = "dns_error", "no address for the name"
    elif isinstance(cause, OSError) and cause.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        error, why = "destination_ip_unroutable", "no route to the address"
    elif isinstance(cause, ConnectionError):
        error, why = "connection_refused", "connection reset while it was made"
    elif isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        # Our own shortage says nothing of the endpoint.
        return AttemptFailed(
            "connection_limit_reached", f"{endpoint}: no file descriptor left", sent=False
        )
    elif isinstance(cause, OSError):
        error, why = "destination_unavailable", cause.strerror or "could not connect"
    else:
        _log.error("endpoint.bug endpoint=%s", endpoint, exc_info=cause)
        error, why = "proxy_internal_error", "could not connect"
    return AttemptFailed(error, f"{endpoint}: {why}", sent=False)
