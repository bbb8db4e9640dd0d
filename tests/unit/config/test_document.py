# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.config.document import MAX_BYTES, Mapping, Scalar, read_document


def test_nodes_know_their_place() -> None:
    node, problems = read_document(b"\xef\xbb\xbfa: 1\nb: [x, 'on']\n", "f")
    assert not problems
    assert isinstance(node, Mapping)
    (a, one), (_, items) = node.entries
    assert (str(a.place), str(one.place), str(items.place)) == ("f:1:1", "f:1:4", "f:2:4")
    assert isinstance(one, Scalar)
    assert one.text == "1"
    assert one.plain
    assert not items.items[1].plain  # type: ignore[union-attr]


def test_too_large() -> None:
    node, problems = read_document(b"#" * (MAX_BYTES + 1), "f")
    assert node is None
    assert [p.code for p in problems] == ["S002"]


def test_both_lines_of_a_duplicate_key_are_named() -> None:
    """Pain 32: duplicate keys vanish; YAML 1.1 would keep the last."""
    node, problems = read_document(b"a: 1\nb: 2\n'a': 3\n", "f")
    assert [str(p) for p in problems] == ["f:3:1: S006: key 'a' stands twice, first in line 1"]
    assert isinstance(node, Mapping)
    assert [key.text for key, _ in node.entries] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"a: &x 1", "S010"),
        (b"a: [&x 1]", "S010"),
        (b"&x a: 1", "S010"),
        (b"<<: 1", "S010"),
        (b"a: !x 1", "S009"),
        (b"!x {}", "S009"),
        (b"a: !!python/object/apply:os.system [true]", "S009"),
        (b"[" * 33, "S011"),
        (b"[" * 200_000, "S011"),
        (b"{a: " * 100_000, "S011"),
        (b"--- 1\n--- 2", "S007"),
        (b"\xff", "S003"),
        (b"a: \xed\xa0\x80", "S003"),
        (b"a: \x07", "S004"),
        (b"{", "S004"),
        (b"\t- a", "S005"),
        (b"", "S008"),
        (b"# a", "S008"),
    ],
)
def test_refused(text: bytes, code: str) -> None:
    node, problems = read_document(text, "f")
    assert node is None
    assert [p.code for p in problems] == [code]


@given(st.one_of(st.binary(), st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,?~ \n\t").map(str.encode)))
def test_any_bytes_give_a_document_or_a_diagnostic(raw: bytes) -> None:
    node, problems = read_document(raw, "f")
    assert node is not None or problems
