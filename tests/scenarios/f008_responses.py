# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken origins: what reaches the reader is clean, whole, or visibly neither.

Every case is followed by a request on the same connection, if that is still open, and by one on
a new connection: surplus bytes of one answer must never become part of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from strangler.testing import (
    Closed,
    Edge,
    RawClient,
    Response,
    Step,
    Truncated,
    Upstream,
    Violation,
    build,
    close,
    configuration,
    pause,
    reset,
    respond,
)

OK = b"HTTP/1.1 200 OK\r\n"
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
Check = Callable[[Response], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One scripted answer and the outcome that is right.

    Outcomes: *bad*: 502. *cut*: the reader can see that it is not whole, or 502. *clean*: 502,
    or passed on so that *check* holds. *valid*: passed on with *status*, *check* holds.
    """

    id: str
    steps: tuple[Step, ...]
    outcome: Literal["bad", "cut", "clean", "valid"]
    status: int = 200
    method: str = "GET"
    check: Check | None = None


def bad(id: str, *steps: Step, **more) -> Answer:
    return Answer(id=f"bad-{id}", steps=steps, outcome="bad", **more)


def cut(id: str, *steps: Step, **more) -> Answer:
    return Answer(id=f"cut-{id}", steps=steps, outcome="cut", **more)


def clean(id: str, *steps: Step, check: Check | None = None, **more) -> Answer:
    return Answer(id=f"clean-{id}", steps=steps, outcome="clean", check=check, **more)


def valid(id: str, *steps: Step, check: Check | None = None, **more) -> Answer:
    return Answer(id=f"valid-{id}", steps=steps, outcome="valid", check=check, **more)


def body(text: bytes) -> Check:
    def check(response: Response) -> None:
        assert bytes(response.body) == text, f"expected {text!r}, got {response.body!r}"

    return check


def field(name: str, *values: bytes) -> Check:
    def check(response: Response) -> None:
        assert response.all(name) == list(values), f"{name}: {response.all(name)}"

    return check


def both(*checks: Check) -> Check:
    def check(response: Response) -> None:
        for each in checks:
            each(response)

    return check


def absent(*names: str) -> Check:
    def check(response: Response) -> None:
        found = [name for name in names if name in response]
        assert not found, f"passed on: {found} in {response.head!r}"

    return check


def started(line: bytes, fields: bytes = b"") -> tuple[Step, ...]:
    return (line + b"\r\n" + fields + b"Content-Length: 2\r\n\r\nok",)


def framed(fields: bytes, content: bytes = b"hello") -> bytes:
    return OK + fields + b"\r\n" + content


def chunks(content: bytes) -> bytes:
    return framed(b"Transfer-Encoding: chunked\r\n", content)


def shown(value: bytes) -> str:
    return repr(value)[2:-1][:40] or "empty"


LINES = [
    *(
        bad(f"line-{shown(line)}", *started(line), close())
        for line in (
            *(b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2 OK", b"HTTP/1.1 abc OK"),
            *(b"HTTP/1.1 +200 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1 0200 OK", b"HTTP/1.1 0x200 OK"),
            *(b"HTTP/1.1 000 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 2 00 OK", b"HTTP/1.1 20\xb2 OK"),
            *(b"HTTP/1.1 OK", b"HTTP/1.1 200OK", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 200.0 OK"),
            *(b"ICY 200 OK", b"HTTP/2 200 OK", b"HTTP/2.0 200 OK", b"HTTP/3.0 200 OK", b"200 OK"),
            *(b"http/1.1 200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b"HTTP 200 OK"),
            *(b"HTTP/1 200 OK", b"HTTP/11 200 OK", b"HTTP/1.1x 200 OK", b" HTTP/1.1 200 OK"),
            *(b"HTTP/1.1  200 OK", b"HTTPS/1.1 200 OK", b"RTSP/1.0 200 OK", b"SIP/2.0 200 OK"),
            *(b"HTTP/1.1 200 O\0K", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\x07K", b"\0"),
            *(b"HTTP/1.1 200 O\x7fK", b"GET / HTTP/1.1", b"\x16\x03\x01", b"<html>", b"garbage"),
            *(b"HTTP/01.1 200 OK", b"HTTP/1.10 200 OK", b"HTTP/1,1 200 OK", b"HTTP/0.9 200 OK"),
        )
    ),
    *(
        clean(f"line-{shown(line)}", *started(line), check=body(b"ok"), status=status)
        for line, status in (
            (b"HTTP/1.1 200", 200),
            (b"\r\nHTTP/1.1 200 OK", 200),
            (b"HTTP/1.1 200 caf\xe9", 200),
            (b"HTTP/1.1 600 Odd", 600),
            (b"HTTP/1.1 999 Odd", 999),
            (b"HTTP/1.2 200 OK", 200),
        )
    ),
    valid("line-without-reason", *started(b"HTTP/1.1 200 "), check=body(b"ok")),
    valid("line-with-odd-reason", *started(b"HTTP/1.1 200 It is: fine; (really)")),
    valid("line-418", *started(b"HTTP/1.1 418 I'm a teapot"), status=418),
    valid("line-299", *started(b"HTTP/1.1 299 Odd"), status=299),
    valid("line-500", *started(b"HTTP/1.1 500 Oops"), status=500, check=body(b"ok")),
    valid("line-503", *started(b"HTTP/1.1 503 Busy", b"Retry-After: 9\r\n"), status=503),
    valid("version-1.0", *started(b"HTTP/1.0 200 OK"), close(), check=body(b"ok")),
    valid("version-1.0-to-the-end", b"HTTP/1.0 200 OK\r\n\r\nhello", close(), check=body(b"hello")),
    bad("nothing", close()),
    bad("nothing-but-a-reset", reset()),
    bad("nothing-at-all", pause(5)),
    bad("half-a-line", b"HTTP/1.1 20", close()),
    bad("half-a-head", OK + b"Content-Length: 2\r\nX-Ha", close()),
    bad("half-a-head-and-reset", OK + b"Content-Length: 2\r\nX-Ha", reset()),
    bad("head-without-its-end", OK + b"Content-Length: 2\r\n", close()),
    bad("http-0.9", b"<html>hello</html>\r\n\r\n", close()),
    bad("http-0.9-long", b"<html>" + b"x" * 100_000, close()),
    bad("zeros", bytes(1000), close()),
    bad("empty-lines-for-ever", b"\r\n" * 50_000, close()),
]

LENGTHS = [
    *(
        bad(f"length-{shown(value)}", framed(b"Content-Length: " + value + b"\r\n"), close())
        for value in (
            *(b"+5", b"-5", b"-1", b"0x5", b"5 5", b"5,6", b"5, 6", b"abc", b"5_0", b"5a", b"5.0"),
            *(b"", b"9" * 40, b"18446744073709551621", b"'5'", b"\xd9\xa5", b"5;5", b"1e1"),
        )
    ),
    *(
        bad(f"lengths-{name}", framed(fields), close())
        for name, fields in {
            "unequal": b"Content-Length: 5\r\nContent-Length: 6\r\n",
            "unequal-shorter": b"Content-Length: 5\r\nContent-Length: 4\r\n",
            "and-zero": b"Content-Length: 5\r\nContent-Length: 0\r\n",
            "and-bad": b"Content-Length: 5\r\nContent-Length: x\r\n",
            "and-empty": b"Content-Length: 5\r\nContent-Length:\r\n",
            "empty-and-one": b"Content-Length:\r\nContent-Length: 5\r\n",
            "empty-with-space-and-one": b"Content-Length: \r\nContent-Length: 5\r\n",
        }.items()
    ),
    clean("lengths-equal", framed(b"Content-Length: 5\r\n" * 2), check=body(b"hello")),
    clean("length-list-of-equals", framed(b"Content-Length: 5, 5\r\n"), check=body(b"hello")),
    clean("length-zeros", framed(b"Content-Length: 0005\r\n"), check=body(b"hello")),
    valid("length-zero", framed(b"Content-Length: 0\r\n", b""), check=body(b"")),
    valid("length-in-capitals", framed(b"CONTENT-LENGTH: 5\r\n"), check=body(b"hello")),
    valid("length-no-space", framed(b"Content-Length:5\r\n"), check=body(b"hello")),
    valid("no-length-to-the-end", framed(b""), close(), check=body(b"hello")),
    clean(
        "both-framings",
        framed(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        check=body(b"hello"),
    ),
    clean(
        "both-framings-coding-first",
        framed(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        check=body(b"hello"),
    ),
    cut("short", framed(b"Content-Length: 9\r\n"), close()),
    cut("short-by-one", framed(b"Content-Length: 6\r\n"), close()),
    cut("short-with-nothing", framed(b"Content-Length: 9\r\n", b""), close()),
    cut("short-and-reset", framed(b"Content-Length: 9\r\n"), reset()),
    cut("short-and-silent", framed(b"Content-Length: 9\r\n"), pause(5)),
    cut("short-of-a-megabyte", framed(b"Content-Length: 1000000\r\n", b"x" * 500_000), close()),
    cut("to-the-end-but-reset", framed(b""), pause(0.05), reset()),
    valid("long", framed(b"Content-Length: 3\r\n", b"abcDEF"), check=body(b"abc")),
    valid(
        "long-and-closed", framed(b"Content-Length: 3\r\n", b"abcDEF"), close(), check=body(b"abc")
    ),
    valid(
        "long-by-a-response", framed(b"Content-Length: 3\r\n", b"abc" + POISON), check=body(b"abc")
    ),
    valid("two-responses", framed(b"Content-Length: 0\r\n", POISON), check=body(b"")),
]

CODINGS = [
    *(
        bad(
            f"coding-{shown(value)}",
            framed(b"Transfer-Encoding: " + value + b"\r\n", _chunked),
            close(),
        )
        for _chunked in (b"5\r\nhello\r\n0\r\n\r\n",)
        for value in (
            *(b"xchunked", b"gzip, chunked", b"chunked, chunked", b"chunked, gzip", b"", b"chunk"),
            *(
                b"chunked, identity",
                b'"chunked"',
                b"chunked;q=1",
                b"chun ked",
                b"cow",
                b"chunked\0",
            ),
            *(b"\x0bchunked", b"chunked\x0c", b"identity, chunked", b"chunked x"),
        )
    ),
    clean(
        "coding-identity", framed(b"Transfer-Encoding: identity\r\n"), close(), check=body(b"hello")
    ),
    bad(
        "codings-in-two-lines", framed(b"Transfer-Encoding: chunked\r\n" * 2, b"0\r\n\r\n"), close()
    ),
    bad(
        "codings-chunked-identity",
        framed(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        close(),
    ),
    clean(
        "coding-space-before-colon",
        framed(b"Transfer-Encoding : chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        close(),
        check=body(b"hello"),
    ),
    clean(
        "coding-in-1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        close(),
    ),
    valid("chunked", chunks(b"5\r\nhello\r\n0\r\n\r\n"), check=body(b"hello")),
    valid(
        "chunked-three", chunks(b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n"), check=body(b"hello")
    ),
    valid("chunked-empty", chunks(b"0\r\n\r\n"), check=body(b"")),
    valid("chunked-in-capitals", framed(b"TRANSFER-ENCODING: CHUNKED\r\n", b"0\r\n\r\n")),
    valid("chunked-extension", chunks(b"5;a=b\r\nhello\r\n0\r\n\r\n"), check=body(b"hello")),
    valid("chunked-zeros", chunks(b"00005\r\nhello\r\n000\r\n\r\n"), check=body(b"hello")),
    valid(
        "chunked-forty-zeros",
        chunks(b"0" * 40 + b"5\r\nhello\r\n" + b"0" * 40 + b"\r\n\r\n"),
        check=body(b"hello"),
    ),
    valid(
        "chunked-surplus-is-dropped",
        chunks(b"5\r\nhello\r\n0\r\n\r\n" + POISON),
        check=body(b"hello"),
    ),
    *(
        cut(f"chunks-{name}", chunks(content), close())
        for name, content in {
            "no-last": b"5\r\nhello\r\n",
            "mid-chunk": b"9\r\nhello",
            "mid-size": b"5\r\nhello\r\n1",
            "no-crlf-at-the-end": b"5\r\nhello\r\n0\r\n",
            "bad-size": b"5\r\nhello\r\nxyz\r\n0\r\n\r\n",
            "bad-first-size": b"xyz\r\nhello\r\n0\r\n\r\n",
            "size-0x": b"0x5\r\nhello\r\n0\r\n\r\n",
            "size-negative": b"-5\r\nhello\r\n0\r\n\r\n",
            "size-plus": b"+5\r\nhello\r\n0\r\n\r\n",
            "size-underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
            "size-overflow": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
            "size-huge": b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
            "size-empty": b"\r\nhello\r\n0\r\n\r\n",
            "no-crlf-behind-data": b"5\r\nhello0\r\n\r\n",
            "lf-behind-data": b"5\r\nhello\n0\r\n\r\n",
            "two-bytes-behind-data": b"5\r\nhelloXX0\r\n\r\n",
            "lf-behind-size": b"5\nhello\r\n0\r\n\r\n",
            "lf-in-extension": b"5;a\nhello\r\n0\r\n\r\n",
            "nul-in-extension": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
            "plain-text": b"hello world\r\n",
        }.items()
    ),
    cut("chunks-reset", chunks(b"9\r\nhello"), reset()),
    cut("chunks-silent", chunks(b"9\r\nhello"), pause(5)),
]

FIELDS = [
    *(
        clean(
            f"field-{name}", framed(text + b"Content-Length: 5\r\n"), close(), check=body(b"hello")
        )
        for name, text in {
            "folded": b"X: a\r\n b\r\n",
            "folded-with-tab": b"X: a\r\n\tb\r\n",
            "fold-first": b" X: a\r\n",
            "bare-lf": b"X: a\nY: b\r\n",
            "bare-cr": b"X: a\rY: b\r\n",
            "lf-lf": b"X: a\n\nY: b\r\n",
            "nul": b"X: a\0b\r\n",
            "nul-in-name": b"X\0Y: b\r\n",
            "control": b"X: a\x01b\r\n",
            "escape": b"X: \x1b[31m\r\n",
            "delete": b"X: a\x7fb\r\n",
            "space-before-colon": b"X : a\r\n",
            "tab-before-colon": b"X\t: a\r\n",
            "no-name": b": a\r\n",
            "no-colon": b"X\r\n",
            "space-in-name": b"X Y: a\r\n",
            "brackets-in-name": b"X[]: a\r\n",
            "latin-1-name": b"X\xe9: a\r\n",
            "split-by-cr": b"Location: /a\rSet-Cookie: evil=1\r\n",
            "split-by-lf": b"Location: /a\nSet-Cookie: evil=1\r\n",
            "status-line-again": b"HTTP/1.1 200 OK\r\n",
        }.items()
    ),
    bad("bare-lf-throughout", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", close()),
    clean("bare-lf-at-the-end", OK + b"Content-Length: 5\r\n\nhello", close()),
    clean("2000-fields", framed(b"X: y\r\n" * 2000 + b"Content-Length: 5\r\n"), close()),
    clean("a-field-of-200-KiB", framed(b"X: " + b"y" * 204_800 + b"\r\n"), close()),
    bad("a-head-of-8-MiB", OK + b"X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 300_000, close()),
    bad("a-line-of-8-MiB", b"HTTP/1.1 200 " + b"O" * (8 << 20), close()),
    valid(
        "fields-are-passed-on",
        framed(b"X-A: 1\r\nX-B: caf\xe9\r\nX-A: 2\r\nX_C: 3\r\nContent-Length: 5\r\n"),
        check=both(field("X-A", b"1", b"2"), field("X-B", b"caf\xe9"), field("X_C", b"3")),
    ),
    valid(
        "cookies-stay-apart",
        framed(b"Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2, x\r\nContent-Length: 5\r\n"),
        check=field("Set-Cookie", b"a=1; Path=/", b"b=2, x"),
    ),
    valid(
        "etag-date-server-are-the-origins",
        framed(
            b'ETag: "x"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: old\r\n'
            b"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n"
        ),
        check=both(
            field("ETag", b'"x"'),
            field("Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
            field("Server", b"old"),
        ),
    ),
    valid(
        "of-one-hop",
        framed(
            b"Connection: X-Foo, keep-alive\r\nX-Foo: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Proxy-Connection: x\r\nUpgrade: h2c\r\nX-Bar: 2\r\nContent-Length: 5\r\n"
        ),
        check=both(
            absent("X-Foo", "Keep-Alive", "Proxy-Connection", "Upgrade"), field("X-Bar", b"2")
        ),
    ),
    valid(
        "connection-names-content-length",
        framed(b"Connection: Content-Length, Set-Cookie\r\nContent-Length: 5\r\n"),
        check=body(b"hello"),
    ),
    valid(
        "connection-names-transfer-encoding",
        framed(
            b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
        check=body(b"hello"),
    ),
    valid(
        "connection-close-is-the-origins",
        framed(b"Connection: close\r\nContent-Length: 5\r\n"),
        close(),
        check=both(body(b"hello"), lambda response: not_closing(response)),
    ),
    valid(
        "pain-46-gzip-is-not-touched",
        framed(b"Content-Encoding: gzip\r\nContent-Length: 5\r\n", b"\x1f\x8bxyz"),
        check=both(body(b"\x1f\x8bxyz"), field("Content-Encoding", b"gzip")),
    ),
    valid(
        "a-date-is-added",
        framed(b"Content-Length: 5\r\n"),
        check=lambda response: has_date(response),
    ),
]


def not_closing(response: Response) -> None:
    assert b"close" not in response.tokens("connection"), response.head


def has_date(response: Response) -> None:
    assert (response.get("Date") or b"").endswith(b" GMT"), response.head


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
GOOD = framed(b"Content-Length: 5\r\n")


def hinted(*statuses: int) -> Check:
    def check(response: Response) -> None:
        assert [each.status for each in response.informational] == list(statuses)

    return check


INTERIM = [
    valid("103", HINT, GOOD, check=both(hinted(103), body(b"hello"))),
    valid("103-twice", HINT * 2, GOOD, check=both(hinted(103, 103), body(b"hello"))),
    valid("102", b"HTTP/1.1 102 Processing\r\n\r\n", GOOD, check=hinted(102)),
    # RFC 9110 §15.2: forwarded, unless it is the proxy itself who has asked for it.
    valid(
        "100-unasked",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        GOOD,
        check=both(hinted(100), body(b"hello")),
    ),
    valid("199-unknown", b"HTTP/1.1 199 Odd\r\n\r\n", GOOD, check=body(b"hello")),
    clean(
        "103-with-length",
        b"HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\n",
        GOOD,
        check=body(b"hello"),
    ),
    clean(
        "103-with-length-and-content",
        b"HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\nhello",
        GOOD,
        close(),
    ),
    clean(
        "103-with-coding",
        b"HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        GOOD,
        check=body(b"hello"),
    ),
    clean("103-in-1.0", b"HTTP/1.0 103 X\r\n\r\n", GOOD, check=body(b"hello")),
    clean("100-with-nul", b"HTTP/1.1 100 X\r\nX: \0\r\n\r\n", GOOD),
    bad("103-alone", HINT, close()),
    bad(
        "101-unasked", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", GOOD
    ),
    bad("101-unasked-and-bare", b"HTTP/1.1 101 Switching\r\n\r\n", POISON),
    bad("1xx-by-the-thousand", HINT * 20_000, close()),
]

EMPTY = [
    valid("204", b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    valid("204-surplus", b"HTTP/1.1 204 No Content\r\n\r\nhello", status=204),
    valid("204-poison", b"HTTP/1.1 204 No Content\r\n\r\n" + POISON, status=204),
    clean("204-length", b"HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", status=204),
    clean(
        "204-length-and-content", b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\nhello", status=204
    ),
    *(
        valid(
            f"204-{id}",
            b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n",
            *steps,
            status=204,
            check=both(body(b""), absent("Transfer-Encoding", "Content-Length")),
        )
        for id, steps in {
            "chunks": (b"5\r\nhello\r\n0\r\n\r\n",),
            "last-chunk": (b"0\r\n\r\n",),
            "last-chunk-late": (pause(0.2), b"0\r\n\r\n"),
            "chunked-and-nothing": (),
        }.items()
    ),
    bad(
        "204-coding-and-length",
        b"HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    ),
    valid("304", b"HTTP/1.1 304 X\r\nETag: x\r\n\r\n", status=304, check=field("ETag", b"x")),
    valid("304-length", b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", status=304),
    valid("304-surplus", b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\nhello", status=304),
    valid("304-poison", b"HTTP/1.1 304 X\r\n\r\n" + POISON, status=304),
    clean(
        "304-chunks", b"HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status=304
    ),
    valid("205-empty", b"HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n", status=205),
    valid(
        "head",
        framed(b"Content-Length: 5\r\n", b""),
        method="HEAD",
        check=field("Content-Length", b"5"),
    ),
    valid("head-surplus", framed(b"Content-Length: 5\r\n"), method="HEAD"),
    valid("head-poison", framed(b"Content-Length: 5\r\n", POISON), method="HEAD"),
    valid("head-of-chunks", chunks(b""), method="HEAD"),
    valid("head-of-chunks-surplus", chunks(b"5\r\nhello\r\n0\r\n\r\n"), method="HEAD"),
    valid("head-without-length", OK + b"\r\n", method="HEAD"),
    valid("head-of-404", b"HTTP/1.1 404 X\r\nContent-Length: 9\r\n\r\n", method="HEAD", status=404),
    valid("options", framed(b"Allow: GET\r\nContent-Length: 0\r\n", b""), method="OPTIONS"),
    valid("delete-204", b"HTTP/1.1 204 No Content\r\n\r\n", method="DELETE", status=204),
]


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    upstream = {"url": origin, "timeout": {"first_byte": "900ms", "between": "300ms"}}
    # What tells that all is well isn't to be judged by a busy machine's clock.
    patient = {"to": "legacy", "timeout": {"first_byte": "10s", "between": "10s"}}
    routes = {"/**": "legacy", "/probe": patient}
    # Every case is a failure of this one upstream: the breaker is for other tests.
    text = configuration(routes, upstreams={"legacy": upstream}, limits={"drain": "1s"})
    with Edge(text) as made:
        yield made


def ask(client: RawClient, path: str, method: str = "GET") -> Response | str:
    """Return the response, or a word for how the reader could tell that it is not whole."""
    client.send(build(method, path))
    try:
        return client.read(method)
    except Truncated:
        return "truncated"
    except Closed:
        return "closed"


def judge(answer: Answer, edge: Edge, origin: Upstream) -> None:
    path = f"/r/{answer.id.encode().hex()}"
    origin.on(path, *answer.steps)
    origin.on("/probe", respond(body="probed"))
    with edge.client() as client:
        got = ask(client, path, answer.method)
        if isinstance(got, Response) and b"close" not in got.tokens("connection"):
            ask_on = ask(client, "/probe")
            assert isinstance(ask_on, Response), f"the same connection next: {ask_on}"
            ask_on.expect(200, body="probed")
        else:
            surplus = client.drain()
            assert not surplus or got == "truncated", f"surplus: {surplus!r}"
    for _ in range(2):
        edge.get("/probe").expect(200, body="probed")
    if isinstance(got, Response):
        assert not got.violations, got.violations
        assert b"evil" not in got.head or answer.outcome == "clean"
        assert "Set-Cookie" not in got or answer.outcome == "valid"
    refused = isinstance(got, Response) and got.status in (502, 504) and answer.status != got.status
    if answer.outcome == "bad":
        assert refused, f"expected 502, got {got!r}"
    elif answer.outcome == "cut":
        assert refused or got in ("truncated", "closed"), f"looks whole: {got!r}"
    else:
        if refused and answer.outcome == "clean":
            return
        assert isinstance(got, Response), f"expected {answer.status}, got {got}"
        assert got.status == answer.status, f"expected {answer.status}, got {got!r}"
        if answer.check is not None:
            answer.check(got)


@pytest.mark.parametrize("answer", LINES, ids=lambda a: a.id)
def test_status_lines(answer: Answer, edge, origin):
    judge(answer, edge, origin)


@pytest.mark.parametrize("answer", LENGTHS, ids=lambda a: a.id)
def test_lengths(answer: Answer, edge, origin):
    judge(answer, edge, origin)


@pytest.mark.parametrize("answer", CODINGS, ids=lambda a: a.id)
def test_chunks(answer: Answer, edge, origin):
    judge(answer, edge, origin)


@pytest.mark.parametrize("answer", FIELDS, ids=lambda a: a.id)
def test_fields(answer: Answer, edge, origin):
    judge(answer, edge, origin)


@pytest.mark.parametrize("answer", INTERIM, ids=lambda a: a.id)
def test_interim(answer: Answer, edge, origin):
    judge(answer, edge, origin)


@pytest.mark.parametrize("answer", EMPTY, ids=lambda a: a.id)
def test_without_content(answer: Answer, edge, origin):
    judge(answer, edge, origin)


def test_interim_answers_are_not_for_1_0(edge, origin):
    origin.on("/hinted", HINT, GOOD)
    with edge.client() as client:
        client.send(build("GET", "/hinted", version="HTTP/1.0"))
        response = client.read().expect(200, body="hello")
        assert response.informational == []


def test_chunks_are_not_for_1_0(edge, origin):
    origin.on("/chunks", chunks(b"5\r\nhello\r\n0\r\n\r\n"))
    with edge.client() as client:
        client.send(build("GET", "/chunks", version="HTTP/1.0"))
        client.read().expect(200, body="hello", transfer_encoding=None)
        client.expect_closed()


def test_a_cut_chunked_answer_is_visibly_cut_for_1_0_too(edge, origin):
    origin.on("/chunks-cut", chunks(b"5\r\nhello\r\n"), pause(0.05), close())
    with edge.client() as client:
        client.send(build("GET", "/chunks-cut", version="HTTP/1.0"))
        # Content that only the end delimits can be cut visibly by nothing but a reset.
        with pytest.raises((Truncated, Closed)):
            raise Closed if client.read().status in (502, 504) else AssertionError("looks whole")


def test_bytes_on_an_idle_connection_end_it(edge, origin):
    origin.on("/idle", framed(b"Content-Length: 2\r\n", b"ok"), pause(0.05), POISON)
    edge.get("/idle").expect(200, body="ok")
    connection = next(
        each
        for each in origin.connections
        if any(request.path == b"/idle" for request in each.requests)
    )
    connection.wait_gone()
    edge.get("/probe").expect(200, body="probed")


def test_an_answer_without_end_of_interim_ones_is_given_up(edge, origin):
    def flood(connection):
        while not connection.gone.is_set():
            connection.send(HINT * 100)

    origin.on("/flood", flood)
    with edge.client() as client:
        client.send(build("GET", "/flood"))
        response = client.read(timeout=5)
        assert response.status in (502, 504)


@pytest.mark.parametrize("step", [1, 5])
def test_a_good_answer_in_pieces(step, edge, origin):
    answer = HINT + chunks(b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n")
    origin.on("/pieces", *(answer[at : at + step] for at in range(0, len(answer), step)))
    with edge.client() as client:
        client.get("/pieces").expect(200, body="hello world")


@pytest.mark.filterwarnings("error")
def test_a_violation_is_never_passed_on_whatever_the_pieces(edge, origin):
    origin.on("/bare", b"HTTP/1.1 200 OK\r\nX: a\n", b"Y: b\r\nContent-Length: 2\r\n\r\nok")
    with edge.client() as client:
        try:
            client.get("/bare")
        except Violation as fault:
            pytest.fail(str(fault))
