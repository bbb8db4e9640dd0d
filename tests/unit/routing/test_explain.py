# SPDX-License-Identifier: Apache-2.0
"""Pain 24: which rule took my request?"""

from __future__ import annotations

import json

import pytest

from strangler.routing import Conditions, Rule, compile_table, parse_key


@pytest.fixture
def rules():
    app = Conditions.of(header={"X-App": "ios"}, query={"v": "[0-9]+"})
    return compile_table(
        [
            Rule(parse_key("/**"), Conditions(), "legacy", "routes.yaml:3"),
            Rule(parse_key("/busca/**"), Conditions(), "busca", "routes.yaml:4"),
            Rule(parse_key("POST /busca/{q}"), Conditions(), "post", "routes.yaml:5"),
            Rule(parse_key("www.example.com/busca/{q}"), Conditions(), "www", "routes.yaml:6"),
            Rule(parse_key("/busca/{q}"), app, "app", "routes.yaml:7"),
            Rule(parse_key("/busca/{q}/"), Conditions(), "slash", "routes.yaml:8"),
            Rule(parse_key("/Busca/x"), Conditions(), "case", "routes.yaml:9"),
        ]
    )


def test_every_candidate_says_why(rules, head) -> None:
    request = head(b"/busca/x", b"PUT", b"m.example.com", fields={b"x-app": b"ios"})
    explained = rules.explain(request)
    assert [(c.key, c.failed, c.why) for c in explained.candidates] == [
        (
            "www.example.com/busca/{q}",
            "host",
            "is for host www.example.com, not m.example.com",
        ),
        ("POST /busca/{q}", "method", "is for POST, not PUT"),
        (
            "/busca/{q} (header x-app: ios; query v: [0-9]+)",
            "query",
            "wants query v to match '[0-9]+'; there is none",
        ),
        ("/busca/**", None, "takes the request"),
        ("/**", None, "fits, too"),
        ("/Busca/x", "path", "would fit the path in other letter case"),
        ("/busca/{q}/", "path", "would fit the path with a slash at its end"),
    ]
    assert explained.winner is not None
    assert explained.winner.value == "busca"
    assert explained.winner.place == "routes.yaml:4"
    assert explained.params == {"**": "x"}
    assert explained.reason == (
        "more specific than /**: segment 1 is the literal busca, the other's **"
    )


@pytest.mark.parametrize(
    ("keys", "request_line", "reason"),
    [
        (("/a",), "GET /a", "the only route that fits"),
        (
            ("/{x}", "/{x}.b"),
            "GET /a.b",
            "segment 1 is {x}.b, a literal with a capture, the other's {x}, which takes any",
        ),
        (("/a/", "/a/**"), "GET /a/", "segment 2 is the slash at the end, the other's **"),
        (("h.org/a", "/a"), "GET h.org/a", "it names the host"),
        (("h.org/a", "*.org/a"), "GET h.org/a", "its host h.org is closer than *.org"),
        (("GET /a", "/a"), "GET /a", "it names GET"),
        (("GET /a", "/a"), "HEAD /a", "it serves HEAD"),
        (("GET /a", "HEAD /a"), "HEAD /a", "it names HEAD"),
    ],
)
def test_reasons(table, head, keys, request_line: str, reason: str) -> None:
    method, _, target = request_line.partition(" ")
    host, _, path = target.partition("/")
    explained = table(*keys).explain(head(b"/" + path.encode(), method.encode(), host.encode()))
    assert explained.reason.endswith(reason)


def test_more_conditions_are_a_reason(rules, head) -> None:
    request = head(b"/busca/x", fields={b"x-app": b"ios"}, query=b"v=1")
    table = compile_table([*rules.rules, Rule(parse_key("/busca/{z}"), Conditions(), "none")])
    assert table.explain(request).reason.endswith("it has 2 condition(s), the other 0")


def test_no_route(table, head) -> None:
    explained = table("POST /a", "/a/").explain(head(b"/a"))
    assert explained.winner is None
    assert explained.reason == "no route: 1 fit the path, but not the rest of the request"
    assert [c.key for c in explained.candidates] == ["POST /a", "/a/"]
    assert table("/b").explain(head(b"/a")).reason == "no route's path fits"


def test_an_ambiguous_path_has_no_winner(table, head) -> None:
    explained = table("/**", "/admin/**").explain(head(b"/admin%2Fx"))
    assert explained.winner is None
    assert explained.reason == (
        "refused with 400: path: /admin%2Fx goes to route /**, "
        "but read as /admin/x to route /admin/**"
    )


def test_it_goes_into_json(rules, head) -> None:
    request = head(b"/busca/\xff%2Fa", b"GET", b"x.org")
    told = json.loads(json.dumps(rules.explain(request).as_dict()))
    assert told["winner"]["key"] == "/busca/**"
    assert told["winner"]["place"] == "routes.yaml:4"
    assert told["reading"] == "/busca/\\xff%2Fa"
    assert told["ambiguous"] is None
    assert [c["failed"] for c in told["candidates"]][:2] == ["host", "method"]
