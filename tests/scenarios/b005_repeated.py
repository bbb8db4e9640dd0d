# SPDX-License-Identifier: Apache-2.0
"""Requests that come again byte for byte and are passed on: as the first was, whatever happens."""

from __future__ import annotations

from scenarios.load import origin

from strangler.testing import Edge, Upstream, close, configuration, respond, until

AGAIN = 4
"""A request is known by its bytes from the third time on."""
FIELDS = "Host: www.example.com\r\nCookie: a=b\r\nAccept-Language: pt-BR\r\n"


def routes(legacy: Upstream, to: str = "materia", **sections: object) -> str:
    return configuration(
        {"/**": "legacy", "/noticia/{slug}": {"to": to, "fallback": []}},
        upstreams={"legacy": legacy, "materia": legacy},
        limits={"drain": "1s"},
        **sections,
    )


def ask(client, target: str = "/noticia/a?x=1", fields: str = FIELDS):
    client.send(f"GET {target} HTTP/1.1\r\n{fields}\r\n")
    return client.read("GET")


def test_each_is_passed_on_as_the_first_was_with_an_id_of_its_own():
    with origin("legacy") as legacy, Edge(routes(legacy)) as edge:
        with edge.client() as one, edge.client() as other:
            for client in (one, other) * AGAIN:
                assert b"legacy" in ask(client).expect(200).body
                ask(client, "/noticia/b").expect(200)
        seen = [request for request in legacy.requests if request.target == b"/noticia/a?x=1"]
        assert len(seen) == 2 * AGAIN
        assert len({request.get("X-Request-Id") for request in seen}) == len(seen)
        kept = [
            [field for field in request.fields if field[0] != b"X-Request-Id"] for request in seen
        ]
        assert kept == [kept[0]] * len(kept)
        until(lambda: edge.log.count("GET www.example.com/noticia/a?x=1 ") == len(seen))


def test_a_new_configuration_and_an_upstream_that_breaks_are_heeded_at_once():
    with origin("legacy") as legacy, origin("materia") as materia:
        with Edge(routes(legacy)) as edge, edge.client() as client:
            for _ in range(AGAIN):
                assert b"legacy" in ask(client).expect(200).body
            text = configuration(
                {"/**": "legacy", "/noticia/{slug}": {"to": "materia", "fallback": []}},
                upstreams={"legacy": legacy, "materia": materia},
            )
            edge.write(text)
            edge.wait_log("config.accepted generation=2")
            for _ in range(AGAIN):
                assert b"materia" in ask(client).expect(200).body
            materia.on("/noticia/a", respond(500, b"broken"))
            ask(client).expect(500)
            materia.on("/noticia/a", close())
            ask(client).expect(502)
            materia.on("/noticia/a", respond(200, b"well"))
            assert ask(client).expect(200).body == b"well"


def test_one_that_is_known_is_read_where_it_comes_in_pieces_or_with_others():
    raw = f"GET /noticia/a HTTP/1.1\r\n{FIELDS}\r\n"
    with origin("legacy") as legacy, Edge(routes(legacy)) as edge, edge.client() as client:
        for _ in range(AGAIN):
            ask(client, "/noticia/a").expect(200)
        client.send(raw + raw + raw)
        for _ in range(3):
            client.read("GET").expect(200)
        for piece in (raw[:30], raw[30:]):
            client.send(piece)
        client.read("GET").expect(200)
        ask(client, "/noticia/a").expect(200)
        assert len(legacy.requests) == AGAIN + 5
