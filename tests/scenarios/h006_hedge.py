# SPDX-License-Identifier: Apache-2.0
"""A second attempt beside one that is slow: the quicker answer wins, no loser is blamed."""

from __future__ import annotations

import threading
import time

import pytest
from scenarios.inside import Inside

from strangler.testing import (
    Upstream,
    build,
    close,
    configuration,
    respond,
    until,
    unused_port,
)

#: So long that a test which waits for it has failed.
SLOW = 15.0


@pytest.fixture
def gate():
    """Hold the slow answers until the test is over."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def pair(gate):
    """Return two endpoints: one that answers when *gate* opens, one that answers at once."""
    with Upstream(lambda c: gate.wait(SLOW), respond(body="slow")) as slow:
        with Upstream(respond(body="quick")) as quick:
            yield slow, quick
            gate.set()


def site(running, urls, *, hedge="30ms", route=None, upstream=None, **retry):
    service = {"url": urls, "timeout": {"first_byte": "30s"}, **(upstream or {})}
    retry = {"tries": 0, "hedge": hedge, "budget": "100%", **retry}
    options = {"to": "materia", "fallback": [], "retry": retry, **(route or {})}
    upstreams = {"legacy": f"http://127.0.0.1:{unused_port()}", "materia": service}
    text = configuration({"/**": "legacy", "/r/**": options}, upstreams=upstreams)
    return running(Inside(text))


def ask_until_slow(edge, slow, path="/r/x"):
    """Ask until the slow endpoint was asked first; return its answer and the path."""
    for number in range(60):
        target = f"{path}{number}"
        answer = edge.get(target).expect(200)
        if any(request.path == target.encode() for request in slow.requests):
            return answer, target
    raise AssertionError("the slow endpoint was never asked")


def test_the_quicker_of_two_answers_and_the_log_says_so(running, pair):
    slow, quick = pair
    edge = site(running, [slow.url, quick.url])
    start = time.monotonic()
    answer, target = ask_until_slow(edge, slow)
    assert answer.text == "quick"
    assert time.monotonic() - start < SLOW
    told = edge.record(target)
    assert (told.attempts, told.retry, told.error) == (2, "hedge", "")
    assert told.endpoint == quick.address


def test_the_loser_is_cancelled_and_nobody_is_blamed(running, pair, gate, caplog):
    """Neither the endpoint nor the breaker, however often: it only was not the first."""
    slow, quick = pair
    breaker = {"min_requests": 2, "errors": "10%"}
    edge = site(running, [slow.url, quick.url], upstream={"breaker": breaker})
    for number in range(400):  # which of the two is asked first is drawn by lot
        edge.get(f"/r/{number}").expect(200, body="quick")
        if len(slow.requests) > 5:
            break
    assert len(slow.requests) > 5
    gate.set()
    for connection in slow.connections:
        connection.wait_gone()
    assert "endpoint.ejected" not in caplog.text and "breaker.open" not in caplog.text


def test_what_is_quick_is_asked_once(running, pair):
    _, quick = pair
    edge = site(running, quick.url, hedge="20s")
    for number in range(5):
        edge.get(f"/r/{number}").expect(200)
    assert len(quick.requests) == 5
    assert edge.record("/r/4").retry == ""


def test_pain_15_a_post_is_not_hedged_but_one_with_the_declared_key_is(running, gate):
    with Upstream(lambda c: gate.wait(SLOW), respond(201, "slow")) as slow:
        slow.then(respond(201, "quick"))
        edge = site(running, slow.url, idempotency_key="Idempotency-Key")
        with edge.client() as client:
            fields = [("Idempotency-Key", "a1")]
            client.request("POST", "/r/k", fields, body="vote=1").expect(201, body="quick")
        assert [request.body for request in slow.requests] == [b"vote=1"] * 2
        slow.forget().answers(lambda c: gate.wait(SLOW), respond(201, "slow"))
        with edge.client() as client:
            client.send(build("POST", "/r/p", body="vote=1"))
            slow.wait_requests(1)
            time.sleep(0.1)  # three times the delay after which a GET would have been hedged
            gate.set()
            client.read().expect(201, body="slow")
        assert len(slow.requests) == 1
    assert edge.record("/r/p").retry == "not_repeatable"


def test_after_a_percentile_of_what_it_takes_otherwise(running, gate):
    with Upstream(respond(body="quick")) as origin:
        edge = site(running, origin.url, hedge="p95")
        for number in range(20):
            edge.get(f"/r/{number}").expect(200)
        assert len(origin.requests) == 20, "too little was known"
        origin.forget().answers(lambda c: gate.wait(SLOW), respond(body="slow"))
        origin.then(respond(body="quick"))
        start = time.monotonic()
        edge.get("/r/slow").expect(200, body="quick")
        assert time.monotonic() - start < SLOW
        assert len(origin.requests) == 2
        gate.set()


def test_hedges_come_out_of_the_retry_budget(running):
    """20 % of the attempts, or three: where everything is slow, doubling the load heals nothing."""
    with Upstream(lambda c: time.sleep(0.06), respond(body="slow")) as origin:
        edge = site(running, origin.url, hedge="10ms", budget="20%")
        for number in range(15):
            edge.get(f"/r/{number}").expect(200, body="slow")
        until(lambda: any(record[18] == "budget" for record in list(edge.records)))
        assert 16 <= len(origin.requests) <= 20


def test_a_first_that_fails_leaves_it_to_the_second(running):
    """And the other way round: what the reader gets is whatever came to something."""
    gate = threading.Event()
    with Upstream(lambda c: gate.wait(SLOW), close()) as origin:
        origin.then(lambda c: (gate.set(), time.sleep(0.1)), respond(body="second"))
        edge = site(running, origin.url)
        edge.get("/r/1").expect(200, body="second")
        assert len(origin.requests) == 2
        gate.clear()
        origin.forget().answers(lambda c: gate.wait(SLOW), respond(body="first"))
        origin.then(lambda c: gate.set(), close())
        edge.get("/r/2").expect(200, body="first")


def test_a_503_waits_for_the_other_and_is_given_if_that_is_no_better(running):
    gate = threading.Event()
    with Upstream(lambda c: gate.wait(SLOW), respond(503, "first")) as origin:
        origin.then(lambda c: (gate.set(), time.sleep(0.1)), respond(200, "second"))
        edge = site(running, origin.url)
        edge.get("/r/1").expect(200, body="second")
        gate.clear()
        origin.forget().answers(lambda c: gate.wait(SLOW), respond(503, "first"))
        origin.then(lambda c: (gate.set(), time.sleep(0.1)), close())
        edge.get("/r/2").expect(503, body="first")


def test_a_fill_of_the_cache_is_hedged_too(running, pair):
    slow, quick = pair
    edge = site(running, [slow.url, quick.url], route={"cache": {"edge": "60s"}})
    answer, target = ask_until_slow(edge, slow)
    assert answer.text == "quick"
    asked = len(quick.requests)
    edge.get(target).expect(200, body="quick")
    assert len(quick.requests) == asked, "it was kept"


def test_a_reader_who_leaves_ends_both(running, gate):
    with Upstream(lambda c: gate.wait(SLOW), respond()) as origin:
        edge = site(running, origin.url)
        client = edge.client()
        client.send(build("GET", "/r/gone"))
        origin.wait_requests(2)
        client.reset()
        assert edge.record("/r/gone").error == "client_aborted"
        gate.set()
        for connection in origin.connections:
            connection.wait_gone()
        until(lambda: edge.do(edge.edge.view.upstreams["materia"].status)["inflight"] == 0)
