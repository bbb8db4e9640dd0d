# SPDX-License-Identifier: Apache-2.0
"""Signing in over HTTP: the cookie, what it permits, how it ends."""

from __future__ import annotations

import asyncio
import json
import time
from http.cookies import SimpleCookie
from types import SimpleNamespace

import pytest
from tornado.httpclient import HTTPRequest
from tornado.ioloop import IOLoop

from strangler.config.snapshot import OverridePolicy
from strangler.control import admin
from strangler.control.sessions import COOKIE, LASTS, Sessions
from strangler.control.tokens import WRONG, Token, Tokens, hashed

TOKEN = "a-token-of-enough-letters"
JSON = {"Content-Type": "application/json"}


class Audit:
    """A log that takes everything."""

    async def add(self, *entries):
        return True


class View:
    """A site that can be read anew."""

    def __init__(self):
        self.audit = Audit()
        self.snapshot = SimpleNamespace(overrides=OverridePolicy())

    def config(self):
        return {"generation": 1}

    async def reload(self, *, yes):
        return {"ok": True, "status": 200}


@pytest.fixture
def io_loop():
    """Return pytest-tornado's loop, made without the ways that Tornado has given up."""
    loop = IOLoop(make_current=False)
    asyncio.set_event_loop(loop.asyncio_loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


@pytest.fixture
def sessions():
    return Sessions()


@pytest.fixture
def token():
    return Token("ana", "operator", hashed(TOKEN))


@pytest.fixture
def app(sessions, token):
    return admin.application(View(), Tokens([token]), sessions)


async def send(http_client, base_url, path, body=None, **fields):
    fields = {name.replace("_", "-"): value for name, value in fields.items()}
    post = {"method": "POST", "body": json.dumps(body)} if body is not None else {}
    request = HTTPRequest(base_url + path, headers={**JSON, **fields}, **post)
    return await http_client.fetch(request, raise_error=False)


def cookie_of(response) -> SimpleCookie:
    return SimpleCookie(response.headers.get("Set-Cookie", ""))


@pytest.mark.gen_test
async def test_pain_51_the_cookie_is_the_browsers_alone(http_client, base_url):
    response = await send(http_client, base_url, "/-/login", {"token": TOKEN})
    assert response.code == 200
    assert json.loads(response.body) == {"ok": True, "who": "ana", "role": "operator", "owners": []}
    given = cookie_of(response)[COOKIE]
    assert given["httponly"] and given["samesite"] == "Strict" and given["path"] == "/"
    assert int(given["max-age"]) == LASTS and TOKEN not in given.value


@pytest.mark.gen_test
async def test_a_session_may_what_its_token_may_from_its_own_page_only(http_client, base_url):
    login = await send(http_client, base_url, "/-/login", {"token": TOKEN})
    shown = {"Cookie": f"{COOKIE}={cookie_of(login)[COOKIE].value}"}
    who = await send(http_client, base_url, "/-/whoami", **shown)
    assert json.loads(who.body)["who"] == "ana"
    assert (await send(http_client, base_url, "/-/reload", {}, **shown)).code == 403
    here = {**shown, "Origin": base_url, "Sec-Fetch-Site": "same-origin"}
    assert (await send(http_client, base_url, "/-/reload", {}, **here)).code == 200
    there = {**shown, "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert (await send(http_client, base_url, "/-/reload", {}, **there)).code == 403


@pytest.mark.gen_test
async def test_signing_out_takes_the_cookie_away(http_client, base_url):
    response = await send(http_client, base_url, "/-/logout", {})
    assert response.code == 200 and cookie_of(response)[COOKIE].value == ""
    nobody = await send(http_client, base_url, "/-/whoami")
    assert json.loads(nobody.body)["who"] is None


@pytest.mark.gen_test
async def test_pain_51_a_copied_cookie_ends_by_signing_out(http_client, base_url):
    login = await send(http_client, base_url, "/-/login", {"token": TOKEN})
    shown = {"Cookie": f"{COOKIE}={cookie_of(login)[COOKIE].value}"}
    here = {**shown, "Origin": base_url, "Sec-Fetch-Site": "same-origin"}
    assert (await send(http_client, base_url, "/-/reload", {}, **here)).code == 200
    assert (await send(http_client, base_url, "/-/logout", {}, **here)).code == 200
    assert (await send(http_client, base_url, "/-/reload", {}, **here)).code == 401
    who = await send(http_client, base_url, "/-/whoami", **shown)
    assert json.loads(who.body)["who"] is None


@pytest.mark.gen_test
async def test_a_session_is_renewed_when_it_is_half_over(http_client, base_url, sessions, token):
    fresh = sessions.give(token, time.time())
    old = sessions.give(token, time.time() - LASTS * 0.6)
    for value, renewed in ((fresh, False), (old, True)):
        response = await send(http_client, base_url, "/-/whoami", Cookie=f"{COOKIE}={value}")
        assert bool(response.headers.get("Set-Cookie")) is renewed


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": "wrong-token-of-enough-letters"}, 401),
        ({"token": 7}, 400),
        ({}, 400),
        ({"token": "x" * 2000}, 400),
        ({"token": TOKEN, "more": 1}, 400),
    ],
)
async def test_what_is_no_token_is_refused(http_client, base_url, body, status):
    response = await send(http_client, base_url, "/-/login", body)
    assert response.code == status and json.loads(response.body)["ok"] is False
    assert not response.headers.get("Set-Cookie")


@pytest.mark.gen_test
async def test_guessing_is_slowed_and_the_right_token_never(http_client, base_url):
    wrong = {"token": "wrong-token-of-enough-letters"}
    codes = [
        (await send(http_client, base_url, "/-/login", wrong)).code for _ in range(int(WRONG) + 1)
    ]
    assert codes == [401] * int(WRONG) + [429]
    assert (await send(http_client, base_url, "/-/login", {"token": TOKEN})).code == 200
