# SPDX-License-Identifier: Apache-2.0
"""The overrides in force in one worker: told by the control process, ended by the clock.

They are told as state, once a second and at each change: a worker that missed one catches up, and
one that hears nothing any more still ends each override in time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from strangler.observe.events import announce
from strangler.rollout import Overrides

#: Seconds at most until the clock is asked again whether one has ended: a clock may be set.
_LOOK_AGAIN: Final = 10.0


class InForce:
    """Calls *changed* back, on *loop*, whenever other overrides are in force than before.

    mark: what a set is called by; it is acknowledged by it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        changed: Callable[[Overrides], None],
        first: Overrides,
        mark: str = "",
    ) -> None:
        self.mark = mark
        self._loop = loop
        self._changed = changed
        self._told = first
        self._unusable = ""
        self._timer: asyncio.TimerHandle | None = None
        self.overrides = self._still()

    def learn(self, told: Mapping[str, Any] | None) -> None:
        """Take `{"mark", "set"}`, or `{"mark", "file"}` where the set is long; None is no news."""
        if told is None or told["mark"] in (self.mark, self._unusable):
            return
        try:
            given = told.get("set")
            if given is None:
                given = json.loads(Path(told["file"]).read_bytes())
            overrides = Overrides.parse(given)
        except (OSError, ValueError) as problem:  # what is in force goes on; said once
            self._unusable = told["mark"]
            announce("overrides.unusable", level=40, mark=told["mark"], error=str(problem))
            return
        self.take(overrides, told["mark"])

    def take(self, overrides: Overrides, mark: str) -> None:
        """Let *overrides* be in force."""
        self._told, self.mark = overrides, mark
        self._look()

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        before, self.overrides = self.overrides, self._still()
        if self.overrides.differences(before):
            self._changed(self.overrides)

    def _still(self) -> Overrides:
        """Return those whose time isn't over, and mind the next end."""
        self.close()
        now = time.time()
        still = self._told.still(now)
        if still.next_end is not None:
            wait = min(still.next_end - now, _LOOK_AGAIN)
            self._timer = self._loop.call_later(wait, self._look)
        return still
