# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 2, 7, 11 and 17: the response that a stored one becomes."""

from dataclasses import replace

import pytest
from unit.cache.build import NOW, ORIGIN, STEERED, cc, date, request, response, stored

from strangler.cache.deliver import assemble, deliver, undecided_until
from strangler.cache.plain import how_plain
from strangler.cache.policy import CachePolicy
from strangler.cache.stored import Stored
from strangler.wire.head import RequestHead, ResponseHead


def plain(request: RequestHead, policy: CachePolicy) -> bool:
    """Tell what the hot path asks: nothing but the key and a simple Vary matters."""
    enough = 2 if policy.client_steers else 1
    return request.method in (b"GET", b"HEAD") and how_plain(request.fields) >= enough


FRESH = cc(b"max-age=60")
BODY = b"0123456789"
ONE = stored(FRESH, (b"ETag", b'"a"'), (b"X-A", b"1"))


def sent(asked: RequestHead, one: Stored, body: bytes) -> tuple[ResponseHead, bytes]:
    """Return the response as a reader gets it."""
    found = deliver(asked, one)
    raw = assemble(found.head, 5.9, extra=b"Connection: close\r\n")
    head = ResponseHead.parse(raw)
    assert head is not None
    assert head.status == found.status
    assert head.all(b"age") == [b"5"]
    return head, body[found.start : found.stop]


def ranged(value: bytes, *pairs: tuple[bytes, bytes]) -> RequestHead:
    return request((b"Range", value), *pairs)


def test_paragraph_2_age_is_always_sent_once_and_in_whole_seconds() -> None:
    head, body = sent(request(), ONE, BODY)
    assert body == BODY
    assert head.get(b"x-a") == b"1"
    assert head.get(b"content-length") == b"10"
    assert assemble(ONE.head, 0.0, body=BODY).endswith(b"\r\nAge: 0\r\n\r\n" + BODY)


@pytest.mark.parametrize(
    ("value", "body", "shown"),
    [
        (b"bytes=0-1", b"01", b"bytes 0-1/10"),
        (b"bytes=1-", b"123456789", b"bytes 1-9/10"),
        (b"bytes=-1", b"9", b"bytes 9-9/10"),
        (b"bytes=-99", BODY, b"bytes 0-9/10"),
    ],
)
def test_paragraph_11_ranges_of_a_whole(value: bytes, body: bytes, shown: bytes) -> None:
    head, got = sent(ranged(value), ONE, BODY)
    assert (head.status, got) == (206, body)
    assert head.all(b"content-range") == [shown]
    assert head.all(b"content-length") == [b"%d" % len(body)]
    assert head.get(b"x-a") == b"1"
    assert head.get(b"etag") == b'"a"'


@pytest.mark.parametrize(
    "asked",
    [
        ranged(b"bytes=0-1, 3-4"),
        ranged(b"nonsense"),
        ranged(b"bytes=0-1", (b"If-Range", b'"b"')),
        ranged(b"bytes=99-", (b"If-Range", b'"b"')),
    ],
)
def test_paragraph_11_where_range_is_ignored(asked: RequestHead) -> None:
    head, body = sent(asked, ONE, BODY)
    assert (head.status, body) == (200, BODY)
    assert b"content-range" not in head


def test_paragraph_11_unsatisfiable() -> None:
    head, body = sent(ranged(b"bytes=10-"), ONE, BODY)
    assert (head.status, body) == (416, b"")
    assert head.get(b"content-range") == b"bytes */10"
    assert head.get(b"content-length") == b"0"


def test_paragraph_11_only_successes_have_ranges() -> None:
    head, body = sent(ranged(b"bytes=0-1"), stored(FRESH, status=404), BODY)
    assert (head.status, body) == (404, BODY)


PART = stored(
    FRESH,
    (b"Content-Range", b"bytes 5-9/10"),
    status=206,
    length=5,
    to=request((b"Range", b"bytes=-5")),
)


@pytest.mark.parametrize(
    ("value", "body", "shown"),
    [
        (b"bytes=-5", b"56789", b"bytes 5-9/10"),
        (b"bytes=6-8", b"678", b"bytes 6-8/10"),
        (b"bytes=6-", b"6789", b"bytes 6-9/10"),
        (b"bytes=-1", b"9", b"bytes 9-9/10"),
    ],
)
def test_paragraph_11_sub_ranges_of_a_part(value: bytes, body: bytes, shown: bytes) -> None:
    head, got = sent(ranged(value), PART, BODY[5:])
    assert (head.status, got) == (206, body)
    assert head.all(b"content-range") == [shown]
    assert head.all(b"content-length") == [b"%d" % len(body)]


def test_paragraph_11_a_part_of_unknown_length() -> None:
    one = stored(FRESH, (b"Content-Range", b"bytes 5-9/*"), status=206, length=5)
    head, got = sent(ranged(b"bytes=6-7"), one, BODY[5:])
    assert (head.status, got) == (206, b"67")
    assert head.all(b"content-range") == [b"bytes 6-7/*"]


def test_paragraph_11_the_very_same_range_gets_the_very_same_part() -> None:
    """An origin whose Content-Range is off by one is repeated, not corrected."""
    odd = stored(
        FRESH, (b"Content-Range", b"bytes 4-9/10"), status=206, length=5,
        to=request((b"Range", b"bytes=-5")),
    )  # fmt: skip
    head, got = sent(ranged(b"bytes=-5"), odd, b"01234")
    assert (head.status, got) == (206, b"01234")
    assert head.all(b"content-range") == [b"bytes 4-9/10"]


def test_paragraph_7_a_304_has_no_body_and_comes_before_range() -> None:
    asked = ranged(b"bytes=0-1", (b"If-None-Match", b'"a"'))
    head, body = sent(asked, ONE, BODY)
    assert (head.status, body) == (304, b"")
    assert head.get(b"etag") == b'"a"'
    assert b"content-length" not in head
    head, body = sent(request((b"If-None-Match", b'"b"')), ONE, BODY)
    assert (head.status, body) == (200, BODY)


def test_paragraph_17_a_head_has_the_fields_of_the_get() -> None:
    head, body = sent(request((b"Range", b"bytes=0-1"), method=b"HEAD"), ONE, BODY)
    assert (head.status, body) == (200, b"")
    assert head.get(b"content-length") == b"10"


@pytest.mark.parametrize(
    ("asked", "policy", "is_plain"),
    [
        (request(), ORIGIN, True),
        (request(method=b"HEAD"), ORIGIN, True),
        (request((b"Cookie", b"a=b"), (b"Accept-Ranges", b"x"), (b"X-If-A", b"b")), ORIGIN, True),
        (request(cc(b"no-cache"), (b"Pragma", b"no-cache")), ORIGIN, True),
        (request(cc(b"no-cache")), STEERED, False),
        (request((b"Pragma", b"no-cache")), STEERED, False),
        (request(), STEERED, True),
        (request((b"Range", b"bytes=0-1")), ORIGIN, False),
        (request((b"If-None-Match", b'"a"')), ORIGIN, False),
        (request((b"if-modified-since", date())), ORIGIN, False),
        (request((b"If-Match", b'"a"')), ORIGIN, False),
        (request((b"Authorization", b"x")), ORIGIN, False),
        (request((b"X-HTTP-Method-Override", b"PUT")), ORIGIN, False),
        (request((b"X-Original-URL", b"/b")), ORIGIN, False),
        (request((b"Content-Length", b"3")), ORIGIN, False),
        (request((b"Transfer-Encoding", b"chunked")), ORIGIN, False),
        (request((b"Connection", b"upgrade"), (b"Upgrade", b"h2c")), ORIGIN, False),
        (request(method=b"POST"), ORIGIN, False),
    ],
)
def test_plain_requests(asked: RequestHead, policy: CachePolicy, is_plain: bool) -> None:
    assert plain(asked, policy) is is_plain


LADDER = CachePolicy(mode="tiers", edge=10.0, shared=300.0)
NEVER = float("-inf")


@pytest.mark.parametrize(
    ("one", "policy", "until"),
    [
        (stored(FRESH), ORIGIN, NOW + 60),
        (stored(FRESH), STEERED, NOW + 60),
        (stored(FRESH, policy=LADDER), LADDER, NOW + 15),
        (stored(cc(b"max-age=12"), policy=LADDER), LADDER, NOW + 12),
        (stored(FRESH, (b"Vary", b"Accept-Encoding")), ORIGIN, NOW + 60),
        (stored(FRESH, (b"Vary", b"Accept-Language")), ORIGIN, NEVER),
        (stored(cc(b"no-cache"), (b"ETag", b'"a"')), ORIGIN, NEVER),
        (stored(FRESH), CachePolicy(), NEVER),
        (PART, ORIGIN, NEVER),
    ],
)
def test_until_when_nothing_is_to_be_decided(
    one: Stored, policy: CachePolicy, until: float
) -> None:
    assert undecided_until(one, policy, "edge", entered=NOW + 5) == until


def test_no_stay_no_fast_path() -> None:
    shared_only = replace(LADDER, edge=None)
    one = stored(FRESH, policy=shared_only)
    assert undecided_until(one, shared_only, "edge", entered=NOW) <= NOW


def test_a_reason_phrase_is_kept_on_delivery() -> None:
    assert response(FRESH).reason == b"Some Reason"
    assert deliver(request(), ONE).head.startswith(b"HTTP/1.1 200 Some Reason\r\n")
