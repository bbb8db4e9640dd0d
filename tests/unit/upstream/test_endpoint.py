# SPDX-License-Identifier: Apache-2.0
"""An endpoint's name and its addresses: followed when they change, tried side by side."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from strangler.clock import Waits
from strangler.config.snapshot import Endpoint as Address
from strangler.config.snapshot import Keepalive, Tls
from strangler.errors import AttemptFailed
from strangler.testing import RawUpstream, certificate, respond, unused_port, wait
from strangler.upstream import Endpoint, UpstreamConnection, endpoint
from strangler.wire.framing import Body
from strangler.wire.head import ResponseHead

#: The times that an endpoint keeps are made short here.
pytestmark = pytest.mark.sources

ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"


class Names:
    """A name service that answers what it was told last."""

    def __init__(self, *addresses: str) -> None:
        self.answer: Sequence[str] | OSError = addresses
        self.asked = 0
        self.go: asyncio.Event | None = None

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        assert host == "materia.internal"
        self.asked += 1
        if self.go is not None:
            await self.go.wait()
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


class Wanted:
    """Who waits for a connection."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[UpstreamConnection] = asyncio.Future()

    def connected(self, connection: UpstreamConnection) -> None:
        self.outcome.set_result(connection)

    def connect_failed(self, error: AttemptFailed) -> None:
        self.outcome.set_exception(error)


class Servers:
    """Listeners on several loopback addresses with one port; counts who is connected where."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open: dict[str, int] = {}
        self.accepted: dict[str, int] = {}
        self.made: list[asyncio.Server] = []

    async def serve(self, address: str, tls: ssl.SSLContext | None = None) -> None:
        async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.open[address] = self.open.get(address, 0) + 1
            self.accepted[address] = self.accepted.get(address, 0) + 1
            with contextlib.suppress(OSError):
                await reader.read()
            self.open[address] -= 1
            writer.close()

        self.made.append(await asyncio.start_server(held, address, self.port, ssl=tls))


@pytest.fixture
def port() -> int:
    """Return a port that is free on all of the loopback's addresses."""
    return unused_port()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop


@pytest.fixture
def run(loop: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[Awaitable[None]], None]:
    def run(test: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(test, 60))

    return run


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "RESOLVE_EVERY", 0.03)


def test_bytes_that_nobody_asked_for_are_seen_before_the_loop_reads_them(run, port) -> None:
    """Else they would be the next request's answer: another reader's page."""

    async def test() -> None:
        with socket.create_server((ONE, port)) as listener:
            made = Endpoint(
                Address(url=f"http://{ONE}:{port}", scheme="http", host=ONE, port=port),
                connect_timeout=1.0,
                keepalive=Keepalive(),
                tls=None,
            )
            links = []
            for _ in range(2):
                made.connect(wanted := Wanted())
                links.append((await wanted.outcome, listener.accept()[0]))
            for connection, _ in links:
                made.release(connection)
            links[1][1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            assert made.take() is links[0][0], "the newest has spoken, so it is the other"
            assert links[1][0].transport.is_closing()
            made.close()
            for _, peer in links:
                peer.close()

    run(test())


class Taker:
    """Who makes one request and has its answer when `whole` is set."""

    def __init__(self) -> None:
        self.whole = asyncio.Event()

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        if body.ended:
            self.whole.set()

    def response_body(self, payload: bytes, body: Body) -> None:
        if body.ended:
            self.whole.set()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_an_answer_that_nobody_asked_for_is_nobodys(run, site_certificate, secure) -> None:
    """Also where the loop can't see yet what it says: under TLS the bytes alone tell."""
    go, sent = threading.Event(), threading.Event()
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    steps = (respond(200, "mine"), wait(go), forged, lambda _: sent.set())

    async def test() -> None:
        tls = Tls(ca=str(site_certificate.cert)) if secure else None
        with RawUpstream(*steps, tls=site_certificate.server() if secure else None) as origin:
            made = Endpoint(
                Address(
                    url=origin.url,
                    scheme="https" if secure else "http",
                    host="127.0.0.1",
                    port=origin.port,
                ),
                connect_timeout=5.0,
                keepalive=Keepalive(),
                tls=tls,
            )
            made.connect(wanted := Wanted())
            connection = await wanted.outcome
            taker: Any = Taker()
            patience: Any = Waits(5.0, lambda _: None, time.monotonic)
            request = b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
            connection.begin(taker, request, b"GET", (patience, patience), ended=True)
            await taker.whole.wait()
            assert made.take() is connection, "nothing waits, so it serves again"
            made.inflight -= 1
            made.release(connection)
            go.set()
            assert sent.wait(60)  # the loop stands still meanwhile, and has read nothing of it
            assert made.take() is None
            assert connection.transport.is_closing()
            made.close()

    run(test())


@contextlib.contextmanager
def black_hole(address: str, port: int) -> Iterator[None]:
    """Have connects to *address* hang: its accept queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((address, port))
        yield


@contextlib.asynccontextmanager
async def site(
    port: int, names: Names, *served: str, connect: float = 2.0, tls: Tls | None = None
) -> AsyncIterator[tuple[Endpoint, Servers]]:
    servers = Servers(port)
    for address in served:
        await servers.serve(address)
    scheme: Any = "https" if tls else "http"
    made = Endpoint(
        Address(
            url=f"{scheme}://materia.internal:{port}",
            scheme=scheme,
            host="materia.internal",
            port=port,
        ),
        connect_timeout=connect,
        keepalive=Keepalive(connections=8, idle=60.0),
        tls=tls,
        resolver=names,
    )
    try:
        yield made, servers
    finally:
        made.close()
        for server in servers.made:
            server.close()
        await until(lambda: not any(servers.open.values()))


async def connect(to: Endpoint) -> UpstreamConnection:
    wanted = Wanted()
    to.connect(wanted)
    return await wanted.outcome


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


def peer(connection: UpstreamConnection) -> str:
    return str(connection.transport.get_extra_info("peername")[0])


def now() -> float:
    return asyncio.get_running_loop().time()


# -- a name that moves


def test_a_name_that_has_moved_is_followed_and_what_idled_there_is_closed(run, port) -> None:
    async def story() -> None:
        names = Names(ONE)
        async with site(port, names, ONE, TWO) as (end, servers):
            idle, busy = await connect(end), await connect(end)
            assert peer(idle) == peer(busy) == ONE
            end.inflight -= 1
            end.release(idle)
            names.answer = (TWO,)
            # Readers are served by the kept connection alone: nothing new is opened that would ask.
            await asyncio.sleep(endpoint.RESOLVE_EVERY * 2)
            end.sweep(now())
            await until(lambda: servers.open[ONE] == 1)
            assert end.take() is None
            # What was in use goes on, and is not kept after it.
            assert not busy.transport.is_closing()
            end.inflight -= 1
            end.release(busy)
            await until(lambda: servers.open[ONE] == 0)
            assert peer(await connect(end)) == TWO

    run(story())


def test_an_address_more_leaves_the_others_connections_alone(run, port) -> None:
    async def story() -> None:
        names = Names(ONE)
        async with site(port, names, ONE, TWO) as (end, _):
            kept = await connect(end)
            end.inflight -= 1
            end.release(kept)
            names.answer = (TWO, ONE)
            await asyncio.sleep(endpoint.RESOLVE_EVERY * 2)
            end.sweep(now())
            await until(lambda: names.asked == 2)
            assert peer(await connect(end)) == TWO
            assert end.take() is kept

    run(story())


def test_a_name_service_that_fails_takes_nothing_away(run, port, caplog) -> None:
    async def story() -> None:
        names = Names(ONE)
        async with site(port, names, ONE) as (end, _):
            await connect(end)
            names.answer = socket.gaierror(socket.EAI_AGAIN, "try again")
            for _ in range(3):
                await asyncio.sleep(endpoint.RESOLVE_EVERY * 2)
                assert peer(await connect(end)) == ONE
            assert names.asked >= 3

    run(story())
    assert [one.message.split()[0] for one in caplog.records].count("endpoint.unresolved") == 1


def test_a_name_that_never_was_is_a_dns_error(run, port) -> None:
    async def story() -> None:
        names = Names()
        names.answer = socket.gaierror(socket.EAI_NONAME, "no such name")
        async with site(port, names) as (end, _):
            with pytest.raises(AttemptFailed) as failed:
                await connect(end)
            assert failed.value.error == "dns_error"
            assert end.inflight == 0

    run(story())


def test_many_who_wait_ask_once(run, port, monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "RESOLVE_EVERY", 5.0)

    async def story() -> None:
        names = Names(ONE)
        names.go = asyncio.Event()
        async with site(port, names, ONE) as (end, _):
            wanted = [Wanted() for _ in range(20)]
            for one in wanted:
                end.connect(one)
            end.forget(wanted[0])  # whose question it was
            await asyncio.sleep(0.02)
            names.go.set()
            await asyncio.gather(*(one.outcome for one in wanted[1:]))
            assert names.asked == 1
            assert end.inflight == 19

    run(story())


def test_a_name_that_is_slow_to_resolve_is_bounded_by_the_connect_timeout(run, port) -> None:
    async def story() -> None:
        names = Names(ONE)
        names.go = asyncio.Event()
        async with site(port, names, ONE, connect=2.0) as (end, _):
            with pytest.raises(AttemptFailed) as failed:
                await connect(end)
            assert failed.value.error == "connection_timeout"
            names.go.set()
            assert peer(await connect(end)) == ONE

    run(story())


# -- several addresses


def test_an_address_that_drops_what_it_gets_costs_its_head_start_once(
    run, port, monkeypatch
) -> None:
    monkeypatch.setattr(endpoint, "HEAD_START", 3.0)

    async def story() -> None:
        with black_hole(ONE, port):
            async with site(port, Names(ONE, TWO), TWO, connect=20.0) as (end, servers):
                began = time.monotonic()
                assert peer(await connect(end)) == TWO
                assert 2.9 < time.monotonic() - began < 15.0
                began = time.monotonic()
                assert peer(await connect(end)) == TWO
                assert time.monotonic() - began < 2.5
                assert servers.accepted == {TWO: 2}

    run(story())


def test_an_address_that_refuses_is_passed_at_once(run, port, monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "HEAD_START", 3.0)

    async def story() -> None:
        async with site(port, Names(ONE, TWO, THREE), THREE) as (end, _):
            began = time.monotonic()
            assert peer(await connect(end)) == THREE
            assert time.monotonic() - began < 2.5
            assert end.connections == 1

    run(story())


def test_the_first_address_is_used_where_it_serves(run, port) -> None:
    async def story() -> None:
        async with site(port, Names(ONE, TWO), ONE, TWO) as (end, servers):
            assert [peer(await connect(end)) for _ in range(3)] == [ONE] * 3
            assert TWO not in servers.accepted

    run(story())


def test_where_all_refuse_or_hang_the_reason_is_named(run, port) -> None:
    async def story() -> None:
        async with site(port, Names(ONE, TWO)) as (end, _):
            with pytest.raises(AttemptFailed) as failed:
                await connect(end)
            assert failed.value.error == "connection_refused"
        with black_hole(ONE, port), black_hole(TWO, port):
            async with site(port, Names(ONE, TWO), connect=0.4) as (end, _):
                began = time.monotonic()
                with pytest.raises(AttemptFailed) as failed:
                    await connect(end)
                assert failed.value.error == "connection_timeout"
                assert 0.35 < time.monotonic() - began < 10.0
                assert (end.inflight, end.connections) == (0, 0)

    run(story())


def test_who_no_longer_waits_leaves_no_attempt_behind(run, port) -> None:
    async def story() -> None:
        with black_hole(ONE, port), black_hole(TWO, port):
            async with site(port, Names(ONE, TWO), connect=30.0) as (end, _):
                wanted = Wanted()
                end.connect(wanted)
                await asyncio.sleep(0.3)  # the head start is over: two attempts run
                end.forget(wanted)
                me = asyncio.current_task()
                others = [one for one in asyncio.all_tasks() if one is not me]
                await until(lambda: all(one.done() for one in others if "_race" in repr(one)
                                        or "_connect" in repr(one)))  # fmt: skip
                assert end.inflight == 0

    run(story())


def server_flight(context: ssl.SSLContext, hello: bytes) -> bytes:
    """Return what a TLS server answers to *hello*: with it a client has all that it waits for."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(hello)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    return outgoing.read()


def test_who_leaves_inside_a_handshake_leaves_nothing_behind(run, site_certificate) -> None:
    """Else a stranger who asks and goes away costs the worker its memory, and fills its log."""
    context = site_certificate.server()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        told: list[Any] = []
        loop.set_exception_handler(lambda _, about: told.append(about))
        with contextlib.ExitStack() as open_, socket.create_server((ONE, 0)) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            end = Endpoint(
                Address(url=f"https://{ONE}:{port}", scheme="https", host=ONE, port=port),
                connect_timeout=30.0,
                keepalive=Keepalive(),
                tls=Tls(verify=False),
            )

            def held() -> int:
                gc.collect()
                made = [one for one in gc.get_objects() if isinstance(one, UpstreamConnection)]
                return sum(one.endpoint is end for one in made)

            for turns in range(8):
                wanted = Wanted()
                end.connect(wanted)
                peer, _ = await loop.sock_accept(listener)
                open_.enter_context(peer).setblocking(False)
                hello = await loop.sock_recv(peer, 1 << 16)
                await loop.sock_sendall(peer, server_flight(context, hello))
                for _ in range(turns % 4):
                    await asyncio.sleep(0)
                end.forget(wanted)
                del wanted
            end.close()
            # Far less than the minute that a handshake may take.
            async with asyncio.timeout(20):
                while held():
                    await asyncio.sleep(0.05)
            assert not told

    run(story())


def test_a_certificate_that_is_wrong_is_told_and_not_gone_round(run, port, tmp_path: Path) -> None:
    wrong = certificate(tmp_path, "other.internal")

    async def story() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(wrong.cert, wrong.key)
        tls = Tls(verify=True, ca=str(wrong.cert), server_name=None)
        async with site(port, Names(ONE, TWO), tls=tls) as (end, servers):
            await servers.serve(ONE, context)
            await servers.serve(TWO, context)
            with pytest.raises(AttemptFailed) as failed:
                await connect(end)
            assert failed.value.error == "tls_certificate_error"
            assert TWO not in servers.accepted

    run(story())
