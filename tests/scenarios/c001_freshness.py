# SPDX-License-Identifier: Apache-2.0
"""Freshness (cache-behaviours 1): who says how long a response lives, and what if it is garbled.

RFC 9111 §4.2.1, §4.2.2, §5.2, §5.3.
"""

from __future__ import annotations

import pytest
from scenarios.story import EXPIRED, At, Given, Story, control, hit, origin

MINUTE = 60
DATE = ("Date", At(0))


def fresh(id: str, given: Given, **more) -> Story:
    """Tell that *given* is stored and reused."""
    return Story(id, origin(given, stored=True), hit(), hit(), **more)


def unused(id: str, given: Given, **more) -> Story:
    """Tell that *given* is not reused, with no validator to ask with."""
    return Story(id, origin(given), origin(), **more)


def short(id: str, given: Given, **more) -> Story:
    """Tell that *given* lives for one second, whatever larger numbers it holds."""
    return Story(id, origin(given), hit(wait=EXPIRED), origin(), **more)


PRECEDENCE = [
    fresh("max-age", control("max-age=60"), rfc="9111 5.2.2.1"),
    fresh("s-maxage", control("s-maxage=60"), rfc="9111 5.2.2.10"),
    fresh("expires", Given(fields=[DATE, ("Expires", At(60))]), rfc="9111 5.3"),
    fresh("expires-without-date", Given(fields=[("Expires", At(60))]), rfc="9111 5.3"),
    fresh("s-maxage-over-max-age-0", control("max-age=0, s-maxage=60"), rfc="9111 4.2.1"),
    fresh("s-maxage-over-max-age-0-reversed", control("s-maxage=60, max-age=0"), rfc="9111 4.2.1"),
    unused("s-maxage-0-over-max-age", control("s-maxage=0, max-age=60"), rfc="9111 4.2.1"),
    unused("s-maxage-0-over-max-age-reversed", control("max-age=60, s-maxage=0"), rfc="9111 4.2.1"),
    short("s-maxage-short-over-max-age", control("max-age=3600, s-maxage=1"), rfc="9111 4.2.1"),
    short(
        "s-maxage-on-a-line-of-its-own",
        Given(fields=[("Cache-Control", "max-age=3600"), ("Cache-Control", "s-maxage=1")]),
        rfc="9111 4.2.1",
    ),
    fresh(
        "s-maxage-over-expires-past",
        control("s-maxage=60", DATE, ("Expires", At(-60))),
        rfc="9111 5.3",
    ),
    fresh("max-age-over-expires-past", control("max-age=60", DATE, ("Expires", At(-10000)))),
    fresh("max-age-over-expires-0", control("max-age=60", DATE, ("Expires", "0"))),
    fresh("max-age-over-expires-text", control("max-age=60", ("Expires", "never"))),
    fresh("max-age-over-expires-empty", control("max-age=60", ("Expires", ""))),
    fresh(
        "max-age-over-two-expires",
        control("max-age=60", ("Expires", At(-9)), ("Expires", At(-10))),
    ),
    unused("max-age-0-over-expires", control("max-age=0", DATE, ("Expires", At(10000)))),
    unused("expires-past", Given(fields=[DATE, ("Expires", At(-30 * 86400))]), rfc="9111 5.3"),
    unused("expires-present", Given(fields=[DATE, ("Expires", At(0))]), rfc="9111 5.3"),
    unused("expires-0", Given(fields=[DATE, ("Expires", "0")]), rfc="9111 5.3"),
    unused("expires-minus-1", Given(fields=[DATE, ("Expires", "-1")]), rfc="9111 5.3"),
    unused("expires-empty", Given(fields=[DATE, ("Expires", "")]), rfc="9111 5.3"),
    # Relative to Date, not to the clock here.
    unused(
        "expires-before-a-fast-date",
        Given(fields=[("Date", At(400)), ("Expires", At(300))]),
        rfc="9111 4.2.1",
    ),
    Story(
        "expires-after-a-slow-date",
        origin(Given(fields=[("Date", At(-3600)), ("Expires", At(3600))])),
        hit(age=3600, ttl=3600),
        rfc="9111 4.2.1",
    ),
    unused(
        "expires-between-a-slow-date-and-now",
        Given(fields=[("Date", At(-30)), ("Expires", At(-10))]),
        rfc="9111 4.2.3",
    ),
    short("expires-in-a-second", Given(fields=[DATE, ("Expires", At(1))]), rfc="9111 5.3"),
    fresh(
        "heuristic",
        Given(fields=[DATE, ("Last-Modified", At(-86400))]),
        rfc="9111 4.2.2",
    ),
    Story(
        "heuristic-is-a-tenth",
        origin(Given(fields=[DATE, ("Last-Modified", At(-600))])),
        hit(ttl=60),
        rfc="9111 4.2.2",
    ),
    Story(
        "expires-past-over-heuristic",
        origin(Given(fields=[DATE, ("Expires", At(-5)), ("Last-Modified", At(-86400))])),
        # What is stale is stored for its validator, and asked about.
        origin(sent={"If-Modified-Since": At(-86400)}),
        rfc="9111 4.2.2",
    ),
    Story(
        "heuristic-is-bounded",
        origin(Given(fields=[DATE, ("Last-Modified", At(-50 * 365 * 86400))])),
        hit(ttl=30 * 86400),
        rfc="9111 4.2.2",
    ),
    Story(
        "heuristic-not-of-the-future",
        origin(Given(fields=[DATE, ("Last-Modified", At(3600))])),
        origin(),
        rfc="9111 4.2.2",
    ),
]

NUMBERS = [
    unused("max-age-0", control("max-age=0")),
    fresh("max-age-2-31-minus-1", control("max-age=2147483647"), rfc="9111 1.2.2"),
    fresh("max-age-2-31", control("max-age=2147483648"), rfc="9111 1.2.2"),
    fresh("max-age-2-31-plus-1", control("max-age=2147483649"), rfc="9111 1.2.2"),
    fresh("max-age-2-32", control("max-age=4294967296"), rfc="9111 1.2.2"),
    fresh("max-age-2-63", control("max-age=9223372036854775808"), rfc="9111 1.2.2"),
    fresh("max-age-99999999999", control("max-age=99999999999"), rfc="9111 1.2.2"),
    fresh("max-age-of-400-digits", control("max-age=" + "9" * 400), rfc="9111 1.2.2"),
    fresh("s-maxage-99999999999", control("s-maxage=99999999999"), rfc="9111 1.2.2"),
    fresh("max-age-leading-zeros", control("max-age=00003600"), rfc="9111 1.2.2"),
    fresh("max-age-leading-zeros-many", control("max-age=" + "0" * 300 + "60"), rfc="9111 1.2.2"),
    fresh("expires-9999", Given(fields=[DATE, ("Expires", "Fri, 31 Dec 9999 23:59:59 GMT")])),
    unused("expires-1970", Given(fields=[DATE, ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT")])),
    unused("expires-0001", Given(fields=[DATE, ("Expires", "Mon, 01 Jan 0001 00:00:00 GMT")])),
    unused("max-age-negative", control("max-age=-3600"), rfc="9111 4.2.1"),
    unused("max-age-plus", control("max-age=+3600"), rfc="9111 4.2.1"),
    unused("max-age-single-quoted", control("max-age='3600'"), rfc="9111 4.2.1"),
    unused("max-age-empty", control("max-age="), rfc="9111 4.2.1"),
    unused("max-age-bare", control("max-age"), rfc="9111 4.2.1"),
    unused("max-age-alpha-first", control("max-age=a3600"), rfc="9111 4.2.1"),
    unused("max-age-alpha-last", control("max-age=3600a"), rfc="9111 4.2.1"),
    unused("max-age-decimal", control("max-age=3600.0"), rfc="9111 4.2.1"),
    unused("max-age-exponent", control("max-age=1e4"), rfc="9111 4.2.1"),
    unused("max-age-hexadecimal", control("max-age=0x1000"), rfc="9111 4.2.1"),
    unused("max-age-underscore", control("max-age=3_600"), rfc="9111 4.2.1"),
    unused("max-age-space-before-equals", control("max-age =3600"), rfc="9111 4.2.1"),
    unused("max-age-space-after-equals", control("max-age= 3600"), rfc="9111 4.2.1"),
    unused("max-age-other-digits", control("max-age=\u0663\u0666\u0660\u0660"), rfc="9111 1.2.2"),
    unused("max-age-two-words", control("max-age=60 3600"), rfc="9111 4.2.1"),
]

SYNTAX = [
    fresh("max-age-quoted", control('max-age="3600"'), rfc="9111 5.2"),
    fresh("max-age-in-any-case", control("MaX-aGe=3600"), rfc="9111 5.2"),
    fresh("s-maxage-in-any-case", control("S-MAXAGE=3600"), rfc="9111 5.2"),
    fresh("extension-before", control("foobar, max-age=3600"), rfc="9111 5.2.3"),
    fresh("extension-with-value", control("foo=bar, max-age=3600"), rfc="9111 5.2.3"),
    fresh("extension-quoted", control('foo="bar, baz", max-age=3600'), rfc="9111 5.2.3"),
    fresh("empty-members", control(", ,max-age=3600,, "), rfc="9110 5.6.1"),
    fresh("tabs-between", control("public\t,\tmax-age=3600"), rfc="9110 5.6.1"),
    fresh("no-spaces", control("public,max-age=3600,foo"), rfc="9110 5.6.1"),
    fresh(
        "second-line",
        Given(fields=[("Cache-Control", "public"), ("Cache-Control", "max-age=60")]),
        rfc="9110 5.3",
    ),
    fresh(
        "empty-line-first",
        Given(fields=[("Cache-Control", ""), ("Cache-Control", "max-age=60")]),
        rfc="9110 5.3",
    ),
    fresh("field-name-in-any-case", Given(fields=[("CACHE-control", "max-age=60")])),
    unused("quoted-extension-holds-max-age", control('ext="max-age=3600"'), rfc="9111 5.2"),
    unused("quoted-extension-then-max-age-0", control('ext="max-age=3600", max-age=0')),
    unused("max-age-0-then-quoted-extension", control('max-age=0, ext="max-age=3600"')),
    unused("quoted-extension-then-quoted-max-age", control('ext="max-age=3600", max-age="0"')),
    fresh("quoted-extension-holds-no-store", control('ext="no-store", max-age=60')),
    fresh("quoted-extension-holds-private", control('ext="a, private, b", max-age=60')),
    fresh("quoted-extension-with-escapes", control(r'ext="a\", no-store, \"b", max-age=60')),
    unused("quoted-extension-ends", control('ext="a", no-store, max-age=60')),
    fresh("extension-named-like-max-age", control("x-max-age=0, max-age=60")),
    unused("extension-named-like-max-age-alone", control("x-max-age=60")),
    # §4.2.1: contradicting values may be taken for the first or for stale, not for the last.
    unused("max-age-twice-stale-first", control("max-age=0, max-age=3600"), rfc="9111 4.2.1"),
    unused(
        "max-age-twice-stale-first-in-two-lines",
        Given(fields=[("Cache-Control", "max-age=0"), ("Cache-Control", "max-age=3600")]),
        rfc="9111 4.2.1",
    ),
    fresh("max-age-twice-the-same", control("max-age=60, max-age=60"), rfc="9111 4.2.1"),
]

NOTHING = [
    unused("nothing-at-all", Given()),
    unused("date-alone", Given(fields=[DATE])),
    unused("no-freshness-reason", Given(fields=[DATE, ("Content-Type", "text/html")])),
    Story("no-freshness-named", origin(Given(), why="no-freshness", stored=False)),
    Story(
        "etag-alone-is-never-fresh",
        origin(Given(fields=[("ETag", '"v1"')])),
        origin(sent={"If-None-Match": '"v1"'}),
        rfc="9111 4.2.2",
    ),
    unused("public-alone", control("public"), rfc="9111 4.2.2"),
    unused("immutable-alone", control("immutable")),
    unused("pragma-alone", Given(fields=[("Pragma", "cache")])),
    fresh("pragma-no-cache-means-nothing", control("max-age=60", ("Pragma", "no-cache"))),
    fresh(
        "pragma-no-cache-and-heuristics",
        Given(fields=[DATE, ("Last-Modified", At(-86400)), ("Pragma", "no-cache")]),
        rfc="9111 5.4",
    ),
    fresh("pragma-unknown", control("max-age=60", ("Pragma", "whatever"))),
    fresh(
        "attachment", control("max-age=60", ("Content-Disposition", "attachment; filename=a.txt"))
    ),
]

DATES = [
    Story(
        f"date-{name}-means-receipt",
        origin(Given(fields=[("Date", value), ("Expires", At(60))])),
        hit(ttl=61),
        rfc="9111 4.2.3",
    )
    for name, value in {
        "word": "foo",
        "empty": "",
        "number": "0",
        "utc": "Thu, 18 Aug 2050 02:01:18 UTC",
        "far-past-dashes": "Thu, 18-Aug-1950 02:01:18 GMT",
    }.items()
] + [
    fresh("date-missing", control("max-age=60")),
    fresh("date-in-the-future", control("max-age=60", ("Date", At(3600))), rfc="9111 4.2.3"),
    unused("date-old", control("max-age=60", ("Date", At(-120))), rfc="9111 4.2.3"),
]

ENDS = [
    Story(
        "a-lifetime-ends",
        origin(control("max-age=1")),
        hit(wait=EXPIRED),
        origin(forward="stale"),
        hit(number=2),
        rfc="9111 4.2",
    ),
    Story(
        "a-part-of-a-lifetime-ends",
        origin(control("max-age=10", ("Age", "9"))),
        hit(wait=EXPIRED),
        origin(forward="stale"),
        rfc="9111 4.2.3",
    ),
    Story(
        "a-stale-answer-is-passed-on-whole",
        origin(control("max-age=0", ("ETag", '"a"')), has={"ETag": '"a"', "Cache-Control": None}),
        origin(control("max-age=60", ("ETag", '"b"')), has={"ETag": '"b"'}),
        hit(number=1, has={"ETag": '"b"', "Cache-Control": "max-age=60"}),
        rfc="9111 4.3.3",
    ),
]


@pytest.mark.parametrize("story", PRECEDENCE, ids=str)
def test_precedence(story, told):
    told(story)


@pytest.mark.parametrize("story", NUMBERS, ids=str)
def test_numbers(story, told):
    told(story)


@pytest.mark.parametrize("story", SYNTAX, ids=str)
def test_syntax(story, told):
    told(story)


@pytest.mark.parametrize("story", NOTHING, ids=str)
def test_without_freshness_nothing_is_stored(story, told):
    told(story)


@pytest.mark.parametrize("story", DATES, ids=str)
def test_a_bad_date_means_the_time_of_receipt(story, told):
    told(story)


@pytest.mark.parametrize("story", ENDS, ids=str)
def test_a_lifetime_ends(story, told):
    told(story)
