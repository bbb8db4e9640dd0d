# SPDX-License-Identifier: Apache-2.0
"""Two edges that share one Redis: one of them drives the rollouts, and the other takes over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenarios.k002_rollout import audited, canary, origins, overrides, rollout, stage, traffic
from scenarios.o001_overrides import call, post
from servers.redis import Redis

from strangler.testing import Edge, configuration, until

KEY = {"STRANGLER_SIGNING_KEY": "a key that both edges of the fleet have been given"}


@pytest.fixture(scope="module")
def text() -> Iterator[str]:
    legacy, shop = origins()
    routes = {
        "/**": "legacy",
        "/up/**": canary(20, hold="500ms"),
        "/later/**": canary(20, hold="500ms"),
        "/tested/**": {"to": "shop", "stage": "canary 0%"},
    }
    with Redis() as redis, legacy, shop:
        yield configuration(
            routes, upstreams={"legacy": legacy, "shop": shop}, overrides={"store": redis.url}
        )


def test_one_drives_and_the_other_takes_over(text: str) -> None:
    one = Edge(text, workers=1, access_log="off", environment=KEY)
    other = Edge(text, workers=1, access_log="off", environment=KEY)
    edges = [one, other]
    try:
        assert post(one, "/hold", route="/later/**", reason="first the other")[0] == 201
        with traffic(one, ("up", "later")), traffic(other, ("up", "later")):
            for edge in edges:
                until(lambda edge=edge: stage(edge, "/up/**") == "canary 100%")
        # Each step was taken once, and both have it in their audit logs.
        for edge in edges:
            until(lambda edge=edge: len(audited(edge, "/up/**")) >= 2)
            changes = [entry["after"] for entry in reversed(audited(edge, "/up/**"))]
            assert changes == ["canary 50%", "canary 100%"]
        told = [call(edge, "GET", "/rollout")[1]["driving"] for edge in edges]
        assert sorted(told) == [False, True]
        driver, heir = edges if told[0] else edges[::-1]
        assert "rollout.promoted" in driver.log
        assert "rollout.promoted" not in heir.log

        # Gates look at what both have seen.
        for edge in edges:
            until(lambda edge=edge: rollout(edge, "/later/**")["arms"]["edges"] == 2)

        # A tester's cookie of one is believed by the other.
        cookie = post(driver, "/arm", route="/tested/**", arm="service")[1]["cookie"]
        with heir.client() as client:
            client.get("/tested/", Cookie=cookie).expect(200, body="service")
            client.get("/tested/", Cookie=cookie[:-1]).expect(200, body="legacy")

        edges = [heir]
        driver.stop()
        assert post(heir, "/hold", route="/later/**", reason="now", release=True)[0] == 201
        heir.wait_log(r"rollout.promoted route=/later/\*\*")
        assert rollout(heir, "/later/**")["driving"]
        assert overrides(heir, "/later/**")[0]["author"] == "rollout"
    finally:
        for edge in edges:
            edge.stop()
