# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from strangler.routing import Conditions, Malformed


@pytest.mark.parametrize(
    "conditions",
    [{"header": {"X-App": "("}}, {"header": {"X App": "a"}}, {"cookie": {"a;b": "a"}}],
)
def test_malformed(conditions) -> None:
    with pytest.raises(Malformed, match="expected"):
        Conditions.of(**conditions)


def test_a_bad_expression_says_where() -> None:
    with pytest.raises(Malformed) as caught:
        Conditions.of(header={"X-App": "ab(c"})
    assert caught.value.offset == 2
    assert "unterminated" in caught.value.hint


@pytest.mark.parametrize(
    ("a", "b", "excluded"),
    [
        ("ios|android", "web", True),
        ("ios|android", "android|web", False),
        ("ios|.*", "web", False),
        (r"1\.0|1\.1", r"1\.2", True),
        (r"a\|b", "a|b", True),
        (r"a\|b", r"a\|b", False),
        (r"\d", "x", False),
        ("", "x", False),
        ("(?i)web", "WEB", False),
    ],
)
def test_exclusion_is_proved_by_the_text(a: str, b: str, excluded: bool) -> None:
    one, other = Conditions.of(header={"X": a}), Conditions.of(header={"x": b})
    assert one.excludes(other) is excluded
    assert other.excludes(one) is excluded
    assert not one.excludes(Conditions.of(cookie={"x": b}))


def test_which_one_fails(head) -> None:
    conditions = Conditions.of(header={"B": "1"}, cookie={"a": ".*"})
    assert len(conditions) == 2
    failing = conditions.failing(head(fields={b"b": b"1"}))
    assert failing is not None
    assert (failing.kind, failing.name) == ("cookie", "a")
    assert conditions.failing(head(fields={b"b": b"1"}, cookies={b"a": b""})) is None
