# SPDX-License-Identifier: Apache-2.0
"""The admin listener's answers, over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from types import SimpleNamespace

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop

from strangler.config.snapshot import OverridePolicy
from strangler.control import admin
from strangler.control.desk import Purge
from strangler.control.endpoints import ENDPOINTS
from strangler.control.handler import Rejected
from strangler.control.tokens import ROLES, WRONG, Token, Tokens, hashed

TOKEN = "a-token-of-enough-letters"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"} | BEARER
HOSTILE = "<script>alert(1)</script>"


class Cache:
    """Caches that note what they are asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def purge(self, asked):
        self.asked.append(asked)
        purge = Purge.read(asked, ["/feed.xml", "/noticia/{slug}.ghtml"])
        if purge.values == ("down",):
            raise Rejected(503, "not purged everywhere: shared", purged={"shared": False})
        return {"purged": {"edge": {"worker 1": True}}}

    async def show(self, url, fields):
        self.asked.append((url, fields))
        return {"url": url}

    async def counters(self):
        return {"routes": {f"/x/{HOSTILE}": {"edge": 9, "miss": 1}}, "memory": {}, "silent": []}


class Copies:
    """Copies to the other side, of one route."""

    def __init__(self) -> None:
        self.reset_of: list[str] = []

    def owner(self, route):
        return "team-a"

    async def every(self):
        return {"routes": {}, "silent": []}

    async def of(self, route):
        return {"route": route}

    async def reset(self, route):
        self.reset_of.append(route)
        return {"route": route, "reset": True}


class Audit:
    """A log that notes what is added."""

    def __init__(self) -> None:
        self.entries: list[dict] = []

    async def add(self, *entries):
        self.entries += entries
        return True


class View:
    """A site that the test sets as it likes."""

    def __init__(self) -> None:
        self.passed = True
        self.rejected = None
        self.asked: list[bool] = []
        self.broken = False
        self.cache = Cache()
        self.audit = Audit()
        self.snapshot = SimpleNamespace(overrides=OverridePolicy())
        self.parity = Copies()
        self.console = self
        self.verdict = "good"

    async def document(self, asked):
        answer = {"question": "Is the reader hurt?", "verdict": self.verdict,
                  "say": f"Most at {HOSTILE}", "more": HOSTILE}  # fmt: skip
        override = {"kind": "stage", "subject": f"route:/x/{HOSTILE}", "value": "legacy",
                    "author": "ana", "reason": HOSTILE, "expires": 1000.0}  # fmt: skip
        return {"time": 100.0, "answers": [answer], "overrides": [override]}

    async def health(self):
        if self.broken:
            raise RuntimeError("a bug")
        result = {
            "checker": f"materia {HOSTILE}",
            "output": "status 200" if self.passed else "connection_refused",
            "passed": self.passed,
            "time": 1.0,
            "duration": 0.1,
            "since": 1.0,
        }
        return {"status": "success" if self.passed else "failure", "results": [result]}

    def live(self):
        return True, "2 of 2 workers answer"

    async def settled(self):
        pass

    def ready(self):
        return self.passed, "said so"

    def routes(self):
        return [
            {
                "key": f"/x/{HOSTILE}",
                "place": "routes.yaml:3:3",
                "action": "proxy",
                "target": "materia",
                "stage": "canary 5%",
                "owner": HOSTILE,
                "until": None,
                "generation": 7,
            }
        ]

    def config(self):
        return {
            "generation": 7,
            "hash": "ab" * 32,
            "files": ["routes.yaml"],
            "rejected": self.rejected,
        }

    def workers(self):
        return []

    async def reload(self, *, yes):
        self.asked.append(yes)
        if self.passed:
            return {"ok": True, "status": 200, "generation": 8}
        return {"ok": False, "error": "rejected", "errors": [], "status": 422}


@pytest.fixture
def io_loop():
    """Return pytest-tornado's loop, made without the ways that Tornado has given up."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


@pytest.fixture
def view():
    return View()


@pytest.fixture
def app(view):
    return admin.application(view, Tokens([Token("test", "admin", hashed(TOKEN))]))


async def fetch(http_client, base_url, path, **options):
    request = HTTPRequest(base_url + path, **options)
    response = await http_client.fetch(request, raise_error=False)
    if isinstance(response.error, HTTPClientError) and response.code == 599:
        raise response.error
    return response


@pytest.mark.gen_test
async def test_the_list_names_every_endpoint(http_client, base_url):
    response = await fetch(http_client, base_url, "/-/")
    listed = json.loads(response.body)["endpoints"]
    assert response.code == 200
    assert {row.name for row in ENDPOINTS} < listed.keys()
    for path in ("/plain", "/-/routes", "/-/config", "/-/workers", "/-/cache", "/-/cache/counters"):
        assert (await fetch(http_client, base_url, path)).code == 200, path


@pytest.mark.gen_test
async def test_a_failed_check_is_503_in_the_talks_format(http_client, base_url, view):
    assert (await fetch(http_client, base_url, "/-/healthcheck")).code == 200
    view.passed = False
    response = await fetch(http_client, base_url, "/-/healthcheck")
    assert response.code == 503
    document = json.loads(response.body)
    assert document["status"] == "failure"
    assert {"checker", "output", "passed", "time", "duration"} <= document["results"][0].keys()


@pytest.mark.gen_test
async def test_head_answers_as_get_without_a_body(http_client, base_url, view):
    response = await fetch(http_client, base_url, "/-/healthcheck", method="HEAD")
    assert (response.code, response.body) == (200, b"")
    view.passed = False
    assert (await fetch(http_client, base_url, "/-/ready", method="HEAD")).code == 503


@pytest.mark.gen_test
async def test_ready_says_why_not(http_client, base_url, view):
    view.passed = False
    response = await fetch(http_client, base_url, "/-/ready")
    assert response.code == 503
    assert json.loads(response.body) == {
        "ok": False,
        "error": "said so",
        "errors": [],
        "status": 503,
    }
    assert (await fetch(http_client, base_url, "/-/live")).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/-/reload", 405), ("DELETE", "/-/routes", 415)],
)
async def test_every_error_has_the_one_shape(http_client, base_url, method, path, status):
    response = await fetch(http_client, base_url, path, method=method)
    document = json.loads(response.body)
    assert response.code == document["status"] == status
    assert document["ok"] is False
    assert document["error"]
    assert document["errors"] == []


@pytest.mark.gen_test
async def test_a_bug_is_a_500_that_tells_nothing(http_client, base_url, view, caplog):
    view.broken = True
    response = await fetch(http_client, base_url, "/-/healthcheck")
    assert response.code == 500
    assert b"a bug" not in response.body
    assert json.loads(response.body)["ok"] is False


@pytest.mark.gen_test
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8010", "127.0.0.1.evil.example"])
async def test_pain_51_a_rebound_name_gets_nothing(http_client, base_url, host):
    for path in ("/plain", "/-/routes", "/nowhere"):
        response = await fetch(http_client, base_url, path, headers={"Host": host})
        assert response.code == 421
        assert b"materia" not in response.body


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost:8010", "[::1]:8010", "LOCALHOST", "10.1.2.3:8010", "a.localhost"],
)
def test_own_names(host):
    assert admin.is_own_name(host)


def test_names_of_this_machine_and_names_that_were_added(monkeypatch):
    assert admin.is_own_name(f"{socket.gethostname()}:8010")
    assert not admin.is_own_name("edge.internal")
    monkeypatch.setenv("STRANGLER_ADMIN_HOSTS", "edge.internal, other")
    assert admin.is_own_name("edge.internal:8010")
    assert admin.is_own_name("other")
    for not_ours in ("", ":8010", "[", "evil"):
        assert not admin.is_own_name(not_ours)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_pain_51_another_sites_page_cannot_reload(
    http_client, base_url, view, headers, status
):
    given = JSON | headers
    response = await fetch(
        http_client, base_url, "/-/reload", method="POST", body="{}", headers=given
    )
    assert response.code == status
    assert view.asked == []


@pytest.mark.gen_test
@pytest.mark.parametrize("body", ["[]", "{", '{"yes": 1}', '{"no": true}', "null"])
async def test_a_malformed_reload_is_refused(http_client, base_url, view, body):
    response = await fetch(
        http_client,
        base_url,
        "/-/reload",
        method="POST",
        body=body,
        headers=JSON,
    )
    assert response.code == 400
    assert view.asked == []


@pytest.mark.gen_test
async def test_a_large_body_is_refused_before_it_is_read(http_client, base_url, view):
    response = await fetch(
        http_client,
        base_url,
        "/-/reload",
        method="POST",
        body=b" " * (admin.MOST_BYTES + 1),
        headers=JSON,
    )
    assert response.code == 413
    assert view.asked == []


@pytest.mark.gen_test
async def test_reload_is_asked_and_its_outcome_told(http_client, base_url, view):
    options = {"method": "POST", "headers": JSON}
    response = await fetch(http_client, base_url, "/-/reload", body="", **options)
    assert response.code == 200
    view.passed = False
    response = await fetch(http_client, base_url, "/-/reload", body='{"yes": true}', **options)
    assert response.code == 422
    assert view.asked == [False, True]


@pytest.mark.gen_test
async def test_the_page_escapes_what_comes_from_outside(http_client, base_url, view):
    view.passed = False
    view.rejected = {"time": 0.0, "text": [f"routes.yaml:3:1: S101 {HOSTILE}"], "errors": []}
    response = await fetch(http_client, base_url, "/plain")
    body = response.body.decode()
    assert HOSTILE not in body
    assert body.count("&lt;script&gt;") == 9
    assert "stage legacy</b> <small>ana: " in body and "15 min left" in body
    assert "edge 90.0%" in body and "miss 10.0%" in body
    assert "routes.yaml:3:1" in body
    assert "http://" not in body and "https://" not in body  # nothing from another host
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert len(response.body) < 20_000


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("passed", "verdict", "said"),
    [
        (True, "good", "<title>✓ |class=good role=status>all is well<"),
        (True, "warn", "<title>✓ |class=good role=status>all is well<"),
        (True, "bad", "<title>✗ |class=bad role=status>not well<"),
        (False, "good", "<title>✗ |class=bad role=status>1 check failed<"),
    ],
)
async def test_the_page_is_not_well_while_readers_are_hurt(
    http_client, base_url, view, passed, verdict, said
):
    view.passed, view.verdict = passed, verdict
    body = (await fetch(http_client, base_url, "/plain")).body.decode()
    for part in said.split("|"):
        assert part in body


# -------------------------------------------------------------------- tokens


async def post(http_client, base_url, path, document, **headers):
    return await fetch(
        http_client,
        base_url,
        path,
        method="POST",
        body=json.dumps(document),
        headers={"Content-Type": "application/json"} | headers,
    )


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN],
)
@pytest.mark.parametrize("path", ["/-/purge", "/-/reload"])
async def test_nothing_is_changed_without_the_token(
    http_client, base_url, view, path, authorization
):
    given = {"Authorization": authorization} if authorization else {}
    response = await post(http_client, base_url, path, {"all": True}, **given)
    document = json.loads(response.body)
    assert (response.code, document["status"], document["ok"]) == (401, 401, False)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert view.asked == view.cache.asked == []


@pytest.mark.gen_test
async def test_wrong_tokens_are_limited_and_the_right_one_is_never_locked_out(
    http_client, base_url, view
):
    for _ in range(WRONG):
        response = await post(http_client, base_url, "/-/purge", {"all": True})
        assert response.code == 401
    response = await post(http_client, base_url, "/-/purge", {"all": True})
    assert response.code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert json.loads(response.body)["status"] == 429
    assert view.cache.asked == []
    assert (await post(http_client, base_url, "/-/purge", {"all": True}, **BEARER)).code == 200


# -------------------------------------------------------------------- purge


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "asked",
    [
        {"url": "https://www.example.com/a"},
        {"url": ["/a", "/b"], "refresh": True},
        {"prefix": "//www.example.com/a/", "soft": True},
        {"route": "/feed.xml"},
        {"tag": "noticia:ação"},
        {"all": True, "soft": False},
    ],
)
async def test_a_purge_is_passed_on(http_client, base_url, view, asked):
    response = await post(http_client, base_url, "/-/purge", asked, **BEARER)
    assert response.code == 200
    assert json.loads(response.body) == {"ok": True, "purged": {"edge": {"worker 1": True}}}
    assert view.cache.asked == [asked]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "exactly one of"),
        ([], "expected a JSON object"),
        ({"url": "/a", "tag": "b"}, "exactly one of"),
        ({"tag": "b", "hard": True}, "unknown: hard"),
        ({"all": False}, "expected true"),
        ({"all": 1}, "expected true or false"),
        ({"tag": "b", "soft": "yes"}, "soft: expected true or false"),
        ({"tag": ""}, "expected text"),
        ({"tag": []}, "expected 1 to"),
        ({"tag": [1]}, "expected text"),
        ({"tag": "a\r\nb"}, "control characters"),
        ({"url": "x" * 9000}, "expected text"),
    ],
)
async def test_a_purge_that_makes_no_sense(http_client, base_url, asked, said):
    response = await post(http_client, base_url, "/-/purge", asked, **BEARER)
    document = json.loads(response.body)
    assert (response.code, document["status"]) == (400, 400)
    assert said in document["error"]


@pytest.mark.gen_test
async def test_an_unknown_route_is_told_the_nearest(http_client, base_url):
    asked = {"route": "/noticias/{slug}.ghtml"}
    response = await post(http_client, base_url, "/-/purge", asked, **BEARER)
    assert response.code == 404
    assert json.loads(response.body)["hint"] == "did you mean /noticia/{slug}.ghtml?"


@pytest.mark.gen_test
async def test_what_was_done_in_part_is_told(http_client, base_url):
    response = await post(http_client, base_url, "/-/purge", {"tag": "down"}, **BEARER)
    document = json.loads(response.body)
    assert (response.code, document["ok"]) == (503, False)
    assert document["purged"] == {"shared": False}


@pytest.mark.gen_test
async def test_what_is_held_of_an_url_is_shown(http_client, base_url, view):
    path = "/-/cache?url=http%3A%2F%2Fwww.example.com%2Fa%3Fb%3D1&header=Cookie%3A+a%3D1"
    response = await fetch(http_client, base_url, path)
    assert json.loads(response.body)["url"] == "http://www.example.com/a?b=1"
    assert view.cache.asked == [("http://www.example.com/a?b=1", [("Cookie", "a=1")])]
    assert (await fetch(http_client, base_url, "/-/cache?url=/a&header=x")).code == 400


# -------------------------------------------------------------------- roles


def secret(role: str) -> str:
    return f"the-long-secret-of-{role}"


@pytest.fixture
def every_role(view):
    return Tokens(Token(role, role, hashed(secret(role))) for role in ROLES)


async def ask(http_client, base_url, row, role=None, **headers):
    given = {"Authorization": f"Bearer {secret(role)}"} if role else {}
    if row.method == "POST":
        given |= {"Content-Type": "application/json"}
    body = "[" if row.method == "POST" else None  # malformed: nothing is carried out
    return await fetch(
        http_client, base_url, row.path, method=row.method, body=body, headers=given | headers
    )


class TestBehindAName:
    """A listener that others reach: nothing is shown without a token."""

    @pytest.fixture
    def app(self, view, every_role):
        return admin.application(view, every_role, open_reads=False)

    @pytest.mark.gen_test
    async def test_every_row_needs_its_role(self, http_client, base_url):
        for row in ENDPOINTS:
            least = row.access or "viewer"
            if least == "open":
                # The malformed body of a post is refused, but for what it is.
                assert (await ask(http_client, base_url, row)).code not in (401, 403), row.name
                continue
            for role in ROLES:
                response = await ask(http_client, base_url, row, role)
                enough = ROLES.index(role) >= ROLES.index(least)
                assert (response.code == 403) is not enough, (row.name, role, response.body)

    @pytest.mark.gen_test
    async def test_nobody_without_a_token(self, http_client, base_url):
        for row in ENDPOINTS:
            if row.access != "open":
                assert (await ask(http_client, base_url, row)).code in (401, 429), row.name


@pytest.mark.gen_test
async def test_on_loopback_reading_is_open(http_client, base_url):
    for row in ENDPOINTS:
        if row.method == "GET" and row.access is None:
            assert (await ask(http_client, base_url, row)).code not in (401, 403), row.name


@pytest.mark.gen_test
async def test_a_method_that_there_is_not(http_client, base_url):
    response = await fetch(http_client, base_url, "/-/routes", method="POST", body="", headers=JSON)
    assert response.code == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.gen_test
async def test_parity_is_asked_by_the_routes_key_as_it_is(http_client, base_url, view):
    response = await fetch(http_client, base_url, "/-/parity?route=POST%20/a/**")
    assert json.loads(response.body) == {"ok": True, "route": "POST /a/**"}
    response = await post(http_client, base_url, "/-/parity/reset", {"route": "/a"})
    assert response.code == 401 and not view.parity.reset_of
    for asked in ({}, {"route": 1}, {"route": "/a", "yes": True}):
        response = await post(http_client, base_url, "/-/parity/reset", asked, **BEARER)
        assert response.code == 400, asked
    response = await post(http_client, base_url, "/-/parity/reset", {"route": "/a"}, **BEARER)
    assert response.code == 200 and view.parity.reset_of == ["/a"]


# -------------------------------------------------------------------- sessions


def cookie_of(response) -> str:
    return response.headers["Set-Cookie"].partition(";")[0]


async def log_in(http_client, base_url, **headers):
    return await post(http_client, base_url, "/-/login", {"token": TOKEN}, **headers)


@pytest.mark.gen_test
async def test_pain_51_a_session_is_begun_with_a_token_and_writes_from_our_own_page_alone(
    http_client, base_url, view
):
    response = await log_in(http_client, base_url)
    assert response.code == 200
    assert json.loads(response.body)["who"] == "test"
    said = response.headers["Set-Cookie"]
    assert "HttpOnly" in said and "SameSite=Strict" in said and "Path=/" in said
    assert TOKEN not in said
    cookie = {"Cookie": cookie_of(response)}
    told = await fetch(http_client, base_url, "/-/whoami", headers=cookie)
    assert json.loads(told.body)["role"] == "admin"
    ours = {"Origin": base_url}
    asked = ("/-/purge", {"all": True})
    assert (await post(http_client, base_url, *asked, **cookie, **ours)).code == 200
    assert view.audit.entries[-1]["from"]["by"] == "console"
    others = [{}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site", **ours}]
    for elsewhere in others:
        assert (await post(http_client, base_url, *asked, **cookie, **elsewhere)).code == 403
    assert len(view.cache.asked) == 1
    ended = await post(http_client, base_url, "/-/logout", {}, **cookie, **ours)
    assert ended.code == 200
    assert 'strangler_session=""' in ended.headers["Set-Cookie"]


@pytest.mark.gen_test
async def test_a_login_with_a_wrong_token_is_refused_and_limited(http_client, base_url):
    codes = [
        (await post(http_client, base_url, "/-/login", {"token": "wrong"})).code
        for _ in range(WRONG + 1)
    ]
    assert codes == [401] * WRONG + [429]
    assert (await log_in(http_client, base_url)).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("asked", [{}, {"token": ""}, {"token": 1}, {"token": "x", "as": "y"}])
async def test_a_login_that_makes_no_sense(http_client, base_url, asked):
    assert (await post(http_client, base_url, "/-/login", asked)).code == 400


@pytest.mark.gen_test
async def test_who_asks_nothing_is_nobody(http_client, base_url):
    told = json.loads((await fetch(http_client, base_url, "/-/whoami")).body)
    assert (told["who"], told["role"], told["ok"]) == (None, None, True)


# -------------------------------------------------------------------- what is written down


@pytest.mark.gen_test
async def test_pain_52_purges_and_reloads_are_audited(http_client, base_url, view):
    await post(http_client, base_url, "/-/purge", {"tag": ["a", "b"]}, **BEARER)
    await post(http_client, base_url, "/-/purge", {"tag": "down"}, **BEARER)
    await post(http_client, base_url, "/-/purge", {"tag": ""}, **BEARER)
    await post(http_client, base_url, "/-/reload", {}, **BEARER)
    told = [(one["what"], one["who"], one["after"]) for one in view.audit.entries]
    assert told == [
        ("purge", "test", "everywhere"),
        ("purge", "test", "not purged everywhere: shared"),
        ("reload", "test", 8),
    ]
    assert view.audit.entries[0]["from"]["address"] == "127.0.0.1"


@pytest.mark.gen_test
async def test_the_api_describes_itself(http_client, base_url):
    told = json.loads((await fetch(http_client, base_url, "/-/openapi.json")).body)
    assert told["openapi"] == "3.1.0"
    for row in ENDPOINTS:
        operation = told["paths"][row.path][row.method.lower()]
        assert operation["summary"] == row.doc
        assert str(row.status) in operation["responses"]
        open_to_all = {} in operation["security"]
        assert open_to_all is (row.access in (None, "open"))
    ids = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))
