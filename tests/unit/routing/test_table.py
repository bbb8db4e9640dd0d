# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from strangler.routing import (
    Conditions,
    Rule,
    Table,
    TiedRules,
    compile_table,
    parse_key,
)


def ties(*rules: tuple[str, Conditions]) -> list[str]:
    try:
        compile_table(
            Rule(parse_key(key), conditions, n, f"routes.yaml:{n}")
            for n, (key, conditions) in enumerate(rules, start=6)
        )
    except TiedRules as error:
        return [str(tie) for tie in error.ties]
    return []


NONE = Conditions()


@pytest.mark.parametrize(
    "keys",
    [
        ("/x", "/x"),
        ("/{a}", "/{b}"),
        ("/{a}/x/**", "/{b}/x/**"),
        ("GET /x", "GET,POST /x"),
        ("www.example.com/x", "WWW.example.com./x"),
        ("/{a}.x{b}", "/{a}.y{b}"),
        ("/{a}-x{b}/{c}", "/{a}-y{b}/d"),
        ("www.example.com/{a}.x{b}", "/{a}.y{b}"),
        ("*.example.com/{a}.x{b}", "www.example.com/{a}.y{b}"),
        ("GET /{a}.x{b}", "HEAD /{a}.y{b}"),
        ("/é", "/%C3%A9"),
    ],
)
def test_ties_name_both_places(keys: tuple[str, str]) -> None:
    """Pain 23: of two equal rules the winner would be undefined."""
    (tie,) = ties(*((key, NONE) for key in keys))
    assert all(key in tie for key in keys)
    assert "routes.yaml:6" in tie
    assert "routes.yaml:7" in tie


@pytest.mark.parametrize(
    "keys",
    [
        ("/x", "/x/", "/x/**", "/{x}", "/**", "/X"),
        ("GET /x", "POST /x", "HEAD /x", "/x"),
        ("a.org/x", "b.org/x", "*.org/x", "*.a.org/x", "/x"),
        ("/{a}.css", "/{a}.png", "/a{b}", "/{a}b"),
        ("/{a}.x{b}/c", "/{a}.y{b}/d"),
        ("a.org/{a}.x{b}", "b.org/{a}.y{b}"),
        ("POST /{a}.x{b}", "PUT /{a}.y{b}"),
    ],
)
def test_no_ties(keys: tuple[str, ...]) -> None:
    assert ties(*((key, NONE) for key in keys)) == []


def test_conditions_that_could_both_hold_tie() -> None:
    ios = Conditions.of(header={"X-App": "ios|android"})
    web = Conditions.of(header={"x-app": "web"})
    pattern = Conditions.of(header={"X-App": "w.*"})
    beta = Conditions.of(cookie={"beta": "1"})
    both = Conditions.of(header={"X-App": "web"}, cookie={"beta": "1"})
    assert ties(("/x", ios), ("/x", web), ("/x", NONE), ("/x", both)) == []
    assert len(ties(("/x", web), ("/x", web))) == 1
    assert len(ties(("/x", ios), ("/x", pattern))) == 1
    (tie,) = ties(("/x", ios), ("/x", beta))
    assert "header x-app: ios|android" in tie
    assert "cookie beta: 1" in tie


def test_all_ties_at_once() -> None:
    assert len(ties(*((key, NONE) for key in ["/x", "/x", "/y", "/z", "/y"]))) == 2


def test_conditions_that_fail_pass_the_request_on(head) -> None:
    app = Conditions.of(header={"X-App": "ios|android"})
    beta = Conditions.of(header={"X-App": "ios"}, cookie={"beta": "1"}, query={"q": "a b|c"})
    table = compile_table(
        [
            Rule(parse_key("/x"), NONE, "plain"),
            Rule(parse_key("/x"), app, "app"),
            Rule(parse_key("/x"), beta, "beta"),
            Rule(parse_key("/y"), app, "y"),
            Rule(parse_key("/{any}"), NONE, "any"),
        ]
    )

    def goes_to(path: bytes, app: bytes | None = None, query: bytes = b"", **cookies: bytes):
        fields = {b"x-app": app} if app is not None else {}
        sent = head(path, fields=fields, query=query, cookies={b"beta": cookies.get("beta", b"0")})
        match = table.match(sent)
        return match and match.value

    assert goes_to(b"/x") == "plain"
    assert goes_to(b"/x", b"ios") == "app"
    assert goes_to(b"/x", b"iosx") == "plain"
    assert goes_to(b"/x", b"ios", b"z=1&%71=a+b", beta=b"1") == "beta"
    assert goes_to(b"/x", b"ios", b"q=c&q=d", beta=b"1") == "beta"
    assert goes_to(b"/x", b"ios", b"q=d&q=c", beta=b"1") == "app"
    assert goes_to(b"/y", b"android") == "y"
    assert goes_to(b"/y") == "any"


def test_a_host_that_does_not_fit_passes_the_request_on(table, head) -> None:
    compiled = table("POST a.org/x", "*.a.org/x", "*.b.a.org/x", "GET *.c.b.a.org/x", "/{y}")

    def goes_to(host: bytes, method: bytes = b"GET") -> str:
        return compiled.match(head(b"/x", method, host)).value

    assert goes_to(b"a.org", b"POST") == "POST a.org/x"
    assert goes_to(b"a.org.", b"POST") == "POST a.org/x"
    assert goes_to(b"a.org") == "/{y}"
    assert goes_to(b"w.a.org") == "*.a.org/x"
    assert goes_to(b"w.b.a.org") == "*.b.a.org/x"
    assert goes_to(b"w.c.b.a.org") == "GET *.c.b.a.org/x"
    assert goes_to(b"w.c.b.a.org", b"POST") == "*.b.a.org/x"
    assert goes_to(b"xa.org") == "/{y}"
    assert goes_to(b"") == "/{y}"


def test_it_goes_back_to_what_it_passed(table, head) -> None:
    compiled = table("/a/b/c", "/a/{x}/d", "/{y}/b/e", "/a/**", "/{y}/**", "/{x}z/b/f")
    wanted = {
        b"/a/b/c": "/a/b/c",
        b"/a/b/d": "/a/{x}/d",
        b"/a/b/e": "/a/**",
        b"/q/b/e": "/{y}/b/e",
        b"/qz/b/f": "/{x}z/b/f",
        b"/qz/b/e": "/{y}/b/e",
        b"/qz/b/g": "/{y}/**",
    }
    assert {path: compiled.match(head(path)).value for path in wanted} == wanted


def test_a_literal_key_with_an_escaped_percent_sign(table, head) -> None:
    """Its decoded form must not be taken for a raw path."""
    compiled = table("/a%2541", "/aA", "/100%25", "/**")
    wanted = {
        b"/a%41": "/aA",
        b"/a%2541": "/a%2541",
        b"/100%": "/100%25",
        b"/100%25": "/100%25",
    }
    assert {path: compiled.match(head(path)).value for path in wanted} == wanted


def test_tables_are_equal_by_their_rules(table) -> None:
    assert table("/a", "/b") == table("/b", "/a")
    assert table("/a") != table("/b")
    assert table("/a") != "/a"
    assert len(table("/a", "/b")) == 2


def test_an_empty_table(table, head) -> None:
    for path in (b"/", b"*", b"/a/..", b"/%2F", b""):
        assert table().match(head(path)) is None


def site(size: int) -> list[str]:
    """Keys as a site of `size` routes would have."""
    keys = ["/**", "/feed.xml", "/autor/{nome}", "/noticia/{slug}.ghtml", "/busca/**"]
    for n in range((size - len(keys)) // 5):
        keys += [f"/s{n}/{end}" for end in ("", "lista", "{id}", "{a}-{b}", "**")]
    return keys


def calls(table: Table[str], head: object) -> int:
    """Count the calls, of Python and of C, that one match makes."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        table.match(head)  # type: ignore[arg-type]
    finally:
        sys.setprofile(None)
    return count - 1  # the last was that of setprofile


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        (b"/feed.xml", 2),
        (b"/autor/fulano", 8),
        (b"/noticia/tiroteio-deixa-um-morto-e-feridos.ghtml", 11),
        (b"/busca/a/b/c", 8),
        (b"/nada/disto", 8),
        (b"/autor/jo%C3%A3o", 18),
    ],
)
def test_two_thousand_routes_cost_what_twenty_do(table, head, path: bytes, bound: int) -> None:
    costs = [calls(table(*site(size)), head(path)) for size in (20, 2000)]
    assert costs[0] == costs[1] <= bound


def test_many_hosts_and_methods_cost_what_one_does(table, head) -> None:
    request = head(b"/x", b"PUT", b"h7.example.com")
    few = table("/**", "PUT h7.example.com/x", "GET h7.example.com/x")
    many = table("/**", *(f"{m} h{n}.example.com/x" for n in range(500) for m in ("GET", "PUT")))
    assert calls(few, request) == calls(many, request)


def test_long_paths_are_not_split_further_than_keys_go(table, head) -> None:
    compiled = table("/a/{b}", "/**")
    assert calls(compiled, head(b"/a/b" + b"/" * 16_000)) == calls(compiled, head(b"/a/b/c"))
    assert compiled.match(head(b"/a/b" + b"/" * 16_000)).value == "/**"
