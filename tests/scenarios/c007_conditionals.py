# SPDX-License-Identifier: Apache-2.0
"""Conditional requests (cache-behaviours 7): the reader's, and those made for the origin.

RFC 9110 §13, RFC 9111 §4.3.1, §4.3.2.
"""

from __future__ import annotations

import pytest
from scenarios.story import EXPIRED, Ask, At, Given, Story, confirmed, control, hit, origin

TAG = ("ETag", '"abcdef"')
WEAK = ("ETag", 'W/"abcdef"')
MODIFIED = ("Last-Modified", At(-3000))


def none_match(*values: str) -> list[tuple[str, str]]:
    return [("If-None-Match", value) for value in values]


def not_changed(id: str, etag: str, *values: str, **more) -> Story:
    """Tell that If-None-Match with *values* is answered by 304 from a copy with *etag*."""
    return Story(
        id,
        origin(control("max-age=60", ("ETag", etag), ("X-Other", "1"))),
        hit(fields=none_match(*values), status=304, has={"ETag": etag}, lacks=("Content-Type",)),
        hit(number=0),
        **more,
    )


def changed(id: str, etag: str, *values: str, **more) -> Story:
    """Tell that If-None-Match with *values* gets the whole copy with *etag*."""
    return Story(
        id,
        origin(control("max-age=60", ("ETag", etag))),
        hit(fields=none_match(*values), status=200, has={"ETag": etag}),
        **more,
    )


BY_TAG = [
    not_changed("inm-strong", '"abcdef"', '"abcdef"', rfc="9110 13.1.2"),
    not_changed("inm-weak", 'W/"abcdef"', 'W/"abcdef"'),
    not_changed("inm-weak-asks-strong", '"abcdef"', 'W/"abcdef"', rfc="9110 8.8.3.2"),
    not_changed("inm-strong-asks-weak", 'W/"abcdef"', '"abcdef"', rfc="9110 8.8.3.2"),
    not_changed("inm-first-of-three", '"abcdef"', '"abcdef", "1234", "5678"'),
    not_changed("inm-second-of-three", '"abcdef"', '"1234", "abcdef", "5678"'),
    not_changed("inm-last-of-three", '"abcdef"', '"1234", "5678", "abcdef"'),
    not_changed("inm-without-spaces", '"abcdef"', '"1234","5678",W/"abcdef"'),
    not_changed("inm-on-a-second-line", '"abcdef"', '"1234"', '"abcdef"', rfc="9110 5.3"),
    not_changed("inm-star", '"abcdef"', "*"),
    not_changed("inm-tag-with-comma", '"a,b"', '"x", "a,b"', rfc="9110 8.8.3"),
    not_changed("inm-tag-with-backslash", '"a\\"', '"a\\"', rfc="9110 8.8.3"),
    not_changed("inm-empty-tag", '""', '""', rfc="9110 8.8.3"),
    not_changed("inm-obs-text", '"abcdef\u00fc"', '"abcdef\u00fc"', rfc="9110 8.8.3"),
    changed("inm-another", '"abcdef"', '"123456"'),
    changed("inm-case-matters", '"abcdef"', '"ABCDEF"'),
    changed("inm-prefix", '"abcdef"', '"abcde"'),
    changed("inm-part-of-a-tag-with-comma", '"a,b"', '"a", "b"'),
    changed("inm-empty-list", '"abcdef"', ""),
    Story(
        "inm-without-stored-tag",
        origin(control("max-age=60")),
        hit(fields=none_match('"abcdef"'), status=200),
        rfc="9110 13.1.2",
    ),
    Story(
        "inm-star-without-stored-tag",
        origin(control("max-age=60")),
        hit(fields=none_match("*"), status=304),
        rfc="9110 13.1.2",
    ),
    Story(
        "inm-of-head",
        origin(control("max-age=60", TAG)),
        hit(method="HEAD", fields=none_match('"abcdef"'), status=304),
        rfc="9110 13.1.2",
    ),
    Story(
        "inm-of-an-error-is-ignored",
        origin(Given(status=404, fields=[("Cache-Control", "max-age=60"), TAG])),
        hit(fields=none_match('"abcdef"'), status=404),
        rfc="9110 13.2.1",
    ),
]


def since(value) -> list:
    return [("If-Modified-Since", value)]


BY_DATE = [
    Story(
        "ims-same",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since(At(-3000)), status=304),
    ),
    Story(
        "ims-later",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since(At(-2000)), status=304),
    ),
    Story(
        "ims-earlier",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since(At(-4000)), status=200),
    ),
    Story(
        "ims-rfc850",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since(At(-3000, "rfc850")), status=304),
    ),
    Story(
        "ims-asctime",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since(At(-3000, "asctime")), status=304),
    ),
    Story(
        "ims-malformed",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since("yesterday"), status=200),
    ),
    Story(
        "ims-two-digit-year",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since("Thu, 18 Aug 50 02:01:18 GMT"), status=200),
    ),
    Story(
        "ims-twice",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=[*since(At(-4000)), *since(At(-2000))], status=200),
    ),
    Story(
        "ims-without-last-modified-newer",
        origin(control("max-age=60", ("Date", At(0)))),
        hit(fields=since(At(-3000)), status=200),
        rfc="9111 4.3.2",
    ),
    Story(
        "ims-without-last-modified-older",
        origin(control("max-age=3600", ("Date", At(-60)))),
        hit(fields=since(At(-30)), status=304),
        rfc="9111 4.3.2",
    ),
    Story(
        "ims-with-a-last-modified-in-rfc850",
        origin(control("max-age=60", ("Last-Modified", At(-3000, "rfc850")))),
        hit(fields=since(At(-2000)), status=304),
    ),
    Story(
        "ims-304-keeps-last-modified",
        origin(control("max-age=60", MODIFIED)),
        hit(fields=since(At(-3000)), status=304, has={"Last-Modified": At(-3000)}),
        rfc="9110 15.4.5",
    ),
    Story(
        "ims-of-head",
        origin(control("max-age=60", MODIFIED)),
        hit(method="HEAD", fields=since(At(-3000)), status=304),
    ),
]

BOTH = [
    Story(
        "inm-wins-when-it-matches",
        origin(control("max-age=60", TAG, ("Last-Modified", At(-5000)))),
        hit(fields=[*none_match('"abcdef"'), *since(At(-9000))], status=304),
        rfc="9110 13.1.3",
    ),
    Story(
        "inm-wins-when-it-does-not",
        origin(control("max-age=60", TAG, ("Last-Modified", At(-5000)))),
        hit(fields=[*none_match('"other"'), *since(At(-1))], status=200),
        rfc="9110 13.1.3",
    ),
    Story(
        "inm-wins-without-a-stored-tag",
        origin(control("max-age=60", ("Last-Modified", At(-5000)))),
        hit(fields=[*none_match('"other"'), *since(At(-1))], status=200),
        rfc="9110 13.1.3",
    ),
    Story(
        "a-304-has-what-it-must",
        origin(
            control(
                "max-age=60",
                TAG,
                MODIFIED,
                ("Date", At(-1)),
                ("Vary", "Foo"),
                ("Content-Location", "/x"),
                ("Expires", At(60)),
            )
        ),
        hit(
            fields=none_match('"abcdef"'),
            status=304,
            has={
                "ETag": '"abcdef"',
                "Cache-Control": "max-age=60",
                "Date": None,
                "Vary": "Foo",
                "Content-Location": "/x",
                "Expires": None,
            },
        ),
        rfc="9110 15.4.5",
    ),
    Story(
        "if-match-is-the-origins",
        origin(control("max-age=60", TAG)),
        origin(fields=[("If-Match", '"abcdef"')], sent={"If-Match": '"abcdef"'}),
        hit(number=0),
        rfc="9111 4.3.2",
    ),
    Story(
        "if-unmodified-since-is-the-origins",
        origin(control("max-age=60", MODIFIED)),
        origin(fields=[("If-Unmodified-Since", At(-3000))], sent={"If-Unmodified-Since": None}),
        rfc="9111 4.3.2",
    ),
]

ASKING = [
    Story(
        "asks-by-strong-tag",
        origin(control("max-age=0", TAG)),
        confirmed(sent={"If-None-Match": '"abcdef"'}),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-by-weak-tag",
        origin(control("max-age=0", WEAK)),
        confirmed(sent={"If-None-Match": 'W/"abcdef"'}),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-by-tag-once-expired",
        origin(control("max-age=1", TAG)),
        hit(wait=EXPIRED),
        confirmed(control("max-age=60", TAG), sent={"If-None-Match": '"abcdef"'}),
        hit(number=0),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-by-date",
        origin(control("max-age=0", MODIFIED)),
        confirmed(sent={"If-Modified-Since": At(-3000)}, unsent=("If-None-Match",)),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-by-date-once-expired",
        origin(control("max-age=1", MODIFIED)),
        hit(wait=EXPIRED),
        confirmed(control("max-age=60", MODIFIED), sent={"If-Modified-Since": At(-3000)}),
        hit(number=0),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-by-both",
        origin(control("max-age=0", TAG, MODIFIED)),
        confirmed(sent={"If-None-Match": '"abcdef"', "If-Modified-Since": At(-3000)}),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-without-validator-plainly",
        origin(control("max-age=1")),
        hit(wait=EXPIRED),
        origin(unsent=("If-None-Match", "If-Modified-Since")),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-with-what-vary-selects",
        origin(control("max-age=0", TAG, ("Vary", "Abc")), fields=[("Abc", "123")]),
        confirmed(fields=[("Abc", "123")], sent={"Abc": "123", "If-None-Match": '"abcdef"'}),
        rfc="9111 4.3.1",
    ),
    Story(
        "asks-another-variant-with-no-foreign-date",
        origin(control("max-age=60", MODIFIED, ("Vary", "Abc")), fields=[("Abc", "123")]),
        origin(fields=[("Abc", "456")], unsent=("If-Modified-Since",)),
        rfc="9111 4.3.1",
    ),
    Story(
        "a-readers-condition-is-judged-after-the-origins",
        origin(control("max-age=0", TAG)),
        confirmed(fields=none_match('"abcdef"'), status=304, sent={"If-None-Match": '"abcdef"'}),
        rfc="9111 4.3.2",
    ),
    Story(
        "a-readers-old-tag-gets-the-whole-after-a-304",
        origin(control("max-age=0", TAG)),
        confirmed(fields=none_match('"older"'), status=200, sent={"If-None-Match": None}),
        rfc="9111 4.3.2",
    ),
    Story(
        "a-readers-date-gets-304-after-the-origins",
        origin(control("max-age=0", MODIFIED)),
        confirmed(fields=since(At(-3000)), status=304),
        rfc="9111 4.3.2",
    ),
    Story(
        "a-readers-tag-of-the-new-one",
        origin(control("max-age=0", TAG)),
        # The origin has something new, which is what the reader has already: 304 or all of it.
        Ask(
            expect="any",
            given=control("max-age=60", ("ETag", '"new"')),
            fields=none_match('"new"'),
            sent={"If-None-Match": '"abcdef"'},
        ),
        hit(number=1),
        rfc="9111 4.3.3",
    ),
    Story(
        "a-condition-on-nothing-stored-is-passed-on-or-dropped",
        origin(control("max-age=60", TAG), fields=none_match('"abcdef0"')),
        hit(number=0),
        rfc="9111 4.3.2",
    ),
    Story(
        "a-new-answer-replaces-the-stale",
        origin(control("max-age=0", TAG)),
        origin(control("max-age=60", ("ETag", '"new"'))),
        hit(number=1, has={"ETag": '"new"'}),
        hit(number=1, fields=none_match('"new"'), status=304),
        hit(number=1, fields=none_match('"abcdef"'), status=200),
        rfc="9111 4.3.3",
    ),
]


@pytest.mark.parametrize("story", BY_TAG, ids=str)
def test_if_none_match(story, told):
    told(story)


@pytest.mark.parametrize("story", BY_DATE, ids=str)
def test_if_modified_since(story, told):
    told(story)


@pytest.mark.parametrize("story", BOTH, ids=str)
def test_several_conditions(story, told):
    told(story)


@pytest.mark.parametrize("story", ASKING, ids=str)
def test_asking_the_origin(story, told):
    told(story)
