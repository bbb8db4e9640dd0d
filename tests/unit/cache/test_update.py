# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 8, 11 and 17: what 304, HEAD and the rest of a part do to a stored response."""

from dataclasses import replace

import pytest
from unit.cache.build import NOW, ORIGIN, cc, date, request, response, stored

from strangler.cache.policy import CachePolicy
from strangler.cache.storable import Uncacheable
from strangler.cache.stored import Stored
from strangler.cache.update import completed, confirms, freshened, head_effect

ETAG = (b"ETag", b'"a"')
LATER = NOW + 100


def freshen(
    one: Stored, *pairs: tuple[bytes, bytes], policy: CachePolicy = ORIGIN
) -> tuple[Stored, Uncacheable | None]:
    head = response(*pairs, status=304)
    return freshened(one, request(), head, policy, requested=LATER, received=LATER)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (b"Test-Header", b"a", b"b"),
        (b"X-Test-Header", b"a", b"b"),
        (b"Content-Foo", b"a", b"b"),
        (b"X-Content-Foo", b"a", b"b"),
        (b"Content-Encoding", b"a", b"b"),
        (b"Content-Type", b"text/plain", b"text/plain;charset=utf-8"),
        (b"Content-Location", b"/foo", b"/bar"),
        (b"Content-MD5", b"rL0Y20zC+Fzt72VPzMSk2A==", b"N7UdGUp1E+RbVvZSTy1R8g=="),
        (b"Content-Range", b"a", b"b"),
        (b"Content-Security-Policy", b"default-src 'self'", b"default-src cdn.example.com"),
        (b"Expires", date(1), date(3600)),
        (b"Cache-Control", b"max-age=1", b"max-age=3600"),
        (b"Clear-Site-Data", b"cache", b"cookies"),
        (b"X-Frame-Options", b"deny", b"sameorigin"),
    ],
)
def test_paragraph_8_a_304_updates_what_it_carries(name: bytes, old: bytes, new: bytes) -> None:
    one = stored(ETAG, (name, old))
    fresh, reason = freshen(one, ETAG, (name, new))
    assert reason is None
    assert fresh.fields.all(name.lower()) == [new]
    assert fresh.fields.all(b"etag") == [b'"a"']


def test_paragraph_8_what_it_omits_is_kept() -> None:
    one = stored(ETAG, cc(b"max-age=1"), (b"X-A", b"1"), (b"X-B", b"1"), (b"X-B", b"2"))
    fresh, _ = freshen(one, (b"X-b", b"3"))
    assert fresh.fields.all(b"x-a") == [b"1"]
    assert fresh.fields.all(b"x-b") == [b"3"]
    assert fresh.fields.all(b"date") == [date(100)]
    assert (fresh.received, fresh.lifetime, fresh.age(LATER)) == (LATER, 1, 0)


def test_paragraph_8_never_content_length_nor_fields_of_a_connection() -> None:
    fresh, _ = freshen(
        stored(ETAG), (b"Content-Length", b"99"), (b"Connection", b"x-c"), (b"X-C", b"1"),
        (b"Keep-Alive", b"5"), (b"Transfer-Encoding", b"chunked"), (b"Set-Cookie", b"a=b"),
    )  # fmt: skip
    assert fresh.fields.all(b"content-length") == [b"10"]
    for name in (b"connection", b"x-c", b"keep-alive", b"transfer-encoding", b"set-cookie"):
        assert name not in fresh.fields


def test_paragraph_8_its_life_begins_anew() -> None:
    one = stored(ETAG, cc(b"max-age=1"))
    fresh, _ = freshen(
        one, cc(b"max-age=60, stale-if-error=9"), (b"Age", b"7"), (b"Date", date(100))
    )
    assert (fresh.lifetime, fresh.if_error, fresh.age(LATER + 1)) == (60, 9, 8)
    assert fresh.date == LATER
    assert b"\r\nAge:" not in fresh.head


def test_paragraph_8_its_vary_and_tags_are_read_again() -> None:
    one = stored(ETAG, (b"Cache-Tag", b"a"))
    fresh, _ = freshen(one, (b"Vary", b"Foo"), (b"Cache-Tag", b"b"))
    assert fresh.selecting == ((b"foo", None),)
    assert fresh.tags == (b"a", b"b")
    ignoring = replace(ORIGIN, ignore=frozenset({"vary"}))  # type: ignore[arg-type]
    fresh, reason = freshen(one, (b"Vary", b"*"), policy=ignoring)
    assert (fresh.selecting, reason) == ((), None)


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (cc(b"no-store"), Uncacheable.NO_STORE),
        (cc(b"private"), Uncacheable.PRIVATE),
        ((b"Vary", b"*"), Uncacheable.VARY_ANY),
    ],
)
def test_paragraph_8_a_304_may_end_the_keeping(
    pair: tuple[bytes, bytes], reason: Uncacheable
) -> None:
    assert freshen(stored(ETAG), pair)[1] is reason


def test_paragraph_8_a_parts_place_is_its_own() -> None:
    part = stored(cc(b"max-age=9"), (b"Content-Range", b"bytes 0-9/99"), status=206)
    fresh, _ = freshen(part, (b"Content-Range", b"bytes 5-6/7"))
    assert fresh.fields.all(b"content-range") == [b"bytes 0-9/99"]


LM = b"Last-Modified"
TAGGED = stored(ETAG)
DATED = stored((LM, date(-100)))
BOTH = stored(ETAG, (LM, date(-100)))


@pytest.mark.parametrize(
    ("one", "pairs", "confirmed"),
    [
        (TAGGED, [], True),
        (TAGGED, [ETAG], True),
        (TAGGED, [(b"ETag", b'W/"a"')], True),
        (TAGGED, [(b"ETag", b'"b"')], False),
        (TAGGED, [(b"ETag", b'W/"b"')], False),
        (stored((b"ETag", b'W/"a"')), [ETAG], False),
        (DATED, [(LM, date(-100))], True),
        (DATED, [(LM, date(-99))], False),
        (DATED, [(LM, b"x")], False),
        (DATED, [ETAG], False),
        (BOTH, [(LM, date(-99))], True),
        (BOTH, [ETAG, (LM, date(-99))], True),
        (TAGGED, [(b"ETag", b"")], True),
    ],
)
def test_paragraph_8_which_stored_response_a_304_speaks_of(
    one: Stored, pairs: list[tuple[bytes, bytes]], confirmed: bool
) -> None:
    assert confirms(one, response(*pairs, status=304)) is confirmed


@pytest.mark.parametrize(
    ("pairs", "status", "effect"),
    [
        ([], 200, "update"),
        ([ETAG, (LM, date(-100))], 200, "update"),
        ([(b"Content-Length", b"10")], 200, "update"),
        ([(b"Content-Length", b"11")], 200, "stale"),
        ([(b"ETag", b'"b"')], 200, "stale"),
        ([(LM, date())], 200, "stale"),
        ([], 404, "stale"),
        ([], 410, "stale"),
        ([], 500, "none"),
        ([], 302, "none"),
    ],
)
def test_paragraph_17_a_head_updates_or_invalidates_the_stored_get(
    pairs: list[tuple[bytes, bytes]], status: int, effect: str
) -> None:
    assert head_effect(BOTH, response(*pairs, status=status)) == effect


def test_paragraph_17_a_head_says_nothing_of_other_statuses_and_parts() -> None:
    gone = stored(cc(b"max-age=9"), status=404)
    assert head_effect(gone, response(status=404)) == "none"
    assert head_effect(gone, response(status=200)) == "none"
    part = stored(cc(b"max-age=9"), (b"Content-Range", b"bytes 0-9/99"), status=206)
    assert head_effect(part, response(status=200)) == "none"


def part(first: int, last: int, *pairs: tuple[bytes, bytes], received: float = NOW) -> Stored:
    shown = (b"Content-Range", b"bytes %d-%d/10" % (first, last))
    return stored(
        ETAG, cc(b"max-age=60"), shown, *pairs, status=206, length=last - first + 1,
        received=received,
    )  # fmt: skip


def test_paragraph_11_the_rest_makes_a_whole() -> None:
    old = part(0, 4, (b"X-A", b"1"), (b"X-B", b"1"))
    new = part(5, 9, (b"X-B", b"2"), received=LATER)
    found = completed(old, b"01234", new, b"56789")
    assert found is not None
    whole, body = found
    assert body == b"0123456789"
    assert (whole.status, whole.span, whole.length, whole.received) == (200, None, 10, LATER)
    assert whole.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert whole.fields.all(b"content-length") == [b"10"]
    assert whole.fields.all(b"content-range") == []
    assert whole.fields.all(b"x-a") == [b"1"]
    assert whole.fields.all(b"x-b") == [b"2"]


def test_paragraph_11_a_longer_part_is_still_a_part() -> None:
    found = completed(part(2, 4), b"234", part(5, 6), b"56")
    assert found is not None
    longer, body = found
    assert body == b"23456"
    assert (longer.status, len(longer.span or ())) == (206, 5)
    assert longer.fields.all(b"content-range") == [b"bytes 2-6/10"]
    assert completed(part(0, 1), b"01", part(5, 6), b"56") is None
