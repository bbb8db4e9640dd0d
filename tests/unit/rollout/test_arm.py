# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.rollout import canary_salt
from strangler.rollout.arm import MOST, forced, mint

KEY = b"k" * 32
SALT = canary_salt("checkout")
NOW = 1_800_000_000.0
GOOD = mint(KEY, SALT, "service", NOW + 60).encode()


@pytest.mark.parametrize("arm", ["legacy", "service"])
def test_a_token_forces_its_arm_until_it_ends(arm) -> None:
    token = mint(KEY, SALT, arm, NOW + 60).encode()
    assert forced(KEY, SALT, token, NOW) == arm
    assert forced(KEY, SALT, token, NOW + 59) == arm
    assert forced(KEY, SALT, token, NOW + 60) is None


def test_a_token_is_for_its_readers_and_its_site_alone() -> None:
    assert forced(KEY, canary_salt("/checkout/**"), GOOD, NOW) is None
    assert forced(b"o" * 32, SALT, GOOD, NOW) is None
    assert forced(b"", SALT, GOOD, NOW) is None


def test_of_several_each_is_for_its_own_routes() -> None:
    other = canary_salt("/busca/**")
    ended = mint(KEY, SALT, "service", NOW - 1).encode()
    cookie = b"~".join((ended, mint(KEY, other, "legacy", NOW + 60).encode(), GOOD))
    assert forced(KEY, SALT, cookie, NOW) == "service"
    assert forced(KEY, other, cookie, NOW) == "legacy"
    assert forced(KEY, SALT, b"~" * MOST + GOOD, NOW) is None


@given(st.binary(max_size=80) | st.text("sl.~0123456789abcdef-_", max_size=80).map(str.encode))
def test_whatever_is_not_signed_is_as_if_it_were_not_there(cookie: bytes) -> None:
    assert forced(KEY, SALT, cookie, NOW) is None


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_token_with_one_byte_changed_is_nothing(place: int, byte: int) -> None:
    changed = GOOD[:place] + bytes((byte,)) + GOOD[place + 1 :]
    assert forced(KEY, SALT, changed, NOW) == ("service" if changed == GOOD else None)


def test_a_key_that_could_be_guessed_signs_nothing() -> None:
    with pytest.raises(ValueError, match="too short"):
        mint(b"short", SALT, "service", NOW)


def test_a_token_can_stand_in_a_cookie() -> None:
    assert set(GOOD.decode()) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
    )
