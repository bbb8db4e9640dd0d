# SPDX-License-Identifier: Apache-2.0
"""Interim responses (cache-behaviours 15): forwarded, never stored, never mixed in.

RFC 9110 §15.2, RFC 9111 §3; RFC 8297.
"""

from __future__ import annotations

import pytest
from scenarios.story import Given, Story, ask, cached, confirmed, control, hit, origin

from strangler.testing import Edge, Upstream, respond

PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"
HINTS = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\nX-Early: 1\r\n"
    b"Cache-Control: max-age=9999\r\n\r\n"
)
MINUTE = [("Cache-Control", "max-age=60")]

STORIES = [
    Story("102", origin(Given(interim=(PROCESSING,), fields=MINUTE)), hit()),
    Story(
        "103",
        origin(Given(interim=(HINTS,), fields=MINUTE), lacks=("Link", "X-Early")),
        hit(lacks=("Link", "X-Early")),
    ),
    Story(
        "several",
        origin(Given(interim=(PROCESSING, HINTS, HINTS), fields=MINUTE), lacks=("Link",)),
        hit(lacks=("Link", "X-Early")),
    ),
    Story(
        "an-interims-lifetime-is-not-the-finals",
        origin(Given(interim=(HINTS,))),
        origin(),
        rfc="8297 2",
    ),
    Story(
        "an-interims-set-cookie-is-not-the-finals",
        origin(
            Given(interim=(b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\r\n",), fields=MINUTE),
            lacks=("Set-Cookie",),
        ),
        hit(lacks=("Set-Cookie",)),
    ),
    Story(
        "before-a-304",
        origin(control("max-age=0", ("ETag", '"v1"'))),
        confirmed(
            Given(interim=(HINTS,), fields=[*MINUTE, ("ETag", '"v1"')]), lacks=("Link", "X-Early")
        ),
        hit(number=0, lacks=("Link", "X-Early")),
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_never_stored(story, told):
    told(story)


def test_forwarded_to_the_reader_who_made_the_fetch():
    with Upstream() as source, Edge(cached(source)) as edge:
        source.on("/origin/hinted", HINTS, PROCESSING, respond(200, "x", MINUTE))
        first = ask(edge, "/origin/hinted").expect(200, body="x")
        assert [each.status for each in first.informational] == [103, 102]
        assert first.informational[0].get("link") == b"</style.css>; rel=preload; as=style"
        second = ask(edge, "/origin/hinted").expect(200, body="x")
        assert second.informational == []
        source.expect_requests(1)
