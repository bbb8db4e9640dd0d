# SPDX-License-Identifier: Apache-2.0
"""Where messages end: lengths, chunks, trailers, and what a response says of its body."""

from __future__ import annotations

import pytest

from strangler.wire.framing import (
    LINE_LIMIT,
    Body,
    Chunked,
    Length,
    MalformedBody,
    UntilClose,
    chunk,
    last_chunk,
    response_body,
)
from strangler.wire.head import ResponseHead

WHOLE = (
    b"5;a=b\r\nhello\r\n006\r\n world\r\n0\r\n"
    b"X-Sum: 1\r\nContent-Length: 3\r\nHost: evil\r\nAuthorization: x\r\n\r\nNEXT"
)


def run(body: Body, *parts: bytes) -> bytes:
    out = b""
    for part in parts:
        if body.ended:
            body.surplus += part  # type: ignore[misc]
        else:
            out += body.feed(part)
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunks_are_decoded_however_they_are_cut(size: int) -> None:
    body = Chunked()
    payload = run(body, *(WHOLE[i : i + size] for i in range(0, len(WHOLE), size)))
    assert payload == b"hello world"
    assert body.ended
    assert body.surplus == b"NEXT"
    assert body.trailers == b"X-Sum: 1\r\n"


MALFORMED = {
    "sign": b"+5\r\nhello\r\n",
    "hex prefix": b"0x5\r\nhello\r\n",
    "underscore": b"0_5\r\nhello\r\n",
    "no size": b"\r\nhello\r\n",
    "space before": b" 5\r\nhello\r\n",
    "17 digits": b"10000000000000005\r\nhello\r\n",
    "endless zeros": b"0" * LINE_LIMIT + b"5\r\nhello\r\n",
    "bare LF after the size": b"5\nhello\r\n",
    "bare CR after the size": b"5\rhello\r\n",
    "LF in an extension": b"5;a=\nb\r\nhello\r\n",
    "NUL in an extension": b"5;a=\0b\r\nhello\r\n",
    "missing CRLF": b"5\r\nhello5\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "too long data": b"5\r\nhellooo\r\n",
    "endless extension": b"5;" + b"a" * LINE_LIMIT * 2,
    "obs-fold in trailers": b"0\r\nA: b\r\n c\r\n\r\n",
    "bare LF in trailers": b"0\r\nA: b\n\r\n\r\n",
    "bare LF instead of trailers": b"0\r\n\n",
    "space before the colon in trailers": b"0\r\nA : b\r\n\r\n",
    "endless trailers": b"0\r\n" + b"A: b\r\n" * 5000,
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        run(Chunked(), data)
    with pytest.raises(MalformedBody):
        run(Chunked(), *(data[i : i + 1] for i in range(len(data))))


@pytest.mark.parametrize(
    "name",
    [b"Transfer-Encoding", b"transfer_encoding", b"Content-Length", b"Host", b"Set-Cookie",
     b"X-Forwarded-For", b"Via", b"If-Match", b"Cache-Control", b"Proxy-Authorization"],
)  # fmt: skip
def test_trailers_can_not_frame_route_or_authenticate(name: bytes) -> None:
    body = Chunked()
    run(body, b"0\r\n%b: x\r\nX-Ok: y\r\n\r\n" % name)
    assert body.trailers == b"X-Ok: y\r\n"


def test_a_length_ends_where_it_says() -> None:
    body = Length(5)
    assert run(body, b"he", b"llo!!") == b"hello"
    assert body.ended
    assert body.surplus == b"!!"
    assert Length(0).ended


def test_our_own_chunks_are_read_back() -> None:
    body = Chunked()
    assert run(body, chunk(b"a" * 300), chunk(b"b"), last_chunk(b"X: y\r\n")) == b"a" * 300 + b"b"
    assert body.ended
    assert body.trailers == b"X: y\r\n"


def response(fields: bytes, status: int = 200, version: bytes = b"1.1") -> ResponseHead:
    head = ResponseHead.parse(b"HTTP/%b %d X\r\n%b\r\n" % (version, status, fields))
    assert head is not None
    return head


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"Content-Length: 5\r\n", Length),
        (b"Transfer-Encoding: chunked\r\n", Chunked),
        (b"Transfer-Encoding: Chunked\r\n", Chunked),
        (b"", UntilClose),
        # RFC 9112 §6.3: each of these is a way to make two readers disagree
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", None),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", None),
        (b"Content-Length: 5, 5\r\n", None),
        (b"Content-Length:\r\nContent-Length: 5\r\n", None),
        (b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", None),
        (b"Content-Length: -5\r\n", None),
        (b"Content-Length:\r\n", None),
        (b"Content-Length: 5_0\r\n", None),
        (b"Transfer-Encoding: gzip, chunked\r\n", None),
        (b"Transfer-Encoding: xchunked\r\n", None),
        (b"Transfer-Encoding:\r\n", None),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", None),
    ],
)
def test_response_framing(fields: bytes, expected: type[Body] | None) -> None:
    body = response_body(b"GET", response(fields))
    assert (type(body) if body is not None else None) == expected


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"HEAD", 404)]
)
def test_some_responses_have_no_body_whatever_they_say(method: bytes, status: int) -> None:
    """RFC 9112 §6.3 item 1."""
    body = response_body(method, response(b"Content-Length: 5\r\n", status))
    assert body is not None
    assert body.ended


def test_chunked_in_http_1_0_is_refused() -> None:
    assert response_body(b"GET", response(b"Transfer-Encoding: chunked\r\n", 200, b"1.0")) is None


@pytest.mark.parametrize(
    ("start", "fields", "expected"),
    [
        (b"200 OK", b"Content-Length: 5\r\n", 5),
        (b"404 No", b"Content-Length: 0\r\n", 0),
        (b"200 OK", b"", -1),
        (b"200 OK", b"Content-Length: x\r\n", -1),
        (b"200 OK", b"Content-Length: 5\r\nContent-Length: 5\r\n", -1),
        (b"200 OK", b"Transfer-Encoding: chunked\r\n", -1),
        (b"200 OK", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", -1),
        (b"204 No", b"Content-Length: 5\r\n", -1),
        (b"304 No", b"Content-Length: 5\r\n", -1),
        (b"103 Hi", b"Content-Length: 5\r\n", -1),
    ],
)
def test_what_is_whole_is_what_the_decoder_would_read(
    start: bytes, fields: bytes, expected: int
) -> None:
    head = ResponseHead.parse(b"HTTP/1.1 " + start + b"\r\n" + fields + b"\r\n")
    assert head is not None and head.whole == expected
    if expected >= 0:
        body = response_body(b"GET", head)
        assert isinstance(body, Length)
        assert body.feed(b"x" * expected) == b"x" * expected
        assert body.ended and not body.surplus
