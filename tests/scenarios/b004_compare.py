# SPDX-License-Identifier: Apache-2.0
"""A hundred calls to a real application: what comes through the edge is what comes direct."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from tornado.web import Application, RequestHandler

from strangler.testing import (
    Edge,
    RawClient,
    Response,
    TornadoUpstream,
    build,
    chunked,
    configuration,
)


class Anything(RequestHandler):
    """Say what was received, as httpbin's /anything does."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

    async def get(self, *_):
        told = {
            "method": self.request.method,
            "uri": self.request.uri,
            "body": self.request.body.decode("latin-1"),
            "arguments": {
                name: [value.decode("latin-1") for value in values]
                for name, values in self.request.arguments.items()
            },
            "files": {
                name: [(each.filename, len(each.body)) for each in files]
                for name, files in self.request.files.items()
            },
            "fields": sorted(
                (name, value)
                for name, value in self.request.headers.get_all()
                if not re.match(r"(?i)x-forwarded-|forwarded$|via$|x-request-id$|connection$", name)
            ),
        }
        self.write(json.dumps(told))

    head = post = put = patch = delete = options = get


class Status(RequestHandler):
    def get(self, code):
        self.set_status(int(code), reason="Its Own Words")
        self.set_header("Location", "/elsewhere")
        if int(code) not in (204, 304):
            self.write(f"page of {code}")

    post = put = delete = get


class Stream(RequestHandler):
    async def get(self, count):
        for number in range(int(count)):
            self.write(f"line {number}\n" * 50)
            await self.flush()


class Cookies(RequestHandler):
    def get(self):
        self.set_cookie("a", "1", path="/", httponly=True)
        self.set_cookie("b", "dois três", domain="example.com")
        self.clear_cookie("c")
        self.add_header("X-Many", "1")
        self.add_header("X-Many", "2")
        self.write(json.dumps({key: morsel.value for key, morsel in self.cookies.items()}))


class Packed(RequestHandler):
    def get(self):
        self.set_header("Content-Encoding", "gzip")
        self.write(gzip.compress(b"packed " * 500, mtime=0))


class Cached(RequestHandler):
    def get(self):
        self.set_header("Cache-Control", "max-age=60")
        self.set_header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
        self.write("x" * 2000)


class Redirect(RequestHandler):
    def get(self):
        self.redirect(self.get_argument("to"), status=int(self.get_argument("status", "302")))


@pytest.fixture(scope="module")
def application():
    routes = [
        (r"/anything(.*)", Anything),
        (r"/status/(\d+)", Status),
        (r"/stream/(\d+)", Stream),
        (r"/cookies", Cookies),
        (r"/packed", Packed),
        (r"/cached", Cached),
        (r"/redirect", Redirect),
    ]
    with TornadoUpstream(Application(routes)) as made:
        yield made


@pytest.fixture(scope="module")
def edge(application):
    text = configuration(upstreams={"legacy": application.url}, limits={"drain": "1s"})
    with Edge(text) as made:
        yield made


FORM = [("Content-Type", "application/x-www-form-urlencoded")]
PARTS = [("Content-Type", "multipart/form-data; boundary=b")]
PART = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b\r\nContent-Disposition: '
    b'form-data; name="f"; filename="x.bin"\r\nContent-Type: x/y\r\n\r\n\0\xff\r\n\r\n--b--\r\n'
)
CHUNKED = [("Transfer-Encoding", "chunked")]
CALLS: list[tuple[str, bytes]] = [
    *(
        (method, build(method, "/anything/x?a=1&b=%20&a=2", [("X", "y")], body=b"hello"))
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
    ),
    *((method, build(method, "/anything")) for method in ("GET", "HEAD", "DELETE", "OPTIONS")),
    *(
        ("GET", build("GET", f"/anything{path}"))
        for path in (
            *(
                "/a%2Fb",
                "/a//b",
                "/caf%C3%A9",
                "/%7E",
                "/a;b=c",
                "/a+b",
                "/a%20b",
                "/a/./b",
                "?",
                "??",
            ),
            *(
                "?a",
                "?a=&b",
                "?a=%00",
                "?q=%C3%A9",
                "?a=1;b=2",
                "/" + "x" * 3000,
                "?" + "y=1&" * 900,
            ),
        )
    ),
    ("POST", build("POST", "/anything", FORM, body="a=1&b=dois+tr%C3%AAs&a=2")),
    ("POST", build("POST", "/anything", PARTS, body=PART)),
    ("POST", build("POST", "/anything", FORM, body="&".join(f"k{n}=v" for n in range(900)))),
    ("POST", build("POST", "/anything", body=bytes(range(256)) * 40)),
    ("POST", build("POST", "/anything", body=b"x" * 1_000_000)),
    ("POST", build("POST", "/anything", body=b"")),
    ("POST", build("POST", "/anything", CHUNKED) + chunked("hello ", "world")),
    ("PUT", build("PUT", "/anything", CHUNKED) + chunked()),
    *(
        ("GET", build("GET", "/anything", [(name, value)]))
        for name, value in (
            ("Accept-Language", "pt-BR,pt;q=0.9"),
            ("Authorization", "Basic dTpw"),
            ("Cookie", "a=1; b=2; sessionid=x"),
            ("Range", "bytes=0-10"),
            ("If-None-Match", 'W/"x", "y"'),
            ("User-Agent", "Mozilla/5.0 (compatível)"),
            ("Referer", "https://www.example.com/?q=%20"),
            ("Origin", "https://www.example.com"),
            ("X-Custom_Name", "1"),
            ("X-Empty", ""),
            ("X-Requested-With", "XMLHttpRequest"),
            ("X-CSRFToken", "abc"),
            ("Accept-Encoding", "gzip, br"),
            ("X-Long", "z" * 8000),
        )
    ),
    *(
        ("GET", build("GET", f"/status/{code}"))
        for code in (
            *(200, 201, 202, 203, 204, 206, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403),
            *(
                404,
                405,
                406,
                409,
                410,
                412,
                413,
                415,
                418,
                422,
                429,
                451,
                500,
                501,
                502,
                503,
                504,
                599,
            ),
        )
    ),
    *(
        ("POST", build("POST", f"/status/{code}", body="x"))
        for code in (200, 201, 204, 303, 422, 500)
    ),
    *(("GET", build("GET", f"/stream/{count}")) for count in (0, 1, 20, 200)),
    ("GET", build("GET", "/cookies", [("Cookie", "x=1; y=2")])),
    ("GET", build("GET", "/packed", [("Accept-Encoding", "gzip")])),
    ("GET", build("GET", "/packed")),
    ("GET", build("GET", "/cached")),
    ("HEAD", build("HEAD", "/cached")),
    ("GET", build("GET", "/cached", [("If-None-Match", "*")])),
    ("GET", build("GET", "/redirect?to=/anything")),
    ("GET", build("GET", "/redirect?to=https%3A%2F%2Fother.example%2Fx&status=301")),
    ("GET", build("GET", "/nowhere")),
    ("POST", build("POST", "/stream/1", body="not allowed")),
]


def shape(response: Response) -> tuple[object, ...]:
    """Return all of a response that a proxy must keep."""
    fields = sorted(
        (name.lower(), value)
        for name, value in response.fields
        if name.lower() not in (b"date", b"via", b"connection", b"keep-alive")
    )
    return response.status, response.reason, fields, bytes(response.body)


@pytest.mark.parametrize("number", range(len(CALLS)))
def test_a_call_through_the_edge_is_as_direct(number, edge, application):
    method, sent = CALLS[number]
    with RawClient(("127.0.0.1", application.port)) as client:
        direct = client.send(sent).read(method)
    with edge.client() as client:
        through = client.send(sent).read(method)
    assert shape(through) == shape(direct)


def test_all_calls_on_one_connection(edge, application):
    with RawClient(("127.0.0.1", application.port)) as one, edge.client() as other:
        for method, sent in CALLS:
            direct = one.send(sent).read(method)
            through = other.send(sent).read(method)
            assert shape(through) == shape(direct), sent[:200]
