# SPDX-License-Identifier: Apache-2.0
"""HTTP dates, read strictly and written from a cache (RFC 9110 §5.6.7).

The standard library's parsers take other zones, two-digit years, one-digit hours, dashes and
missing commas: dates that other caches refuse. Two readers of one Expires must not disagree, so
exactly the three forms of the RFC are read here; only the case of their words is free.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = tuple(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())
_MONTH: Final = {name.lower(): number for number, name in enumerate(_MONTHS, start=1)}

_DAY_NAME: Final = rb"(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY: Final = rb"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH_NAME: Final = rb"(" + b"|".join(_MONTH) + rb")"
_TIME: Final = rb"([0-9]{2}):([0-9]{2}):([0-9]{2})"

_IMF: Final = re.compile(
    _DAY_NAME + rb", ([0-9]{2}) " + _MONTH_NAME + rb" ([0-9]{4}) " + _TIME + rb" gmt", re.I
)
_RFC850: Final = re.compile(
    _LONG_DAY + rb", ([0-9]{2})-" + _MONTH_NAME + rb"-([0-9]{2}) " + _TIME + rb" gmt", re.I
)
_ASCTIME: Final = re.compile(
    _DAY_NAME + rb" " + _MONTH_NAME + rb" ([0-9]{2}| [0-9]) " + _TIME + rb" ([0-9]{4})", re.I
)


def parse(value: bytes, *, now: float) -> int | None:
    """Return the seconds since 1970 that *value* names, or None where it is no HTTP date.

    *now* is needed by the RFC 850 form alone: a year that looks more than 50 years ahead is the
    latest past one with the same two digits. A wrong weekday is not looked at. Cost: < 1 us for
    a date that was read before.
    """
    seconds = _parse_full(value)
    if seconds is not None:
        return seconds
    found = _RFC850.fullmatch(value)
    if found is None:
        return None
    day, month, short, hour, minute, second = found.groups()
    try:
        this_year = datetime.fromtimestamp(now, UTC).year
    except (ValueError, OverflowError, OSError):
        return None
    year = this_year - this_year % 100 + int(short)
    seconds = _seconds(year, month, day, hour, minute, second)
    if seconds is not None and seconds > now + 50 * 365.2425 * 86400:
        seconds = _seconds(year - 100, month, day, hour, minute, second)
    return seconds


@lru_cache(maxsize=1024)
def _parse_full(value: bytes) -> int | None:
    if found := _IMF.fullmatch(value):
        day, month, year, hour, minute, second = found.groups()
    elif found := _ASCTIME.fullmatch(value):
        month, day, hour, minute, second, year = found.groups()
    else:
        return None
    return _seconds(int(year), month, day, hour, minute, second)


def _seconds(
    year: int, month: bytes, day: bytes, hour: bytes, minute: bytes, second: bytes
) -> int | None:
    leap = second == b"60"  # allowed by the grammar; POSIX time has no such second
    try:
        when = datetime(
            year,
            _MONTH[month.lower()],
            int(day),
            int(hour),
            int(minute),
            59 if leap else int(second),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(when.timestamp()) + leap


@lru_cache(maxsize=256)
def _written(seconds: int) -> bytes:
    when = datetime.fromtimestamp(seconds, UTC)
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (
        _DAYS[when.weekday()],
        when.day,
        _MONTHS[when.month - 1],
        when.year,
        when.hour,
        when.minute,
        when.second,
    )


def write(seconds: float) -> bytes:
    """Return *seconds* since 1970 (years 1 to 9999) as IMF-fixdate, fractions cut off."""
    return _written(int(seconds))
