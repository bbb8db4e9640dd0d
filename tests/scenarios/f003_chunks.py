# SPDX-License-Identifier: Apache-2.0
"""Chunks, their extensions and trailers, as clients send them."""

from __future__ import annotations

import pytest

from strangler.testing import Edge, Request, Upstream, Vector, configuration, judge
from strangler.testing.vectors import clean, content, every, reject, valid

HEAD = b"POST /chunks HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
LAST = b"0\r\n\r\n"
HELLO = content(b"hello")


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    limits = {"head_timeout": "500ms", "body_timeout": "500ms", "drain": "1s"}
    with Edge(configuration(upstreams={"legacy": origin}, limits=limits)) as made:
        yield made


def plain(request: Request) -> None:
    """Assert that no chunk extension went on (RFC 9112 7.1.1: ignore what is not understood)."""
    assert not request.extensions, request.extensions


def shown(value: bytes) -> str:
    return repr(value)[2:-1][:40] or "empty"


def size(line: bytes, body: bytes = b"hello") -> bytes:
    """Return a request whose first chunk has this line, up to its line end."""
    return HEAD + line + b"\r\n" + body + b"\r\n" + LAST


SIZES = [
    valid("one-chunk", size(b"5"), check=HELLO, rfc="9112 7.1"),
    valid(
        "three-chunks",
        HEAD + b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n" + LAST,
        check=HELLO,
        rfc="9112 7.1",
    ),
    valid("no-chunk", HEAD + LAST, check=content(b""), rfc="9112 7.1"),
    valid("last-of-many-zeros", HEAD + b"5\r\nhello\r\n00000\r\n\r\n", check=HELLO, rfc="9112 7.1"),
    valid("zeros-before", size(b"0005"), check=HELLO, rfc="9112 7.1"),
    valid("forty-zeros-before", size(b"0" * 40 + b"5"), check=HELLO, rfc="9112 7.1"),
    valid("hex-capital", size(b"A", b"x" * 10), check=content(b"x" * 10), rfc="9112 7.1"),
    valid("hex-small", size(b"a", b"x" * 10), check=content(b"x" * 10), rfc="9112 7.1"),
    valid("hex-mixed", size(b"1aF", b"x" * 431), check=content(b"x" * 431), rfc="9112 7.1"),
    valid(
        "content-that-looks-like-an-end",
        size(b"c", b"\r\n0\r\n\r\nGET /"),
        check=content(b"\r\n0\r\n\r\nGET /"),
        rfc="9112 7.1",
    ),
    valid(
        "content-that-looks-like-a-request",
        size(b"%x" % len(SMUGGLED), SMUGGLED),
        check=content(SMUGGLED),
        rfc="9112 7.1",
    ),
    valid("a-request-behind", size(b"5") + SMUGGLED, requests=2, rfc="9112 9.3"),
    clean("zeros-by-the-thousand", size(b"0" * 4000 + b"5"), 400, check=HELLO, rfc="9112 7.1"),
    clean("17-digits-worth-5", size(b"0" * 16 + b"5"), 400, check=HELLO, rfc="9112 7.1"),
    *(
        reject(f"size-{shown(line)}", size(line), 400, rfc="9112 7.1")
        for line in (
            *(b"+5", b"-5", b"-0", b"0x5", b"0X5", b"5_0", b"_5", b"5_", b"5h", b"h5", b"g", b""),
            *(b" 5", b"\t5", b"5 5", b"5,5", b"5.", b"5.0", b"\xb5", b"\xd9\xa5", b"\xef\xbc\x95"),
            *(b"5\0", b"\x005", b"\x0b5", b"5\x0c", b"'5'", b'"5"', b"(5)", b"5=", b"5:a", b"5/a"),
            *(
                b"5\x7f",
                b"0o5",
                b"5\xa0",
                b"5\x85",
                b"\xef\xbb\xbf5",
                b"5\\",
                b"#5",
                b"5 a",
            ),
        )
    ),
    *(
        reject(f"size-overflow-{shown(line)}", size(line), 400, 413, rfc="9112 7.1")
        for line in (
            *(b"FFFFFFFFFFFFFFFF", b"8000000000000000", b"7FFFFFFFFFFFFFFF", b"10000000000000005"),
            *(b"100000000000000005", b"FFFFFFFFFFFFFFFFF", b"f" * 64, b"1" + b"0" * 31 + b"5"),
            b"FFFFFFFFFFFFFFF6" + b"5",
        )
    ),
    clean("size-then-space", size(b"5 "), 400, check=HELLO, rfc="9112 7.1.1"),
    clean("size-then-tab", size(b"5\t"), 400, check=HELLO, rfc="9112 7.1.1"),
    clean("size-then-many-spaces", size(b"5" + b" " * 500), 400, check=HELLO, rfc="9112 7.1.1"),
]

ENDS = [
    reject(f"ends-{name}", HEAD + body, 400, rfc="9112 7.1")
    for name, body in {
        "no-crlf-behind-the-data": b"5\r\nhello0\r\n\r\n",
        "lf-behind-the-data": b"5\r\nhello\n0\r\n\r\n",
        "cr-behind-the-data": b"5\r\nhello\r0\r\n\r\n",
        "two-other-bytes-behind-the-data": b"5\r\nhelloXX0\r\n\r\n",
        "data-longer-than-said": b"5\r\nhelloo\r\n0\r\n\r\n",
        "data-shorter-than-said": b"5\r\nhell\r\n0\r\n\r\n",
        "lf-behind-the-size": b"5\nhello\r\n0\r\n\r\n",
        "cr-behind-the-size": b"5\rhello\r\n0\r\n\r\n",
        "cr-x-lf-behind-the-size": b"5\rX\nhello\r\n0\r\n\r\n",
        "lf-cr-behind-the-size": b"5\n\rhello\r\n0\r\n\r\n",
        "cr-cr-lf-behind-the-size": b"5\r\r\nhello\r\n0\r\n\r\n",
        "lf-throughout": b"5\nhello\n0\n\n",
        "lf-behind-the-last-size": b"5\r\nhello\r\n0\n\r\n",
        "lf-behind-the-end": b"5\r\nhello\r\n0\r\n\n",
        "lf-lf-at-the-end": b"5\r\nhello\r\n0\n\n",
        "cr-x-at-the-end": b"5\r\nhello\r\n0\r\n\rX",
        "empty-line-between": b"5\r\nhello\r\n\r\n0\r\n\r\n",
        "empty-line-first": b"\r\n5\r\nhello\r\n0\r\n\r\n",
        "plain-text": b"hello\r\n\r\n",
        "a-request-for-chunks": SMUGGLED,
        "size-lost": b";a=b\r\nhello\r\n0\r\n\r\n",
        "smuggled-by-lf-in-extension": b"5;a\nhello\r\n0\r\n\r\n" + SMUGGLED,
        "smuggled-by-cr-in-extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
        "smuggled-by-two-byte-end": b"2\r\nxx4c\r\n0\r\n\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
        "nul-in-extension": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
        "nul-quoted-in-extension": b'5;a="\0"\r\nhello\r\n0\r\n\r\n',
        "lf-quoted-in-extension": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
        "crlf-quoted-in-extension": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
        "delete-in-extension": b"5;a=\x7f\r\nhello\r\n0\r\n\r\n",
        "lf-in-last-extension": b"5\r\nhello\r\n0;a\n\r\n",
    }.items()
]

EXTENSIONS = [
    *(
        valid(f"extension-{shown(text)}", size(b"5" + text), check=every(HELLO, plain), rfc="7.1.1")
        for text in (b";a=b", b";a", b";a=b;c=d", b';a="b"', b';a="b c"', b';a="b;c"')
    ),
    *(
        clean(
            f"extension-{shown(text)}",
            size(b"5" + text),
            400,
            check=every(HELLO, plain),
            rfc="7.1.1",
        )
        for text in (
            *(
                b" ;a=b",
                b"; a = b",
                b"\t;\ta",
                b";",
                b";;",
                b";=",
                b";a=",
                b";=b",
                b';a="b',
                b";a b",
            ),
            *(
                b';a="\\""',
                b";\xe9=1",
                b";a=b" * 50,
                b";" + b"a" * 5000,
                b";a" * 20000,
                b";(",
                b";a=[",
            ),
        )
    ),
    valid(
        "extension-of-the-last-chunk",
        HEAD + b"5\r\nhello\r\n0;a=b\r\n\r\n",
        check=every(HELLO, plain),
        rfc="9112 7.1.1",
    ),
    clean(
        "an-extension-on-each-of-2000-chunks",
        HEAD + b"1;a=b\r\nx\r\n" * 2000 + LAST,
        400,
        check=every(content(b"x" * 2000), plain),
        rfc="9112 7.1.1",
    ),
]


def trailed(fields: bytes) -> bytes:
    return HEAD + b"5\r\nhello\r\n0\r\n" + fields + b"\r\n"


def kept_out(name: str):
    """Return a check that the trailer *name* reached the origin neither so nor as a field."""

    def check(request: Request) -> None:
        trailers = [pair for pair in request.trailers if pair[0].lower() == name.lower().encode()]
        assert not trailers, f"forwarded in the trailers: {trailers}"
        assert b"evil" not in request.head, f"merged into the head: {request.head!r}"

    return check


def kept(request: Request) -> None:
    assert (b"X-Check", b"1") in request.trailers, f"trailers: {request.trailers}"


TRAILERS = [
    valid("trailer", trailed(b"X-Check: 1\r\n"), check=every(HELLO, kept), rfc="9110 6.5.1"),
    valid("trailers", trailed(b"X-A: 2\r\nX-Check: 1\r\n"), check=every(HELLO, kept), rfc="6.5.1"),
    *(
        clean(
            f"trailer-{name}",
            trailed(f"{name}: evil\r\nX-Check: 1\r\n".encode()),
            400,
            check=every(HELLO, kept_out(name)),
            rfc="9110 6.5.1",
        )
        for name in (
            *(
                "Content-Length",
                "Transfer-Encoding",
                "Host",
                "Authorization",
                "Cookie",
                "Set-Cookie",
            ),
            *("Connection", "Content-Type", "Content-Encoding", "Content-Range", "Trailer", "TE"),
            *(
                "Expect",
                "Max-Forwards",
                "Cache-Control",
                "If-Match",
                "Range",
                "Upgrade",
                "Forwarded",
            ),
            *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Via"),
            *("Proxy-Authorization", "Proxy-Connection", "Keep-Alive", "X_Forwarded_For"),
            *("content-length", "TRANSFER-ENCODING", "Content_Length", "Transfer_Encoding"),
            *("X-Request-Id", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "Proxy"),
            *("X-Deadline-Ms", "Strangler-Shadow", "HTTP2-Settings", "Set_Cookie", "Max_Forwards"),
        )
    ),
    *(
        reject(f"trailer-{name}", trailed(fields), 400, rfc="9112 7.1.2")
        for name, fields in {
            "with-bare-lf": b"X: y\n",
            "with-bare-cr": b"X: y\rz\r\n",
            "folded": b"X: y\r\n z\r\n",
            "fold-first": b" X: y\r\n",
            "name-with-gap": b"X y: z\r\n",
            "space-before-colon": b"X : y\r\n",
            "without-name": b": y\r\n",
            "without-colon": b"X\r\n",
            "nul": b"X: \0\r\n",
            "nul-in-name": b"X\0: y\r\n",
            "bare-lf-hides-length": b"X: y\nContent-Length: 3\r\n",
            "delete": b"X: \x7f\r\n",
        }.items()
    ),
    reject("trailers-by-the-thousand", trailed(b"X: y\r\n" * 5000), 400, 431, rfc="6585 5"),
    reject("trailer-of-100-KiB", trailed(b"X: " + b"y" * 102400 + b"\r\n"), 400, 431, rfc="6585 5"),
    reject("data-behind-the-end", size(b"5") + b"more\r\n\r\n", 400, requests=2, rfc="9112 7.1"),
]


@pytest.mark.parametrize("vector", SIZES, ids=lambda v: v.id)
def test_sizes(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", ENDS, ids=lambda v: v.id)
def test_ends(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", EXTENSIONS, ids=lambda v: v.id)
def test_extensions(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", TRAILERS, ids=lambda v: v.id)
def test_trailers(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("step", [1, 3, 7])
def test_chunks_in_pieces(step, edge, origin):
    stream = HEAD + b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Check: 1\r\n\r\n"
    stream = stream.replace(b"/chunks", b"/step-%d" % step, 1)
    with edge.client() as client:
        for start in range(0, len(stream), step):
            client.send(stream[start : start + step])
        client.read().expect(200)
    (request,) = [each for each in origin.requests if each.path == b"/step-%d" % step]
    assert bytes(request.body) == b"hello world"
    assert not request.extensions
