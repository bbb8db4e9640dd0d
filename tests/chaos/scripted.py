# SPDX-License-Identifier: Apache-2.0
"""A service that gives the article pages, until it is told to misbehave."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from typing import Self

from strangler.testing import RawUpstream, black_hole, respond, unused_port
from strangler.testing.origin import Connection, Step


class Scripted:
    """An origin on a port of its own; `ill` and `well` turn it, `refuse` and `swallow` its port."""

    def __init__(self, content: Mapping[str, bytes]) -> None:
        self.content = content
        self.port = unused_port()
        self._origin: RawUpstream | None = None
        self._hole = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, connection: Connection) -> bytes:
        """Return the content that was asked for."""
        assert connection.request is not None
        return self.content[connection.request.path.decode()]

    def well(self) -> None:
        """Answer every article as it should be."""

        def answer(connection: Connection) -> None:
            respond(200, self.page(connection))(connection)

        self.ill(answer)

    def ill(self, *steps: Step) -> None:
        """Answer with *steps* from now on."""
        self._hole.close()
        if self._origin is None:
            self._origin = RawUpstream(port=self.port, keep=1 << 16)
        self._origin.answers(*steps)

    def refuse(self) -> None:
        """Stop listening and drop every connection."""
        if self._origin is not None:
            self._origin.refuse()
            self._origin = None

    def swallow(self) -> None:
        """Take connections away from who waits for them: connects hang, as behind a dead router."""
        self.refuse()
        self._hole.enter_context(black_hole(self.port))

    def __enter__(self) -> Self:
        self.well()
        return self

    def __exit__(self, *_: object) -> None:
        self._hole.close()
        self.refuse()


def reset_hard(connection: Connection) -> None:
    """Reset the connection, with what was sent before still on its way."""
    with contextlib.suppress(OSError, ValueError):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.reset()
