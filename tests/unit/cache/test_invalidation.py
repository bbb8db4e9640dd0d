# SPDX-License-Identifier: Apache-2.0
"""Paragraph 10: what an unsafe request's success makes invalid."""

import pytest
from unit.cache.build import request, response

from strangler.cache.invalidation import targets


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"M-SEARCH", b"PURGE"])
@pytest.mark.parametrize(
    ("status", "found"),
    [(200, True), (204, True), (201, True), (303, True), (302, True), (400, False), (404, False),
     (500, False), (503, False), (100, False)],
)  # fmt: skip
def test_paragraph_10_on_success_only(method: bytes, status: int, found: bool) -> None:
    asked = request(method=method, target=b"/a?b=1")
    expected = [b"/a?b=1"] if found else []
    assert targets(asked, response(status=status), scheme=b"http") == expected


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND"])
def test_paragraph_10_safe_methods_change_nothing(method: bytes) -> None:
    assert targets(request(method=method), response(), scheme=b"http") == []


@pytest.mark.parametrize("name", [b"Location", b"Content-Location"])
@pytest.mark.parametrize(
    ("value", "target"),
    [
        (b"/b", b"/b"),
        (b"b?c=1", b"/x/b?c=1"),
        (b"../b", b"/b"),
        (b"?c=1", b"/x/a?c=1"),
        (b"http://www.example.com/b", b"/b"),
        (b"HTTP://WWW.example.com:80/b#f", b"/b"),
        (b"http://www.example.com", b"/"),
        (b"//www.example.com/b", b"/b"),
        (b"https://www.example.com/b", None),
        (b"http://www.example.com:8080/b", None),
        (b"http://evil.example/b", None),
        (b"//evil.example/b", None),
        (b"http://user@www.example.com/b", None),
        (b"http://[oops/b", None),
        (b"mailto:a@b", None),
        (b"a", None),
    ],
)
def test_paragraph_10_locations_of_the_same_origin(
    name: bytes, value: bytes, target: bytes | None
) -> None:
    asked = request((b"Host", b"www.example.com"), method=b"POST", target=b"/x/a")
    found = targets(asked, response((name, value)), scheme=b"http")
    assert found == [b"/x/a"] + ([target] if target and target != b"/x/a" else [])


def test_paragraph_10_both_locations() -> None:
    head = response((b"Location", b"/b"), (b"Content-Location", b"/c"), status=201)
    assert targets(request(method=b"POST"), head, scheme=b"https") == [b"/a", b"/b", b"/c"]
