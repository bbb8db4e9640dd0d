# SPDX-License-Identifier: Apache-2.0
"""Cache poisoning and deception: what one stranger asks must not be what another one gets.

Hostile input, "Cache". The origin here is as naive as an origin can be: it writes whatever it is
told into its page, calls everything cacheable, and reads paths as frameworks do.
"""

from __future__ import annotations

import contextlib
import time
import urllib.parse
from collections.abc import Iterator

import pytest
from scenarios.story import cached

from strangler.testing import (
    Closed,
    Connection,
    Edge,
    Truncated,
    Upstream,
    build,
    chunked,
    close,
    pause,
    reset,
    respond,
)

ROUTES = {
    "/origin/**": {"to": "app", "cache": "origin"},
    "/perfil/**": {"to": "app", "cache": "origin"},
    "/static/**": {"to": "app", "cache": {"edge": "60s"}},
    "/busca/**": {"to": "app", "cache": {"edge": "60s", "key": {"query": ["q"]}}},
    "/dropped/**": {
        "to": "app",
        "cache": {"edge": "60s", "key": {"query": {"drop": ["tracking"]}}},
    },
    "/**": "app",
}
MINUTE = ("Cache-Control", "max-age=60")
EVIL = "evil.example"


def reflecting(connection: Connection) -> None:
    """Write every field and the content of the request into the page."""
    request = connection.request
    assert request is not None
    shown = b"\n".join(name + b": " + value for name, value in request.fields)
    page = request.target + b"\n" + shown + b"\n" + bytes(request.body)
    status = 400 if b"$bad" in shown else 200
    respond(status, page, [MINUTE])(connection)


@pytest.fixture(scope="module")
def origin() -> Iterator[Upstream]:
    with Upstream() as made:
        made.answers(reflecting)
        yield made


@pytest.fixture(scope="module")
def edge(origin: Upstream) -> Iterator[Edge]:
    with Edge(cached(origin, routes=ROUTES), access_log="off") as made:
        yield made


def get(edge: Edge, target: str, fields=(), body=None, *, method="GET", host="www.example.com"):
    with edge.client() as client:
        client.send(build(method, target, fields, body, host=host))
        return client.read(method)


#: Each attacker's request, and then a victim's plain one: the mark must not reach the victim.
UNKEYED = {
    "x-forwarded-host": [("X-Forwarded-Host", EVIL)],
    "x-forwarded-host-twice": [("X-Forwarded-Host", "a"), ("X-Forwarded-Host", EVIL)],
    "x-forwarded-server": [("X-Forwarded-Server", EVIL)],
    "x-forwarded-port": [("X-Forwarded-Port", "evil.example")],
    "x-forwarded-proto": [("X-Forwarded-Proto", EVIL)],
    "x-forwarded-scheme": [("X-Forwarded-Scheme", EVIL)],
    "x-forwarded-prefix": [("X-Forwarded-Prefix", "/" + EVIL)],
    "x-forwarded-for": [("X-Forwarded-For", EVIL)],
    "forwarded": [("Forwarded", f"host={EVIL};proto=x")],
    "x-host": [("X-Host", EVIL)],
    "x-real-ip": [("X-Real-IP", EVIL)],
    "x-original-url": [("X-Original-URL", "/" + EVIL)],
    "x-original-uri": [("X-Original-URI", "/" + EVIL)],
    "x-rewrite-url": [("X-Rewrite-URL", "/" + EVIL)],
    "x-original-host": [("X-Original-Host", EVIL)],
    "x-http-method-override": [("X-HTTP-Method-Override", EVIL)],
    "x-http-method": [("X-HTTP-Method", EVIL)],
    "x-method-override": [("X-Method-Override", EVIL)],
    "underscored-x-forwarded-host": [("X_Forwarded_Host", EVIL)],
    "front-end-https": [("Front-End-Https", EVIL)],
    "x-wap-profile": [("X-Wap-Profile", EVIL)],
}
#: Of these the edge may not know that an origin heeds them; the others it must stop or not keep.
#: A route whose origin heeds one names it in its key.
HEEDED_BY_NOBODY = {"front-end-https", "x-wap-profile"}


@pytest.mark.parametrize("name", [name for name in UNKEYED if name not in HEEDED_BY_NOBODY])
@pytest.mark.parametrize("route", ["/origin", "/static"])
def test_unkeyed_fields_reach_no_other_reader(name, route, edge, origin):
    target = f"{route}/unkeyed-{name}"
    get(edge, target, UNKEYED[name])
    answer = get(edge, target).expect(200)
    assert EVIL not in answer.text.lower(), answer.text
    again = get(edge, target).expect(200)
    assert EVIL not in again.text.lower()


@pytest.mark.parametrize(
    "name", ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override"]
)
def test_an_override_gets_no_stored_page(name, edge, origin):
    """The other way: what is stored answers nobody who asks for something else in disguise."""
    target = f"/origin/disguised-{name}"
    get(edge, target).expect(200)
    before = len(origin.requests)
    get(edge, target, [(name, "/admin/")])
    assert len(origin.requests) == before + 1


def test_a_key_that_names_the_field(origin):
    routes = {"/k/**": {"to": "app", "cache": {"edge": "60s", "key": {"headers": ["x-wap"]}}}}
    with Edge(cached(origin, routes=routes)) as edge:
        get(edge, "/k/x", [("X-Wap", EVIL)])
        assert EVIL not in get(edge, "/k/x").text


# -- hosts


HOSTS = {
    "another": "evil.example",
    "another-port": "www.example.com:1337",
    "trailing-dot": "www.example.com.",
    "longer": "www.example.com.evil.example",
}


@pytest.mark.parametrize("name", HOSTS)
def test_the_host_is_in_the_key(name, edge):
    target = f"/origin/host-{name}"
    get(edge, target, host=HOSTS[name])
    answer = get(edge, target).expect(200)
    assert f"Host: {HOSTS[name]}\n" not in answer.text + "\n"


def test_an_absolute_target_is_the_same_page(edge, origin):
    get(edge, "/origin/absolute").expect(200)
    before = len(origin.requests)
    get(edge, "http://www.example.com/origin/absolute", host="evil.example").expect(200)
    get(edge, "/origin/absolute", host="evil.example").expect(200)
    assert EVIL not in get(edge, "/origin/absolute").text
    assert len(origin.requests) <= before + 2


# -- content in a GET


def test_a_fat_get(edge, origin):
    target = "/origin/fat"
    for fields, body in (
        ([], "callback=" + EVIL),
        ([("Content-Type", "application/x-www-form-urlencoded")], "q=" + EVIL),
        ([("X-HTTP-Method-Override", "POST")], EVIL),
    ):
        get(edge, target, fields, body)
        assert EVIL not in get(edge, target).expect(200).text
    with edge.client() as client:
        client.send(build("GET", "/origin/fat2", [("Transfer-Encoding", "chunked")]))
        client.send(chunked(EVIL))
        client.read()
    assert EVIL not in get(edge, "/origin/fat2").text


def test_a_fat_get_is_not_answered_from_store(edge, origin):
    get(edge, "/origin/fat3").expect(200)
    before = len(origin.requests)
    get(edge, "/origin/fat3", body="q=1").expect(200)
    assert len(origin.requests) == before + 1


# -- errors that one reader makes


BREAKING = {
    "meta-character": [("X-Any", "$bad")],
    "unknown-coding": [("Accept-Encoding", "$bad")],
    "unknown-range": [("Range", "$bad")],
    "cookie": [("Cookie", "a=$bad")],
    "authorization": [("Authorization", "$bad")],
    "user-agent": [("User-Agent", "$bad")],
    "origin": [("Origin", "$bad")],
    "upgrade": [("Upgrade", "$bad"), ("Connection", "upgrade")],
    "expectation": [("Expect", "$bad")],
}


@pytest.mark.parametrize("name", BREAKING)
def test_an_error_is_not_kept_under_the_routes_duration(name, edge, origin):
    """The origin says 400 to one reader's odd field, and says nothing of how long."""
    target = f"/static/broken-{name}"

    def answer(connection: Connection) -> None:
        assert connection.request is not None
        bad = b"$bad" in bytes(connection.request.head)
        respond(400 if bad else 200, "bad" if bad else "good")(connection)

    origin.on(target, answer)
    get(edge, target, BREAKING[name])
    get(edge, target).expect(200, body="good")


SIZES = {
    "fields-too-many": [(f"X-{number}", "a") for number in range(300)],
    "field-too-large": [("X-Large", "a" * 70_000)],
    "cookie-too-large": [("Cookie", "a=" + "b" * 70_000)],
}


@pytest.mark.parametrize("name", SIZES)
def test_the_edges_own_refusals_are_not_kept(name, edge):
    target = f"/origin/size-{name}"
    answer = get(edge, target, SIZES[name])
    assert answer.status in (400, 431)
    assert b"no-store" in (answer.get("cache-control") or b"")
    get(edge, target).expect(200)


def test_an_oversized_field_that_the_origin_refuses(edge, origin):
    """The edge takes 20 kB where the origin takes 8: the origin's 400 is one reader's alone."""
    target = "/static/oversized"

    def answer(connection: Connection) -> None:
        assert connection.request is not None
        bad = len(connection.request.head) > 8192
        respond(400 if bad else 200, "bad" if bad else "good")(connection)

    origin.on(target, answer)
    get(edge, target, [("X-Large", "a" * 20_000)]).expect(400)
    get(edge, target).expect(200, body="good")


# -- path confusion and deception


CONFUSED = {
    "suffix": "/perfil/x.css",
    "segment": "/perfil/conta/x.css",
    "parameter": "/perfil/conta;x.css",
    "encoded-slash": "/perfil/conta%2fx.css",
    "encoded-question": "/perfil/conta%3fx.css",
    "encoded-hash": "/perfil/conta%23x.css",
    "encoded-newline": "/perfil/conta%0ax.css",
    "encoded-nul": "/perfil/conta%00x.css",
    "dots": "/static/../perfil/conta",
    "encoded-dots": "/static/%2e%2e/perfil/conta",
    "encoded-dots-and-slash": "/static/..%2fperfil/conta",
    "double-encoded": "/static/%252e%252e/perfil/conta",
    "backslash": "/static/..%5cperfil/conta",
    "double-slash": "//static/../perfil/conta",
}


def deceived(connection: Connection) -> None:
    """Serve a reader's own page to whatever a lenient framework would take for it."""
    request = connection.request
    assert request is not None
    path = urllib.parse.unquote(request.path.decode("latin-1"))
    mine = "perfil" in path
    who = (request.get("cookie") or b"nobody").decode()
    # As Django's session middleware: private by its fields where it is private at all.
    fields = [("Vary", "Cookie")] if mine else []
    respond(200, f"page of {who}" if mine else "style", fields)(connection)


@pytest.fixture(scope="module")
def lenient() -> Iterator[Edge]:
    with Upstream(deceived) as origin, Edge(cached(origin, routes=ROUTES)) as made:
        yield made


@pytest.mark.parametrize("name", CONFUSED)
def test_web_cache_deception(name, lenient):
    target = CONFUSED[name]
    victim = get(lenient, target, [("Cookie", "sessionid=ana")])
    for fields in ([], [("Cookie", "sessionid=eva")]):
        thief = get(lenient, target, fields)
        assert "ana" not in thief.text, f"{victim.head!r} {thief.head!r} {thief.text}"


def test_two_spellings_never_share(edge, origin):
    """What a framework takes for two paths must be two keys, whatever their decoded form."""
    spellings = ["/origin/a/b", "/origin/a%2fb", "/origin/a%2Fb", "/origin//a/b", "/origin/a/./b"]
    for target in spellings:
        answer = get(edge, target)
        if answer.status == 200:
            assert answer.text.startswith(target + "\n")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/busca/x?q=a&q=evil", "/busca/x?q=a"),
        ("/busca/x?q=a;q=evil", "/busca/x?q=a"),
        ("/busca/x?q=a&Q=evil", "/busca/x?q=a"),
        ("/busca/x?q=a&_method=evil", "/busca/x?q=a"),
        ("/busca/x?q=a%26q=evil", "/busca/x?q=a"),
        ("/busca/x?q=a&q[]=evil", "/busca/x?q=a"),
        ("/busca/x?evil&q=a", "/busca/x?q=a"),
        ("/dropped/x?a=1&utm_source=evil", "/dropped/x?a=1"),
        ("/dropped/x?a=1&utm_source=x;a=evil", "/dropped/x?a=1"),
        ("/dropped/x?a=1&utm_%73ource=evil", "/dropped/x?a=1"),
        ("/origin/x?a=1#evil", "/origin/x?a=1"),
        ("/origin/y%20HTTP/1.1%0d%0aX:evil", "/origin/y"),
    ],
)
def test_parameters_that_are_not_keyed_are_not_seen(first, second, edge):
    """A parameter that doesn't count must not reach the origin, whose page all others get."""
    get(edge, first)
    assert "evil" not in get(edge, second).text


# -- odd responses


TRUNCATED = {
    "length": [b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nhalf"],
    "chunked": [
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"4\r\nhalf\r\n",
    ],
    "no-content-yet": [
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\n"
    ],
}


@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("name", TRUNCATED)
def test_what_is_cut_is_never_kept(name, ending, edge, origin):
    target = f"/origin/cut-{name}-{ending}"
    end = close() if ending == "close" else reset()
    origin.on(target, *TRUNCATED[name], pause(0.05), end)
    try:
        answer = get(edge, target)
        assert answer.status in (502, 504), f"what was cut looks whole: {answer}"
    except (Truncated, Closed):
        pass
    origin.on(target, respond(200, "whole", [MINUTE]))
    get(edge, target).expect(200, body="whole")


def test_a_reset_in_an_answer_that_the_end_delimits(edge, origin):
    target = "/origin/cut-delimited"
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n"
    origin.on(target, head, b"half", pause(0.05), reset())
    with contextlib.suppress(Truncated, Closed):
        get(edge, target)
    origin.on(target, respond(200, "whole", [MINUTE]))
    get(edge, target).expect(200, body="whole")


def test_surplus_bytes_are_not_kept(edge, origin):
    target = "/origin/surplus"
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n"
    origin.on(target, head + b"goodevil")
    for _ in range(3):
        get(edge, target).expect(200, body="good")


def test_split_heads_are_not_kept(edge, origin):
    target = "/origin/split"
    origin.on(
        target,
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-A: b\nX-Evil: 1\r\n"
        b"Content-Length: 4\r\n\r\nevil",
    )
    assert get(edge, target).status == 502
    origin.on(target, respond(200, "good", [MINUTE]))
    get(edge, target).expect(200, body="good")


# -- costs


def test_hash_flooding(edge, origin):
    """A million keys that differ cost what they cost, not more the more there are."""
    origin.on("/origin/flood", respond(200, "x", [MINUTE]))

    def flood(part: int, count: int = 150) -> float:
        began = time.monotonic()
        with edge.client(timeout=20) as client:
            for start in range(0, count, 50):
                client.send(
                    b"".join(
                        build("GET", f"/origin/flood?{part}-{number}")
                        for number in range(start, start + 50)
                    )
                )
                for _ in range(50):
                    client.read().expect(200)
        return time.monotonic() - began

    times = [flood(part) for part in range(5)]
    assert min(times[1:]) < 3 * times[0] + 0.5, times


def test_one_url_of_many_variants_stays_cheap(edge, origin):
    """Vary by a field that a stranger chooses: bounded, and others' hits don't get slower."""

    def varied(connection: Connection) -> None:
        respond(200, "x", [MINUTE, ("Vary", "X-Foo")])(connection)

    origin.on("/origin/variants", varied)
    get(edge, "/origin/variants").expect(200)

    def ask(count: int) -> float:
        began = time.monotonic()
        with edge.client(timeout=20) as client:
            for _ in range(count):
                client.get("/origin/variants").expect(200)
        return (time.monotonic() - began) / count

    before = min(ask(50) for _ in range(3))
    with edge.client(timeout=20) as client:
        for start in range(0, 500, 50):
            client.send(
                b"".join(
                    build("GET", "/origin/variants", [("X-Foo", str(number))])
                    for number in range(start, start + 50)
                )
            )
            for _ in range(50):
                client.read().expect(200)
    after = min(ask(50) for _ in range(3))
    assert after < 5 * before + 0.002, f"a hit took {before:.5f} s, beside 500 variants {after:.5f}"
