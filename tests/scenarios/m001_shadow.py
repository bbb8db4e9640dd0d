# SPDX-License-Identifier: Apache-2.0
"""Copies to the other side: which, how many, what they look like, and that no reader notices."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack

import pytest
from scenarios.story import said_by_all

from strangler.testing import (
    Edge,
    RawClient,
    Upstream,
    build,
    close,
    configuration,
    endless,
    hang,
    respond,
    until,
    wait,
)

#: More than four times the deviation of 400 draws at a half.
FEW, MANY = 150, 250


class Site:
    """An edge between two sides, legacy and materia."""

    def __init__(self, edge, legacy, service):
        self.edge, self.legacy, self.service = edge, legacy, service

    def counts(self, route):
        return said_by_all(self.edge, "/-/parity")["routes"].get(route, {})

    def settled(self, route, shadowed, **expected):
        """Wait until *shadowed* copies are over; return the counts, which add up."""
        until(lambda: (c := self.counts(route)) and c["shadowed"] >= shadowed and not c["pending"])
        counts = self.counts(route)
        parts = [counts[name] for name in ("equal", "mismatched", "failed", "dropped")]
        assert counts["shadowed"] == sum(parts) == shadowed
        for name, number in expected.items():
            assert counts[name] == number, counts
        return counts


ROUTES = {
    "/**": "legacy",
    "/s/**": {"to": "materia", "stage": "shadow 100%"},
    "/half/**": {"to": "materia", "stage": "shadow 50%"},
    "/none/**": {"to": "materia", "stage": "shadow 0%"},
    "/live/**": {"to": "materia", "compare": "100%", "fallback": []},
    "/canary/**": {"to": "materia", "stage": "canary 50%", "compare": "50%"},
    "/sealed/**": {"to": "materia", "stage": "sealed", "compare": "100%"},
    "/host/**": {
        "to": "materia",
        "stage": "shadow 100%",
        "host": "upstream",
        "rewrite": "/v2/{**}",
    },
    "/cached/**": {"to": "materia", "stage": "shadow 100%", "cache": {"edge": "1h"}},
    "/slow/**": {"to": "materia", "stage": "shadow 100%", "timeout": {"first_byte": "2s"}},
}


@pytest.fixture(scope="module")
def site():
    with ExitStack() as stack:
        legacy, service = (stack.enter_context(Upstream(respond(body="same"))) for _ in range(2))
        upstreams = {"legacy": legacy, "materia": {"url": service, "breaker": "none"}}
        edge = stack.enter_context(Edge(configuration(ROUTES, upstreams=upstreams)))
        yield Site(edge, legacy, service)


@pytest.fixture
def fresh(site):
    """The site with both sides answering alike, and nothing under way."""

    def over():
        _, told = site.edge.admin_json("/-/parity")
        return not any(counts["pending"] for counts in told["routes"].values())

    until(over)
    for side in (site.legacy, site.service):
        side.forget().answers(respond(body="same"))
    return site


def lines(request):
    return sorted((name.lower(), value) for name, value in request.fields)


def test_pain_19_a_copy_is_the_same_request_and_one_field_more(fresh):
    with fresh.edge.client() as client:
        client.request(
            "GET",
            "/s/a%2Fb//c?q=%20x",
            [("Cookie", "sessionid=1"), ("Authorization", "Basic eA=="), ("X-Own", "1")],
        ).expect(200, body="same")
    fresh.service.wait_requests(1)
    [asked], [copy] = fresh.legacy.requests, fresh.service.requests
    assert (copy.method, copy.target) == (asked.method, asked.target)
    assert lines(copy) == sorted([*lines(asked), (b"strangler-shadow", b"1")])
    assert copy.get("Host") == b"www.example.com"


def test_a_copy_goes_where_the_live_request_would(fresh):
    fresh.edge.get("/host/x?y").expect(200)
    fresh.service.wait_requests(1)
    [copy] = fresh.service.requests
    assert copy.target == b"/v2/x?y"
    assert copy.get("Host").decode() == fresh.service.address
    assert fresh.legacy.requests[0].target == b"/host/x?y"


def test_pain_18_writes_are_never_copied(fresh):
    with fresh.edge.client() as client:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            client.request(method, "/s/w", body="x").expect(200)
            client.request(method, "/s/none", [("Content-Length", "0")]).expect(200)
        client.request("GET", "/s/body", body="x").expect(200)
        client.request("GET", "/s/last").expect(200)
    fresh.service.wait_requests(1)
    assert [request.target for request in fresh.service.requests] == [b"/s/last"]


def test_a_readers_own_mark_counts_for_nothing(fresh):
    fresh.edge.get("/none/x", Strangler_Shadow="1").expect(200)
    [asked] = fresh.legacy.requests
    assert asked.get("Strangler-Shadow") is None
    assert not fresh.service.requests


def test_pain_22_the_share_is_right_beside_a_canary(fresh):
    with fresh.edge.client() as client:
        for number in range(400):
            client.get(f"/half/{number}").expect(200)
            client.request(
                "GET", "/canary/x", [("Cookie", f"strangler_reader=reader{number:012}")]
            ).expect(200)

    def marked(side, path):
        found = [r for r in side.requests if r.target.startswith(path)]
        copies = [r for r in found if r.get("Strangler-Shadow") is not None]
        return len(copies), len(found) - len(copies)

    until(lambda: fresh.counts("/canary/**")["pending"] == fresh.counts("/half/**")["pending"] == 0)
    half = fresh.counts("/half/**")["shadowed"]
    canary = fresh.counts("/canary/**")["shadowed"]
    assert FEW < half < MANY
    assert marked(fresh.service, b"/half/") == (half, 0)
    to_service, by_service = marked(fresh.service, b"/canary/")
    to_legacy, by_legacy = marked(fresh.legacy, b"/canary/")
    assert by_service + by_legacy == 400
    assert FEW < by_service < MANY
    assert to_service + to_legacy == canary
    assert FEW < canary < MANY
    # Within each arm a half is copied, to the other one: the two draws are independent.
    assert abs(to_legacy / by_service - 0.5) < 0.2
    assert abs(to_service / by_legacy - 0.5) < 0.2


def test_a_live_route_is_proved_against_legacy(fresh):
    fresh.edge.get("/live/a").expect(200)
    fresh.legacy.wait_requests(1)
    assert fresh.legacy.requests[0].get("Strangler-Shadow") == b"1"
    assert fresh.service.requests[0].get("Strangler-Shadow") is None


def test_a_sealed_route_asks_legacy_nothing(fresh):
    fresh.edge.get("/sealed/a").expect(200)
    fresh.edge.get("/live/b").expect(200)
    fresh.legacy.wait_requests(1)
    assert [r.target for r in fresh.legacy.requests] == [b"/live/b"]


def test_pain_21_a_copy_leaves_no_line_and_no_count(fresh):
    mark = len(fresh.edge.lines)
    fresh.edge.get("/s/unseen").expect(200)
    fresh.edge.wait_log("/s/unseen", after=mark)
    fresh.service.wait_requests(1)
    _, told = fresh.edge.admin_json("/-/workers")
    fresh.edge.get("/none/after").expect(200)
    fresh.edge.wait_log("/none/after", after=mark)
    assert sum("/s/unseen" in line for line in fresh.edge.lines[mark:]) == 1
    assert told["workers"][0]["edge"]["upstreams"]["materia"]["failed"] == 0


def test_no_reader_waits_for_a_copy(fresh):
    fresh.service.answers(hang())
    start = time.monotonic()
    with fresh.edge.client() as client:
        for number in range(40):
            client.get(f"/slow/{number}").expect(200, body="same")
    assert time.monotonic() - start < 40
    fresh.settled("/slow/**", 40)


def test_the_reader_has_the_whole_answer_before_the_copy_begins(fresh):
    gate = threading.Event()
    fresh.legacy.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsa", wait(gate), b"me")
    with fresh.edge.client() as client:
        client.send(build("GET", "/s/slowly"))
        client.read_content(2)
        assert not fresh.service.requests
        gate.set()
        client.read().expect(200, body="same")
    fresh.service.wait_requests(1)


def test_a_sick_service_is_left_alone_and_harms_nobody():
    """Its copies open a breaker of their own; the readers' breaker never hears of them."""
    routes = {"/**": "legacy", "/s/**": ROUTES["/s/**"], "/live/**": "materia"}
    with Upstream(respond(body="same")) as legacy, Upstream(respond(body="same")) as service:
        breaker = {"window": "5m", "retry_in": "5m..5m"}  # no probe of it while this counts
        upstreams = {"legacy": legacy, "materia": {"url": service, "breaker": breaker}}
        with Edge(configuration(routes, upstreams=upstreams)) as edge:
            site = Site(edge, legacy, service)
            service.answers(close())
            for number in range(60):
                edge.get(f"/s/{number}").expect(200)
                until(
                    lambda n=number: (
                        site.counts("/s/**").get("shadowed") == n + 1
                        and not site.counts("/s/**")["pending"]
                    )
                )
            edge.wait_log('breaker.open name="shadow materia"')
            edge.wait_log("shadow.failed .*error=connection_terminated")
            counts = site.settled("/s/**", 60, equal=0, mismatched=0)
            assert counts["failed"] == 20 and counts["drops"] == {"breaker": 40}
            service.answers(respond(body="well"))
            edge.get("/live/x").expect(200, body="well")
            _, told = edge.admin_json("/-/workers")
            materia = told["workers"][0]["edge"]["upstreams"]["materia"]
            assert materia["breaker"]["word"] == "closed"
            assert materia["failed"] == 0


def test_copies_hold_back_where_a_live_breaker_is_open_and_places_are_short():
    routes = {"/**": "legacy", "/s/**": ROUTES["/s/**"], "/live/**": "materia"}
    gate = threading.Event()
    with Upstream(respond(body="same")) as legacy, Upstream(respond(body="same")) as service:
        upstreams = {"legacy": legacy, "materia": {"url": service, "max_inflight": 2}}
        with Edge(configuration(routes, upstreams=upstreams)) as edge:
            site = Site(edge, legacy, service)
            service.answers(wait(gate), respond(body="same"))
            for number in range(3):
                edge.get(f"/s/{number}").expect(200)
            until(lambda: site.counts("/s/**").get("dropped") == 2)
            assert site.counts("/s/**")["drops"] == {"busy": 2}
            with edge.client() as client:
                client.send(build("GET", "/live/x"))
                service.wait_requests(2)  # there is a place left for a reader
                gate.set()
                client.read().expect(200)
            site.settled("/s/**", 3, equal=1)


def test_pain_17_what_is_too_much_is_dropped_and_counted(fresh):
    """Legacy's answers are held for copies only as far as there is memory for it."""
    fresh.legacy.answers(respond(body=b"x" * (17 << 20)))
    with fresh.edge.client(keep=10) as client:
        assert client.get("/live-not/a").status == 200
    before = fresh.counts("/s/**")
    with fresh.edge.client(keep=10) as client:
        assert client.get("/s/huge").status == 200
    until(lambda: fresh.counts("/s/**")["drops"].get("too_large") == 1)
    after = fresh.counts("/s/**")
    assert after["shadowed"] == before["shadowed"] + 1
    assert not fresh.service.requests


def test_streams_and_readers_who_leave_are_never_copied(fresh):
    before = fresh.counts("/s/**")["skips"]
    fresh.legacy.answers(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", endless(b"data: x\n\n")
    )
    with fresh.edge.client() as client:
        client.send(build("GET", "/s/events"))
        client.read_content(10)
    fresh.legacy.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", hang())
    with fresh.edge.client() as client:
        client.send(build("GET", "/s/left"))
        client.read_content(4)

    def more(word):
        return fresh.counts("/s/**")["skips"].get(word, 0) - before.get(word, 0)

    until(lambda: more("stream") == 1 and more("no_answer") == 1)
    assert not fresh.service.requests


def test_a_304_has_nothing_to_compare(fresh):
    fresh.legacy.answers(respond(304))
    fresh.edge.get("/s/known", If_None_Match='"a"').expect(304)
    until(lambda: fresh.counts("/s/**")["skips"].get("not_modified") == 1)
    assert not fresh.service.requests
    fresh.legacy.answers(respond(body="same"))
    fresh.edge.get("/s/known", If_None_Match='"a"').expect(200)
    fresh.service.wait_requests(1)
    assert fresh.service.requests[0].get("If-None-Match") == b'"a"', "the same request"


def test_ranges_are_copied_as_they_are(fresh):
    part = respond(206, "am", [("Content-Range", "bytes 1-2/4")])
    for side in (fresh.legacy, fresh.service):
        side.answers(part)
    before = fresh.counts("/s/**")["equal"]
    fresh.edge.get("/s/part", Range="bytes=1-2").expect(206)
    until(lambda: fresh.counts("/s/**")["equal"] == before + 1)
    assert fresh.service.requests[0].get("Range") == b"bytes=1-2"


def test_only_what_is_fetched_is_copied_from_a_cached_route(fresh):
    """A hit costs legacy nothing, and was compared when it was fetched."""
    for _ in range(3):
        fresh.edge.get("/cached/a", If_None_Match='"x"').expect(200, body="same")
    fresh.settled("/cached/**", 1, equal=1)
    [asked], [copy] = fresh.legacy.requests, fresh.service.requests
    assert copy.get("If-None-Match") is None, "the cache asks for itself"
    assert lines(copy) == sorted([*lines(asked), (b"strangler-shadow", b"1")])


def test_copies_are_counted_apart_in_the_metrics(fresh):
    def told(name):
        with RawClient(
            fresh.edge.admin, server_name=f"127.0.0.1:{fresh.edge.admin_port}"
        ) as client:
            text = client.get("/-/metrics").expect(200).text
        lines = [line for line in text.splitlines() if line.startswith(name) and '"/s/**"' in line]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    equal = fresh.counts("/s/**").get("equal", 0)
    fresh.edge.get("/s/counted").expect(200)
    until(lambda: fresh.counts("/s/**")["equal"] > equal)
    counts = fresh.counts("/s/**")
    until(
        lambda: (
            {label: value for label, value in told("strangler_shadows_total").items() if value}
            == {
                f'strangler_shadows_total{{route="/s/**",outcome="{word}"}}': float(counts[name])
                for word, name in (
                    ("equal", "equal"),
                    ("mismatch", "mismatched"),
                    ("failed", "failed"),
                    ("dropped", "dropped"),
                )
                if counts[name]
            }
        )
    )
    assert not any('target="service"' in label for label in told("strangler_requests_total"))


def test_an_operator_stops_all_copies(fresh):
    edge = fresh.edge
    secret = (edge.folder / "var" / "admin.token").read_text().strip()

    def post(path, **document):
        fields = [("Authorization", f"Bearer {secret}"), ("Content-Type", "application/json")]
        with RawClient(edge.admin, server_name=f"127.0.0.1:{edge.admin_port}") as client:
            response = client.request("POST", f"/-{path}", fields, json.dumps(document))
            return response.status, json.loads(response.text)

    asked = {"kind": "shadows", "subject": "site", "value": "stop", "reason": "too much for it"}
    status, told = post("/overrides", **asked)
    assert status == 201, told
    edge.get("/s/stopped").expect(200)
    status, told = post("/overrides/undo", id=told["override"]["id"], reason="it has recovered")
    assert status == 200, told
    edge.get("/s/again").expect(200)
    fresh.service.wait_requests(1)
    assert [request.target for request in fresh.service.requests] == [b"/s/again"]
