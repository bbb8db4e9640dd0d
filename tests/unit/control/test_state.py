# SPDX-License-Identifier: Apache-2.0
"""The state folder: whole files, a generation that only grows, a bundle that comes back."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from strangler.config.load import digest, load, load_bundle
from strangler.config.snapshot import Source
from strangler.control.state import Accepted, State


def snapshot(generation: int, hash_: str = "", text: bytes = b"version: 1\n"):
    sources = (Source("routes.yaml", text), Source("routes.d/a.yaml", b"x: 1\n"))
    return SimpleNamespace(
        generation=generation,
        hash=hash_ or digest(sources),
        root="/site/routes.yaml",
        sources=sources,
    )


def test_what_was_accepted_is_found_again(tmp_path):
    state = State(tmp_path / "var")
    assert state.accepted() is None
    assert state.next_generation("a" * 64) == 1
    path = state.accept(snapshot(1, "a" * 64))
    found = State(tmp_path / "var").accepted()
    assert found == Accepted(path, 1, "a" * 64)
    assert state.next_generation("a" * 64) == 1
    assert state.next_generation("b" * 64) == 2


def test_a_bundle_makes_the_same_snapshot_again(tmp_path):
    text = b"""version: 1
upstreams: {legacy: {url: "http://127.0.0.1:1", role: legacy}}
routes: {/**: legacy}  # \xc3\xa7
"""
    (tmp_path / "routes.yaml").write_bytes(text)
    first = load(tmp_path / "routes.yaml", {}, 3)
    state = State(tmp_path / "var")
    path = state.accept(first)
    (tmp_path / "routes.yaml").write_text("broken: [")
    again = load_bundle(path, {})
    assert (again.generation, again.hash) == (3, first.hash) == (3, state.accepted().hash)
    assert [route.key for route in again.routes] == ["/**"]


def test_only_the_last_few_are_kept_and_never_a_half(tmp_path):
    state = State(tmp_path)
    for number in range(1, 20):
        state.accept(snapshot(number, f"{number:064d}"))
    assert len(list(tmp_path.glob("config-*"))) <= 6
    assert state.accepted().generation == 19
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"bundle": "gone.json"}',
        b"[]",
        b'{"bundle": "accepted.json", "generation": "x"}',
    ],
)
def test_a_damaged_folder_is_an_empty_one(tmp_path, damage):
    state = State(tmp_path)
    state.accept(snapshot(4, "a" * 64))
    (tmp_path / "accepted.json").write_bytes(damage)
    assert state.accepted() is None


def test_a_folder_that_cannot_be_is_replaced_loudly(tmp_path, caplog):
    (tmp_path / "var").write_text("a file in its place")
    state = State(tmp_path / "var")
    assert state.folder != tmp_path / "var"
    assert "state.unwritable" in caplog.text
    state.accept(snapshot(1, "a" * 64))
    assert state.accepted().generation == 1


def test_a_disk_that_fills_up_later_does_not_stop_a_change_of_routes(tmp_path, caplog):
    state = State(tmp_path / "var")
    state.accept(snapshot(1, "a" * 64))
    (tmp_path / "var").rename(tmp_path / "old")
    (tmp_path / "var").write_text("a file in its place")
    path = state.accept(snapshot(2, "b" * 64))
    assert "state.unwritable" in caplog.text
    assert os.path.dirname(path) == str(state.folder) != str(tmp_path / "var")
    assert state.accepted() == Accepted(path, 2, "b" * 64)


def test_the_folder_is_for_its_owner_alone(tmp_path):
    state = State(tmp_path / "deep" / "var")
    assert (tmp_path / "deep" / "var").stat().st_mode & 0o077 == 0
    path = state.accept(snapshot(1, "a" * 64))
    assert os.stat(path).st_mode & 0o077 == 0
