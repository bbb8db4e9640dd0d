# SPDX-License-Identifier: Apache-2.0
"""Who answers when the decided target has failed: rung by rung, and every answer says so."""

from __future__ import annotations

import threading
import time

import pytest

from strangler.testing import (
    Edge,
    Upstream,
    all_taken,
    build,
    close,
    configuration,
    pause,
    respond,
    until,
    unused_port,
)

QUIET = {"min_requests": 100_000}
TIMES = {"connect": "2s", "first_byte": "2s"}
CACHE = {"edge": "1s", "archive": "1d"}


@pytest.fixture(scope="module")
def legacy():
    with Upstream(respond(body="django")) as made:
        yield made


@pytest.fixture
def materia():
    with Upstream(respond(body="materia")) as made:
        yield made


@pytest.fixture(autouse=True)
def calm(legacy):
    legacy.forget().answers(respond(body="django", fields=[("X-From", "django")]))


def site(running, legacy, materia, route=None, **more):
    def upstream(url):
        return {"url": url, "timeout": TIMES, "breaker": QUIET}

    upstreams = {"legacy": {"url": legacy, "breaker": QUIET}, "materia": upstream(materia)}
    upstreams |= {name: upstream(made) for name, made in more.items()}
    routes = {"/**": "legacy", "/r/**": {"to": "materia", **(route or {})}}
    return running(Edge(configuration(routes, upstreams=upstreams)))


@pytest.mark.parametrize(
    "failure, why",
    [
        ((close(),), "incomplete"),
        ((pause(60),), "timeout"),
        ((respond(502, "bad"),), "502"),
        ((respond(503, "bad"),), "503"),
        ((respond(504, "bad" * 50_000),), "504"),
    ],
)
def test_legacy_answers_and_the_answer_says_why(failure, why, running, legacy, materia):
    materia.answers(*failure)
    edge = site(running, legacy, materia)
    edge.get("/r/1").expect(200, body="django", strangler_fallback=f"legacy;why={why}")
    line = edge.wait_log("GET .*/r/1 ")
    assert f"(fallback:legacy;why={why})" in line and " legacy " in line


def test_a_refused_connection_costs_no_reader(running, legacy):
    edge = site(running, legacy, f"http://127.0.0.1:{unused_port()}")
    for number in range(20):
        response = edge.get(f"/r/{number}").expect(200, body="django")
        assert response.get("Strangler-Fallback") in (
            b"legacy;why=connect",
            b"legacy;why=breaker",
        )


def test_what_works_says_nothing(running, legacy, materia):
    edge = site(running, legacy, materia)
    edge.get("/r/1").expect(200, body="materia", lacks=["Strangler-Fallback"])


def test_pain_14_nothing_of_the_failed_answer_reaches_the_reader(running, legacy, materia):
    bad = [("Set-Cookie", "sick=1"), ("X-Sick", "1"), ("Cache-Control", "max-age=60")]
    materia.answers(respond(503, "sick", bad))
    edge = site(running, legacy, materia)
    response = edge.get("/r/1").expect(
        200, body="django", lacks=["Set-Cookie", "X-Sick", "Cache-Control"]
    )
    assert response.get("X-From") == b"django"


def test_pain_16_an_answer_to_a_post_is_the_applications_own(running, legacy, materia):
    materia.answers(respond(503, "the form again, with your errors"))
    edge = site(running, legacy, materia)
    with edge.client() as client:
        client.request("POST", "/r/1", body="a=1").expect(
            503, body="the form again, with your errors"
        )
    assert not legacy.requests


def test_pain_16_when_nobody_does_better_the_first_answer_is_given_whole(running, materia):
    materia.answers(respond(503, "the service's own page", [("X-Own", "1")]))
    edge = site(running, f"http://127.0.0.1:{unused_port()}", materia)
    response = edge.get("/r/1").expect(503, body="the service's own page", x_own="1")
    assert "Strangler-Fallback" not in response


def test_pain_15_a_write_falls_back_only_if_nothing_was_sent(running, legacy, materia):
    materia.answers(close())
    edge = site(running, legacy, materia)
    with edge.client() as client:
        response = client.request("POST", "/r/1", body="a=1").expect(502)
    assert b"legacy=sent" in response.get("Proxy-Status")
    assert not legacy.requests
    materia.refuse()
    with edge.client() as client:
        client.request("POST", "/r/2", body="a=1").expect(200, body="django")
    assert legacy.requests[0].body == b"a=1"


def test_a_route_may_say_that_its_writes_are_safe(running, legacy, materia):
    materia.answers(close())
    edge = site(running, legacy, materia, {"fallback": {"then": ["legacy"], "writes": True}})
    with edge.client() as client:
        client.request("POST", "/r/1", body="a=1").expect(200, body="django")
    assert legacy.requests[0].body == b"a=1"


def test_pain_13_a_body_over_the_cap_does_not_fall_back_and_says_so(running, legacy, materia):
    materia.answers(respond(503))
    route = {"fallback": {"then": ["legacy"], "writes": True}, "body": {"replay": "1KB"}}
    edge = site(running, legacy, materia, route)
    with edge.client() as client:
        client.request("PUT", "/r/1", body="x" * 3000).expect(503)
    assert not legacy.requests


@pytest.mark.parametrize("status", [404, 429])
def test_pain_36_a_404_falls_back_where_the_route_says_so(status, running, legacy, materia):
    materia.answers(respond(status, "no such thing"))
    edge = site(running, legacy, materia, {"fallback": {"when": [status], "then": ["legacy"]}})
    edge.get("/r/1").expect(200, body="django", strangler_fallback=f"legacy;why={status}")


def test_pain_36_and_nowhere_else(running, legacy, materia):
    materia.answers(respond(404, "no such thing"))
    edge = site(running, legacy, materia)
    edge.get("/r/1").expect(404, body="no such thing")
    assert not legacy.requests


def test_rungs_follow_each_other_downwards(running, legacy, materia):
    with Upstream(respond(503, "no")) as second, Upstream(respond(body="third")) as third:
        materia.answers(close())
        route = {"fallback": ["second", "third", "legacy"]}
        edge = site(running, legacy, materia, route, second=second, third=third)
        edge.get("/r/1").expect(200, body="third", strangler_fallback="third;why=incomplete")
        assert len(second.requests) == 1 and not legacy.requests


def test_a_page_is_the_last_resort(running, materia):
    materia.answers(close())
    text = configuration(
        {"/**": "legacy", "/r/**": {"to": "materia", "fallback": ["legacy", "page:sorry.html"]}},
        upstreams={
            "legacy": {"url": f"http://127.0.0.1:{unused_port()}"},
            "materia": {"url": materia, "breaker": QUIET},
        },
    )
    edge = running(Edge(configuration(upstreams={"legacy": materia})))
    (edge.folder / "sorry.html").write_text("<p>back soon")
    edge.write(text)
    edge.wait_log("config.accepted")
    edge.get("/r/1").expect(
        502, body="<p>back soon", strangler_fallback="page;why=incomplete", cache_control="no-store"
    )


def test_sealed_routes_do_without_legacy(running, legacy, materia):
    materia.answers(close())
    edge = site(running, legacy, materia, {"stage": "sealed"})
    edge.get("/r/1").expect(502)
    assert not legacy.requests


def cached(ladder):
    return {"cache": CACHE, "fallback": ladder}


@pytest.mark.parametrize("rung", ["stale", "archive"])
def test_a_copy_stands_in_however_old(rung, running, legacy, materia):
    materia.answers(respond(body="materia", fields=[("Cache-Control", "max-age=1")]))
    edge = site(running, legacy, materia, cached([rung, "legacy"]))
    edge.get("/r/1").expect(200, body="materia")
    materia.answers(close())

    def old():
        response = edge.get("/r/1").expect(200)
        return "Strangler-Fallback" in response and response

    until(lambda: bool(old()))
    response = edge.get("/r/1").expect(
        200, body="materia", strangler_fallback=f"{rung};why=incomplete"
    )
    assert b"fwd=stale" in response.get("Cache-Status")
    assert not legacy.requests
    edge.get("/r/other").expect(200, body="django", strangler_fallback="legacy;why=incomplete")


def test_a_copy_that_must_not_be_stale_is_not(running, legacy, materia):
    materia.answers(respond(body="exact", fields=[("Cache-Control", "max-age=1, must-revalidate")]))
    edge = site(running, legacy, materia, cached(["stale", "archive", "legacy"]))
    edge.get("/r/1").expect(200, body="exact")
    materia.answers(respond(503))
    until(lambda: edge.get("/r/1").text == "django")


def test_readers_who_wait_together_fall_together_and_cost_legacy_one(running, legacy, materia):
    gate = threading.Event()
    materia.answers(lambda c: gate.wait(60), close())
    edge = site(running, legacy, materia, cached(["legacy"]))
    clients = [edge.client() for _ in range(10)]
    for client in clients:
        client.send(build("GET", "/r/1"))
    materia.wait_requests(1)
    all_taken(clients)
    gate.set()
    for client in clients:
        with client:
            client.read().expect(200, body="django", strangler_fallback="legacy;why=incomplete")
    assert len(legacy.requests) <= 2


def test_pain_16_through_the_cache_too(running, materia):
    materia.answers(respond(503, "the service's own page"))
    edge = site(running, f"http://127.0.0.1:{unused_port()}", materia, cached(["stale", "legacy"]))
    edge.get("/r/1").expect(503, body="the service's own page")


def test_the_dependence_meter_counts_what_legacy_saved(running, legacy, materia):
    edge = site(running, legacy, materia)
    edge.get("/r/1").expect(200, body="materia")
    materia.answers(close())
    for _ in range(3):
        edge.get("/r/1").expect(200, body="django")

    def told():
        _, workers = edge.admin_json("/-/workers")
        listed = workers["workers"] if isinstance(workers, dict) else workers
        return listed[0]["edge"].get("dependence", {}).get("/r/**", {})

    until(lambda: told().get("saved") == 3)
    assert told()["answers"] == 4


def test_a_thousand_fallbacks_are_no_second_outage(running, legacy, materia):
    """64 guests at work, 256 waiting, the rest on the next rung; legacy's readers are served."""
    gate = threading.Event()
    legacy.answers(lambda c: gate.wait(60), respond(body="django"))
    legacy.on("/own", respond(body="reader"))
    materia.refuse()
    edge = site(running, legacy, materia)
    clients = []
    try:
        for _ in range(400):
            client = edge.client()
            clients.append(client)
            client.send(build("GET", "/r/1"))
        until(lambda: len(legacy.requests) >= 64)
        start = time.monotonic()
        edge.get("/own").expect(200, body="reader")
        assert time.monotonic() - start < 9
        assert len([r for r in legacy.requests if r.path == b"/r/1"]) == 64
    finally:
        gate.set()
        statuses = []
        for client in clients:
            with client:
                statuses.append(client.read().status)
    assert statuses.count(200) >= 64
    assert set(statuses) <= {200, 502, 503}
