# SPDX-License-Identifier: Apache-2.0
"""Verdicts of probes: after `fall` bad answers, back after `rise` good ones."""

from __future__ import annotations

import asyncio

from strangler.config import load
from strangler.control.probe import Outcome
from strangler.control.prober import Prober

FILE = """
version: 1
upstreams:
  legacy: {url: "http://127.0.0.1:9", role: legacy}
  materia:
    url: "http://127.0.0.1:10"
    health: {path: /healthcheck, every: 100ms, rise: 2, fall: 3}
routes:
  /**: legacy
  /m: materia
"""


def verdicts(folder, answers, then=None):
    """Return ``sick`` after each change, while endpoints answer with *answers*, in order."""
    file = folder / "routes.yaml"
    file.write_text(FILE)
    snapshot = load(file)
    seen = []

    async def run():
        over = asyncio.Event()
        left = iter(answers)

        async def ask(endpoint, health, *, tls, host):
            passed = next(left, None)
            if passed is None:
                over.set()
                await asyncio.Event().wait()
            return Outcome(passed, "", 0.0)

        prober = Prober(lambda: seen.append(str(prober.sick)), ask, lambda: 0.0)
        prober.follow(snapshot)
        await asyncio.wait_for(over.wait(), 60)
        if then is not None:
            file.write_text(then)
            prober.follow(load(file))
        prober.stop()

    asyncio.run(run())
    return seen


def test_who_has_no_room_for_guests_is_left_alone(tmp_path):
    """A probe that is not made is no bad news, and no good news."""
    file = tmp_path / "routes.yaml"
    file.write_text(FILE)
    asked, looked = [], []

    async def run():
        over = asyncio.Event()

        async def ask(endpoint, health, *, tls, host):
            asked.append(endpoint.url)
            over.set()
            return Outcome(False, "", 0.0)

        def full(name):
            looked.append(name)
            return len(looked) < 4

        prober = Prober(lambda: None, ask, lambda: 0.0, full)
        prober.follow(load(file))
        await asyncio.wait_for(over.wait(), 60)
        prober.stop()
        assert prober.sick == {}

    asyncio.run(run())
    assert (looked, len(asked)) == (["materia"] * 4, 1)


SICK = "{'materia': {'http://127.0.0.1:10': False}}"


def test_a_few_bad_answers_change_nothing(tmp_path):
    assert verdicts(tmp_path, [True, False, False, True, False, False]) == []


def test_it_falls_and_rises(tmp_path):
    assert verdicts(tmp_path, [False] * 3) == [SICK]
    assert verdicts(tmp_path, [False] * 3 + [True, False, True]) == [SICK]
    assert verdicts(tmp_path, [False] * 3 + [True, True]) == [SICK, "{}"]


def test_an_endpoint_that_is_not_probed_any_more_is_healthy(tmp_path):
    bare = FILE.replace("    health: {path: /healthcheck, every: 100ms, rise: 2, fall: 3}\n", "")
    assert verdicts(tmp_path, [False] * 3, bare) == [SICK, "{}"]
