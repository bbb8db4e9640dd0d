# SPDX-License-Identifier: Apache-2.0
"""Start, stop and settings of an instance."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from extracted.materia.page import render
from extracted.materia.service import TURNS, Service
from extracted.materia.settings import Settings
from extracted.materia.store import StoreFailed

from .documents import TOKEN, article, event

pytestmark = pytest.mark.gen_test(timeout=30)

BIG = {"body": "á" * 4_000_000}  # more than both ends' socket buffers hold


@asynccontextmanager
async def started(folder: Path, drain: float = 20.0) -> AsyncIterator[Service]:
    service = await Service.start(
        Settings(
            port=0,
            store=f"sqlite:{folder}/m.sqlite3",
            legacy="http://127.0.0.1:1",
            token=TOKEN,
            drain=drain,
        )
    )
    try:
        await service.store.apply([event(1), event(2, "grande", **BIG)])
        yield service
    finally:
        await service.stop()


async def reader(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for the big page over a small receive buffer; return when it has begun to come."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", service.port))
    stream, writer = await asyncio.open_connection(sock=sock, limit=4096)
    writer.write(b"GET /noticia/grande.ghtml HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await stream.readline()).startswith(b"HTTP/1.1 200")
    return stream, writer


async def test_stop_waits_for_a_slow_reader(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        stream, writer = await reader(service)
        stopping = asyncio.create_task(service.stop())
        for _ in range(TURNS + 1):
            await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", service.port)
        received = await stream.read()
        assert received.endswith(render(article("grande", **BIG)))
        writer.close()
        await stopping


async def test_stop_serves_whom_the_kernel_has_let_in(tmp_path: Path) -> None:
    """A request that was sent before the stop, and that nobody has read yet."""
    async with started(tmp_path) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as link:
            link.sendall(b"GET /noticia/chuva.ghtml HTTP/1.1\r\nHost: x\r\n\r\n")
            await service.stop()
            link.settimeout(20)
            assert link.recv(1 << 16).startswith(b"HTTP/1.1 200")


async def test_stop_does_not_wait_for_who_has_left_or_asks_nothing(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        _, left = await reader(service)
        left.transport.abort()
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", service.port)
        idle_writer.write(b"HEAD /noticia/chuva.ghtml HTTP/1.1\r\nHost: x\r\n\r\n")
        await idle.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(25):
            await service.stop()
        assert await idle.read() == b""
        idle_writer.close()


async def test_stop_cuts_who_never_reads(tmp_path: Path) -> None:
    async with started(tmp_path, drain=0.1) as service:
        _, writer = await reader(service)
        async with asyncio.timeout(25):
            await service.stop()
        writer.transport.abort()


async def test_taken_port_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        with pytest.raises(OSError, match="in use"):
            await Service.start(Settings(port=service.port, store=f"sqlite:{tmp_path}/o.sqlite3"))
    with pytest.raises(StoreFailed):
        await Service.start(Settings(port=0, store="sqlite:/proc/no/m.sqlite3"))


async def test_settings_come_from_the_environment() -> None:
    default = Settings.read({"MATERIA_PORT": "", "MATERIA_STORE": "", "MATERIA_LEGACY": ""})
    assert default == Settings()
    assert default.store.endswith("/var/materia.sqlite3")
    assert Settings.read({"LEGACY_PORT": "8200"}).legacy == "http://127.0.0.1:8200"
    assert Settings.read({"MATERIA_LEGACY": "http://x/", "LEGACY_PORT": "9"}).legacy == "http://x"
    for name, value in [
        ("MATERIA_PORT", "80800"),
        ("MATERIA_PORT", "um"),
        ("MATERIA_SYNC_EVERY", "0"),
        ("MATERIA_SYNC_EVERY", "nan"),
        ("MATERIA_SYNC_LATE", "-1"),
    ]:
        with pytest.raises(ValueError, match=f"{name}: expected"):
            Settings.read({name: value})
