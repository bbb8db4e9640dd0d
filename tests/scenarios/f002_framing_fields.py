# SPDX-License-Identifier: Apache-2.0
"""Content-Length and Transfer-Encoding: where a request ends must be said once and plainly."""

from __future__ import annotations

import pytest

from strangler.testing import Edge, Upstream, Vector, configuration, judge
from strangler.testing.vectors import clean, content, every, lacks, reject, valid

H = b"Host: www.example.com\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
HELLO = content(b"hello")


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    limits = {"head_timeout": "500ms", "body_timeout": "1s", "drain": "1s"}
    with Edge(configuration(upstreams={"legacy": origin}, limits=limits)) as made:
        yield made


def post(fields: bytes, body: bytes = b"", *, method: bytes = b"POST", minor: int = 1) -> bytes:
    """Return a request with these raw field lines, each with its own line end."""
    return b"%s /framed HTTP/1.%d\r\n" % (method, minor) + H + fields + b"\r\n" + body


def length(value: bytes) -> bytes:
    return post(b"Content-Length: " + value + b"\r\n", b"hello")


def coding(value: bytes, *, minor: int = 1, method: bytes = b"POST") -> bytes:
    return post(b"Transfer-Encoding: " + value + b"\r\n", CHUNKED, minor=minor, method=method)


def shown(value: bytes) -> str:
    return repr(value)[2:-1] or "empty"


LENGTHS = [
    valid("length", length(b"5"), check=HELLO, rfc="9112 6.2"),
    valid("length-of-nothing", post(b"Content-Length: 0\r\n"), check=content(b""), rfc="9112 6.2"),
    valid("no-length-on-post", post(b""), check=content(b""), rfc="9112 6.3"),
    valid("length-with-zeros-before", length(b"0005"), check=HELLO, rfc="9110 8.6"),
    valid("length-with-space-around", length(b"\t 5 \t"), check=HELLO, rfc="9112 5.1"),
    valid(
        "length-without-space", post(b"Content-Length:5\r\n", b"hello"), check=HELLO, rfc="9112 5.1"
    ),
    valid(
        "length-in-capitals", post(b"CONTENT-LENGTH: 5\r\n", b"hello"), check=HELLO, rfc="9110 5.1"
    ),
    *(
        valid(
            f"content-with-{method.decode()}",
            post(b"Content-Length: 5\r\n", b"hello", method=method),
            check=HELLO,
            methods=(method.decode(),),
            rfc="9110 9.3",
        )
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"PATCH", b"BREW")
    ),
    *(
        reject(f"length-{shown(value)}", length(value), 400, rfc="9110 8.6")
        for value in (
            *(b"+5", b"-5", b"-0", b"+0", b"5 5", b"5\t5", b"5,5", b"5, 5", b"5,6", b",5", b"5,"),
            *(
                b"5;5",
                b"5;",
                b"0x5",
                b"0X05",
                b"5h",
                b"05h",
                b"1_0",
                b"_5",
                b"5_",
                b"",
                b" ",
                b"\t",
            ),
            *(
                b"5 a",
                b"a 5",
                b"five",
                b"5.0",
                b"5.",
                b".5",
                b"5e0",
                b"1e1",
                b"'5'",
                b'"5"',
                b"(5)",
            ),
            *(b"\xd9\xa5", b"\xef\xbc\x95", b"\xe2\x81\xb5", b"\xb2", b"5\xa0", b"\xa05", b"0b101"),
            *(b"5\0", b"\x005", b"5\x0b", b"\x0b5", b"5\x0c", b"5\x85", b"5\x1c", b"0o5", b"5L"),
            *(b"5/5", b"5%", b"%35", b"NaN", b"inf", b"null", b"true", b"5\r5", b"5\x7f"),
        )
    ),
    *(
        reject(f"length-overflow-{value.decode()[:24]}", length(value), 400, 413, rfc="9110 8.6")
        for value in (
            *(b"9223372036854775808", b"18446744073709551615", b"18446744073709551616"),
            *(
                b"18446744073709551621",
                b"4294967301" * 2,
                b"9" * 40,
                b"9" * 1000,
                b"1" + b"0" * 300,
            ),
        )
    ),
    clean("length-after-300-zeros", length(b"0" * 300 + b"5"), 400, 413, check=HELLO, rfc="8.6"),
    *(
        reject(f"lengths-{name}", post(fields, b"hello"), 400, rfc="9112 6.3")
        for name, fields in {
            "equal": b"Content-Length: 5\r\nContent-Length: 5\r\n",
            "equal-in-other-case": b"Content-Length: 5\r\ncontent-length: 5\r\n",
            "first-longer": b"Content-Length: 6\r\nContent-Length: 5\r\n",
            "first-shorter": b"Content-Length: 0\r\nContent-Length: 5\r\n",
            "apart": b"Content-Length: 5\r\nX: y\r\nContent-Length: 4\r\n",
            "equal-but-for-a-zero": b"Content-Length: 5\r\nContent-Length: 05\r\n",
            "and-an-empty-one": b"Content-Length: 5\r\nContent-Length:\r\n",
            "and-a-bad-one": b"Content-Length: 5\r\nContent-Length: x\r\n",
            "two-of-nothing": b"Content-Length: 0\r\nContent-Length: 0\r\n",
            "three": b"Content-Length: 5\r\n" * 3,
        }.items()
    ),
    *(
        reject(f"length-{name}", post(fields, b"hello"), 400, rfc="9112 5.1")
        for name, fields in {
            "name-with-space": b"Content-Length : 5\r\n",
            "name-with-tab": b"Content-Length\t: 5\r\n",
            "name-after-space": b"X: y\r\n Content-Length: 5\r\n",
            "name-with-a-gap": b"Content Length: 5\r\n",
            "name-with-nul": b"Content-Length\0: 5\r\n",
            "name-with-cr": b"Content-Length\r: 5\r\n",
            "name-with-dotless-i": b"Content-Lengt\xc4\xa7: 5\r\n",
            "folded": b"Content-Length:\r\n 5\r\n",
            "folded-in-two": b"Content-Length: \r\n\t5\r\n",
            "continued": b"Content-Length: 0\r\n 5\r\n",
            "behind-a-bare-lf": b"X: y\nContent-Length: 5\r\n",
            "behind-a-bare-cr": b"X: y\rContent-Length: 5\r\n",
            "without-a-colon": b"Content-Length 5\r\n",
        }.items()
    ),
    clean(
        "length-with-underscore-alone",
        post(b"Content_Length: 5\r\n"),
        400,
        check=every(content(b""), lacks("Content_Length")),
        rfc="9110 5.1",
    ),
    clean(
        "length-with-underscore-beside",
        post(b"Content_Length: 99\r\nContent-Length: 5\r\n", b"hello"),
        400,
        check=every(HELLO, lacks("Content_Length")),
        rfc="9110 5.1",
    ),
    reject(
        "content-longer-than-said",
        post(b"Content-Length: 5\r\n", b"helloWORLD\r\n\r\n"),
        400,
        requests=2,
        rfc="9112 6.3",
    ),
    valid(
        "a-request-behind-the-content",
        post(b"Content-Length: 5\r\n", b"hello" + SMUGGLED),
        requests=2,
        rfc="9112 9.3",
    ),
    valid(
        "content-that-looks-like-a-request",
        post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
        check=content(SMUGGLED),
        rfc="9112 6.3",
    ),
]

_TAIL = b"0\r\n\r\n" + SMUGGLED
_WHOLE = b"Content-Length: %d\r\n" % len(_TAIL)
_SHORT = b"Content-Length: 4\r\n"

BOTH = [
    *(
        reject(f"both-{name}", post(fields, body), 400, rfc="9112 6.1")
        for name, fields, body in (
            ("length-first", _WHOLE + b"Transfer-Encoding: chunked\r\n", _TAIL),
            ("length-last", b"Transfer-Encoding: chunked\r\n" + _WHOLE, _TAIL),
            ("apart", _WHOLE + b"X: y\r\nTransfer-Encoding: chunked\r\n", _TAIL),
            ("in-capitals", _WHOLE + b"TRANSFER-ENCODING: CHUNKED\r\n", _TAIL),
            ("te-cl", _SHORT + b"Transfer-Encoding: chunked\r\n", b"2c\r\n" + SMUGGLED + _TAIL),
            ("length-zero", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
            ("length-bad", b"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
            ("two-lengths", _SHORT * 2 + b"Transfer-Encoding: chunked\r\n", CHUNKED),
            ("empty-coding", _WHOLE + b"Transfer-Encoding:\r\n", _TAIL),
            ("space-before-colon", _WHOLE + b"Transfer-Encoding : chunked\r\n", _TAIL),
            ("tab-before-colon", _WHOLE + b"Transfer-Encoding\t: chunked\r\n", _TAIL),
            ("folded", _WHOLE + b"Transfer-Encoding:\r\n chunked\r\n", _TAIL),
            ("as-a-fold", _WHOLE + b"X: y\r\n Transfer-Encoding: chunked\r\n", _TAIL),
            ("after-bare-lf", _WHOLE + b"X: y\nTransfer-Encoding: chunked\r\n", _TAIL),
            ("after-bare-cr", _WHOLE + b"X: y\rTransfer-Encoding: chunked\r\n", _TAIL),
            ("after-nul", _WHOLE + b"X: y\0\r\nTransfer-Encoding: chunked\r\n", _TAIL),
            ("name-after-nul", _WHOLE + b"\0Transfer-Encoding: chunked\r\n", _TAIL),
            ("name-with-nul", _WHOLE + b"Transfer-Encoding\0: chunked\r\n", _TAIL),
            ("name-with-gap", _WHOLE + b"Transfer Encoding: chunked\r\n", _TAIL),
            ("vertical-tab", _WHOLE + b"Transfer-Encoding: \x0bchunked\r\n", _TAIL),
            ("form-feed", _WHOLE + b"Transfer-Encoding: chunked\x0c\r\n", _TAIL),
            ("split-over-lines", _WHOLE + b"Transfer-Encoding: chun\r\n ked\r\n", _TAIL),
            ("colon-twice", _WHOLE + b"Transfer-Encoding:: chunked\r\n", _TAIL),
            ("cr-before-the-name", _WHOLE + b"\rTransfer-Encoding: chunked\r\n", _TAIL),
            ("name-cut-by-lf", _WHOLE + b"Transfer-Encoding\n: chunked\r\n", _TAIL),
        )
    ),
    *(
        reject(
            f"both-{shown(value)}", post(_WHOLE + b"Transfer-Encoding: " + value, _TAIL), rfc="6"
        )
        for value in (
            *(
                b"xchunked\r\n",
                b"identity\r\n",
                b"gzip\r\n",
                b"chunked, identity\r\n",
                b"chunk\r\n",
            ),
            *(b"identity, chunked\r\n", b'"chunked"\r\n', b"chunked;x=1\r\n", b"cow\r\n", b"*\r\n"),
        )
    ),
    clean(
        "both-with-underscore",
        post(_WHOLE + b"Transfer_Encoding: chunked\r\n", _TAIL),
        400,
        check=every(content(_TAIL), lacks("Transfer_Encoding")),
        rfc="9112 6.3",
    ),
    valid(
        "both-but-for-another-name",
        post(_WHOLE + b"X-Transfer-Encoding: chunked\r\n", _TAIL),
        check=content(_TAIL),
        rfc="9112 6.3",
    ),
    reject(
        "both-in-1.0",
        post(_WHOLE + b"Transfer-Encoding: chunked\r\n", _TAIL, minor=0),
        400,
        rfc="9112 6.1",
    ),
]

CODINGS = [
    valid("chunked", coding(b"chunked"), check=HELLO, rfc="9112 7.1"),
    valid("chunked-in-capitals", coding(b"CHUNKED"), check=HELLO, rfc="9112 7"),
    valid("chunked-capitalised", coding(b"Chunked"), check=HELLO, rfc="9112 7"),
    valid("chunked-with-space-around", coding(b" \tchunked\t "), check=HELLO, rfc="9112 5.1"),
    valid(
        "chunked-without-space",
        post(b"Transfer-Encoding:chunked\r\n", CHUNKED),
        check=HELLO,
        rfc="9112 5.1",
    ),
    *(
        valid(
            f"chunked-{method.decode()}",
            coding(b"chunked", method=method),
            check=HELLO,
            methods=(method.decode(),),
            rfc="9110 9.3",
        )
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"PATCH")
    ),
    *(
        reject(f"coding-{shown(value)}", coding(value), 501, rfc="9112 6.1")
        for value in (b"xchunked", b"chunkedx", b"gzip", b"deflate", b"br", b"cow", b"chunk")
    ),
    *(
        reject(f"coding-{shown(value)}", coding(value), 400, 501, rfc="9112 6.1")
        for value in (
            *(b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked,chunked"),
            *(b"chunked, identity", b"identity, chunked", b"identity", b"chunked,", b",chunked"),
            *(
                b"chunked, ",
                b", , chunked",
                b"chunked;q=1",
                b"chunked;",
                b'"chunked"',
                b"'chunked'",
            ),
            *(b"(chunked)", b"chun ked", b"chunked chunked", b"chunked\tx", b"*", b"trailers", b""),
            *(b" ", b"\t", b"chunked/1", b"chunked=1", b"=chunked", b";chunked", b"chunked:"),
            *(
                b"chunked\xa0",
                b"\xefchunked",
                b"chunke\xc4\x91",
                b"compress, chunked",
                b"chunked\\",
            ),
            *(b"c\xe2\x84\xaaunked", b"gzip;q=1, chunked", b"chunked, cow", b"cow, chunked"),
        )
    ),
    *(
        reject(f"coding-{shown(value)}", coding(value), 400, rfc="9110 5.5")
        for value in (
            *(b"chunked\0", b"\0chunked", b"\x0bchunked", b"chunked\x0b", b"chunked\x0c", b"\x7f"),
            *(b"chunked\rx", b"chu\x01nked", b"chunked\x08", b"\x1bchunked"),
        )
    ),
    *(
        reject(f"codings-{name}", post(fields, CHUNKED), 400, 501, rfc="9112 6.1")
        for name, fields in {
            "chunked-twice": b"Transfer-Encoding: chunked\r\n" * 2,
            "chunked-identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "identity-chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            "gzip-chunked": b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "chunked-gzip": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
            "chunked-empty": b"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
            "empty-chunked": b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
            "in-other-case": b"Transfer-Encoding: chunked\r\ntransfer-encoding: x\r\n",
            "apart": b"Transfer-Encoding: chunked\r\nX: y\r\nTransfer-Encoding: x\r\n",
        }.items()
    ),
    *(
        reject(f"coding-{name}", post(fields, CHUNKED), 400, rfc="9112 5.1")
        for name, fields in {
            "name-with-space": b"Transfer-Encoding : chunked\r\n",
            "name-with-tab": b"Transfer-Encoding\t: chunked\r\n",
            "name-with-gap": b"Transfer Encoding: chunked\r\n",
            "name-with-cr": b"Transfer-Encoding\r: chunked\r\n",
            "name-with-lf": b"Transfer-Encoding\n: chunked\r\n",
            "folded": b"Transfer-Encoding:\r\n chunked\r\n",
            "folded-with-tab": b"Transfer-Encoding:\r\n\tchunked\r\n",
            "continued": b"Transfer-Encoding: x\r\n , chunked\r\n",
            "without-a-colon": b"Transfer-Encoding chunked\r\n",
        }.items()
    ),
    clean(
        "coding-with-underscore",
        post(b"Transfer_Encoding: chunked\r\n"),
        400,
        check=every(content(b""), lacks("Transfer_Encoding", "Transfer-Encoding")),
        rfc="9110 5.1",
    ),
    reject(
        "coding-with-underscore-and-chunks",
        post(b"Transfer_Encoding: chunked\r\n", CHUNKED),
        400,
        requests=2,
        rfc="9110 5.1",
    ),
    reject("chunked-in-1.0", coding(b"chunked", minor=0), 400, rfc="9112 6.1"),
    reject("gzip-in-1.0", coding(b"gzip", minor=0), 400, 501, rfc="9112 6.1"),
    reject(
        "chunked-in-1.0-kept-alive",
        post(b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", _TAIL, minor=0),
        400,
        rfc="9112 6.1",
    ),
    reject("chunked-in-1.0-on-get", coding(b"chunked", minor=0, method=b"GET"), 400, rfc="6.1"),
]


@pytest.mark.parametrize("vector", LENGTHS, ids=lambda v: v.id)
def test_content_length(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", BOTH, ids=lambda v: v.id)
def test_both_framings(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", CODINGS, ids=lambda v: v.id)
def test_transfer_encoding(vector: Vector, edge, origin):
    judge(vector, edge, origin)
