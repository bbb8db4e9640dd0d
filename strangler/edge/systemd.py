# SPDX-License-Identifier: Apache-2.0
"""Tell systemd how the service is doing (sd_notify(3)): a datagram to $NOTIFY_SOCKET."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(**state: object) -> None:
    """Send ``KEY=value`` lines. Without $NOTIFY_SOCKET, or with nobody behind it, do nothing."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    if where.startswith("@"):
        where = "\0" + where[1:]
    lines = "\n".join(f"{name}={value}" for name, value in state.items())
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.setblocking(False)
        sock.sendto(lines.encode(), where)


def reloading() -> None:
    """Say that a reload has begun; systemd waits for the READY=1 that ends it."""
    notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)


def watchdog_seconds() -> float | None:
    """Return how often systemd's watchdog wants to hear of us, halved for safety; None: never."""
    try:
        if int(os.environ.get("WATCHDOG_PID", os.getpid())) != os.getpid():
            return None
        return int(os.environ["WATCHDOG_USEC"]) / 2_000_000
    except (KeyError, ValueError):
        return None
