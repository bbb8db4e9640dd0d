# SPDX-License-Identifier: Apache-2.0
"""The overrides in force in one worker: told by the control process, ended by the clock.

They are told as state, once a second and at each change: a worker that missed one catches up, and
one that hears nothing any more still ends each override in time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from strangler.observe.events import announce
from strangler.rollout import Overrides

_errors = logging.getLogger("strangler.errors")

#: Seconds at most until the clock is asked again whether one has ended: a clock may be set.
_LOOK_AGAIN: Final = 10.0
#: Seconds until an end that could not be carried out is tried again.
_AGAIN: Final = 1.0


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
        """Take `{"mark", "set"}`, or `{"mark", "file"}` where the set is long; None is no news.

        A set that can't be read or put in force is tried again whenever it is told, and never
        acknowledged: what was in force goes on. That is said once.
        """
        if told is None or told["mark"] == self.mark:
            return
        try:
            given = told.get("set")
            if given is None:
                given = json.loads(Path(told["file"]).read_bytes())
            self.take(Overrides.parse(given), told["mark"])
        except Exception as problem:
            if self._unusable != told["mark"]:
                self._unusable = told["mark"]
                error = str(problem) or type(problem).__name__
                announce("overrides.unusable", level=40, mark=told["mark"], error=error)
                if not isinstance(problem, OSError | ValueError):
                    _errors.exception("overrides.failed")

    def take(self, overrides: Overrides, mark: str) -> None:
        """Let *overrides* be in force; where that fails, those before them still are."""
        before, self._told = self._told, overrides
        try:
            self._look()
        except Exception:
            self._told = before
            raise
        self.mark = mark

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        still = self._still()
        if still.differences(self.overrides):
            self._changed(still)
        self.overrides = still

    def _still(self) -> Overrides:
        """Return those whose time isn't over, and mind the next end."""
        self.close()
        now = time.time()
        still = self._told.still(now)
        if still.next_end is not None:
            wait = min(still.next_end - now, _LOOK_AGAIN)
            self._timer = self._loop.call_later(wait, self._due)
        return still

    def _due(self) -> None:
        """Look at the clock; what fails, a bug, is tried until it doesn't."""
        try:
            self._look()
        except Exception:
            _errors.exception("overrides.failed")
            self.close()
            self._timer = self._loop.call_later(_AGAIN, self._due)
