# SPDX-License-Identifier: Apache-2.0
"""A time limit for an answer from outside, which a busy loop doesn't take for the other's silence.

A timer fires as soon as the loop comes round to it, ahead of what has arrived meanwhile. In a
worker that is busy a round takes as long as a store's whole deadline, so `asyncio.timeout` would
give up on answers that lie in the socket already, and count them against the store. Here what has
arrived is read first: the limit is enforced two rounds after its time, which in an idle loop is at
once.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

#: Callbacks, one a round, from a timer to a cancellation: the socket is read twice between them,
#: and what was read has woken the task.
_ROUNDS: Final = 3


class Within:
    """`async with Within(seconds)`: raises TimeoutError where the block takes longer."""

    __slots__ = ("_cancelling", "_expired", "_handle", "_loop", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle = self._loop.call_later(self._seconds, self._late, _ROUNDS)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        if not self._expired:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _late(self, rounds: int) -> None:
        if rounds:
            self._handle = self._loop.call_soon(self._late, rounds - 1)
        else:
            self._expired = True
            self._task.cancel()
