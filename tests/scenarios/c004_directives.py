# SPDX-License-Identifier: Apache-2.0
"""Directives of responses (cache-behaviours 4): what may be stored, and what must be asked about.

RFC 9111 §3, §5.2.2.
"""

from __future__ import annotations

import pytest
from scenarios.story import EXPIRED, At, Given, Story, confirmed, control, hit, origin

EXPIRES = ("Expires", At(10000))
DATE = ("Date", At(0))
V1 = ("ETag", '"v1"')


def never(id: str, given: Given, why: str, **more) -> Story:
    """Tell that *given* is not stored, and that the reader is told why."""
    return Story(id, origin(given, why=why, stored=False), origin(), **more)


def asked_about(id: str, given: Given, **more) -> Story:
    """Tell that *given* is stored, and used only after the origin confirmed it."""
    return Story(
        id,
        origin(given, stored=True),
        confirmed(sent={"If-None-Match": '"v1"'}, forward="stale"),
        confirmed(sent={"If-None-Match": '"v1"'}),
        **more,
    )


STORING = [
    never("private", control("private, max-age=60"), "private", rfc="9111 5.2.2.7"),
    never("private-in-any-case", control("PriVate, max-age=60"), "private"),
    never("private-with-argument", control('private="not a name", max-age=60'), "private"),
    never("no-store", control("no-store"), "no-store", rfc="9111 5.2.2.5"),
    never("no-store-in-any-case", control("No-StOrE"), "no-store"),
    never("no-store-beside-max-age", control("max-age=9999, no-store"), "no-store"),
    never("no-store-first", control("no-store, max-age=9999"), "no-store"),
    never("no-store-beside-expires", control("no-store", DATE, EXPIRES), "no-store"),
    never("no-store-beside-public", control("public, no-store, max-age=60"), "no-store"),
    never("no-store-beside-etag", control("no-store, max-age=60", V1), "no-store"),
    never("no-store-with-argument", control("no-store=foo, max-age=60"), "no-store"),
    never(
        "no-store-on-a-second-line",
        Given(fields=[("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")]),
        "no-store",
    ),
    never("private-and-no-store", control("private, no-store"), "no-store"),
    Story(
        "private-that-names-fields",
        # The one whose request was sent gets the field; it is kept for nobody else.
        origin(
            control('private="x-user", max-age=60', ("X-User", "ana"), ("X-Other", "1")),
            has={"X-User": "ana"},
            stored=True,
        ),
        hit(has={"X-Other": "1"}, lacks=("X-User",)),
        rfc="9111 5.2.2.7",
    ),
    Story(
        "ignore-private",
        origin(control("private, max-age=60")),
        hit(),
        route="/private-stored",
    ),
    Story("ignore-no-store", origin(control("no-store")), hit(), route="/no-store-stored"),
    Story("ignore-no-cache", origin(control("no-cache")), hit(), route="/no-cache-used"),
    Story(
        "ignore-of-one-is-not-of-another",
        origin(control("no-store")),
        origin(),
        route="/private-stored",
    ),
]

CHECKING = [
    asked_about("no-cache", control("no-cache", V1), rfc="9111 5.2.2.4"),
    asked_about("no-cache-beside-max-age", control("no-cache, max-age=60", V1)),
    asked_about("no-cache-behind-max-age", control("max-age=60, no-cache", V1)),
    asked_about("no-cache-in-any-case", control("No-CaChE, max-age=60", V1)),
    asked_about("no-cache-beside-expires", control("no-cache", DATE, EXPIRES, V1)),
    asked_about("no-cache-with-an-odd-argument", control('no-cache="not a name", max-age=60', V1)),
    Story(
        "no-cache-without-validator",
        origin(control("no-cache, max-age=60")),
        origin(),
        rfc="9111 5.2.2.4",
    ),
    Story(
        "no-cache-by-last-modified",
        origin(control("no-cache", ("Last-Modified", At(-3000)))),
        confirmed(sent={"If-Modified-Since": At(-3000)}),
        rfc="9111 4.3.1",
    ),
    Story(
        "no-cache-that-names-a-field",
        origin(control('no-cache="a", max-age=60', ("A", "1"), ("B", "2")), has={"A": "1"}),
        hit(has={"B": "2"}, lacks=("A",)),
        rfc="9111 5.2.2.4",
    ),
    Story(
        "no-cache-that-names-fields",
        origin(
            control('no-cache="a, b", max-age=60', ("A", "1"), ("B", "2"), ("C", "3")),
            has={"A": "1", "B": "2"},
        ),
        hit(has={"C": "3"}, lacks=("A", "B")),
        rfc="9111 5.2.2.4",
    ),
    # What names a field that the content can't be understood without is the unqualified one.
    asked_about(
        "no-cache-that-names-the-coding",
        control('no-cache="Content-Encoding", max-age=60', V1, ("Content-Encoding", "x")),
    ),
    asked_about("no-cache-that-names-date", control('no-cache="x, date", max-age=60', V1)),
    never("private-that-names-the-type", control('private="content-type", max-age=60'), "private"),
    Story(
        "no-cache-then-changed",
        origin(control("no-cache", V1)),
        origin(control("no-cache", ("ETag", '"v2"')), sent={"If-None-Match": '"v1"'}),
        confirmed(sent={"If-None-Match": '"v2"'}),
        rfc="9111 4.3.3",
    ),
    Story(
        "must-revalidate-while-fresh",
        origin(control("max-age=60, must-revalidate", V1)),
        hit(),
        rfc="9111 5.2.2.2",
    ),
    Story(
        "must-revalidate-when-stale",
        origin(control("max-age=1, must-revalidate", V1)),
        hit(wait=EXPIRED),
        confirmed(sent={"If-None-Match": '"v1"'}),
        hit(number=0),
        rfc="9111 5.2.2.2",
    ),
    Story(
        "proxy-revalidate-while-fresh",
        origin(control("max-age=60, proxy-revalidate")),
        hit(),
        rfc="9111 5.2.2.8",
    ),
    Story(
        "proxy-revalidate-when-stale",
        origin(control("max-age=1, proxy-revalidate", V1)),
        hit(wait=EXPIRED),
        confirmed(),
        rfc="9111 5.2.2.8",
    ),
    Story("must-revalidate-alone", origin(control("must-revalidate")), origin()),
    Story("no-transform", origin(control("no-transform, max-age=60")), hit(), rfc="9111 5.2.2.6"),
    Story("immutable", origin(control("immutable, max-age=60")), hit(), rfc="8246 2"),
    Story(
        "immutable-when-stale",
        origin(control("max-age=1, immutable", V1)),
        hit(wait=EXPIRED),
        confirmed(),
        rfc="8246 2",
    ),
]

SURVIVING = [
    Story(
        "a-fresh-copy-survives-no-store",
        origin(control("max-age=60", V1)),
        # A reader who must have it anew gets what may not be stored; others keep the copy.
        origin(control("no-store"), fields=[("Cache-Control", "no-cache")]),
        hit(number=0),
        route="/steered",
        rfc="9111 5.2.2.5",
    ),
    Story(
        "a-fresh-copy-survives-no-store-max-age-0",
        origin(control("max-age=60", V1)),
        origin(control("no-store, max-age=0"), fields=[("Cache-Control", "no-cache")]),
        hit(number=0),
        route="/steered",
        rfc="9111 5.2.2.5",
    ),
    Story(
        "a-stale-copy-does-not-become-fresh-by-no-store",
        origin(control("max-age=0", V1)),
        origin(control("no-store"), sent={"If-None-Match": '"v1"'}),
        origin(control("max-age=60", ("ETag", '"v3"'))),
        hit(number=2),
        rfc="9111 5.2.2.5",
    ),
    Story(
        "what-became-private-is-not-shared",
        origin(control("max-age=0", V1)),
        origin(control("private, max-age=60", ("ETag", '"v2"'))),
        origin(control("private, max-age=60", ("ETag", '"v3"'))),
        rfc="9111 5.2.2.7",
    ),
]

UNDERSTANDING = [
    Story(
        "must-understand-overrides-no-store",
        origin(control("must-understand, no-store, max-age=60")),
        hit(),
        rfc="9111 5.2.2.3",
    ),
    Story(
        "must-understand-in-any-order-and-case",
        origin(control("no-store, max-age=60, Must-Understand")),
        hit(),
        rfc="9111 5.2.2.3",
    ),
    never(
        "must-understand-an-unknown-status",
        Given(status=299, fields=[("Cache-Control", "must-understand, no-store, max-age=60")]),
        "not-understood",
        rfc="9111 5.2.2.3",
    ),
    never(
        "must-understand-an-unknown-status-without-no-store",
        Given(status=299, fields=[("Cache-Control", "must-understand, max-age=60")]),
        "not-understood",
        rfc="9111 3",
    ),
    Story(
        "must-understand-without-no-store",
        origin(control("must-understand, max-age=60")),
        hit(),
        rfc="9111 5.2.2.3",
    ),
    never(
        "must-understand-does-not-override-private",
        control("must-understand, private, max-age=60"),
        "private",
        rfc="9111 5.2.2.7",
    ),
]


@pytest.mark.parametrize("story", STORING, ids=str)
def test_storing(story, told):
    told(story)


@pytest.mark.parametrize("story", CHECKING, ids=str)
def test_checking(story, told):
    told(story)


@pytest.mark.parametrize("story", SURVIVING, ids=str)
def test_a_copy_beside_what_is_not_stored(story, told):
    told(story)


@pytest.mark.parametrize("story", UNDERSTANDING, ids=str)
def test_must_understand(story, told):
    told(story)
