# SPDX-License-Identifier: Apache-2.0
"""Tell what happened to the edge itself: ``noun.verb key=value`` lines on standard error.

Three loggers: ``strangler.events`` (what the edge did), ``strangler.errors`` (what it could not do,
with tracebacks), and ``strangler.access``, which gets the access log's lines where a handler of
yours is attached to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
from typing import Literal

from strangler.observe.lines import stamp
from strangler.observe.writer import Writer

events = logging.getLogger("strangler.events")
errors = logging.getLogger("strangler.errors")

_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:+%@,*{}[]()")


def announce(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log one event: its name as ``noun.verb`` and what is worth knowing as fields.

    Values are written so that a line stays one line whatever they hold.
    """
    logger = errors if level >= logging.ERROR else events
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


def as_value(value: object) -> str:
    """Write a field's value: bare if it is one plain word, else quoted as JSON."""
    if isinstance(value, float):
        return f"{value:.3f}"
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if text and _SAFE.issuperset(text):
        return text
    return json.dumps(text, ensure_ascii=False)


class _Line(logging.Formatter):
    """Write events in the form asked for; records of other libraries are named by their logger."""

    def __init__(self, process: str, form: Literal["text", "json"]) -> None:
        super().__init__()
        self.process, self.form = process, form

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", None) or {})
        event = record.getMessage()
        if not hasattr(record, "fields") and not record.name.startswith("strangler."):
            fields = {"message": event}
            event = f"{record.name}.{record.levelname.lower()}"
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        moment = stamp(record.created)
        if self.form == "json":
            named = {"time": moment, "level": record.levelname.lower(), "process": self.process}
            named |= {"event": event}
            if trace:
                fields["traceback"] = trace
            return json.dumps(named | fields, default=str)
        said = "".join(f" {name}={as_value(value)}" for name, value in fields.items())
        loud = f"{record.levelname} " if record.levelno >= logging.WARNING else ""
        return f"{moment} {self.process}: {loud}{event}{said}" + (f"\n{trace}" if trace else "")


class _Direct(logging.Handler):
    """Write at once. For the supervisor, which has no threads because it forks.

    A line that a full pipe would hold up is lost: whoever does not read our log must not keep us
    from replacing a worker.
    """

    def emit(self, record: logging.LogRecord) -> None:
        line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError, ValueError):
            if select.select([], [2], [], 0)[1]:
                # A pipe that is writable has room for PIPE_BUF bytes.
                os.write(2, line if len(line) <= select.PIPE_BUF else line[: select.PIPE_BUF])


class _Queued(logging.Handler):
    """Write from a thread, so that a full pipe on standard error holds up no reader."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.write((self.format(record) + "\n").encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._writer.close(1.0)
        super().close()


def set_up(process: str, form: Literal["text", "json"] = "text", *, threads: bool = True) -> None:
    """Send this process's events and errors to standard error, marked with ``process``.

    Call again after a fork. With ``threads`` false, every line is written where it is logged.
    """
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _Direct | _Queued):
            root.removeHandler(old)
    handler: logging.Handler
    if threads:
        writer = Writer("!", most_bytes=1 << 20)
        writer.start()
        handler = _Queued(writer)
    else:
        handler = _Direct()
    handler.setFormatter(_Line(process, form))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    events.setLevel(logging.INFO)


def put_down() -> None:
    """Write what waits and stop the thread: the last thing before a process ends."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Direct | _Queued):
            root.removeHandler(handler)
            handler.close()
