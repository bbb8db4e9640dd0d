# SPDX-License-Identifier: Apache-2.0
"""Places at an upstream whose number follows its latency."""

from __future__ import annotations

import threading
import time

from scenarios.inside import Inside

from strangler.testing import Upstream, configuration, respond, until

#: Requests that the origin works on at a time; the others wait inside it.
AT_ONCE = 2
WORK = 0.1


def test_a_queue_inside_the_upstream_takes_places_away():
    """Latency says that it queues: the edge lets fewer in, and the rest wait here."""
    room = threading.Semaphore(AT_ONCE)
    inside_now, most, came = [0], [0], [0]
    lock = threading.Lock()

    def work(connection):
        with lock:
            inside_now[0] += 1
            most[0] = max(most[0], inside_now[0])
            came[0] += 1
        with room:
            time.sleep(WORK)
        with lock:
            inside_now[0] -= 1

    with Upstream(work, respond(body="done")) as origin:
        service = {"url": origin, "max_inflight": "adaptive 2..100", "timeout": {"connect": "5s"}}
        text = configuration({"/**": {"to": "app", "fallback": []}}, upstreams={"app": service})
        with Inside(text) as edge:
            upstream = edge.edge.view.upstreams["app"]
            over = threading.Event()
            seen = []

            def reader():
                with edge.client() as client:
                    while not over.is_set():
                        seen.append(client.get("/").status)

            def readers(count):
                made = [threading.Thread(target=reader) for _ in range(count)]
                for thread in made:
                    thread.start()
                return made

            running = readers(AT_ONCE)
            until(lambda: upstream.adapting.limit.long > 0.0)
            assert upstream.places.bulkhead.limit == 20, "not used, so it can't be judged"
            running += readers(40 - AT_ONCE)
            until(lambda: upstream.places.bulkhead.limit <= 14)
            with lock:
                most[0] = came[0] = 0
            until(lambda: came[0] >= 3 * AT_ONCE)
            over.set()
            for thread in running:
                thread.join(60)
            assert 0 < most[0] <= 16
            assert set(seen) == {200}, "who waits here for a place gets one"
            assert edge.do(upstream.status)["places"] == upstream.places.bulkhead.limit


def test_what_fails_takes_places_away_too():
    with Upstream(respond(500)) as origin:
        service = {"url": origin, "max_inflight": "adaptive", "breaker": "none"}
        text = configuration({"/**": {"to": "app", "fallback": []}}, upstreams={"app": service})
        with Inside(text) as edge:
            places = edge.edge.view.upstreams["app"].places

            def fewer():
                edge.get("/").expect(500)
                return places.bulkhead.limit < 20

            until(fewer)
