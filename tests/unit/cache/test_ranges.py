# SPDX-License-Identifier: Apache-2.0
"""Paragraph 11: what ranges ask for, and how parts become wholes."""

import pytest
from unit.cache.build import cc, date, request, stored

from strangler.cache.ranges import Asked, asked, condition_holds, join, show
from strangler.cache.stored import Span, Stored


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"bytes=0-1", (0, 1)),
        (b"bytes=0-0", (0, 0)),
        (b"bytes=1-", (1, 9)),
        (b"bytes=-1", (9, 9)),
        (b"bytes=-10", (0, 9)),
        (b"bytes=-99", (0, 9)),
        (b"bytes=5-99", (5, 9)),
        (b"Bytes=5-6", (5, 6)),
        (b"bytes= 5-6 ", (5, 6)),
        (b"bytes=05-006", (5, 6)),
        (b"bytes=10-", "unsatisfiable"),
        (b"bytes=10-12", "unsatisfiable"),
        (b"bytes=-0", "unsatisfiable"),
        (b"bytes=2-1", "whole"),
        (b"bytes=99-1", "whole"),
        (b"bytes=-", "whole"),
        (b"bytes=", "whole"),
        (b"bytes=a-b", "whole"),
        (b"bytes=+1-2", "whole"),
        (b"bytes=1-2,3-4", "whole"),
        (b"bytes=0-0, -1", "whole"),
        (b"lines=1-2", "whole"),
        (b"1-2", "whole"),
        (b"bytes=\xb2-3", "whole"),
        (b"bytes=" + b"9" * 40 + b"-", "whole"),
        (b"bytes=" + b"0-1," * 5000 + b"0-1", "whole"),
    ],
)
def test_paragraph_11_ranges_of_ten_bytes(value: bytes, found: Asked) -> None:
    assert asked(value, 10) == found


def test_paragraph_11_ranges_of_nothing() -> None:
    assert asked(b"bytes=0-", 0) == "unsatisfiable"
    assert asked(b"bytes=-5", 0) == "whole"


def test_content_range_is_written() -> None:
    assert show(0, 4, 10) == b"bytes 0-4/10"
    assert show(0, 4, None) == b"bytes 0-4/*"


STRONG = stored(cc(b"max-age=60"), (b"ETag", b'"a"'), (b"Last-Modified", date(-100)))
WEAK = stored(cc(b"max-age=60"), (b"ETag", b'W/"a"'), (b"Last-Modified", date()))


@pytest.mark.parametrize(
    ("one", "value", "holds"),
    [
        (STRONG, None, True),
        (STRONG, b'"a"', True),
        (STRONG, b'"b"', False),
        (STRONG, b'W/"a"', False),
        (WEAK, b'W/"a"', False),
        (WEAK, b'"a"', False),
        (STRONG, date(-100), True),
        (STRONG, date(-99), False),
        (STRONG, date(-101), False),
        (WEAK, date(), False),  # made in the second in which it was sent: no strong date
        (STRONG, b"a", False),
    ],
)
def test_paragraph_11_if_range(one: Stored, value: bytes | None, holds: bool) -> None:
    asks = request() if value is None else request((b"If-Range", value))
    assert condition_holds(asks.fields, one) is holds


WHOLE = b"0123456789"


def part(first: int, last: int, etag: bytes = b'"a"', complete: bytes = b"10") -> Stored:
    return stored(
        cc(b"max-age=60"),
        (b"ETag", etag),
        (b"Content-Range", b"bytes %d-%d/%b" % (first, last, complete)),
        status=206,
        length=last - first + 1,
    )


@pytest.mark.parametrize(
    ("one", "two", "together"),
    [
        ((0, 4), (5, 9), (0, 9)),
        ((5, 9), (0, 4), (0, 9)),
        ((0, 6), (4, 9), (0, 9)),
        ((0, 6), (2, 3), (0, 6)),
        ((2, 3), (0, 6), (0, 6)),
        ((0, 6), (0, 6), (0, 6)),
        ((0, 3), (0, 6), (0, 6)),
        ((2, 4), (5, 6), (2, 6)),
        ((0, 3), (5, 9), None),
        ((5, 9), (0, 3), None),
    ],
)
def test_paragraph_11_parts_are_joined(
    one: tuple[int, int], two: tuple[int, int], together: tuple[int, int] | None
) -> None:
    found = join(part(*one), WHOLE[one[0] : one[1] + 1], part(*two), WHOLE[two[0] : two[1] + 1])
    if together is None:
        assert found is None
    else:
        first, last = together
        assert found == (Span(first, last, 10), WHOLE[first : last + 1])


@pytest.mark.parametrize(
    "two", [part(5, 9, etag=b'"b"'), part(5, 9, etag=b'W/"a"'), part(5, 9, complete=b"11"), STRONG]
)
def test_paragraph_11_strangers_are_not(two: Stored) -> None:
    assert join(part(0, 4), b"01234", two, b"56789") is None
    assert join(two, b"56789", part(0, 4), b"01234") is None


def test_paragraph_11_two_weak_parts_are_not() -> None:
    one, two = part(0, 4, etag=b'W/"a"'), part(5, 9, etag=b'W/"a"')
    assert join(one, b"01234", two, b"56789") is None
