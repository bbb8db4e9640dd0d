# SPDX-License-Identifier: Apache-2.0
"""A service fails in every way that one can: readers get legacy's page, or a copy."""

from __future__ import annotations

import time
from collections.abc import Callable

from chaos.fault import fault
from chaos.load import Record
from chaos.plain import often, patient, plain
from chaos.scripted import reset_hard
from chaos.site import FIRST_BYTE
from chaos.trial import Trial

from strangler.testing import close, endless, hang, pause, respond, trickle
from strangler.testing.origin import Connection, Step

LASTS = 2.5
"""Seconds of a fault after it was noticed."""
HOLD = 2.0
"""Seconds of the longest hold of a breaker on these stages; materia's is twice as long."""
NOTICE = 3.0
"""Seconds until half of the requests in the breaker's window of 5 s have failed, and a margin."""
OK = b"HTTP/1.1 200 OK\r\n"


def ill(trial: Trial, breaks: Callable[[], None], notice: float) -> None:
    """Break the scripted service, see it noticed, mend it, see it back."""
    with trial.trouble():
        breaks()
        trial.noticed("breaker.open name=scripted", notice)
        trial.go_on(LASTS)
        trial.site.scripted.well()
    trial.recovered(HOLD + 1.0, "scripted")
    trial.enough(40, "scripted")


def fails(trial: Trial, *steps: Step, notice: float = NOTICE) -> None:
    """The same by an answer, where the ladder can help: no reader may notice."""
    ill(trial, lambda: trial.site.scripted.ill(*steps), notice)
    trial.none_failed()


@fault("a service refuses connections", plain, "scripted")
def service_refuses(trial: Trial) -> None:
    ill(trial, trial.site.scripted.refuse, NOTICE)
    trial.none_failed()


@fault("connections to a service hang (a full backlog)", plain, "scripted")
def service_unreachable(trial: Trial) -> None:
    ill(trial, trial.site.scripted.swallow, NOTICE + 0.3)
    trial.none_failed()


@fault("a service takes requests and says nothing", plain, "scripted")
def service_silent(trial: Trial) -> None:
    fails(trial, hang(), notice=FIRST_BYTE + NOTICE)


@fault("a service resets the connection before its answer", plain, "scripted")
def service_resets(trial: Trial) -> None:
    fails(trial, reset_hard)


@fault("a service resets in the middle of its head", plain, "scripted")
def service_resets_in_head(trial: Trial) -> None:
    fails(trial, OK + b"Content-", pause(0.02), reset_hard)


@fault("a service trickles its head", plain, "scripted")
def service_trickles_head(trial: Trial) -> None:
    fails(trial, trickle(OK + b"X-Slow: " + b"y" * 400, 0.05), notice=FIRST_BYTE + NOTICE)


@fault("a service sends a head of 2 MiB", plain, "scripted")
def service_huge_head(trial: Trial) -> None:
    fails(trial, OK + b"X-Huge: " + b"y" * (2 << 20) + b"\r\n\r\n", close())


@fault("a service answers 503 for a while", plain, "scripted")
def service_503(trial: Trial) -> None:
    fails(trial, respond(503, b"busy", reason="Busy"))


@fault("a service resets in the middle of its content", plain, "scripted")
def service_resets_in_content(trial: Trial) -> None:
    """What was sent can't be taken back: the reader must see that it is cut."""

    def half(connection: Connection) -> None:
        page = trial.site.scripted.page(connection)
        head = OK + b"Content-Length: %d\r\n\r\n" % len(page)
        connection.send(head + page[: len(page) // 2])

    ill(trial, lambda: trial.site.scripted.ill(half, pause(0.02), reset_hard), NOTICE)
    trial.none_wrong()
    trial.none_failed("cached", "uncached", "legacy", what="others' failed requests")


@fault("a service's content is shorter than announced", plain, "scripted")
def service_too_short(trial: Trial) -> None:
    def short(connection: Connection) -> None:
        page = trial.site.scripted.page(connection)
        connection.send(OK + b"Content-Length: %d\r\n\r\n" % len(page) + page[:-9])

    ill(trial, lambda: trial.site.scripted.ill(short, close()), NOTICE)
    trial.none_wrong()
    trial.none_failed("cached", "uncached", "legacy", what="others' failed requests")


@fault("a service's content is longer than announced", plain, "scripted")
def service_too_long(trial: Trial) -> None:
    """The surplus must reach nobody: neither this reader nor the next on the connection."""

    def long(connection: Connection) -> None:
        page = trial.site.scripted.page(connection)
        respond(200, page)(connection)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")

    with trial.trouble():
        trial.site.scripted.ill(long)
        trial.go_on(LASTS)
        trial.site.scripted.well()
    trial.recovered(1.0, "scripted")
    trial.enough(40, "scripted")
    trial.none_failed()


@fault("a service trickles its content", plain, "scripted")
def service_trickles_content(trial: Trial) -> None:
    """Slow and whole is no failure: its readers wait, the others don't."""

    def slow(connection: Connection) -> None:
        page = trial.site.scripted.page(connection)
        connection.send(OK + b"Content-Length: %d\r\n\r\n" % len(page))
        trickle(page, 0.1, len(page) // 10 + 1)(connection)

    with trial.trouble():
        trial.site.scripted.ill(slow)
        trial.go_on(LASTS)
        trial.site.scripted.well()
    trial.recovered(1.5, "scripted")
    trial.enough(40, "scripted")
    trial.none_failed()
    others = trial.load.between(trial.began, trial.mended, "cached")
    trial.p99_within(others, 500.0, "p99 of those who read copies")


@fault("a service sends content without end", plain, "scripted", memory=12)
def service_endless(trial: Trial) -> None:
    with trial.trouble():
        trial.site.scripted.ill(OK + b"\r\n", endless(b"x" * 65536))
        trial.go_on(1.0)
        trial.site.scripted.well()
    trial.recovered(20.0, "scripted")  # who reads without end goes on for a while
    trial.none_wrong()
    trial.none_failed("cached", "uncached", "legacy", what="others' failed requests")


@fault("a service refuses, serves, refuses: each second", plain, "scripted")
def service_flaps(trial: Trial) -> None:
    with trial.trouble():
        for _ in range(4):
            trial.site.scripted.refuse()
            trial.go_on(1.0)
            trial.site.scripted.well()
            trial.go_on(1.0)
    trial.recovered(HOLD + 1.0, "scripted")
    trial.enough(100, "scripted")
    trial.none_failed()


def as_legacy(trial: Trial, opened: float) -> None:
    """Compare fallbacks with legacy's own readers, from when both workers know of the breaker.

    Only until the shortest hold is over: then some are probes, who wait for the timeout again.
    """
    start, end = opened + 0.3, min(opened + 2.8, trial.mended)
    trial.as_legacy(
        trial.load.between(start, end, "uncached"), trial.load.between(start, end, "legacy")
    )


@fault("materia is killed under load, and started again", plain, quick=True)
def materia_killed(trial: Trial) -> None:
    with trial.trouble():
        trial.site.backends.materia.kill()
        opened = trial.noticed("breaker.open name=materia", NOTICE)
        trial.go_on(LASTS)
        trial.site.backends.materia.start()
    trial.recovered(2 * HOLD + 1.0, "uncached")
    trial.none_failed()
    as_legacy(trial, opened)


@fault("materia is frozen (SIGSTOP), its connections stay open", plain, quick=True)
def materia_frozen(trial: Trial) -> None:
    with trial.trouble():
        trial.site.backends.materia.pause()
        opened = trial.noticed("breaker.open name=materia", FIRST_BYTE + NOTICE)
        trial.go_on(LASTS)
        trial.site.backends.materia.resume()
    trial.recovered(2 * HOLD + 1.0 + FIRST_BYTE, "uncached")
    trial.none_failed()
    legacy = trial.load.between(trial.began, trial.mended, "legacy")
    legacy_p99 = sorted(one.took for one in legacy)[-1] * 1e3 if legacy else 0.0
    until_open = trial.load.between(trial.began, opened, "uncached")
    trial.p99_within(until_open, FIRST_BYTE * 1e3 + 100.0 + legacy_p99, "p99 until it opened")
    as_legacy(trial, opened)


@fault("materia is a black hole for 45 s: readers wait as legacy's own do", patient)
def materia_black_holed(trial: Trial) -> None:
    """Long enough that percentiles mean something; whoever is a probe meanwhile is counted too."""
    with trial.trouble():
        trial.site.backends.materia.pause()
        opened = trial.noticed("breaker.open name=materia", FIRST_BYTE + NOTICE)
        trial.go_on(45.0)
        trial.site.backends.materia.resume()
    trial.none_failed()
    trial.enough(2000)
    after = trial.load.between(opened + 0.3, trial.mended, "uncached")
    probes = sum(one.took >= FIRST_BYTE and "timeout" in one.fallback for one in after)
    trial.figure("readers who were a probe", f"{probes} of {len(after)}", "< 1 %",
                 probes < 0.01 * len(after))  # fmt: skip
    trial.as_legacy(after, trial.load.between(opened + 0.3, trial.mended, "legacy"))


TIMES = 16
"""How often materia is a black hole: one time has 60 readers who wait, too few for a p99."""
CALM = 2.0
"""Seconds in between: what went well in them has to be outweighed, so more readers wait."""


@fault("materia is a black hole, 16 times: until the breaker opens they wait no longer", often)
def materia_black_holed_often(trial: Trial) -> None:
    """Who has waited in vain is held against who asks legacy, at the end of the limit, anyway."""
    waited: list[Record] = []
    legacy: list[Record] = []
    with trial.trouble():
        for _ in range(TIMES):
            lines, began = len(trial.edge.lines), time.monotonic()
            trial.site.backends.materia.pause()
            trial.edge.wait_log("breaker.open name=materia", after=lines)
            trial.go_on(FIRST_BYTE + 0.3)  # until all who wait by now have their answer begun
            end = time.monotonic()
            trial.site.backends.materia.resume()
            trial.edge.wait_log("breaker.closed name=materia", after=lines)
            trial.go_on(CALM)
            waited += (
                one._replace(due=one.due + FIRST_BYTE)
                for one in trial.load.between(began, end - FIRST_BYTE, "uncached")
                if "timeout" in one.fallback
            )
            legacy += trial.load.between(began + FIRST_BYTE, end, "legacy")
    trial.none_failed()
    count = len(waited)
    trial.figure("readers who waited", count, ">= 800", count >= 800)
    trial.beyond(legacy, waited, 0.5, "median after the limit", 2.0)
    trial.beyond(legacy, waited, 0.99, "p99 after the limit", 0.0)


@fault("legacy is killed: copies and materia go on", plain)
def legacy_killed(trial: Trial) -> None:
    with trial.trouble():
        trial.site.backends.legacy.kill()
        trial.noticed("breaker.open name=legacy", NOTICE)
        trial.go_on(LASTS)
        trial.site.backends.legacy.start()
    trial.recovered(HOLD + 1.0, "legacy")
    trial.none_failed("cached", "uncached", what="failed requests to others")


@fault("legacy is frozen (SIGSTOP): a sick monolith takes nobody down with it", plain)
def legacy_frozen(trial: Trial) -> None:
    with trial.trouble():
        trial.site.backends.legacy.pause()
        started = time.monotonic()
        trial.go_on(4.0)
        trial.site.backends.legacy.resume()
    trial.recovered(HOLD + 4.0, "legacy")
    trial.none_failed("cached", "uncached", what="failed requests to others")
    others = trial.load.between(started, trial.mended, "cached", "uncached")
    trial.p99_within(others, 500.0, "p99 of the others")
