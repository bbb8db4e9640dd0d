# SPDX-License-Identifier: Apache-2.0
"""Tell other systems of a publication by HTTP, off the request's thread.

A hook is a courtesy: it is tried once, and dropped when the receiver is down or slow. The log
(`/api/publicacoes/`) is what a receiver makes up its losses from.
"""

import atexit
import json
import logging
import queue
import threading
import time
import urllib.request
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings

from . import publication

if TYPE_CHECKING:
    from .models import Publication

log = logging.getLogger(__name__)

TIMEOUT = 2.0  # seconds for one POST
WAITING = 1000  # events held while receivers are slow; more are dropped

_events: queue.Queue[bytes] = queue.Queue(WAITING)
_starting = threading.Lock()
_sender: threading.Thread | None = None


def post(rows: Iterable["Publication"]) -> None:
    """Hand the rows' events to the sender thread; return at once."""
    if not settings.PUBLISH_HOOKS:
        return
    _start()
    for event in publication.events(rows):
        try:
            _events.put_nowait(json.dumps(event, ensure_ascii=False).encode())
        except queue.Full:
            log.warning("hook queue full: event %d dropped", event["seq"])


def _start() -> None:
    """Start the sender on first use: a thread would not survive gunicorn's fork."""
    global _sender
    with _starting:
        if _sender is None or not _sender.is_alive():
            _sender = threading.Thread(target=_send_all, name="publish-hooks", daemon=True)
            _sender.start()
            atexit.register(flush, TIMEOUT)


def _send_all() -> None:
    while True:
        body = _events.get()
        for url in settings.PUBLISH_HOOKS:
            _send(url, body)
        _events.task_done()


def _send(url: str, body: bytes) -> None:
    """POST one event to one hook; log what goes wrong and go on."""
    fields = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {settings.PUBLISH_TOKEN}",
    }
    request = urllib.request.Request(url, data=body, headers=fields, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            response.read()
    except (OSError, ValueError) as error:
        log.warning("hook %s: %s", url, error)


def flush(timeout: float) -> bool:
    """Wait until every event was tried, at most `timeout` seconds; return whether it was."""
    deadline = time.monotonic() + timeout
    with _events.all_tasks_done:
        while _events.unfinished_tasks and (left := deadline - time.monotonic()) > 0:
            _events.all_tasks_done.wait(left)
        return not _events.unfinished_tasks
