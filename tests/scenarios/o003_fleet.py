# SPDX-License-Identifier: Apache-2.0
"""Two edges that share one Redis: a toggle on one is in force on the other within a second.

pains.md 34 (two operators, two machines, one lost update).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from scenarios.load import origin
from scenarios.o001_overrides import call, listed, post, toggle
from servers.redis import Redis

from strangler.testing import Closed, Edge, configuration, until


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as server:
        yield server


@pytest.fixture(scope="module")
def text(redis: Redis) -> Iterator[str]:
    with origin("legacy") as legacy, origin("busca") as busca:
        yield configuration(
            {"/**": "legacy", "/busca/**": "busca"},
            upstreams={"legacy": legacy, "busca": busca},
            overrides={"store": redis.url, "default": "10m"},
        )


@pytest.fixture(scope="module")
def one(text: str) -> Iterator[Edge]:
    with Edge(text, workers=2, access_log="off") as made:
        yield made


@pytest.fixture(scope="module")
def other(text: str) -> Iterator[Edge]:
    with Edge(text, workers=2, access_log="off") as made:
        yield made


@pytest.fixture(autouse=True)
def cleared(one: Edge, other: Edge) -> Iterator[None]:
    yield
    post(one, "/overrides/clear", all=True, reason="the test is over")
    until(lambda: listed(other)["overrides"] == [])


def answers(edge: Edge) -> set[str]:
    return {edge.get("/busca/x").text.partition(" ")[0] for _ in range(12)}


def test_a_toggle_on_one_is_in_force_on_the_other_within_a_second(one, other):
    for value, name in (("legacy", "legacy"), ("live", "busca"), ("legacy", "legacy")):
        told = toggle(one, value)
        # A second, and what a busy machine may take to ask twelve times.
        until(lambda: answers(other) == {name})  # noqa: B023 - called at once
        assert listed(other)["version"] == told["version"]
    assert told["override"]["expires"] - told["override"]["created"] == 600


def test_pain_34_two_machines_two_operators_one_is_told(one, other):
    toggle(one)
    until(lambda: len(listed(other)["overrides"]) == 1)
    version = listed(other)["version"]
    toggle(one, "canary 5%", if_version=version)
    asked = {"kind": "stage", "subject": "route:/busca/**", "value": "live", "reason": "x"}
    status, told = post(other, "/overrides", **asked, if_version=version)
    assert (status, told["current"]["overrides"][0]["value"]) == (409, "canary 5%")
    # Whoever names no number changes what is there now, and loses nothing of the other's.
    site = {"kind": "freeze", "subject": "site", "value": True, "reason": "x"}
    assert post(other, "/overrides", **site)[0] == 201
    until(lambda: {each["kind"] for each in listed(one)["overrides"]} == {"stage", "freeze"})


def test_pain_52_each_ones_audit_has_the_others_changes(one, other):
    id_ = toggle(one)["override"]["id"]

    def heard() -> bool:
        entries = call(other, "GET", "/audit?limit=5")[1]["entries"]
        return any(each.get("id") == id_ and each["via"] == "store" for each in entries
                   if "via" in each)  # fmt: skip

    until(heard)


def test_do_all_proxies_agree(one, other):
    toggle(one)

    def told() -> dict:
        return call(other, "GET", "/instances")[1]

    def agreed() -> bool:
        # What an instance said last may be two seconds old, and both agree on what was before.
        now = told()
        said = [(each["workers"], each["overrides"]) for each in now["instances"]]
        version = listed(one)["version"]
        return (
            now["agree"]
            and now["alive"] == 2
            and [workers == "2/2" and mark.startswith(f"{version}-") for workers, mark in said]
            == [True, True]
        )

    until(agreed)


def test_it_ends_on_both_and_is_recorded_once(one, other):
    id_ = toggle(one, **{"for": "1s"})["override"]["id"]
    until(lambda: answers(one) == answers(other) == {"busca"})

    def recorded() -> int:
        entries = call(one, "GET", "/audit?what=override.expired")[1]["entries"]
        return [each["id"] for each in entries].count(id_)

    # The workers end it by themselves; control may be a moment behind.
    until(lambda: listed(one)["overrides"] == listed(other)["overrides"] == [])
    until(lambda: recorded() > 0)
    assert recorded() == 1


def test_with_redis_gone_the_last_known_stay_and_a_toggle_says_so(one, other, redis, text):
    toggle(one)
    until(lambda: answers(other) == {"legacy"})
    redis.kill()
    try:
        until(lambda: not listed(one)["store"]["ok"])
        asked = {"kind": "stage", "subject": "route:/busca/**", "value": "live", "reason": "x"}
        status, told = post(one, "/overrides", **asked)
        assert (status, told["ok"]) == (503, False)
        assert "cannot be recorded" in told["error"]
        assert answers(one) == answers(other) == {"legacy"}
        # Nor do new processes forget them.
        before = {each["pid"] for each in call(one, "GET", "/workers")[1]["workers"]}
        for pid in one.pids[1:]:
            os.kill(pid, signal.SIGKILL)

        def renewed() -> bool:
            try:
                now = call(one, "GET", "/workers")[1]["workers"]
            except (Closed, OSError, ValueError):
                return False
            return len(now) == 2 and not before & {each["pid"] for each in now}

        until(renewed)
        assert answers(one) == {"legacy"}
    finally:
        redis.start()
    # It has come back with nothing: those who knew write it down again.
    until(lambda: listed(one)["store"]["ok"] and listed(other)["store"]["ok"])
    toggle(other, "canary 50%")
    until(lambda: listed(one)["overrides"][0]["value"] == "canary 50%")


def test_the_console_says_whether_all_proxies_agree(one, other, text):
    def agree() -> dict[str, str]:
        return one.admin_json("/-/state?routes=0")[1]["answers"][4]

    until(lambda: agree()["say"].startswith("Yes: 2 proxies"))
    other.write(text + "  /new/**: legacy\n")
    until(lambda: "another file than this one" in agree()["say"])
    assert agree()["verdict"] == "bad"
    other.write(text)
    until(lambda: agree()["verdict"] == "good")
    names = [each["name"] for each in one.admin_json("/-/state?routes=0")[1]["instances"]]
    assert len(set(names)) == 2
