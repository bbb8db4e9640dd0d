# SPDX-License-Identifier: Apache-2.0
"""What operators order, as a reader meets it: drains, breakers, cache modes, faults."""

from __future__ import annotations

import threading
import time
from threading import Event

import pytest
from scenarios.inside import Inside

from strangler.observe.counters import LAYOUT
from strangler.testing import (
    Truncated,
    Upstream,
    build,
    configuration,
    respond,
    until,
    unused_port,
    wait,
)

CACHE = {"edge": "60s", "archive": "1d"}
SERVICE = "upstream:materia"
ROUTE = "route:/r/**"


@pytest.fixture(scope="module")
def legacy():
    with Upstream(respond(body="django")) as made:
        yield made


@pytest.fixture(scope="module")
def one():
    with Upstream(respond(body="materia")) as made:
        yield made


@pytest.fixture(scope="module")
def other():
    with Upstream(respond(body="materia")) as made:
        yield made


@pytest.fixture(scope="module")
def inside(legacy, one, other):
    breaker = {"min_requests": 100_000}
    upstreams = {
        "legacy": {"url": legacy, "breaker": breaker},
        "materia": {"url": [one.url, other.url], "breaker": breaker},
        "bare": {"url": one, "breaker": "none"},
    }
    routes = {
        "/**": "legacy",
        "/r/**": "materia",
        "/own/**": {"to": "materia", "breaker": {"min_requests": 3, "retry_in": "1s..1s"}},
        "/bare/**": "bare",
        "/alone/**": {"to": "materia", "fallback": []},
        "/c/**": {"to": "materia", "cache": CACHE, "fallback": ["page:sorry.html"]},
        "/struck/**": {"to": "materia", "breaker": {"min_requests": 3}},
        "/half/**": {"to": "materia", "stage": "canary 50%"},
        "/shadowed/**": {"to": "materia", "stage": "shadow 100%"},
        "/moved": {"redirect": "/r/"},
    }
    tiers = {"archive": {"store": "memory"}, "shared": "none"}
    text = configuration(routes, upstreams=upstreams, tiers=tiers)
    pages = {"sorry.html": "sorry", "closed.html": "<h1>closed</h1>", "admin.token": "secret"}
    with Inside(text, pages) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(inside, legacy, one, other):
    inside.undo()
    inside.records.clear()
    legacy.forget().answers(respond(body="django"))
    for each in (one, other):
        each.forget().answers(respond(body="materia"))


# -- drains


def test_a_drained_upstream_falls_back_at_once_and_says_so(inside, one, other):
    inside.override("drain", SERVICE, True)
    inside.get("/r/1").expect(200, body="django", strangler_fallback="legacy;why=drained")
    assert not one.requests and not other.requests
    inside.get("/alone/1").expect(503)
    with inside.client() as client:  # nothing was sent, so a write may go elsewhere
        client.request("POST", "/r/1", body="a=1").expect(200, body="django")
    assert "fallback:legacy;why=drained" in inside.reasons()
    inside.undo()
    inside.get("/r/1").expect(200, body="materia", lacks=["Strangler-Fallback"])


def test_a_drain_lets_finish_what_runs(inside, one, other):
    gate = threading.Event()
    for each in (one, other):
        each.answers(lambda c: gate.wait(60), respond(body="begun before"))
    with inside.client() as client:
        client.send(build("GET", "/r/1"))
        until(lambda: len(one.requests) + len(other.requests) == 1)
        inside.override("drain", SERVICE, True)
        inside.get("/r/2").expect(200, body="django")
        gate.set()
        client.read().expect(200, body="begun before")


def test_a_drained_endpoint_gets_no_new_attempt_and_ends_what_it_has(inside, one, other):
    gate = threading.Event()
    one.answers(lambda c: gate.wait(60), respond(body="slow"))
    clients = []
    while not one.requests:
        client = inside.client()
        clients.append(client)
        client.send(build("GET", "/r/1"))
        until(lambda: len(one.requests) + len(other.requests) == len(clients))
    inside.override("drain", f"endpoint:materia {one.url}", True)
    asked = len(one.requests)
    for number in range(20):
        inside.get(f"/r/{number}").expect(200, body="materia")
    assert len(one.requests) == asked
    status = inside.do(inside.edge.status)["upstreams"]["materia"]
    assert status["out"] == {one.address: "drained"}
    gate.set()
    for client in clients:
        with client:
            client.read().expect(200)
    for connection in one.connections:
        connection.wait_gone()
    inside.undo()
    inside.override("drain", f"endpoint:materia {other.url}", True)
    inside.get("/r/x").expect(200)
    assert len(one.requests) == asked + 1, "it takes part again"


def test_an_upstream_of_which_all_endpoints_are_drained_is_drained(inside, one, other):
    for each in (one, other):
        inside.override("drain", f"endpoint:materia {each.url}", True)
    inside.get("/r/1").expect(200, strangler_fallback="legacy;why=drained")


def test_legacy_can_be_drained_too(inside, legacy, one, other):
    inside.override("drain", "upstream:legacy", True)
    inside.get("/page").expect(503)
    for each in (one, other):
        each.answers(respond(503, "its own"))
    inside.get("/r/1").expect(503, body="its own")
    assert not legacy.requests


# -- breakers


@pytest.mark.parametrize("subject", [SERVICE, ROUTE])
def test_pain_52_a_breaker_forced_open_asks_nobody(subject, inside, one, other):
    inside.override("breaker", subject, "forced_open")
    inside.get("/r/1").expect(200, body="django", strangler_fallback="legacy;why=breaker")
    assert not one.requests and not other.requests
    whole = 200 if subject == ROUTE else 503
    inside.get("/alone/1").expect(whole)
    inside.undo()
    inside.get("/r/1").expect(200, body="materia")


def test_pain_52_a_hand_wins_over_what_the_breaker_sees_meanwhile(inside, one, other):
    for each in (one, other):
        each.answers(respond(500, "sick"))
    inside.override("breaker", "route:/own/**", "forced_closed")
    for number in range(8):
        inside.get(f"/own/{number}").expect(500, body="sick")
    inside.get("/own/x").expect(500)
    inside.undo()
    # It has watched meanwhile: when the hand is off, what it has seen counts.
    until(lambda: inside.get("/own/y").get("Strangler-Fallback") == b"legacy;why=breaker")


def test_what_has_no_breaker_can_be_forced_open_all_the_same(inside, one):
    inside.override("breaker", "upstream:bare", "forced_open")
    inside.get("/bare/1").expect(200, body="django", strangler_fallback="legacy;why=breaker")
    assert not one.requests
    inside.undo()
    inside.get("/bare/1").expect(200, body="materia")


def test_an_override_ends_by_itself_even_if_nobody_says_so(inside):
    inside.override("drain", SERVICE, True, ends=4.0)
    inside.get("/r/1").expect(200, body="django")
    until(lambda: inside.get("/r/1").text == "materia")


# -- the cache's modes


def test_stale_only_answers_from_what_is_kept_and_asks_nobody(inside, one, other):
    inside.get("/c/kept").expect(200, body="materia")
    for each in (one, other):
        each.forget()
    inside.override("cache", "route:/c/**", "stale_only")
    inside.get("/c/kept").expect(200, body="materia")
    inside.get("/c/lacking").expect(503, body="sorry", strangler_fallback="page;why=stale_only")
    assert not one.requests and not other.requests
    with inside.client() as client:  # a write is none of the cache's business
        client.request("POST", "/c/kept", body="a=1").expect(200, body="materia")


def test_archive_only_asks_the_last_tier_alone(inside, one, other):
    inside.get("/c/archived").expect(200, body="materia")
    inside.override("cache", "route:/c/**", "archive_only")

    def archived():
        answer = inside.get("/c/archived")
        return answer.get("Strangler-Fallback") == b"archive;why=archive_only"

    until(archived)
    inside.get("/c/lacking2").expect(503, body="sorry")


def test_a_mode_of_the_whole_site_is_for_the_routes_that_keep_something(inside):
    inside.override("cache", "site", "stale_only")
    inside.get("/c/nothing").expect(503, body="sorry")
    inside.get("/r/1").expect(200, body="materia")


def test_bypass_leaves_the_cache_alone(inside, one, other):
    inside.get("/c/old").expect(200, body="materia")
    for each in (one, other):
        each.answers(respond(body="new"))
    inside.get("/c/old").expect(200, body="materia")
    inside.override("cache", "route:/c/**", "bypass")
    inside.get("/c/old").expect(200, body="new", lacks=["Cache-Status"])
    inside.undo()
    inside.get("/c/old").expect(200, body="materia")


# -- closed


def test_pain_34_a_closed_route_says_when_to_come_again(inside, one, other):
    inside.override("maintenance", ROUTE, True, ends=120)
    answer = inside.get("/r/1", accept="text/html").expect(503, cache_control="no-store")
    assert 110 <= int(answer.get("Retry-After")) <= 120
    assert "We are working on this page" in answer.text
    inside.get("/page").expect(200, body="django")
    with inside.client() as client:
        client.request("HEAD", "/r/1").expect(503, body="")
        client.request("POST", "/r/1", body="a=1").expect(503)
    until(lambda: inside.reasons().count("maintenance") == 3)
    assert not one.requests and not other.requests


def test_a_closed_site_shows_a_page_of_its_own(inside):
    inside.override("maintenance", "site", {"page": "closed.html"})
    for target in ("/page", "/r/1", "/c/kept", "/moved"):
        inside.get(target).expect(
            503, body="<h1>closed</h1>", content_type="text/html; charset=utf-8"
        )


@pytest.mark.parametrize(
    "page", ["../../etc/hostname", "/etc/hostname", "missing.html", "admin.token", ""]
)
def test_no_other_file_of_the_machine_is_shown(page, inside):
    inside.override("maintenance", "site", {"page": page})
    answer = inside.get("/page", accept="text/html").expect(503)
    assert "We are working on this page" in answer.text


# -- faults


def fault(kind, amount, share=1.0):
    return {"kind": kind, "share": share, "amount": amount}


def test_an_abort_is_met_as_the_upstreams_own_answer(inside, one, other):
    inside.override("fault", ROUTE, fault("abort", 503))
    inside.get("/r/1").expect(200, body="django", strangler_fallback="legacy;why=503")
    inside.override("fault", ROUTE, fault("abort", 500))
    inside.get("/r/1").expect(500, body="500 Internal Server Error")
    inside.override("fault", ROUTE, fault("abort", 0))
    inside.get("/r/1").expect(200, body="django", strangler_fallback="legacy;why=incomplete")
    assert not one.requests and not other.requests
    inside.get("/alone/1").expect(200, body="materia")
    assert inside.do(inside.edge.status)["struck"]["/r/**"] >= 3


def test_pain_15_an_aborted_write_is_not_made_elsewhere(inside, legacy):
    inside.override("fault", ROUTE, fault("abort", 0))
    with inside.client() as client:
        client.request("POST", "/r/1", body="a=1").expect(502)
    assert not legacy.requests


def test_a_delay_comes_before_the_attempt(inside):
    inside.override("fault", ROUTE, fault("delay", 0.2))
    start = time.monotonic()
    inside.get("/r/1").expect(200, body="materia")
    assert time.monotonic() - start >= 0.2
    with inside.client() as client:
        client.request("POST", "/r/1", body="x" * 100_000).expect(200, body="materia")


def test_a_cut_body_looks_cut(inside, one, other):
    for each in (one, other):
        each.answers(respond(body="x" * 1000))
    inside.override("fault", ROUTE, fault("cut", 300))
    with pytest.raises(Truncated) as cut:
        inside.get("/r/1")
    assert cut.value.partial.body == b"x" * 300


def test_a_cut_answer_to_a_write_that_purges_begins_with_its_head(inside, one, other):
    """Its head waits until the stores have taken the purge; the body must not overtake it."""
    for each in (one, other):
        each.answers(respond(body="x" * 1000))
    inside.override("fault", "route:/c/**", fault("cut", 300))
    with inside.client() as client, pytest.raises(Truncated) as cut:
        client.request("POST", "/c/f", body="a=1")
    assert (cut.value.partial.status, cut.value.partial.body) == (200, b"x" * 300)


def test_a_trickled_body_is_whole_and_slow(inside, one, other):
    for each in (one, other):
        each.answers(respond(body="0123456789" * 100, chunks=True))
    inside.override("fault", ROUTE, fault("trickle", 2000))
    start = time.monotonic()
    inside.get("/r/1").expect(200, body="0123456789" * 100)
    assert time.monotonic() - start >= 0.35


def test_a_corrupted_body_has_one_bit_turned(inside, one, other):
    for each in (one, other):
        each.answers(respond(body="x" * 1000))
    inside.override("fault", ROUTE, fault("corrupt", 1.0))
    got = inside.get("/r/1").expect(200).body
    assert len(got) == 1000
    assert sum(bin(byte ^ ord("x")).count("1") for byte in got) == 1


def test_what_a_fault_has_touched_is_never_kept_and_copies_are_not_given(inside, one, other):
    inside.get("/c/f").expect(200, body="materia")
    inside.override("fault", "route:/c/**", fault("corrupt", 1.0))
    assert inside.get("/c/f").text != "materia"
    assert inside.get("/c/g").text != "materia"
    inside.undo()
    inside.get("/c/f").expect(200, body="materia")
    inside.get("/c/g").expect(200, body="materia")


def test_only_a_share_is_struck_and_a_wrong_order_strikes_nobody(inside):
    inside.override("fault", ROUTE, fault("abort", 500, share=0.5))
    seen = [inside.get(f"/r/{number}").status for number in range(60)]
    assert 10 < seen.count(500) < 50
    for order in (fault("abort", 200), fault("melt", 1), {"kind": "abort"}):
        inside.override("fault", ROUTE, order)
        inside.get("/r/1").expect(200, body="materia")


def test_a_fault_on_a_canary_leaves_djangos_readers_alone(inside, legacy, one, other):
    """They are most of the route's, and have no ladder: it is the service that is tried."""
    struck = inside.do(inside.edge.status).get("struck", {}).get("/half/**", 0)
    inside.override("fault", "route:/half/**", fault("abort", 500))
    seen = [inside.get(f"/half/{number}") for number in range(60)]
    assert {(one.status, one.text) for one in seen} == {
        (200, "django"),
        (500, "500 Internal Server Error"),
    }
    failed = sum(one.status == 500 for one in seen)
    assert inside.do(inside.edge.status)["struck"]["/half/**"] - struck == failed
    assert len(legacy.requests) == 60 - failed


@pytest.mark.parametrize("key", ["/**", "/shadowed/**"])
def test_a_fault_strikes_django_where_nobody_else_answers(key, inside, legacy):
    inside.override("fault", f"route:{key}", fault("abort", 500))
    inside.get(key.replace("**", "x")).expect(500, body="500 Internal Server Error")
    assert not legacy.requests


def test_a_fault_is_held_against_nobody(inside, one, other):
    """The breaker is the upstream's: a fault on one route must not open it for the others."""
    inside.override("fault", "route:/struck/**", fault("abort", 500))
    for number in range(10):
        inside.get(f"/struck/{number}").expect(500)
    inside.undo()
    inside.get("/struck/x").expect(200, body="materia")


def unwell(inside, key, target="service"):
    """Return how many of a route's exchanges its decided target has failed in."""
    row = inside.edge.counts.arm(key, target).row
    return 0 if row is None else row[LAYOUT.place("strangler_unwell_requests_total")]


def test_what_an_operator_has_ordered_counts_as_nobodys_failure(inside, one, other):
    before, alone = unwell(inside, "/r/**"), unwell(inside, "/alone/**")
    for order in (fault("abort", 503), fault("abort", 500), fault("abort", 0)):
        inside.override("fault", ROUTE, order)
        inside.get("/r/1")
    inside.undo()
    inside.override("drain", SERVICE, True)
    inside.get("/r/1").expect(200, body="django")
    inside.get("/alone/1").expect(503)
    inside.undo()
    until(lambda: len(inside.records) == 5)
    assert (unwell(inside, "/r/**"), unwell(inside, "/alone/**")) == (before, alone)
    for each in (one, other):
        each.answers(respond(500, "sick"))
    inside.get("/r/1").expect(500)
    until(lambda: unwell(inside, "/r/**") == before + 1)


def test_a_target_that_fails_has_failed_though_legacy_is_drained(inside, one, other):
    before = unwell(inside, "/r/**")
    for each in (one, other):
        each.answers(b"HTTP/1.1 503 Sorry\r\nContent-Length: 9\r\n\r\nsor", wait(Event()))
    inside.override("drain", "upstream:legacy", True)
    inside.get("/r/1").expect(503)
    until(lambda: unwell(inside, "/r/**") == before + 1)


def test_a_fault_ends_within_the_hour_whatever_is_ordered(inside):
    inside.override("fault", ROUTE, fault("abort", 500), ends=90_000)
    plan = inside.do(lambda: next(p for r, p in inside.edge.view.plans.items() if r.key == "/r/**"))
    assert plan.fault.until - time.time() <= 3600


def test_an_override_of_a_route_that_is_gone_harms_nobody(inside):
    inside.override("maintenance", "route:/gone/**", True)
    inside.override("drain", "upstream:gone", True)
    inside.override("drain", f"endpoint:materia http://127.0.0.1:{unused_port()}", True)
    inside.get("/r/1").expect(200, body="materia")
