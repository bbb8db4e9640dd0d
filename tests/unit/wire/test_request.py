# SPDX-License-Identifier: Apache-2.0
"""The upstream request: its reader's lines behind trusted hops, its Host, its target."""

from __future__ import annotations

import pytest

from strangler.wire.head import RequestHead
from strangler.wire.request import (
    Edits,
    Request,
    Via,
    asking_for_store,
    bearing,
    compose,
    reader_lines,
    with_target,
)

VIA = Via.of(b"edge")


def head(*fields: tuple[bytes, bytes], target: bytes = b"/a?b") -> RequestHead:
    return RequestHead.build(b"GET", target, [(b"Host", b"www.example.com:8000"), *fields])


def lines(*fields: tuple[bytes, bytes], trusted: bool = True, peer: str = "10.0.0.1") -> bytes:
    return reader_lines(head(*fields), peer=peer, scheme=b"https", trusted=trusted, via=VIA)


@pytest.mark.parametrize(
    ("fields", "forwarded"),
    [
        ((), b"for=10.0.0.1"),
        (((b"X-Forwarded-For", b"1.2.3.4, 10.0.0.9"),), b"for=1.2.3.4, for=10.0.0.9, for=10.0.0.1"),
        (((b"X-Forwarded-For", b"2001:db8::1"),), b'for="[2001:db8::1]", for=10.0.0.1'),
        (((b"X-Forwarded-For", b'x";evil'),), b"for=unknown, for=10.0.0.1"),
        (((b"Forwarded", b"for=1.2.3.4"),), b"for=1.2.3.4, for=10.0.0.1"),
        # Only the one that the hop writes can be believed: the other is its client's.
        (
            ((b"X-Forwarded-For", b"1.2.3.4"), (b"Forwarded", b"for=6.6.6.6")),
            b"for=1.2.3.4, for=10.0.0.1",
        ),
    ],
)
def test_a_trusted_hops_chain_goes_on(
    fields: tuple[tuple[bytes, bytes], ...], forwarded: bytes
) -> None:
    assert b"\r\nForwarded: " + forwarded + b";host=" in lines(*fields)


def test_a_strangers_chain_does_not() -> None:
    told = lines((b"X-Forwarded-For", b"6.6.6.6"), (b"Forwarded", b"for=6.6.6.6"), trusted=False)
    assert b"6.6.6.6" not in told
    assert b"\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https" in told
    assert b"\r\nX-Forwarded-Port: 8000\r\n" in told


def test_host_modes() -> None:
    def sent(mode: str) -> bytes:
        request = compose(
            head(), target=b"/a?b", host_mode=mode, trusted=False, reader=b"", edits=None
        )
        return request.head(b"inner:81", b"/v2")

    assert sent("keep") == b"GET /v2/a?b HTTP/1.1\r\nHost: www.example.com:8000\r\n\r\n"
    assert sent("upstream") == b"GET /v2/a?b HTTP/1.1\r\nHost: inner:81\r\n\r\n"
    assert sent("other.example") == b"GET /v2/a?b HTTP/1.1\r\nHost: other.example\r\n\r\n"


def test_edits_replace_whatever_the_spelling() -> None:
    edits = Edits([b"X-Gone"], [(b"X-New", b"1")])
    assert edits.apply(b"\r\nx-gone: a\r\nA: b\r\nx-NEW: 0") == b"\r\nA: b\r\nX-New: 1"


def test_a_cache_asks_with_its_own_validators() -> None:
    request = compose(
        head((b"If-None-Match", b'"theirs"'), (b"Range", b"bytes=0-1"), (b"If-Match", b'"m"')),
        target=b"/a",
        host_mode="keep",
        trusted=False,
        reader=b"",
        edits=None,
    )
    asked = asking_for_store(request, [(b"If-None-Match", b'"ours"')], whole=True)
    assert asked.block.endswith(b'If-Match: "m"\r\nIf-None-Match: "ours"')
    assert b"Range" not in asked.block
    assert b"Range" in asking_for_store(request, [], whole=False).block
    assert with_target(asked, b"/b").target == b"/b"


def test_a_sampled_request_stays_so_when_it_is_given_a_token() -> None:
    request = compose(
        head((b"Authorization", b"Basic x")),
        target=b"/a",
        host_mode="keep",
        trusted=False,
        reader=b"",
        edits=None,
    )
    request.trace = object()
    made = bearing(request, b"t")
    assert made.trace is request.trace
    assert made.block.count(b"Authorization") == 1 and made.block.endswith(b"Bearer t")


def test_lines_of_a_request_alone_stay_whatever_becomes_of_its_block() -> None:
    block = b"\r\nA: b\r\nAuthorization: mine\r\nIf-None-Match: x"
    made = Request(b"GET", b"/a", block, b"", None, False, b"\r\nX-Request-Id: 1")
    for other in (
        made,
        bearing(made, b"t"),
        asking_for_store(made, [], whole=True),
        with_target(made, b"/b"),
        made.also(b"\r\nMore: 1"),
    ):
        head = other.head(b"a.example")
        assert head.count(b"\r\nX-Request-Id: 1\r\n") == 1 and head.endswith(b"\r\n\r\n")
    assert made.also(b"\r\nMore: 1").head(b"").endswith(b"\r\nX-Request-Id: 1\r\nMore: 1\r\n\r\n")
