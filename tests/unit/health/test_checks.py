# SPDX-License-Identifier: Apache-2.0
"""Checks: their own time limits, their freshness, and threads that hang."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from strangler.health import Failed, Health, Result, document


def results(health: Health) -> list[Result]:
    return asyncio.run(health.results())


def test_what_a_check_returns_or_raises() -> None:
    health = Health()

    @health.check("coroutine")
    async def one() -> str:
        return "answered"

    @health.check("function")
    def two() -> None:
        assert threading.current_thread() is not threading.main_thread()

    @health.check("own words")
    async def three() -> str:
        raise Failed("half of\nit is missing")

    @health.check("error")
    def four() -> str:
        raise ConnectionRefusedError(111, "refused")

    health.add("lambda", lambda: two())
    found = {r.checker: (r.passed, r.output) for r in results(health)}
    assert found == {
        "coroutine": (True, "answered"),
        "function": (True, "ok"),
        "own words": (False, "half of it is missing"),
        "error": (False, "ConnectionRefusedError: [Errno 111] refused"),
        "lambda": (True, "ok"),
    }


def test_the_document() -> None:
    result = Result("redis connection", "Connection Timeout", False, 100.00049, 0.5, 90.0)
    assert document([result]) == {
        "status": "failure",
        "results": [
            {
                "checker": "redis connection",
                "output": "Connection Timeout",
                "passed": False,
                "time": 100.0,
                "duration": 0.5,
                "since": 90.0,
            }
        ],
    }
    assert document([])["status"] == "success"


def test_who_is_slow_is_cut_off_alone() -> None:
    health = Health(timeout=0.5)
    health.add("slow", lambda: asyncio.sleep(60, ""))

    @health.check("quick", timeout=20)
    async def quick() -> str:
        return "here"

    slow, good = results(health)
    assert (slow.passed, slow.output) == (False, "no answer in 0.5 s")
    assert slow.duration < 15
    assert good.passed


def test_a_thread_that_hangs_is_not_joined_by_another() -> None:
    health = Health(timeout=0.02, fresh=0)
    asked, free = [], threading.Event()

    @health.check("stuck")
    def stuck() -> None:
        asked.append(1)
        free.wait(20)

    async def story() -> None:
        assert (await health.results())[0].output == "no answer in 0.02 s"
        for _ in range(5):
            assert (await health.results())[0].output.startswith("no answer for ")
        assert len(asked) == 1
        free.set()
        health.add("stuck", stuck, timeout=60)  # whoever comes now has time, on a busy machine too
        while not (await health.results())[0].passed:
            await asyncio.sleep(0.001)

    asyncio.run(story())
    assert len(asked) == 2


def test_a_thousand_askers_cost_one_check() -> None:
    health = Health(fresh=60)
    asked = []

    @health.check("dear")
    async def dear() -> str:
        asked.append(1)
        await asyncio.sleep(0.01)
        return "ok"

    async def story() -> None:
        leaves = asyncio.create_task(health.results())
        await asyncio.sleep(0)
        leaves.cancel()
        found = await asyncio.gather(*(health.results() for _ in range(1000)))
        assert all(one[0].passed for one in found)
        assert (await health.results())[0] is found[0][0]

    asyncio.run(story())
    assert len(asked) == 1


def test_since_is_when_the_verdict_changed() -> None:
    health = Health(fresh=0)
    well = True

    @health.check("moody")
    async def moody() -> str:
        if not well:
            raise Failed("no")
        return "yes"

    first = results(health)[0]
    second = results(health)[0]
    assert first.since == second.since == first.time
    assert second.time > first.time
    well = False
    third = results(health)[0]
    assert third.since == third.time > first.since


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_threads_may_ask_and_a_fork_may_come_between() -> None:
    health = Health(fresh=0)
    health.add("plain", lambda: f"pid {os.getpid()}")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: health.document_now(), range(40)))
    assert {one["results"][0]["output"] for one in found} == {f"pid {os.getpid()}"}
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, health.document_now()["results"][0]["output"].encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as end:
        assert end.read() == f"pid {child}".encode()
    os.waitpid(child, 0)


def test_a_name_is_one_check() -> None:
    health = Health(fresh=60)
    health.add("a", lambda: "first")
    assert results(health)[0].output == "first"
    health.add("a", lambda: "second")
    assert results(health)[0].output == "second"
    health.remove("a")
    health.remove("a")
    assert results(health) == []


@pytest.mark.parametrize("long", ["x" * 10_000, "two\nlines\tand " * 500])
def test_an_output_is_one_short_line(long: str) -> None:
    health = Health()
    health.add("long", lambda: long)
    output = results(health)[0].output
    assert len(output) <= 300
    assert "\n" not in output


def test_a_check_that_blocks_the_thread_leaves_the_loop_free() -> None:
    health = Health()
    free = threading.Event()
    health.add("blocks", lambda: str(free.wait(60)))

    async def story() -> str:
        task = asyncio.create_task(health.results())
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not task.done()
        free.set()
        return (await task)[0].output

    assert asyncio.run(story()) == "True"
