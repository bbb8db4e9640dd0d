# SPDX-License-Identifier: Apache-2.0
"""Field lines: names, values, folds, control bytes, and names that pretend to be others."""

from __future__ import annotations

import pytest

from strangler.testing import Edge, Request, Upstream, Vector, configuration, judge
from strangler.testing.vectors import clean, every, has, lacks, reject, valid

CONTROLS = (0, 1, 2, 7, 8, 11, 12, 14, 27, 31, 127)


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    limits = {"head_timeout": "500ms", "drain": "1s"}
    with Edge(configuration(upstreams={"legacy": origin}, limits=limits)) as made:
        yield made


def get(fields: bytes) -> bytes:
    """Return a request with these raw field lines behind Host, each with its line end."""
    return b"GET /fields HTTP/1.1\r\nHost: www.example.com\r\n" + fields + b"\r\n"


NAMES = [
    *(
        reject(
            f"name-with-{bytes([code])!r}", get(b"X" + bytes([code]) + b"Y: 1\r\n"), 400, rfc="5.1"
        )
        for code in (*CONTROLS, 9, 10, 13, *b' "(),/;<=>?@[\\]{}', 0x80, 0xE9, 0xFF)
    ),
    *(
        reject(f"name-{name}", get(text), 400, rfc="9112 5.1")
        for name, text in {
            "with-space-before-the-colon": b"X : 1\r\n",
            "with-tab-before-the-colon": b"X\t: 1\r\n",
            "with-two-spaces-before-the-colon": b"X  : 1\r\n",
            "empty": b": 1\r\n",
            "empty-after-space": b" : 1\r\n",
            "without-a-colon": b"X\r\n",
            "without-a-colon-but-value": b"X 1\r\n",
            "equals-for-colon": b"X=1\r\n",
            "utf-8": b"X-\xc3\xa9: 1\r\n",
            "byte-order-mark": b"\xef\xbb\xbfX: 1\r\n",
            "full-width-colon": b"X\xef\xbc\x9a 1\r\n",
            "request-line-again": b"GET / HTTP/1.1\r\n",
            "lf-before": b"\nX: 1\r\n",
            "cr-before": b"\rX: 1\r\n",
        }.items()
    ),
    valid(
        "name-of-every-token-character",
        get(b"!#$%&'*+-.^`|~09aZ: 1\r\n"),
        check=has("!#$%&'*+-.^`|~09aZ", "1"),
        rfc="9110 5.6.2",
    ),
    valid("name-with-underscore", get(b"X_Custom: 1\r\n"), check=has("X_Custom", "1"), rfc="5.1"),
    valid("name-of-one-letter", get(b"X: 1\r\n"), check=has("X", "1"), rfc="9110 5.1"),
    valid("name-of-digits", get(b"123: 1\r\n"), check=has("123", "1"), rfc="9110 5.1"),
    valid("name-of-1000-letters", get(b"X" * 1000 + b": 1\r\n"), rfc="9110 5.1"),
]

VALUES = [
    *(
        reject(
            f"value-with-{code:#04x}", get(b"X: a" + bytes([code]) + b"b\r\n"), 400, rfc="9110 5.5"
        )
        for code in CONTROLS
    ),
    *(
        reject(f"value-{name}", get(text), 400, rfc="9112 5.2")
        for name, text in {
            "folded": b"X: a\r\n b\r\n",
            "folded-with-tab": b"X: a\r\n\tb\r\n",
            "folded-to-a-colon": b"X: a\r\n Y: b\r\n",
            "folded-and-empty": b"X: a\r\n \r\n",
            "folded-from-nothing": b"X:\r\n a\r\n",
            "folded-twice": b"X: a\r\n b\r\n c\r\n",
            "with-bare-lf": b"X: a\nY: b\r\n",
            "with-bare-cr": b"X: a\rY: b\r\n",
            "with-lf-cr": b"X: a\n\rY: b\r\n",
            "ends-in-cr-cr-lf": b"X: a\r\r\n",
            "nul-last": b"X: a\0\r\n",
            "nul-first": b"X:\0a\r\n",
            "smuggles-by-nul": b"X: a\0\r\nY: b\r\n",
            "smuggles-by-lf": b"X: a\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n",
        }.items()
    ),
    reject(
        "fold-on-the-first-field",
        b"GET / HTTP/1.1\r\n X: a\r\nHost: www.example.com\r\n\r\n",
        400,
        rfc="9112 2.2",
    ),
    reject(
        "tab-on-the-first-field",
        b"GET / HTTP/1.1\r\n\tHost: evil.test\r\nHost: www.example.com\r\n\r\n",
        400,
        rfc="9112 2.2",
    ),
    reject(
        "host-folded", b"GET / HTTP/1.1\r\nHost: www.\r\n example.com\r\n\r\n", 400, rfc="9112 5.2"
    ),
    valid("value-empty", get(b"X:\r\n"), check=has("X", ""), rfc="9110 5.5"),
    valid("value-of-space", get(b"X: \t \r\n"), check=has("X", ""), rfc="9110 5.5"),
    valid("value-with-tab-inside", get(b"X: a\tb\r\n"), check=has("X", "a\tb"), rfc="9110 5.5"),
    valid("value-latin-1", get(b"X: caf\xe9\r\n"), check=has("X", b"caf\xe9"), rfc="9110 5.5"),
    valid(
        "value-utf-8", get(b"X: caf\xc3\xa9\r\n"), check=has("X", b"caf\xc3\xa9"), rfc="9110 5.5"
    ),
    valid(
        "value-of-all-obs-text",
        get(b"X: " + bytes(range(0x80, 0x100)) + b"\r\n"),
        check=has("X", bytes(range(0x80, 0x100))),
        rfc="9110 5.5",
    ),
    valid(
        "value-of-all-visible",
        get(b"X: " + bytes(range(0x21, 0x7F)) + b"\r\n"),
        check=has("X", bytes(range(0x21, 0x7F))),
        rfc="9110 5.5",
    ),
    valid("value-with-colons", get(b"X: a: b:c\r\n"), check=has("X", "a: b:c"), rfc="9110 5.5"),
    valid("value-without-space", get(b"X:a\r\n"), check=has("X", "a"), rfc="9112 5.1"),
    valid("value-starts-with-colon", get(b"X::a\r\n"), check=has("X", ":a"), rfc="9112 5.1"),
    valid(
        "value-of-8-KiB", get(b"X: " + b"a" * 8192 + b"\r\n"), check=has("X", "a" * 8192), rfc="5.4"
    ),
    valid(
        "cookie-of-30-KiB",
        get(b"Cookie: a=" + b"b" * 30720 + b"\r\n"),
        rfc="9110 5.4 (Django: 64K)",
    ),
    valid(
        "100-fields",
        get(b"".join(b"X-%d: %d\r\n" % (each, each) for each in range(100))),
        check=every(has("X-0", "0"), has("X-99", "99")),
        rfc="9110 5.4",
    ),
    valid("lines-in-order", get(b"X: 1\r\nY: 2\r\nX: 3\r\n"), check=has("X", "1", "3"), rfc="5.3"),
    valid(
        "every-field-of-a-browser",
        get(
            b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
            b'sec-ch-ua: "Chromium";v="120", "Not A(Brand";v="24"\r\nsec-ch-ua-mobile: ?0\r\n'
            b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: pt-BR,pt\r\n"
            b"Accept-Encoding: gzip, deflate, br, zstd\r\nCookie: sessionid=x; csrftoken=y\r\n"
            b"Sec-Fetch-Mode: navigate\r\nUpgrade-Insecure-Requests: 1\r\nDNT: 1\r\n"
            b'If-None-Match: W/"x"\r\nRange: bytes=0-1\r\nReferer: https://a.test/?q=%20\r\n'
        ),
        check=every(
            has("Upgrade-Insecure-Requests", "1"),
            has("Accept-Encoding", "gzip, deflate, br, zstd"),
            has("If-None-Match", 'W/"x"'),
            has("Range", "bytes=0-1"),
            has("Cookie", "sessionid=x; csrftoken=y"),
        ),
        rfc="9110",
    ),
]


def not_evil(*names: str):
    """Return a check that no line of these fields carries what the client said."""

    def check(request: Request) -> None:
        evil = [pair for pair in request.fields if b"evil" in pair[1]]
        assert not evil, f"forwarded: {evil}"

    return every(check, lacks(*names)) if names else check


SHADOWS = [
    clean(
        f"shadow-{name}",
        get(f"{name}: evil\r\n".encode()),
        400,
        check=not_evil(name),
        rfc="9110 5.1: WSGI reads - and _ as one",
    )
    for name in (
        *("X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "X_Forwarded_Port"),
        *("X-Forwarded_For", "X_Forwarded-For", "x_forwarded_for", "X_FORWARDED_PROTO"),
        *("Content_Length", "Transfer_Encoding", "X_Real_IP", "X-Real_IP", "Proxy_Connection"),
    )
]


@pytest.mark.parametrize("vector", NAMES, ids=lambda v: v.id)
def test_names(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", VALUES, ids=lambda v: v.id)
def test_values(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", SHADOWS, ids=lambda v: v.id)
def test_shadows(vector: Vector, edge, origin):
    judge(vector, edge, origin)


def test_pain_45_crumbs_of_a_cookie_are_joined(edge, origin):
    sent = get(b"Cookie: a=1\r\nX: y\r\nCookie: b=2; c=3\r\ncookie: d=4\r\n")
    joined = has("Cookie", "a=1; b=2; c=3; d=4")
    judge(valid("crumbs", sent, check=joined, rfc="9113 8.2.3"), edge, origin)
