# SPDX-License-Identifier: Apache-2.0
"""A word of a route written into routes.yaml: one small edit, and everything else as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strangler.config import load
from strangler.config.patch import Patched, Unpatchable, Word, patch, write
from strangler.config.snapshot import Snapshot
from strangler.rollout import parse_stage

HEAD = """\
version: 1
upstreams:
  legacy: {url: "http://127.0.0.1:8100", role: legacy}
  busca: {url: "http://127.0.0.1:8103"}
presets:
  careful: {cache: {edge: 10s}}
routes:
  /**: legacy  # everything
"""


PRESET = "presets:\n  humble: {priority: low}\n"


def site(folder: Path, routes: str, head: str = HEAD) -> Path:
    file = folder / "routes.yaml"
    file.write_bytes((head + routes).encode())
    return file


def staged(snapshot: Snapshot, stages: dict[str, str]) -> Patched:
    return patch(snapshot, [Word(key, "stage", parse_stage(one)) for key, one in stages.items()])


def patched(file: Path, key: str, stage: str) -> str:
    """Return the text of *file* after the patch, which must mean what it should."""
    snapshot = load(file)
    done = staged(snapshot, {key: stage})
    assert not done.refused
    write(done.patches, snapshot.root)
    again = load(file)
    assert again.hash == done.snapshot.hash
    found = next(route for route in again.routes if route.key == key)
    assert str(found.stage) == str(parse_stage(stage))
    return file.read_bytes().decode().partition("# everything")[2].lstrip("\r\n")


CASES = {
    "the short form": (
        "  /busca/**: busca   # team-search\n",
        "  /busca/**: {to: busca, stage: canary 10%}   # team-search\n",
    ),
    "quoted": (
        """  "/busca/**": 'busca'\n""",
        """  "/busca/**": {to: 'busca', stage: canary 10%}\n""",
    ),
    "a stage in a flow mapping": (
        "  /busca/**: {to: busca, stage: shadow 5%, use: careful} # é\n",
        "  /busca/**: {to: busca, stage: canary 10%, use: careful} # é\n",
    ),
    "a flow mapping without one": (
        "  /busca/**: { to: busca,  # who\n               body: {max: 1MB} }\n",
        "  /busca/**: { to: busca, stage: canary 10%,  # who\n               body: {max: 1MB} }\n",
    ),
    "a block mapping without one": (
        "  /busca/**:\n    # who\n    to: busca  # search\n    # how much\n    body: {max: 1MB}\n",
        "  /busca/**:\n    # who\n    to: busca  # search\n    stage: canary 10%\n"
        "    # how much\n    body: {max: 1MB}\n",
    ),
    "a block mapping with one": (
        "  /busca/**:\n    stage: 'live'  # since May\n    to: busca\n",
        "  /busca/**:\n    stage: canary 10%  # since May\n    to: busca\n",
    ),
    "beside a preset": (
        "  /busca/**: {use: careful, to: busca}\n",
        "  /busca/**: {use: careful, to: busca, stage: canary 10%}\n",
    ),
    "no newline at the end": (
        "  /busca/**:\n    to: busca",
        "  /busca/**:\n    to: busca\n    stage: canary 10%",
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_each_form_gets_the_smallest_edit(tmp_path, before, after):
    assert patched(site(tmp_path, before), "/busca/**", "canary 10%") == after


@pytest.mark.parametrize("stage", ["legacy", "shadow 5%", "canary 0.5%", "sealed", "live"])
@pytest.mark.parametrize("routes", [case[0] for case in CASES.values()], ids=CASES)
def test_every_stage_can_be_written_into_every_form(tmp_path, routes, stage):
    patched(site(tmp_path, routes), "/busca/**", stage)


def test_lines_end_as_they_did(tmp_path):
    routes = "  /busca/**:\n    to: busca  # who\n    body: {max: 1MB}\n".replace("\n", "\r\n")
    file = site(tmp_path, routes, HEAD.replace("\n", "\r\n"))
    after = patched(file, "/busca/**", "canary 10%")
    assert after == routes.replace("who\r\n", "who\r\n    stage: canary 10%\r\n")


def test_forms_of_one_key_are_told_apart(tmp_path):
    routes = (
        "  /busca/**:\n"
        "    - {to: busca, match: {header: {X-App: ios}}}\n"
        "    - to: busca\n"
        "      match: {header: {X-App: android}}\n"
        "    - {to: legacy}\n"
    )
    file = site(tmp_path, routes)
    keys = [route.key for route in load(file).routes]
    android = next(key for key in keys if "android" in key)
    after = patched(file, android, "canary 10%")
    assert after == routes.replace(
        "    - to: busca\n", "    - to: busca\n      stage: canary 10%\n"
    )


def test_a_file_that_is_included_is_the_one_edited(tmp_path):
    file = site(tmp_path, "include: [routes.d/*.yaml]\n", HEAD.rstrip(" "))
    (tmp_path / "routes.d").mkdir()
    other = tmp_path / "routes.d" / "search.yaml"
    text = "\ufeffprefix: /busca\nroutes:\n  /busca/**: busca\n"
    other.write_text(text)
    patches = staged(load(file), {"/busca/**": "legacy"}).patches
    assert [one.file for one in patches] == ["routes.d/search.yaml"]
    write(patches, str(file))
    assert other.read_text() == text.replace("busca\n", "busca\n").replace(
        "/**: busca", "/**: {to: busca, stage: legacy}"
    )


def test_several_at_once_and_the_diff(tmp_path):
    file = site(tmp_path, "  /busca/**: busca\n  /a: {to: busca, stage: shadow 1%}  # one\n")
    [one] = staged(load(file), {"/busca/**": "live", "/a": "canary 2%"}).patches
    added = [line for line in one.diff().splitlines() if line[:1] in "+-"]
    assert added == [
        "--- a/routes.yaml",
        "+++ b/routes.yaml",
        "-  /a: {to: busca, stage: shadow 1%}  # one",
        "+  /a: {to: busca, stage: canary 2%}  # one",
    ]
    assert staged(load(file), {"/busca/**": "live"}).patches == ()


@pytest.mark.parametrize(
    ("routes", "key", "stage", "said"),
    [
        ("", "/**", "live", "live needs a service, and `to` names none"),
        ("", "/no", "live", "no such route in routes.yaml any more"),
        (
            "  /a: {redirect: /b, status: 301}\n",
            "/a",
            "legacy",
            "the edge itself answers this route",
        ),
    ],
)
def test_what_the_file_cannot_carry(tmp_path, routes, key, stage, said):
    done = staged(load(site(tmp_path, routes)), {key: stage})
    [(word, why)] = done.refused.items()
    assert (word.route, done.patches) == (key, ())
    assert said in why


def test_what_the_file_cannot_carry_keeps_nothing_else_out_of_it(tmp_path):
    file = site(tmp_path, "  /a: busca\n  /b: busca\n")
    stages = {"/a": "shadow 5%", "/gone": "legacy", "/**": "live", "/b": "legacy"}
    done = staged(load(file), stages)
    assert [word.route for word in done.refused] == ["/gone", "/**"]
    write(done.patches, str(file))
    assert {one.key: str(one.stage) for one in load(file).routes} == {
        "/**": "legacy",
        "/a": "shadow 5%",
        "/b": "legacy",
    }


@pytest.mark.parametrize("word", ["low", "normal", "high"])
@pytest.mark.parametrize(
    "routes",
    [
        *[case[0] for case in CASES.values()],
        "  /busca/**: {to: busca, priority: low}\n",
        "  /busca/**: {use: humble, to: busca}\n",
        "  /busca/**:\n    to: busca\n    priority: high  # the front page\n",
    ],
)
def test_a_priority_is_written_into_every_form(tmp_path, routes, word):
    file = site(tmp_path, routes, HEAD.replace("presets:\n", PRESET))
    done = patch(load(file), [Word("/busca/**", "priority", word)])
    assert not done.refused
    write(done.patches, str(file))
    found = next(route for route in load(file).routes if route.key == "/busca/**")
    assert found.priority == word
    assert file.read_text().count("#") == (HEAD + routes).count("#")


def test_a_stage_and_a_priority_of_one_route_are_one_edit(tmp_path):
    file = site(tmp_path, "  /busca/**: busca\n")
    words = [
        Word("/busca/**", "stage", parse_stage("legacy")),
        Word("/busca/**", "priority", "low"),
    ]
    [one] = patch(load(file), words).patches
    assert "+  /busca/**: {to: busca, priority: low, stage: legacy}" in one.diff()


def test_a_service_alone_has_no_legacy_to_go_back_to(tmp_path):
    head = 'version: 1\nupstreams:\n  busca: {url: "http://127.0.0.1:8103"}\nroutes:\n'
    file = site(tmp_path, "  /**: busca # everything\n", head)
    [why] = staged(load(file), {"/**": "legacy"}).refused.values()
    assert "legacy needs an upstream with role legacy" in why


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path):
    file = site(tmp_path, "  /busca/**: busca\n")
    patches = staged(load(file), {"/busca/**": "legacy"}).patches
    edited = file.read_text() + "# somebody was here\n"
    file.write_text(edited)
    with pytest.raises(Unpatchable, match="has changed meanwhile"):
        write(patches, str(file))
    assert file.read_text() == edited


def test_a_link_and_the_mode_are_kept(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    target = site(real, "  /busca/**: busca\n")
    target.chmod(0o640)
    link = tmp_path / "routes.yaml"
    link.symlink_to(target)
    patches = staged(load(link), {"/busca/**": "legacy"}).patches
    write(patches, str(link))
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert "stage: legacy" in target.read_text()
    assert os.listdir(real) == ["routes.yaml"]


FORMS = st.sampled_from(
    [
        "  {key}: busca{comment}\n",
        "  {key}: {{to: busca}}{comment}\n",
        "  {key}: {{to: busca, stage: canary 5%}}{comment}\n",
        "  {key}: {{use: careful, to: busca}}{comment}\n",
        "  {key}:{comment}\n    to: busca{comment}\n    body: {{max: 1MB}}\n",
        "  {key}:\n{comment}\n    stage: live{comment}\n    to: busca\n",
    ]
)
COMMENTS = st.sampled_from(["", "   # why: {not: yaml}", "  # é, 'x', \"y\": z"])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    forms=st.lists(st.tuples(FORMS, COMMENTS), min_size=1, max_size=6),
    stage=st.sampled_from(["legacy", "shadow 1%", "canary 12.5%", "live", "sealed"]),
    data=st.data(),
)
def test_only_the_lines_of_the_route_change(tmp_path, forms, stage, data):
    lines = [
        form.format(key=f"/r{number}/**", comment=comment)
        for number, (form, comment) in enumerate(forms)
    ]
    chosen = data.draw(st.integers(0, len(lines) - 1))
    after = patched(site(tmp_path, "".join(lines)), f"/r{chosen}/**", stage)
    start, end = "".join(lines[:chosen]), "".join(lines[chosen + 1 :])
    assert after.startswith(start)
    assert after.endswith(end)
    middle = after[len(start) : len(after) - len(end)]
    comment = forms[chosen][1]
    assert middle.count(comment) == lines[chosen].count(comment) or not comment
