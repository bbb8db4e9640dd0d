# SPDX-License-Identifier: Apache-2.0
"""Dates (cache-behaviours 3): exactly the three forms, told by what Expires does.

RFC 9110 §5.6.7, RFC 9111 §4.2, §5.3.
"""

from __future__ import annotations

import pytest
from scenarios.story import At, Given, Story, hit, origin


def expires(value, *more) -> Given:
    return Given(fields=[("Date", At(0)), ("Expires", value), *more])


ACCEPTED = {
    "imf": At(3600),
    "rfc850": At(3600, "rfc850"),
    "asctime": At(3600, "asctime"),
    "imf-2050": "Thu, 18 Aug 2050 02:01:18 GMT",
    "asctime-2050": "Thu Aug 18 02:01:18 2050",
    "asctime-one-digit-day": "Mon Aug  8 02:01:18 2050",
    "weekday-upper-case": "THU, 18 Aug 2050 02:01:18 GMT",
    "weekday-lower-case": "thu, 18 Aug 2050 02:01:18 GMT",
    "month-upper-case": "Thu, 18 AUG 2050 02:01:18 GMT",
    "month-lower-case": "Thu, 18 aug 2050 02:01:18 GMT",
    "zone-in-any-case": "Thu, 18 Aug 2050 02:01:18 gMT",
    "wrong-weekday": "Mon, 18 Aug 2050 02:01:18 GMT",
    "leap-day": "Tue, 29 Feb 2048 02:01:18 GMT",
}
REFUSED = {
    "utc": "Thu, 18 Aug 2050 02:01:18 UTC",
    "aest": "Thu, 18 Aug 2050 02:01:18 AEST",
    "est": "Thu, 18 Aug 2050 02:01:18 EST",
    "z": "Thu, 18 Aug 2050 02:01:18 Z",
    "offset": "Thu, 18 Aug 2050 02:01:18 +0000",
    "gmt-offset": "Thu, 18 Aug 2050 02:01:18 GMT+1",
    "no-zone": "Thu, 18 Aug 2050 02:01:18",
    "two-digit-year": "Thu, 18 Aug 50 02:01:18 GMT",
    "three-digit-year": "Thu, 18 Aug 050 02:01:18 GMT",
    "five-digit-year": "Thu, 18 Aug 12050 02:01:18 GMT",
    "no-comma": "Thu 18 Aug 2050 02:01:18 GMT",
    "double-space-after-day": "Thu, 18  Aug 2050 02:01:18 GMT",
    "double-spaces": "Thu, 18  Aug  2050  02:01:18 GMT",
    "tabs": "Thu,\t18\tAug\t2050\t02:01:18\tGMT",
    "no-space-after-comma": "Thu,18 Aug 2050 02:01:18 GMT",
    "dashes": "Thu, 18-Aug-2050 02:01:18 GMT",
    "dots-in-time": "Thu, 18 Aug 2050 02.01.18 GMT",
    "one-digit-hour": "Thu, 18 Aug 2050 2:01:18 GMT",
    "one-digit-minute": "Thu, 18 Aug 2050 02:1:18 GMT",
    "one-digit-second": "Thu, 18 Aug 2050 02:01:8 GMT",
    "one-digit-day": "Thu, 8 Aug 2050 02:01:18 GMT",
    "no-seconds": "Thu, 18 Aug 2050 02:01 GMT",
    "no-weekday": "18 Aug 2050 02:01:18 GMT",
    "long-weekday": "Thursday, 18 Aug 2050 02:01:18 GMT",
    "long-month": "Thu, 18 August 2050 02:01:18 GMT",
    "month-number": "Thu, 18 08 2050 02:01:18 GMT",
    "unknown-month": "Thu, 18 Foo 2050 02:01:18 GMT",
    "unknown-weekday": "Xyz, 18 Aug 2050 02:01:18 GMT",
    "day-32": "Thu, 32 Aug 2050 02:01:18 GMT",
    "day-0": "Thu, 00 Aug 2050 02:01:18 GMT",
    "no-leap-day": "Mon, 29 Feb 2049 02:01:18 GMT",
    "hour-25": "Thu, 18 Aug 2050 25:01:18 GMT",
    "minute-60": "Thu, 18 Aug 2050 02:60:18 GMT",
    "second-61": "Thu, 18 Aug 2050 02:01:61 GMT",
    "iso-8601": "2050-08-18T02:01:18Z",
    "seconds-since-1970": "2544400878",
    "comment": "Thu, 18 Aug 2050 02:01:18 GMT (soon)",
    "quoted": '"Thu, 18 Aug 2050 02:01:18 GMT"',
    "junk-behind": "Thu, 18 Aug 2050 02:01:18 GMT x",
    "list": "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
    "other-digits": "Thu, 18 Aug \u0662\u0660\u0665\u0660 02:01:18 GMT",
    "asctime-with-zone": "Thu Aug 18 02:01:18 2050 GMT",
    "asctime-zero-padded-with-space": "Thu Aug 18  02:01:18 2050",
    "rfc850-four-digit-year": "Thursday, 18-Aug-2050 02:01:18 GMT",
    "rfc850-short-weekday": "Thu, 18-Aug-50 02:01:18 GMT",
}

STORIES = [
    *(
        Story(f"expires-{name}", origin(expires(value)), hit(), rfc="9110 5.6.7")
        for name, value in ACCEPTED.items()
    ),
    *(
        Story(f"expires-{name}", origin(expires(value)), origin(), rfc="9111 5.3")
        for name, value in REFUSED.items()
    ),
]

LINES = [
    Story(
        "two-lines-of-expires",
        origin(
            expires("Thu, 18 Aug 2050 02:01:18 GMT", ("Expires", "Fri, 19 Aug 2050 02:01:18 GMT"))
        ),
        origin(),
        rfc="9111 5.3",
    ),
    Story(
        "two-lines-of-the-same-expires",
        origin(
            expires("Thu, 18 Aug 2050 02:01:18 GMT", ("Expires", "Thu, 18 Aug 2050 02:01:18 GMT"))
        ),
        origin(),
        rfc="9111 5.3",
    ),
    Story(
        "rfc850-of-the-last-century",
        origin(expires("Sunday, 06-Nov-94 08:49:37 GMT")),
        origin(),
        rfc="9110 5.6.7",
    ),
    Story(
        "rfc850-over-50-years-ahead-is-past",
        origin(expires(At(60 * 365.25 * 86400, "rfc850"))),
        origin(),
        rfc="9110 5.6.7",
    ),
    Story(
        "rfc850-under-50-years-ahead-is-future",
        origin(expires(At(40 * 365.25 * 86400, "rfc850"))),
        hit(),
        rfc="9110 5.6.7",
    ),
    Story(
        "last-modified-in-a-wrong-form-guesses-nothing",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", "Thu, 18-Aug-1994 02:01:18 GMT")])),
        origin(),
        rfc="9111 4.2.2",
    ),
    Story(
        "last-modified-in-rfc850",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", At(-86400, "rfc850"))])),
        hit(),
        rfc="9111 4.2.2",
    ),
    Story(
        "last-modified-in-asctime",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", At(-86400, "asctime"))])),
        hit(),
        rfc="9111 4.2.2",
    ),
    Story(
        "a-date-in-rfc850-is-a-date",
        origin(Given(fields=[("Date", At(-7200, "rfc850")), ("Cache-Control", "max-age=3600")])),
        origin(),
        rfc="9111 4.2.3",
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_forms(story, told):
    told(story)


@pytest.mark.parametrize("story", LINES, ids=str)
def test_lines_and_centuries(story, told):
    told(story)
