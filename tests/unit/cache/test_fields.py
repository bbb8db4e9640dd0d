# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from strangler.cache.fields import block, lines, members, unquote


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([b"a, b"], [b"a", b"b"]),
        ([b"a,,\t b ,"], [b"a", b"b"]),
        ([b"a", b"b, c"], [b"a", b"b", b"c"]),
        ([b'a="1, 2", b'], [b'a="1, 2"', b"b"]),
        ([b'a="1\\", 2", b'], [b'a="1\\", 2"', b"b"]),
        ([b'a="1, no-store'], [b'a="1', b"no-store"]),
        ([b'"x", a="1, no-store, b'], [b'"x"', b'a="1', b"no-store", b"b"]),
        ([b'a="1', b'no-store"'], [b'a="1', b'no-store"']),
        ([b""], []),
        ([], []),
    ],
)
def test_splits_lists_but_not_quoted_strings(given: list[bytes], found: list[bytes]) -> None:
    assert members(given) == found


def test_an_open_quote_costs_linear_time() -> None:
    def cost(count: int) -> float:
        start = time.process_time()
        members([b'"\\' * count])
        return time.process_time() - start

    cost(1000)
    assert min(cost(100_000) for _ in range(3)) < 1.0  # a quadratic one takes minutes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b'"a b"', b"a b"),
        (b'"a\\"b"', b'a"b'),
        (b"a", b"a"),
        (b'"a', b'"a'),
        (b'"', b'"'),
        (b'""', b""),
    ],
)
def test_unquotes(given: bytes, said: bytes) -> None:
    assert unquote(given) == said


def test_a_block_of_lines_reads_back() -> None:
    pairs = [(b"A", b"1"), (b"B", b""), (b"a", b"2")]
    assert block(lines(pairs)).pairs() == pairs
    assert block(b"").pairs() == []
