# SPDX-License-Identifier: Apache-2.0
"""Ranges (cache-behaviours 11): parts of what is stored whole, and parts that are stored.

RFC 9110 §14, RFC 9111 §3.3, §3.4.
"""

from __future__ import annotations

import time

import pytest
from scenarios.story import Ask, At, Given, Story, ask, cached, control, hit, origin, written

from strangler.testing import Edge, Upstream, respond

BODY = "0123456789A"
WHOLE = Given(body=BODY, fields=[("Cache-Control", "max-age=60"), ("X-A", "1")])


def part(id: str, value: str, text: str, shown: str, **more) -> Story:
    """Tell that Range *value* of a stored whole is answered by 206 with *text*."""
    return Story(
        id,
        origin(WHOLE),
        hit(fields=[("Range", value)], status=206, text=text,
            has={"Content-Range": shown, "Content-Length": str(len(text)), "X-A": "1"}),
        hit(number=0),
        **more,
    )  # fmt: skip


def all_of_it(id: str, *values: str, fields=(), given: Given = WHOLE, **more) -> Story:
    """Tell that Range *values* are ignored: the whole is answered."""
    return Story(
        id,
        origin(given),
        hit(fields=[*(("Range", value) for value in values), *fields], status=200,
            lacks=("Content-Range",)),
        **more,
    )  # fmt: skip


FROM_WHOLE = [
    part("a-b", "bytes=0-1", "01", "bytes 0-1/11", rfc="9110 14.1.2"),
    part("a-a", "bytes=3-3", "3", "bytes 3-3/11"),
    part("middle", "bytes=2-4", "234", "bytes 2-4/11"),
    part("a-open", "bytes=1-", "123456789A", "bytes 1-10/11"),
    part("all-open", "bytes=0-", BODY, "bytes 0-10/11"),
    part("suffix", "bytes=-1", "A", "bytes 10-10/11"),
    part("suffix-longer", "bytes=-99", BODY, "bytes 0-10/11"),
    part("end-too-far", "bytes=9-99", "9A", "bytes 9-10/11"),
    part("unit-in-any-case", "BYTES=0-1", "01", "bytes 0-1/11"),
    Story("range-behind-the-end", origin(WHOLE),
          hit(fields=[("Range", "bytes=11-")], status=416, text="",
              has={"Content-Range": "bytes */11"}), rfc="9110 15.5.17"),
    Story("range-suffix-of-none", origin(WHOLE),
          hit(fields=[("Range", "bytes=-0")], status=416, text=""), rfc="9110 14.1.2"),
    all_of_it("range-of-another-unit", "lines=0-1", rfc="9110 14.2"),
    all_of_it("range-malformed", "bytes=a-b", rfc="9110 14.2"),
    all_of_it("range-reversed", "bytes=5-2", rfc="9110 14.1.1"),
    all_of_it("range-without-numbers", "bytes=-", rfc="9110 14.1.1"),
    all_of_it("range-empty", "", rfc="9110 14.1.1"),
    all_of_it("range-of-many", "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7", rfc="9110 14.2"),
    all_of_it("range-overlapping-many", "bytes=" + ",".join(["0-"] * 200), rfc="9110 14.2"),
    Story("range-of-head-is-ignored", origin(WHOLE),
          hit(method="HEAD", fields=[("Range", "bytes=0-1")], status=200,
              has={"Content-Length": "11"}), rfc="9110 14.2"),
    Story("range-of-an-error-is-ignored",
          origin(Given(status=404, body=BODY, fields=[("Cache-Control", "max-age=60")])),
          hit(fields=[("Range", "bytes=0-1")], status=404), rfc="9110 14.2"),
    Story("range-of-an-empty-content",
          origin(Given(body="", fields=[("Cache-Control", "max-age=60")])),
          hit(fields=[("Range", "bytes=0-")], status=416, text=""), rfc="9110 14.1.2"),
    Story("range-beside-a-condition-that-holds",
          origin(control("max-age=60", ("ETag", '"v1"'))),
          hit(fields=[("Range", "bytes=0-1"), ("If-None-Match", '"v1"')], status=304),
          rfc="9110 13.2.2"),
    Story("range-of-a-large-content",
          origin(Given(body="0123456789abcdef" * 65536, fields=[("Cache-Control", "max-age=60")])),
          hit(fields=[("Range", "bytes=524288-524303")], status=206, text="0123456789abcdef"),
          hit(fields=[("Range", "bytes=-16")], status=206, text="0123456789abcdef")),
]  # fmt: skip

TAG = ("ETag", '"v1"')
TAGGED = Given(body=BODY, fields=[("Cache-Control", "max-age=60"), TAG])
DATED = Given(
    body=BODY,
    fields=[("Cache-Control", "max-age=60"), ("Date", At(0)), ("Last-Modified", At(-3000))],
)


def conditioned(id: str, given: Given, condition, *, holds: bool) -> Story:
    fields = [("Range", "bytes=0-1"), ("If-Range", condition)]
    second = hit(fields=fields, status=206, text="01") if holds else hit(fields=fields, status=200)
    return Story(id, origin(given), second, rfc="9110 13.1.5")


WEAKLY = Given(body=BODY, fields=[("Cache-Control", "max-age=60"), ("ETag", 'W/"v1"')])
YOUNG = Given(
    body=BODY, fields=[("Cache-Control", "max-age=60"), ("Date", At(0)), ("Last-Modified", At(0))]
)
IF_RANGE = [
    conditioned("if-range-same-tag", TAGGED, '"v1"', holds=True),
    conditioned("if-range-another-tag", TAGGED, '"v2"', holds=False),
    conditioned("if-range-weak-asks-strong", TAGGED, 'W/"v1"', holds=False),
    conditioned("if-range-weak-asks-weak", WEAKLY, 'W/"v1"', holds=False),
    conditioned("if-range-same-date", DATED, At(-3000), holds=True),
    conditioned("if-range-later-date", DATED, At(-2000), holds=False),
    conditioned("if-range-earlier-date", DATED, At(-4000), holds=False),
    conditioned("if-range-tag-of-dated", DATED, '"v1"', holds=False),
    conditioned("if-range-malformed", TAGGED, "v1", holds=False),
    all_of_it("if-range-alone", given=TAGGED, fields=[("If-Range", '"v1"')]),
]


def piece(first: int, last: int, body: str | None = None, *fields) -> Given:
    return Given(
        status=206,
        body=BODY[first : last + 1] if body is None else body,
        fields=[
            ("Cache-Control", "max-age=60"),
            ("Content-Range", f"bytes {first}-{last}/11"),
            *fields,
        ],
    )


def ranged(value: str, text: str, *, shown: str | None = None):
    has = {"Content-Range": shown} if shown else {}
    return hit(fields=[("Range", value)], status=206, text=text, has=has)


LAST5 = [("Range", "bytes=-5")]
SHORT = Given(
    status=206,
    body="01234",
    fields=[("Cache-Control", "max-age=60"), ("Content-Range", "bytes 4-9/10")],
)
PARTS = [
    Story("part-the-same-again", origin(piece(6, 10), fields=LAST5), ranged("bytes=-5", "6789A")),
    Story("part-sub-range", origin(piece(6, 10), fields=LAST5),
          ranged("bytes=7-9", "789", shown="bytes 7-9/11")),
    Story("part-sub-range-open", origin(piece(6, 10), fields=LAST5), ranged("bytes=8-", "89A")),
    Story("part-sub-range-suffix", origin(piece(6, 10), fields=LAST5), ranged("bytes=-1", "A")),
    Story("part-first-bytes", origin(piece(0, 4), fields=[("Range", "bytes=0-4")]),
          ranged("bytes=1-3", "123")),
    # An origin that claims one byte more than it sends: what came is what there is, and where it
    # was to reach the end, that is where its bytes ended.
    Story("part-shorter-than-it-says", origin(SHORT, fields=LAST5),
          hit(fields=[("Range", "bytes=6-8")], status=206, text="234")),
    Story("part-shorter-than-it-says-open", origin(SHORT, fields=LAST5),
          ranged("bytes=6-", "234", shown="bytes 6-8/9")),
    Story("part-shorter-than-it-says-suffix", origin(SHORT, fields=LAST5), ranged("bytes=-1", "4")),
    Story("part-shorter-than-it-says-amid",
          origin(Given(status=206, body="0123", fields=[
              ("Cache-Control", "max-age=60"), ("Content-Range", "bytes 2-6/10")]),
              fields=[("Range", "bytes=2-6")]),
          ranged("bytes=3-5", "123", shown="bytes 3-5/10"),
          origin(piece(3, 6), fields=[("Range", "bytes=3-6")])),
    Story("part-does-not-hold-what-is-asked", origin(piece(6, 10), fields=LAST5),
          origin(piece(0, 4), fields=[("Range", "bytes=0-4")], text="01234")),
    Story("part-is-not-the-whole", origin(piece(6, 10), fields=LAST5),
          origin(WHOLE), hit(number=1)),
    Story("part-is-not-for-head", origin(piece(6, 10), fields=LAST5),
          origin(WHOLE, method="HEAD")),
    Story("part-of-unknown-length", origin(Given(status=206, body="01234", fields=[
              ("Cache-Control", "max-age=60"), ("Content-Range", "bytes 0-4/*")]),
              fields=[("Range", "bytes=0-4")]),
          ranged("bytes=1-2", "12", shown="bytes 1-2/*")),
    Story("part-in-several-parts-is-not-stored", origin(Given(status=206, body="--x--", fields=[
              ("Cache-Control", "max-age=60"),
              ("Content-Type", "multipart/byteranges; boundary=x")]),
              fields=[("Range", "bytes=0-1,3-4")]),
          origin(piece(0, 1), fields=[("Range", "bytes=0-1")])),
    Story("part-with-nonsense-is-not-stored", origin(Given(status=206, body="01", fields=[
              ("Cache-Control", "max-age=60"), ("Content-Range", "bytes 5-2/11")]),
              fields=[("Range", "bytes=0-1")]),
          origin(WHOLE)),
    Story("part-never-hides-a-whole", origin(WHOLE),
          ranged("bytes=0-1", "01"), hit(number=0), ranged("bytes=-1", "A")),
    Story("part-fresh-no-longer", origin(Given(status=206, body="6789A", fields=[
              ("Cache-Control", "max-age=60"), ("Age", "90"),
              ("Content-Range", "bytes 6-10/11")]), fields=LAST5),
          origin(piece(6, 10), fields=LAST5)),
    # The reader may get the part or the whole; what is stored is the whole.
    Story("a-200-to-a-range-is-the-whole", Ask(expect="any", given=WHOLE, fields=LAST5),
          ranged("bytes=-1", "A"), hit(number=0)),
    Story("a-miss-asks-for-what-the-reader-asks",
          origin(piece(0, 1), fields=[("Range", "bytes=0-1")], sent={"Range": "bytes=0-1"})),
]  # fmt: skip

COMPLETING = [
    Story("part-then-the-rest-behind",
          origin(piece(0, 4, None, TAG), fields=[("Range", "bytes=0-4")]),
          origin(piece(5, 10, None, TAG), sent={"Range": "bytes=5-"}, status=200, text=BODY,
                 forward="partial"),
          hit(status=200, text=BODY),
          ranged("bytes=3-6", "3456"), rfc="9111 3.4"),
    Story("part-then-the-rest-before",
          origin(piece(6, 10, None, TAG), fields=LAST5),
          origin(piece(0, 5, None, TAG), sent={"Range": "bytes=0-5"}, status=200, text=BODY),
          hit(status=200, text=BODY), rfc="9111 3.4"),
    Story("part-then-something-else",
          origin(piece(0, 4, None, TAG), fields=[("Range", "bytes=0-4")]),
          # The origin has changed: If-Range gets the new whole.
          origin(Given(body="new", fields=[("Cache-Control", "max-age=60"), ("ETag", '"v2"')]),
                 sent={"If-Range": '"v1"'}),
          hit(number=1), rfc="9110 13.1.5"),
    Story("parts-of-one-tag-join",
          origin(piece(0, 4, None, TAG), fields=[("Range", "bytes=0-4")]),
          origin(piece(5, 7, None, TAG), fields=[("Range", "bytes=5-7")]),
          ranged("bytes=3-6", "3456"), rfc="9111 3.4"),
    Story("parts-of-two-tags-do-not-join",
          origin(piece(0, 4, None, TAG), fields=[("Range", "bytes=0-4")]),
          origin(piece(5, 7, "xyz", ("ETag", '"v2"')), fields=[("Range", "bytes=5-7")]),
          origin(piece(3, 6, "3456", ("ETag", '"v2"')), fields=[("Range", "bytes=3-6")]),
          rfc="9111 3.4"),
    Story("parts-of-weak-tags-do-not-join",
          origin(piece(0, 4, None, ("ETag", 'W/"v1"')), fields=[("Range", "bytes=0-4")]),
          origin(piece(5, 7, None, ("ETag", 'W/"v1"')), fields=[("Range", "bytes=5-7")]),
          origin(piece(3, 6, None, ("ETag", 'W/"v1"')), fields=[("Range", "bytes=3-6")]),
          rfc="9111 3.4"),
]  # fmt: skip


OLD, OLDER = ("Last-Modified", At(-3000)), ("Last-Modified", At(-4000))
NOW, VARIES, FOO = ("Date", At(0)), ("Vary", "Foo"), ("Foo", "1")


def apart(id: str, *fields, second=None, **more) -> Story:
    """Tell that two parts with *fields*, the later one with *second*, are not joined."""
    later = fields if second is None else second
    return Story(
        id,
        origin(piece(0, 4, None, NOW, *fields), fields=[("Range", "bytes=0-4")]),
        origin(piece(5, 7, None, NOW, *later), fields=[("Range", "bytes=5-7")]),
        origin(piece(3, 6, None, NOW, *later), fields=[("Range", "bytes=3-6")]),
        **more,
    )


COMPLETING_BY_DATE = [
    Story("part-then-the-rest-by-date",
          origin(piece(0, 4, None, OLD, NOW), fields=[("Range", "bytes=0-4")]),
          origin(piece(5, 10, None, OLD, NOW), status=200, text=BODY, forward="partial",
                 sent={"Range": "bytes=5-", "If-Range": None}, unsent=("If-Modified-Since",)),
          hit(status=200, text=BODY, has={"Last-Modified": At(-3000)}), rfc="9110 8.8.2.2"),
    Story("parts-of-one-date-join",
          origin(piece(0, 4, None, OLD, NOW), fields=[("Range", "bytes=0-4")]),
          origin(piece(5, 7, None, OLD, NOW), fields=[("Range", "bytes=5-7")]),
          ranged("bytes=3-6", "3456"), rfc="9110 8.8.2.2"),
    *[
        Story(f"parts-of-two-variants-do-not-join-by-{by}",
              origin(piece(0, 6, None, NOW, VARIES, *known), fields=[("Range", "bytes=0-6"), FOO]),
              origin(piece(5, 9, "vwxyz", NOW, VARIES, *known), text="vwxyz",
                     fields=[("Range", "bytes=5-9")]),
              ranged("bytes=5-9", "vwxyz"),
              hit(fields=[("Range", "bytes=4-5"), FOO], status=206, text="45"),
              origin(piece(2, 8, "stuvwxy", NOW, VARIES, *known), fields=[("Range", "bytes=2-8")],
                     text="stuvwxy"),
              rfc="9111 4.1")
        for by, known in (("date", [OLD]), ("tag", [TAG]))
    ],
    apart("parts-of-two-dates-do-not-join", OLD, second=(OLDER,)),
    apart("parts-of-a-young-date-do-not-join", ("Last-Modified", At(0)), rfc="9110 8.8.2.2"),
    apart("parts-of-a-weak-tag-and-a-date-do-not-join", ("ETag", 'W/"v1"'), OLD),
    apart("parts-of-a-date-once-with-a-tag-do-not-join", OLD, second=(OLD, TAG)),
    apart("parts-without-a-validator-do-not-join"),
]  # fmt: skip


def test_the_rest_of_something_newer_is_not_joined():
    """An origin that ignores If-Range answers a part of another day: the whole is asked for."""
    first, later = written([OLDER, NOW], time.time()), written([OLD, NOW], time.time())
    with Upstream() as source, Edge(cached(source)) as edge:
        minute = ("Cache-Control", "max-age=60")
        source.answers(respond(206, "01234", [minute, ("Content-Range", "bytes 0-4/11"), *first]))
        source.then(respond(206, "uvwxyz", [minute, ("Content-Range", "bytes 5-10/11"), *later]))
        source.then(respond(200, "pqrstuvwxyz", [minute, *later]))
        ask(edge, "/origin/newer", [("Range", "bytes=0-4")]).expect(206, body="01234")
        edge.get("/origin/newer").expect(200, body="pqrstuvwxyz")
        edge.get("/origin/newer").expect(200, body="pqrstuvwxyz")
        seen = [(each.get("range"), "if-range" in each) for each in source.requests]
        assert seen == [(b"bytes=0-4", False), (b"bytes=5-", True), (None, False)]


REST = ("Content-Range", "bytes 5-10/11")
NO_REST = {
    "with-a-cookie": respond(206, "56789A", [*TAGGED.fields, REST, ("Set-Cookie", "a=b")]),
    "no-store": respond(206, "56789A", [("Cache-Control", "no-store"), TAG, REST]),
    "private": respond(206, "56789A", [("Cache-Control", "private"), TAG, REST]),
    "without-its-place": respond(206, "56789A", [*TAGGED.fields]),
    "in-parts": respond(
        206, "--x--", [*TAGGED.fields, ("Content-Type", "multipart/byteranges; boundary=x")]
    ),
    "of-another-tag": respond(
        206, "uvwxyz", [("Cache-Control", "max-age=60"), ("ETag", '"v2"'), REST]
    ),
    "unsatisfiable": respond(416, "", [("Content-Range", "bytes */3")]),
    "not-modified": respond(304, "", [TAG]),
}


@pytest.mark.parametrize("answer", NO_REST.values(), ids=NO_REST.keys())
def test_whoever_asks_for_the_whole_never_gets_the_rest(answer):
    """The rest is what the edge asked for, not the reader: where it is of no use, ask again."""
    with Upstream() as source, Edge(cached(source)) as edge:
        first = piece(0, 4, None, TAG)
        source.answers(respond(206, "01234", list(first.fields)))
        source.then(answer).then(respond(200, BODY, list(TAGGED.fields)))
        ask(edge, "/origin/rest", [("Range", "bytes=0-4")]).expect(206, body="01234")
        edge.get("/origin/rest").expect(200, body=BODY)
        assert [each.get("range") for each in source.requests] == [b"bytes=0-4", b"bytes=5-", None]


@pytest.mark.parametrize("story", FROM_WHOLE, ids=str)
def test_from_the_whole(story, told):
    told(story)


@pytest.mark.parametrize("story", IF_RANGE, ids=str)
def test_if_range(story, told):
    told(story)


@pytest.mark.parametrize("story", PARTS, ids=str)
def test_parts_are_stored(story, told):
    told(story)


@pytest.mark.parametrize("story", COMPLETING + COMPLETING_BY_DATE, ids=str)
def test_parts_are_completed(story, told):
    told(story)
