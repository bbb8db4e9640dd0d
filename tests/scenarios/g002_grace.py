# SPDX-License-Identifier: Apache-2.0
"""Grace: what readers get while the origin is sick, slow, gone, or being asked.

RFC 5861; behaviours 13, issue "Stale and grace"; pain 39.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from scenarios.story import EXPIRED, cache_status, cached, detail, kept_below, opened, together

from strangler.testing import Edge, Response, Upstream, black_hole, close, respond, until, wait

ROUTES = {
    "/grace/**": {"to": "app", "cache": {"edge": "1s", "grace": "60s"}},
    "/short/**": {
        "to": "app",
        "cache": {"edge": "1s", "stale_while_revalidate": "1s", "stale_if_error": "60s"},
    },
    "/longer/**": {"to": "app", "cache": {"edge": "1s", "stale_while_revalidate": "60s"}},
    "/ladder/**": {
        "to": "app",
        "cache": {"edge": "1s", "shared": "1s", "grace": "60s"},
        "fallback": ["stale", "legacy"],
    },
    "/archived/**": {
        "to": "app",
        "cache": {"edge": "1s", "shared": "1s", "archive": "30d"},
        "fallback": ["stale", "legacy", "archive"],
    },
    "/falls/**": {
        "to": "app",
        "cache": {"edge": "1s", "stale_if_error": "60s"},
        "fallback": ["stale", "legacy"],
    },
    "/straight/**": {"to": "app", "cache": {"edge": "1s"}, "fallback": ["legacy"]},
    "/origin/**": {"to": "app", "cache": "origin", "fallback": ["stale", "legacy"]},
    "/**": "legacy",
}


class Site:
    """An app, a legacy and an edge before them, for one test."""

    def __init__(self, *, app=None, **sections) -> None:
        self.app = Upstream().reply(200, "page")
        self.legacy = Upstream().reply(200, "from django", cache_control="no-store")
        text = cached(
            self.app,
            app=app,
            routes=ROUTES,
            upstreams={"legacy": self.legacy},
            **sections,
        )
        self.edge = Edge(text, access_log="off")

    def get(self, path: str) -> Response:
        return self.edge.get(path)

    def stop(self, *, kill: bool = False) -> None:
        try:
            self.edge.kill() if kill else self.edge.stop()
        finally:
            self.app.stop()
            self.legacy.stop()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def steady() -> Iterator[Site]:
    made = Site(app={"timeout": {"connect": "3s", "first_byte": "3s"}})
    yield made
    made.stop()


SICK = {
    "500": respond(500, "oops"),
    "502": respond(502, "oops"),
    "503": respond(503, "oops", [("Cache-Control", "max-age=60")]),
    "504": respond(504, "oops"),
    "closes": close(),
    "silent": wait(threading.Event(), 30),
}


def test_each_sickness_is_survived_by_stale(steady):
    """All at once, for each has to wait for its page to expire."""

    def one(number: int) -> str:
        name, step = list(SICK.items())[number]
        for route in ("/grace", "/falls"):
            steady.app.on(f"{route}/{name}", respond(200, "good"))
            assert steady.get(f"{route}/{name}").text == "good"
        time.sleep(EXPIRED)
        for route in ("/grace", "/falls"):
            steady.app.on(f"{route}/{name}", step)
            for _ in range(3):
                began = time.monotonic()
                response = steady.get(f"{route}/{name}")
                got = (response.status, response.text)
                assert got == (200, "good"), f"{route}/{name}: {got} {response.head!r}"
                assert int(response.get("age") or b"0") >= 1
                assert time.monotonic() - began < 9
        for route in ("/grace", "/falls"):  # it is well again
            steady.app.on(f"{route}/{name}", respond(200, "better"))
            until(lambda r=route: steady.get(f"{r}/{name}").text == "better", what=name)
        return name

    assert together(len(SICK), one) == list(SICK)


def test_stale_comes_before_legacy_and_legacy_where_there_is_none(steady):
    steady.app.on("/falls/known", respond(200, "good"))
    steady.get("/falls/known").expect(200, body="good")
    time.sleep(EXPIRED)
    steady.app.on("/falls/known", respond(503, "oops"))
    steady.app.on("/falls/unknown", respond(503, "oops"))
    steady.get("/falls/known").expect(200, body="good")
    steady.get("/falls/unknown").expect(200, body="from django")


def test_without_stale_in_its_list_a_route_goes_to_legacy(steady):
    steady.app.on("/straight/x", respond(200, "good"))
    steady.get("/straight/x").expect(200, body="good")
    time.sleep(EXPIRED)
    steady.app.on("/straight/x", respond(503, "oops"))
    steady.get("/straight/x").expect(200, body="from django")


def test_what_the_fallback_answers_does_not_take_the_pages_place(steady):
    """Legacy's page may be stored, but never as the service's, whose turn comes again."""
    steady.legacy.on(
        "/straight/kept", respond(200, "from django", [("Cache-Control", "max-age=60")])
    )
    steady.app.on("/straight/kept", respond(503, "oops"))
    steady.get("/straight/kept").expect(200, body="from django")
    steady.app.on("/straight/kept", respond(200, "good"))
    steady.get("/straight/kept").expect(200, body="good")


def test_short_when_healthy_long_when_sick(steady):
    """Served stale at once for so long as is said; for a minute only because the origin is sick."""
    steady.app.on("/longer/x", respond(200, "good"))
    steady.app.on("/short/y", respond(200, "good"))
    steady.get("/longer/x").expect(200)
    steady.get("/short/y").expect(200)
    time.sleep(EXPIRED)
    steady.app.on("/longer/x", respond(200, "new"))
    assert steady.get("/longer/x").text == "good"  # inside stale-while-revalidate
    time.sleep(1.0)
    steady.app.on("/short/y", respond(200, "new"))
    assert steady.get("/short/y").text == "new"  # outside of it a healthy origin is asked
    steady.app.on("/short/y", respond(503, "oops"))
    time.sleep(EXPIRED + 1)
    assert steady.get("/short/y").text == "new"  # and a sick one is excused


def test_one_refresh_in_the_background_however_many_ask(steady):
    path = "/origin/many"
    short = [("Cache-Control", "max-age=1, stale-while-revalidate=60")]
    steady.app.on(path, respond(200, "good", short))
    steady.get(path).expect(200)
    time.sleep(EXPIRED)
    go = threading.Event()
    steady.app.on(path, wait(go, 20), respond(200, "new", [("Cache-Control", "max-age=60")]))
    before = len(steady.app.requests)
    began = time.monotonic()
    answers = together(30, lambda _: steady.get(path))
    assert {each.text for each in answers} == {"good"}
    assert time.monotonic() - began < 15, "readers waited for the refresh"
    go.set()
    until(lambda: steady.get(path).text == "new")
    assert sum(each.path == path.encode() for each in steady.app.requests[before:]) == 1


def test_a_connection_refused_is_survived(site):
    site.get("/grace/x").expect(200, body="page")
    site.get("/ladder/x").expect(200, body="page")
    site.get("/falls/x").expect(200, body="page")
    time.sleep(EXPIRED)
    site.app.refuse()
    for path in ("/grace/x", "/ladder/x", "/falls/x"):
        for _ in range(3):
            response = site.get(path).expect(200, body="page")
            status = cache_status(response)
            assert status is not None and status.get("ttl", 1) <= 0, status
    site.get("/falls/never-seen").expect(200, body="from django")


def test_an_open_breaker_is_survived():
    site = Site(app={"breaker": {"min_requests": 3, "window": "10s", "retry_in": "30s..60s"}})
    try:
        site.get("/falls/x").expect(200, body="page")
        time.sleep(EXPIRED)
        site.app.answers(respond(503, "oops"))
        for number in range(8):
            site.get(f"/falls/other-{number}").expect(200, body="from django")
        site.get("/falls/x").expect(200, body="page")
    finally:
        site.stop()


def test_a_black_hole_is_survived_within_the_limit():
    with black_hole() as port:
        site = Site(app={"timeout": {"connect": "400ms", "first_byte": "1s"}})
        try:
            site.get("/falls/x").expect(200, body="page")
            text = site.edge.config.read_text()
            generation = site.edge.admin_json("/-/config")[1]["generation"]
            site.edge.write(text.replace(site.app.url, f"http://127.0.0.1:{port}"))
            until(lambda: site.edge.admin_json("/-/config")[1]["generation"] > generation)
            time.sleep(EXPIRED)
            began = time.monotonic()
            site.get("/falls/x").expect(200, body="page")
            assert time.monotonic() - began < 9
        finally:
            site.stop()


def test_the_archive_is_the_last_rung(site):
    opened(site.edge, "/archived/", "archive")
    first = site.get("/archived/x").expect(200, body="page")
    assert "hit" not in (cache_status(first) or {})
    kept_below(site.edge, "/archived/x", "archive")
    time.sleep(EXPIRED)
    site.app.refuse()
    response = site.get("/archived/x").expect(200, body="page")
    assert detail(response) == "archive"
    assert int(response.get("age") or b"0") >= 1


def test_pain_39_a_500_does_not_overwrite_the_good_copy_in_any_tier(site):
    site.get("/ladder/x").expect(200, body="page")
    time.sleep(EXPIRED)
    site.app.answers(respond(500, "oops", [("Cache-Control", "max-age=60")]))
    for _ in range(3):
        site.get("/ladder/x").expect(200, body="page")
    site.app.refuse()
    site.get("/ladder/x").expect(200, body="page")


def test_a_truncated_refresh_does_not_overwrite_the_good_copy(steady):
    path = "/grace/truncated"
    steady.app.on(path, respond(200, "good"))
    steady.get(path).expect(200, body="good")
    time.sleep(EXPIRED)
    steady.app.on(path, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbroken", close())
    before = len(steady.app.requests)
    for _ in range(4):
        steady.get(path).expect(200, body="good")
        time.sleep(0.05)
    assert len(steady.app.requests) > before
