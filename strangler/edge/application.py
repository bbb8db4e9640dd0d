# SPDX-License-Identifier: Apache-2.0
"""What the engine and an application ask of each other, request by request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from strangler.edge.http1 import Connection
    from strangler.errors import RequestRejected
    from strangler.wire.head import RequestHead


class Receiver(Protocol):
    """What a connection tells the exchange that it carries."""

    def body_received(self, data: bytes) -> None:
        """Take payload of the request body (not empty)."""

    def body_ended(self, trailers: bytes) -> None:
        """Learn that the request body is complete; *trailers* are lines ended by CRLF."""

    def body_failed(self, error: RequestRejected) -> None:
        """Learn that the request body can't be trusted or came too slowly; answer, or abort."""

    def client_gone(self) -> None:
        """Learn that nobody reads any more; called at most once, nothing follows it."""

    def pause_writing(self) -> None:
        """Learn that the reader is slower than the answer."""

    def resume_writing(self) -> None:
        """Learn that the reader has caught up."""

    def raw_received(self, data: bytes) -> None:
        """Take bytes of an upgraded connection."""

    def raw_ended(self) -> None:
        """Learn that the reader will send no more on an upgraded connection."""


class Application(Protocol):
    """Who answers: called once a request, on the loop, and must not block."""

    def request(self, connection: Connection, head: RequestHead) -> Receiver | None:
        """Take a request. None: it has been answered, `response_ended` was called."""

    def reject(self, connection: Connection, error: RequestRejected, start: bytes) -> bytes:
        """Return the whole answer to a request that was refused before it had a meaning.

        *start*: the beginning of what had come of it.
        """

    @property
    def known(self) -> Mapping[bytes, Known]:
        """Return those who may answer a head that has been taken before, by its bytes.

        The same mapping every time; what is in it is a whole GET that wants the connection kept.
        """


class Known(Protocol):
    """Takes a request that came before, byte for byte, without its being read again."""

    def answer(self, connection: Connection) -> bytes | None:
        """Return the whole, framed answer, which is sent; None: the request has to be read.

        Empty: it was begun (`Connection.begin`), and is answered in its time.
        """


class Asked(Protocol):
    """Who begins to answer one request; `Application.request` is one such method."""

    def request(self, connection: Connection, head: RequestHead) -> Receiver | None:
        """Take a request, as an `Application` does."""
