# SPDX-License-Identifier: Apache-2.0
"""A real Redis master, its replica, and a sentinel that swaps the two."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from servers.process import LOOPBACK, Server, ServerFailed, find_binary
from servers.redis import Redis


class _Sentinel(Server):
    name = "redis-sentinel"

    def __init__(self, master: Redis) -> None:
        super().__init__()
        self._master = master

    @property
    def url(self) -> str:
        return f"redis+sentinel://{LOOPBACK}:{self.port}/news/0"

    def prepare(self) -> None:
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind {LOOPBACK}\ndir {self.folder}\n"
            f"sentinel monitor news {LOOPBACK} {self._master.port} 1\n"
            "sentinel down-after-milliseconds news 60000\n"
            "sentinel failover-timeout news 3000\n"
        )

    def command(self) -> list[str]:
        return [find_binary("redis-server"), str(self.folder / "sentinel.conf"), "--sentinel"]

    def is_ready(self) -> bool:
        return self.ask(b"PING").startswith(b"+PONG")

    def ask(self, line: bytes) -> bytes:
        with socket.create_connection((LOOPBACK, self.port), timeout=1.0) as connection:
            connection.sendall(line + b"\r\n")
            return connection.recv(65536)


class RedisSentinel:
    """``with RedisSentinel() as servers``: ``url`` names the service ``news``."""

    def __init__(self) -> None:
        self.master = Redis()
        self.replica: Redis
        self.sentinel: _Sentinel
        self.folder = Path()

    @property
    def url(self) -> str:
        return self.sentinel.url

    def __enter__(self) -> RedisSentinel:
        self.master.__enter__()
        try:
            self.replica = Redis("--replicaof", LOOPBACK, str(self.master.port))
            self.replica.__enter__()
            self.sentinel = _Sentinel(self.master)
            self.sentinel.__enter__()
            # Without a replica that it knows, and that has caught up, it can't swap.
            self._until(lambda: b"master_link_status:up" in self.replica.ask(b"INFO replication"))
            self._until(
                lambda: (
                    str(self.replica.port).encode() in self.sentinel.ask(b"SENTINEL replicas news")
                )
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in ("sentinel", "replica", "master"):
            if hasattr(self, server):
                getattr(self, server).__exit__()

    def clear(self) -> None:
        """Delete every key."""
        self.master.clear()

    def lose_master(self) -> None:
        """Kill the master, and have the sentinel believe so soon.

        Until then it takes none for dead that a busy machine has kept waiting.
        """
        self.sentinel.ask(b"SENTINEL SET news down-after-milliseconds 300")
        self.master.kill()

    def wait_for_failover(self) -> None:
        """Return when the sentinel names the replica as the master and it takes writes."""
        port = str(self.replica.port).encode()
        self._until(
            lambda: (
                port in self.sentinel.ask(b"SENTINEL get-master-addr-by-name news")
                and b"role:master" in self.replica.ask(b"INFO replication")
            )
        )

    @staticmethod
    def _until(condition: object, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            if time.monotonic() > deadline:
                raise ServerFailed("the sentinel's servers are not ready")
            time.sleep(0.05)
