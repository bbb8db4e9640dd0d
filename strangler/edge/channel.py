# SPDX-License-Identifier: Apache-2.0
"""Small JSON messages between two processes of one site.

A channel is one end of a SOCK_SEQPACKET pair: messages keep their bounds, arrive in order, and a
pair that the supervisor made before the fork outlives the death of the process at either end.
What matters is sent as state ("this generation is in force"), not as a change, and is repeated:
a message that found the queue full or no reader may therefore be dropped.
"""

from __future__ import annotations

import asyncio
import json
import socket
import zlib
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]

MOST_BYTES = 64 << 10
"""The longest message, in bytes as it is sent."""


class Channel:
    """One end. Never blocks."""

    __slots__ = ("_loop", "closed", "sock")

    def __init__(self, sock: socket.socket) -> None:
        """Take over ``sock``, which is one of a pair."""
        sock.setblocking(False)
        self.sock = sock
        self.closed = False
        """Whether the other end is known to be gone for good."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def fileno(self) -> int:
        """The descriptor, for a poll."""
        return self.sock.fileno()

    def send(self, message: Message) -> bool:
        """Send one message; return False if it could not be taken now.

        What is longer than MOST_BYTES is compressed: a site of hundreds of upstreams says much, and
        says it alike. Raises ValueError if it is longer even so.
        """
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > MOST_BYTES:
            data = zlib.compress(data, 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"a message of {len(data)} bytes; the most is {MOST_BYTES}")
        try:
            self.sock.send(data, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self.closed = True
            return False
        return True

    def receive(self) -> list[Message]:
        """Return all messages that have come; note in ``closed`` if no more will."""
        messages: list[Message] = []
        while True:
            try:
                data = self.sock.recv(MOST_BYTES)
            except (BlockingIOError, InterruptedError):
                return messages
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return messages
            try:
                message = json.loads(data if data[:1] == b"{" else zlib.decompress(data))
            except (ValueError, zlib.error):
                continue
            if isinstance(message, dict):
                messages.append(message)

    def attach(
        self, on_message: Callable[[Message], None], on_close: Callable[[], None] | None = None
    ) -> None:
        """Call back on the running event loop for each message, and once when the peer is gone."""
        loop = self._loop = asyncio.get_running_loop()

        def readable() -> None:
            for message in self.receive():
                on_message(message)
            if self.closed:
                self.detach()
                if on_close is not None:
                    on_close()

        loop.add_reader(self.sock.fileno(), readable)

    def detach(self) -> None:
        """Stop calling back."""
        if self._loop is not None:
            self._loop.remove_reader(self.sock.fileno())
            self._loop = None

    def close(self) -> None:
        """Close this end in this process."""
        self.detach()
        self.sock.close()


def pair() -> tuple[Channel, Channel]:
    """Make both ends. Raises OSError when out of descriptors."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(one), Channel(other)
