# SPDX-License-Identifier: Apache-2.0
"""A real Redis Cluster of three masters."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack

from servers.process import LOOPBACK, ServerFailed, find_binary, free_port
from servers.redis import Redis


class _Node(Redis):
    name = "redis-cluster"

    def __init__(self) -> None:
        super().__init__()
        # The bus's own port would be ten thousand above, which may be the ephemeral range.
        self._bus = free_port()

    def command(self) -> list[str]:
        # Long enough that a busy machine takes no node for dead, which costs its slots.
        cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "3000"]
        cluster += ["--cluster-port", str(self._bus)]
        # With a slot that nobody has, the others go on.
        return [*super().command(), *cluster, "--cluster-require-full-coverage", "no"]


class RedisCluster:
    """``with RedisCluster() as servers``; ``nodes`` are its three servers."""

    def __init__(self) -> None:
        self.nodes = [_Node() for _ in range(3)]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"{LOOPBACK}:{node.port}" for node in self.nodes)
        return f"redis+cluster://{hosts}"

    def __enter__(self) -> RedisCluster:
        try:
            for node in self.nodes:
                self._stack.enter_context(node)
            hosts = [f"{LOOPBACK}:{node.port}" for node in self.nodes]
            command = [find_binary("redis-cli"), "--cluster", "create", *hosts, "--cluster-yes"]
            made = subprocess.run(command, capture_output=True, timeout=60, check=False)
            if made.returncode:
                raise ServerFailed((made.stdout + made.stderr).decode(errors="replace"))
            deadline = time.monotonic() + 20.0
            while not all(b"cluster_state:ok" in n.ask(b"CLUSTER INFO") for n in self.nodes):
                if time.monotonic() > deadline:
                    raise ServerFailed("the cluster's nodes don't agree")
                time.sleep(0.05)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Delete every key of every node."""
        for node in self.nodes:
            node.clear()
