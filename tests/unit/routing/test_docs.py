# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/routing.md are the cases that freeze the rules (pains 4, 6, 7)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from strangler.routing import AmbiguousPath, Location, Rewrite, parse_key
from strangler.wire.head import RequestHead

PAGE = (Path(__file__).parents[3] / "docs" / "routing.md").read_text()
_BLOCK = re.compile(
    r"```routes\n(.*?)```\n\n\| request \| goes to \|\n\|---\|---\|\n(.*?)\n\n", re.S
)
_MADE = re.compile(r"\| key \| made \| of \| gives \|\n\|[-|]+\n(.*?)\n\n", re.S)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip().strip("`") for cell in row.strip("| ").split(" | ")]
            for row in text.splitlines()]  # fmt: skip


ROUTED = [
    pytest.param(keys.split("\n")[:-1], request, goes_to, id=request)
    for keys, table in _BLOCK.findall(PAGE)
    for request, goes_to in rows(table)
]


def test_the_page_has_its_cases() -> None:
    assert len(_BLOCK.findall(PAGE)) == 2
    assert len(ROUTED) > 75


@pytest.mark.parametrize(("keys", "request_line", "goes_to"), ROUTED)
def test_routes(table, keys: list[str], request_line: str, goes_to: str) -> None:
    method, _, target = request_line.partition(" ")
    host, slash, path = target.partition("/") if target != "*" else ("", "", "*")
    fields = [(b"Host", (host or "other.test").encode())]
    head = RequestHead.build(method.encode(), f"{slash}{path}".encode(), fields)
    compiled = table(*keys)
    explained = compiled.explain(head)
    if goes_to == "400":
        with pytest.raises(AmbiguousPath) as refused:
            compiled.match(head)
        assert refused.value.status == 400
        assert explained.winner is None
        assert explained.ambiguous == refused.value.detail
    else:
        assert goes_to in keys
        match = compiled.match(head)
        assert match is not None
        assert match.value == goes_to
        assert explained.winner is not None
        assert explained.winner.key == goes_to


@pytest.mark.parametrize(("key", "made", "of", "gives"), rows(_MADE.findall(PAGE)[0]))
def test_what_is_made(key: str, made: str, of: str, gives: str) -> None:
    how, _, text = made.replace("`", "").partition(" ")
    pattern = parse_key(key).pattern
    path = of.encode()
    params = pattern.params(path)
    if how == "redirect":
        assert Location.parse(text, pattern).expand(params) == gives.encode()
        return
    rewrite = Rewrite.to(text, pattern) if how == "rewrite" else Rewrite.stripping(text, pattern)
    if gives == "400":
        with pytest.raises(AmbiguousPath):
            rewrite.apply(path, params)
    else:
        assert rewrite.apply(path, params) == gives.encode()
