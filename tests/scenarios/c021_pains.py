# SPDX-License-Identifier: Apache-2.0
"""What hurts users of other caches (pains 37 to 40 and 48), by name and with their applications.

Pain 39 is also in c013 and g002, pain 40 in g001, where the collapsing is.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator

import pytest
from scenarios.story import cache_status, cached, detail, opened, together

from strangler.testing import Connection, Edge, Upstream, respond

ROUTES = {
    "/site/**": {"to": "app", "cache": {"edge": "60s", "shared": "60s"}},
    "/lang/**": {"to": "app", "cache": {"edge": "60s", "key": {"cookies": ["lang"]}}},
    "/static/**": {
        "to": "app",
        "cache": {"edge": "60s"},
        "fallback": {"when": ["connect", 404, 503], "then": ["legacy"]},
    },
    "/origin/**": {"to": "app", "cache": "origin"},
    "/**": "legacy",
}


def django(connection: Connection) -> None:
    """Answer as Django does: a session for whoever has one, a CSRF cookie where a form is."""
    request = connection.request
    assert request is not None
    cookie = (request.get("cookie") or b"").decode()
    session = re.search(r"sessionid=(\w+)", cookie)
    fields = [("Vary", "Cookie"), ("Content-Type", "text/html")]
    page = f"page for {session[1] if session else 'anybody'}"
    if b"form" in request.path:
        page += f" token {next(_tokens)}"
        fields.append(("Set-Cookie", f"csrftoken={page[-6:]}; Path=/; SameSite=Lax"))
    if b"login" in request.path:
        fields.append(("Set-Cookie", f"sessionid=new{next(_tokens)}; HttpOnly"))
    respond(200, page, fields)(connection)


_tokens = itertools.count(100_000)


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    with Upstream(django) as made:
        yield made


@pytest.fixture(scope="module")
def legacy() -> Iterator[Upstream]:
    with Upstream() as made:
        made.answers(respond(404, "legacy knows it not"))
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream, legacy: Upstream) -> Iterator[Edge]:
    with Edge(cached(origin, routes=ROUTES, upstreams={"legacy": legacy})) as made:
        yield made


def asked(origin: Upstream, path: str) -> int:
    return sum(each.path == path.encode() for each in origin.requests)


# -- 37: Set-Cookie or CSRF token cached, users mixed up


def test_pain_37_no_reader_gets_anothers_csrf_token(edge):
    answers = together(20, lambda _: edge.get("/site/form"))
    assert len({each.text for each in answers}) == 20
    assert len({each.get("set-cookie") for each in answers}) == 20


def test_pain_37_no_reader_gets_anothers_session(edge):
    answers = together(10, lambda _: edge.get("/site/login"))
    assert len({each.get("set-cookie") for each in answers}) == 10


def test_pain_37_users_are_not_mixed_up(edge):
    def one(number: int) -> None:
        who = f"user{number % 5}"
        for _ in range(5):
            answer = edge.get("/site/profile", Cookie=f"sessionid={who}").expect(200)
            assert answer.text == f"page for {who}"

    together(10, one)
    edge.get("/site/profile").expect(200, body="page for anybody")
    edge.get("/site/profile", Cookie="sessionid=user1").expect(200, body="page for user1")


def test_pain_37_the_reason_is_told(edge):
    answer = edge.get("/site/form?told").expect(200)
    assert detail(answer) == "set-cookie"
    edge.wait_log(r"/site/form\?told.*set-cookie|set-cookie.*/site/form\?told")


# -- 38: Vary: Cookie makes every page a miss


def test_pain_38_analytics_cookies_never_split_a_page(edge, origin):
    """A page that varies by one cookie is one page a value, whatever else a reader carries."""
    path = "/lang/home"
    origin.on(path, respond(200, "home", [("Vary", "Cookie")]))
    values = itertools.count()

    def one(number: int) -> bool:
        lang = ("pt", "en")[number % 2]
        cookie = f"_ga=GA1.2.{next(values)}; lang={lang}; _fbp=fb.{number}; sessionid=s{number}"
        return "hit" in (cache_status(edge.get(path, Cookie=cookie).expect(200)) or {})

    one(0), one(1)
    assert all(together(40, one))
    assert asked(origin, path) == 2


def test_pain_38_readers_without_cookies_share_though_others_have_some(edge, origin):
    path = "/site/home"
    origin.on(path, respond(200, "home", [("Vary", "Cookie")]))
    edge.get(path).expect(200)
    for number in range(10):
        edge.get(path, Cookie=f"_ga={number}").expect(200)
        assert "hit" in (cache_status(edge.get(path)) or {})
    assert asked(origin, path) == 11


def test_pain_38_cookies_alone_split_nothing(edge, origin):
    path = "/origin/plain"
    origin.on(path, respond(200, "x", [("Cache-Control", "max-age=60")]))
    together(30, lambda number: edge.get(path, Cookie=f"_ga={number}").expect(200))
    assert asked(origin, path) == 1


# -- 39: a 500 overwrites the good stale copy


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_pain_39_an_error_never_replaces_a_good_copy(status, edge, origin):
    path = f"/origin/good-{status}"
    fields = [("Cache-Control", "max-age=0, stale-if-error=600"), ("ETag", '"1"')]
    origin.on(path, respond(200, "good", fields))
    edge.get(path).expect(200, body="good")
    origin.on(path, respond(status, "oops", [("Cache-Control", "max-age=60")]))
    for _ in range(5):
        edge.get(path).expect(200, body="good")
    origin.on(path, respond(200, "better", [("Cache-Control", "max-age=60")]))
    edge.get(path).expect(200, body="better")


# -- 40: thundering herd


def test_pain_40_fifty_clients_make_one_fetch(edge, origin):
    path = "/site/herd"
    opened(edge, "/site/")
    go = threading.Event()

    def slow(connection: Connection) -> None:
        go.wait(0.3)
        respond(200, "x")(connection)

    origin.on(path, slow)
    answers = together(50, lambda _: edge.get(path))
    assert {each.text for each in answers} == {"x"}
    assert asked(origin, path) == 1


def test_pain_40_nor_when_each_page_expires_at_the_same_moment(edge, origin):
    paths = [f"/origin/expire-{number}" for number in range(10)]
    for path in paths:
        origin.on(path, respond(200, "x", [("Cache-Control", "max-age=1")]))
        edge.get(path).expect(200)
    time.sleep(1.2)
    together(50, lambda number: edge.get(paths[number % 10]).expect(200))
    # One more each; a second one where a whole lifetime of a second passed meanwhile.
    assert all(2 <= asked(origin, path) <= 3 for path in paths)


# -- 48: new HTML, old assets


def test_pain_48_an_asset_is_tried_on_the_other_side(edge, origin, legacy):
    path = "/static/app.3f2a91bc.js"
    origin.on(path, respond(404, "no such asset"))
    legacy.on(path, respond(200, "old script", [("Cache-Control", "max-age=60")]))
    edge.get(path).expect(200, body="old script")


def test_pain_48_the_sides_404_is_not_kept_in_the_assets_place(edge, origin, legacy):
    path = "/static/app.77aa0102.js"
    origin.on(path, respond(404, "no such asset", [("Cache-Control", "max-age=60")]))
    legacy.on(path, respond(200, "old script", [("Cache-Control", "max-age=60")]))
    for _ in range(3):
        edge.get(path).expect(200, body="old script")


def test_pain_48_who_has_it_is_remembered(edge, origin, legacy):
    """Ten readers of an old asset must not cost ten 404s of the new side."""
    path = "/static/app.55cc0304.js"
    origin.on(path, respond(404, "no such asset"))
    legacy.on(path, respond(200, "old script", [("Cache-Control", "max-age=60")]))
    for _ in range(10):
        edge.get(path).expect(200, body="old script")
    assert asked(origin, path) + asked(legacy, path) <= 4


def test_pain_48_what_neither_has_is_a_404(edge, origin, legacy):
    path = "/static/app.00000000.js"
    origin.on(path, respond(404, "no such asset"))
    edge.get(path).expect(404)
    assert asked(origin, path) >= 1
    assert asked(legacy, path) >= 1
