# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of the cache share: one edge, one origin, and all stories told at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenarios.story import Story, Teller, cached, tell_all

from strangler.testing import Edge, Upstream


@pytest.fixture(scope="session")
def told(request: pytest.FixtureRequest) -> Iterator[Teller]:
    """Return a function that fails where the story given to it went wrong.

    All stories of the session were told before it returns, side by side to one edge.
    """
    stories: list[Story] = []
    for item in request.session.items:
        # By the parameter's type: another suite may use the fixture's name for one of its own.
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            stories += [v for v in item.callspec.params.values() if isinstance(v, Story)]
    with Upstream() as origin:
        with Edge(cached(origin), access_log="off") as edge:
            outcomes = tell_all(stories, edge, origin)

            def look(story: Story) -> None:
                fault = outcomes[id(story)]
                if fault is not None:
                    raise fault

            yield look
