# SPDX-License-Identifier: Apache-2.0
"""304 from the origin (cache-behaviours 8): what it changes of the stored response.

RFC 9111 §3.2, §4.3.4.
"""

from __future__ import annotations

import pytest
from scenarios.story import At, Given, Story, cached, confirmed, control, hit, origin

from strangler.testing import Edge, Upstream

DAY = ("Last-Modified", At(-86400))
TAG = ("ETag", '"v1"')
FIELDS = {
    "Test-Header": ("a", "b"),
    "X-Test-Header": ("a", "b"),
    "Content-Foo": ("a", "b"),
    "X-Content-Foo": ("a", "b"),
    "Content-Type": ("text/plain", "text/plain;charset=utf-8"),
    "Content-Encoding": ("x-one", "x-two"),
    "Content-Language": ("de", "pt-BR"),
    "Content-Location": ("/foo", "/bar"),
    "Content-MD5": ("rL0Y20zC+Fzt72VPzMSk2A==", "N7UdGUp1E+RbVvZSTy1R8g=="),
    "Content-Range": ("x", "y"),
    "Content-Security-Policy": ("default-src 'self'", "default-src 'self' cdn.example.com"),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": ("1", "1; mode=block"),
    "Clear-Site-Data": ("cache", "cookies"),
    "Public-Key-Pins": ("a", "b"),
    "Strict-Transport-Security": ("max-age=1", "max-age=2"),
    "Expires": ("Thu, 18 Aug 2050 02:01:18 GMT", "Fri, 19 Aug 2050 02:01:18 GMT"),
    "Link": ("</a>; rel=preload", "</b>; rel=preload"),
    "Surrogate-Key": ("a", "b"),
}


def updated(name: str, old, new, validator, by: str) -> Story:
    """Tell that field *name* is updated by a 304, for this reader and those after."""
    return Story(
        f"304-by-{by}-updates-{name}",
        origin(control("max-age=0", validator, (name, old)), has={name: old}),
        confirmed(control("max-age=60", validator, (name, new)), has={name: new}),
        hit(number=0, has={name: new}),
        rfc="9111 3.2",
    )


UPDATED = [
    updated(name, old, new, validator, by)
    for name, (old, new) in FIELDS.items()
    for validator, by in ((TAG, "tag"), (DAY, "date"))
]
KEPT = [
    Story(
        f"304-that-omits-{name}",
        origin(control("max-age=0", TAG, (name, old))),
        confirmed(control("max-age=60", TAG), has={name: old}),
        hit(number=0, has={name: old}),
        rfc="9111 3.2",
    )
    for name, (old, _) in FIELDS.items()
    if name != "Expires"
]
OTHER = [
    Story(
        "304-updates-cache-control",
        origin(control("max-age=0", TAG)),
        confirmed(control("max-age=60", TAG), has={"Cache-Control": "max-age=60"}),
        hit(number=0, has={"Cache-Control": "max-age=60"}),
        rfc="9111 3.2",
    ),
    Story(
        "304-without-cache-control-keeps-it",
        origin(control("max-age=30", TAG, ("Age", "60"))),
        confirmed(Given(fields=[TAG]), has={"Cache-Control": "max-age=30"}),
        # Its life began anew: the Age of the 304 counts, not the old one.
        hit(number=0, has={"Cache-Control": "max-age=30"}, age=0),
        rfc="9111 4.3.4",
    ),
    Story(
        "304-with-age",
        origin(control("max-age=3600", TAG, ("Age", "4000"))),
        confirmed(control("max-age=3600", TAG, ("Age", "600"))),
        hit(number=0, age=600),
        rfc="9111 4.2.3",
    ),
    Story(
        "304-with-date-gives-the-date",
        origin(control("max-age=0", TAG, ("Date", "Thu, 18 Aug 2016 02:01:18 GMT"))),
        confirmed(control("max-age=60", TAG, ("Date", "Thu, 18 Aug 2050 02:01:18 GMT"))),
        hit(number=0, has={"Date": "Thu, 18 Aug 2050 02:01:18 GMT"}),
        rfc="9111 3.2",
    ),
    Story(
        "304-never-changes-content-length",
        origin(control("max-age=0", TAG)),
        # Some origins say what a 200 would have had, and some say nonsense.
        confirmed(Given(fields=[("Cache-Control", "max-age=60"), TAG, ("Content-Length", "7777")])),
        hit(number=0),
        rfc="9111 3.2",
    ),
    Story(
        "304-replaces-all-lines",
        origin(control("max-age=0", TAG, ("X-A", "1"), ("X-A", "2"))),
        confirmed(control("max-age=60", TAG, ("X-A", "3")), has={"X-A": "3"}),
        hit(number=0, has={"X-A": "3"}),
        rfc="9111 3.2",
    ),
    Story(
        "304-adds-fields",
        origin(control("max-age=0", TAG)),
        confirmed(control("max-age=60", TAG, ("X-New", "1")), has={"X-New": "1"}),
        hit(number=0, has={"X-New": "1"}),
        rfc="9111 3.2",
    ),
    Story(
        "304-connection-fields-are-not-stored",
        origin(control("max-age=0", TAG)),
        confirmed(
            control("max-age=60", TAG, ("Connection", "x-hop"), ("X-Hop", "1")), lacks=("X-Hop",)
        ),
        hit(number=0, lacks=("X-Hop",)),
        rfc="9111 3.1",
    ),
    Story(
        "304-that-is-still-stale",
        origin(control("max-age=0", TAG)),
        confirmed(control("max-age=0", TAG)),
        confirmed(control("max-age=60", TAG)),
        hit(number=0),
        rfc="9111 4.3.4",
    ),
    Story(
        "304-no-store-lets-go",
        origin(control("max-age=0", TAG)),
        confirmed(control("no-store", TAG)),
        origin(control("max-age=60", TAG), unsent=("If-None-Match",)),
        rfc="9111 5.2.2.5",
    ),
    Story(
        "304-private-lets-go",
        origin(control("max-age=0", TAG)),
        confirmed(control("private, max-age=60", TAG)),
        origin(control("max-age=60", TAG), unsent=("If-None-Match",)),
        rfc="9111 5.2.2.7",
    ),
    Story(
        "304-for-a-weak-tag",
        origin(control("max-age=0", ("ETag", 'W/"v1"'))),
        confirmed(control("max-age=60", ("ETag", 'W/"v1"'))),
        hit(number=0),
        rfc="9111 4.3.4",
    ),
    Story(
        "304-without-validator",
        origin(control("max-age=0", TAG)),
        confirmed(control("max-age=60")),
        hit(number=0, has={"ETag": '"v1"'}),
        rfc="9111 4.3.4",
    ),
    Story(
        "304-set-cookie-is-not-shared",
        origin(control("max-age=0", TAG)),
        confirmed(control("max-age=60", TAG, ("Set-Cookie", "sessionid=ana")),
                  has={"Set-Cookie": "sessionid=ana"}),
        # Kept or not: nobody else gets that cookie.
        hit(number=0, lacks=("Set-Cookie",)),
        rfc="9111 7.3",
    ),
    Story(
        "304-with-a-field-that-may-not-be-kept",
        origin(control('private="x-user", max-age=30', TAG, ("X-User", "ana"), ("Age", "60"))),
        # The directive was said with the first answer, and holds on.
        confirmed(Given(fields=[TAG, ("X-User", "eva"), ("X-A", "1")]),
                  has={"X-User": "eva", "X-A": "1"}),
        hit(number=0, has={"X-A": "1"}, lacks=("X-User",)),
        rfc="9111 5.2.2.7",
    ),
    Story(
        "304-that-begins-to-forbid-a-field",
        origin(control("max-age=0", TAG, ("X-User", "ana"))),
        confirmed(control('max-age=60, no-cache="x-user"', TAG), lacks=("X-User",)),
        hit(number=0, lacks=("X-User",)),
        rfc="9111 5.2.2.4",
    ),
    Story(
        "304-of-one-variant",
        origin(control("max-age=0", TAG, ("Vary", "Foo"), ("X-A", "1")), fields=[("Foo", "1")]),
        origin(control("max-age=60", ("ETag", '"v2"'), ("Vary", "Foo"), ("X-A", "1")),
               fields=[("Foo", "2")]),
        confirmed(control("max-age=60", TAG, ("Vary", "Foo"), ("X-A", "9")), fields=[("Foo", "1")],
                  number=0, has={"X-A": "9"}),
        hit(fields=[("Foo", "1")], number=0, has={"X-A": "9"}),
        hit(fields=[("Foo", "2")], number=1, has={"X-A": "1"}),
        rfc="9111 4.3.4",
    ),
    Story(
        "200-to-a-conditional-request-replaces",
        origin(control("max-age=0", TAG, ("X-A", "1"))),
        origin(control("max-age=60", ("ETag", '"v2"'))),
        hit(number=1, lacks=("X-A",)),
        rfc="9111 4.3.3",
    ),
    Story(
        "404-to-a-conditional-request-replaces",
        origin(control("max-age=0", TAG)),
        origin(Given(status=404, fields=[("Cache-Control", "max-age=60")])),
        hit(number=1, status=404),
        rfc="9111 4.3.3",
    ),
]  # fmt: skip


def test_a_304_about_something_else_is_not_believed():
    """A 304 whose strong tag is another than the stored one: ask again, plainly (§4.3.4)."""
    with Upstream() as source, Edge(cached(source)) as edge:
        source.reply(200, "first", cache_control="max-age=0", etag='"v1"')
        source.then_reply(304, "", cache_control="max-age=60", etag='"v2"')
        source.then_reply(200, "second", cache_control="max-age=60", etag='"v2"')
        edge.get("/origin/mismatch").expect(200, body="first")
        edge.get("/origin/mismatch").expect(200, body="second", ETag='"v2"')
        edge.get("/origin/mismatch").expect(200, body="second")
        assert ["if-none-match" in each for each in source.requests] == [False, True, False]


def test_a_304s_fields_are_edited_and_repaired():
    """What readers may not see of a 200 they may not see by way of a 304 either."""
    routes = {
        "/edited/**": {
            "to": "app",
            "cache": "origin",
            "headers": {"response": {"remove": ["X-Powered-By"], "set": {"X-Edge": "1"}}},
        }
    }
    with Upstream() as source, Edge(cached(source, routes=routes)) as edge:
        inner = f"{source.url}/edited/here"
        source.reply(200, "first", cache_control="max-age=0", etag='"v1"', content_location=inner)
        source.then_reply(
            304, "", cache_control="max-age=60", etag='"v1"', x_powered_by="Django",
            content_location=inner, x_edge="of the origin",
        )  # fmt: skip
        first = edge.get("/edited/page").expect(200, body="first", X_Edge="1")
        for _ in range(2):
            later = edge.get("/edited/page").expect(200, body="first", X_Edge="1")
            assert "x-powered-by" not in later
            assert later.get("content-location") == first.get("content-location")
        assert len(source.requests) == 2


@pytest.mark.parametrize("story", UPDATED, ids=str)
def test_what_it_carries_is_updated(story, told):
    told(story)


@pytest.mark.parametrize("story", KEPT, ids=str)
def test_what_it_omits_is_kept(story, told):
    told(story)


@pytest.mark.parametrize("story", OTHER, ids=str)
def test_the_rest(story, told):
    told(story)
