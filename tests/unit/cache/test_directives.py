# SPDX-License-Identifier: Apache-2.0
"""Paragraphs 1, 4 and 14: what Cache-Control and its targeted kin say."""

import pytest
from unit.cache.build import cc, fields

from strangler.cache.directives import MAX_SECONDS, Directives, of_response


def read(*values: bytes) -> Directives:
    return of_response(fields(*[cc(value) for value in values]))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"max-age=60", 60),
        (b'max-age="60"', 60),
        (b"MaX-aGe=60", 60),
        (b"max-age=003600", 3600),
        (b"max-age=0", 0),
        (b"max-age=00", 0),
        (b"foobar, max-age=60", 60),
        (b"max-age=60, foo=bar", 60),
        (b",,max-age=60,,", 60),
        (b'extension="max-age=100", max-age=1', 1),
        (b'max-age=1, extension="max-age=100"', 1),
        (b'extension="max-age=100", max-age="1"', 1),
        (b"max-age=2147483647", MAX_SECONDS - 1),
        (b"max-age=2147483648", MAX_SECONDS),
        (b"max-age=2147483649", MAX_SECONDS),
        (b"max-age=99999999999", MAX_SECONDS),
        (b"max-age=" + b"9" * 5000, MAX_SECONDS),
        (b"max-age=60, max-age=60", 60),
        (b"max-age=60, max-age=1", 0),
        (b"max-age=1, max-age=60, max-age=1", 0),
        (b"max-age=-100", 0),
        (b"max-age='3600'", 0),
        (b"max-age=a100", 0),
        (b"max-age=100a", 0),
        (b"max-age=3600.0", 0),
        (b"max-age=+5", 0),
        (b"max-age=1_000", 0),
        (b"max-age =100", 0),
        (b"max-age= 100", 0),
        (b"max-age=", 0),
        (b"max-age", 0),
        (b'max-age="60', 0),
        (b"max-age=\xb2", 0),
        (b'extension="max-age=100"', None),
        (b"x-max-age=100", None),
        (b"max-age-x=100", None),
        (b"", None),
        (b"=5", None),
    ],
)
def test_paragraph_1_max_age(value: bytes, seconds: int | None) -> None:
    assert read(value).max_age == seconds


def test_paragraph_1_two_lines_are_one_list() -> None:
    both = read(b"max-age=3600", b"s-maxage=1")
    assert (both.max_age, both.s_maxage) == (3600, 1)
    assert read(b"max-age=1800", b"max-age=1").max_age == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"private", "private"),
        (b"PRIVATE", "private"),
        (b"private=", "private"),
        (b'private=""', "private"),
        (b'private="not a name"', "private"),
        (b'private="x, Content-Type"', "private"),
        (b"no-cache=vary", "no_cache"),
        (b"No-StOrE", "no_store"),
        (b"no-store=1", "no_store"),
        (b"no-store =x", "no_store"),
        (b"no-store;x", "no_store"),
        (b'ext="open, no-store', "no_store"),
        (b"No-CaChE", "no_cache"),
        (b"public", "public"),
        (b"must-revalidate", "must_revalidate"),
        (b"must-revalidate=0", "must_revalidate"),
        (b"Proxy-Revalidate", "proxy_revalidate"),
        (b"must-understand", "must_understand"),
    ],
)
def test_paragraph_4_flags_in_any_case(value: bytes, said: str) -> None:
    expected = {name: name == said for name in (
        "private", "no_store", "no_cache", "public", "must_revalidate", "proxy_revalidate",
        "must_understand",
    )}  # fmt: skip
    found = read(value)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize("value", [b"public=yes", b'ext="public"', b"publicly", b"no-stores"])
def test_paragraph_4_nothing_is_read_into_words_alike(value: bytes) -> None:
    found = read(value)
    assert not found.public
    assert not found.no_store


def test_paragraph_4_qualified_forms_name_fields() -> None:
    found = read(b'no-cache="A, b", private="c"')
    assert (found.no_cache, found.private) == (False, False)
    assert found.unstored == {b"a", b"b", b"c"}


@pytest.mark.parametrize(
    ("value", "forbids"),
    [
        (b"max-age=1", False),
        (b"must-revalidate", True),
        (b"proxy-revalidate", True),
        (b"no-cache", True),
        (b"s-maxage=2", True),
    ],
)
def test_paragraph_13_what_forbids_stale(value: bytes, forbids: bool) -> None:
    assert read(value).forbids_stale is forbids


CDN = b"CDN-Cache-Control"
OURS = b"Strangler-Cache-Control"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"max-age=3600", 3600),
        (b"max-age=2147483648", MAX_SECONDS),
        (b"max-age=99999999999", MAX_SECONDS),
        (b"foobar, max-age=3600", 3600),
        (b"max-age=3600;x=1", 3600),
        (b"max-age=1, max-age=3600", 3600),  # a Structured Field's last one wins
        (b"max-age=-5", 0),
        (b"max-age=0", 0),
        (b"none", None),
    ],
)
def test_paragraph_14_a_valid_targeted_field_replaces_cache_control(
    value: bytes, seconds: int | None
) -> None:
    found = of_response(fields((CDN, value), cc(b"no-store, max-age=7")))
    assert found.source == "cdn-cache-control"
    assert found.targeted
    assert not found.no_store
    assert found.max_age == seconds


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"   ",
        b"max-age=10000, &&&&&",
        b'max-age="10000"',
        b"max-age=1.5",
        b"max-age=abc",
        b"max-age",
        b"max-age=(1 2)",
        b"max-age =100",
        b"max-age= 100",
        b"MaX-aGe=3600",
        b"max-age=100,",
        b"no-store=?0",
        b'no-store="x"',
        b"no-cache=5",
        b"private=(a b)",
        b"max-age=9999999999999999",
        b"max-age=1, x=@99999999999999",
        b"\xff",
    ],
)
def test_paragraph_14_an_invalid_or_empty_one_is_as_if_absent(value: bytes) -> None:
    found = of_response(fields((CDN, value), cc(b"no-store")))
    assert found.source == "cache-control"
    assert found.no_store


def test_paragraph_14_flags_and_field_names() -> None:
    found = of_response(fields((CDN, b'no-store, private="A, b"'), (CDN, b"no-cache")))
    assert (found.no_store, found.private, found.no_cache) == (True, False, True)
    assert found.unstored == {b"a", b"b"}


def test_paragraph_14_our_own_field_comes_first() -> None:
    both = fields((CDN, b"max-age=5"), (OURS, b"max-age=9"), cc(b"max-age=1"))
    assert of_response(both).max_age == 9
    assert of_response(fields((CDN, b"max-age=5"), (OURS, b"&"))).max_age == 5


def test_nothing_said() -> None:
    assert of_response(fields()) == Directives()
    assert read(b"").source == "cache-control"
