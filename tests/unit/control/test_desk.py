# SPDX-License-Identifier: Apache-2.0
"""Orders to the workers' caches, with the test in the workers' place, at real channels."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from strangler.control import desk
from strangler.control.asking import Asking, Unanswered
from strangler.control.desk import Desk, Purge
from strangler.control.endpoints.cache import named
from strangler.control.handler import Rejected
from strangler.edge.channel import MOST_BYTES, Channel, Message, pair

ROUTES = ["/feed.xml", "/noticia/{slug}.ghtml"]


class Worker:
    """One end of a channel: answers orders as *answers* says, or not at all."""

    def __init__(self, channel: Channel, slot: int) -> None:
        self.channel, self.slot = channel, slot
        self.orders: list[dict[str, Any]] = []
        self.answers: Callable[[dict[str, Any]], dict[str, Any] | None] = self.well
        channel.attach(self.heard)

    def well(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "purge":
            return {"stores": {"shared": True}, "known": {"shared": 7}}
        if order["do"] == "refresh":
            return {"refreshed": len(order["values"]), "failed": []}
        return {"edge": True}

    def heard(self, message: Message) -> None:
        if message.get("kind") != "ask":
            return
        self.orders.append(message["order"])
        answer = self.answers(message["order"])
        if answer is not None:
            told = {"kind": "answer", "id": message["id"], "slot": self.slot}
            key = "error" if "error" in answer else "answer"
            self.channel.send(told | {key: answer.get("error", answer)})


@contextlib.asynccontextmanager
async def site(count: int = 2):
    ends = [pair() for _ in range(count)]
    asking = Asking([ours for ours, _ in ends])
    for ours, _ in ends:
        ours.attach(asking.heard)
    workers = [Worker(theirs, slot) for slot, (_, theirs) in enumerate(ends)]
    snapshot = SimpleNamespace(routes=[SimpleNamespace(key=key) for key in ROUTES])
    try:
        yield Desk(asking, lambda: snapshot, lambda: range(count)), workers
    finally:
        for both in ends:
            for end in both:
                end.close()


def run(story) -> Any:
    return asyncio.run(story())


@pytest.fixture
def hurried(monkeypatch):
    """Wait a second for who says nothing: long enough for all who do say something."""
    monkeypatch.setattr(desk, "PATIENCE", 1.0)


def test_one_tells_the_stores_and_then_all_their_memories():
    async def story():
        async with site(3) as (front, workers):
            outcome = await front.purge({"tag": "a"})
            assert outcome == {
                "purged": {
                    "shared": True,
                    "edge": {"worker 1": True, "worker 2": True, "worker 3": True},
                }
            }
            orders = [[order["do"] for order in worker.orders] for worker in workers]
            assert orders == [["purge", "forget"], ["forget"], ["forget"]]
            assert workers[2].orders[0]["known"] == {"shared": 7}

    run(story)


def test_a_dead_writer_is_replaced_by_another():
    async def story():
        async with site() as (front, workers):
            workers[0].answers = lambda order: None if order["do"] == "purge" else {"edge": True}
            assert (await front.purge({"tag": "a"}))["purged"]["shared"]
            assert [order["do"] for order in workers[1].orders] == ["purge", "forget"]

    run(story)


@pytest.mark.parametrize("how", [lambda order: None, lambda order: {"error": "a bug"}])
def test_who_has_not_taken_it_is_named(how, hurried):
    async def story():
        async with site() as (front, workers):
            workers[1].answers = how
            with pytest.raises(Rejected) as rejected:
                await front.purge({"tag": "a"})
            assert rejected.value.status_code == 503
            assert rejected.value.reason == "not purged everywhere: worker 2"
            assert rejected.value.more["purged"]["edge"] == {"worker 1": True, "worker 2": False}

    run(story)


def test_a_store_that_is_away_is_named():
    async def story():
        async with site() as (front, workers):
            away = {"stores": {"archive": True, "shared": False}, "known": {}}
            workers[0].answers = lambda order: away if order["do"] == "purge" else {"edge": True}
            with pytest.raises(Rejected, match="503"):
                await front.purge({"all": True})

    run(story)


def test_nobody_there(hurried):
    async def story():
        async with site(1) as (front, workers):
            workers[0].answers = lambda order: None
            with pytest.raises(Rejected, match="no answer within"):
                await front.purge({"all": True})
            with pytest.raises(Rejected, match="no worker answers"):
                await front.show("/a")
            counters = await front.counters()
            assert counters["silent"] == ["worker 1"]

    run(story)


def test_long_lists_go_in_pieces_that_fit():
    async def story():
        async with site() as (front, workers):
            tags = [f"{n}" + "\u00e9" * 500 for n in range(1000)]
            await front.purge({"tag": tags})
            sent = [o["values"] for o in workers[0].orders if o["do"] == "purge"]
            assert [tag for each in sent for tag in each] == tags
            assert len(sent) > 10
            longest = {"url": "/" + "\u00e9" * (desk.LONGEST - 1)}
            assert len(longest["url"].encode("unicode_escape")) < MOST_BYTES
            await front.purge(longest)

    run(story)


def test_a_refresh_lets_the_others_forget_what_was_fetched():
    async def story():
        async with site() as (front, workers):
            workers[0].answers = lambda order: (
                {"refreshed": 1, "failed": ["/b"]}
                if order["do"] == "refresh"
                else workers[0].well(order)
            )
            outcome = await front.purge({"url": ["/a", "/b"], "refresh": True})
            assert (outcome["refreshed"], outcome["failed"]) == (1, ["/b"])
            done = [(o["do"], o["values"], o["soft"]) for o in workers[0].orders]
            assert done == [
                ("refresh", ["/a", "/b"], True),
                ("purge", ["/b"], True),
                ("forget", ["/b"], True),
            ]
            done = [(o["do"], o["values"], o["soft"]) for o in workers[1].orders]
            assert done == [("forget", ["/a"], False), ("forget", ["/b"], True)]

    run(story)


def test_counts_are_summed_page_by_page():
    async def story():
        async with site() as (front, workers):

            def tally(order):
                if not order["after"]:
                    counts = {"edge": 3, "miss": 1, "refused": {"set-cookie": 2}}
                    return {"routes": {"/a": counts}, "next": 1}
                memory = {"used": 10, "size": 100, "keys": 2}
                return {"routes": {"/b": {"edge": 1}}, "next": None, "memory": memory}

            for worker in workers:
                worker.answers = tally
            assert await front.counters() == {
                "routes": {
                    "/a": {"edge": 6, "miss": 2, "refused": {"set-cookie": 4}},
                    "/b": {"edge": 2, "refused": {}},
                },
                "memory": {"used": 20, "size": 200, "keys": 4},
                "silent": [],
            }

    run(story)


def test_what_each_worker_holds_is_shown_beside_the_others():
    async def story():
        async with site() as (front, workers):
            for worker, age in zip(workers, (9, 4), strict=True):
                answer = {
                    "route": "/a",
                    "tiers": {"edge": [{"age": age}], "shared": []},
                    "not_kept": {"reason": "status", "ago": age, "of": "this URL"},
                }
                worker.answers = lambda order, answer=answer: answer
            told = await front.show("http://x/a", [("Cookie", "a=1")])
            assert told["tiers"] == {
                "edge": {"worker 1": [{"age": 9}], "worker 2": [{"age": 4}]},
                "shared": [],
            }
            assert told["not_kept"]["ago"] == 4
            assert workers[0].orders[0]["fields"] == [["Cookie", "a=1"]]
            workers[1].answers = lambda order: {"refused": "say the host"}
            with pytest.raises(Rejected, match="say the host"):
                await front.show("/a")

    run(story)


def test_an_answer_to_another_process_is_not_ours():
    async def story():
        async with site(1) as (front, workers):
            workers[0].channel.send({"kind": "answer", "id": 1, "slot": 0, "answer": {}})
            workers[0].answers = lambda order: None
            with pytest.raises(Rejected):
                await front.purge({"all": True})

    run(story)


def test_a_full_channel_is_waited_for():
    async def story():
        one, other = pair()
        asking = Asking([one])
        while one.send({"kind": "noise", "text": "x" * 1000}):
            pass
        asked = asyncio.create_task(asking.ask(0, {"do": "x"}, 5.0))
        await asyncio.sleep(0.02)
        one.attach(asking.heard)
        Worker(other, 0).answers = lambda order: {"done": order["do"]}
        assert await asked == {"done": "x"}
        with pytest.raises(Unanswered, match="the most is"):
            await asking.ask(0, {"do": secrets.token_hex(2 * MOST_BYTES)}, 5.0)
        one.close()
        other.close()

    run(story)


@pytest.mark.parametrize("kind", ["url", "prefix", "route", "tag"])
def test_one_or_many(kind):
    values = ROUTES if kind == "route" else ["/a", "/b"]
    assert Purge.read({kind: values}, ROUTES).values == tuple(values)
    assert Purge.read({kind: values[0]}, ROUTES).values == (values[0],)
    assert Purge.read({kind: values[0], "refresh": True}, ROUTES).soft


def test_the_audit_says_in_words_what_a_purge_names() -> None:
    asked = {"url": ["http://h/a", "http://h/b"], "soft": True, "refresh": False}
    assert named(asked) == "url http://h/a, http://h/b, soft"
    many = [f"t{number}" for number in range(12)]
    assert named({"tag": many}) == f"tag {', '.join(many[:10])} and 2 more"
    assert named({"prefix": "http://h/a/"}) == "prefix http://h/a/"
    assert named({"all": True}) == "all"


def test_what_one_worker_has_purged_the_others_take_before_it_hears_of_it():
    async def story() -> None:
        async with site(3) as (desk, workers):
            told = {"labels": ["u:http://x/\xe9"], "soft": False, "known": {"shared": 7}}
            desk.heard(1, {"kind": "purged", "number": 5, **told})
            async with asyncio.timeout(60):
                while not workers[1].orders:
                    await asyncio.sleep(0.002)
            assert workers[0].orders == workers[2].orders == [{"do": "heed", **told}]
            assert workers[1].orders == [{"do": "heeded", "number": 5}]

    run(story)


def test_a_worker_that_says_nothing_does_not_keep_the_one_that_purged_waiting(monkeypatch):
    monkeypatch.setattr(desk, "_HEEDED", 0.05)

    async def story() -> None:
        async with site(3) as (desk, workers):
            workers[0].answers = lambda order: None
            desk.heard(1, {"number": 6, "labels": ["*"], "soft": True, "known": {}})
            async with asyncio.timeout(60):
                while not workers[1].orders:
                    await asyncio.sleep(0.002)
            assert workers[1].orders == [{"do": "heeded", "number": 6}]

    run(story)
