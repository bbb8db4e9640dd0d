# SPDX-License-Identifier: Apache-2.0
"""What the kernel holds of a connection: bytes that are still to be sent, or to be read."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios


def unread(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes have come that the loop has yet to read; 0 where nobody can tell."""
    return _count(transport, termios.FIONREAD)


def untaken(transport: asyncio.Transport) -> int:
    """Return how many bytes of what was written have not arrived at the other end.

    The kernel knows of its own: it may hold megabytes, and asks for more of them only when a
    third of its room is free.
    """
    return transport.get_write_buffer_size() + _count(transport, termios.TIOCOUTQ)


def _count(transport: asyncio.BaseTransport, which: int) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None:
        return 0
    with contextlib.suppress(OSError):
        return int.from_bytes(fcntl.ioctl(sock.fileno(), which, b"\0\0\0\0"), sys.byteorder)
    return 0
