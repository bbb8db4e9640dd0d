# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 1, 4, 6, 7, 11, 12, 13, 17 and 18: what stored responses can do for a request."""

from dataclasses import replace

import pytest
from unit.cache.build import NOW, ORIGIN, STEERED, cc, request, stored

from strangler.cache.lookup import Lookup, decide, stands_in
from strangler.cache.steering import steering
from strangler.cache.stored import Stored
from strangler.wire.head import RequestHead

GET = request()
AUTH = request((b"Authorization", b"Basic eDp5"))
ETAG = (b"ETag", b'"a"')


def look(one: Stored, after: float, asked: RequestHead = GET, **words: float) -> Lookup:
    steered = steering(asked, STEERED)
    return decide([one], asked, now=NOW + after, steering=steered, **words)


@pytest.mark.parametrize(
    ("value", "after", "outcome", "forward", "stands"),
    [
        (b"max-age=60", 0, "hit", None, False),
        (b"max-age=60", 59.9, "hit", None, False),
        (b"max-age=60", 60, "revalidate", "stale", False),
        (b"max-age=60, must-revalidate", 59, "hit", None, False),
        (b"max-age=60, must-revalidate", 61, "revalidate", "stale", False),
        (b"max-age=60, no-cache", 0, "revalidate", "stale", False),
        (b"max-age=60, No-Cache, stale-if-error=9", 0, "revalidate", "stale", False),
        (b"max-age=60, stale-while-revalidate=9", 68, "stale", None, False),
        (b"max-age=60, stale-while-revalidate=9", 69, "revalidate", "stale", False),
        (b"max-age=0, stale-while-revalidate=9", 0, "stale", None, False),
        (b"max-age=60, stale-if-error=9", 59, "hit", None, False),
        (b"max-age=60, stale-if-error=9", 68, "revalidate", "stale", True),
        (b"max-age=60, stale-if-error=9", 70, "revalidate", "stale", False),
        (b"s-maxage=60, stale-if-error=9", 68, "revalidate", "stale", False),
        (b"max-age=60, must-revalidate, stale-if-error=9", 68, "revalidate", "stale", False),
        (b"max-age=60, proxy-revalidate, stale-if-error=9", 68, "revalidate", "stale", False),
        (b"s-maxage=60, stale-while-revalidate=9", 68, "revalidate", "stale", False),
    ],
)
def test_paragraphs_4_and_13_fresh_and_stale(
    value: bytes, after: float, outcome: str, forward: str | None, stands: bool
) -> None:
    found = look(stored(cc(value), ETAG), after)
    assert (found.outcome, found.forward) == (outcome, forward)
    if outcome != "hit":
        assert stands_in(found, None) is stands


@pytest.mark.parametrize(
    ("status", "stands"),
    [(None, True), (500, True), (502, True), (503, True), (504, True), (200, False),
     (403, False), (404, False), (410, False), (429, False), (501, False), (505, False)],
)  # fmt: skip
def test_paragraph_13_stale_if_error_is_for_errors_only(status: int | None, stands: bool) -> None:
    found = look(stored(cc(b"max-age=1, stale-if-error=60")), 5)
    assert stands_in(found, status) is stands


def test_paragraph_13_nothing_stale_by_default() -> None:
    assert not stands_in(look(stored(cc(b"max-age=1")), 5), None)
    graceful = replace(ORIGIN, grace=10.0)
    assert look(stored(cc(b"max-age=1"), policy=graceful), 5).outcome == "stale"
    assert not stands_in(Lookup("miss", forward="uri-miss"), None)


def test_paragraph_6_misses_say_what_missed() -> None:
    assert decide([], GET, now=NOW) == Lookup("miss", forward="uri-miss")
    one = stored(cc(b"max-age=60"), (b"Vary", b"Foo"), ETAG)
    found = look(one, 0, request((b"Foo", b"1")))
    assert (found.outcome, found.forward, found.validators) == ("miss", "vary-miss", [])


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (b"max-age=60", "miss"),
        (b"max-age=60, public", "hit"),
        (b"s-maxage=60", "hit"),
        (b"max-age=60, must-revalidate", "hit"),
    ],
)
def test_paragraph_12_credentials_meet_public_answers_only(value: bytes, outcome: str) -> None:
    assert look(stored(cc(value)), 0, AUTH).outcome == outcome
    assert look(stored(cc(value)), 0, request((b"Cookie", b"a=b"))).outcome == "hit"


def test_paragraph_7_revalidates_with_the_stored_validators() -> None:
    asked = request((b"If-None-Match", b'"client"'))
    found = look(stored(cc(b"max-age=1"), ETAG), 5, asked)
    assert found.validators == [(b"If-None-Match", b'"a"')]


def test_a_copys_stay_in_its_tier_can_end_before_its_freshness() -> None:
    one = stored(cc(b"max-age=60"))
    assert look(one, 9, usable_until=NOW + 10).outcome == "hit"
    assert look(one, 11, usable_until=NOW + 10).outcome == "revalidate"
    assert look(one, 11, usable_until=NOW + 10).ttl == -1


def steer(value: bytes) -> RequestHead:
    return request(cc(value))


@pytest.mark.parametrize(
    ("said", "after", "asks", "outcome", "forward"),
    [
        (b"max-age=60", 5, b"max-age=0", "revalidate", "request"),
        (b"max-age=60", 5, b"max-age=5", "revalidate", "request"),
        (b"max-age=60", 5, b"max-age=6", "hit", None),
        (b"max-age=60", 5, b"min-fresh=54", "hit", None),
        (b"max-age=60", 5, b"min-fresh=55", "revalidate", "request"),
        (b"max-age=60", 5, b"no-cache", "revalidate", "request"),
        (b"max-age=60", 65, b"max-stale=5", "hit", None),
        (b"max-age=60", 66, b"max-stale=5", "revalidate", "stale"),
        (b"max-age=60", 6600, b"max-stale", "hit", None),
        (b"max-age=60, must-revalidate", 65, b"max-stale", "revalidate", "stale"),
        (b"s-maxage=60", 65, b"max-stale", "revalidate", "stale"),
        (b"max-age=60, no-cache", 5, b"max-stale", "revalidate", "stale"),
        (b"max-age=60", 65, b"max-age=10, max-stale=50", "revalidate", "stale"),
        (b"max-age=60, stale-while-revalidate=9", 65, b"foo", "stale", None),
        (b"max-age=60, stale-while-revalidate=9", 65, b"no-cache", "revalidate", "stale"),
        (b"max-age=60", 5, b"only-if-cached", "hit", None),
        (b"max-age=60", 65, b"only-if-cached", "unavailable", "stale"),
        (b"max-age=60", 5, b"", "hit", None),  # paragraph 18, here and below
        (b"max-age=60", 5, b"foo=bar", "hit", None),
        (b"max-age=60", 65, b"foo=bar", "revalidate", "stale"),
    ],
)
def test_paragraph_17_clients_that_may_steer(
    said: bytes, after: float, asks: bytes, outcome: str, forward: str | None
) -> None:
    found = look(stored(cc(said), ETAG), after, steer(asks))
    assert (found.outcome, found.forward) == (outcome, forward)


@pytest.mark.parametrize("asks", [b"max-age=0", b"no-cache", b"no-store", b"min-fresh=999"])
def test_paragraph_17_ignored_otherwise(asks: bytes) -> None:
    asked = steer(asks)
    found = decide([stored(cc(b"max-age=60"))], asked, now=NOW, steering=steering(asked, ORIGIN))
    assert found.outcome == "hit"


def test_paragraph_17_only_if_cached_without_anything_stored() -> None:
    asked = steer(b"only-if-cached")
    found = decide([], asked, now=NOW, steering=steering(asked, STEERED))
    assert found == Lookup("unavailable", forward="uri-miss")


def test_paragraph_17_a_clients_stale_if_error() -> None:
    asked = steer(b"stale-if-error=60")
    assert stands_in(look(stored(cc(b"max-age=1")), 5, asked), 503)
    assert not stands_in(look(stored(cc(b"max-age=1")), 70, asked), 503)
    assert not stands_in(look(stored(cc(b"max-age=1, must-revalidate")), 5, asked), 503)


def part(content_range: bytes, *pairs: tuple[bytes, bytes], length: int = 5) -> Stored:
    return stored(
        cc(b"max-age=60"),
        (b"Content-Range", content_range),
        *pairs,
        status=206,
        length=length,
        to=request((b"Range", b"bytes=-5")),
    )


def ranged(value: bytes, *pairs: tuple[bytes, bytes]) -> RequestHead:
    return request((b"Range", value), *pairs)


@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        (ranged(b"bytes=-5"), "hit"),
        (ranged(b"bytes=6-8"), "hit"),
        (ranged(b"bytes=6-"), "hit"),
        (ranged(b"bytes=-1"), "hit"),
        (ranged(b"bytes=4-8"), "miss"),
        (ranged(b"bytes=0-"), "miss"),
        (ranged(b"bytes=-6"), "miss"),
        (ranged(b"bytes=5-6, 7-8"), "miss"),
        (ranged(b"lines=5-6"), "miss"),
        (ranged(b"bytes=6-8", (b"If-Range", b'"other"')), "miss"),
        (request((b"Range", b"bytes=6-8"), method=b"HEAD"), "miss"),
        (request(), "miss"),
    ],
)
def test_paragraph_11_sub_ranges_of_a_part(asked: RequestHead, outcome: str) -> None:
    found = look(part(b"bytes 5-9/10"), 0, asked)
    assert found.outcome == outcome
    assert found.forward == (None if outcome == "hit" else "partial")


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (b"bytes=5-6", "hit"), (b"bytes=5-9", "hit"), (b"bytes=5-10", "miss"),
        (b"bytes=5-", "miss"), (b"bytes=-1", "miss"), (b"bytes=-5", "hit"),
    ],
)  # fmt: skip
def test_paragraph_11_a_part_of_unknown_length(value: bytes, outcome: str) -> None:
    """Only ranges with both ends can be told to be held, and the very one that was asked."""
    assert look(part(b"bytes 5-9/*"), 0, ranged(value)).outcome == outcome


def test_paragraph_11_completes_a_part() -> None:
    found = look(part(b"bytes 0-4/10", ETAG), 0)
    assert (found.outcome, found.forward) == ("complete", "partial")
    assert found.validators == [(b"Range", b"bytes=5-"), (b"If-Range", b'"a"')]
    tail = look(part(b"bytes 5-9/10", ETAG), 0)
    assert tail.validators == [(b"Range", b"bytes=0-4"), (b"If-Range", b'"a"')]


@pytest.mark.parametrize(
    "one",
    [
        part(b"bytes 0-4/10"),
        part(b"bytes 0-4/10", (b"ETag", b'W/"a"')),
        part(b"bytes 0-4/*", ETAG),
        part(b"bytes 3-7/10", ETAG),
    ],
)
def test_paragraph_11_a_part_that_nothing_can_complete(one: Stored) -> None:
    found = look(one, 0)
    assert (found.outcome, found.validators) == ("miss", [])


def test_paragraph_11_a_stale_part_is_no_help() -> None:
    one = part(b"bytes 0-4/10", ETAG)
    assert look(one, 61).outcome == "miss"
    assert look(one, 61, ranged(b"bytes=0-3")).outcome == "revalidate"
    assert look(one, 0, steer(b"only-if-cached")).outcome == "unavailable"


def test_paragraph_17_a_head_is_answered_from_a_get() -> None:
    assert look(stored(cc(b"max-age=60")), 0, request(method=b"HEAD")).outcome == "hit"
    assert look(stored(cc(b"max-age=60")), 61, request(method=b"HEAD")).outcome == "revalidate"


def test_a_copy_below_may_be_older_than_the_one_at_hand() -> None:
    new, old = stored(cc(b"no-cache"), ETAG), stored(cc(b"max-age=60"), ETAG)
    old = replace(old, received=new.received - 1)
    assert look(new, 0).outdates(old)
    assert not look(new, 0).outdates(new)
    assert not look(old, 0).outdates(new)
    assert not Lookup("miss", forward="uri-miss").outdates(old)


def test_a_variant_of_another_vary_is_outdated_by_the_answer_to_a_question_of_it() -> None:
    """Its like is replaced where it stands."""
    old = replace(stored(cc(b"max-age=60"), ETAG), selecting=((b"accept", b"a/b"),))
    new = replace(old, selecting=())
    assert look(old, 61, request((b"Accept", b"a/b"))).outdated_by(new) is old
    assert Lookup("miss", forward="uri-miss", stored=old).outdated_by(old) is None
    assert Lookup("miss", forward="uri-miss").outdated_by(new) is None
