# SPDX-License-Identifier: Apache-2.0
"""The admin listener's answers, over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop

from strangler.control import admin

HOSTILE = "<script>alert(1)</script>"


class View:
    """A site that the test sets as it likes."""

    def __init__(self) -> None:
        self.passed = True
        self.rejected = None
        self.asked: list[bool] = []
        self.broken = False

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
    return admin.application(view)


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
    for path in listed:
        if path.startswith("/"):
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
async def test_pains_51_a_rebound_name_gets_nothing(http_client, base_url, host):
    for path in ("/", "/-/routes", "/nowhere"):
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
async def test_pains_51_another_sites_page_cannot_reload(
    http_client, base_url, view, headers, status
):
    given = {"Content-Type": "application/json"} | headers
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
        headers={"Content-Type": "application/json"},
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
        headers={"Content-Type": "application/json"},
    )
    assert response.code == 413
    assert view.asked == []


@pytest.mark.gen_test
async def test_reload_is_asked_and_its_outcome_told(http_client, base_url, view):
    options = {"method": "POST", "headers": {"Content-Type": "application/json"}}
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
    response = await fetch(http_client, base_url, "/")
    body = response.body.decode()
    assert HOSTILE not in body
    assert body.count("&lt;script&gt;") == 4
    assert "routes.yaml:3:1" in body
    assert "http://" not in body and "https://" not in body  # nothing from another host
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert len(response.body) < 20_000
