# SPDX-License-Identifier: Apache-2.0
"""A real Redis."""

from __future__ import annotations

import socket

from servers.process import LOOPBACK, Server, find_binary


class Redis(Server):
    """``redis-server`` without persistence; ``options`` are added to its command line."""

    name = "redis"

    def __init__(self, *options: str, port: int | None = None) -> None:
        super().__init__(port)
        self.options = options

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            find_binary("redis-server"),
            *("--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *self.options,
        ]

    def is_ready(self) -> bool:
        return self.ask(b"PING").startswith((b"+PONG", b"-NOAUTH"))

    def ask(self, line: bytes) -> bytes:
        """Send one inline command, such as ``FLUSHALL``; return the first bytes of the answer."""
        with socket.create_connection((LOOPBACK, self.port), timeout=30.0) as connection:
            connection.sendall(line + b"\r\n")
            return connection.recv(4096)

    def clear(self) -> None:
        """Delete every key of every database."""
        self.ask(b"FLUSHALL")
