# SPDX-License-Identifier: Apache-2.0
"""One line an exchange, off the hot path.

An exchange ends with ``log.append(record)``, which only keeps it; a hit that needs no decision adds
three parts of its line to ``log.hits``. A timer on the event loop takes what has gathered, formats
it, and hands the bytes to a thread that only writes, so that neither a slow disk nor a full pipe
holds up a reader.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from strangler.observe.lines import ADDED, PARTS, Hits, Record, Repeated, Sent, as_json, as_text
from strangler.observe.writer import Writer

Form = Literal["text", "json", "off"]

access = logging.getLogger("strangler.access")

_FEWEST_SECONDS, _MOST_SECONDS = 0.005, 0.2
_HELD_UP = 0.00005
"""Seconds of this thread's time that writing down one batch should take: no reader notices, and
its bytes stay in the core's own cache, in memory that needn't be asked of the kernel anew."""


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
    """The endpoint asked last, for this reader or for who asked first of those that got the same
    answer, as ``host:port`` or a unix path."""
    attempts: int
    """Attempts made upstream; 0 if the edge answered by itself, or with the answer to another
    reader's request."""
    cache: str
    """RFC 9211 outcome: ``hit``, ``fwd=uri-miss`` …"""
    error: str
    """RFC 9209 error name: ``connection_refused`` … Empty if all went well."""
    retry: str
    """After a failed attempt, why there was (not) another: ``retry``, ``budget``, ``sent`` …"""


class AccessLog:
    """Gather records and write them in batches.

    ``append`` takes an :class:`AccessRecord` or a plain tuple in its order. It never blocks and
    never raises. The log keeps at most the records of one batch and ``most_bytes`` of text: past
    that, records are dropped and counted (``dropped``), and the loss is told as an event.
    """

    append: Callable[[Record], object]
    """Add one record."""
    hits: Hits | None
    """Where hits that needed no decision put their lines; None: they go to `hit`."""
    hit: Callable[[float, str, Repeated, Sent], object]
    """Add such a hit as a whole record: when, the client's address, the request, its copy."""

    def __init__(self, form: Form = "text", writer: Writer | None = None) -> None:
        """Log in ``form`` to ``writer`` (default: standard output). ``off`` keeps nothing."""
        self.form: Form = form
        self._lines = Hits("json" if form == "json" else "text")
        self._line = as_json if form == "json" else as_text
        #: Each with how many parts of hits' lines came before it.
        self._records: list[tuple[int, Record]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._listening: Callable[[Sequence[Record]], object] | None = None
        if form != "off":
            self._writer = writer if writer is not None else Writer("-")
        self._take_in()

    def _take_in(self) -> None:
        """Choose what becomes of records: nothing, where neither a file nor a listener is."""
        heard, kept = self._listening is not None, self._writer is not None
        self.append = self._keep if heard or kept else _forget
        self.hit = self._hear if heard else _forget
        self.hits = self._lines if kept and not heard else None

    def _keep(self, record: Record) -> None:
        self._records.append((len(self._lines.parts), record))

    def _hear(self, moment: float, client: str, same: Repeated, copy: Sent) -> None:
        self._keep(same.record(moment, client, copy, self._lines.new_id()))

    def said(self, same: Repeated, copy: Sent) -> str:
        """Return what is the same in the lines of all hits of *copy* by this request."""
        return self._lines.said(same, copy) if self._writer is not None else ""

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

        None: no more. `append`, `hits` and `hit` may be others after this.
        """
        self._listening = listener
        self._take_in()
        if self._writer is not None or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if listener is None:
            self._records.clear()
        else:
            self._timer = self._loop.call_later(_MOST_SECONDS, self._tick, _MOST_SECONDS)

    def flush(self) -> None:
        """Format what has gathered and hand it to the writer."""
        records, self._records = self._records, []
        count = len(self._lines) + len(records)
        if not count:
            return
        hits = self._lines.take()
        if self._listening is not None and records:
            self._listening([record for _, record in records])
        if self._writer is None:
            return
        if self._writer.full:
            self._writer.lose(count)
            return
        text = "".join(self._merged(hits, records) if records else hits)
        if access.handlers:
            self._hand_on(text)
        self._writer.write(text.encode("ascii", "backslashreplace"), count)

    def _merged(self, hits: list[str], records: list[tuple[int, Record]]) -> list[str]:
        """Return the lines of both in the order in which they came."""
        parts: list[str] = []
        done = 0
        for before, record in records:
            place = before // ADDED * PARTS
            if place > done:
                parts += hits[done:place]
                done = place
            try:
                parts.append(self._line(record))
            except Exception as error:  # a malformed record must not cost its neighbours
                parts.append(f"- access.malformed error={error!r}\n")
        parts += hits[done:]
        return parts

    def _hand_on(self, text: str) -> None:
        """Give each line to the logging handlers that somebody has added."""
        for line in text.splitlines():
            record = access.makeRecord(access.name, 20, "", 0, line, (), None)
            for handler in access.handlers:
                handler.handle(record)

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


def _forget(*_: object) -> None:
    pass
