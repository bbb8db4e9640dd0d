# SPDX-License-Identifier: Apache-2.0
"""Invalidation (cache-behaviours 10): what an unsafe request's success makes of what is stored.

RFC 9111 §4.4; RFC 9110 §9.3.3.
"""

from __future__ import annotations

import pytest
from scenarios.story import At, Given, Story, control, failed, hit, origin

UNSAFE = ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PURGE", "FOO"]
SAFE = ["OPTIONS", "PROPFIND", "HEAD"]
MINUTE = control("max-age=60")
DONE = Given()


def unsafe(method: str, given: Given, **more):
    return origin(given, method=method, content=more.pop("content", "abc"), **more)


METHODS = [
    *(
        Story(f"{method}-invalidates", origin(MINUTE), unsafe(method, DONE), origin(MINUTE),
              hit(number=2), rfc="9111 4.4")
        for method in UNSAFE
    ),
    *(
        Story(f"{method}-{status}-invalidates", origin(MINUTE),
              unsafe(method, Given(status=status, body="" if status == 204 else None)),
              origin(MINUTE), rfc="9111 4.4")
        for method in ("POST", "DELETE")
        for status in (201, 204, 299, 302, 303, 307)
    ),
    *(
        Story(f"{method}-{status}-leaves-it", origin(MINUTE), unsafe(method, Given(status=status)),
              hit(number=0), rfc="9111 4.4")
        for method in UNSAFE
        for status in (400, 500)
    ),
    *(
        Story(f"POST-{status}-leaves-it", origin(MINUTE), unsafe("POST", Given(status=status)),
              hit(number=0), rfc="9111 4.4")
        for status in (401, 403, 404, 405, 409, 499, 502, 503, 504, 599)
    ),
    *(
        Story(f"{method}-leaves-it", origin(MINUTE),
              origin(DONE, method=method) if method != "HEAD" else hit(method="HEAD"),
              hit(number=0), rfc="9111 4.4")
        for method in SAFE
    ),
    Story(
        "a-POST-without-content-invalidates",
        origin(MINUTE), unsafe("POST", DONE, content=""), origin(MINUTE),
    ),
    Story(
        "another-querys-copy-stays",
        origin(MINUTE, query="a=1"), origin(MINUTE, query="a=2"),
        unsafe("POST", DONE, query="a=1"),
        origin(MINUTE, query="a=1"), hit(query="a=2", number=1),
    ),
    Story(
        "all-variants-are-invalid",
        origin(control("max-age=60", ("Vary", "Foo")), fields=[("Foo", "1")]),
        origin(control("max-age=60", ("Vary", "Foo")), fields=[("Foo", "2")]),
        unsafe("POST", DONE),
        origin(control("max-age=60", ("Vary", "Foo")), fields=[("Foo", "1")]),
        origin(control("max-age=60", ("Vary", "Foo")), fields=[("Foo", "2")]),
    ),
    Story(
        "a-heuristic-copy-is-invalid-too",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", At(-86400))])),
        unsafe("DELETE", DONE), origin(MINUTE),
    ),
    Story(
        "a-POST-is-never-answered-from-store",
        origin(MINUTE), unsafe("POST", MINUTE), unsafe("POST", MINUTE),
    ),
    Story(
        "a-failed-connection-leaves-it",
        origin(MINUTE),
        # 9111 4.4: only a non-error response invalidates, and there was none.
        failed(Given(fails=True), method="POST", content="abc"),
        hit(number=0),
    ),
]  # fmt: skip


def located(
    id: str, method: str, name: str, value: str, *, path: str, goes: bool, status=200, **more
):
    """Tell whether *value* of *name* in the answer to *method* invalidates what is at *path*."""
    answer = Given(status=status, fields=[(name, value)])
    last = origin(MINUTE, path=path) if goes else hit(path=path, number=0)
    return Story(id, origin(MINUTE, path=path), unsafe(method, answer), last, **more)


def base(id: str) -> str:
    return f"/origin/{id}"


LOCATIONS = [
    *(
        located(
            f"{method}-{name}",
            method,
            name,
            base(f"{method}-{name}") + "/other",
            path="/other",
            goes=True,
            rfc="9111 4.4",
        )
        for method in ("POST", "PUT", "DELETE", "M-SEARCH")
        for name in ("Location", "Content-Location")
    ),
    located(
        "location-relative", "POST", "Location", "location-relative/other", path="/other", goes=True
    ),
    located(
        "location-absolute",
        "POST",
        "Location",
        "http://www.example.com" + base("location-absolute") + "/other",
        path="/other",
        goes=True,
    ),
    located(
        "location-absolute-host-in-any-case",
        "POST",
        "Location",
        "HTTP://WWW.Example.COM" + base("location-absolute-host-in-any-case") + "/other",
        path="/other",
        goes=True,
    ),
    located(
        "location-of-another-host",
        "POST",
        "Location",
        "http://other.example.com" + base("location-of-another-host") + "/other",
        path="/other",
        goes=False,
        rfc="9111 4.4",
    ),
    located(
        "content-location-of-another-host",
        "POST",
        "Content-Location",
        "//evil.example" + base("content-location-of-another-host") + "/other",
        path="/other",
        goes=False,
        rfc="9111 4.4",
    ),
    located(
        "location-of-another-port",
        "POST",
        "Location",
        "http://www.example.com:81" + base("location-of-another-port") + "/other",
        path="/other",
        goes=False,
        rfc="9111 4.4",
    ),
    located(
        "location-of-a-failure",
        "POST",
        "Location",
        base("location-of-a-failure") + "/other",
        path="/other",
        goes=False,
        status=500,
    ),
    located(
        "location-of-a-redirect",
        "POST",
        "Location",
        base("location-of-a-redirect") + "/other",
        path="/other",
        goes=True,
        status=303,
    ),
    located(
        "location-with-fragment",
        "POST",
        "Location",
        base("location-with-fragment") + "/other#top",
        path="/other",
        goes=True,
    ),
    located("location-malformed", "POST", "Location", "http://[::1", path="/other", goes=False),
    Story(
        "a-GETs-location-invalidates-nothing",
        origin(MINUTE, path="/other"),
        origin(
            Given(fields=[("Location", base("a-GETs-location-invalidates-nothing") + "/other")])
        ),
        hit(path="/other", number=0),
    ),
]

POSTED = "a-POST-is-stored-for-GET"
STORED = [
    Story(
        POSTED,
        unsafe("POST", control("max-age=60", ("Content-Location", base(POSTED)))),
        hit(),
        rfc="9110 9.3.3",
    ),
    Story(
        "a-POST-with-expires-is-stored-for-GET",
        unsafe("POST", Given(fields=[
            ("Date", At(0)), ("Expires", At(60)),
            ("Content-Location", base("a-POST-with-expires-is-stored-for-GET"))])),
        hit(),
        rfc="9110 9.3.3",
    ),
    Story(
        "a-POST-with-absolute-content-location-is-stored-for-GET",
        unsafe("POST", control("max-age=60", ("Content-Location",
               "http://www.example.com"
               + base("a-POST-with-absolute-content-location-is-stored-for-GET")))),
        hit(),
        rfc="9110 9.3.3",
    ),
    Story(
        "a-POST-replaces-the-GETs-copy",
        origin(MINUTE),
        unsafe("POST", control("max-age=60", ("Content-Location",
               base("a-POST-replaces-the-GETs-copy")))),
        hit(number=1),
        rfc="9110 9.3.3",
    ),
    Story(
        "a-POST-without-content-location-is-not-stored",
        unsafe("POST", control("max-age=60")),
        origin(MINUTE),
    ),
    Story(
        "a-POST-with-another-content-location-is-not-stored",
        unsafe("POST", control("max-age=60", ("Content-Location", "/elsewhere"))),
        origin(MINUTE),
    ),
    Story(
        "a-POST-without-freshness-is-not-stored",
        unsafe("POST", Given(fields=[
            ("Content-Location", base("a-POST-without-freshness-is-not-stored")),
            ("Last-Modified", At(-86400))])),
        origin(MINUTE),
        rfc="9110 9.3.3",
    ),
    Story(
        "a-failed-POST-is-not-stored-for-GET",
        unsafe("POST", Given(status=500, fields=[
            ("Cache-Control", "max-age=60"),
            ("Content-Location", base("a-failed-POST-is-not-stored-for-GET"))])),
        origin(MINUTE),
    ),
    *(
        Story(
            f"a-{method}-is-not-stored-for-GET",
            unsafe(method, control("max-age=60", ("Content-Location",
                   base(f"a-{method}-is-not-stored-for-GET")))),
            origin(MINUTE),
        )
        for method in ("PUT", "DELETE", "FOO")
    ),
]  # fmt: skip


@pytest.mark.parametrize("story", METHODS, ids=str)
def test_methods(story, told):
    told(story)


@pytest.mark.parametrize("story", LOCATIONS, ids=str)
def test_location_and_content_location(story, told):
    told(story)


@pytest.mark.parametrize("story", STORED, ids=str)
def test_a_post_stored_for_get(story, told):
    told(story)
