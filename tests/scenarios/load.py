# SPDX-License-Identifier: Apache-2.0
"""A steady load of real requests, each of whose answers is checked."""

from __future__ import annotations

import contextlib
import itertools
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from strangler.testing import Closed, Edge, RawClient, Truncated, Upstream, Violation, respond
from strangler.testing.origin import Connection, Step

HOLD = 0.01


def admin(edge: Edge) -> RawClient:
    """Return a connection to the admin listener, which answers to its own names only."""
    return RawClient(edge.admin, server_name="127.0.0.1")


def named(name: str) -> Step:
    """Answer with the origin's *name* and what was asked, so that no answer can be mistaken."""

    def step(connection: Connection) -> None:
        assert connection.request is not None
        respond(200, f"{name} {connection.request.target.decode()}")(connection)

    return step


def origin(name: str) -> Upstream:
    """Return an origin that answers `named`."""
    made = Upstream()
    made.answers(named(name))
    return made


@dataclass(frozen=True)
class Failure:
    """One request that was not answered as it should have been; times are monotonic."""

    began: float
    ended: float
    fresh: bool
    what: str


def _has_ended(client: RawClient) -> bool:
    """Tell whether an idle connection was closed: who keeps one looks first (RFC 9112 §9.5)."""
    return bool(select.select([client.sock], [], [], 0)[0])


class Load:
    """Readers that ask again and again until the block ends.

    Half of them keep their connection, half open one for each request: a new connection must
    always be served; a kept one may be closed between two requests, as HTTP allows, and is then
    opened anew (counted in `reopened`).

    Args:
        edge: whom to ask.
        target: the path; a query that makes each request unique is put behind it.
        names: who may answer.
        readers: how many threads, each with a request every 20 ms or so.
    """

    def __init__(self, edge: Edge, *names: str, target: str = "/page", readers: int = 6) -> None:
        self.edge = edge
        self.names = names
        self.target = target
        self.failures: list[Failure] = []
        self.answers: list[tuple[float, float, str]] = []
        self.reopened = 0
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=(bool(index % 2),), daemon=True)
            for index in range(readers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.wait(20)
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def wait(self, more: int, timeout: float = 60.0) -> None:
        """Wait until *more* further requests have been answered."""
        wanted = len(self.answers) + more
        self.until(lambda: len(self.answers) >= wanted, timeout)

    def until(self, true: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait until *true* after some answer."""
        with self._changed:
            assert self._changed.wait_for(true, timeout), (
                f"{len(self.answers)} answers, failures: {self.failures[:5]}\n"
                f"{self.edge.log[-3000:]}"
            )

    def expect_none_lost(self, least: int = 50) -> None:
        """Assert that every request was answered, and that there were enough to mean it."""
        assert not self.failures, f"{len(self.failures)} failed: {self.failures[:5]}"
        assert len(self.answers) >= least

    def after(self, moment: float) -> set[str]:
        """Return who answered the requests that began after *moment* (monotonic)."""
        return {name for began, _, name in list(self.answers) if began > moment}

    def _read(self, keep: bool) -> None:
        client: RawClient | None = None
        while not self._stop.wait(HOLD):
            target = f"{self.target}?n={next(self._numbers)}"
            fresh = client is None
            began = time.monotonic()
            try:
                if client is not None and _has_ended(client):
                    self.reopened += 1
                    client.close()
                    client, fresh = None, True
                if client is None:
                    client = self.edge.client()
                try:
                    response = client.get(target)
                except Closed:
                    if fresh or client.was_reset:
                        raise
                    self.reopened += 1
                    client.close()
                    client, fresh = self.edge.client(), True
                    response = client.get(target)
                text = response.text
                name = text.partition(" ")[0]
                assert response.status == 200, f"{response.status} {text[:200]}"
                assert name in self.names, text
                assert text == f"{name} {target}"
            except (OSError, AssertionError, Closed, Truncated, Violation) as error:
                self._note(
                    Failure(began, time.monotonic(), fresh, f"{type(error).__name__}: {error}")
                )
                if client is not None:
                    client.close()
                client = None
                continue
            with self._changed:
                self.answers.append((began, time.monotonic(), name))
                self._changed.notify_all()
            closing = b"close" in response.tokens("Connection")
            if not keep or closing:
                client.close()
                client = None
        if client is not None:
            with contextlib.suppress(OSError):
                client.close()

    def _note(self, failure: Failure) -> None:
        with self._changed:
            self.failures.append(failure)
            self._changed.notify_all()
