# SPDX-License-Identifier: Apache-2.0
"""Targeted Cache-Control (cache-behaviours 14): CDN-Cache-Control and our own name's.

RFC 9213; RFC 9651 for its syntax.
"""

from __future__ import annotations

import pytest
from scenarios.story import EXPIRED, At, Given, Story, confirmed, control, hit, origin

NAMES = ["CDN-Cache-Control", "Strangler-Cache-Control"]
TAG = ("ETag", '"v1"')


def cdn(value: str, *more, name: str = "CDN-Cache-Control") -> Given:
    return Given(fields=[(name, value), *more])


def fresh(id: str, given: Given) -> Story:
    return Story(id, origin(given), hit(), rfc="9213 2.2")


def unused(id: str, given: Given) -> Story:
    return Story(id, origin(given), origin(), rfc="9213 2.2")


VALID = [
    story
    for name in NAMES
    for story in (
        fresh(f"{name}-max-age", cdn("max-age=60", name=name)),
        unused(f"{name}-max-age-0", cdn("max-age=0", name=name)),
        unused(
            f"{name}-max-age-0-over-cache-control",
            cdn("max-age=0", ("Cache-Control", "max-age=60"), name=name),
        ),
        fresh(
            f"{name}-over-a-short-cache-control",
            cdn("max-age=60", ("Cache-Control", "max-age=0"), name=name),
        ),
        fresh(f"{name}-over-no-store", cdn("max-age=60", ("Cache-Control", "no-store"), name=name)),
        fresh(f"{name}-over-private", cdn("max-age=60", ("Cache-Control", "private"), name=name)),
        unused(f"{name}-no-store", cdn("no-store", ("Cache-Control", "max-age=60"), name=name)),
        unused(f"{name}-private", cdn("private", ("Cache-Control", "max-age=60"), name=name)),
        Story(
            f"{name}-no-cache",
            origin(cdn("no-cache", ("Cache-Control", "max-age=60"), TAG, name=name)),
            confirmed(),
            rfc="9213 2.2",
        ),
        fresh(
            f"{name}-over-a-past-expires",
            cdn("max-age=60", ("Date", At(0)), ("Expires", At(-10000)), name=name),
        ),
        unused(
            f"{name}-without-age-over-expires",
            cdn("foo", ("Date", At(0)), ("Expires", At(10000)), name=name),
        ),
    )
]
MORE = [
    fresh("cdn-max-age-2-31", cdn("max-age=2147483648")),
    fresh("cdn-max-age-99999999999", cdn("max-age=99999999999")),
    unused("cdn-max-age-and-age", cdn("max-age=3600", ("Date", At(0)), ("Age", "7200"))),
    fresh("cdn-extension", cdn("foobar, max-age=60")),
    fresh("cdn-extension-of-any-type", cdn('foo=?1, bar="x", baz=1.5, max-age=60')),
    fresh("cdn-parameters-are-ignored", cdn("max-age=60;foo=bar")),
    fresh(
        "cdn-two-lines",
        Given(fields=[("CDN-Cache-Control", "foo"), ("CDN-Cache-Control", "max-age=60")]),
    ),
    fresh("cdn-the-last-of-two-counts", cdn("max-age=0, max-age=60")),
    unused("cdn-the-last-of-two-counts-stale", cdn("max-age=60, max-age=0")),
    fresh("cdn-invalid-expires-is-ignored", cdn("max-age=60", ("Expires", "0"))),
    unused("cdn-max-age-0-and-expires", cdn("max-age=0", ("Date", At(0)), ("Expires", At(10000)))),
    unused("cdn-negative-number", cdn("max-age=-60")),
    fresh("cdn-s-maxage", cdn("s-maxage=60")),
    fresh("cdn-s-maxage-over-max-age", cdn("max-age=0, s-maxage=60")),
    Story(
        "cdn-must-revalidate",
        origin(cdn("max-age=1, must-revalidate", TAG)),
        hit(wait=EXPIRED),
        confirmed(),
        rfc="9213 2.2",
    ),
    Story(
        "cdn-ends",
        origin(cdn("max-age=1", ("Cache-Control", "max-age=3600"))),
        hit(wait=EXPIRED),
        origin(),
        rfc="9213 2.2",
    ),
    Story(
        "cdn-is-passed-on",
        origin(control("max-age=60", ("CDN-Cache-Control", "max-age=5"))),
        hit(has={"CDN-Cache-Control": "max-age=5", "Cache-Control": "max-age=60"}),
        rfc="9213 2.2",
    ),
    Story(
        "our-own-name-wins",
        origin(
            Given(
                fields=[
                    ("Strangler-Cache-Control", "max-age=60"),
                    ("CDN-Cache-Control", "no-store"),
                    ("Cache-Control", "no-store"),
                ]
            )
        ),
        hit(),
        rfc="9213 2.2",
    ),
    Story(
        "our-own-name-wins-against",
        origin(
            Given(
                fields=[
                    ("Strangler-Cache-Control", "no-store"),
                    ("CDN-Cache-Control", "max-age=60"),
                    ("Cache-Control", "max-age=60"),
                ]
            )
        ),
        origin(),
        rfc="9213 2.2",
    ),
    Story(
        "our-own-name-invalid-falls-to-the-next",
        origin(
            Given(
                fields=[
                    ("Strangler-Cache-Control", "&&&"),
                    ("CDN-Cache-Control", "max-age=60"),
                    ("Cache-Control", "no-store"),
                ]
            )
        ),
        hit(),
        rfc="9213 2.2",
    ),
    fresh(
        "another-caches-field-is-not-ours",
        control("max-age=60", ("Example-Cache-Control", "no-store")),
    ),
    fresh(
        "surrogate-control-is-not-ours", control("max-age=60", ("Surrogate-Control", "no-store"))
    ),
    Story(
        "cdn-stale-if-error",
        origin(cdn("max-age=0, stale-if-error=60", TAG)),
        confirmed(cdn("max-age=60", TAG)),
        hit(number=0),
        rfc="9213 2.2",
    ),
]

#: Each of these is no dictionary, or has a directive of a wrong type: the field is not there.
INVALID = {
    "ampersands": "max-age=60, &&&&&",
    "quoted-number": 'max-age="60"',
    "decimal-number": "max-age=60.5",
    "token-number": "max-age=sixty",
    "boolean-number": "max-age",
    "space-before-equals": "max-age =60",
    "space-after-equals": "max-age= 60",
    "upper-case-name": "MaX-aGe=60",
    "trailing-comma": "max-age=60,",
    "leading-comma": ",max-age=60",
    "number-too-long": "max-age=9999999999999999",
    "inner-list": "max-age=(60)",
    "no-cache-of-a-number": "max-age=60, no-cache=1",
    "unclosed-string": 'max-age=60, foo="bar',
    "tab-and-words": "max-age=60 foo",
    "obs-text": "max-age=60, f\u00fc=1",
    "empty": "",
}
FALLEN_BACK = [
    story
    for name, value in INVALID.items()
    for story in (
        unused(f"cdn-{name}-then-no-store", cdn(value, ("Cache-Control", "no-store"))),
        fresh(f"cdn-{name}-then-max-age", cdn(value, ("Cache-Control", "max-age=60"))),
    )
]


@pytest.mark.parametrize("story", VALID, ids=str)
def test_it_replaces_cache_control_and_expires(story, told):
    told(story)


@pytest.mark.parametrize("story", MORE, ids=str)
def test_what_it_means(story, told):
    told(story)


@pytest.mark.parametrize("story", FALLEN_BACK, ids=str)
def test_what_is_invalid_is_not_there(story, told):
    told(story)
