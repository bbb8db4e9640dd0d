# SPDX-License-Identifier: Apache-2.0
"""HEAD, and requests that steer the cache (cache-behaviours 17).

RFC 9111 §4.3.5, §5.2.1, §5.4.
"""

from __future__ import annotations

import pytest
from scenarios.story import EXPIRED, Ask, At, Given, Story, confirmed, control, failed, hit, origin

TAG = ("ETag", '"v1"')
FRESH = "max-age=3600"


def head(given: Given | None = None, **more) -> Ask:
    return origin(given, method="HEAD", **more)


HEADS = [
    Story(
        "head-from-store",
        origin(control(FRESH, ("X-A", "1"))),
        hit(method="HEAD", has={"X-A": "1"}),
        hit(number=0),
    ),
    Story(
        "head-from-store-has-the-length",
        origin(Given(body="12345", fields=[("Cache-Control", FRESH)])),
        hit(method="HEAD", has={"Content-Length": "5"}),
    ),
    Story(
        "head-is-not-stored-for-get", head(control(FRESH)), origin(control(FRESH)), hit(number=1)
    ),
    Story("head-is-asked-as-head-when-nothing-is-stored", head(control(FRESH)), head()),
    Story(
        "head-of-a-stale-copy-is-written-through",
        origin(control("max-age=0", TAG)),
        Ask(expect="any", method="HEAD", given=control("max-age=0", TAG), status=200),
    ),
    Story(
        "head-200-freshens",
        origin(control("max-age=1", ("X-A", "1")), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(body="head-200-freshens 0", fields=[("Cache-Control", FRESH)]),
        ),
        hit(number=0, has={"X-A": "1", "Cache-Control": FRESH}),
    ),
    Story(
        "head-200-updates-fields",
        origin(control("max-age=1", ("X-A", "1")), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(
                body="head-200-updates-fields 0", fields=[("Cache-Control", FRESH), ("X-A", "2")]
            ),
        ),
        hit(number=0, has={"X-A": "2"}),
    ),
    Story(
        "head-200-keeps-what-it-omits",
        origin(control("max-age=1", ("X-A", "1")), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(body="head-200-keeps-what-it-omits 0", fields=[("Cache-Control", FRESH)]),
        ),
        hit(method="HEAD", number=0, has={"X-A": "1"}),
    ),
    Story(
        "head-200-by-tag-freshens",
        origin(control("max-age=1", TAG), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(body="head-200-by-tag-freshens 0", fields=[("Cache-Control", FRESH), TAG]),
        ),
        hit(number=0),
    ),
    Story(
        "head-with-another-length-invalidates",
        origin(Given(body="12345", fields=[("Cache-Control", "max-age=1")]), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(body="123456789", fields=[("Cache-Control", FRESH)]),
        ),
        origin(Given(body="new", fields=[("Cache-Control", FRESH)])),
        rfc="9111 4.3.5",
    ),
    Story(
        "head-with-another-tag-invalidates",
        origin(control("max-age=1", TAG), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(
                body="head-with-another-tag-invalidates 0",
                fields=[("Cache-Control", FRESH), ("ETag", '"v2"')],
            ),
        ),
        origin(control(FRESH, ("ETag", '"v2"'))),
        rfc="9111 4.3.5",
    ),
    Story(
        "head-with-another-date-invalidates",
        origin(control("max-age=1", ("Last-Modified", At(-3000))), wait=EXPIRED),
        Ask(
            expect="any",
            method="HEAD",
            given=Given(
                body="head-with-another-date-invalidates 0",
                fields=[("Cache-Control", FRESH), ("Last-Modified", At(-2000))],
            ),
        ),
        origin(control(FRESH)),
        rfc="9111 4.3.5",
    ),
    Story(
        "head-410-invalidates",
        origin(control("max-age=1", TAG), wait=EXPIRED),
        Ask(
            expect="any", method="HEAD", given=Given(status=410, fields=[("Cache-Control", FRESH)])
        ),
        origin(Given(status=410, fields=[("Cache-Control", FRESH)])),
    ),
    Story(
        "head-500-leaves-it",
        origin(control("max-age=1, stale-if-error=60", TAG), wait=EXPIRED),
        Ask(
            expect="any", method="HEAD", given=Given(status=500, fields=[("Cache-Control", FRESH)])
        ),
        confirmed(control(FRESH, TAG), number=0),
    ),
    Story(
        "head-of-a-variant",
        origin(control(FRESH, ("Vary", "Foo")), fields=[("Foo", "1")]),
        hit(method="HEAD", fields=[("Foo", "1")]),
        head(fields=[("Foo", "2")]),
    ),
    Story(
        "head-of-a-stored-404",
        origin(Given(status=404, fields=[("Cache-Control", FRESH)])),
        hit(method="HEAD", status=404),
    ),
    Story(
        "head-of-a-stored-redirect",
        origin(Given(status=301, fields=[("Cache-Control", FRESH), ("Location", "/x")])),
        hit(method="HEAD", status=301, has={"Location": "/x"}),
    ),
]


def cc(value: str) -> list[tuple[str, str]]:
    return [("Cache-Control", value)]


#: directive → (what the origin says, whether it sends a steered reader to the origin)
STEERS = {
    "max-age=0": control(FRESH),
    "max-age=600": control(FRESH, ("Age", "1800")),
    "min-fresh=7200": control(FRESH),
    "min-fresh=1000": control(FRESH, ("Age", "3000")),
    "no-cache": control(FRESH),
    "No-Cache": control(FRESH),
    "no-store": None,
}
STEERED = [
    *(
        Story(f"steered-{directive}", origin(given), origin(fields=cc(directive)),
              route="/steered", rfc="9111 5.2.1")
        for directive, given in STEERS.items()
        if given is not None
    ),
    *(
        Story(f"unsteered-{directive}", origin(given), hit(fields=cc(directive)),
              rfc="9111 5.2.1")
        for directive, given in STEERS.items()
        if given is not None
    ),
    Story("steered-no-store-is-not-stored", origin(control(FRESH), fields=cc("no-store"),
          why="request-no-store"), origin(), route="/steered", rfc="9111 5.2.1.5"),
    Story("unsteered-no-store-is-stored", origin(control(FRESH), fields=cc("no-store")), hit(),
          rfc="9111 5.2.1.5"),
    Story("steered-no-cache-asks-by-tag", origin(control(FRESH, TAG)),
          confirmed(fields=cc("no-cache"), sent={"If-None-Match": '"v1"'}, forward="request"),
          route="/steered", rfc="9111 5.2.1.4"),
    Story("steered-no-cache-asks-by-date", origin(control(FRESH, ("Last-Modified", At(-9999)))),
          confirmed(fields=cc("no-cache"), sent={"If-Modified-Since": At(-9999)}),
          route="/steered", rfc="9111 5.2.1.4"),
    Story("steered-pragma", origin(control(FRESH)), origin(fields=[("Pragma", "no-cache")]),
          route="/steered", rfc="9111 5.4"),
    Story("steered-pragma-beside-cache-control", origin(control(FRESH)),
          hit(fields=[("Pragma", "no-cache"), ("Cache-Control", "max-stale=1")]),
          route="/steered", rfc="9111 5.4"),
    Story("steered-pragma-unknown", origin(control(FRESH)), hit(fields=[("Pragma", "foo")]),
          route="/steered", rfc="9111 5.4"),
    Story("unsteered-pragma", origin(control(FRESH)), hit(fields=[("Pragma", "no-cache")]),
          rfc="9111 5.4"),
    Story("steered-max-age-satisfied", origin(control(FRESH, ("Age", "30"))),
          hit(fields=cc("max-age=600")), route="/steered"),
    Story("steered-min-fresh-satisfied", origin(control(FRESH)), hit(fields=cc("min-fresh=60")),
          route="/steered"),
    Story("steered-max-stale", origin(control("max-age=1500", ("Age", "2000"), TAG)),
          hit(fields=cc("max-stale=1000"), ttl=-500), route="/steered", rfc="9111 5.2.1.2"),
    Story("steered-max-stale-unbounded", origin(control("max-age=1500", ("Age", "9000"), TAG)),
          hit(fields=cc("max-stale")), route="/steered", rfc="9111 5.2.1.2"),
    Story("steered-max-stale-exceeded", origin(control("max-age=1500", ("Age", "2000"), TAG)),
          confirmed(fields=cc("max-stale=100")), route="/steered", rfc="9111 5.2.1.2"),
    Story("steered-max-stale-not-against-must-revalidate",
          origin(control("max-age=1500, must-revalidate", ("Age", "2000"), TAG)),
          confirmed(fields=cc("max-stale=1000")), route="/steered", rfc="9111 5.2.2.2"),
    Story("unsteered-max-stale", origin(control("max-age=1500", ("Age", "2000"), TAG)),
          confirmed(fields=cc("max-stale=1000"))),
    Story("steered-only-if-cached-without-a-copy",
          failed(control(FRESH), fields=cc("only-if-cached"), status=504),
          origin(control(FRESH)), hit(fields=cc("only-if-cached"), number=1),
          route="/steered", rfc="9111 5.2.1.7"),
    Story("unsteered-only-if-cached", origin(control(FRESH), fields=cc("only-if-cached")),
          rfc="9111 5.2.1.7"),
    Story("steered-stale-if-error", origin(control("max-age=0", TAG)),
          Ask(expect="stale", given=Given(status=500), fields=cc("stale-if-error=60"), number=0,
              status=200), route="/steered", rfc="5861 4"),
    Story("steered-stale-if-error-exceeded", origin(control("max-age=10", ("Age", "60"), TAG)),
          origin(Given(status=500), fields=cc("stale-if-error=20"), status=500),
          route="/steered", rfc="5861 4"),
    Story("unsteered-stale-if-error", origin(control("max-age=0", TAG)),
          origin(Given(status=500), fields=cc("stale-if-error=60"), status=500), rfc="5861 4"),
    Story("steered-what-is-fetched-anew-is-stored", origin(control(FRESH)),
          origin(control(FRESH), fields=cc("no-cache")), hit(number=1), route="/steered"),
]  # fmt: skip


@pytest.mark.parametrize("story", HEADS, ids=str)
def test_head(story, told):
    told(story)


@pytest.mark.parametrize("story", STEERED, ids=str)
def test_steering(story, told):
    told(story)
