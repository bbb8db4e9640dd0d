# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from pathlib import Path

import pytest

from strangler.control.signing import FILE, derived, signing_key
from strangler.control.state import State


def test_the_first_start_writes_a_key_for_its_owner_alone(tmp_path: Path) -> None:
    state = State(tmp_path)
    key = signing_key(state, {})
    assert len(key) >= 32
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert signing_key(state, {}) == key
    assert signing_key(State(tmp_path / "other"), {}) != key


def test_a_fleet_is_given_its_key(tmp_path: Path) -> None:
    told = {"STRANGLER_SIGNING_KEY": "x" * 32}
    assert signing_key(State(tmp_path), told) == b"x" * 32
    assert not (tmp_path / FILE).exists()
    with pytest.raises(ValueError, match="at least 32"):
        signing_key(State(tmp_path), {"STRANGLER_SIGNING_KEY": "x" * 31})


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")
    key = signing_key(State(tmp_path), {})
    assert (tmp_path / FILE).read_bytes().strip() == key


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert derived(b"k" * 32, "arm") != derived(b"k" * 32, "session")
    assert len(derived(b"k" * 32, "arm")) == 32
