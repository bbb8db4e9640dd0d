# SPDX-License-Identifier: Apache-2.0
"""Paragraph 6: several variants a URL, and which one a request selects."""

import pytest
from unit.cache.build import cc, date, fields, request, stored

from strangler.cache.policy import KeyPolicy
from strangler.cache.stored import Stored
from strangler.cache.vary import nominated, preferred_language, select, selecting, variant_key

FRESH = cc(b"max-age=60")
KEY = KeyPolicy()


def variant(
    vary: bytes, *asked: tuple[bytes, bytes], at: float = 0, language: bytes = b""
) -> Stored:
    pairs = [FRESH, (b"Vary", vary), (b"Date", date(at))]
    if language:
        pairs.append((b"Content-Language", language))
    return stored(*pairs, to=request(*asked))


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([b"Foo"], (b"foo",)),
        ([b"Foo, bar"], (b"bar", b"foo")),
        ([b"Foo", b"Bar, foo"], (b"bar", b"foo")),
        ([b""], ()),
        ([], ()),
        ([b"*"], None),
        ([b"*, *"], None),
        ([b", *"], None),
        ([b"", b"*"], None),
        ([b"*, Foo"], None),
        ([b"Foo, *"], None),
        ([b"Foo", b"*"], None),
    ],
)
def test_paragraph_6_nominated_fields(lines: list[bytes], names: tuple[bytes, ...] | None) -> None:
    assert nominated(fields(*[(b"Vary", line) for line in lines]), KEY) == names


FOO, BAR, BAZ = b"Foo", b"Bar", b"Baz"
ABC = ((FOO, b"1"), (BAR, b"abc"), (BAZ, b"789"))
AL, AE = b"Accept-Language", b"Accept-Encoding"


@pytest.mark.parametrize(
    ("vary", "first", "second", "same"),
    [
        (b"Foo", [(FOO, b"1")], [(FOO, b"1")], True),
        (b"Foo", [(FOO, b"1")], [(FOO, b"2")], False),
        (b"Foo", [(FOO, b"1")], [], False),
        (b"Foo", [], [(FOO, b"1")], False),
        (b"Foo", [], [(FOO, b"")], False),
        (b"Foo", [], [], True),
        (b"Foo", [(FOO, b"1"), (b"Other", b"2")], [(FOO, b"1"), (b"Other", b"3")], True),
        (b"Foo, Bar", ABC[:2], ABC[:2], True),
        (b"Foo, Bar", ABC[:2], [(FOO, b"2"), (BAR, b"abc")], False),
        (b"Foo, Bar", ABC[:2], [], False),
        (b"Foo, Bar, Baz", ABC, ABC[::-1], True),
        (b"Foo, Bar, Baz", ABC, [(FOO, b"1"), (BAZ, b"789"), (BAR, b"abcde")], False),
        (b"Foo, Bar, Baz", ABC[::2], ABC[::2], True),
        (b"Foo", [(FOO, b"1, 2")], [(FOO, b"1"), (FOO, b"2")], True),
        (b"Foo", [(FOO, b"1,2")], [(FOO, b" 1, 2 ")], True),
        (b"Foo", [(FOO, b"1,2")], [(FOO, b"2,1")], False),
        (b"Foo", [(FOO, b'"1, 2"')], [(FOO, b'"1,2"')], False),
        (b"Foo", [(FOO, b"A")], [(FOO, b"a")], False),
        (AL, [(AL, b"en, de")], [(AL, b"de, en")], True),
        (AL, [(AL, b"en, de")], [(AL, b"eN, De")], True),
        (AL, [(AL, b"en, de")], [(AL, b" en ,   de")], True),
        (AL, [(AL, b"en, de")], [(AL, b"en;q=1, de;q=1.000")], True),
        (AL, [(AL, b"en, de;q=0.5")], [(AL, b"de;q=0.50,en")], True),
        (AL, [(AL, b"en, de;q=0.5")], [(AL, b"de, en;q=0.5")], False),
        (AL, [(AL, b"en")], [(AL, b"en-GB")], False),
        (AL, [(AL, b"en")], [(AL, b"de, fr")], False),
        (AE, [(AE, b"gzip, br")], [(AE, b"BR;q=0.5,gzip")], True),
        (AE, [(AE, b"gzip")], [(AE, b"x-gzip")], True),
        (AE, [(AE, b"gzip, br;q=0")], [(AE, b"gzip")], True),
        (AE, [(AE, b"gzip")], [(AE, b"gzip, br")], False),
        (AE, [(AE, b"gzip")], [(AE, b"gzip, identity;q=0")], False),
        (AE, [(AE, b"*")], [(AE, b"*, br;q=0")], False),
        (AE, [(AE, b"gzip")], [(AE, b"gzip;q=nonsense")], False),
        (AE, [(AE, b"")], [], False),
    ],
)  # fmt: skip
def test_paragraph_6_matching(
    vary: bytes,
    first: list[tuple[bytes, bytes]],
    second: list[tuple[bytes, bytes]],
    same: bool,
) -> None:
    one = variant(vary, *first)
    assert (select([one], request(*second).fields) is one) is same
    names = [name for name, _ in one.selecting]
    keys = {variant_key(selecting(request(*f).fields, names)) for f in (first, second)}
    assert (len(keys) == 1) is same


def test_paragraph_6_several_variants_live_side_by_side() -> None:
    one, two = variant(b"Foo", (FOO, b"1")), variant(b"Foo", (FOO, b"2"))
    assert select([one, two], request((FOO, b"1")).fields) is one
    assert select([one, two], request((FOO, b"2")).fields) is two
    assert select([one, two], request((FOO, b"3")).fields) is None
    assert select([], request().fields) is None


def test_paragraph_6_the_latest_of_several_and_vary_before_none() -> None:
    old, new = variant(b"Foo", at=-5), variant(b"Bar", at=-1)
    bare = stored(FRESH, (b"Date", date()))
    assert select([old, new], request().fields) is new
    assert select([new, old, bare], request().fields) is new
    assert select([bare, old], request((FOO, b"9")).fields) is bare


@pytest.mark.parametrize(
    ("accepts", "found"),
    [
        (b"fr;q=0.5, de;q=1.0", True),
        (b"de", True),
        (b"DE, fr;q=0.9", True),
        (b"de, fr", False),  # two favourites: the origin may choose otherwise
        (b"fr, de;q=0.9", False),
        (b"de-AT", False),
        (b"*", False),
        (b"de;q=0", False),
        (b"", False),
    ],
)
def test_paragraph_6_selects_by_content_language(accepts: bytes, found: bool) -> None:
    one = variant(AL, (AL, b"en, de"), language=b"de")
    assert (select([one], request((AL, accepts)).fields) is one) is found
    both = variant(b"Accept-Language, Foo", (AL, b"en, de"), (FOO, b"1"), language=b"DE")
    assert (select([both], request((AL, accepts), (FOO, b"1")).fields) is both) is found
    assert select([both], request((AL, accepts), (FOO, b"2")).fields) is None


def test_paragraph_6_an_exact_match_comes_before_a_language() -> None:
    exact = variant(AL, (AL, b"de"), at=-9)
    spoken = variant(AL, (AL, b"en, de"), language=b"de")
    assert select([spoken, exact], request((AL, b"de")).fields) is exact
    several = variant(AL, (AL, b"x"), language=b"de, en")
    assert select([several], request((AL, b"de")).fields) is None
    assert preferred_language(None) is None


def test_pain_38_vary_cookie_is_met_by_the_cookies_that_the_route_names() -> None:
    vary = fields((b"Vary", b"Cookie, Accept-Encoding"))
    assert nominated(vary, KeyPolicy(cookies=(b"sessionid",))) == (b"accept-encoding",)
    assert nominated(vary, KEY) == (b"accept-encoding", b"cookie")


def test_variant_keys_tell_absent_from_empty() -> None:
    names = (b"a", b"b")
    assert variant_key(((b"a", None), (b"b", b""))) == b"a\nb="
    assert variant_key(selecting(request((b"B", b"")).fields, names)) == b"a\nb="
    assert variant_key(()) == b""
