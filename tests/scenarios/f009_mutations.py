# SPDX-License-Identifier: Apache-2.0
"""Good messages with a few bytes changed, by the hundred: what passes must still be good.

No expectation a case, one for all: the origin (and the reader) read only well-formed messages,
never a request (or an answer) that a strict reading of the sent bytes does not hold. A larger run:
STRANGLER_MUTATIONS=20000.
"""

from __future__ import annotations

import os
import random

import pytest

from strangler.testing import (
    Closed,
    Edge,
    Reader,
    Truncated,
    Upstream,
    build,
    chunked,
    close,
    configuration,
    respond,
)

COUNT = int(os.environ.get("STRANGLER_MUTATIONS", "600"))
BATCHES = 6
NASTY = [
    *(bytes([code]) for code in (0, 9, 10, 11, 12, 13, 32, 34, 44, 58, 59, 61, 127, 128, 255)),
    *(
        b"\r\n",
        b"\n\r\n",
        b"\r\n\r\n",
        b"\r\n ",
        b"\r\n\t",
        b": ",
        b" :",
        b"0",
        b"-",
        b"+",
        b"_",
        b"x",
    ),
    *(b"chunked", b"identity", b", chunked", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Connection: close\r\n",
    ),
    *(
        b"Host: b\r\n",
        b"0\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ),
    *(b"HTTP/1.0", b"HTTP/2.0", b"\xc2\xa0", b"ffffffffffffffff", b"Expect: 100-continue\r\n"),
]
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = [
    build("GET", "/a?b=c", [("Cookie", "a=b"), ("X", "y")]),
    build("POST", "/p", [("X", "y")], body=b"hello" + SMUGGLED),
    build("POST", "/c", [("Transfer-Encoding", "chunked"), ("X", "y")])
    + chunked("hello", SMUGGLED),
    build("GET", "/1") + build("POST", "/2", body="abc") + build("GET", "/3"),
    build("PUT", "/t", [("Transfer-Encoding", "chunked")]) + chunked("ab", trailers=[("X-T", "1")]),
    build("GET", "http://www.example.com/abs", [("Connection", "X-A, keep-alive"), ("X-A", "1")]),
]
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n" + chunked("hello", POISON),
    b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nuntil the end",
]


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    upstream = {
        "url": origin,
        "timeout": {"first_byte": "500ms", "between": "300ms"},
        "breaker": {"min_requests": 1_000_000},
    }
    limits = {"head_timeout": "500ms", "body_timeout": "500ms", "drain": "1s"}
    # What tells that all is well isn't to be judged by a busy machine's clock.
    patient = {"to": "legacy", "timeout": {"first_byte": "10s", "between": "10s"}}
    routes = {"/**": "legacy", "/barrier": patient, "/probe": patient}
    text = configuration(routes, upstreams={"legacy": upstream}, limits=limits)
    with Edge(text, access_log="off") as made:
        yield made


def mutate(chance: random.Random, message: bytes) -> bytes:
    """Return *message* with one to three small changes."""
    data = bytearray(message)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(NASTY)
            case 1:
                del data[at : at + chance.randint(1, 4)]
            case 2:
                data[at : at + 1] = chance.choice(NASTY)
            case 3:
                piece = data[at : at + chance.randint(1, 40)]
                data[at:at] = piece
            case _:
                lines = bytes(data).split(b"\r\n")
                one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                data = bytearray(b"\r\n".join(lines))
    return bytes(data)


def paths(sent: bytes) -> set[bytes]:
    """Return the paths of the requests that a strict reading of *sent* holds."""
    found: set[bytes] = set()
    while sent:
        reader = Reader("request")
        reader.feed(sent.removeprefix(b"\r\n"))  # RFC 9112 2.2: one empty line may come first
        found |= {each.path for each in reader.messages}
        sent = bytes(reader.rest) if reader.messages and reader.rest.startswith(b"\r\n") else b""
    return found


@pytest.mark.parametrize("batch", range(BATCHES))
def test_mutated_requests(batch, edge, origin):
    chance = random.Random(f"requests {batch}")
    origin.answers(respond())
    for number in range(COUNT // BATCHES):
        sent = mutate(chance, chance.choice(REQUESTS))
        before, faults = len(origin.requests), len(origin.violations)
        with edge.client() as client:
            client.send(sent)
            client.half_close()
            rest = client.drain(timeout=5)
            assert client.reader.broken is None, (batch, number, sent, client.reader.broken)
            del rest
        edge.get("/barrier").expect(200, body="ok")
        assert len(origin.violations) == faults, (batch, number, sent, origin.violations[-1])
        seen = {each.path for each in origin.requests[before:] if each.complete}
        if b"/smuggled" in seen:
            assert b"/smuggled" in paths(sent), (batch, number, sent, origin.requests[before:])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_mutated_responses(batch, edge, origin):
    chance = random.Random(f"responses {batch}")
    origin.on("/probe", respond(body="probed"))
    for number in range(COUNT // BATCHES // 2):
        sent = mutate(chance, chance.choice(RESPONSES))
        origin.on("/mutated", sent, close())
        with edge.client() as client:
            client.send(build("GET", "/mutated"))
            try:
                response = client.read()
            except (Truncated, Closed):
                pass
            else:
                assert not response.violations, (batch, number, sent, response.head)
                if b"close" not in response.tokens("connection"):
                    client.get("/probe").expect(200, body="probed")
        edge.get("/probe").expect(200, body="probed")
