# SPDX-License-Identifier: Apache-2.0
"""What a stranger's bytes make the edge remember, and how much of it at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from strangler.config.load import load
from strangler.edge.server import Server
from strangler.exchange import Edge
from strangler.testing import Upstream, respond

ROUTES = """
version: 1
upstreams:
  legacy: {{url: "{legacy}", role: legacy}}
  materia: {{url: "{materia}"}}
tiers: {{shared: none, archive: none}}
routes:
  /**: legacy
  /c/**: {{to: materia, cache: {{edge: 1h}}}}
  /s/**: {{to: materia}}
"""
LONG = "x" * 12_000


def on_an_edge(tmp_path: Path, story: Callable[[Edge, Server, int], Awaitable[None]]) -> None:
    alone = respond(404, fields=[("Cache-Control", "private")])
    with Upstream(respond(body="same")) as legacy, Upstream(alone) as service:
        file = tmp_path / "routes.yaml"
        file.write_text(ROUTES.format(legacy=legacy.url, materia=service.url))

        async def run() -> None:
            edge = Edge(load(file))
            server = Server(edge, ticker=edge.ticker)
            loop = asyncio.get_running_loop()
            listener = await loop.create_server(server.protocol, "127.0.0.1", 0)
            try:
                await story(edge, server, listener.sockets[0].getsockname()[1])
            finally:
                listener.close()
                server.abort_all()
                await edge.close()

        asyncio.run(run())


def test_an_idle_connection_keeps_nothing_of_a_long_head(tmp_path: Path) -> None:
    async def story(edge: Edge, server: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for fields, kept in (("", True), (f"X-Long: {LONG}\r\n", False)):
            writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
            assert b"same" in await reader.readuntil(b"same")
            (connection,) = server.open
            told = connection.told
            assert (told is not None) is kept or len(told.fields.raw) < 2048
        writer.close()

    on_an_edge(tmp_path, story)


def test_what_is_remembered_of_an_address_does_not_grow_with_it(tmp_path: Path) -> None:
    async def story(edge: Edge, server: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in ("/c/app.0123abcd.js", "/s/app.0123abcd.js"):
            for _ in range(2):
                writer.write(f"GET {path}?{LONG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b"same" in await reader.readuntil(b"same")
        writer.close()
        cache = edge.cache
        cache.pass_for_a_while(LONG.encode())
        for table in (cache.absent, cache._passed):
            assert table and max(map(len, table)) < 500
        assert len(cache.absent) == 2

    on_an_edge(tmp_path, story)
