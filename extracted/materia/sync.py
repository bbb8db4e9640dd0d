# SPDX-License-Identifier: Apache-2.0
"""How the store follows the monolith's publication log.

Events are pushed, and may be lost, doubled or swapped. Each is applied by itself; what was lost
is read again from the log, at once when a gap in seq shows it and on a timer when nothing does.
Only such a re-sync moves the store's mark, so a crash at any point costs a re-read, never an event.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from .event import BadEvent, Check, Event
from .store import Store, StoreFailed

log = logging.getLogger("materia.sync")

PAGE = 200  # events a request; reading them keeps readers waiting some 30 ms
PAUSE = 1.0  # seconds at least between two re-syncs
CONNECT_TIMEOUT, TIMEOUT = 2.0, 30.0  # seconds; a page of the log may be megabytes


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel *task* and wait for its end, as often as it takes.

    A driver may swallow a cancellation: asyncio.wait_for of Python 3.11 does, where what it waits
    for ends in the same moment.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1.0)


class SyncFailed(Exception):
    """The log could not be read; the message says why."""


class Sync:
    """Follows one log into one store.

    `check` renders an article and raises where it can't; an event whose article fails is logged,
    kept in `rejected` and passed over, so that one bad document doesn't hold up all others.
    """

    def __init__(
        self,
        store: Store,
        log_url: str,
        token: str,
        check: Check,
        *,
        every: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rejected: set[int] = set()  # places of the log whose events were no good
        self.error = ""  # why the latest re-sync failed; empty after one that didn't
        self.succeeded: float | None = None  # by `clock`, the end of the latest good re-sync
        self.started = clock()
        self._store = store
        self._url = log_url
        self._token = token
        self._check = check
        self.every = every
        self._clock = clock
        self._wanted = asyncio.Event()
        self._client = AsyncHTTPClient(force_instance=True)

    async def push(self, event: Event) -> bool:
        """Apply a pushed event; return whether it was news. Ask for a re-sync on a gap."""
        head = await self._store.head()
        kept = await self._store.apply([event])
        if event.seq > head + 1:
            log.info("gap: event %d after %d, reading the log again", event.seq, head)
            self._wanted.set()
        return kept > 0

    async def run(self) -> None:
        """Re-sync now, on each gap and every `every` seconds, until cancelled."""
        failures = 0
        while True:
            try:
                await self.resync()
                failures = 0
            except (SyncFailed, StoreFailed) as error:
                failures += 1
                if self.error != str(error):  # one line a cause, not one a try
                    log.warning("re-sync failed: %s", error)
                self.error = str(error)
            except Exception as error:
                failures += 1
                log.exception("re-sync failed")
                self.error = repr(error)
            await asyncio.sleep(PAUSE)
            wait = self.every * random.uniform(0.9, 1.1)
            if failures:  # full jitter: instances must not knock in step on a monolith coming up
                wait = random.uniform(0, min(self.every, 2.0**failures))
            try:
                async with asyncio.timeout(wait):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()

    async def resync(self) -> int:
        """Read the log from the store's mark to its end; return how many events were news.

        The log is numbered in order of commit and without gaps, so whoever has read up to N has
        missed nothing below it. Reading begins one place early, with an event that is known: a
        log that doesn't have it any more was made anew, and its numbers mean something else.

        Raise SyncFailed if the log can't be read, StoreFailed if the store can't follow.
        """
        mark = await self._store.mark()
        reached = max(mark - 1, 0)
        news = 0
        while True:
            page = await self._fetch(reached)
            if reached < mark and page.first != reached + 1:
                raise SyncFailed(
                    f"the log has no event {reached + 1}, which was read earlier: it was made "
                    "anew; fill the store again with `fill --anew`"
                )
            if page.more and page.last <= reached:
                raise SyncFailed(f"the log says there is more after {reached}, and doesn't give it")
            news += await self._store.apply(page.events)
            reached = page.last
            await self._store.advance(reached)
            if not page.more:
                break
        if news:
            log.info("re-sync to %d: %d events were news", reached, news)
        self.succeeded = self._clock()
        self.error = ""
        return news

    def close(self) -> None:
        """Let go of the connections to the log."""
        self._client.close()

    async def _fetch(self, after: int) -> "_Page":
        url = f"{self._url}?{urlencode({'after': after, 'limit': PAGE})}"
        request = HTTPRequest(
            url,
            headers={"Authorization": f"Bearer {self._token}", "Accept": "application/json"},
            connect_timeout=CONNECT_TIMEOUT,
            request_timeout=TIMEOUT,
            follow_redirects=False,
        )
        try:
            response = await self._client.fetch(request)
            return self._parse(json.loads(response.body), after)
        except (KeyError, TypeError, ValueError) as error:
            raise SyncFailed(f"{self._url}: not a page of the log: {error!r}") from error
        except Exception as error:  # Tornado's client raises whatever its sockets do
            raise SyncFailed(f"{self._url}: {error}") from error

    def _parse(self, data: dict[str, Any], after: int) -> "_Page":
        events = []
        first, last = None, after
        for item in data["events"]:
            last = int(item["seq"])
            first = last if first is None else first
            try:
                events.append(Event.of(item, self._check))
            except BadEvent as error:
                if last not in self.rejected:
                    log.error("event %d (%s) left out: %s", last, item.get("slug"), error)
                self.rejected.add(last)
        return _Page(tuple(events), first, last, bool(data["more"]))


@dataclass(frozen=True, slots=True)
class _Page:
    """One answer of the log: its good events, the places of its first and last, is there more."""

    events: tuple[Event, ...]
    first: int | None
    last: int
    more: bool
