# SPDX-License-Identifier: Apache-2.0
"""Answers at the edges of what HTTP allows: large, empty, closing, refused."""

from __future__ import annotations

import pytest

from strangler.testing import Scenario, build, close, respond


@pytest.mark.parametrize(
    "request_",
    [
        b"HEAD / HTTP/1.1\r\nHost: a\r\nExpect: much\r\n\r\n",
        b"HEAD / HTTP/1.1\r\n\r\n",
        b"HEAD /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["417", "400", "414"],
)
def test_a_refused_head_has_no_content(request_, edge):
    with edge.client() as client:
        client.send(request_)
        assert client.read("HEAD").status >= 400
        client.expect_closed()


def test_a_hundred_kilobytes_of_fields(edge, origin):
    origin.reply(200, "x", on="/fields", fields=[(f"X-{n}", "v" * 1000) for n in range(100)])
    answer = edge.get("/fields").expect(200, body="x")
    assert len(answer.get("X-99")) == 1000


def test_a_thousand_cookies_keep_their_order(edge, origin):
    origin.reply(200, "x", on="/jar", fields=[("Set-Cookie", f"c{n}={n}") for n in range(1000)])
    found = edge.get("/jar").expect(200).all("set-cookie")
    assert found == [b"c%d=%d" % (n, n) for n in range(1000)]


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_content_leaves_its_connection(status, edge, origin):
    origin.reply(status, b"", on=f"/{status}")
    with edge.client() as client:
        for _ in range(3):
            client.get(f"/{status}").expect(status, body=b"")


def test_head_of_a_chunked_answer_leaves_its_connection(edge, origin):
    origin.on("/chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with edge.client() as client:
        for _ in range(3):
            client.request("HEAD", "/chunks").expect(200, body=b"")


def test_an_upstream_that_closes_each_time_is_reached_each_time(edge, origin):
    origin.on("/bye", respond(200, "bye", [("Connection", "close")]), close())
    with edge.client() as client:
        for _ in range(200):
            client.get("/bye").expect(200, body="bye", connection=None)


def test_a_1_0_connection_is_kept_for_who_asks(edge):
    with edge.client() as client:
        for _ in range(3):
            fields = [("Connection", "keep-alive")]
            answer = client.request("GET", "/", fields, version="HTTP/1.0").expect(200)
            assert answer.tokens("connection") == [b"keep-alive"]


def test_a_group_of_routes_shares_a_readers_side_and_one_cookie(scene: Scenario):
    canary = {
        "to": "materia",
        "stage": "canary 50%",
        "canary": {"by": "reader", "group": "checkout"},
    }
    scene.upstream("legacy").reply(200, "legacy")
    scene.upstream("materia").reply(200, "materia")
    scene.proxy({"/**": "legacy", "/cart/**": canary, "/pay/**": canary})
    sides = set()
    for _ in range(40):
        with scene.connect() as client:
            first = client.get("/cart/").expect(200)
            (cookie,) = first.all("set-cookie")
            sides.add(first.text)
            for target in ("/pay/", "/cart/x", "/pay/y"):
                client.send(build("GET", target, [("Cookie", cookie.split(b";")[0])]))
                client.read().expect(200, body=first.text, set_cookie=None)
    assert sides == {"legacy", "materia"}


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("1.1.1.1, 2001:db9::1, 10.0.0.1", "2001:db9::1"),
        ('"[2001:db9::7]:443", 10.0.0.1', "2001:db9::7"),
        ("2001:db8::5, 10.1.1.1", "2001:db8::5"),
        ("8.8.8.8:1234", "8.8.8.8"),
        ("nonsense, 10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_stranger_from_the_right(chain, client, scene: Scenario):
    trusted = ["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"]
    legacy = scene.upstream("legacy")
    edge = scene.proxy(site={"trust_forwarded_from": trusted}, edge={"access_log": "json"})
    scene.client.get("/who", x_forwarded_for=chain).expect(200)
    assert f'"{client}"' in edge.wait_log("/who")
    assert legacy.requests[-1].all("x-forwarded-for") == [chain.encode() + b", 127.0.0.1"]
