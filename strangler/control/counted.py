# SPDX-License-Identifier: Apache-2.0
"""What all workers have counted, added up: totals, the half hour, what Prometheus reads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence

from strangler.control import telling
from strangler.observe import metrics
from strangler.observe.counters import FAMILIES
from strangler.observe.history import SECONDS, History
from strangler.observe.lanes import Reader
from strangler.observe.numbers import STEP, Totals


class Counted:
    """The counts in *lanes*, descriptors of the workers' memory."""

    def __init__(self, lanes: Sequence[int]) -> None:
        self.totals = Totals(Reader(lanes))
        self.history = History()

    async def run(self) -> None:
        """Close a step of the counts every second, for ever."""
        steps = 0
        while True:
            await asyncio.sleep(STEP)
            self.totals.tick()
            steps += 1
            if steps % SECONDS == 0:
                self.history.step(self.totals.recent(SECONDS), time.time())

    async def metrics(self, form: str, told: metrics.Told, pids: Mapping[str, int]) -> str:
        """Return all metrics as text, in one of the forms of `observe.metrics`.

        told: what no worker counts · pids: the workers', by name.
        """
        rows = {family: self.totals.rows(family) for family in FAMILIES}

        def written() -> str:
            processes = telling.of_processes({"control": os.getpid(), **pids})
            return metrics.render(rows, {**told, **processes}, form=form)

        # Of thousands of routes it is a long text: the loop has workers to answer meanwhile.
        return await asyncio.get_running_loop().run_in_executor(None, written)
