# SPDX-License-Identifier: Apache-2.0
"""Readers as a process of their own: ask at a steady rate, check every answer to the byte.

Some write: whoever sends a form does so once, on a connection of its own.

Open loop: a request starts when it is due, however long those before it take, so that an edge
that stalls is not spared. Half of the requests open a connection, half use one that was kept.
Reads its orders (JSON) from the first line of stdin, writes a JSON line a request, and ends when
stdin does. Standard library only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import sys
import time
from typing import Any

GIVE_UP = 30.0
"""Seconds after which a reader leaves."""
MOST = 8 << 20
"""Bytes of an answer after which it is taken for endless."""
PILE = 500
"""Requests of one group under way after which further ones are counted as failed at once."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Cut(Exception):
    """The answer broke off, or there was none; `begun` says whether a byte of it had come."""

    def __init__(self, what: str, begun: bool) -> None:
        super().__init__(what)
        self.begun = begun


class Group:
    """Readers of one kind."""

    def __init__(self, port: int, order: dict[str, Any]) -> None:
        self.port = port
        self.name: str = order["name"]
        self.rate: float = order["rate"]
        self.pages: list[list[str]] = order["pages"]  # target, digest of the right content
        self.fields: dict[str, str] = order["fields"]
        self.method: str = order["method"]
        self.body: str = order["body"]
        self.status: int = order["status"]
        self.kept: list[Connection] = []
        self.under_way: set[asyncio.Task[None]] = set()
        self.count = 0

    async def run(self) -> None:
        begun = time.monotonic()
        while True:
            # Anywhere within its turn: in step with others it would meet the same ones all along.
            due = begun + (self.count + random.random()) / self.rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            target, digest = self.pages[self.count % len(self.pages)]
            one = f"{self.name}-{self.count}"
            if len(self.under_way) >= PILE:
                self.note(due, 0, {}, True, "piled up", one)
            else:
                keep = self.count % 2 == 0 and self.method == "GET"
                task = asyncio.create_task(self.ask(due, target, digest, keep, one))
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
            self.count += 1

    async def ask(self, due: float, target: str, digest: str, keep: bool, one: str) -> None:
        status, fields, fresh, problem = 0, {}, True, ""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(GIVE_UP):
                while keep and self.kept:
                    connection = self.kept.pop()
                    if not connection[0].at_eof():
                        fresh = False
                        break
                    connection[1].close()
                    connection = None
                try:
                    connection = connection or await self.connect()
                    status, fields, body = await self.exchange(connection, target, keep, one)
                except Cut as error:
                    # Between two requests a kept connection may be closed: nobody is hurt.
                    if fresh or error.begun or "reset" in str(error):
                        raise
                    assert connection is not None
                    connection[1].close()
                    connection, fresh = await self.connect(), True
                    status, fields, body = await self.exchange(connection, target, keep, one)
            if status != self.status:
                problem = f"status {status}"
            elif digest and hashlib.sha256(body).hexdigest() != digest:
                problem = f"wrong content ({len(body)} bytes)"
        except Cut as error:
            problem = f"cut: {error}"
        except TimeoutError:
            problem = f"no end within {GIVE_UP:.0f} s"
        except (OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        self.note(due, status, fields, fresh, problem, one)
        if connection is not None:
            if keep and not problem and fields.get("connection", "").lower() != "close":
                self.kept.append(connection)
            else:
                connection[1].close()

    async def connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(
        self, connection: Connection, target: str, keep: bool, one: str
    ) -> tuple[int, dict[str, str], bytes]:
        reader, writer = connection
        fields, body = dict(self.fields), self.body.replace("{id}", one)
        if not keep:
            fields["Connection"] = "close"
        if self.method != "GET":
            fields["Content-Length"] = str(len(body))
        head = f"{self.method} {target} HTTP/1.1\r\nHost: www.example.com\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        begun = False
        try:
            writer.write(f"{head}\r\n".replace("{id}", one).encode() + body.encode())
            raw = await reader.readuntil(b"\r\n\r\n")
            begun = True
            first, *lines = raw.decode("latin-1").split("\r\n")
            status = int(first.split(" ")[1])
            pairs = (line.partition(":") for line in lines if line)
            told = {name.lower(): value.strip() for name, _, value in pairs}
            return status, told, await self.content(reader, told)
        except asyncio.IncompleteReadError as error:
            raise Cut("closed", begun or bool(error.partial)) from error
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Cut("reset", begun) from error

    @staticmethod
    async def content(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
        if "content-length" in fields:
            return await reader.readexactly(int(fields["content-length"]))
        body = bytearray()
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
                if len(body) > MOST:
                    raise Cut("endless, left by the reader", True)
            await reader.readuntil(b"\r\n")
            return bytes(body)
        while piece := await reader.read(1 << 16):
            body += piece
            if len(body) > MOST:
                raise Cut("endless, left by the reader", True)
        return bytes(body)

    def note(
        self,
        due: float,
        status: int,
        fields: dict[str, str],
        fresh: bool,
        problem: str,
        one: str,
    ) -> None:
        fallback = fields.get("strangler-fallback", "")
        cache = fields.get("cache-status", "")
        line = [self.name, due, time.monotonic(), status, fallback, cache, fresh, problem, one]
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


async def main() -> None:
    orders = json.loads(sys.stdin.readline())
    groups = [Group(orders["port"], order) for order in orders["groups"]]
    tasks = [asyncio.create_task(group.run()) for group in groups]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    for group in groups:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP):
                await asyncio.gather(*group.under_way)
        for _, writer in group.kept:
            writer.close()


if __name__ == "__main__":
    asyncio.run(main())
