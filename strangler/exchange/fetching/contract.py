# SPDX-License-Identifier: Apache-2.0
"""What a fetch and who wants its response are to each other, of whichever sort either is."""

from __future__ import annotations

from typing import Protocol

from mypy_extensions import mypyc_attr

from strangler.errors import AttemptFailed
from strangler.resilience.retry import Reason
from strangler.upstream import Endpoint
from strangler.wire.framing import Body
from strangler.wire.head import ResponseHead

Answer = tuple[ResponseHead, Body, bytes]
"""A response that came whole with its head."""


class Fetching(Protocol):
    """What who wants a response asks of its fetch, of whichever sort; see `Fetch`."""

    @property
    def attempts(self) -> int:
        """Return how many attempts were made."""

    @property
    def sent(self) -> bool:
        """Tell whether a byte of the request may have reached an endpoint."""

    @property
    def why(self) -> Reason | None:
        """Return the reason for which there was another attempt, or none."""

    @property
    def replay(self) -> bytes | None:
        """Return the payload of the request so far, None where it has outgrown its cap."""

    @property
    def endpoint(self) -> Endpoint | None:
        """Return who was asked last."""

    def start(self) -> None:
        """Begin."""

    def cancel(self) -> None:
        """Drop everything."""

    def send_body(self, data: bytes) -> None:
        """Send payload of the request body."""

    def end_body(self, trailers: bytes) -> None:
        """End the request body."""

    def pause_reading(self) -> None:
        """Take nothing more of the response for now."""

    def resume_reading(self) -> None:
        """Go on taking the response."""

    def tunnel_send(self, data: bytes) -> None:
        """Send bytes of an upgraded connection."""

    def tunnel_end(self) -> None:
        """Pass on that the reader will send no more."""


class Sink(Protocol):
    """Whom a fetch works for."""

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx other than 101."""

    def response_started(self, head: ResponseHead, body: Body, payload: bytes) -> None:
        """Take the head with the payload that came along; ``body.ended``: that was all."""

    def response_body(self, payload: bytes, body: Body) -> None:
        """Take more payload; ``body.ended``: that was all."""

    def fetch_failed(self, error: AttemptFailed) -> None:
        """Learn that nothing (more) will come."""

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        """Take a 101, and the bytes that followed it."""

    def tunnel_received(self, data: bytes) -> None:
        """Take bytes of an upgraded connection."""

    def tunnel_ended(self) -> None:
        """Learn that the upstream will send no more on an upgraded connection."""

    def pause_sending(self) -> None:
        """Learn that the request body has to wait."""

    def resume_sending(self) -> None:
        """Learn that the request body may go on."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Asking:
    """What a sink does that asks without a body, and for no upgrade."""

    __slots__ = ()

    def upgraded(self, head: ResponseHead, ahead: bytes) -> None:
        raise AssertionError("no upgrade is ever asked for")

    def tunnel_received(self, data: bytes) -> None:
        raise AssertionError("no upgrade is ever asked for")

    def tunnel_ended(self) -> None:
        raise AssertionError("no upgrade is ever asked for")

    def pause_sending(self) -> None:
        """Have no body to hold back."""

    def resume_sending(self) -> None:
        """Have no body to send."""
