# SPDX-License-Identifier: Apache-2.0
"""The control process's own life, with the test in the places of supervisor and workers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from strangler.config.load import load
from strangler.control import health, process
from strangler.control.process import Control, Job
from strangler.control.state import State
from strangler.edge.channel import Channel, Message, pair

GOOD = """version: 1
upstreams:
  legacy: {url: "http://127.0.0.1:1", role: legacy}
routes:
  /**: legacy
  /x: {%s: 410}
"""


class Site:
    """A control process on the running loop, its two workers and its supervisor played here."""

    def __init__(self, tmp_path) -> None:
        self.file = tmp_path / "routes.yaml"
        self.file.write_text(GOOD % "gone")
        self.state = State(tmp_path / "var")
        self.changed = asyncio.Event()
        self.supervisor, link = pair()
        ends = [pair() for _ in range(2)]
        self.workers = [worker for _, worker in ends]
        snapshot = load(self.file, {})
        self.ends = [self.supervisor, link, *(end for both in ends for end in both)]
        self.control = Control(
            Job(
                snapshot=snapshot,
                bundle=self.state.accept(snapshot),
                state=self.state,
                channels=[ours for ours, _ in ends],
                doors=[],
                load=lambda before, yes: load(self.file, {}, before.generation + 1),
                changes=self._changes,
            ),
            link,
        )

    async def _changes(self, changed) -> None:
        while True:
            await self.changed.wait()
            self.changed.clear()
            await changed()

    def answer(self, slot: int, state: Message, **more: object) -> None:
        told = {"kind": "status", "slot": slot, "pid": 100 + slot, "connections": 3}
        told |= {"generation": state["generation"], "hash": state["hash"], "seq": state["seq"]}
        told |= {"lag": 0.0, "descriptors": [10, 1024], "edge": {}}
        self.workers[slot].send(told | more)

    async def answer_all(self) -> None:
        for slot, worker in enumerate(self.workers):
            self.answer(slot, (await heard(worker, "state"))[-1])


async def heard(channel: Channel, kind: str) -> list[Message]:
    """Return what comes, once something of *kind* has."""
    async with asyncio.timeout(60):
        while True:
            found = [one for one in channel.receive() if one["kind"] == kind]
            if found:
                return found
            await asyncio.sleep(0.005)


async def until(true) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(tmp_path, monkeypatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(process, "PING", 0.02)
    site = Site(tmp_path)
    task = asyncio.create_task(site.control.serve())
    try:
        await heard(site.supervisor, "ready")
        yield site
    finally:
        site.supervisor.close()  # the supervisor is gone: the control process ends by itself
        assert await asyncio.wait_for(task, 60) == 0
        for end in site.ends:
            end.close()


@pytest.fixture
def scene(tmp_path, monkeypatch):
    return lambda: running(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("family", "address", "local"),
    [
        (socket.AF_INET, ("127.0.0.1", 0), True),
        (socket.AF_INET, ("127.9.9.9", 0), True),
        (socket.AF_INET6, ("::1", 0), True),
        (socket.AF_INET, ("0.0.0.0", 0), False),
        (socket.AF_INET6, ("::", 0), False),
        (socket.AF_UNIX, "admin.sock", True),
    ],
)
def test_only_a_loopback_listener_is_open_for_reading(family, address, local, tmp_path):
    with socket.socket(family) as door:
        door.bind(str(tmp_path / address) if isinstance(address, str) else address)
        assert process._is_local(door) is local


def test_state_is_repeated_to_every_worker(scene):
    async def run() -> None:
        async with scene() as site:
            for worker in site.workers:
                first = await heard(worker, "state")
                again = await heard(worker, "state")
                assert again[-1]["seq"] > first[0]["seq"]
                assert again[-1]["generation"] == 1
                assert again[-1]["bundle"] == site.state.accepted().bundle

    asyncio.run(run())


def test_ready_is_when_every_worker_serves_the_same(scene, monkeypatch):
    async def run() -> None:
        async with scene() as site:
            control = site.control
            assert control.ready() == (False, "0 of 2 workers serve generation 1")
            assert control.live()[0]  # it has only just begun to listen
            await site.answer_all()
            await until(lambda: control.ready()[0])
            [state] = (await heard(site.workers[1], "state"))[-1:]
            site.answer(1, state | {"generation": 7}, trouble="no memory")
            await until(lambda: not control.ready()[0])
            # It has had its time to follow; waiting for that, its word here would get too old.
            monkeypatch.setattr(process, "SILENT", 0.0)
            document = await control.health()
            [bad] = [one for one in document["results"] if one["checker"] == "worker 2"]
            assert bad["output"] == "serves generation 7: no memory"
            site.supervisor.send({"kind": "draining"})
            await until(lambda: control.ready() == (False, "draining"))

    asyncio.run(run())


def test_a_silent_worker_is_told_of_and_then_replaced(scene, monkeypatch):
    async def run() -> None:
        async with scene() as site:
            await site.answer_all()
            await until(lambda: site.control.ready()[0])
            monkeypatch.setattr(process, "SILENT", 0.05)
            monkeypatch.setattr(health, "SILENT", 0.05)
            await until(lambda: not site.control.live()[0] or not site.control.ready()[0])
            document = await site.control.health()
            said = {one["checker"]: one["output"] for one in document["results"]}
            assert said["worker 1"].startswith("silent for")
            monkeypatch.setattr(process, "HUNG", 0.1)
            told = await heard(site.supervisor, "hung")
            assert {one["pid"] for one in told} <= {100, 101}

    asyncio.run(run())


def test_the_last_words_of_a_replaced_worker_are_not_its_successors(scene):
    async def run() -> None:
        async with scene() as site:
            await site.answer_all()
            [state] = (await heard(site.workers[0], "state"))[-1:]
            site.answer(0, state, pid=200)
            site.answer(0, state, pid=100, draining=True)
            await until(lambda: any(one["pid"] == 200 for one in site.control.workers()))
            await asyncio.sleep(0.05)
            assert [one["pid"] for one in site.control.workers()] == [200, 101]

    asyncio.run(run())


def test_a_change_is_accepted_kept_and_announced(scene, caplog):
    async def run() -> None:
        async with scene() as site:
            site.file.write_text(GOOD % "gone" + "  /y: legacy\n")
            site.changed.set()
            [accepted] = await heard(site.supervisor, "accepted")
            assert accepted["generation"] == 2
            await site.answer_all()
            await until(lambda: len(site.control.routes()) == 3)
            assert site.state.accepted().generation == 2
            assert accepted["bundle"] == site.state.accepted().bundle

    with caplog.at_level("INFO", "strangler.events"):
        asyncio.run(run())


def test_the_log_warns_of_what_may_be_wrong_and_is_silent_of_what_only_waits(scene, caplog):
    """An upstream without a route is the ordinary state of one that waits for its first."""
    waiting = GOOD.replace("routes:", '  materia: "http://127.0.0.1:2"\nroutes:') % "gone"

    async def run() -> None:
        async with scene() as site:
            site.file.write_text(waiting)
            site.changed.set()
            await heard(site.supervisor, "accepted")
            assert [one["code"] for one in site.control.config()["warnings"]] == ["S207"]
            await site.answer_all()
            await until(lambda: said("config.accepted"))
            site.file.write_text(waiting.replace("/**: legacy", "/a: legacy"))
            site.changed.set()
            await heard(site.supervisor, "accepted")
            await site.answer_all()
            await until(lambda: said("config.warning"))

    def said(event: str) -> list[dict[str, object]]:
        return [one.fields for one in caplog.records if one.message == event]

    with caplog.at_level("INFO", "strangler.events"):
        asyncio.run(run())
    assert [one["code"] for one in said("config.warning")] == ["S312"]


def test_a_rejection_is_said_once_and_forgotten_when_it_is_mended(scene, caplog):
    async def run() -> None:
        async with scene() as site:
            site.file.write_text(GOOD % "gnoe")
            for _ in range(2):
                site.changed.set()
                await until(lambda: site.control.config()["rejected"])
                await until(lambda: not site.changed.is_set())
            await asyncio.sleep(0.05)
            [error] = site.control.config()["rejected"]["errors"]
            assert (error["line"], error["hint"]) == (6, "did you mean gone?")
            assert site.state.accepted().generation == 1
            outcome = await site.control.reload(yes=False)
            assert (outcome["ok"], outcome["status"]) == (False, 422)
            site.file.write_text(GOOD % "gone")
            site.supervisor.send({"kind": "reload"})
            await heard(site.supervisor, "reloaded")
            assert site.control.config()["rejected"] is None
            assert site.control.config()["generation"] == 1

    with caplog.at_level("INFO", "strangler.events"):
        asyncio.run(run())
    told = [one.message for one in caplog.records if one.message.startswith("config.re")]
    assert told == ["config.rejected", "config.restored"]


def test_a_crash_of_the_watcher_does_not_end_the_process(scene, caplog):
    async def run() -> None:
        async with scene() as site:
            site.file.unlink()
            site.file.mkdir()  # unreadable as a file
            site.changed.set()
            await until(lambda: site.control.config()["rejected"])
            site.file.rmdir()
            site.file.write_text(GOOD % "gone" + "  /z: legacy\n")
            site.changed.set()
            await heard(site.supervisor, "accepted")

    asyncio.run(run())
