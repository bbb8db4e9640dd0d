# SPDX-License-Identifier: Apache-2.0
"""What must hold for any two answers."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strangler.migrate.normalise import normalised
from strangler.migrate.parity import Answer, compare
from strangler.migrate.policy import Compare
from strangler.migrate.trees import changed, first_difference, page_difference, page_without
from strangler.wire.head import ResponseHead

NOW = 1_790_000_000.0

texts = st.text("ab<>/ =\"'&;-!#1", max_size=40)
tags = st.sampled_from(["p", "b", "div", "h1"])
pages = st.recursive(
    st.sampled_from(["a", "b", "c d", "<br>", "<img src=x>"]),
    lambda inner: st.builds(
        lambda tag, ids, parts: f"<{tag}{ids}>{''.join(parts)}</{tag}>",
        tags,
        st.sampled_from(["", " id=one", " class=x", " class=y"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c1", "c2"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def answer(body: str, media: str) -> Answer:
    head = ResponseHead.parse(f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n\r\n".encode())
    assert head is not None
    content = body.encode()
    return Answer(head=head, body=content, length=len(content))


def word(one: str, other: str, media: str, ignore: frozenset[str] = frozenset()) -> str | None:
    found = compare(answer(one, media), answer(other, media), Compare(ignore=ignore), now=NOW)
    return None if found is None else found.word


@given(texts, texts)
def test_the_changed_part_leaves_out_only_what_is_alike(one: str, other: str) -> None:
    mine, theirs = changed(one, other)
    at = one.find(mine) if mine else len(one)
    begins = [n for n in range(len(one) + 1) if one[n : n + len(mine)] == mine]
    assert at >= 0
    assert any(one[:n] + theirs + one[n + len(mine) :] == other for n in begins), (
        "what is around it is the same"
    )


@given(texts, texts)
def test_the_first_difference_is_the_first(one: str, other: str) -> None:
    at = first_difference(one, other)
    assert one[:at] == other[:at]
    assert at in (len(one), len(other)) or one[at] != other[at]


@given(texts)
def test_a_page_without_nothing_is_itself(page: str) -> None:
    assert page_without(page, set()) == page
    assert word(page, page, "text/html") is None


@given(pages, pages)
@example("<p>a</p><b>a</b>", "<p>b</p><b>b</b>")
def test_a_difference_ignored_is_never_told_again(one: str, other: str) -> None:
    ignore: frozenset[str] = frozenset()
    for _ in range(40):
        found = word(one, other, "text/html", ignore)
        if found is None:
            return
        assert found not in ignore
        ignore |= {found}
    raise AssertionError(f"no end: {ignore}")


@given(values, values)
def test_json_is_equal_both_ways_or_not_at_all(one: object, other: object) -> None:
    sides = json.dumps(one), json.dumps(other)
    there, back = (word(*pair, "application/json") for pair in (sides, sides[::-1]))
    assert (there is None) == (back is None)
    if there is None:
        # Whatever else JSON has, 1 and 1.0 and true are not told apart by Python alone.
        assert json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    ignore: frozenset[str] = frozenset()
    while there is not None:
        assert there not in ignore
        ignore |= {there}
        there = word(*sides, "application/json", ignore)


@pytest.mark.parametrize(
    "evil",
    [
        "<!--", "<a ", "<a '", "<input ", "<input name=csrf ", "csrf-", "csrf=\"", "&#", "<", " ",
        "<a b=\"'", "2026-01-02T03:04:05", "nonce-", "<a '<a' ",
    ],
)  # fmt: skip
def test_no_text_is_much_slower_than_its_length(evil: str) -> None:
    """A search that begins anew at each mark would take minutes for these."""
    text = evil * (100_000 // len(evil))
    began = process_time()
    normalised(text, "html", NOW)
    page_difference(text + "x", text + "y")
    page_without(text, {"a"})
    assert process_time() - began < 5
