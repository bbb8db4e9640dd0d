# SPDX-License-Identifier: Apache-2.0
"""Tell the edge cache that pages have changed: copy this file into any Django project.

    from edge_purge import purge

    purge(tags=["noticia:chuva-no-vale"], paths=["/", "/secao/cidade/"])

Called inside a transaction it waits for the commit; a rollback purges nothing. What is asked is
handed to a thread, joined with what else waits, and sent in one request for all tags and one for
all URLs. The edge being away delays nobody: a purge is tried again for about half a minute, then
dropped and logged, and the pages' own lifetimes have to do.

Settings, all of which may be absent; without EDGE_PURGE_URL nothing happens at all:

    EDGE_PURGE_URL    where the edge's admin listener takes purges: http://127.0.0.1:8010/-/purge
    EDGE_PURGE_TOKEN  its token
    EDGE_PURGE_SITES  what paths are put behind, as readers write it: ["https://www.example.com"]
    EDGE_PURGE_AGAIN  seconds after which each purge is made once more: [2.0]. A page that another
                      service renders from its own copy of the data is not new before that service
                      has heard of the change; what the edge fetched in between goes by this.
"""

import atexit
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable

from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

TIMEOUT = 2.0  # seconds for one request
TRIES = 6  # of one purge; pauses of 0.5, 1, 2, … seconds lie between them
LONGEST = 10.0  # seconds of pause at the most
BATCH = 500  # tags or URLs in one request
WAITING = 20_000  # tags and URLs held while the edge is away; more are dropped

_wanted: dict[tuple[str, str, float], float] = {}  # kind, value, delay: when it is due
_changed = threading.Condition()
_sender: threading.Thread | None = None
_busy = False


def purge(tags: Iterable[str] = (), paths: Iterable[str] = ()) -> None:
    """Purge pages by tag and by path, once the running transaction is committed; never raises."""
    if not getattr(settings, "EDGE_PURGE_URL", ""):
        return
    wanted = [("tag", tag) for tag in tags]
    sites = [site.rstrip("/") for site in getattr(settings, "EDGE_PURGE_SITES", ())]
    paths = list(paths)
    wanted += [("url", site + path) for site in sites for path in paths]
    if wanted:
        again = getattr(settings, "EDGE_PURGE_AGAIN", (2.0,))
        transaction.on_commit(lambda: _hand_over(wanted, again), robust=True)


def flush(timeout: float) -> bool:
    """Wait until what is due was tried, at most `timeout` seconds; return whether it was."""
    deadline = time.monotonic() + timeout
    with _changed:
        while _busy or any(at <= time.monotonic() for at in _wanted.values()):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            _changed.wait(min(left, 0.05))
    return True


def _hand_over(wanted: list[tuple[str, str]], again: Iterable[float]) -> None:
    now = time.monotonic()
    with _changed:
        for delay in (0.0, *again):
            for kind, value in wanted:
                if len(_wanted) >= WAITING:
                    log.warning("edge purge: too many wait, %s %s dropped", kind, value)
                else:
                    # Anew: a change that follows at once puts its second purge off once more.
                    _wanted[kind, value, delay] = now + delay
        _start()
        _changed.notify_all()


def _start() -> None:
    """Start the sender on first use: a thread would not survive a server's fork."""
    global _sender
    if _sender is None or not _sender.is_alive():
        _sender = threading.Thread(target=_send_all, name="edge-purge", daemon=True)
        _sender.start()
        atexit.unregister(flush)
        atexit.register(flush, TIMEOUT)


def _send_all() -> None:
    global _busy
    while True:
        with _changed:
            while not (due := [one for one, at in _wanted.items() if at <= time.monotonic()]):
                _busy = False
                _changed.notify_all()
                soonest = min(_wanted.values(), default=None)
                _changed.wait(None if soonest is None else max(0.0, soonest - time.monotonic()))
            for one in due:
                del _wanted[one]
            _busy = True
        for kind in ("tag", "url"):
            values = list(dict.fromkeys(value for each, value, _ in due if each == kind))
            for start in range(0, len(values), BATCH):
                _purge(kind, values[start : start + BATCH])


def _purge(kind: str, values: list[str]) -> None:
    """Send one purge, again and again where that may help."""
    pause = 0.5
    for tried in range(1, TRIES + 1):
        problem, hopeless = _post({kind: values})
        if not problem:
            log.info("edge purge: %s %s", kind, ", ".join(values[:5]))
            return
        if hopeless or tried == TRIES:
            break
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(LONGEST, pause * 2)
    log.error(
        "edge purge: %d %ss not purged (%s), the first: %s", len(values), kind, problem, values[0]
    )


def _post(document: dict[str, list[str]]) -> tuple[str, bool]:
    """POST one purge; return what went wrong, and whether it would again."""
    request = urllib.request.Request(
        settings.EDGE_PURGE_URL,
        data=json.dumps(document).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"Bearer {getattr(settings, 'EDGE_PURGE_TOKEN', '')}",
        },
        method="POST",
    )
    try:
        # No proxy of the environment has a part in this.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT) as response:
            response.read()
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode("utf-8", "replace")
        return f"status {error.code}: {said}", error.code < 500 and error.code != 429
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__, False
    return "", False
