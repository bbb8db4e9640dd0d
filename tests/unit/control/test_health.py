# SPDX-License-Identifier: Apache-2.0
"""Probes against real sockets, and checks that monitoring cannot make expensive."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest

from strangler.config.snapshot import Endpoint, Health, Site, Tls, Upstream
from strangler.control import health
from strangler.control.health import Checks, report
from strangler.control.probe import Outcome, probe
from strangler.testing import Upstream as Origin
from strangler.testing import hang, unused_port


def endpoint(port: int, **options) -> Endpoint:
    given = {"url": f"http://127.0.0.1:{port}", "scheme": "http", "host": "127.0.0.1"}
    return Endpoint(**(given | {"port": port} | options))


@pytest.fixture
def origin():
    with Origin() as made:
        yield made


def ask(port: int, health: Health, **options) -> Outcome:
    return asyncio.run(probe(endpoint(port, **options), health))


def test_what_is_expected_passes(origin):
    origin.reply(200, '{"status": "success", "n": {"a": 1, "b": 2}}')
    wanted = Health(path="/healthcheck", json={"status": "success", "n": {"a": 1}}, body="succ")
    outcome = ask(origin.port, wanted, prefix=b"/app")
    assert outcome.passed, outcome
    [request] = origin.requests
    assert request.target == b"/app/healthcheck"
    assert outcome.duration < 1


@pytest.mark.parametrize(
    ("status", "body", "wanted", "said"),
    [
        (500, "", Health(path="/"), "expected status 200, got 500"),
        (200, "{", Health(path="/", json={"a": 1}), "expected JSON"),
        (200, "[]", Health(path="/", json={"a": 1}), "expected an object"),
        (200, '{"a": {"b": 2}}', Health(path="/", json={"a": {"b": 1}}), "JSON.a.b: expected 1"),
        (200, "down", Health(path="/", body="^up$"), "does not match"),
    ],
)
def test_what_is_not_expected_says_so(origin, status, body, wanted, said):
    origin.reply(status, body)
    outcome = ask(origin.port, wanted)
    assert not outcome.passed
    assert said in outcome.output


def test_nobody_there():
    assert ask(unused_port(), Health(path="/")).output == "connection_refused"
    assert ask(unused_port(), Health(path=None)).output == "connection_refused"


def test_no_answer_is_waited_for_only_so_long(origin):
    origin.answers(hang())
    outcome = ask(origin.port, Health(path="/", timeout=0.2))
    assert outcome.output.startswith("connection_timeout")
    assert outcome.duration < 1


def test_an_answer_that_is_no_http():
    with socket.create_server(("127.0.0.1", 0)) as server:

        async def run() -> Outcome:
            task = asyncio.create_task(probe(endpoint(server.getsockname()[1]), Health(path="/")))
            loop = asyncio.get_running_loop()
            server.setblocking(False)
            conn, _ = await loop.sock_accept(server)
            await loop.sock_sendall(conn, b"220 mail.example.com ESMTP\r\n")
            outcome = await task
            conn.close()
            return outcome

        assert asyncio.run(run()).output.startswith("http_protocol_error")


def test_tls_is_verified(origin, site_certificate):
    with Origin(tls=site_certificate.server()) as secure:
        secure.reply(200, "ok")
        place = endpoint(secure.port, scheme="https", url=f"https://127.0.0.1:{secure.port}")
        wanted = Health(path="/")
        refused = asyncio.run(probe(place, wanted))
        assert refused.output.startswith("tls_"), refused
        trusted = asyncio.run(probe(place, wanted, tls=Tls(ca=str(site_certificate.cert))))
        assert trusted.passed, trusted
        unverified = asyncio.run(probe(place, wanted, tls=Tls(verify=False)))
        assert unverified.passed, unverified


def site(*ports: int):
    upstream = Upstream(
        name="materia", endpoints=tuple(map(endpoint, ports)), health=Health(path="/h")
    )
    return SimpleNamespace(
        site=Site(hosts=("*.example.com", "www.example.com")), upstreams={"materia": upstream}
    )


def test_a_thousand_askers_are_one_probe_a_second(monkeypatch):
    asked: list[tuple[str, str]] = []

    async def slow(place, wanted, *, tls, host):
        asked.append((place.url, host))
        await asyncio.sleep(0.05)
        return Outcome(True, "status 200", 0.05)

    async def run() -> None:
        checks = Checks(slow)
        snapshot = site(1, 2)
        many = await asyncio.gather(*(checks.upstreams(snapshot) for _ in range(1000)))
        assert all(len(one) == 2 for one in many)
        assert len(asked) == 2
        await checks.upstreams(snapshot)
        assert len(asked) == 2
        monkeypatch.setattr(health, "FRESH", 0.0)
        await checks.upstreams(snapshot)
        assert len(asked) == 4

    asyncio.run(run())
    assert asked[0] == ("http://127.0.0.1:1", "www.example.com")


def test_the_document_and_since(monkeypatch):
    verdicts = iter([False, False, True])

    async def ask_(place, wanted, *, tls, host):
        return Outcome(next(verdicts), "said", 0.01)

    async def run() -> None:
        monkeypatch.setattr(health, "FRESH", 0.0)
        checks = Checks(ask_)
        [first] = await checks.upstreams(site(1))
        document = report([first])
        assert document["status"] == "failure"
        [line] = document["results"]
        assert line["checker"] == "materia http://127.0.0.1:1/h"
        assert line["passed"] is False
        [second] = await checks.upstreams(site(1))
        assert second.since == first.since
        [third] = await checks.upstreams(site(1))
        assert third.since > first.since
        assert report([third])["status"] == "success"

    asyncio.run(run())
