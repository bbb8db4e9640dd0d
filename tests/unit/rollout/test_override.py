# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.rollout import Malformed, Override, Overrides, parse_stage
from strangler.rollout.override import KINDS, SCOPES, check, scope_of, subject_of

BUSCA = "route:/busca/**"
LIVE = parse_stage("live")


def override(id_: str, **more: Any) -> Override:
    given: dict[str, Any] = {
        "kind": "stage",
        "subject": BUSCA,
        "value": "legacy",
        "author": "ana",
        "reason": "p95",
        "created": 1000.0,
        "expires": 2800.0,
        "file": "live",
    }
    return Override(id=id_, **given | more)


def test_an_override_wins_over_the_file_until_it_is_gone() -> None:
    none = Overrides()
    some = none.with_(override("a"))
    assert (none.version, some.version) == (0, 1)
    assert none.stage("/busca/**", LIVE) is LIVE
    assert some.stage("/busca/**", LIVE) == parse_stage("legacy")
    assert some.stage("/votar/**", LIVE) is LIVE
    gone = some.without({"a"})
    assert (gone.version, len(gone)) == (2, 0)
    assert gone.stage("/busca/**", LIVE) is LIVE
    assert len(some) == 1  # nobody's set changes underneath


def test_one_for_a_kind_and_subject() -> None:
    some = Overrides().with_(override("a"), override("b", kind="cache", value="bypass"))
    some = some.with_(override("c", value="canary 10%"))
    assert {one.id for one in some} == {"b", "c"}
    assert some.find("a") is None
    assert set(some.route("/busca/**")) == {"stage", "cache"}


def test_what_is_said_of_whom() -> None:
    some = Overrides().with_(
        override("a", kind="drain", subject="upstream:materia", value=True),
        override("b", kind="drain", subject="endpoint:materia http://127.0.0.1:81", value=True),
        override("c", kind="freeze", subject="site", value=True),
    )
    assert set(some.upstream("materia")) == {"drain"}
    assert set(some.endpoint("materia", "http://127.0.0.1:81")) == {"drain"}
    assert set(some.endpoint("materia", "http://127.0.0.1:82")) == set()
    assert set(some.site) == {"freeze"}
    assert some.frozen()
    assert not some.without({"c"}).frozen()


def test_undo_comes_back_to_what_was_there() -> None:
    some = Overrides().with_(override("a", value="canary 5%"))
    some = some.with_(override("b"))
    back, former = some.undone("b", now=1500.0)
    assert former is not None
    assert former.id == "a"
    assert str(back.stage("/busca/**", LIVE)) == "canary 5%"
    file, former = back.undone("a", now=1500.0)
    assert former is None
    assert file.stage("/busca/**", LIVE) is LIVE
    with pytest.raises(KeyError):
        file.undone("a", now=1500.0)


def test_undo_never_brings_back_what_has_ended() -> None:
    some = Overrides().with_(override("a", value="sealed", expires=9000.0))
    some = some.with_(override("b", value="canary 5%", expires=1200.0)).with_(override("c"))
    back, former = some.undone("c", now=1500.0)
    assert former is not None
    assert former.id == "a"
    assert str(back.stage("/busca/**", LIVE)) == "sealed"


def test_the_past_that_is_kept_is_bounded() -> None:
    some = Overrides()
    for number in range(100):
        some = some.with_(override(str(number), created=float(number)))
    assert (some.version, len(some), len(some.under)) == (100, 1, 5)


def test_time() -> None:
    some = Overrides().with_(
        override("a"), override("b", kind="cache", value="bypass", expires=5e3)
    )
    assert some.next_end == 2800.0
    assert [one.id for one in some.ended(2799.9)] == []
    assert some.still(2799.9) is some
    assert [one.id for one in some.ended(2800.0)] == ["a"]
    still = some.still(2800.0)
    assert ([one.id for one in still], still.version) == (["b"], some.version)
    assert override("a").left(2000.0) == 800.0
    assert override("a").left(3000.0) == 0.0
    assert Overrides().next_end is None


def test_differences_name_the_subjects() -> None:
    one = Overrides().with_(override("a"), override("f", kind="freeze", subject="site", value=True))
    other = one.with_(override("b", kind="cache", subject="route:/x", value="bypass"))
    assert other.differences(one) == {"route:/x"}
    assert one.differences(other) == {"route:/x"}
    assert one.differences(one.numbered(9)) == frozenset()
    assert one.differences(Overrides()) == {BUSCA, "site"}


def test_json_there_and_back() -> None:
    fault = {"kind": "delay", "share": 0.1, "amount": 2.0}
    some = Overrides().with_(override("a"), override("b", kind="fault", value=fault))
    some = some.with_(override("c", value="canary 0.5%", reason='"\n')).numbered(7)
    wire = json.dumps(some.json())
    assert Overrides.parse(json.loads(wire)) == some
    bare = Overrides.parse(json.loads(json.dumps(some.json(under=False))))
    assert (bare.by_place, dict(bare.under), bare.version) == (some.by_place, {}, 7)


def test_what_a_newer_release_wrote_is_kept_as_it_is() -> None:
    told = override("z", kind="moon", value="full").json()
    some = Overrides.parse({"version": 1, "overrides": [told]})
    assert some.json()["overrides"] == [told]


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        {"version": "1", "overrides": []},
        {"version": -1, "overrides": []},
        {"version": 1, "overrides": {}},
        {"version": 1, "overrides": [1]},
        {"version": 1, "overrides": [override("a").json() | {"reason": 1}]},
        {"version": 1, "overrides": [override("a").json() | {"expires": "soon"}]},
        {"version": 1, "overrides": [override("a").json() | {"value": "lukewarm"}]},
        {"version": 1, "overrides": [], "under": []},
    ],
)
def test_nonsense_is_refused(told: object) -> None:
    with pytest.raises(Malformed):
        Overrides.parse(told)


@pytest.mark.parametrize(
    ("kind", "subject", "value"),
    [
        ("stage", BUSCA, "canary 0.5%"),
        ("breaker", "upstream:busca", "forced_open"),
        ("breaker", BUSCA, "auto"),
        ("drain", "endpoint:busca http://127.0.0.1:1/", True),
        ("cache", "site", "stale_only"),
        ("fault", BUSCA, {"kind": "abort", "share": 1, "amount": 503}),
        ("freeze", "site", True),
        ("hold", "route:/x/**", True),
        ("shadows", "site", "stop"),
        ("maintenance", BUSCA, True),
        ("maintenance", "site", {"page": "pages/sorry.html"}),
        ("priority", BUSCA, "low"),
    ],
)
def test_forms(kind: str, subject: str, value: object) -> None:
    assert check(kind, subject, value) == value


@pytest.mark.parametrize(
    ("kind", "subject", "value", "expected"),
    [
        ("stages", BUSCA, "live", "a kind: stage, breaker"),
        ("stage", "upstream:busca", "live", "stage of a route"),
        ("stage", "busca", "live", "route:KEY"),
        ("stage", "route:", "live", "route:KEY"),
        ("drain", "endpoint:busca", True, "endpoint:UPSTREAM URL"),
        ("stage", BUSCA, "canary 120%", "0-100 %"),
        ("stage", BUSCA, True, "a stage such as"),
        ("breaker", BUSCA, "open", "forced_open, forced_closed, auto"),
        ("freeze", "site", False, "true"),
        ("freeze", "site", "true", "true"),
        ("fault", BUSCA, True, '{"kind", "share", "amount"}'),
        ("maintenance", "site", "sorry.html", 'true or {"page": FILE}'),
    ],
)
def test_forms_that_are_none(kind: str, subject: str, value: object, expected: str) -> None:
    with pytest.raises(Malformed) as refused:
        check(kind, subject, value)
    assert expected in refused.value.expected


@given(st.sampled_from(KINDS), st.text(min_size=1))
def test_subjects_there_and_back(kind: Any, name: str) -> None:
    for scope in SCOPES[kind]:
        named = f"up {name}" if scope == "endpoint" else "" if scope == "site" else name
        assert scope_of(subject_of(scope, named)) == (scope, named)
