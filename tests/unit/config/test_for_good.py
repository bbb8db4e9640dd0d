# SPDX-License-Identifier: Apache-2.0
"""What of the night's overrides the file can say itself, and what is left out, with why."""

from __future__ import annotations

import pytest
from unit.config.test_patch import site

from strangler.config import load
from strangler.config.for_good import for_good
from strangler.rollout import Override, Overrides
from strangler.rollout.override import KINDS, SCOPES

SUBJECTS = {
    "route": "route:/busca/**",
    "upstream": "upstream:busca",
    "endpoint": "endpoint:busca http://127.0.0.1:8103",
    "site": "site",
}
VALUES = {
    "stage": "canary 5%",
    "breaker": "forced_open",
    "cache": "bypass",
    "fault": {"kind": "abort", "share": 0.5, "amount": 503},
    "shadows": "stop",
    "priority": "low",
}


def override(kind, subject, value=None, number=0.0):
    value = VALUES.get(kind, True) if value is None else value
    return Override(id=f"{kind}{subject}", kind=kind, subject=subject, value=value, author="ana",
                    reason="why", created=number, expires=9e9)  # fmt: skip


def found(folder, *overrides, route=None, routes="  /busca/**: busca\n"):
    return for_good(load(site(folder, routes)), Overrides.of_all(1, overrides), route)


def test_every_kind_is_written_or_left_out_with_why(tmp_path):
    every = [(kind, SUBJECTS[scope]) for kind in KINDS for scope in SCOPES[kind]]
    told = found(tmp_path, *(override(*one) for one in every))
    assert told.words == {"/busca/**": {"stage": "canary 5%", "priority": "low"}}
    assert "+  /busca/**: {to: busca, " in told.diff
    left_out = {(one.override.kind, one.override.subject) for one in told.left_out}
    assert left_out == {one for one in every if one[0] not in ("stage", "priority")}
    assert all(one.why and not one.odd and "unknown" not in one.why for one in told.left_out)
    assert {"kind", "subject", "value", "why"} == set(told.json()["left_out"][0])


def test_a_route_that_has_gone_keeps_no_other_out_of_the_file(tmp_path):
    told = found(
        tmp_path, override("stage", "route:/gone"), override("stage", "route:/busca/**", "legacy")
    )
    assert told.words == {"/busca/**": {"stage": "legacy"}}
    [one] = told.left_out
    assert one.odd
    assert str(one) == "stage canary 5% of /gone: no such route in routes.yaml any more"


def test_of_one_route_alone(tmp_path):
    many = [override("stage", "route:/busca/**"), override("priority", "route:/**"),
            override("freeze", "site")]  # fmt: skip
    told = found(tmp_path, *many, route="/busca/**")
    assert (list(told.words), told.left_out) == (["/busca/**"], ())
    told = found(tmp_path, *many, route="/nothing")
    assert (told.words, told.left_out, told.diff) == ({}, (), "")


@pytest.mark.parametrize("routes", ["  /busca/**: {to: busca, stage: canary 5%}\n"])
def test_what_the_file_says_already_needs_no_edit(tmp_path, routes):
    told = found(tmp_path, override("stage", "route:/busca/**"), routes=routes)
    assert (told.words, told.diff) == ({"/busca/**": {"stage": "canary 5%"}}, "")


def test_a_kind_of_a_later_version_is_told_as_it_is(tmp_path):
    [one] = found(tmp_path, override("weather", "site", "rain")).left_out
    assert str(one) == "weather rain of site: a kind that is unknown here"
