# SPDX-License-Identifier: Apache-2.0
"""Stores' URLs."""

import asyncio

import pytest

from strangler.cache.tiers import STORES, make_store
from strangler.cache.tiers.urls import parse
from strangler.config.values import STORES as CONFIGURED


def test_every_part_is_found() -> None:
    url = parse("redis+sentinel://me:p%40ss@one,[::1]:7,two:26380/news/3?prefix=a:&x=", port=26379)
    assert url.scheme == "redis+sentinel"
    assert url.hosts == (("one", 26379), ("::1", 7), ("two", 26380))
    assert (url.user, url.password) == ("me", "p@ss")
    assert url.path == ("news", "3")
    assert url.database == 3
    assert url.options == {"prefix": "a:", "x": ""}
    assert "p@ss" not in repr(url)


def test_what_is_not_said_has_a_default() -> None:
    url = parse("redis://", port=6379)
    assert url.hosts == (("127.0.0.1", 6379),)
    assert url.password is None
    assert url.database == 0
    assert parse("redis://:pw@h", port=1).password == "pw"


@pytest.mark.parametrize("text", ["redis", "redis:", "redis://h:x", "redis://h:"])
def test_malformed_ones_are_refused(text: str) -> None:
    if text == "redis://h:":
        assert parse(text, port=5).hosts == (("h", 5),)
        return
    with pytest.raises(ValueError):
        parse(text, port=1)


def test_the_configuration_knows_the_same_stores() -> None:
    assert {store.partition(":")[0] for store in CONFIGURED} == set(STORES)


def test_every_store_is_made_without_being_reached() -> None:
    async def make() -> None:
        for scheme in STORES:
            if scheme != "mongodb+srv":  # which asks the DNS
                path = "x" if scheme == "sqlite" else "//h/0"
                path = "//h/service/0" if scheme == "redis+sentinel" else path
                assert make_store(f"{scheme}:{path}", name="shared").slice_size >= 1 << 16

    asyncio.run(make())
