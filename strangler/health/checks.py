# SPDX-License-Identifier: Apache-2.0
"""Run checks: all at once, each under its own time limit, and none more often than it is needed."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, TypeVar

from strangler.health.result import Result, document

Ask = Callable[[], Awaitable[str | None] | str | None]
"""A check: returns what is worth saying, or raises. `Failed` is in its own words."""

_Check = TypeVar("_Check", bound=Ask)

#: The longest output, in characters: an error's text may hold a whole page.
_LONGEST: Final = 300


class Failed(Exception):
    """A check's word that what it looked at is not well."""


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    ask: Ask
    timeout: float
    fresh: float


class Health:
    """The checks of one service.

    Args:
        timeout: seconds that a check has, unless it says otherwise.
        fresh: seconds for which its answer is given again to whoever asks.
    """

    def __init__(self, *, timeout: float = 2.0, fresh: float = 1.0) -> None:
        self._timeout = timeout
        self._fresh = fresh
        self._parts: dict[str, _Part] = {}
        self._last: dict[str, tuple[float, Result]] = {}
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._threads: dict[str, tuple[float, asyncio.Future[Any]]] = {}
        self._since: dict[str, tuple[bool, float]] = {}
        self._aside: _Aside | None = None
        self._starting = threading.Lock()

    def check(
        self, name: str, *, timeout: float | None = None, fresh: float | None = None
    ) -> Callable[[_Check], _Check]:
        """Decorate a function as the check called *name*."""

        def keep(ask: _Check) -> _Check:
            self.add(name, ask, timeout=timeout, fresh=fresh)
            return ask

        return keep

    def add(
        self, name: str, ask: Ask, *, timeout: float | None = None, fresh: float | None = None
    ) -> None:
        """Have *ask* run as the check called *name*; one of that name is replaced."""
        self.remove(name)
        self._parts[name] = _Part(
            name,
            ask,
            self._timeout if timeout is None else timeout,
            self._fresh if fresh is None else fresh,
        )

    def remove(self, name: str) -> None:
        """Forget the check called *name*, if there is one; since when it failed is kept."""
        self._parts.pop(name, None)
        self._last.pop(name, None)
        self._running.pop(name, None)

    async def results(self) -> list[Result]:
        """Return what all checks say, in the order in which they were added; never raises."""
        return list(await asyncio.gather(*(self._one(part) for part in self._parts.values())))

    async def document(self) -> dict[str, Any]:
        """Return the document of all checks."""
        return document(await self.results())

    def document_now(self) -> dict[str, Any]:
        """Return the document, waiting for it: for frameworks that have no event loop.

        The checks run on a loop of this object's own, in a thread that ends with the process;
        any number of threads may ask. A fork may come before or after.
        """
        with self._starting:
            if self._aside is None or self._aside.pid != os.getpid():
                self._running.clear()
                self._threads.clear()
                self._aside = _Aside()
            aside = self._aside
        return asyncio.run_coroutine_threadsafe(self.document(), aside.loop).result()

    async def _one(self, part: _Part) -> Result:
        last = self._last.get(part.name)
        if last is not None and time.monotonic() - last[0] < part.fresh:
            return last[1]
        loop = asyncio.get_running_loop()
        task = self._running.get(part.name)
        if task is None or task.done() or task.get_loop() is not loop:
            task = self._running[part.name] = loop.create_task(self._run(part))
        return await asyncio.shield(task)  # one asker who leaves doesn't end the others' answer

    async def _run(self, part: _Part) -> Result:
        start = time.monotonic()
        passed = False
        try:
            async with asyncio.timeout(part.timeout):
                said = await self._said(part)
            passed, output = True, "ok" if said is None else str(said)
        except TimeoutError:
            output = f"no answer in {part.timeout:g} s"
        except Failed as error:
            output = str(error)
        except Exception as error:  # whatever a check raises is its failure
            output = f"{type(error).__name__}: {error}"
        now, end = time.time(), time.monotonic()
        before = self._since.get(part.name)
        if before is None or before[0] != passed:
            before = self._since[part.name] = (passed, now)
        output = " ".join(output.split())[:_LONGEST]
        result = Result(part.name, output, passed, now, end - start, before[1])
        if self._parts.get(part.name) is part:
            self._last[part.name] = (end, result)
        return result

    async def _said(self, part: _Part) -> object:
        said = part.ask() if iscoroutinefunction(part.ask) else await self._in_thread(part)
        return await said if isawaitable(said) else said

    async def _in_thread(self, part: _Part) -> Any:
        """Run a plain function in a thread; one that still hangs isn't joined by another."""
        loop = asyncio.get_running_loop()
        began, running = self._threads.get(part.name, (0.0, None))
        if running is not None and not running.done() and running.get_loop() is loop:
            raise Failed(f"no answer for {time.monotonic() - began:.0f} s")
        answer: asyncio.Future[Any] = loop.create_future()
        self._threads[part.name] = (time.monotonic(), answer)

        def work() -> None:
            try:
                said, error = part.ask(), None
            except BaseException as problem:
                said, error = None, problem
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, answer, said, error)

        threading.Thread(target=work, name=f"health {part.name}", daemon=True).start()
        return await asyncio.shield(answer)


class _Aside:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="health", daemon=True).start()


def _settle(answer: asyncio.Future[Any], said: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(said)
    else:
        answer.set_exception(error)
        answer.exception()  # it may be that nobody waits any more
