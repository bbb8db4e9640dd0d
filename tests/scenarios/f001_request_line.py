# SPDX-License-Identifier: Apache-2.0
"""Request lines, targets, versions and Host, from the merely odd to the hostile."""

from __future__ import annotations

import pytest

from strangler.testing import Edge, Upstream, Vector, configuration, judge
from strangler.testing.vectors import clean, every, has, line, reject, valid

H = b"Host: www.example.com\r\n"
END = b"\r\n\r\n"


@pytest.fixture(scope="module")
def edge(origin: Upstream):
    limits = {"head_timeout": "500ms", "drain": "1s"}
    with Edge(configuration(upstreams={"legacy": origin}, limits=limits)) as made:
        yield made


def start(text: bytes) -> bytes:
    """Return a request with this start line."""
    return text + b"\r\n" + H + b"\r\n"


def of(target: bytes) -> bytes:
    return start(b"GET " + target + b" HTTP/1.1")


def host(*values: bytes) -> bytes:
    fields = b"".join(b"Host: " + value + b"\r\n" for value in values)
    return b"GET /host HTTP/1.1\r\n" + fields + b"\r\n"


LINES = [
    valid("plain", of(b"/plain"), check=line("GET", "/plain"), rfc="9112 3"),
    valid("one-empty-line-first", b"\r\n" + of(b"/"), rfc="9112 2.2"),
    clean("two-empty-lines-first", b"\r\n\r\n" + of(b"/"), 400, rfc="9112 2.2"),
    clean("many-empty-lines-first", b"\r\n" * 500 + of(b"/"), 400, rfc="9112 2.2"),
    valid(
        "empty-line-behind-a-body",
        b"POST /1 HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc\r\n" + of(b"/2"),
        requests=2,
        rfc="9112 2.2",
    ),
    reject("lf-first", b"\n" + of(b"/"), 400, rfc="9112 2.2"),
    reject("cr-first", b"\r" + of(b"/"), 400, rfc="9112 2.2"),
    reject("space-first", b" " + of(b"/"), 400, rfc="9112 3"),
    reject("tab-first", b"\t" + of(b"/"), 400, rfc="9112 3"),
    reject("bare-lf-throughout", b"GET / HTTP/1.1\nHost: a\n\n", 400, 408, rfc="9112 2.2"),
    reject("bare-lf-after-the-line", b"GET / HTTP/1.1\n" + H + b"\r\n", 400, rfc="9112 2.2"),
    reject("bare-lf-after-a-field", start(b"GET / HTTP/1.1\r\nX: y\n"), 400, rfc="9112 2.2"),
    reject("bare-lf-at-the-end", b"GET / HTTP/1.1\r\n" + H + b"\n", 400, 408, rfc="9112 2.2"),
    reject(
        "bare-lf-hides-a-request",
        b"GET / HTTP/1.1\r\n" + H + b"\nGET /smuggled HTTP/1.1\r\n" + H + b"\r\n",
        400,
        rfc="9112 2.2",
    ),
    reject("bare-cr-after-the-line", b"GET / HTTP/1.1\r" + H + b"\r\n", 400, rfc="9112 2.2"),
    reject("bare-cr-in-the-line", start(b"GET /\r HTTP/1.1"), 400, rfc="9112 2.2"),
    reject("cr-cr-lf", b"GET / HTTP/1.1\r\r\n" + H + b"\r\n", 400, rfc="9112 2.2"),
    reject("two-spaces-before-the-target", start(b"GET  / HTTP/1.1"), 400, rfc="9112 3"),
    reject("two-spaces-behind-the-target", start(b"GET /  HTTP/1.1"), 400, rfc="9112 3"),
    reject("space-behind-the-version", start(b"GET / HTTP/1.1 "), 400, rfc="9112 3"),
    reject("tabs-for-spaces", start(b"GET\t/\tHTTP/1.1"), 400, rfc="9112 3"),
    reject("tab-behind-the-method", start(b"GET\t/ HTTP/1.1"), 400, rfc="9112 3"),
    reject("form-feed-for-space", start(b"GET\x0c/ HTTP/1.1"), 400, rfc="9112 3"),
    reject("vertical-tab-for-space", start(b"GET /\x0bHTTP/1.1"), 400, rfc="9112 3"),
    reject("no-break-space", start(b"GET\xa0/ HTTP/1.1"), 400, rfc="9112 3"),
    reject("space-in-the-target", of(b"/a b"), 400, rfc="9112 3.2"),
    reject("two-targets", of(b"/a HTTP/1.1 /b"), 400, rfc="9112 3.2"),
    reject("method-alone", start(b"GET"), 400, rfc="9112 3"),
    reject("no-method", start(b"/ HTTP/1.1"), 400, rfc="9112 3"),
    reject("empty-method", start(b" / HTTP/1.1"), 400, rfc="9112 3"),
    reject("no-target", start(b"GET HTTP/1.1"), 400, rfc="9112 3"),
    reject("empty-target", start(b"GET  HTTP/1.1"), 400, rfc="9112 3"),
    reject("http-0.9", b"GET /\r\n\r\n", 400, 505, rfc="9112 3"),
    reject("http-0.9-with-space", b"GET / \r\n\r\n", 400, 505, rfc="9112 3"),
    reject("http-0.9-with-fields", start(b"GET /"), 400, 505, rfc="9112 3"),
    reject("fields-without-a-line", H + b"\r\n", 400, rfc="9112 3"),
    reject("response-for-a-request", start(b"HTTP/1.1 200 OK"), rfc="9112 2.1"),
    reject("proxy-protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + of(b"/"), 400, rfc="9112 3"),
    reject("tls-hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(160), rfc="9112 3"),
    reject("ssh", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, rfc="9112 3"),
    reject("smtp", b"EHLO example.com\r\nMAIL FROM:<a@b>\r\n\r\n", 400, rfc="9112 3"),
    reject("nul-first", b"\0" + of(b"/"), 400, rfc="9112 3"),
    reject("byte-order-mark", b"\xef\xbb\xbf" + of(b"/"), 400, rfc="9112 3"),
    reject("http-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, rfc="9113 3.4"),
]

VERSIONS = [
    *(
        reject(f"version-{text.decode()}", start(b"GET / " + text), 505, rfc="9110 15.6.6")
        for text in (b"HTTP/2.0", b"HTTP/3.0", b"HTTP/0.9", b"HTTP/9.9", b"HTTP/2.1", b"HTTP/0.0")
    ),
    *(
        reject(
            f"version-{text.decode('latin-1')!r}", start(b"GET / " + text), 400, 505, rfc="9112 2.3"
        )
        for text in (
            *(b"http/1.1", b"Http/1.1", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/11", b"HTTP/2"),
            *(b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.01", b"HTTP/11.1", b"HTTP/1.1.1", b"HTTP/1,1"),
            *(b"HTTP/+1.1", b"HTTP/-1.1", b"HTTP/1.1x", b"xHTTP/1.1", b"HTTPS/1.1", b"HTCPCP/1.1"),
            *(b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/1. 1", b"HTTP-1.1", b"HTTP1.1", b"HTTP/x.y"),
            *(b"HTTP/1.1\0", b"HTTP/\xd9\xa1.1", b"HTTP/1.1;", b"HTTP\\1.1", b"1.1", b"HTTP/"),
        )
    ),
    clean("version-1.2-is-read-as-1.1", start(b"GET / HTTP/1.2"), 505, rfc="9110 2.5"),
    clean("version-1.9-is-read-as-1.1", start(b"GET / HTTP/1.9"), 505, rfc="9110 2.5"),
    valid(
        "version-1.0",
        b"GET /old HTTP/1.0\r\n" + H + b"\r\n",
        check=line("GET", "/old"),
        rfc="9112 2.3",
    ),
    valid("version-1.0-without-host", b"GET /old HTTP/1.0\r\n\r\n", rfc="9112 3.2"),
    valid(
        "version-1.0-keep-alive",
        b"GET /old HTTP/1.0\r\n" + H + b"Connection: keep-alive\r\n\r\n",
        rfc="9112 9.3",
    ),
]

METHODS = [
    *(
        valid(
            f"method-{name}",
            start(name.encode() + b" /m HTTP/1.1"),
            check=line(name, "/m"),
            methods=(name,),
            rfc="9110 9.1",
        )
        for name in (
            *("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "REPORT"),
            *("MKCOL", "SEARCH", "PURGE", "QUERY", "M-SEARCH", "BREW", "get", "Get", "HEADER"),
        )
    ),
    valid(
        "method-of-every-token-character",
        start(b"!#$%&'*+-.^_`|~0aZ /m HTTP/1.1"),
        check=line("!#$%&'*+-.^_`|~0aZ", "/m"),
        rfc="9110 5.6.2",
    ),
    clean("method-of-200-letters", start(b"A" * 200 + b" / HTTP/1.1"), rfc="9112 3"),
    *(
        reject(f"method-with-{bad!r}", start(b"G" + bad + b"T / HTTP/1.1"), 400, rfc="9110 5.6.2")
        for bad in (b"(", b")", b",", b"/", b":", b";", b"<", b"=", b"@", b"[", b'"', b"{", b"\\")
    ),
    *(
        reject(f"method-with-{bad!r}", start(b"G" + bad + b"T / HTTP/1.1"), 400, rfc="9112 2.2")
        for bad in (b"\0", b"\x01", b"\x7f", b"\xe9", b"\r")
    ),
    reject("trace", start(b"TRACE / HTTP/1.1"), 405, rfc="9110 9.3.8"),
    reject(
        "trace-with-content",
        b"TRACE / HTTP/1.1\r\n" + H + b"Content-Length: 1\r\n\r\nx",
        400,
        405,
        rfc="9110 9.3.8",
    ),
    reject("connect", start(b"CONNECT www.example.com:443 HTTP/1.1"), 405, 501, rfc="9110 9.3.6"),
    reject("connect-local", start(b"CONNECT 127.0.0.1:22 HTTP/1.1"), 405, 501, rfc="9110 9.3.6"),
    reject("connect-a-path", start(b"CONNECT / HTTP/1.1"), 400, 405, 501, rfc="9112 3.2.3"),
    reject("connect-a-url", start(b"CONNECT http://a/ HTTP/1.1"), 400, 405, 501, rfc="9112 3.2.3"),
]


def absolute(target: bytes, other: bytes = b"other.test") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: " + other + b"\r\n\r\n"


def reads_as(target: str, authority: str):
    return every(line("GET", target), has("host", authority))


FORMS = [
    valid(
        "absolute-wins-over-host",
        absolute(b"http://www.example.com/abs?q=1"),
        check=reads_as("/abs?q=1", "www.example.com"),
        rfc="9112 3.2.2",
    ),
    valid(
        "absolute-scheme-in-capitals",
        absolute(b"HTTP://www.example.com/abs"),
        check=reads_as("/abs", "www.example.com"),
        rfc="9110 4.2.3",
    ),
    valid(
        "absolute-without-a-path",
        absolute(b"http://www.example.com"),
        check=reads_as("/", "www.example.com"),
        rfc="9112 3.2.1",
    ),
    valid(
        "absolute-with-a-query-alone",
        absolute(b"http://www.example.com?q=1"),
        check=reads_as("/?q=1", "www.example.com"),
        rfc="9112 3.2.1",
    ),
    valid(
        "absolute-with-a-port",
        absolute(b"http://www.example.com:80/p"),
        check=reads_as("/p", "www.example.com:80"),
        rfc="9112 3.2.2",
    ),
    valid(
        "absolute-ipv6",
        absolute(b"http://[2001:db8::1]:80/p"),
        check=reads_as("/p", "[2001:db8::1]:80"),
        rfc="9112 3.2.2",
    ),
    valid(
        "absolute-in-1.0-without-host",
        b"GET http://www.example.com/abs HTTP/1.0\r\n\r\n",
        check=reads_as("/abs", "www.example.com"),
        rfc="9112 3.2.2",
    ),
    valid(
        "absolute-keeps-the-path-raw",
        absolute(b"http://www.example.com/a%2Fb//c"),
        check=reads_as("/a%2Fb//c", "www.example.com"),
        rfc="9112 3.2.2",
    ),
    clean(
        "absolute-https-on-a-plain-listener",
        absolute(b"https://www.example.com/s"),
        check=reads_as("/s", "www.example.com"),
        rfc="9112 3.2.2",
    ),
    reject(
        "absolute-without-host-in-1.1",
        b"GET http://www.example.com/ HTTP/1.1\r\n\r\n",
        400,
        rfc="9112 3.2",
    ),
    reject(
        "absolute-with-two-hosts",
        b"GET http://www.example.com/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        400,
        rfc="9112 3.2",
    ),
    *(
        reject(f"absolute-{text.decode()}", absolute(text), 400, rfc="9110 4.2")
        for text in (
            *(b"http:///path", b"http://", b"http:/path", b"http:path", b"http:", b"://a/"),
            *(b"http://user@www.example.com/", b"http://user:pw@www.example.com/"),
            *(b"http://www.example.com:x/", b"http://a:1:2/", b"http://[::1/", b"http://a]/"),
            *(b"ftp://www.example.com/", b"file:///etc/passwd", b"javascript:alert(1)"),
            *(b"http://a#b/", b"http://a\\b/", b'http://a"b/', b"http://a^b/", b"http://:80/"),
            *(b"ws://www.example.com/", b"unix:/run/docker.sock", b"gopher://a/"),
        )
    ),
    reject("authority-form-on-get", of(b"www.example.com:80"), 400, rfc="9112 3.2.3"),
    reject("host-as-target", of(b"www.example.com"), 400, rfc="9112 3.2"),
    reject("relative-target", of(b"index.html"), 400, rfc="9112 3.2"),
    reject("dots-as-target", of(b"../etc/passwd"), 400, rfc="9112 3.2"),
    reject("query-as-target", of(b"?q=1"), 400, rfc="9112 3.2"),
    reject("backslash-as-target", of(b"\\path"), 400, rfc="9112 3.2"),
    reject("percent-as-target", of(b"%2Fpath"), 400, rfc="9112 3.2"),
    reject("asterisk-on-get", of(b"*"), 400, rfc="9112 3.2.4"),
    reject("asterisk-on-post", start(b"POST * HTTP/1.1"), 400, rfc="9112 3.2.4"),
    reject("asterisk-with-a-path", start(b"OPTIONS *a HTTP/1.1"), 400, rfc="9112 3.2.4"),
    reject("fragment", of(b"/a#b"), 400, rfc="9112 3.2"),
    reject("fragment-behind-a-query", of(b"/a?b#c"), 400, rfc="9112 3.2"),
    reject("latin-1-target", of(b"/caf\xe9"), 400, rfc="3986 2"),
    reject("utf-8-target", of(b"/caf\xc3\xa9"), 400, rfc="3986 2"),
    reject("utf-8-query", of(b"/?q=\xc3\xa9"), 400, rfc="3986 2"),
    reject("overlong-slash", of(b"/a\xc0\xafb"), 400, rfc="3986 2"),
    *(
        reject(
            f"control-{code:#04x}-in-the-target",
            of(b"/a" + bytes([code]) + b"b"),
            400,
            rfc="3986 2",
        )
        for code in (0, 1, 8, 9, 10, 11, 12, 13, 27, 31, 127)
    ),
    *(
        valid(f"target-{text.decode()}", of(text), check=line("GET", text), rfc="3986 3")
        for text in (
            *(b"/", b"/?", b"/??", b"/?a=b?c", b"/a/", b"/A/a", b"/a;b=c", b"/a,b", b"/~u", b"/:a"),
            *(b"/@a", b"/a!$&'()*+=", b"/caf%C3%A9", b"/caf%c3%a9", b"/a%20b", b"/?a=%zz&b"),
            *(b"/a?b=/../c", b"/a?b=%2e%2e%2f", b"/a?x=http://y/", b"/a-._~", b"/?q=%00", b"/%7Ea"),
            *(b"/noticia/x.ghtml", b"/a?&&", b"/a?=", b"/a.b.c/", b"/a:b/c"),
        )
    ),
    *(
        clean(f"target-{text.decode()}", of(text), 400, check=line("GET", text), rfc="3986 2.2")
        for text in (
            *(b"/a|b", b"/a{b}", b"/a[0]", b'/a"b"', b"/<a>", b"/a^b", b"/a`b", b"/a\\b", b"/%zz"),
            *(b"/%", b"/%2", b"/%00", b"/a%0d%0ab", b"/?a[]=1", b"/?a={b}", b"/?a|b", b'/?"'),
        )
    ),
]

HOSTS = [
    reject("no-host", b"GET / HTTP/1.1\r\n\r\n", 400, rfc="9112 3.2"),
    reject("two-hosts", host(b"www.example.com", b"evil.test"), 400, rfc="9112 3.2"),
    reject("the-same-host-twice", host(b"a.test", b"a.test"), 400, rfc="9112 3.2"),
    reject("host-twice-in-other-case", start(b"GET / HTTP/1.1\r\nhOST: a"), 400, rfc="9112 3.2"),
    reject("three-hosts", host(b"a", b"b", b"c"), 400, rfc="9112 3.2"),
    reject("an-empty-host-and-one", host(b"", b"a"), 400, rfc="9112 3.2"),
    clean("empty-host", host(b""), 400, rfc="9110 7.2"),
    *(
        reject(f"host-{text.decode('latin-1')!r}", host(text), 400, rfc="9110 7.2")
        for text in (
            *(b"a b", b"a, b", b"a/b", b"a/", b"user@a", b"http://a", b"a:x", b"a:80:80", b"a:-1"),
            *(b"[::1", b"::1", b"[::1]x", b"a]", b"a\\b", b"a#b", b"a?b", b"a%", b"a%zz", b'"a"'),
            *(b"<a>", b"a\x80", b"caf\xc3\xa9.test", b"a\tb", b"a|b", b"a^b", b"a`b", b"{a}"),
            *(b"a:80 b", b":80@b", b"a:80/", b"[]", b"a:8 0", b"a:+80", b"a:0x50"),
        )
    ),
    *(
        valid(f"host-{text.decode()}", host(text), check=has("host", text), rfc="9110 7.2")
        for text in (
            *(b"www.example.com", b"WWW.Example.COM", b"www.example.com:8080", b"localhost"),
            *(b"192.0.2.1", b"192.0.2.1:81", b"[::1]", b"[2001:db8::1]:8000", b"a_b.test"),
            *(b"xn--caf-dma.test", b"a-b.test", b"a.test.", b"x" * 63 + b".test"),
        )
    ),
    *(
        clean(f"host-{text.decode()}", host(text), 400, check=has("host", text), rfc="9110 7.2")
        for text in (b"a,b", b"a;b", b"a:99999", b"a:", b"a:0", b"*", b"a%41", b"!$&'()*+,;=", b".")
    ),
    valid("host-without-space", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", rfc="9112 5.1"),
    valid("host-among-tabs", b"GET / HTTP/1.1\r\nHost:\ta\t\r\n\r\n", rfc="9112 5.1"),
    valid("host-last", b"GET / HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n", rfc="9112 3.2"),
]


@pytest.mark.parametrize("vector", LINES, ids=lambda v: v.id)
def test_lines(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", VERSIONS, ids=lambda v: v.id)
def test_versions(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", METHODS, ids=lambda v: v.id)
def test_methods(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", FORMS, ids=lambda v: v.id)
def test_targets(vector: Vector, edge, origin):
    judge(vector, edge, origin)


@pytest.mark.parametrize("vector", HOSTS, ids=lambda v: v.id)
def test_hosts(vector: Vector, edge, origin):
    judge(vector, edge, origin)


def test_options_asterisk_is_forwarded_or_answered_here(edge, origin):
    before = len(origin.requests)
    with edge.client() as client:
        client.request("OPTIONS", "*").expect((200, 204))
        client.get("/after").expect(200)
    seen = [each for each in origin.requests[before:] if each.method == b"OPTIONS"]
    assert all(each.target == b"*" for each in seen)
