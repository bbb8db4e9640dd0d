# SPDX-License-Identifier: Apache-2.0
"""Another attempt, and why not: what may be repeated, from where, how soon, how often."""

from __future__ import annotations

import json
import time

import pytest

from strangler.testing import (
    Edge,
    Truncated,
    Upstream,
    black_hole,
    build,
    close,
    configuration,
    pause,
    respond,
    unused_port,
)

QUIET = {"min_requests": 100_000}
#: A busy machine may take a second or two for what is quick.
TIMES = {"connect": "9s", "first_byte": "3s", "between": "3s"}


def site(running, service, *, retry, timeout=TIMES, **route):
    """Return an edge whose /r/** is *service* alone: nobody answers in its stead."""
    upstreams = {
        "legacy": {"url": f"http://127.0.0.1:{unused_port()}"},
        "materia": {"url": service, "timeout": timeout, "breaker": QUIET},
    }
    options = {"to": "materia", "fallback": [], "retry": retry, **route}
    text = configuration({"/**": "legacy", "/r/**": options}, upstreams=upstreams)
    return running(Edge(text, access_log="json"))


def logged(edge, path):
    line = edge.wait_log(f'"path":"{path}"')
    return json.loads(line[line.index("{") :])


@pytest.mark.parametrize(
    "failure, word",
    [((close(),), "incomplete"), ((pause(60),), "timeout"), ((respond(503),), 503)],
)
def test_a_get_is_asked_once_more_where_the_route_says_so(failure, word, running, origin):
    origin.forget().answers(*failure).then(respond(body="second"))
    edge = site(running, origin, retry={"tries": 1, "when": [word]})
    edge.get("/r/1").expect(200, body="second")
    assert len(origin.requests) == 2
    told = logged(edge, "/r/1")
    assert (told["attempts"], told["retry"], told["error"]) == (2, "retry", "")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_is_safe_is_repeated_without_being_named(method, running, origin):
    """RFC 9110 §9.2.1, but for TRACE: the edge passes none on."""
    origin.forget().answers(close()).then(respond(204))
    edge = site(running, origin, retry={"tries": 1, "when": ["incomplete"]})
    with edge.client() as client:
        client.send(build(method, "/r/s"))
        assert client.read(method).status == 204
    assert [one.method for one in origin.requests] == [method.encode()] * 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_pain_15_what_writes_is_not_repeated_without_being_named(method, running, origin):
    """PUT and DELETE are idempotent by their definition (§9.2.2), not by every application's."""
    origin.forget().answers(close()).then(respond(204))
    edge = site(running, origin, retry={"tries": 1, "when": ["incomplete"]})
    with edge.client() as client:
        client.send(build(method, "/r/w"))
        assert client.read(method).status == 502
    assert len(origin.requests) == 1


def test_what_is_not_listed_is_not_repeated(running, origin):
    origin.forget().answers(respond(503, "the service's own"))
    edge = site(running, origin, retry={"tries": 3, "when": ["connect"]})
    edge.get("/r/2").expect(503, body="the service's own")
    assert len(origin.requests) == 1


def test_pain_15_a_post_is_never_made_twice(running, origin):
    origin.forget().answers(close())
    edge = site(running, origin, retry={"tries": 3, "when": ["incomplete", 503]})
    with edge.client() as client:
        response = client.request("POST", "/r/3", body="vote=1").expect(502)
    assert b"retry=not_repeatable" in response.get("Proxy-Status")
    assert len(origin.requests) == 1
    assert logged(edge, "/r/3")["retry"] == "not_repeatable"


def test_pain_15_a_post_with_the_declared_key_is_and_its_body_is_the_same(running, origin):
    origin.forget().answers(close()).then(respond(201, "made"))
    retry = {"tries": 1, "when": ["incomplete"], "idempotency_key": "Idempotency-Key"}
    edge = site(running, origin, retry=retry)
    with edge.client() as client:
        client.request("POST", "/r/4", [("Idempotency-Key", "a1")], body="vote=1").expect(201)
    first, second = origin.requests
    assert first.body == second.body == b"vote=1"


def test_pain_13_a_body_over_the_replay_cap_is_sent_once_and_the_log_says_why(running, origin):
    origin.forget().answers(respond(503))
    edge = site(
        running,
        origin,
        retry={"tries": 1, "when": [503], "methods": ["PUT"]},
        body={"replay": "1KB"},
    )
    with edge.client() as client:
        client.request("PUT", "/r/5", body="x" * 2000).expect(503)
    assert len(origin.requests) == 1
    assert logged(edge, "/r/5")["retry"] == "replay_over_cap"


def test_pain_13_a_body_below_it_is_replayed_whole(running, origin):
    origin.forget().answers(respond(503)).then(respond(200))
    edge = site(running, origin, retry={"tries": 1, "when": [503], "methods": ["PUT"]})
    with edge.client() as client:
        client.request("PUT", "/r/6", body="x" * 100_000).expect(200)
    assert [len(request.body) for request in origin.requests] == [100_000, 100_000]


def test_nothing_is_repeated_once_the_reader_has_a_byte(running, origin):
    origin.forget().answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close())
    edge = site(running, origin, retry={"tries": 3, "when": ["incomplete"]})
    with pytest.raises(Truncated):
        edge.get("/r/7")
    assert len(origin.requests) == 1
    assert logged(edge, "/r/7")["retry"] == "answer_begun"


def test_when_the_retry_fails_too_the_services_own_answer_is_given(running):
    with Upstream(respond(503, "come back later")) as service:
        service.then(b"HTTP/1.1 200 OK\r\nContent-", close())
        edge = site(running, service, retry={"tries": 1, "when": [503]})
        edge.get("/r/8").expect(503, body="come back later")
        assert len(service.requests) == 2


def test_retry_after_is_waited_for_but_not_for_ever(running, origin):
    origin.forget().answers(respond(503, fields=[("Retry-After", "1")])).then(respond(200))
    edge = site(running, origin, retry={"tries": 1, "when": [503]})
    start = time.monotonic()
    edge.get("/r/9").expect(200)
    assert time.monotonic() - start > 0.95
    origin.forget().answers(respond(503, fields=[("Retry-After", "60")]))
    edge.get("/r/10").expect(503)
    assert logged(edge, "/r/10")["retry"] == "retry_after"
    assert len(origin.requests) == 1


def test_the_budget_stops_what_would_double_the_load(running, origin):
    origin.forget().answers(respond(503))
    retry = {"tries": 1, "when": [503], "backoff": {"base": "0s"}}
    edge = site(running, origin, retry=retry)
    for number in range(20):
        edge.get(f"/r/b{number}").expect(503)
    assert 20 < len(origin.requests) <= 20 + 5, "20 % of the attempts, and 3 in any case"
    edge.wait_log('"retry":"budget"')


def test_an_endpoint_that_refuses_costs_no_reader_and_no_try(running, origin):
    origin.forget().answers(respond(body="alive"))
    dead = f"http://127.0.0.1:{unused_port()}"
    edge = site(running, [dead, origin.url], retry={"tries": 0})
    for number in range(30):
        edge.get(f"/r/e{number}").expect(200, body="alive")
    line = edge.wait_log("endpoint.ejected")
    assert "why=refused" in line


def test_a_post_goes_to_another_endpoint_if_nothing_of_it_was_sent(running, origin):
    origin.forget().answers(respond(201))
    with black_hole() as port:
        urls, timeout = [f"http://127.0.0.1:{port}", origin.url], {"connect": "2s"}
        edge = site(running, urls, retry={"tries": 0}, timeout=timeout)
        for number in range(4):
            with edge.client() as client:
                client.request("POST", f"/r/p{number}", body="once").expect(201)
    assert [request.body for request in origin.requests] == [b"once"] * 4


def test_a_retry_prefers_another_endpoint(running, origin):
    origin.forget().answers(respond(body="good"))
    with Upstream(respond(503)) as bad:
        retry = {"tries": 1, "when": [503], "backoff": {"base": "0s"}, "budget": "100%"}
        edge = site(running, [bad.url, origin.url], retry=retry)
        for number in range(10):
            edge.get(f"/r/o{number}").expect(200, body="good")


def test_a_reader_who_leaves_while_a_retry_waits_ends_it(running, origin):
    origin.forget().answers(respond(503, fields=[("Retry-After", "20")]))
    retry = {"tries": 1, "when": [503], "backoff": {"cap": "30s"}}
    edge = site(running, origin, retry=retry)
    client = edge.client()
    client.send(build("GET", "/r/gone"))
    origin.wait_requests(1)
    client.reset()
    assert logged(edge, "/r/gone")["error"] == "client_aborted"
    origin.answers(respond(404))
    edge.get("/r/after").expect(404)
    assert all(request.path != b"/r/gone" for request in origin.requests[1:])
