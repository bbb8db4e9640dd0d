# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 2, 9 and 11: what of a response is stored."""

from dataclasses import replace

import pytest
from unit.cache.build import NOW, ORIGIN, cc, date, plan, request, response, stored

from strangler.cache import store
from strangler.cache.storable import Uncacheable
from strangler.cache.stored import Span, Stored
from strangler.cache.update import validators

FRESH = cc(b"max-age=60")


def names(one: Stored) -> list[bytes]:
    return [name.lower() for name, _ in one.fields.pairs()]


@pytest.mark.parametrize(
    "name",
    [
        b"Connection", b"Keep-Alive", b"Proxy-Authenticate", b"Proxy-Authentication-Info",
        b"Proxy-Authorization", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding",
        b"Upgrade", b"Age",
    ],
)  # fmt: skip
def test_paragraph_9_fields_of_one_connection_are_not_stored(name: bytes) -> None:
    assert name.lower() not in names(stored(FRESH, (name, b"7"), (b"X", b"1")))


@pytest.mark.parametrize(
    "name",
    [
        b"Test-Header", b"X-Test-Header", b"Content-Type", b"Content-Foo", b"X-Frame-Options",
        b"Clear-Site-Data", b"Public-Key-Pins", b"Strict-Transport-Security",
        b"WWW-Authenticate", b"ETag", b"Content-Location", b"Warning", b"Cache-Status",
        b"CDN-Cache-Control", b"Server",
    ],
)  # fmt: skip
def test_paragraph_9_all_others_are_kept_as_they_came(name: bytes) -> None:
    assert (name, b"Some value") in stored(FRESH, (name, b"Some value")).fields.pairs()


def test_paragraph_9_what_connection_names_goes_with_it() -> None:
    one = stored(FRESH, (b"Connection", b"A, b"), (b"a", b"1"), (b"B", b"2"), (b"c", b"3"))
    assert names(one) == [b"date", b"cache-control", b"c", b"content-length"]


def test_paragraph_9_qualified_directives_drop_their_fields() -> None:
    one = stored(cc(b'no-cache="a"'), cc(b'max-age=60, private="b"'), (b"A", b"1"), (b"B", b"2"))
    assert names(one) == [b"date", b"cache-control", b"cache-control", b"content-length"]


def test_paragraph_2_date_is_never_rewritten_and_added_only_where_it_is_missing() -> None:
    assert stored(FRESH, (b"Date", b"foo")).fields.all(b"date") == [b"foo"]
    planned = plan(response(FRESH))
    assert isinstance(planned, Stored)
    assert planned.fields.all(b"date") == [date()]


def test_a_chunked_body_gets_its_length() -> None:
    one = stored(FRESH, (b"Transfer-Encoding", b"chunked"), length=7)
    assert one.fields.all(b"content-length") == [b"7"]
    assert one.fields.all(b"transfer-encoding") == []
    assert b"content-length" not in names(stored(FRESH, status=204, length=0))


def test_what_lookups_need_is_read_once() -> None:
    one = stored(
        FRESH,
        (b"ETag", b'W/"x"'),
        (b"Last-Modified", date(-100)),
        (b"Content-Language", b"PT-br"),
        (b"Date", date(-5)),
        (b"Surrogate-Key", b"a  b"),
        (b"Cache-Tag", b"c, a"),
    )
    assert (one.etag, one.modified, one.language) == (b'W/"x"', int(NOW) - 100, b"pt-br")
    assert one.date == NOW - 5
    assert one.tags == (b"a", b"b", b"c")
    bare = stored(FRESH, (b"Last-Modified", b"x"), (b"Content-Language", b"pt, en"), (b"ETag", b""))
    assert (bare.etag, bare.modified, bare.language) == (None, None, None)


def test_the_routes_tags_come_first() -> None:
    found = store.plan(
        request(), response(FRESH, (b"Cache-Tag", b"x")), ORIGIN, key=b"k", requested=NOW,
        received=NOW, tags=[b"noticia:a"], route=b"/a",
    )  # fmt: skip
    assert isinstance(found, Stored)
    assert found.tags == (b"noticia:a", b"x")
    assert found.route == b"/a"


def test_an_incomplete_body_is_never_stored() -> None:
    planned = plan(response(FRESH))
    assert isinstance(planned, Stored)
    assert store.seal(planned, 5, complete=False) is Uncacheable.INCOMPLETE


@pytest.mark.parametrize(
    ("content_range", "length", "span"),
    [
        (b"bytes 4-9/10", 6, Span(4, 9, 10)),
        (b"bytes 4-9/*", 6, Span(4, 9, None)),
        (b"bytes 4-9/10", 5, Span(4, 8, 9)),  # it was to reach the end, and has
        (b"bytes 4-9/12", 5, Span(4, 8, 12)),  # held as far as it goes
        (b"bytes 4-9/10", 7, None),
        (b"bytes 4-9/10", 0, None),
        (b"bytes 9-4/10", 6, None),
        (b"bytes 4-9/9", 6, None),
        (b"bytes */10", 6, None),
        (b"lines 4-9/10", 6, None),
        (b"bytes 4-9", 6, None),
        (b"bytes " + b"9" * 30 + b"-" + b"9" * 31 + b"/*", 6, None),
    ],
)
def test_paragraph_11_partial_responses(
    content_range: bytes, length: int, span: Span | None
) -> None:
    asked = request((b"Range", b"bytes=4-"))
    planned = plan(response(FRESH, (b"Content-Range", content_range), status=206), to=asked)
    sealed = store.seal(planned, length) if isinstance(planned, Stored) else planned
    if span is None:
        assert sealed is Uncacheable.PARTIAL
    else:
        assert isinstance(sealed, Stored)
        assert (sealed.span, sealed.asked) == (span, b"bytes=4-")


def test_paragraph_11_several_ranges_in_one_response_are_not_stored() -> None:
    multi = (b"Content-Type", b"multipart/byteranges; boundary=x")
    assert plan(response(FRESH, multi, status=206)) is Uncacheable.PARTIAL


@pytest.mark.parametrize(
    ("old", "new", "replaces"),
    [
        (None, 200, True), (None, 503, True), (200, 200, True), (200, 404, True),
        (200, 500, False), (404, 503, False), (503, 502, True), (503, 200, True),
    ],
)  # fmt: skip
def test_pain_39_an_error_never_replaces_a_good_copy(
    old: int | None, new: int, replaces: bool
) -> None:
    held = None if old is None else stored(FRESH, status=old)
    assert store.replaces(held, new) is replaces


def test_paragraph_7_validators_are_the_stored_ones() -> None:
    one = stored(FRESH, (b"ETag", b'W/"x"'), (b"Last-Modified", date(-100)))
    assert validators(one) == [
        (b"If-None-Match", b'W/"x"'),
        (b"If-Modified-Since", date(-100)),
    ]
    assert validators(stored(FRESH)) == []


def test_vary_is_recorded_with_the_request_that_was_answered() -> None:
    one = stored(FRESH, (b"Vary", b"Foo, Bar"), to=request((b"Foo", b"1 ,2")))
    assert one.selecting == ((b"bar", None), (b"foo", b"1,2"))
    ignoring = replace(ORIGIN, ignore=frozenset({"vary"}))  # type: ignore[arg-type]
    assert stored(FRESH, (b"Vary", b"Foo"), policy=ignoring).selecting == ()
