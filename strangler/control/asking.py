# SPDX-License-Identifier: Apache-2.0
"""Ask workers to do something, and wait for what they say.

State is announced and repeated (`process`); what is asked here is done once, by whoever lives in
the slot when the message is read. An order is a small JSON object with a `do`; the answer is
another. Both fit into one message of a channel.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

from strangler.edge.channel import Channel, Message

Order = dict[str, Any]
_AGAIN: Final = 0.01
"""Seconds until a channel whose queue was full is tried again."""


class Unanswered(Exception):
    """A worker did not do what it was asked; the text says why."""


class Asking:
    """Orders under way on *channels*, one of which belongs to each worker slot."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = channels
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        # A dead control process's answers may still be in the queue: they must not fit.
        self._last = secrets.randbits(48)

    @property
    def slots(self) -> int:
        """Return how many workers there are."""
        return len(self._channels)

    def heard(self, message: Message) -> None:
        """Take an answer that has come."""
        waiting = self._waiting.get(message.get("id", -1))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def ask(self, slot: int, order: Order, timeout: float) -> dict[str, Any]:
        """Return what the worker in *slot* answers; raise Unanswered after *timeout* seconds."""
        self._last += 1
        number = self._last
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                while not self._channels[slot].send({"kind": "ask", "id": number, "order": order}):
                    await asyncio.sleep(_AGAIN)
                message = await waiting
        except TimeoutError:
            raise Unanswered(f"no answer within {timeout:g} s") from None
        except ValueError as error:
            raise Unanswered(str(error)) from None
        finally:
            del self._waiting[number]
        if "error" in message:
            raise Unanswered(str(message["error"]))
        answer = message.get("answer")
        return answer if isinstance(answer, dict) else {}

    def tell(self, slot: int, order: Order) -> bool:
        """Give an order whose answer nobody waits for; False: the queue was full."""
        self._last += 1
        return self._channels[slot].send({"kind": "ask", "id": self._last, "order": order})

    async def ask_all(
        self, order: Order, timeout: float, slots: Iterable[int] | None = None
    ) -> dict[int, dict[str, Any] | Unanswered]:
        """Return what each worker answers, or why one did not."""

        async def one(slot: int) -> dict[str, Any] | Unanswered:
            try:
                return await self.ask(slot, order, timeout)
            except Unanswered as why:
                return why

        asked = list(range(len(self._channels)) if slots is None else slots)
        return dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))
