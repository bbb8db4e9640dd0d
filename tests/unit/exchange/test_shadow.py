# SPDX-License-Identifier: Apache-2.0
"""How copies give way: places, memory, time, and an operator's word (pain 17)."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from strangler.config import load
from strangler.edge.server import Server
from strangler.exchange import Edge
from strangler.exchange.shadowing import shadow
from strangler.rollout import Override, Overrides, override
from strangler.testing import Upstream, close, respond, wait

ROUTES = """
version: 1
upstreams:
  legacy: {{url: "{legacy}", role: legacy}}
  materia: {{url: "{materia}"}}
tiers: {{shared: none, archive: none}}
routes:
  /**: legacy
  /s/**: {{to: materia, stage: shadow 100%}}
  /cached/**: {{to: materia, stage: shadow 100%, cache: {{edge: 1h}}}}
  /live/**: {{to: materia, compare: 100%}}
"""


class Site:
    """An edge in this process between two origins, and one reader."""

    def __init__(self, edge: Edge, port: int, legacy: Upstream, service: Upstream) -> None:
        self.edge, self.port = edge, port
        self.legacy, self.service = legacy, service

    async def get(self, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    def counts(self, key: str = "/s/**") -> dict[str, Any]:
        return self.edge.shadows.ledger(key).json()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await asyncio.sleep(0.002)


def told(tmp_path: Path, story: Callable[[Site], Awaitable[None]]) -> None:
    with Upstream(respond(body="same")) as legacy, Upstream(respond(body="same")) as service:
        file = tmp_path / "routes.yaml"
        file.write_text(ROUTES.format(legacy=legacy.url, materia=service.url))

        async def run() -> None:
            edge = Edge(load(file))
            server = Server(edge, ticker=edge.ticker)
            listener = await asyncio.get_running_loop().create_server(
                server.protocol, "127.0.0.1", 0
            )
            try:
                port = listener.sockets[0].getsockname()[1]
                await story(Site(edge, port, legacy, service))
            finally:
                listener.close()
                server.abort_all()
                await edge.close()

        asyncio.run(run())


def test_more_than_can_wait_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_RUNNING", 1)
    monkeypatch.setattr(shadow, "MOST_WAITING", 2)
    gate = threading.Event()

    async def story(site):
        site.service.answers(wait(gate), respond(body="same"))
        for number in range(5):
            await site.get(f"/s/{number}")
        await site.until(lambda: site.counts()["shadowed"] == 5)
        assert site.counts()["drops"] == {"queue_full": 2}
        assert site.counts()["pending"] == 3
        gate.set()
        await site.until(lambda: not site.counts()["pending"])
        assert site.counts()["equal"] == 3
        assert site.edge.shadows.status() == {"running": 0, "waiting": 0, "held": 0}

    told(tmp_path, story)


def test_what_waits_too_long_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_RUNNING", 1)
    monkeypatch.setattr(shadow, "MOST_WAIT", 0.02)
    gate = threading.Event()

    async def story(site):
        site.service.answers(wait(gate), respond(body="same"))
        await site.get("/s/1")
        await site.get("/s/2")
        await site.until(lambda: site.counts()["shadowed"] == 2)
        await asyncio.sleep(0.03)
        gate.set()
        await site.until(lambda: not site.counts()["pending"])
        assert site.counts()["drops"] == {"too_old": 1}

    told(tmp_path, story)


@pytest.mark.parametrize("whose", ["legacy", "service"])
def test_no_more_bytes_are_held_than_may_be(tmp_path, monkeypatch, whose):
    monkeypatch.setattr(shadow, "MOST_BYTES", 5000)

    async def story(site):
        getattr(site, whose).answers(respond(body="x" * 6000))
        assert len(await site.get("/s/1")) > 0
        await site.until(lambda: site.counts()["drops"] == {"memory": 1})
        assert site.edge.shadows.status() == {"running": 0, "waiting": 0, "held": 0}
        getattr(site, whose).answers(respond(body="same"))
        await site.get("/s/2")
        await site.until(lambda: site.counts()["equal"] == 1)

    told(tmp_path, story)


def test_a_copy_may_take_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_TIME", 0.05)
    gate = threading.Event()

    async def story(site):
        site.service.answers(wait(gate), respond(body="same"))
        await site.get("/s/1")
        await site.until(lambda: site.counts()["failures"] == {"http_response_timeout": 1})
        gate.set()

    told(tmp_path, story)


def test_an_edge_that_is_short_makes_no_copies(tmp_path):
    async def story(site):
        site.edge.shadows.shed = True
        await site.get("/s/1")
        assert site.counts()["drops"] == {"shed": 1}
        assert not site.service.requests
        site.edge.shadows.shed = False
        await site.get("/s/2")
        await site.until(lambda: site.counts()["equal"] == 1)

    told(tmp_path, story)


def stop() -> Overrides:
    now = time.time()
    one = Override(
        id="1", kind="shadows", subject=override.SITE, value="stop", author="a", reason="r",
        created=now, expires=now + 60, file="",
    )  # fmt: skip
    return Overrides().with_(one)


def test_an_operators_stop_ends_what_waits_too(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_RUNNING", 1)
    gate = threading.Event()

    async def story(site):
        site.service.answers(wait(gate), respond(body="same"))
        for number in range(3):
            await site.get(f"/s/{number}")
        await site.until(lambda: site.counts()["shadowed"] == 3)
        site.edge.view = site.edge.view.under(stop())
        await site.get("/s/later")
        gate.set()
        await site.until(lambda: not site.counts()["pending"])
        assert site.counts()["drops"] == {"stopped": 2}
        assert site.counts()["shadowed"] == 3
        site.edge.view = site.edge.view.under(Overrides())
        await site.get("/s/again")
        await site.until(lambda: site.counts()["shadowed"] == 4)

    told(tmp_path, story)


def test_legacys_guests_budget_holds_for_copies(tmp_path):
    gate = threading.Event()

    async def story(site):
        guests = site.edge.view.upstreams["legacy"].guests
        guests.guard.places.resize(8)  # a quarter of it for copies
        site.legacy.answers(wait(gate), respond(body="same"))
        for number in range(5):
            await site.get(f"/live/{number}")
        await site.until(lambda: site.counts("/live/**")["dropped"] == 3)
        assert site.counts("/live/**")["drops"] == {"busy": 3}
        gate.set()
        await site.until(lambda: not site.counts("/live/**")["pending"])
        assert site.counts("/live/**")["equal"] == 2
        assert guests.guard.places.inflight == 0

    told(tmp_path, story)


def test_copies_heed_the_readers_breaker(tmp_path):
    async def story(site):
        site.edge.view.upstreams["materia"].force("forced_open")
        await site.get("/s/1")
        await site.until(lambda: site.counts()["drops"] == {"breaker": 1})
        assert not site.service.requests

    told(tmp_path, story)


def test_a_failed_copy_is_nobodys_failure(tmp_path):
    async def story(site):
        site.service.answers(close())
        materia = site.edge.view.upstreams["materia"]
        for number in range(6):
            await site.get(f"/s/{number}")
        await site.until(lambda: site.counts()["failed"] == 6)
        now = time.monotonic()
        assert materia.circuit.breaker.counts(now) == (0, 0)
        assert materia.budget.spent(now) == (0, 0)
        assert materia.endpoints[0].standing.streak == 0
        assert materia.failed == 0 and materia.last_error == ""

    told(tmp_path, story)


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found"])
def test_a_copy_that_breaks_off_is_a_failure_of_copies_alone(status, tmp_path):
    async def story(site):
        materia = site.edge.view.upstreams["materia"]
        materia.several = True  # as if another of its endpoints could be better
        await site.get("/live/1")  # a reader's good answer, from the endpoint that copies ask
        await site.until(lambda: site.counts("/live/**")["equal"] == 1)
        window = materia.endpoints[0].standing.window
        before = window.counts(now := time.monotonic())
        assert before[0] == 1
        half = b"HTTP/1.1 %b\r\nContent-Length: 100\r\n\r\nhalf" % status
        site.service.answers(half, close())
        for number in range(3):
            await site.get(f"/s/{number}")
        await site.until(lambda: site.counts()["failed"] == 3)
        assert window.counts(now) == before
        circuit = site.edge.shadows._circuits["materia"]
        attempts, failures = circuit.breaker.counts(time.monotonic())
        assert failures == 3 and attempts >= 3

    told(tmp_path, story)


@pytest.mark.parametrize("path", ["/s/left", "/cached/left"])
def test_who_leaves_half_way_leaves_nothing_behind(tmp_path, path):
    gate = threading.Event()

    async def story(site):
        head = b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nContent-Length: 9\r\n\r\nhalf"
        site.legacy.answers(head, wait(gate), b"whole")
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readuntil(b"half")
        assert site.edge.shadows.status()["held"] == 4
        writer.close()
        route = path.replace("left", "**")
        await site.until(lambda: site.counts(route)["skips"] == {"no_answer": 1})
        assert site.edge.shadows.status()["held"] == 0
        gate.set()

    told(tmp_path, story)


def test_what_is_under_way_at_the_end_is_counted(tmp_path):
    async def story(site):
        site.service.answers(wait(threading.Event()))
        await site.get("/s/1")
        await site.until(lambda: site.edge.shadows.status()["running"] == 1)
        ledger = site.edge.shadows.ledger("/s/**")
        site.edge.shadows.close()
        assert dict(ledger.dropped) == {"closing": 1}
        assert ledger.pending == 0

    told(tmp_path, story)


def test_a_route_without_copies_has_no_plan_for_them(tmp_path):
    async def story(site):
        plans = {plan.key: plan.copying for plan in site.edge.view.plans.values()}
        assert plans["/**"] is None
        assert plans["/s/**"] is not None and plans["/s/**"].share == 10_000
        stopped = site.edge.view.under(stop())
        canary = next(p.salt for p in site.edge.view.plans.values() if p.key == "/s/**")
        assert plans["/s/**"].salt != canary, "pain 22: two draws, two salts"
        assert not any(plan.copying for plan in stopped.plans.values())
        assert plans["/live/**"].salt != plans["/s/**"].salt

    told(tmp_path, story)


def test_a_compared_pair_is_gone_at_once(tmp_path):
    """Not only when a collection finds it: a body is up to 256 KB."""

    async def story(site):
        for path in ("/s/1", "/cached/1"):
            site.legacy.answers(respond(body="x" * 100_000))
            site.service.answers(respond(body="y" * 100_000))
            await site.get(path)
            route = path.replace("1", "**")
            await site.until(lambda route=route: site.counts(route)["mismatched"] == 1)
        await site.until(  # without any collection: see below
            lambda: not any(isinstance(each, shadow.Pair) for each in gc.get_objects())
        )

    gc.collect()
    gc.disable()
    try:
        told(tmp_path, story)
    finally:
        gc.enable()
