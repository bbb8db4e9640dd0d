# SPDX-License-Identifier: Apache-2.0
"""Vary (cache-behaviours 6): several variants a URL, and which request gets which.

RFC 9111 §4.1; RFC 9110 §12.5.5.
"""

from __future__ import annotations

import pytest
from scenarios.story import At, Given, Story, control, hit, origin

MINUTE = "max-age=60"


def varied(*fields: str) -> Given:
    return control(MINUTE, *(("Vary", value) for value in fields))


def asking(**fields: str) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in fields.items()]


def same(id: str, vary, first, second, **more) -> Story:
    """Tell that two requests with these fields get one stored response."""
    vary = [vary] if isinstance(vary, str) else vary
    return Story(id, origin(varied(*vary), fields=first), hit(fields=second), **more)


def apart(id: str, vary, first, second, **more) -> Story:
    """Tell that two requests with these fields get two responses, stored side by side."""
    vary = [vary] if isinstance(vary, str) else vary
    return Story(
        id,
        origin(varied(*vary), fields=first),
        origin(fields=second, forward="vary-miss"),
        hit(fields=first, number=0),
        hit(fields=second, number=1),
        **more,
    )


SPEAKS, DECODES = "Accept-Language", "Accept-Encoding"


def same_of(id: str, field: str, first: str, second: str) -> Story:
    return same(id, field, [(field, first)], [(field, second)])


def apart_of(id: str, field: str, first: str, second: str) -> Story:
    return apart(id, field, [(field, first)], [(field, second)])


MATCHING = [
    same("match", "Foo", asking(Foo="1"), asking(Foo="1")),
    same("name-in-any-case", "fOO", asking(Foo="1"), asking(FOO="1")),
    same(
        "other-fields-do-not-matter", "Foo", asking(Foo="1", Other="2"), asking(Foo="1", Other="3")
    ),
    same("both-absent", "Foo", [], []),
    same("both-empty", "Foo", asking(Foo=""), asking(Foo="")),
    same("two", "Foo, Bar", asking(Foo="1", Bar="a"), asking(Foo="1", Bar="a")),
    same("two-lines", ["Foo", "Bar"], asking(Foo="1", Bar="a"), asking(Bar="a", Foo="1")),
    same(
        "three",
        "Foo, Bar, Baz",
        asking(Foo="1", Bar="a", Baz="9"),
        asking(Baz="9", Foo="1", Bar="a"),
    ),
    same(
        "three-one-absent-in-both",
        "Foo, Bar, Baz",
        asking(Foo="1", Baz="9"),
        asking(Foo="1", Baz="9"),
    ),
    same("empty-vary", "", asking(Foo="1"), asking(Foo="2")),
    same("vary-empty-members", ", Foo,,", asking(Foo="1"), asking(Foo="1")),
    same("named-twice", "Foo, foo", asking(Foo="1"), asking(Foo="1")),
    apart("no-match", "Foo", asking(Foo="1"), asking(Foo="2")),
    apart("absent-in-the-second", "Foo", asking(Foo="1"), []),
    apart("absent-in-the-first", "Foo", [], asking(Foo="1")),
    apart("absent-is-not-empty", "Foo", [], asking(Foo="")),
    apart("values-keep-their-case", "Foo", asking(Foo="a"), asking(Foo="A")),
    apart("two-one-differs", "Foo, Bar", asking(Foo="1", Bar="a"), asking(Foo="2", Bar="a")),
    apart("two-the-other-differs", "Foo, Bar", asking(Foo="1", Bar="a"), asking(Foo="1", Bar="b")),
    apart("two-one-absent", "Foo, Bar", asking(Foo="1", Bar="a"), asking(Foo="1")),
    apart("two-exchanged", "Foo, Bar", asking(Foo="1", Bar="2"), asking(Foo="2", Bar="1")),
    apart(
        "three-last-differs",
        "Foo, Bar, Baz",
        asking(Foo="1", Bar="a", Baz="7"),
        asking(Foo="1", Bar="a", Baz="8"),
    ),
    apart(
        "two-lines-one-differs", ["Foo", "Bar"], asking(Foo="1", Bar="a"), asking(Foo="1", Bar="b")
    ),
    apart("a-value-that-looks-like-a-line", "Foo", asking(Foo="1\tbar=2"), asking(Foo="1 bar=2")),
    apart("order-of-an-unknown-list-matters", "Foo", asking(Foo="1, 2"), asking(Foo="2, 1")),
    Story(
        "many-variants",
        *(origin(varied("Foo"), fields=asking(Foo=str(n))) for n in range(12)),
        *(hit(fields=asking(Foo=str(n)), number=n) for n in range(12)),
    ),
    Story(
        "a-variants-update-leaves-the-others",
        origin(control("max-age=60", ("Vary", "Foo")), fields=asking(Foo="1")),
        origin(control("max-age=0", ("Vary", "Foo")), fields=asking(Foo="2")),
        origin(control("max-age=60", ("Vary", "Foo")), fields=asking(Foo="2")),
        hit(fields=asking(Foo="1"), number=0),
        hit(fields=asking(Foo="2"), number=2),
    ),
    Story(
        "vary-that-changes",
        origin(varied("Foo"), fields=asking(Foo="1", Bar="a")),
        origin(varied("Bar"), fields=asking(Foo="2", Bar="b")),
        hit(fields=asking(Foo="1", Bar="a"), number=0),
        hit(fields=asking(Foo="3", Bar="b"), number=1),
    ),
]

ANY = [
    Story(id, origin(varied(*lines), fields=asking(Foo="1"), why="vary-any", stored=False),
          origin(fields=asking(Foo="1")), rfc="9111 4.1")
    for id, lines in {
        "star": ["*"],
        "star-star": ["*, *"],
        "star-star-in-two-lines": ["*", "*"],
        "empty-star": [", *"],
        "empty-then-star-in-two-lines": ["", "*"],
        "star-foo": ["*, Foo"],
        "foo-star": ["Foo, *"],
        "foo-star-in-two-lines": ["Foo", "*"],
        "star-in-the-middle": ["Foo,*,Bar"],
    }.items()
] + [
    Story("a-star-in-a-name-is-a-name", origin(varied("X-*"), fields=[("X-*", "1")]),
          hit(fields=[("X-*", "1")])),
    Story("ignore-vary", origin(varied("*, Foo"), fields=asking(Foo="1")),
          hit(fields=asking(Foo="2")), route="/unvaried"),
]  # fmt: skip

NORMAL = [
    same("list-without-space", "Foo", asking(Foo="1,2"), asking(Foo="1, 2")),
    same("list-with-more-space", "Foo", asking(Foo="1,2"), asking(Foo=" 1 ,\t 2 ")),
    same("list-with-empty-members", "Foo", asking(Foo="1,2"), asking(Foo="1,,2,")),
    same("lines-are-one-list", "Foo", asking(Foo="1, 2"), [("Foo", "1"), ("Foo", "2")]),
    same(
        "lines-around-another", "Foo", asking(Foo="1, 2"), [("Foo", "1"), ("X", "y"), ("foo", "2")]
    ),
    same("space-around-a-value", "Foo", asking(Foo="1"), asking(Foo="  1 ")),
    same_of("language-case", SPEAKS, "en-us", "EN-US"),
    same_of("language-space", SPEAKS, "en,de", "en ,  de"),
    same_of("language-order-of-equals", SPEAKS, "en, de", "de, en"),
    same_of("language-weight-space", SPEAKS, "en;q=0.5, de", "de, en ; q=0.5"),
    same_of("language-weight-zeros", SPEAKS, "en;q=0.5", "en;q=0.500"),
    same_of("language-weight-one", SPEAKS, "en", "en;q=1.0"),
    apart_of("language-weights-matter", SPEAKS, "en;q=0.9, de", "en, de;q=0.9"),
    apart_of("language-ranges-matter", SPEAKS, "en", "en-GB"),
    same_of("encoding-order", DECODES, "gzip, br", "br,gzip"),
    same_of("encoding-case", DECODES, "gzip", "GZIP"),
    same_of("encoding-weights-of-the-acceptable", DECODES, "gzip;q=1.0", "gzip;q=0.8"),
    same_of("encoding-alias", DECODES, "gzip", "x-gzip"),
    apart_of("encoding-refused", DECODES, "gzip, br", "gzip, br;q=0"),
    apart_of("encoding-sets-matter", DECODES, "gzip", "gzip, br"),
    apart("encoding-absent-is-not-identity", "Accept-Encoding", [], asking(Accept_Encoding="gzip")),
]


def spoken(language: str) -> Given:
    return control(MINUTE, ("Vary", "Accept-Language"), ("Content-Language", language))


LANGUAGE = [
    Story(
        "content-language-selects",
        origin(spoken("de"), fields=asking(Accept_Language="de, en;q=0.5")),
        origin(spoken("fr"), fields=asking(Accept_Language="fr")),
        hit(fields=asking(Accept_Language="de"), number=0),
        hit(fields=asking(Accept_Language="fr, en;q=0.3"), number=1),
    ),
    Story(
        "content-language-selects-in-any-case",
        origin(spoken("DE"), fields=asking(Accept_Language="de, en;q=0.5")),
        hit(fields=asking(Accept_Language="dE"), number=0),
    ),
    Story(
        "content-language-not-for-a-second-choice",
        origin(spoken("de"), fields=asking(Accept_Language="de")),
        origin(spoken("en"), fields=asking(Accept_Language="en, de;q=0.5")),
    ),
    Story(
        "content-language-not-for-a-tie",
        origin(spoken("de"), fields=asking(Accept_Language="de")),
        origin(spoken("en"), fields=asking(Accept_Language="de, en")),
    ),
    Story(
        "content-language-alone-is-not-vary",
        origin(control(MINUTE, ("Content-Language", "de")), fields=asking(Accept_Language="de")),
        hit(fields=asking(Accept_Language="en")),
    ),
    Story(
        "content-language-not-past-another-field",
        origin(control(MINUTE, ("Vary", "Accept-Language, Foo"), ("Content-Language", "de")),
               fields=asking(Accept_Language="de, en;q=0.5", Foo="1")),
        origin(fields=asking(Accept_Language="de", Foo="2")),
    ),
]  # fmt: skip

COOKIES = [
    Story(
        "vary-cookie-is-stored-for-readers-without",
        origin(varied("Cookie")),
        hit(),
        origin(fields=asking(Cookie="a=b"), why="vary-cookie", stored=False),
        origin(fields=asking(Cookie="a=b")),
        hit(number=0),
    ),
    Story(
        "vary-cookie-from-a-reader-with-cookies-is-nobody-elses",
        origin(varied("Cookie"), fields=asking(Cookie="sessionid=ana")),
        origin(),
        hit(number=1),
        origin(fields=asking(Cookie="sessionid=bia")),
        hit(number=1),
    ),
    Story(
        "vary-cookie-and-accept-encoding",
        origin(varied("Accept-Encoding, Cookie"), fields=asking(Accept_Encoding="gzip")),
        hit(fields=asking(Accept_Encoding="gzip")),
        origin(fields=asking(Accept_Encoding="br")),
    ),
]

LIFE = [
    *(
        Story(
            f"{id}-answer-outdates-the-variant-that-was-asked-about",
            origin(varied("Foo"), fields=asking(Foo="2")),
            origin(control("max-age=0", ("Vary", "Foo"), ("ETag", '"a"')), fields=asking(Foo="1")),
            origin(given, fields=asking(Foo="1"), forward="stale"),
            hit(fields=asking(Foo="1"), number=2),
            hit(fields=asking(Foo="2"), number=0),
            rfc="9111 4.3.3",
            route=route,
        )
        for id, route, given in (
            ("an-unvaried", "/origin", control(MINUTE)),
            ("an-unvaried-and-older", "/origin", control(MINUTE, ("Date", At(-20)))),
            ("an-unvaried-below-the-edge", "/below", control(MINUTE)),
            ("an-otherwise-varied", "/origin", control(MINUTE, ("Vary", "Bar"), ("Date", At(-20)))),
        )
    ),
    Story(
        "vary-age-is-the-variants-own",
        origin(control("max-age=3600", ("Vary", "Foo"), ("Age", "30")), fields=asking(Foo="1")),
        origin(control("max-age=3600", ("Vary", "Foo"), ("Age", "90")), fields=asking(Foo="2")),
        hit(fields=asking(Foo="1"), number=0, age=30),
        hit(fields=asking(Foo="2"), number=1, age=90),
    ),
    Story(
        "vary-and-heuristics",
        origin(Given(fields=[("Date", At(0)), ("Last-Modified", At(-86400)), ("Vary", "Foo")]),
               fields=asking(Foo="1")),
        hit(fields=asking(Foo="1")),
        origin(fields=asking(Foo="2")),
    ),
    Story(
        "the-answer-keeps-its-vary",
        origin(varied("Foo, Bar"), fields=asking(Foo="1")),
        hit(fields=asking(Foo="1"), has={"Vary": "Foo, Bar"}),
    ),
]  # fmt: skip


@pytest.mark.parametrize("story", MATCHING, ids=str)
def test_matching(story, told):
    told(story)


@pytest.mark.parametrize("story", ANY, ids=str)
def test_any(story, told):
    told(story)


@pytest.mark.parametrize("story", NORMAL, ids=str)
def test_normal_forms(story, told):
    told(story)


@pytest.mark.parametrize("story", LANGUAGE, ids=str)
def test_content_language(story, told):
    told(story)


@pytest.mark.parametrize("story", COOKIES, ids=str)
def test_vary_cookie(story, told):
    told(story)


@pytest.mark.parametrize("story", LIFE, ids=str)
def test_each_variant_has_its_own_life(story, told):
    told(story)
