# SPDX-License-Identifier: Apache-2.0
"""One line an exchange, off the hot path.

An exchange ends with ``log.append(record)``, which is the ``append`` of a plain list (about
0.03 us). A timer on the event loop takes what has gathered, formats it, and hands the bytes to a
thread that only writes, so that neither a slow disk nor a full pipe holds up a reader.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from strangler.observe.lines import Hit, Record, as_json, as_text, hit_as_json, hit_as_text, whole
from strangler.observe.writer import Writer

Form = Literal["text", "json", "off"]

access = logging.getLogger("strangler.access")

_FEWEST_SECONDS, _MOST_SECONDS = 0.005, 0.2
_OF_HIT: Final = 6
"""Members of a `Hit`."""
_HELD_UP = 0.0003
"""Seconds of this thread's time that writing down one batch should take: each costs a wake of the
writing thread as well, so they are as large as readers don't notice."""


class AccessRecord(NamedTuple):
    """State what one exchange was. A plain tuple in this order does as well, and is cheaper.

    Fields that have nothing to say are empty strings or 0, never None.
    """

    time: float
    """Unix seconds at which the request head was complete."""
    client: str
    """The client's address, after the trust list was applied; no port. "unix" for a unix socket."""
    id: str
    """The request id, as sent upstream and shown on error pages."""
    method: bytes
    host: bytes
    """The Host asked for, lower-case, without a port."""
    target: bytes
    """The request target in origin form, as received, query included. Not masked; control
    characters are escaped when it is written."""
    status: int
    """The status sent to the client; 0 if the client left before one was sent."""
    sent: int
    """Bytes of response body sent to the client, framing not counted."""
    received: int
    """Bytes of request body received from the client, framing not counted."""
    duration: float
    """Seconds from the complete request head to the last byte given to the socket."""
    first_byte: float
    """Seconds from the complete request head to the upstream's response head; 0 if none came."""
    route: str
    """The key of the route as in the file (a closed set, fit for a metric label)."""
    target_name: str
    """Who was to answer: ``legacy`` or the name of the service's upstream."""
    reason: str
    """Why that target: the word of the decision (``live``, ``canary``, ``fallback`` …)."""
    endpoint: str
    """The endpoint that gave the response, as ``host:port`` or a unix path."""
    attempts: int
    """Attempts made upstream; 0 if the edge answered by itself."""
    cache: str
    """RFC 9211 outcome: ``hit``, ``fwd=uri-miss`` …"""
    error: str
    """RFC 9209 error name: ``connection_refused`` … Empty if all went well."""
    retry: str
    """After a failed attempt, why there was (not) another: ``retry``, ``budget``, ``sent`` …"""


class AccessLog:
    """Gather records and write them in batches.

    ``append`` takes an :class:`AccessRecord`, a plain tuple in its order, or a `Hit`. It never
    blocks, never raises, and keeps at most the records of one batch and ``most_bytes`` of text:
    past that, records are dropped and counted (``dropped``), and the loss is told as an event.
    """

    append: Callable[[Record | Hit], object]
    """Add one record: the way in from the hot path."""

    def __init__(self, form: Form = "text", writer: Writer | None = None) -> None:
        """Log in ``form`` to ``writer`` (default: standard output). ``off`` keeps nothing."""
        self.form: Form = form
        self._records: list[Record | Hit] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._line = as_json if form == "json" else as_text
        self._hit = hit_as_json if form == "json" else hit_as_text
        self._listening: Callable[[Sequence[Record]], object] | None = None
        if form == "off":
            self.append = _forget
        else:
            self.append = self._records.append
            self._writer = writer if writer is not None else Writer("-")

    @property
    def dropped(self) -> int:
        """Lines lost since the start because the disk or pipe did not keep up."""
        return self._writer.dropped if self._writer is not None else 0

    def start(self) -> None:
        """Begin to write. Call once, on the running event loop."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        if self._writer is None:
            return
        self._writer.start()
        self._timer = self._loop.call_later(_MOST_SECONDS, self._tick, _MOST_SECONDS)

    def _tick(self, waited: float) -> None:
        began = time.thread_time()
        self.flush()
        # Small batches often: a thousand lines at once would hold up every connection for 3 ms.
        took = time.thread_time() - began
        pace = waited * _HELD_UP / took if took > 0.0 else _MOST_SECONDS
        pace = min(max(pace, _FEWEST_SECONDS), _MOST_SECONDS)
        if self._loop is not None:
            self._timer = self._loop.call_later(pace, self._tick, pace)

    def listen(self, listener: Callable[[Sequence[Record]], object] | None) -> None:
        """Give every batch of records to *listener* as well, also where nothing is logged.

        None: no more. `append` may be another function after this.
        """
        self._listening = listener
        if self._writer is not None or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if listener is None:
            self.append = _forget
            self._records.clear()
        else:
            self.append = self._records.append
            self._timer = self._loop.call_later(_MOST_SECONDS, self._tick, _MOST_SECONDS)

    def flush(self) -> None:
        """Format what has gathered and hand it to the writer."""
        records = self._records
        if not records:
            return
        batch = records[:]
        del records[: len(batch)]
        if self._listening is not None:
            self._listening([whole(one) if len(one) == _OF_HIT else one for one in batch])
        if self._writer is None:
            return
        if self._writer.full:
            self._writer.lose(len(batch))
            return
        line, hit = self._line, self._hit
        lines = []
        for record in batch:
            try:
                lines.append(hit(record) if len(record) == _OF_HIT else line(record))
            except Exception as error:  # a malformed record must not cost its neighbours
                lines.append(f"- access.malformed error={error!r}\n")
        for handler in access.handlers:
            for text in lines:
                handler.handle(access.makeRecord(access.name, 20, "", 0, text[:-1], (), None))
        self._writer.write("".join(lines).encode("ascii", "backslashreplace"), len(lines))

    def reopen(self) -> None:
        """Open the file anew by its path, after a rotation."""
        if self._writer is not None:
            self._writer.reopen()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left, waiting at most ``timeout`` seconds for the disk."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._loop = None
        self.flush()
        if self._writer is not None:
            self._writer.close(timeout)


def _forget(record: Record | Hit) -> None:
    pass
