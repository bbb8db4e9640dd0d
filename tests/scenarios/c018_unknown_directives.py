# SPDX-License-Identifier: Apache-2.0
"""Unknown, empty and malformed directives in requests change nothing (cache-behaviours 18).

RFC 9111 §5.2, §5.2.3.
"""

from __future__ import annotations

import pytest
from scenarios.story import Story, control, hit, origin

VALUES = {
    "unknown": "foo",
    "unknown-with-value": "foo=bar",
    "unknown-quoted": 'foo="no-cache, max-age=0"',
    "empty": "",
    "commas": ",,,",
    "spaces": "  ",
    "max-age-empty": "max-age=",
    "max-age-bare": "max-age",
    "max-age-negative": "max-age=-1",
    "max-age-word": "max-age=soon",
    "max-age-spaced": "max-age =0",
    "min-fresh-word": "min-fresh=much",
    "min-fresh-bare": "min-fresh",
    "immutable": "immutable",
    "public": "public",
    "private": "private",
    "must-revalidate": "must-revalidate",
    "no-transform": "no-transform",
    "s-maxage": "s-maxage=0",
    "control-like": "\x80\xff",
}

STORIES = [
    Story(
        f"{where}-{name}",
        origin(control("max-age=60")),
        hit(fields=[("Cache-Control", value)]),
        route=route,
    )
    for where, route in (("unsteered-request", "/origin"), ("steered-request", "/steered"))
    for name, value in VALUES.items()
] + [
    Story(
        f"{where}-first-{name}",
        origin(control("max-age=60"), fields=[("Cache-Control", value)]),
        hit(),
        route=route,
    )
    for where, route in (("unsteered", "/origin"), ("steered", "/steered"))
    for name, value in VALUES.items()
    if name in ("unknown", "empty", "commas", "max-age-empty", "private")
]


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_they_change_nothing(story, told):
    told(story)
