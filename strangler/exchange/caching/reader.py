# SPDX-License-Identifier: Apache-2.0
"""Who waits for a fill, and what is told of how a response came."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from strangler.cache.lookup import Forward
from strangler.cache.stored import Stored
from strangler.cache.vary import select
from strangler.errors import AttemptFailed
from strangler.exchange.caching.copies import Standby
from strangler.exchange.caching.stream import Stream
from strangler.exchange.fetching.contract import Answer, Fetching
from strangler.upstream import Upstream
from strangler.wire.framing import Body
from strangler.wire.head import RequestHead, ResponseHead

_errors = logging.getLogger("strangler.errors")


class Reader(Protocol):
    """An exchange that waits for a fill."""

    @property
    def head(self) -> RequestHead:
        """Return its request."""

    def alone(self, forward: Forward, detail: str) -> None:
        """Go your own way, straight to the upstream; why, for Cache-Status."""

    def asked(self, fetch: Fetching, *, own: bool) -> None:
        """Learn that *fetch* was made for you and others; *own*: by your request."""

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx."""

    def unavailable(self) -> None:
        """Answer 504: you want nothing but a stored response."""

    def found_stale(self, standby: Standby) -> None:
        """Remember what was found below: it may stand in for the upstream."""

    def again(self) -> None:
        """Ask the cache anew: this fill's answer is not yours."""

    def pass_on(
        self,
        upstream: Upstream,
        head: ResponseHead,
        stream: Stream,
        body: Body,
        forward: Forward,
        detail: str,
    ) -> None:
        """Deliver a response that is yours alone: head as it came, content from *stream*."""

    def serve(self, stored: Stored, body: bytes, told: Told) -> None:
        """Deliver a stored response whole."""

    def serve_stream(self, stored: Stored, stream: Stream, told: Told) -> None:
        """Deliver a stored response whose content arrives in *stream*."""

    def fill_failed(
        self, error: AttemptFailed, failure: int | str, answer: Answer | None = None
    ) -> None:
        """Learn that there is no response; *failure* is the word or status for a fallback.

        *answer*: the one that the status is of, where it came whole.
        """

    def stumbled(self) -> None:
        """End, badly where an answer has begun: a bug was met while you were served."""


_Who = TypeVar("_Who", bound=Reader)


def each(readers: Iterable[_Who], serve: Callable[[_Who], object]) -> None:
    """Have *serve* serve *readers* one by one: a bug that one meets ends that one alone."""
    for reader in readers:
        try:
            serve(reader)
        except Exception:
            _errors.exception("answer.failed")
            reader.stumbled()


def suits(reader: Reader, stored: Stored, asked: RequestHead) -> bool:
    """Tell whether *reader* may have *stored*, which *asked* has brought."""
    fields = reader.head.fields
    if not stored.authorized and b"\nauthorization:" in fields.lower:
        return False
    if stored.span is not None and reader.head is not asked:
        return False
    return select([stored], fields) is stored


class Told:
    """What a reader is told of how its response came: for Cache-Status, and *own*: the lines that
    only the reader whose request was sent may have (`store.own_lines`).
    """

    __slots__ = ("collapsed", "forward", "kept", "own", "stale", "status", "tier")

    def __init__(
        self,
        *,
        tier: str = "",
        forward: Forward | None = None,
        status: int | None = None,
        kept: bool = False,
        collapsed: bool = False,
        own: bytes = b"",
        stale: bool = False,
    ) -> None:
        self.own = own
        self.stale = stale
        self.tier = tier
        self.forward = forward
        self.status = status
        self.kept = kept
        self.collapsed = collapsed
