# SPDX-License-Identifier: Apache-2.0
"""Legacy's own readers come first, whatever falls back on it."""

from __future__ import annotations

import statistics
import threading
import time

import pytest
from scenarios.inside import Inside

from strangler.testing import Edge, Upstream, build, configuration, respond, unused_port

#: What legacy can do: so many requests at a time, each for so many seconds.
AT_ONCE = 8
WORK = 0.02
STORM = 1000


class Legacy:
    """A monolith that queues inside: whoever comes beyond its capacity makes all others wait."""

    def __init__(self):
        self.room = threading.Semaphore(AT_ONCE)
        self.lock = threading.Lock()
        self.guests = self.most = 0

    def work(self, connection):
        guest = connection.request.path.startswith(b"/r/")
        with self.lock:
            self.guests += guest
            self.most = max(self.most, self.guests)
        with self.room:
            time.sleep(WORK)
        with self.lock:
            self.guests -= guest


def test_a_thousand_fallbacks_at_once_dont_slow_legacys_readers(running):
    """Let in all at once they would keep a reader waiting for 2.5 s, and many more than that."""
    monolith = Legacy()
    with Upstream(monolith.work, respond(body="django")) as legacy:
        upstreams = {"legacy": legacy, "materia": f"http://127.0.0.1:{unused_port()}"}
        routes = {"/**": "legacy", "/r/**": {"to": "materia", "retry": "none"}}
        edge = running(Edge(configuration(routes, upstreams=upstreams), access_log="off"))

        def waits(count):
            took = []
            with edge.client() as reader:
                for _ in range(count):
                    start = time.monotonic()
                    reader.get("/page").expect(200, body="django")
                    took.append(time.monotonic() - start)
            return took

        usual = statistics.median(waits(40))
        clients = [edge.client() for _ in range(STORM)]
        began = time.monotonic()
        for number, client in enumerate(clients):
            client.send(build("GET", f"/r/{number}"))
        during = waits(20)
        statuses = []
        for client in clients:
            with client:
                statuses.append(client.read().status)
        grown = (time.monotonic() - began) / 0.5 + 1
        unprotected = STORM / AT_ONCE * WORK
        assert statistics.median(during) < max(unprotected / 4, 4 * usual), (usual, during)
        assert monolith.most <= 64 + grown, "64 guests at a time, and one more every half second"
        assert statuses.count(200) >= 64, "and they are served meanwhile"
        assert set(statuses) <= {200, 502, 503}, "the rest is told at once"


@pytest.mark.parametrize("kind", ["fallback", "revalidation", "shadow"])
def test_all_who_come_for_others_sake_share_one_budget(kind):
    """One gate for them all, in front of legacy's places; its own readers don't pass it."""
    upstreams = {"legacy": "http://127.0.0.1:9", "materia": "http://127.0.0.1:10"}
    with Inside(configuration({"/**": "legacy", "/r": "materia"}, upstreams=upstreams)) as edge:
        view = edge.edge.view
        legacy = view.upstreams["legacy"]
        for plan in view.plans.values():
            assert legacy.guests in plan.terms_for(legacy, kind).gates
            assert legacy.guests not in plan.terms_for(legacy, "live").gates


def test_a_revalidation_in_the_background_waits_for_nobody_when_legacy_is_busy():
    """It may use half of the guests' places; when those are taken the old copy goes on serving."""
    gate = threading.Event()
    with Upstream(respond(body="old", fields=[("Cache-Control", "max-age=0")])) as origin:
        route = {"to": "legacy", "cache": {"edge": "0s", "grace": "60s"}}
        text = configuration({"/**": route}, upstreams={"legacy": origin})
        with Inside(text) as edge:
            guard = edge.edge.view.upstreams["legacy"].guests.guard
            for number in range(6):
                edge.get(f"/{number}").expect(200, body="old")
            edge.do(lambda: guard.places.resize(4))
            origin.forget().answers(lambda c: gate.wait(60), respond(body="new"))
            for number in range(6):
                edge.get(f"/{number}").expect(200, body="old")
            origin.wait_head(2)
            assert edge.do(lambda: guard.places.inflight) == 2
            gate.set()
            assert len(origin.requests) == 2
