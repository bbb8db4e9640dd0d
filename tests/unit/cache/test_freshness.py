# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 1, 2, 5 and 13: lifetimes, ages and stale windows."""

from dataclasses import replace

import pytest
from unit.cache.build import NOW, ORIGIN, cc, date, fields

from strangler.cache.directives import MAX_SECONDS, of_response
from strangler.cache.freshness import (
    Lifetime,
    bound,
    initial_age,
    lifetime,
    stay,
    usable_until,
    windows,
)
from strangler.cache.policy import CachePolicy

DATE = (b"Date", date())
LADDER = CachePolicy(mode="tiers", edge=10.0, shared=300.0, archive=2592000.0)


def life(*pairs: tuple[bytes, bytes], status: int = 200, **words: float) -> Lifetime:
    head = fields(*pairs)
    return lifetime(head, status, of_response(head), received=NOW, **words)


def expires(seconds: float) -> tuple[bytes, bytes]:
    return b"Expires", date(seconds)


def modified(seconds: float) -> tuple[bytes, bytes]:
    return b"Last-Modified", date(seconds)


CDN = b"CDN-Cache-Control"


@pytest.mark.parametrize(
    ("pairs", "seconds", "source"),
    [
        ([DATE, cc(b"max-age=60, s-maxage=5"), expires(100)], 5, "s-maxage"),
        ([DATE, cc(b"s-maxage=3600, max-age=1")], 3600, "s-maxage"),
        ([DATE, cc(b"max-age=60"), expires(100)], 60, "max-age"),
        ([DATE, cc(b"max-age=3600"), expires(-10000)], 3600, "max-age"),
        ([DATE, cc(b"max-age=3600"), (b"Expires", b"0")], 3600, "max-age"),
        ([DATE, cc(b"max-age=0"), expires(10000)], 0, "max-age"),
        ([DATE, cc(b"max-age=99999999999")], MAX_SECONDS, "max-age"),
        ([DATE, cc(b"s-maxage=x, max-age=60")], 0, "s-maxage"),
        ([DATE, expires(30)], 30, "expires"),
        ([DATE, expires(0)], 0, "expires"),
        ([DATE, expires(-30)], 0, "expires"),
        ([(b"Date", date(400)), expires(300)], 0, "expires"),
        ([(b"Date", b"foo"), expires(10)], 10, "expires"),
        ([expires(10)], 10, "expires"),
        ([DATE, DATE, expires(10)], 10, "expires"),  # two Dates are none: the receipt counts
        ([DATE, (b"Expires", b"0")], 0, "expires"),
        ([DATE, (b"Expires", b"-1")], 0, "expires"),
        ([DATE, (b"Expires", b"Thu, 18 Aug 2050 02:01:18 UTC")], 0, "expires"),
        ([DATE, expires(10), expires(10)], 0, "expires"),  # paragraph 3: two lines
        ([DATE, (b"Expires", b"Fri, 31 Dec 9999 23:59:59 GMT")], MAX_SECONDS, "expires"),
        ([DATE, modified(-1000)], 100, "heuristic"),
        ([DATE, modified(-86400 * 3650)], 86400, "heuristic"),
        ([DATE, modified(1000)], 0, "heuristic"),
        ([DATE, (b"Last-Modified", b"yesterday")], 0, "none"),
        ([DATE], 0, "none"),
        ([DATE, (CDN, b"max-age=9"), cc(b"max-age=60"), expires(100)], 9, "max-age"),
        ([DATE, (CDN, b"max-age=3600"), (b"Expires", b"0")], 3600, "max-age"),
        ([DATE, (CDN, b"foo"), expires(100)], 0, "none"),  # RFC 9213 §2.2: Expires is ignored
    ],
)
def test_paragraph_1_lifetime(
    pairs: list[tuple[bytes, bytes]], seconds: float, source: str
) -> None:
    found = life(*pairs)
    assert (found.seconds, found.source) == (seconds, source)


@pytest.mark.parametrize("status", [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501])
def test_paragraph_5_silence_may_be_read_as_freshness(status: int) -> None:
    assert life(DATE, modified(-1000), status=status).seconds == 100


@pytest.mark.parametrize("status", [201, 202, 302, 303, 307, 403, 500, 502, 503, 504, 299, 599])
def test_paragraph_5_but_not_for_these_unless_public(status: int) -> None:
    assert life(DATE, modified(-1000), status=status) == Lifetime(seconds=0.0, source="none")
    assert life(DATE, modified(-1000), cc(b"public"), status=status).seconds == 100


@pytest.mark.parametrize("status", [299, 302, 400, 403, 499, 500, 503, 599])
def test_paragraph_5_explicit_freshness_is_for_any_status(status: int) -> None:
    assert life(DATE, cc(b"max-age=60"), status=status).seconds == 60


def test_a_routes_duration_is_a_default_and_a_cap() -> None:
    assert life(DATE, default=300.0, cap=300.0) == Lifetime(seconds=300.0, source="route")
    assert life(DATE, modified(-1000), default=300.0, cap=300.0).source == "route"
    assert life(DATE, cc(b"max-age=60"), default=300.0, cap=300.0).seconds == 60
    assert life(DATE, cc(b"max-age=9000"), default=300.0, cap=300.0).seconds == 300
    assert life(DATE, (b"Expires", b"0"), default=300.0, cap=300.0).seconds == 0
    assert life(DATE, status=302, default=300.0, cap=300.0).seconds == 0


AGE = b"Age"


@pytest.mark.parametrize(
    ("pairs", "age"),
    [
        ([DATE], 1),  # a second of delay, here and below
        ([DATE, (AGE, b"30")], 31),
        ([(b"Date", date(-50))], 50),
        ([(b"Date", date(-50)), (AGE, b"30")], 50),
        ([(b"Date", date(50)), (AGE, b"15")], 16),
        ([(b"Date", date(50))], 1),
        ([(b"Date", b"foo"), (AGE, b"5")], 6),
        ([(AGE, b"007")], 8),
        ([(AGE, b"7200,0")], 7201),
        ([(AGE, b"0, 7200")], 1),
        ([(AGE, b"7200"), (AGE, b"0")], 7201),
        ([(AGE, b"0"), (AGE, b"7200")], 1),
        ([(AGE, b"abc")], 1),
        ([(AGE, b"-7200")], 1),
        ([(AGE, b"7200.0")], 1),
        ([(AGE, b"")], 1),
        ([(AGE, b"\xb2")], 1),
        ([(AGE, b"99999999999")], MAX_SECONDS + 1),
        ([(AGE, b"9" * 5000)], MAX_SECONDS + 1),
    ],
)
def test_paragraph_2_initial_age(pairs: list[tuple[bytes, bytes]], age: float) -> None:
    assert initial_age(fields(*pairs), requested=NOW - 1, received=NOW) == age


def test_paragraph_2_a_clock_set_back_meanwhile_adds_no_age() -> None:
    assert initial_age(fields(DATE), requested=NOW + 500, received=NOW) == 0


def test_paragraph_2_fractions_of_a_second_are_no_age() -> None:
    assert initial_age(fields(DATE), requested=NOW + 0.9, received=NOW + 0.9) == 0


@pytest.mark.parametrize(
    ("value", "route", "while_revalidate", "if_error", "never"),
    [
        (b"max-age=1", {}, 0, 0, False),
        (b"max-age=1, stale-while-revalidate=5", {}, 5, 0, False),
        (b"max-age=1, stale-if-error=7", {}, 0, 7, False),
        (b"max-age=1", {"grace": 9.0}, 9, 9, False),
        (b"max-age=1", {"grace": 9.0, "stale_if_error": 60.0}, 9, 60, False),
        (b"max-age=1, stale-while-revalidate=0", {"grace": 9.0}, 0, 9, False),
        (b"max-age=1, stale-while-revalidate=x", {"grace": 9.0}, 0, 9, False),
        (b"must-revalidate, stale-if-error=7", {"grace": 9.0}, 0, 0, True),
        (b"proxy-revalidate, stale-if-error=7", {"grace": 9.0}, 0, 0, True),
        (b"no-cache, stale-if-error=7", {"grace": 9.0}, 0, 0, True),
        (b"s-maxage=1, stale-while-revalidate=7", {"grace": 9.0}, 0, 0, True),
        (b"s-maxage=1", {"grace": 9.0, "ignore": frozenset({"must-revalidate"})}, 9, 9, False),
        (b"must-revalidate", {"grace": 9.0, "ignore": frozenset({"must-revalidate"})}, 9, 9, False),
        (
            b"no-cache, s-maxage=1",
            {"grace": 9.0, "ignore": frozenset({"must-revalidate"})},
            0,
            0,
            True,
        ),
    ],
)
def test_paragraph_13_stale_windows(
    value: bytes, route: dict[str, float], while_revalidate: float, if_error: float, never: bool
) -> None:
    found = windows(of_response(fields(cc(value))), replace(ORIGIN, **route))
    assert (found.while_revalidate, found.if_error, found.never) == (
        while_revalidate,
        if_error,
        never,
    )


def test_stays_of_the_ladder() -> None:
    assert [stay(LADDER, tier) for tier in ("edge", "shared", "archive")] == [10, 300, 2592000]
    assert bound(LADDER) == 2592000
    assert stay(ORIGIN, "edge") is None
    assert bound(ORIGIN) is None
    assert stay(CachePolicy(), "edge") == 0
    assert bound(CachePolicy()) == 0
    assert stay(CachePolicy(mode="tiers", edge=10.0), "shared") == 0


@pytest.mark.parametrize("status", [404, 410, 503])
def test_errors_stay_shortly_and_never_in_the_archive(status: int) -> None:
    found = [stay(LADDER, tier, status) for tier in ("edge", "shared", "archive")]
    assert found == [10, 10, 0]
    assert bound(LADDER, status) == 10
    assert bound(CachePolicy(mode="tiers", archive=5.0), status) == 0


def test_a_stay_ends_with_the_freshness_at_the_latest() -> None:
    assert usable_until(100.0, entered=50.0, stay=10.0) == 60
    assert usable_until(100.0, entered=95.0, stay=10.0) == 100
    assert usable_until(100.0, entered=50.0, stay=None) == 100
