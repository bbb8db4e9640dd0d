# SPDX-License-Identifier: Apache-2.0
"""Paragraph 3: a strict reader of HTTP dates."""

import pytest

from strangler.cache import dates

NOW = 1762250400.0  # 2025-11-04
WHEN = 2544400878  # Thu, 18 Aug 2050 02:01:18 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"Thu, 18 Aug 2050 02:01:18 GMT", WHEN),
        (b"THU, 18 Aug 2050 02:01:18 GMT", WHEN),
        (b"Thu, 18 AUG 2050 02:01:18 GMT", WHEN),
        (b"thu, 18 aug 2050 02:01:18 gMT", WHEN),
        (b"Thursday, 18-Aug-50 02:01:18 GMT", WHEN),
        (b"THURSDAY, 18-AUG-50 02:01:18 gmt", WHEN),
        (b"Thu Aug 18 02:01:18 2050", WHEN),
        (b"Sun Nov  6 08:49:37 1994", 784111777),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", 784111777),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"Mon, 01 Jan 1900 00:00:00 GMT", -2208988800),
        (b"Wed, 31 Dec 2008 23:59:60 GMT", 1230768000),  # a leap second
        (b"Mon, 29 Feb 2016 00:00:00 GMT", 1456704000),
        (b"Fri, 18 Aug 2050 02:01:18 GMT", WHEN),  # the wrong weekday: nobody counts those
    ],
)
def test_paragraph_3_reads_the_three_forms_in_any_case(value: bytes, seconds: int) -> None:
    assert dates.parse(value, now=NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"Thu, 18 Aug 2050 02:01:18 UTC",
        b"Thu, 18 Aug 2050 02:01:18 AEST",
        b"Thu, 18 Aug 2050 02:01:18 +0000",
        b"Thu, 18 Aug 2050 02:01:18",
        b"Thu, 18 Aug 50 02:01:18 GMT",
        b"Thu 18 Aug 2050 02:01:18 GMT",
        b"Thu, 18  Aug  2050 02:01:18 GMT",
        b"Thu,  18 Aug 2050 02:01:18 GMT",
        b"Thu, 18-Aug-2050 02:01:18 GMT",
        b"Thu, 18 Aug 2050 02.01.18 GMT",
        b"Thu, 18 Aug 2050 2:01:18 GMT",
        b"Thu, 8 Aug 2050 02:01:18 GMT",
        b"Thursday, 18 Aug 2050 02:01:18 GMT",
        b"Thu, 18-Aug-50 02:01:18 GMT",
        b"Thu, 18 Aug 2050 24:01:18 GMT",
        b"Thu, 18 Aug 2050 02:60:18 GMT",
        b"Thu, 18 Aug 2050 02:01:61 GMT",
        b"Thu, 31 Sep 2050 02:01:18 GMT",
        b"Thu, 00 Aug 2050 02:01:18 GMT",
        b"Thu, 29 Feb 2050 02:01:18 GMT",
        b"Thu, 18 Aou 2050 02:01:18 GMT",
        b"Thu, 18 Aug 0000 02:01:18 GMT",
        b"Thu Aug 18 02:01:18 2050 GMT",
        b"Thu Aug 8 02:01:18 2050",
        b" Thu, 18 Aug 2050 02:01:18 GMT",
        b"Thu, 18 Aug 2050 02:01:18 GMT\n",
        b"Thu, \xd9\xa1\xd9\xa8 Aug 2050 02:01:18 GMT",
        b"2050-08-18T02:01:18Z",
        b"0",
        b"-1",
        b"",
        b"Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
    ],
)
def test_paragraph_3_refuses_everything_else(value: bytes) -> None:
    assert dates.parse(value, now=NOW) is None


@pytest.mark.parametrize(
    ("short", "year"), [(b"00", 2000), (b"25", 2025), (b"75", 2075), (b"76", 1976), (b"99", 1999)]
)
def test_a_two_digit_year_is_never_more_than_50_years_ahead(short: bytes, year: int) -> None:
    seconds = dates.parse(b"Monday, 01-Jan-" + short + b" 00:00:00 GMT", now=NOW)
    assert seconds == dates.parse(b"Mon, 01 Jan %d 00:00:00 GMT" % year, now=NOW)


def test_a_clock_out_of_its_mind_refuses_two_digit_years_only() -> None:
    assert dates.parse(b"Monday, 01-Jan-00 00:00:00 GMT", now=1e300) is None
    assert dates.parse(b"Mon, 01 Jan 2000 00:00:00 GMT", now=1e300) == 946684800


def test_writes_imf_fixdate_and_cuts_fractions() -> None:
    assert dates.write(784111777.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"
