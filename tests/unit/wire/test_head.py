# SPDX-License-Identifier: Apache-2.0
"""Heads: what is refused with which status, and what is read from those that are not."""

from __future__ import annotations

import pytest

from strangler.errors import RequestRejected
from strangler.wire import head as heads
from strangler.wire.head import RequestHead, ResponseHead, host_of, members

OK = b"GET /a?b=c HTTP/1.1\r\nHost: www.example.com\r\n\r\n"


def request(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = b"Host: a") -> bytes:
    lines = [line, *([host] if host else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_a_plain_head_is_read_whole() -> None:
    head = RequestHead.parse(OK)
    assert (head.method, head.target, head.path, head.query) == (b"GET", b"/a?b=c", b"/a", b"b=c")
    assert (head.host, head.authority, head.version) == (b"www.example.com", b"www.example.com", 11)
    assert head.keep_alive
    assert head.fields.length is None
    assert not head.fields.chunked


REJECTED = {
    # RFC 9112 §3: the request line
    "two spaces": (request(b"GET  / HTTP/1.1"), 400),
    "tab": (request(b"GET\t/ HTTP/1.1"), 400),
    "no version": (request(b"GET /"), 400),
    "lower-case version": (request(b"GET / http/1.1"), 400),
    "HTTP/2.0": (request(b"GET / HTTP/2.0"), 505),
    "HTTP/0.9": (request(b"GET / HTTP/0.9"), 505),
    "HTTP/1": (request(b"GET / HTTP/1"), 505),
    "three digits": (request(b"GET / HTTP/1.10"), 400),
    "fragment": (request(b"GET /#x HTTP/1.1"), 400),
    "raw byte above 0x7f": (request(b"GET /\xe3 HTTP/1.1"), 400),
    "method with a comma": (request(b"GE,T / HTTP/1.1"), 400),
    "relative target": (request(b"GET a HTTP/1.1"), 400),
    "asterisk with GET": (request(b"GET * HTTP/1.1"), 400),
    "CONNECT": (request(b"CONNECT a:443 HTTP/1.1"), 405),
    "absolute form of another scheme": (request(b"GET ftp://a/ HTTP/1.1"), 400),
    "absolute form with userinfo": (request(b"GET http://u@a/ HTTP/1.1"), 400),
    # RFC 9112 §5: field lines
    "space before the colon": (request(b"GET / HTTP/1.1", b"A : b"), 400),
    "empty name": (request(b"GET / HTTP/1.1", b": b"), 400),
    "no colon": (request(b"GET / HTTP/1.1", b"a b"), 400),
    "obs-fold": (request(b"GET / HTTP/1.1", b"A: b", b" c"), 400),
    "bare LF": (request(b"GET / HTTP/1.1", b"A: b\nC: d"), 400),
    "bare CR": (request(b"GET / HTTP/1.1", b"A: b\rC: d"), 400),
    "NUL": (request(b"GET / HTTP/1.1", b"A: b\0"), 400),
    "DEL": (request(b"GET / HTTP/1.1", b"A: b\x7f"), 400),
    # RFC 9112 §3.2: Host
    "no Host": (request(host=b""), 400),
    "two Hosts": (request(b"GET / HTTP/1.1", b"Host: b"), 400),
    "two equal Hosts": (request(b"GET / HTTP/1.1", b"Host: a"), 400),
    "Host with a slash": (request(host=b"Host: a/b"), 400),
    "Host with userinfo": (request(host=b"Host: u@a"), 400),
    "Host list": (request(host=b"Host: a b"), 400),
    "Host with a bad port": (request(host=b"Host: a:x"), 400),
    # RFC 9112 §6: framing
    "Content-Length sign": (request(b"GET / HTTP/1.1", b"Content-Length: +1"), 400),
    "Content-Length underscore": (request(b"GET / HTTP/1.1", b"Content-Length: 1_0"), 400),
    "Content-Length empty": (request(b"GET / HTTP/1.1", b"Content-Length:"), 400),
    "Content-Length list": (request(b"GET / HTTP/1.1", b"Content-Length: 1, 1"), 400),
    "Content-Length twice": (
        request(b"GET / HTTP/1.1", b"Content-Length: 1", b"content-length: 1"),
        400,
    ),
    "Content-Length overflow": (request(b"GET / HTTP/1.1", b"Content-Length: " + b"9" * 19), 400),
    "Content-Length Arabic digits": (
        request(b"GET / HTTP/1.1", "Content-Length: ٣".encode()),
        400,
    ),
    "both framings": (
        request(b"POST / HTTP/1.1", b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        400,
    ),
    "both framings, the other order": (
        request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 1"),
        400,
    ),
    "xchunked": (request(b"POST / HTTP/1.1", b"Transfer-Encoding: xchunked"), 501),
    "chunked twice": (request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked, chunked"), 400),
    "chunked on two lines": (
        request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
    ),
    "quoted chunked": (request(b"POST / HTTP/1.1", b'Transfer-Encoding: "chunked"'), 400),
    "chunked with a vertical tab": (
        request(b"POST / HTTP/1.1", b"Transfer-Encoding: \x0bchunked"),
        400,
    ),
    "chunked in HTTP/1.0": (request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"), 400),
}


@pytest.mark.parametrize(("raw", "status"), REJECTED.values(), ids=REJECTED.keys())
def test_a_head_that_two_readers_could_read_differently_is_refused(raw: bytes, status: int) -> None:
    with pytest.raises(RequestRejected) as refused:
        RequestHead.parse(raw)
    assert refused.value.status == status


ACCEPTED = {
    "unknown method": request(b"M-SEARCH / HTTP/1.1"),
    "unknown method that llhttp doesn't know": request(b"BREW / HTTP/1.1"),
    "HTTP/1.0 without Host": request(b"GET / HTTP/1.0", host=b""),
    "a later minor version": request(b"GET / HTTP/1.2"),
    "empty value": request(b"GET / HTTP/1.1", b"A:"),
    "tabs around the value": request(b"GET / HTTP/1.1", b"A:\t b \t"),
    "bytes above 0x7f in a value": request(b"GET / HTTP/1.1", b"A: \xe9"),
    "Content-Length 0": request(b"POST / HTTP/1.1", b"Content-Length: 0"),
    "leading zeros": request(b"POST / HTTP/1.1", b"Content-Length: 0001"),
    "chunked in capitals": request(b"POST / HTTP/1.1", b"Transfer-Encoding: CHUNKED"),
    "odd but legal target": request(b"GET /a|b{c}[d]^`\\~ HTTP/1.1"),
    "OPTIONS *": request(b"OPTIONS * HTTP/1.1"),
    "absolute form": request(b"GET http://b/x HTTP/1.1"),
    "empty Host": request(host=b"Host:"),
    "IPv6 Host": request(host=b"Host: [::1]:8000"),
}


@pytest.mark.parametrize("raw", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_valid_is_not_refused(raw: bytes) -> None:
    RequestHead.parse(raw)


def test_absolute_form_wins_over_host() -> None:
    """RFC 9112 §3.2.2."""
    head = RequestHead.parse(request(b"GET http://B.example:81/x?y HTTP/1.1"))
    assert (head.host, head.authority, head.rest) == (b"b.example", b"B.example:81", b"/x?y")
    assert RequestHead.parse(request(b"GET http://b?y HTTP/1.1")).rest == b"/?y"
    assert RequestHead.parse(request(b"OPTIONS http://b HTTP/1.1")).rest == b"*"


@pytest.mark.parametrize(
    ("line", "connection", "kept"),
    [
        (b"GET / HTTP/1.1", b"", True),
        (b"GET / HTTP/1.1", b"Connection: Close", False),
        (b"GET / HTTP/1.1", b"Connection: x, close", False),
        (b"GET / HTTP/1.0", b"", False),
        (b"GET / HTTP/1.0", b"Connection: keep-alive", True),
        (b"GET / HTTP/1.0", b"Connection: keep-alive, close", False),
    ],
)
def test_persistence(line: bytes, connection: bytes, kept: bool) -> None:
    """RFC 9112 §9.3."""
    fields = [connection] if connection else []
    assert RequestHead.parse(request(line, *fields)).keep_alive is kept


def test_cookies_and_fields_are_found_whatever_their_case() -> None:
    head = RequestHead.parse(
        request(b"GET / HTTP/1.1", b"COOKIE: a=1; b=2", b"Cookie: c=3", b"X-A:  1 ", b"x-a: 2")
    )
    assert (head.cookie(b"b"), head.cookie(b"c"), head.cookie(b"d")) == (b"2", b"3", None)
    assert (head.get(b"x-a"), head.all(b"x-a")) == (b"1", [b"1", b"2"])
    assert head.fields.combined(b"x-a") == b"1, 2"
    assert b"x-a" in head.fields
    assert b"a" not in head.fields


def test_a_field_name_inside_a_value_is_not_a_field() -> None:
    head = RequestHead.parse(request(b"GET / HTTP/1.1", b"A: content-length: 5"))
    assert head.fields.length is None


def test_a_repeated_block_is_read_once_and_only_if_small() -> None:
    first, again = RequestHead.parse(OK), RequestHead.parse(OK)
    assert first.fields is again.fields
    large = request(b"GET / HTTP/1.1", b"A: " + b"x" * 3000)
    assert RequestHead.parse(large).fields is not RequestHead.parse(large).fields


def test_build_makes_what_parse_reads() -> None:
    head = RequestHead.build(b"GET", b"/x", [(b"A", b"b")])
    assert (head.host, head.get(b"a")) == (b"localhost", b"b")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 200 \r\n\r\n", 200),
        (b"HTTP/1.1 200\r\n\r\n", 200),
        (b"HTTP/1.0 404 N\xe3o\r\nA: b\r\n\r\n", 404),
        (b"HTTP/1.1 600 Odd\r\n\r\n", None),
        (b"HTTP/1.1 2000 OK\r\n\r\n", None),
        (b"HTTP/1.1 20 OK\r\n\r\n", None),
        (b"HTTP/1.1 abc OK\r\n\r\n", None),
        (b"HTTP/1.1 +20 OK\r\n\r\n", None),
        (b"HTTP/1.1 099 OK\r\n\r\n", None),
        (b"HTTP/2 200 OK\r\n\r\n", None),
        (b"ICY 200 OK\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\nA: b\n\n", None),
    ],
)
def test_response_heads(raw: bytes, status: int | None) -> None:
    head = ResponseHead.parse(raw)
    assert (head.status if head is not None else None) == status


def test_what_a_response_says_of_its_framing() -> None:
    head = ResponseHead.parse(
        b"HTTP/1.1 200 OK\r\nContent-Length:  5 \r\nConnection: Close\r\nConnection: x\r\n\r\n"
    )
    assert head is not None
    assert (head.length, head.coding, head.connection) == (b"5", None, b"close,x")
    twice = ResponseHead.parse(b"HTTP/1.1 200 OK\r\nContent-Length:\r\nContent-Length: 5\r\n\r\n")
    assert twice is not None
    assert twice.length == b","


def test_small_readers() -> None:
    assert members(b" a ,, b,") == [b"a", b"b"]
    assert host_of(b"WWW.Example.com:80") == b"www.example.com"
    assert host_of(b"") == b""


def _answer(*lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def test_a_repeated_response_head_is_read_once() -> None:
    raw = _answer(b"Content-Length: 5", b"ETag: repeated")
    head = ResponseHead.parse(raw)
    assert head is not None and ResponseHead.parse(bytes(bytearray(raw))) is head
    other = ResponseHead.parse(_answer(b"Content-Length: 6", b"ETag: repeated"))
    assert other is not None and (head.size, other.size) == (5, 6)


def test_heads_that_set_cookies_or_are_long_are_not_kept() -> None:
    for raw in (_answer(b"Set-Cookie: a=b"), _answer(b"X-Long: " + b"v" * 2000)):
        assert ResponseHead.parse(raw) is not ResponseHead.parse(bytes(bytearray(raw)))


def test_kept_response_heads_are_bounded() -> None:
    for number in range(5000):
        ResponseHead.parse(_answer(b"ETag: %d" % number))
    assert len(heads._parsed_heads) <= 1024


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        ("1", None, True),
        ("1", "close", False),
        ("1", "Keep-Alive, CLOSE", False),
        ("1", "x", True),
        ("0", None, False),
        ("0", "keep-alive", True),
        ("0", "close, keep-alive", False),
    ],
)
def test_whether_the_upstream_keeps_the_connection(version, connection, kept):
    line = f"Connection: {connection}\r\n" if connection is not None else ""
    head = ResponseHead.parse(f"HTTP/1.{version} 200 OK\r\n{line}\r\n".encode())
    assert head is not None and head.keep_alive is kept
