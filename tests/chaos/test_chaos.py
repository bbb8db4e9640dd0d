# SPDX-License-Identifier: Apache-2.0
"""The part of `make chaos` whose regression would hurt most, and the suite's own honesty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from chaos.every import FAULTS
from chaos.fault import attempt
from chaos.load import Group, Load, Record
from chaos.plain import shared
from chaos.report import written
from chaos.trial import Figure, Outcome, Trial
from chaos.writes import judge_forms

from strangler.testing import Edge, configuration

SLACK = 5.0
"""Bounds of time times this: the suite's tests run side by side. Bounds of counts stay."""

QUICK = sorted(name for name, one in FAULTS.items() if one.quick)


@pytest.fixture(scope="module")
def stages() -> Iterator[Callable[[Any], Any]]:
    """Return a function that sets up a stage once for the module."""
    with ExitStack() as stack:
        stack.callback(shared().close)
        made: dict[Any, Any] = {}

        def get(stage: Any) -> Any:
            if stage not in made:
                made[stage] = stack.enter_context(stage())
            return made[stage]

        yield get


@pytest.mark.parametrize("name", QUICK)
def test_the_site_stands(name: str, stages: Callable[[Any], Any]) -> None:
    outcome = attempt(FAULTS[name], stages(FAULTS[name].stage), SLACK)
    broken = [one for one in outcome.figures if not one.holds]
    assert outcome.holds, f"{outcome.error}\n" + "\n".join(map(str, broken))


def test_readers_notice_what_is_wrong(origin: Any, running: Any) -> None:
    """Were they blind, every fault would hold."""
    edge = running(Edge(configuration(upstreams={"legacy": {"url": origin, "breaker": "none"}})))
    origin.on("/wrong", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
    group = Group("wrong", 50, [("/wrong", "0" * 64), ("/", "")])
    origin.on("/cut", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", lambda c: c.close())
    cut = Group("cut", 50, [("/cut", "")])
    origin.on("/503", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    busy = Group("503", 50, [("/503", "")])
    with Load(edge.port, [group, cut, busy]) as load:
        load.until(lambda: len(load.records) > 30, 10.0)
    seen = {(one.group, one.problem.split(" ")[0]) for one in load.records}
    assert seen == {("wrong", "wrong"), ("wrong", ""), ("cut", "cut:"), ("503", "status")}


def ended(group: str, due: float, ms: float, problem: str = "", one: str = "") -> Record:
    return Record(group, due, due + ms / 1e3, 201, "legacy" * (not problem), "", True, problem, one)


def test_waits_are_held_against_legacys_own() -> None:
    """Who is 10 ms slower is found out, through noise that both share; who is not asked, too."""
    noise = [20.0 + 30.0 * (number % 17 == 0) for number in range(900)]
    legacy = [ended("legacy", number / 30, ms) for number, ms in enumerate(noise)]
    for late, holds in ((0.0, True), (1.0, True), (10.0, False)):
        ours = [ended("uncached", number / 30, ms + late) for number, ms in enumerate(noise)]
        assert judged(Trial.as_legacy, ours, legacy) == [holds] * 3
    assert judged(Trial.as_legacy, [], legacy) == [False] * 3


def test_a_fallback_after_a_limit_may_cost_no_more_than_legacy_itself() -> None:
    noise = [10.0 + 5.0 * (number % 13 == 0) for number in range(900)]
    legacy = [ended("legacy", number / 30, ms) for number, ms in enumerate(noise)]
    for late, holds in ((0.0, True), (1.0, False)):
        ours = [ended("uncached", number / 30, ms + late) for number, ms in enumerate(noise)]
        assert judged(Trial.beyond, legacy, ours, 0.99, "p99", 0.0) == [holds]
    assert judged(Trial.beyond, legacy, [], 0.99, "p99", 0.0) == [False]


def judged(note: Callable[..., None], *what: Any) -> list[bool]:
    """Return which of the figures hold that *note* notes of *what*."""
    outcome = Outcome("a", "A")
    trial: Any = Trial(outcome, None, SimpleNamespace(lines=[]), None, 1.0)  # type: ignore[arg-type]
    note(trial, *what)
    return [one.holds for one in outcome.figures]


def test_a_form_that_is_written_twice_or_lost_or_cut_is_found_out() -> None:
    sent = [ended("form", number / 30, 20.0, one=f"form-{number}") for number in range(400)]
    written = Counter(one.id for one in sent)
    assert all(judged(judge_forms, sent, written))
    assert judged(judge_forms, sent, written + Counter(["form-7"])).count(False) == 1
    assert judged(judge_forms, sent, written - Counter(["form-7"])).count(False) == 1
    cut = ended("form", 1.0, 20.0, "cut: closed", "form-7")
    assert judged(judge_forms, [*sent, cut], written).count(False) == 1
    told = ended("form", 1.0, 20.0, "status 502", "form-7")
    assert all(judged(judge_forms, [*sent, told], written))


def test_an_outcome_without_figures_or_with_a_broken_one_does_not_hold() -> None:
    good, bad = Figure("failed", "0", "0", True), Figure("failed", "1", "0", False)
    assert not Outcome("a", "A").holds
    assert Outcome("a", "A", figures=[good]).holds
    assert not Outcome("a", "A", figures=[good, bad]).holds
    assert not Outcome("a", "A", figures=[good], error="no load").holds
    page = written([Outcome("a", "A thing breaks", figures=[good, bad])], 1.0, 0.5, 1.0, "6")
    assert "**0 of 1 hold.** Not so: a." in page
    assert "| a | failed | 1 **broken** | 0 |" in page


def test_each_fault_has_a_name_of_its_own_and_a_title() -> None:
    assert len({one.title for one in FAULTS.values()}) == len(FAULTS)
    assert QUICK
