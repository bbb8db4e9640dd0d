# SPDX-License-Identifier: Apache-2.0
"""Who gets which side of a canary, over the wire: buckets, journeys, testers, assets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from strangler.control.signing import FILE, derived
from strangler.rollout import bucket, canary_salt
from strangler.rollout.arm import mint
from strangler.testing import Edge, RawClient, Upstream, configuration, respond

CHECKOUT = {"to": "shop", "canary": {"by": "user", "group": "checkout"}}
ROUTES = {
    "/**": "legacy",
    "/cart/**": {**CHECKOUT, "stage": "canary 50%"},
    "/pay/**": {**CHECKOUT, "stage": "canary 50%"},
    "/by-cookie/**": {"to": "shop", "stage": "canary 50%", "canary": {"by": "cookie:ab"}},
    "/by-address/**": {"to": "shop", "stage": "canary 50%", "canary": {"by": "address"}},
    "/none/**": {"to": "shop", "stage": "canary 0%"},
    "/all/**": {"to": "shop", "stage": "canary 100%"},
    "/kept/**": {"to": "shop", "stage": "canary 0%", "cache": {"edge": "60s"}},
    "/live/**": {"to": "shop"},
}
MINUTE = [("Cache-Control", "public, max-age=60")]


@pytest.fixture(scope="module")
def sites() -> Iterator[tuple[Upstream, Upstream]]:
    with Upstream() as legacy, Upstream() as shop:
        legacy.answers(respond(200, "legacy", MINUTE))
        shop.answers(respond(200, "service", MINUTE))
        yield legacy, shop


@pytest.fixture(scope="module")
def edge(sites: tuple[Upstream, Upstream]) -> Iterator[Edge]:
    legacy, shop = sites
    text = configuration(ROUTES, upstreams={"legacy": legacy, "shop": shop})
    with Edge(text) as made:
        yield made


@pytest.fixture
def client(edge: Edge) -> Iterator[RawClient]:
    with edge.client() as made:
        yield made


def key(edge: Edge) -> bytes:
    return derived((edge.folder / "var" / FILE).read_bytes().strip(), "arm")


def arm(edge: Edge, name: str, side, seconds: float = 60) -> str:
    return "strangler_arm=" + mint(key(edge), canary_salt(name), side, time.time() + seconds)


def side_of(name: str, sticky: str) -> str:
    return "service" if bucket(sticky.encode(), canary_salt(name)) < 5000 else "legacy"


@pytest.mark.parametrize(
    ("path", "name", "cookie"),
    [
        ("/cart/", "checkout", "sessionid={}"),
        ("/pay/", "checkout", "sessionid={}"),
        ("/by-cookie/", "/by-cookie/**", "ab={}"),
    ],
)
def test_a_reader_gets_the_side_of_its_bucket(client, path: str, name: str, cookie: str) -> None:
    for n in range(40):
        told = client.get(path, Cookie=cookie.format(f"reader-{n}")).expect(200)
        assert told.text == side_of(name, f"reader-{n}")
        assert "Set-Cookie" not in told


def test_an_address_is_a_bucket_too(client) -> None:
    told = client.get("/by-address/").expect(200, body=side_of("/by-address/**", "127.0.0.1"))
    assert "Set-Cookie" not in told


def test_a_journey_stays_on_one_side(client) -> None:
    for n in range(40):
        cookie = f"sessionid=reader-{n}"
        assert client.get("/cart/", Cookie=cookie).text == client.get("/pay/", Cookie=cookie).text


@pytest.mark.parametrize("path", ["/cart/", "/by-cookie/", "/all/"])
def test_an_anonymous_reader_gets_one_first_party_cookie(client, path: str) -> None:
    """Whatever readers are told apart by: who has no session has to be somebody as well."""
    new = client.get(path).expect(200)
    cookie = new.get("Set-Cookie").decode()
    assert cookie.startswith("strangler_reader=")
    assert "HttpOnly" in cookie
    assert new.get("Cache-Control").startswith(b"private")
    pair = cookie.partition(";")[0]
    for _ in range(3):
        again = client.get(path, Cookie=pair).expect(200, body=new.text)
        assert "Set-Cookie" not in again


# ---------------------------------------------------------------- testers


@pytest.mark.parametrize(
    ("path", "name", "side"),
    [
        ("/none/", "/none/**", "service"),
        ("/all/", "/all/**", "legacy"),
        ("/cart/", "checkout", "service"),
        ("/pay/", "checkout", "legacy"),
    ],
)
def test_a_signed_cookie_forces_an_arm(edge, client, path: str, name: str, side: str) -> None:
    told = client.get(path, Cookie=arm(edge, name, side)).expect(200, body=side)
    assert told.get("Strangler-Arm") == side.encode()
    assert told.get("Cache-Control").startswith(b"private")
    assert "Set-Cookie" not in told
    edge.wait_log(rf"{path} .*forced")


def test_a_forced_arm_beats_the_bucket(edge, client) -> None:
    for side in ("legacy", "service"):
        for n in range(10):
            cookie = f"sessionid=reader-{n}; {arm(edge, 'checkout', side)}"
            client.get("/cart/", Cookie=cookie).expect(200, body=side)


NOT_SIGNED = {
    "expired": lambda edge: arm(edge, "/none/**", "service", seconds=-1),
    "another route's": lambda edge: arm(edge, "/all/**", "service"),
    "another site's": lambda edge: (
        "strangler_arm=" + mint(b"x" * 32, canary_salt("/none/**"), "service", time.time() + 60)
    ),
    "another purpose's": lambda edge: (
        "strangler_arm="
        + mint(
            derived((edge.folder / "var" / FILE).read_bytes().strip(), "session"),
            canary_salt("/none/**"),
            "service",
            time.time() + 60,
        )
    ),
    "made up": lambda edge: "strangler_arm=service",
    "empty": lambda edge: "strangler_arm=",
    "only in another's value": lambda edge: "x=1&strangler_arm=s.1.x",
}


@pytest.mark.parametrize("how", NOT_SIGNED)
def test_what_is_not_signed_for_this_is_ignored(edge, client, how: str) -> None:
    told = client.get("/none/", Cookie=NOT_SIGNED[how](edge)).expect(200, body="legacy")
    assert "Strangler-Arm" not in told
    assert "Set-Cookie" in told  # an anonymous reader like any other


def test_a_live_route_has_no_arms(edge, client) -> None:
    told = client.get("/live/", Cookie=arm(edge, "/live/**", "legacy")).expect(200, body="service")
    assert "Strangler-Arm" not in told


def test_a_testers_copy_is_for_its_arm_alone(edge, client, sites) -> None:
    """Never cached across arms, neither here nor in a cache in front."""
    legacy, shop = sites
    reader = "strangler_reader=abcdefghijklmnopqrstuv"
    before = len(shop.requests), len(legacy.requests)
    forced = arm(edge, "/kept/**", "service")
    for _ in range(3):
        told = client.get("/kept/page", Cookie=forced).expect(200, body="service")
        assert told.get("Cache-Control") == b"private, max-age=60"
        known = client.get("/kept/page", Cookie=reader).expect(200, body="legacy")
        assert known.get("Cache-Control") == b"public, max-age=60"
    # Each arm was asked once; the rest came from its own copy.
    assert (len(shop.requests), len(legacy.requests)) == (before[0] + 1, before[1] + 1)
