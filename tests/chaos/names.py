# SPDX-License-Identifier: Apache-2.0
"""The name service moves a service, fails, or says nothing: a real resolver asks a real server."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

from chaos.fault import Fault, fault
from chaos.load import Group
from chaos.plain import shared
from chaos.site import Backends, Materia, edge, ordinary
from chaos.trial import Trial

from strangler.testing import Edge

NAME = "materia.chaos.test"
RESOLVE_EVERY = 5.0
"""Seconds for which the edge uses an answer."""


class NameServer:
    """Answer A queries for `NAME` on port 53 of a loopback address of its own; needs root.

    mode: `answers` with `address`, `fails` with SERVFAIL, or `silent`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.mode: Literal["answers", "fails", "silent"] = "answers"
        self.asked = 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        chance = random.SystemRandom()
        for _ in range(20):
            self.host = f"127.{chance.randrange(1, 255)}.{chance.randrange(255)}.53"
            with contextlib.suppress(OSError):
                self._sock.bind((self.host, 53))
                break
        self._thread = threading.Thread(target=self._serve, daemon=True, name="names")

    def _serve(self) -> None:
        while True:
            try:
                query, peer = self._sock.recvfrom(4096)
            except OSError:
                return
            if len(query) < 17:
                return  # the end: nobody's query is so short
            self.asked += 1
            if self.mode != "silent":
                self._sock.sendto(self.answer(query), peer)

    def answer(self, query: bytes) -> bytes:
        """Return the answer to *query*, whose name is taken for `NAME`."""
        end = query.index(b"\0", 12) + 5
        kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
        found = self.mode == "answers" and kind == 1
        flags = 0x8180 | (2 if self.mode == "fails" else 0)
        head = query[:2] + struct.pack("!HHHHH", flags, 1, int(found), 0, 0)
        record = b""
        if found:
            record = struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(self.address)
        return head + query[12:end] + record

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", (self.host, 53))
        self._thread.join(5)
        self._sock.close()


class Named:
    """An edge that knows materia by name, and a second materia at another address."""

    def __init__(self, backends: Backends, made: Edge, names: NameServer, second: Materia) -> None:
        self.backends, self.edge, self.names, self.second = backends, made, names, second

    def mend(self) -> None:
        self.backends.mend()
        self.names.mode = "answers"
        self.names.address = self.backends.materia.host

    def groups(self, fault: Fault) -> Sequence[Group]:
        return ordinary(self.backends)


@contextlib.contextmanager
def named() -> Iterator[Named]:
    """Yield the stage: the edge sees a resolv.conf of its own, in a mount namespace."""
    backends = shared().backends()
    first = backends.materia
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(NameServer(first.host))
        second = stack.enter_context(Materia(first.port, "127.0.0.2", **first.env))
        resolv = Path(backends.folder / "resolv.conf")
        resolv.write_text(f"nameserver {names.host}\noptions timeout:2 attempts:2\n")
        script = f'mount --bind "{resolv}" /etc/resolv.conf && exec "$@"'
        text = backends.routes(materia=f"http://{NAME}:{first.port}")
        made = stack.enter_context(
            edge(text, wrapper=["unshare", "--mount", "--", "sh", "-ec", script, "sh"])
        )
        yield Named(backends, made, names, second)


def by_itself(trial: Trial, since: float) -> None:
    """Note that materia has answered all who asked it since then: legacy was not needed."""
    helped = [one for one in trial.load.between(since, time.monotonic(), "uncached")
              if one.fallback]  # fmt: skip
    shown = f"{len(helped)}: {helped[0].fallback}" if helped else "0"
    trial.figure("fallbacks", shown, "0", not helped)


@fault("a service's name moves to another address, then the old one dies", named)
def name_moves(trial: Trial) -> None:
    with trial.trouble():
        trial.site.names.address = trial.site.second.host
        trial.noticed("endpoint.moved", RESOLVE_EVERY + 2.0)
        # The other worker has its own answer; it asks within the same time.
        trial.go_on(RESOLVE_EVERY + 1.0)
        trial.site.backends.materia.kill()
        trial.go_on(2.0)
    by_itself(trial, trial.began)
    trial.none_failed()
    trial.site.backends.materia.start()
    trial.site.names.address = trial.site.backends.materia.host
    trial.go_on(RESOLVE_EVERY + 1.0)


@fault("the name service answers SERVFAIL", named)
def names_fail(trial: Trial) -> None:
    with trial.trouble():
        trial.site.names.mode = "fails"
        trial.noticed("endpoint.unresolved", RESOLVE_EVERY + 2.0)
        trial.go_on(3.0)
        trial.site.names.mode = "answers"
    by_itself(trial, trial.began)
    trial.none_failed()


@fault("the name service says nothing", named)
def names_silent(trial: Trial) -> None:
    asked = trial.site.names.asked
    with trial.trouble():
        trial.site.names.mode = "silent"
        trial.go_on(2 * RESOLVE_EVERY + 3.0)
        trial.site.names.mode = "answers"
    more = trial.site.names.asked - asked
    trial.figure("questions that were not answered", more, ">= 2", more >= 2)
    by_itself(trial, trial.began)
    trial.none_failed()
    ours = trial.load.between(trial.began, trial.mended, "uncached")
    trial.p99_within(ours, 250.0, "p99 of those who asked materia")
