# SPDX-License-Identifier: Apache-2.0
"""Protected upstreams: the edge gets a token from a real token server, and shows it."""

from __future__ import annotations

import logging
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenarios.inside import Inside
from tornado.web import Application, RequestHandler

from strangler.testing import (
    TornadoUpstream,
    Upstream,
    build,
    configuration,
    respond,
    until,
    unused_port,
)
from strangler.upstream import oauth2

ID, SECRET = "edge:1", "sécret & long/+"
#: RFC 6749 §2.3.1: form-encoded, joined, then base64.
BASIC = "Basic " + b64encode(b"edge%3A1:s%C3%A9cret+%26+long%2F%2B").decode()


class Giver:
    """A token server: what it was asked, and what it answers."""

    def __init__(self):
        self.asked = []
        self.answer = {}
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        giver = self

        class Handler(RequestHandler):
            async def post(self):
                form = {name: self.get_body_argument(name) for name in self.request.body_arguments}
                giver.asked.append((self.request.headers.get("Authorization"), form))
                number = len(giver.asked)
                import asyncio

                await asyncio.get_running_loop().run_in_executor(None, giver.gate.wait, 60)
                self.set_status(giver.status)
                if isinstance(giver.answer, dict):
                    told = {"access_token": f"t{number}.secret", "token_type": "Bearer"}
                    self.write({**told, "expires_in": 300, **giver.answer})
                else:
                    self.finish(giver.answer)

        self.application = Application([("/token", Handler)])


@pytest.fixture
def giver():
    made = Giver()
    with TornadoUpstream(made.application) as server:
        made.url = f"{server.url}/token"
        yield made
        made.gate.set()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Give a busy machine's token server more time than the edge gives a real one."""
    monkeypatch.setattr(oauth2, "ANSWER", 30.0)
    monkeypatch.setattr(oauth2, "CONNECT", 30.0)


@pytest.fixture
def service():
    """Return a service that answers with the Authorization it was shown."""
    with Upstream() as made:
        made.answers(lambda c: respond(body=c.request.get("Authorization") or b"none")(c))
        yield made


@pytest.fixture(scope="module")
def legacy():
    with Upstream(respond(body="django")) as made:
        yield made


def site(running, giver, service, legacy, *, route=None, **more):
    oauth2 = {"token_url": giver.url, "client_id": ID, "client_secret": "${env:EDGE_SECRET}"}
    service = {"url": service, "oauth2": {**oauth2, **more}}
    routes = {"/**": "legacy", "/s/**": {"to": "protected", **(route or {})}}
    text = configuration(routes, upstreams={"legacy": legacy, "protected": service})
    return running(Inside(text, environment={"EDGE_SECRET": SECRET}))


def test_a_token_is_got_once_and_shown_with_every_request(running, giver, service, legacy):
    edge = site(running, giver, service, legacy, scope="read write")
    for number in range(5):
        edge.get(f"/s/{number}").expect(200, body="Bearer t1.secret")
    with edge.client() as client:
        body = "x" * 100_000
        client.request("POST", "/s/p", body=body).expect(200, body="Bearer t1.secret")
    assert giver.asked == [(BASIC, {"grant_type": "client_credentials", "scope": "read write"})]
    edge.get("/page").expect(200, body="django")


def test_the_readers_own_credentials_go_to_legacy_alone(running, giver, service, legacy):
    legacy.forget()
    edge = site(running, giver, service, legacy)
    edge.get("/s/1", authorization="Basic cmVhZGVy").expect(200, body="Bearer t1.secret")
    assert len(service.requests[-1].all("Authorization")) == 1
    edge.get("/page", authorization="Basic cmVhZGVy").expect(200)
    assert legacy.requests[-1].get("Authorization") == b"Basic cmVhZGVy"


def test_who_come_together_wait_for_one_token(running, giver, service, legacy):
    giver.gate.clear()
    edge = site(running, giver, service, legacy)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(edge.get, f"/s/{number}") for number in range(8)]
        until(lambda: len(giver.asked) == 1)
        until(lambda: len(edge.edge.exchanges) == 8)
        giver.gate.set()
        for answer in answers:
            answer.result().expect(200, body="Bearer t1.secret")
    assert len(giver.asked) == 1


@pytest.mark.parametrize(
    "lives, asked",
    [({"expires_in": "3600"}, 1), ({"expires_in": None}, 1), ({"expires_in": 0.02}, 2)],
)
def test_whatever_form_the_life_of_a_token_has(lives, asked, running, giver, service, legacy):
    giver.answer = lives
    edge = site(running, giver, service, legacy)
    edge.get("/s/1").expect(200, body="Bearer t1.secret")
    until(lambda: edge.get("/s/2").text == f"Bearer t{asked}.secret")


def refusing(*bad, challenge='Bearer error="invalid_token"'):
    """Return a script that refuses the tokens *bad*."""

    def answer(connection):
        shown = connection.request.get("Authorization") or b""
        if shown in [f"Bearer {token}".encode() for token in bad]:
            respond(401, "who are you", [("WWW-Authenticate", challenge)])(connection)
        else:
            respond(body=shown)(connection)

    return answer


def test_a_401_drops_the_token_and_the_request_is_made_once_more(running, giver, service, legacy):
    edge = site(running, giver, service, legacy)
    edge.get("/s/1").expect(200, body="Bearer t1.secret")
    service.answers(refusing("t1.secret"))
    with edge.client() as client:  # a write, too: who was refused has done nothing
        client.request("POST", "/s/2", body="a=1").expect(200, body="Bearer t2.secret")
    assert [request.body for request in service.requests[-2:]] == [b"a=1", b"a=1"]
    edge.get("/s/3").expect(200, body="Bearer t2.secret")
    assert len(giver.asked) == 2


def test_a_body_that_is_not_at_hand_is_not_sent_again(running, giver, service, legacy):
    edge = site(running, giver, service, legacy, route={"body": {"replay": "1KB"}})
    edge.get("/s/1").expect(200)
    service.forget().answers(refusing("t1.secret"))
    with edge.client() as client:
        client.request("POST", "/s/2", body="x" * 2000).expect(401, body="who are you")
    assert len(service.requests) == 1
    edge.get("/s/3").expect(200, body="Bearer t2.secret")


def test_a_second_401_is_the_answer(running, giver, service, legacy):
    service.answers(refusing("t1.secret", "t2.secret"))
    edge = site(running, giver, service, legacy)
    edge.get("/s/1").expect(401, body="who are you")
    assert len(service.requests) == 2


def test_a_401_that_asks_the_reader_is_the_readers(running, giver, service, legacy):
    service.answers(refusing("t1.secret", challenge='Basic realm="members"'))
    edge = site(running, giver, service, legacy)
    edge.get("/s/1").expect(401, www_authenticate='Basic realm="members"')
    assert len(service.requests) == len(giver.asked) == 1


def test_eight_late_refusals_cost_one_new_token(running, giver, service, legacy):
    edge = site(running, giver, service, legacy)
    edge.get("/s/1").expect(200)
    both = threading.Barrier(8, timeout=60)
    refuse = refusing("t1.secret")

    def together(connection):
        if connection.request.get("Authorization") == b"Bearer t1.secret":
            both.wait()
        refuse(connection)

    service.answers(together)
    with ThreadPoolExecutor(8) as pool:
        for answer in [pool.submit(edge.get, f"/s/x{number}") for number in range(8)]:
            answer.result().expect(200, body="Bearer t2.secret")
    assert len(giver.asked) == 2


def told_of(caplog, event):
    """Return the fields of an *event* that was told."""
    until(lambda: any(each.message == event for each in list(caplog.records)), what=event)
    return next(each.fields for each in caplog.records if each.message == event)


BROKEN = [
    (500, "down", "answered 500"),
    (302, "", "answered 302"),
    (200, "not json", "not JSON"),
    (200, "[]", "not an object"),
    (200, {"access_token": None}, "no access_token"),
    (200, {"access_token": "a\r\nX-Evil: 1"}, "no access_token"),
    (200, {"token_type": "mac"}, "another type"),
]


@pytest.mark.parametrize("status, answer, why", BROKEN)
def test_no_token_is_a_clean_502_with_a_name(
    status, answer, why, running, giver, service, legacy, caplog
):
    caplog.set_level(logging.DEBUG)
    giver.status, giver.answer = status, answer
    edge = site(running, giver, service, legacy, route={"fallback": []})
    told = edge.get("/s/1").expect(502)
    assert b"error=token_unavailable" in told.get("Proxy-Status")
    event = told_of(caplog, "token.failed")
    assert event["upstream"] == "protected" and why in event["why"]
    assert edge.record("/s/1").error == "token_unavailable"
    assert not service.requests
    said = "\n".join([caplog.text, str(event), str(edge.records), str(told.raw)])
    for text in (SECRET, BASIC, "t1.secret", "X-Evil", "Traceback"):
        assert text not in said


def test_a_token_server_that_is_down_is_the_ladders_matter_and_heals(running, service, legacy):
    giver = Giver()
    port = unused_port()
    giver.url = f"http://127.0.0.1:{port}/token"
    edge = site(running, giver, service, legacy)
    edge.get("/s/1").expect(200, body="django", strangler_fallback="legacy;why=connect")
    with edge.client() as client:  # nothing was sent
        client.request("POST", "/s/1", body="a=1").expect(200, body="django")
    assert not service.requests


def test_it_is_not_asked_for_every_request_while_it_fails_and_heals(
    running, giver, service, legacy, caplog
):
    caplog.set_level(logging.INFO)
    giver.status = 503
    edge = site(running, giver, service, legacy)
    for number in range(20):
        edge.get(f"/s/{number}").expect(200, body="django")
    assert len(giver.asked) <= 4
    giver.status = 200
    until(lambda: edge.get("/s/x").text.startswith("Bearer"))
    told_of(caplog, "token.given")


def test_a_reader_who_leaves_while_a_token_is_waited_for_ends_nobody_elses_wait(
    running, giver, service, legacy
):
    giver.gate.clear()
    edge = site(running, giver, service, legacy)
    first = edge.client()
    first.send(build("GET", "/s/gone"))
    until(lambda: len(giver.asked) == 1)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(edge.get, "/s/stays")
        first.reset()
        assert edge.record("/s/gone").error == "client_aborted"
        giver.gate.set()
        other.result().expect(200, body="Bearer t1.secret")
    assert len(giver.asked) == 1


def test_what_is_fetched_for_the_cache_bears_it_too(running, giver, service, legacy):
    edge = site(running, giver, service, legacy, route={"cache": {"edge": "60s"}})
    edge.get("/s/1").expect(200, body="Bearer t1.secret")
    edge.get("/s/1").expect(200, body="Bearer t1.secret")
    assert len(service.requests) == 1


def test_a_copy_bears_it_too_and_never_its_readers_own(running, giver, service, legacy):
    edge = site(running, giver, service, legacy, route={"stage": "shadow 100%"})
    edge.get("/s/1", authorization="Basic cmVhZGVy").expect(200, body="django")
    until(lambda: service.requests)
    assert service.requests[0].all("Authorization") == [b"Bearer t1.secret"]


def test_a_copys_refused_token_is_renewed_once(running, giver, service, legacy):
    def answers(c):
        known = c.request.get("Authorization") == b"Bearer t2.secret"
        return respond(body="django")(c) if known else respond(status=401)(c)

    service.answers(answers)
    edge = site(running, giver, service, legacy, route={"stage": "shadow 100%"})
    edge.get("/s/1").expect(200, body="django")
    ledger = edge.edge.shadows.ledger("/s/**")
    until(lambda: edge.do(ledger.json)["equal"] == 1)
    assert len(giver.asked) == 2
    giver.gate.clear()
    service.answers(respond(status=401))
    edge.get("/s/2").expect(200, body="django")
    giver.gate.set()
    until(lambda: edge.do(ledger.json)["mismatched"] == 1)
    assert edge.do(lambda: edge.edge.view.upstreams["protected"].inflight) == 0
