# SPDX-License-Identifier: Apache-2.0
"""What one healthy request costs, from its bytes to its answer's, without a network.

Run as a program, it says so in microseconds. The test's bound is wide, since other work shares
the core: it is there to notice a loop or an allocation too many.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from strangler.config import load
from strangler.edge.server import Server
from strangler.exchange import Edge
from strangler.upstream import UpstreamConnection

ROUTES = """
version: 1
upstreams:
  legacy: {url: "http://127.0.0.1:9", role: legacy}
  materia: {url: "http://127.0.0.1:10"}
routes:
  /**: legacy
  /noticia/**: materia
"""
FIELDS = "".join(f"X-Field-{n}: {'v' * 20}\r\n" for n in range(14))
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nContent-Length: 5\r\n\r\nhello"


class Transport(asyncio.Transport):
    """Takes bytes and does nothing with them; an upstream's answers at once."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1)})
        self.answer = answer
        self.protocol: Any = None
        self.written = 0

    def write(self, data: Any) -> None:
        self.written += 1
        if self.answer:
            self.protocol.data_received(self.answer)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def measure(folder: Path, path: str, count: int) -> float:
    """Return the least microseconds of a request, of ten batches."""
    file = folder / "routes.yaml"
    file.write_text(ROUTES)
    edge = Edge(load(file))
    server = Server(edge, ticker=edge.ticker)
    for upstream in edge.view.everyone():
        (endpoint,) = upstream.endpoints
        connection = UpstreamConnection(endpoint)
        transport = Transport(ANSWER)
        transport.protocol = connection
        connection.connection_made(transport)
        endpoint.release(connection)
    reader, client = server.protocol(), Transport()
    reader.connection_made(client)
    request = f"GET {path} HTTP/1.1\r\nHost: www.example.com\r\n{FIELDS}\r\n".encode()
    best = float("inf")
    for _ in range(10):
        began = perf_counter()
        for _ in range(count):
            reader.data_received(request)
        best = min(best, (perf_counter() - began) / count)
    assert client.written == 10 * count, "a request had no answer"
    await edge.close()
    return best * 1e6


def test_a_healthy_request_costs_little(tmp_path: Path) -> None:
    for path in ("/", "/noticia/a"):
        assert asyncio.run(measure(tmp_path, path, 200)) < 250


if __name__ == "__main__":
    for path in ("/", "/noticia/a"):
        cost = asyncio.run(measure(Path(sys.argv[1]), path, 2000))
        print(f"{path}: {cost:.2f} us")
