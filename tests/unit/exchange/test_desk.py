# SPDX-License-Identifier: Apache-2.0
"""What an order to one worker's cache means: URLs as routes key them, counts, reasons."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from strangler.cache.tiers.memory import Memory
from strangler.cache.tiers.purges import Purge
from strangler.config.load import load
from strangler.edge.channel import MOST_BYTES
from strangler.exchange import Edge
from strangler.exchange.caching.tally import Tally
from strangler.exchange.desk import Desk

ROUTES = """\
version: 1
{site}
upstreams:
  legacy: {{url: "http://127.0.0.1:1", role: legacy}}
tiers: {{shared: none, archive: none}}
routes:
  /**: legacy
  /a/{{slug}}: {{to: legacy, cache: {{edge: 10s}}}}
  /q/**: {{to: legacy, cache: {{edge: 10s, key: {{query: [page]}}}}}}
  /any/**: {{to: legacy, cache: {{edge: 10s, key: {{host: false}}}}}}
  /two/**: {{to: legacy, cache: {{edge: 10s}}}}
"""
SITE = "site: {hosts: [www.example.com, example.com]}"


def at_the_desk(tmp_path: Path, story: Callable[[Desk], Awaitable[Any]], site: str = "") -> Any:
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES.format(site=site))
    snapshot = load(file, {})

    async def run() -> Any:
        edge = Edge(snapshot)
        try:
            return await story(Desk(edge))
        finally:
            await edge.close()

    return asyncio.run(run())


def labels(tmp_path: Path, site: str = "", **order: Any) -> list[str]:
    async def story(desk: Desk) -> list[str]:
        return [label.decode() for label in desk._meant(order).labels]

    return at_the_desk(tmp_path, story, site)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://x/a/b", ["u:http://x/a/b"]),
        ("HTTPS://X.Example.com:8443/a/b", ["u:https://x.example.com:8443/a/b"]),
        ("//x/a/b", ["u:http://x/a/b", "u:https://x/a/b"]),
        ("http://x/a/b#part", ["u:http://x/a/b"]),
        ("http://x", ["u:http://x/"]),
        ("http://x?y=1", ["u:http://x/?y=1"]),
        ("http://x/a/ação b", ["u:http://x/a/a%C3%A7%C3%A3o%20b"]),
        ("http://x/a/a%2Fb", ["u:http://x/a/a%2Fb"]),
        ("http://x/q/?utm=1&page=2", ["u:http://x/q/?utm=1&page=2", "u:http://x/q/?page=2"]),
        ("http://x/any/b", ["u:http://x/any/b", "u:http:///any/b"]),
    ],
)
def test_an_url_is_meant_as_its_route_keys_it(tmp_path, url, meant):
    assert labels(tmp_path, of="url", values=[url]) == meant


def test_a_path_alone_means_all_names_of_the_site(tmp_path):
    meant = [
        f"u:{scheme}://{host}/a/b"
        for host in ("example.com", "www.example.com")
        for scheme in ("http", "https")
    ]
    assert labels(tmp_path, SITE, of="url", values=["/a/b"]) == meant


def test_a_path_alone_will_do_where_the_host_is_not_in_the_key(tmp_path):
    meant = labels(tmp_path, of="url", values=["/any/b"])
    assert "u:http:///any/b" in meant and "u:https:///any/b" in meant


def test_prefixes(tmp_path):
    assert labels(tmp_path, of="prefix", values=["http://x/a"]) == ["p:http://x/a", "p:http:///a"]
    assert labels(tmp_path, of="prefix", values=["http://x"])[0] == "p:http://x/"


def test_tags_routes_and_all(tmp_path):
    assert labels(tmp_path, of="tag", values=["a", "b"]) == ["t:a", "t:b"]
    assert labels(tmp_path, of="route", values=["/a/{slug}"]) == ["r:/a/{slug}"]
    assert labels(tmp_path, of="all") == ["*"]


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://x/a", "http://", "http://x y/a", "http://[::1/a", "/a/b", "///x"]
)
def test_what_is_no_url_is_refused_and_purges_nothing(tmp_path, url):
    async def story(desk: Desk) -> Any:
        before = desk._edge.cache.copies.memory.moment
        answer = await desk.answer({"do": "forget", "of": "url", "values": [url]})
        assert desk._edge.cache.copies.memory.moment == before
        return answer

    assert list(at_the_desk(tmp_path, story)) == ["refused"], url


def test_orders_that_nobody_knows(tmp_path):
    async def story(desk: Desk) -> None:
        assert "refused" in await desk.answer({"do": "dance"})
        assert "refused" in await desk.answer({"do": "purge", "of": "planet", "values": ["x"]})

    at_the_desk(tmp_path, story)


def test_counts_come_in_pieces_that_fit(tmp_path):
    async def story(desk: Desk) -> None:
        for number in range(3000):
            tally = desk._edge.counts.tallies[f"/route-{number}/" + "x" * 60] = Tally()
            tally.edge = number
            tally.not_kept(b"k", "set-cookie")
        seen: dict[str, Any] = {}
        after: int | None = 0
        while after is not None:
            told = await desk.answer({"do": "tally", "after": after})
            assert len(json.dumps(told)) < MOST_BYTES
            assert not seen.keys() & told["routes"].keys()
            seen |= told["routes"]
            after = told["next"]
        assert len(seen) == 3000 + 4
        assert told["memory"]["size"] > 0

    at_the_desk(tmp_path, story)


def test_a_tally_remembers_the_last_reasons_only():
    tally = Tally()
    for number in range(1000):
        tally.not_kept(b"%d" % number, "status")
    tally.not_kept(b"999", "set-cookie")
    assert tally.reason(b"0") is None
    assert tally.reason(b"999")[1] == tally.last_reason()[1] == "set-cookie"
    assert tally.json() == {"refused": {"status": 1000, "set-cookie": 1}}
    tally.count("edge")
    tally.count("miss")
    assert tally.json()["edge"] == tally.json()["miss"] == 1


def test_a_hundred_thousand_objects_with_one_tag_go_in_no_time():
    memory: Memory[bytes] = Memory(1 << 30)
    for number in range(100_000):
        key = b"http://x/%d" % number
        memory.put(key, b"page", 100, moment=0, tags=(b"noticias", b"n:%d" % number))
    assert len(memory) == 100_000
    began = time.thread_time()
    memory.purge(Purge.tags(b"noticias"))
    assert not memory.get(b"http://x/7")
    assert time.thread_time() - began < 0.1
    assert not any(memory.get(b"http://x/%d" % number) for number in range(0, 100_000, 97))
