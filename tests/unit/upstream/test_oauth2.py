# SPDX-License-Identifier: Apache-2.0
"""Tokens in the place of tornado-alf's own, for services that ask each other by its Client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.web import Application, RequestHandler
from tornadoalf.client import Client
from tornadoalf.token import TokenError

from strangler.errors import AttemptFailed
from strangler.testing import TornadoUpstream
from strangler.upstream.oauth2 import SAFE, Tokens


class Guarded(Client):
    token_manager_class = Tokens


class Site:
    """A token server and a service that takes the tokens of *good* alone."""

    def __init__(self, *good: str) -> None:
        self.asked = 0
        self.good = good
        site = self

        class Giver(RequestHandler):
            def post(self) -> None:
                site.asked += 1
                self.write({"access_token": f"t{site.asked}"})

        class Service(RequestHandler):
            def get(self) -> None:
                shown = self.request.headers.get("Authorization", "")
                if shown.removeprefix("Bearer ") in site.good:
                    self.write(shown)
                else:
                    self.set_status(401)

        self.application = Application([("/token", Giver), ("/", Service)])


def fetched(site: Site, url: str, count: int = 1) -> list[Any]:
    async def run() -> list[Any]:
        client = Guarded("id", "secret", f"{url}/token")
        asking = [client.fetch(HTTPRequest(f"{url}/")) for _ in range(count)]
        return [(answer.code, answer.body) for answer in await asyncio.gather(*asking)]

    return asyncio.run(run())


def test_eight_cold_calls_make_one_token_request() -> None:
    site = Site("t1")
    with TornadoUpstream(site.application) as server:
        assert fetched(site, server.url, 8) == [(200, b"Bearer t1")] * 8
    assert site.asked == 1, "expires_in was not even said"


def test_a_refused_token_that_is_new_is_not_dropped_for_what_another_was_refused() -> None:
    site = Site("t2")
    with TornadoUpstream(site.application) as server:
        assert fetched(site, server.url) == [(401, b"")]
    assert site.asked == 1


def test_an_old_one_is() -> None:
    site = Site("t2")

    async def run(url: str) -> int:
        client = Guarded("id", "secret", f"{url}/token")
        manager = client._token_manager
        await manager.get_token()
        manager._got -= 2 * SAFE
        return int((await client.fetch(HTTPRequest(f"{url}/"))).code)

    with TornadoUpstream(site.application) as server:
        assert asyncio.run(run(server.url)) == 200
    assert site.asked == 2


def test_every_failure_is_a_token_error_and_for_the_edge_an_attempt_that_failed() -> None:
    async def run() -> tuple[str, AttemptFailed]:
        tokens = Tokens("http://127.0.0.1:1/token", "idé", "sécret", name="protected")
        with pytest.raises(TokenError) as told:
            await tokens.get_token()
        with pytest.raises(AttemptFailed) as failed:
            await tokens.bearer()
        return str(told.value), failed.value

    told, failed = asyncio.run(run())
    assert "refused" in told.lower() and "sécret" not in told
    assert (failed.error, failed.status, failed.sent) == ("token_unavailable", 502, False)
    assert failed.detail.startswith("protected: no token")


def test_only_the_token_that_was_refused_is_dropped() -> None:
    site = Site()

    async def run(url: str) -> None:
        tokens = Tokens(f"{url}/token", "id", "secret")
        assert tokens.at_hand() is None
        first = await tokens.bearer()
        assert tokens.at_hand() == first
        tokens.drop("another")
        assert tokens.at_hand() == first
        tokens.drop(first)
        assert tokens.at_hand() is None
        assert await tokens.bearer() != first

    with TornadoUpstream(site.application) as server:
        asyncio.run(run(server.url))
