# SPDX-License-Identifier: Apache-2.0
"""Gather what the console's document is made of, and keep what nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

from strangler.config.snapshot import Snapshot
from strangler.control.audit import Audit
from strangler.control.console.burndown import Burndown
from strangler.control.console.changes import MOST, recent
from strangler.control.console.document import Asked, document
from strangler.control.console.known import FIVE, NOW, Known, Window
from strangler.control.console.proxies import SETTLING, proxies
from strangler.control.overrides import Book
from strangler.control.state import State
from strangler.control.stores import Unrecorded
from strangler.observe.history import History
from strangler.observe.numbers import Totals

_FRESH: Final = 0.5
"""Seconds for which what is known is known to all who ask."""
_LOOK: Final = 5.0
"""Seconds between two looks whether there is something to be noted."""
_SETTLED: Final = 15.0
"""Seconds after a start until the first point of the burn-down: traffic must have been seen."""


class Source(Protocol):
    """What the control process knows."""

    totals: Totals
    history: History
    overrides: Book
    audit: Audit

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""

    @property
    def instance(self) -> str:
        """Return this site's name among those that share the overrides' store."""

    @property
    def slots(self) -> int:
        """Return how many workers there should be."""

    @property
    def sick(self) -> Mapping[str, Mapping[str, bool]]:
        """Return the endpoints that fail their probe, by upstream."""

    def config(self) -> dict[str, Any]:
        """Return what is known of the configuration."""

    def workers(self) -> list[dict[str, Any]]:
        """Return what each worker told last."""

    def ready(self) -> tuple[bool, str]:
        """Tell whether every worker serves what is in force, and in words why."""


class Board:
    """The months of the burn-down, and one document of everything."""

    def __init__(self, source: Source, state: State) -> None:
        self._source = source
        self._burndown = Burndown(state)
        self._known: tuple[float, str, Known] | None = None
        self._made_of: Known | None = None
        self._made: dict[Asked, asyncio.Future[dict[str, Any]]] = {}
        self._served = ("", "")
        self._changed = 0.0
        self._generation = -1

    async def follow(self) -> None:
        """Note what is to be drawn later, for ever."""
        await asyncio.sleep(_SETTLED)
        while True:
            await asyncio.sleep(_LOOK)
            try:
                self.note(time.time())
            except Exception:  # a drawing must not end what draws it
                logging.getLogger("strangler.errors").exception("console.failed")

    def note(self, now: float) -> None:
        """Note a new generation and, if one is due, a point; *now* in Unix seconds."""
        totals = self._source.totals
        snapshot = self._source.snapshot
        changed = snapshot.generation != self._generation
        if changed or now >= self._burndown.due:
            self._generation = snapshot.generation
            requests = legacy = 0
            for arms in totals.numbers().values():
                for target, numbers in arms.items():
                    requests += numbers.requests if target != "edge" else 0
                    legacy += numbers.requests if target == "legacy" else 0
            stages = self._source.overrides.overrides.stage
            self._burndown.note(snapshot.routes, stages, requests, legacy, now)

    async def document(self, asked: Asked) -> dict[str, Any]:
        """Return the document; whoever asks for the same within half a second gets the same.

        It is made beside the loop: on a site of thousands of routes it takes a while, in which
        workers go on to be heard and overrides to be told.
        """
        known = await self._gather()
        if known is not self._made_of:
            self._made_of, self._made = known, {}
        making = self._made.get(asked)
        if making is None:
            loop = asyncio.get_running_loop()
            making = loop.run_in_executor(None, document, known, asked)
            self._made[asked] = making
        return dict(await asyncio.shield(making))

    def affected(self, keys: Collection[str]) -> dict[str, float]:
        """Return how busy the routes with these *keys* are: a second, and as a share of all."""
        window = Window(self._source.totals.recent(NOW), self._source.totals.span(NOW))
        rate = sum(window.route(key).all.rate for key in keys)
        all_ = window.site().rate
        return {"rate": rate, "share": rate / all_ if all_ else 0.0}

    async def _proxies(self, moment: float) -> list[dict[str, Any]]:
        """Return every proxy of the fleet; without the store, this one alone."""
        source = self._source
        served = (source.snapshot.hash, source.overrides.mark)
        if served != self._served:
            self._served, self._changed = served, moment
        listed: list[dict[str, Any]] = []
        with contextlib.suppress(Unrecorded):
            listed = await source.overrides.instances()
        return proxies(
            listed,
            me=source.instance,
            hash_=served[0],
            mark=served[1],
            settled=moment - self._changed > SETTLING,
            ready=source.ready(),
        )

    async def _gather(self) -> Known:
        moment, source = time.monotonic(), self._source
        # Whoever has just changed something sees it at once.
        mark = f"{source.overrides.mark} {source.snapshot.generation}"
        if self._known is not None:
            at, known_mark, known = self._known
            if moment - at < _FRESH and mark == known_mark:
                return known
        totals, now, snapshot = source.totals, time.time(), source.snapshot
        entries, _ = await source.audit.read(limit=MOST, before=None, wanted=_every)
        config, listed = source.config(), source.overrides.json()
        known = Known(
            now=now,
            snapshot=snapshot,
            config=config,
            overrides=source.overrides.overrides,
            recent=Window(totals.recent(NOW), totals.span(NOW)),
            five=Window(totals.recent(FIVE), totals.span(FIVE)),
            ever=totals.numbers,
            history=source.history,
            workers=source.workers(),
            slots=source.slots,
            sick=source.sick,
            overrides_told=listed["overrides"],
            changes=recent(entries, config["rejected"], now),
            instances=await self._proxies(moment),
            store=listed["store"],
            points=self._burndown.json(),
        )
        self._known = (moment, mark, known)
        return known


def _every(entry: Mapping[str, Any]) -> bool:
    return True
