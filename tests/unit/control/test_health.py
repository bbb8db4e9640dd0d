# SPDX-License-Identifier: Apache-2.0
"""Probes against real sockets, and checks that monitoring cannot make expensive."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from unit.health.document import follows_the_format

from strangler.cache.policy import Tier
from strangler.config.snapshot import Endpoint, Health, Site, Tls, Upstream
from strangler.control import health
from strangler.control.health import Checks
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
    assert 0 < outcome.duration < 30


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
    assert 0 < outcome.duration < 30


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


class Control:
    """A site as the control process knows it: one upstream, two workers."""

    slots = 2
    folder = Path("/tmp")
    certificates: Sequence[str] = ()

    def __init__(self, *ports: int, **more: object) -> None:
        upstream = Upstream(
            name="materia", endpoints=tuple(map(endpoint, ports)), health=Health(path="/h")
        )
        given = {"upstreams": {"materia": upstream}, "generation": 7, "tiers": {}}
        hosts = Site(hosts=("*.example.com", "www.example.com"))
        self.snapshot = SimpleNamespace(**(given | {"site": hosts} | more))
        self.rejected: str | None = None
        self.silent = 0.0
        self.status = {
            "generation": 7,
            "connections": 3,
            "lag": 0.001,
            "descriptors": [90, 100],
            "edge": {"tiers": {"shared": {"up": True, "why": None}}},
        }

    def rejection(self) -> str | None:
        return self.rejected

    async def settled(self) -> None:
        pass

    def told(self, slot: int):
        return (self.silent, self.status) if slot == 0 else None

    def behind(self, status) -> bool:
        return bool(status["generation"] != 7)


async def passes(place, wanted, **more) -> Outcome:
    return Outcome(True, "status 200", 0.05)


def looked(control: Control, **more) -> dict[str, tuple[bool, str]]:
    told = asyncio.run(Checks(control, passes, **more).document())
    follows_the_format(told)
    return {one["checker"]: (one["passed"], one["output"]) for one in told["results"]}


def test_a_thousand_askers_are_one_probe():
    asked: list[tuple[str, str]] = []

    async def slow(place, wanted, *, tls, host):
        asked.append((place.url, host))
        await asyncio.sleep(0.05)
        return Outcome(True, "status 200", 0.05)

    async def run() -> None:
        checks = Checks(control := Control(1, 2), slow, fresh=60)
        await asyncio.gather(*(checks.document() for _ in range(1000)))
        await checks.document()
        assert len(asked) == 2
        upstream = control.snapshot.upstreams["materia"]
        control.snapshot.upstreams["materia"] = replace(upstream, health=Health(path="/other"))
        told = await checks.document()
        assert len(asked) == 4
        names = [one["checker"] for one in told["results"]]
        assert "materia http://127.0.0.1:1/other" in names
        assert "materia http://127.0.0.1:1/h" not in names

    asyncio.run(run())
    assert asked[0] == ("http://127.0.0.1:1", "www.example.com")


def test_the_document_and_since():
    verdicts = iter([False, False, True])

    async def ask_(place, wanted, *, tls, host):
        return Outcome(next(verdicts), "said", 0.01)

    async def run() -> None:
        checks = Checks(Control(1), ask_, fresh=0)
        looks = [(await checks.document())["results"] for _ in range(3)]
        lines = [next(one for one in look if one["checker"].startswith("mat")) for look in looks]
        first, second, third = lines
        assert first["checker"] == "materia http://127.0.0.1:1/h"
        assert [one["passed"] for one in lines] == [False, False, True]
        assert second["since"] == first["since"] < third["since"]

    asyncio.run(run())


def test_what_workers_tell_of_themselves():
    control = Control()
    found = looked(control)
    assert found["configuration"] == (True, "generation 7")
    assert found["worker 1"] == (True, "generation 7, 3 connections")
    assert found["worker 1 event loop"] == (True, "a timer came 1 ms late")
    assert found["worker 1 file descriptors"] == (True, "90 of 100 in use")
    assert found["worker 2"] == (False, "has not answered yet")
    control.rejected = "routes.yaml:1:1: S001"
    control.status |= {"generation": 6, "trouble": "OSError", "lag": 0.9, "descriptors": [91, 100]}
    found = looked(control)
    assert found["configuration"] == (
        False,
        "the last edit was rejected, generation 7 goes on: routes.yaml:1:1: S001",
    )
    assert found["worker 1"] == (False, "serves generation 6: OSError")
    assert found["worker 1 event loop"] == (False, "a timer came 900 ms late")
    assert found["worker 1 file descriptors"] == (False, "91 of 100 in use")
    control.silent = 9.4
    assert looked(control)["worker 1 event loop"] == (False, "silent for 9 s")


def test_each_tier_s_store():
    tiers = {
        "edge": Tier(name="edge", store="memory"),
        "shared": Tier(name="shared", store="redis://127.0.0.1:1"),
    }
    control = Control(tiers=tiers)
    assert looked(control)["cache tier shared"] == (True, "1 of 1 workers reach it")
    control.status["edge"] = {"tiers": {"shared": {"up": False, "why": "connection_refused"}}}
    said = (False, "0 of 1 workers reach it: connection_refused")
    assert looked(control)["cache tier shared"] == said
    assert "cache tier edge" not in looked(control)


def test_the_disks_that_we_write_to(tmp_path, monkeypatch):
    store = Tier(name="shared", store=f"sqlite:{tmp_path}/not/yet/shared.db")
    control = Control(tiers={"shared": store})
    passed, said = looked(control)["disk of cache tier shared"]
    assert passed
    assert " GiB free of " in said
    monkeypatch.setattr(health, "LITTLE", 1 << 60)
    assert looked(control)["disk of the state folder"][0] is False


def test_certificates_that_end(tmp_path, site_certificate, monkeypatch):
    file = str(site_certificate.cert)
    control = Control()
    control.certificates = [file]
    monkeypatch.setattr(health, "SOON", 0.0)
    passed, said = looked(control)[f"certificate {file}"]
    assert passed, said
    assert said.startswith("valid until 20")
    monkeypatch.setattr(health, "SOON", 1e12)
    assert looked(control)[f"certificate {file}"] == (False, said)
    gone = str(tmp_path / "gone.pem")
    control.certificates = [gone]
    assert looked(control)[f"certificate {gone}"][1].startswith("FileNotFoundError")
