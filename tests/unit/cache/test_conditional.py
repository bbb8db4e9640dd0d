# SPDX-License-Identifier: Apache-2.0
"""Paragraph 7: conditional requests answered from store."""

import pytest
from unit.cache.build import cc, date, fields, request, stored

from strangler.cache.conditional import head_304, not_modified
from strangler.cache.stored import Stored

FRESH = cc(b"max-age=60")
INM, IMS = b"If-None-Match", b"If-Modified-Since"
STRONG = stored(FRESH, (b"ETag", b'"abc"'), (b"Last-Modified", date(-3000)))
WEAK = stored(FRESH, (b"ETag", b'W/"abc"'))
UNTAGGED = stored(FRESH, (b"Last-Modified", date(-3000)))
BARE = stored(FRESH)
TEXT = stored(FRESH, (b"ETag", b'"abc\xc3\xbc"'))


@pytest.mark.parametrize(
    ("one", "asked", "matches"),
    [
        (STRONG, [(INM, b'"abc"')], True),
        (STRONG, [(INM, b'W/"abc"')], True),
        (WEAK, [(INM, b'"abc"')], True),
        (WEAK, [(INM, b'W/"abc"')], True),
        (STRONG, [(INM, b'"abc", "1234", "5678"')], True),
        (STRONG, [(INM, b'"1234", "abc", "5678"')], True),
        (STRONG, [(INM, b'"1234", "5678", "abc"')], True),
        (STRONG, [(INM, b'"1234"'), (INM, b'"abc"')], True),
        (STRONG, [(INM, b'"12,34", "abc"')], True),
        (STRONG, [(INM, b"*")], True),
        (BARE, [(INM, b"*")], True),
        (TEXT, [(INM, b'"abc\xc3\xbc"')], True),
        (STRONG, [(INM, b'"ABC"')], False),
        (STRONG, [(INM, b"abc")], False),
        (STRONG, [(INM, b'"x,abc"')], False),
        (STRONG, [(INM, b"")], False),
        (BARE, [(INM, b'"abc"')], False),
        (STRONG, [(IMS, date(-3000))], True),
        (STRONG, [(IMS, date(-2000))], True),
        (STRONG, [(IMS, date(-3001))], False),
        (UNTAGGED, [(IMS, date(-3000))], True),
        (UNTAGGED, [(IMS, b"Tuesday, 04-Nov-25 09:59:59 GMT")], True),
        (UNTAGGED, [(IMS, b"Tue Nov  4 09:59:59 2025")], True),
        (UNTAGGED, [(IMS, b"Tue, 04 Nov 2025 09:59:59 UTC")], False),
        (UNTAGGED, [(IMS, date()), (IMS, date())], False),
        (BARE, [(IMS, date())], True),  # without Last-Modified, Date stands for it
        (BARE, [(IMS, date(-1))], False),
        (STRONG, [(INM, b'"abc"'), (IMS, date(-9000))], True),  # If-None-Match wins
        (STRONG, [(INM, b'"no"'), (IMS, date())], False),
        (STRONG, [], False),
    ],
)
def test_paragraph_7_not_modified(
    one: Stored, asked: list[tuple[bytes, bytes]], matches: bool
) -> None:
    assert not_modified(request(*asked).fields, one) is matches


@pytest.mark.parametrize(
    ("status", "matches"), [(200, True), (203, True), (404, False), (301, False)]
)
def test_paragraph_7_only_a_success_has_preconditions(status: int, matches: bool) -> None:
    one = stored(FRESH, (b"ETag", b'"a"'), status=status)
    assert not_modified(fields((INM, b'"a"')), one) is matches


def test_paragraph_7_what_the_304_carries() -> None:
    one = stored(
        FRESH, (b"ETag", b'"a"'), (b"Vary", b"Foo"), (b"Content-Location", b"/b"),
        (b"Expires", date(60)), (b"Content-Type", b"text/html"), (b"X-A", b"1"),
    )  # fmt: skip
    head = head_304(one)
    assert head.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert head.endswith(b"\r\n")
    sent = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:-1]]
    assert sent == [b"Date", b"Cache-Control", b"ETag", b"Vary", b"Content-Location", b"Expires"]
