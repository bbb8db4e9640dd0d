# SPDX-License-Identifier: Apache-2.0
"""A program that has lost its senses changes overrides all the time: it is slowed, nobody else is.

pains.md 51 (an admin listener that one client can drown).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenarios.load import origin
from scenarios.o001_overrides import call, listed, post
from scenarios.story import token

from strangler.testing import Edge, RawClient, configuration, until

LIMIT = 1
SECOND = "another-token-of-enough-letters"
ASKED = {"kind": "freeze", "subject": "site", "value": True, "reason": "a loop"}


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    with origin("legacy") as legacy, origin("busca") as busca:
        text = configuration(
            {"/**": "legacy", "/busca/**": "busca"},
            upstreams={"legacy": legacy, "busca": busca},
            overrides={"changes": LIMIT},
        )
        given = {"STRANGLER_TOKEN": SECOND}
        with Edge(text, workers=4, access_log="off", environment=given) as made:
            yield made


def test_pain_51_a_runaway_is_slowed_and_the_way_back_is_open(edge: Edge) -> None:
    statuses = [post(edge, "/overrides", **ASKED)[0] for _ in range(10 * LIMIT)]
    assert statuses == [201] * (10 * LIMIT)
    own = f"127.0.0.1:{edge.admin_port}"
    fields = [("Authorization", f"Bearer {token(edge)}"), ("Content-Type", "application/json")]
    with RawClient(edge.admin, server_name=own) as client:

        def refused() -> bool:
            nonlocal response
            response = client.request("POST", "/-/parity/reset", fields, '{"route": "/nothing"}')
            return response.status == 429

        response = None
        until(refused, timeout=30)
        assert response.get("Retry-After") == b"1"
        assert "makes more changes than overrides.changes allows: 1/s" in response.text
    # By the same token: what puts a reader right, and what only tells.
    assert post(edge, "/back", route="/busca/**", to="legacy", reason="errors")[0] == 201
    assert post(edge, "/overrides/preview", **ASKED)[0] == 200
    assert post(edge, "/purge", all=True)[0] == 200
    assert len(listed(edge)["overrides"]) == 2
    # Another token has its own, and the first one's comes back.
    assert call(edge, "POST", "/overrides", ASKED, SECOND)[0] == 201
    until(lambda: post(edge, "/overrides/clear", all=True, reason="over")[0] == 200)
