# SPDX-License-Identifier: Apache-2.0
"""A body on its way to several readers, each at its own pace.

A fill (or a tier that reads in slices) adds pieces as they come; a delivery takes them when its
reader is ready. While the body may still be wanted whole, all pieces are held; once it is
`passing` only what the slowest reader hasn't taken is, and the source waits: for the fastest
reader while there is room for what the others have yet to take, else for the slowest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from strangler.cache.tiers.tier import BodyLost
from strangler.wire.framing import chunk, last_chunk

if TYPE_CHECKING:
    from strangler.edge.http1 import Connection
    from strangler.exchange.caching.nobody import Nobody

_errors = logging.getLogger("strangler.errors")

#: Why a body is short where no fetch has said it: RFC 9209 §2.3.
INCOMPLETE: Final = "http_response_incomplete"


class Stream:
    """Pieces of one body, numbered from 0; ``gone`` of them are held no more.

    ``held`` counts bytes held, ``size`` all bytes so far; ``failed`` names, by RFC 9209 §2.3, why
    it has broken off.
    """

    __slots__ = (
        "__weakref__", "ended", "failed", "gone", "held", "passing", "pieces", "readers", "ready",
        "size",
    )  # fmt: skip

    def __init__(self, ready: Callable[[], None] | None = None) -> None:
        """Make an empty stream; *ready* is called when a reader has taken something, or left."""
        self.pieces: list[bytes] = []
        self.gone = 0
        self.held = 0
        self.size = 0
        self.ended = False
        self.failed = ""
        self.passing = False
        self.readers: list[Delivery] = []
        self.ready = ready

    @property
    def behind(self) -> bool:
        """Tell whether some reader has yet to take what is held."""
        return any(reader.at < self.gone + len(self.pieces) for reader in self.readers)

    @property
    def full(self) -> bool:
        """Tell whether no reader would take more at once: it may well be only one."""
        return all(reader.at < self.gone + len(self.pieces) for reader in self.readers)

    def add(self, piece: bytes) -> None:
        """Add *piece* (not empty) and hand it to whoever is ready."""
        self.pieces.append(piece)
        self.held += len(piece)
        self.size += len(piece)
        for reader in tuple(self.readers):
            reader.pump()
        if self.passing:
            self.drop_taken()

    def end(self) -> None:
        """End the body."""
        self.ended = True
        for reader in tuple(self.readers):
            reader.pump()

    def fail(self, error: str) -> None:
        """Break the body off because of *error*: what was sent of it must not look complete."""
        self.failed = error
        for reader in tuple(self.readers):
            reader.pump()

    def whole(self) -> bytes:
        """Return the body so far; only while nothing has been dropped."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def taken(self) -> None:
        """Learn that a reader has taken something, or has left."""
        if self.passing:
            self.drop_taken()
        if self.ready is not None:
            self.ready()

    def drop_taken(self) -> None:
        """Let go of what every reader has taken."""
        if self.readers:
            slowest = min(reader.at for reader in self.readers)
        else:
            slowest = self.gone + len(self.pieces)
        count = slowest - self.gone
        if count > 0:
            self.held -= sum(map(len, self.pieces[:count]))
            del self.pieces[:count]
            self.gone = slowest


class Room:
    """How much of bodies on their way may be held at a time, so that they can be kept.

    A reader who takes nothing keeps what is held of its answer there; thousands of them, each with
    another body, must not cost more than is set aside for copies.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._streams: WeakSet[Stream] = WeakSet()

    def holds(self, stream: Stream, more: int, most: int) -> bool:
        """Tell whether *more* bytes of *stream* fit with what is held of all, *most* at a time."""
        self._streams.add(stream)
        return sum([one.held for one in self._streams]) + more <= most


class Delivery:
    """One reader of *stream*: bytes *start* to *stop* of it (None: to its end), framed.

    ``at`` is the number of the next piece to take; *done* is called once: with why the body broke
    off (RFC 9209 §2.3), nothing where it went out as announced. *stumbled* is called instead where
    a bug is met.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_done",
        "_left",
        "_paused",
        "_skip",
        "_stream",
        "_stumbled",
        "at",
        "sent",
    )

    def __init__(
        self,
        stream: Stream,
        connection: Connection | Nobody,
        done: Callable[[str], None],
        stumbled: Callable[[], None],
        *,
        start: int = 0,
        stop: int | None = None,
        chunked: bool = False,
    ) -> None:
        self.at = 0
        self.sent = 0
        self._stream = stream
        self._connection = connection
        self._done = done
        self._stumbled = stumbled
        self._skip = start
        self._left = None if stop is None else stop - start
        self._chunked = chunked
        self._paused = False
        stream.readers.append(self)

    def pause(self) -> None:
        """Take nothing for now: the reader is slow."""
        self._paused = True

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self.pump()

    def leave(self) -> None:
        """Stop reading: the reader has gone."""
        if self in self._stream.readers:
            self._stream.readers.remove(self)
            self._stream.taken()

    def pump(self) -> None:
        """Send what is there, as far as the reader takes it; a bug on the way ends it alone."""
        try:
            self._pump()
        except Exception:
            _errors.exception("answer.failed")
            self._stumbled()

    def _pump(self) -> None:
        stream = self._stream
        if self not in stream.readers:
            return
        moved = False
        while not self._paused and self.at < stream.gone + len(stream.pieces) and self._left != 0:
            piece = stream.pieces[self.at - stream.gone]
            self.at += 1
            moved = True
            self._send(piece)
        caught_up = self.at >= stream.gone + len(stream.pieces)
        if self._left == 0 or (caught_up and stream.ended):
            self._end("" if self._left in (None, 0) else INCOMPLETE)
        elif stream.failed and caught_up:
            self._end(stream.failed)
        elif moved:
            stream.taken()

    def _send(self, piece: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        if piece:
            self.sent += len(piece)
            self._connection.write(chunk(piece) if self._chunked else piece)

    def _end(self, error: str) -> None:
        self._stream.readers.remove(self)
        if self._chunked and not error:
            self._connection.write(last_chunk())
        self._stream.taken()
        self._done(error)


async def pour(first: bytes, body: AsyncIterator[bytes], stream: Stream) -> bool:
    """Put *first* and the rest of a copy's *body* into *stream* as its readers take it.

    It ends with the last of them. False where the copy is no good.
    """
    taken = asyncio.Event()
    stream.ready = taken.set
    if first:
        stream.add(first)
    try:
        while stream.readers:
            if stream.behind:
                taken.clear()
                await taken.wait()
            elif piece := await anext(body, b""):
                stream.add(piece)
            else:
                break
    except BodyLost as lost:
        stream.fail(INCOMPLETE)
        return lost.late
    stream.end()
    return True
