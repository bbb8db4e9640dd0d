# SPDX-License-Identifier: Apache-2.0
"""Who gets which side of a canary, over the wire: buckets, journeys, testers, assets."""

from __future__ import annotations

import itertools
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
    "/s/**": {"to": "shop", "stage": "canary 50%", "canary": {"by": "user"}},
    "/sc/**": {"to": "shop", "stage": "canary 50%", "cache": {"edge": "60s"}},
    "/sl/**": {"to": "shop", "fallback": "none"},
    "/sd/**": {"to": "shop", "stage": "sealed"},
}
PAGES = "http://www.example.com"
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


# ---------------------------------------------------------------- assets (pain 48)

_names = (f"app.{n:08x}.js" for n in itertools.count(0x3F9A1C2B))


def asset(sites: tuple[Upstream, Upstream], folder: str, who: str) -> str:
    """Return the path of a new asset that only *who* has."""
    path = f"/{folder}/{next(_names)}"
    has, lacks = sites if who == "legacy" else sites[::-1]
    has.on(path, respond(200, f"{who}'s", MINUTE))
    lacks.on(path, respond(404, "no such file", [("Cache-Control", "max-age=60")]))
    return path


def asked(site: Upstream, path: str) -> int:
    return sum(each.path == path.encode() for each in site.requests)


def reader_on(side: str, name: str) -> str:
    """Return a session whose bucket gives it *side* of the canary 50% hashed with *name*."""
    return next(f"r{n}" for n in itertools.count() if side_of(name, f"r{n}") == side)


@pytest.mark.parametrize("folder", ["s", "sc"])
@pytest.mark.parametrize("who", ["legacy", "service"])
@pytest.mark.parametrize("side", ["legacy", "service"])
def test_pain_48_an_asset_comes_from_the_side_that_has_it(
    client, sites, folder: str, who: str, side: str
) -> None:
    """During a rollout old pages name new assets and new pages old ones, both ways."""
    path = asset(sites, folder, who)
    name = f"/{folder}/**"
    cookie = f"sessionid={reader_on(side, name)}"
    if folder == "sc":
        key = next(
            f"reader-number-{n:08}"
            for n in itertools.count()
            if side_of(name, f"reader-number-{n:08}") == side
        )
        cookie = f"strangler_reader={key}"
    for _ in range(3):
        told = client.get(path, Cookie=cookie).expect(200, body=f"{who}'s")
        fallen = told.get("Strangler-Fallback")
        other = b"legacy" if who == "legacy" else b"shop"
        assert fallen in ((None,) if who == side else (other + b";why=404", None))
    lacking = sites[0] if who == "service" else sites[1]
    # Which side lacks it is remembered: not every reader costs a 404 first.
    assert asked(lacking, path) == (who != side)


@pytest.mark.parametrize("who", ["legacy", "service"])
def test_pain_48_a_live_routes_old_assets_are_legacys(client, sites, who: str) -> None:
    path = asset(sites, "sl", who)
    client.get(path).expect(200, body=f"{who}'s")


def test_pain_48_what_neither_side_has_is_a_404_of_one(client, sites) -> None:
    path = f"/s/{next(_names)}"
    for site in sites:
        site.on(path, respond(404, "no such file"))
    client.get(path).expect(404, body="no such file")
    assert [asked(site, path) for site in sites] == [1, 1]


def test_pain_48_a_sealed_route_asks_nobody_else(client, sites) -> None:
    path = asset(sites, "sd", "legacy")
    client.get(path).expect(404)
    assert asked(sites[0], path) == 0


@pytest.mark.parametrize("path", ["/s/page", "/s/app.js", "/s/3f9a1c2b/"])
def test_a_page_that_is_not_found_is_not_looked_for_elsewhere(client, sites, path: str) -> None:
    """Pain 36: a real "not found" would double legacy's load."""
    legacy, shop = sites
    shop.on(path, respond(404, "no such page"))
    before = asked(legacy, path)
    client.get(path, Cookie=f"sessionid={reader_on('service', '/s/**')}").expect(404)
    assert asked(legacy, path) == before


def test_a_write_is_not_tried_on_the_other_side(client, sites) -> None:
    legacy, shop = sites
    path = f"/s/{next(_names)}"
    shop.on(path, respond(404, "no such file"))
    cookie = f"sessionid={reader_on('service', '/s/**')}"
    for _ in range(2):
        client.request("POST", path, [("Cookie", cookie), ("Content-Length", "0")]).expect(404)
    assert (asked(shop, path), asked(legacy, path)) == (2, 0)


def test_pain_48_an_asset_goes_with_the_page_that_names_it(edge, client) -> None:
    """Even where its own bucket says otherwise: no 404 first, and a tester's assets are new."""
    for session in (f"r{n}" for n in range(30)):
        side = side_of("checkout", session)
        path = f"/s/{next(_names)}"
        page = f"{PAGES}/cart/?a=1"
        told = client.get(path, Cookie=f"sessionid={session}", Referer=page).expect(200)
        assert told.text == side
    edge.wait_log(r"/s/app\..*page_arm")
    for side in ("legacy", "service"):
        path = f"/s/{next(_names)}"
        forced = arm(edge, "checkout", side)
        client.get(path, Cookie=forced, Referer=f"{PAGES}/pay/").expect(200, body=side)


@pytest.mark.parametrize(
    "referer",
    [
        "",
        "x",
        "https://elsewhere.test/cart/",
        "{}/legacy-page",
        "{}/%2e%2e/",
        "{}",
        "{}//",
        "{}/\xff",
    ],
)
def test_a_referer_that_is_no_page_of_both_sides_decides_nothing(client, referer) -> None:
    for n in range(6):
        path = f"/s/{next(_names)}"
        told = client.request(
            "GET", path, [("Cookie", f"sessionid=r{n}"), ("Referer", referer.format(PAGES))]
        )
        assert told.expect(200).text == side_of("/s/**", f"r{n}")
