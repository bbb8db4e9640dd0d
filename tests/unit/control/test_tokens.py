# SPDX-License-Identifier: Apache-2.0
"""The site's tokens: where they come from, and who is refused."""

from __future__ import annotations

import stat

import pytest

from strangler.control.state import State
from strangler.control.tokens import (
    EVERY,
    FILE,
    NAMED,
    WRONG,
    Token,
    Tokens,
    hashed,
    write_named,
)


def test_the_first_start_writes_one_for_its_owner_alone(tmp_path):
    state = State(tmp_path / "var")
    tokens = Tokens.of(state, {})
    file = state.folder / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.read_text().strip()
    assert len(written) >= 32
    assert tokens.find(f"Bearer {written}").role == "admin"
    again = Tokens.of(state, {})
    assert file.read_text().strip() == written
    assert again.find(f"bearer  {written} ") is not None


def test_what_is_no_token_is_replaced(tmp_path):
    state = State(tmp_path)
    (tmp_path / FILE).write_text("short\n")
    tokens = Tokens.of(state, {})
    assert tokens.find("Bearer short") is None
    assert tokens.find(f"Bearer {(tmp_path / FILE).read_text().strip()}") is not None


def test_a_readable_file_is_told_of(tmp_path, caplog):
    state = State(tmp_path)
    Tokens.of(state, {})
    (tmp_path / FILE).chmod(0o644)
    with caplog.at_level("WARNING", "strangler.events"):
        Tokens.of(state, {})
    assert "token.readable" in caplog.text
    assert (tmp_path / FILE).read_text().strip() not in caplog.text


def test_ones_own_beside_the_files(tmp_path):
    tokens = Tokens.of(State(tmp_path), {"STRANGLER_TOKEN": " only-for-this-machine "})
    assert tokens.find("Bearer only-for-this-machine").who == "STRANGLER_TOKEN"
    assert tokens.find(f"Bearer {(tmp_path / FILE).read_text().strip()}").who == FILE
    with pytest.raises(ValueError, match="at least 16"):
        Tokens.of(State(tmp_path), {"STRANGLER_TOKEN": "guess-me"})


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic abc", "Bearer \u00e9", "x y z"])
def test_what_names_no_token(given):
    assert Tokens([Token("a", "admin", hashed("a" * 20))]).find(given) is None
    assert Tokens().find(given) is None


def test_a_secret_is_in_no_repr():
    assert "geheim" not in repr(Token("a", "admin", b"geheim"))


def test_wrong_ones_come_back_slowly_and_by_address():
    tokens = Tokens()
    assert [tokens.may_be_wrong("a", 0.0) for _ in range(WRONG + 1)] == [True] * WRONG + [False]
    assert tokens.may_be_wrong("b", 0.0)
    assert not tokens.may_be_wrong("a", EVERY / 2)
    assert tokens.may_be_wrong("a", EVERY * 1.1)
    assert not tokens.may_be_wrong("a", EVERY * 1.2)
    for number in range(5000):
        tokens.may_be_wrong(f"address {number}", 0.0)
    assert len(tokens._wrong._left) <= 1000


def test_a_token_makes_so_many_changes_a_second_and_ten_times_as_many_at_once():
    tokens = Tokens()
    ana, bia = (Token(who, "operator", hashed(who)) for who in ("ana", "bia"))
    assert [tokens.may_change(ana, 0.0, 5) for _ in range(50)] == [0.0] * 50
    assert tokens.may_change(ana, 0.0, 5) == pytest.approx(0.2)
    assert tokens.may_change(bia, 0.0, 5) == 0.0
    # What was refused costs nothing: who waits is served.
    assert tokens.may_change(ana, 0.21, 5) == 0.0
    assert tokens.may_change(ana, 0.21, 5) > 0.0
    assert tokens.may_change(ana, 0.21, None) == 0.0
    assert [tokens.may_change(ana, 100.0, 5) for _ in range(51)][49:] != [0.0, 0.0]


# -------------------------------------------------------------------- named ones


def test_named_ones_count_as_soon_as_they_are_written(tmp_path):
    state = State(tmp_path)
    tokens = Tokens.of(state, {})
    assert tokens.find("Bearer the-secret-of-ana-1") is None
    ana = Token(
        "ana", "owner", hashed("the-secret-of-ana-1"), frozenset({"team-a", "the b, c"[:5]})
    )
    write_named(tmp_path / NAMED, [ana])
    assert tokens.find("Bearer the-secret-of-ana-1") == ana
    assert stat.S_IMODE((tmp_path / NAMED).stat().st_mode) == 0o600
    assert "the-secret" not in (tmp_path / NAMED).read_text()
    write_named(tmp_path / NAMED, [])
    assert tokens.find("Bearer the-secret-of-ana-1") is None
    (tmp_path / NAMED).unlink()
    assert len(tokens.every()) == 1


def test_where_the_named_ones_are_can_be_said(tmp_path):
    elsewhere = tmp_path / "secrets" / "tokens"
    elsewhere.parent.mkdir()
    write_named(elsewhere, [Token("bia", "viewer", hashed("another-long-secret"))])
    tokens = Tokens.of(State(tmp_path), {"STRANGLER_TOKENS": str(elsewhere)})
    assert tokens.find("Bearer another-long-secret").role == "viewer"


@pytest.mark.parametrize(
    "line",
    [
        "ana",
        "ana admin",
        "ana root sha256:" + "ab" * 32,
        "ana owner sha256:" + "ab" * 32,
        "ana viewer:team sha256:" + "ab" * 32,
        "ana admin sha256:abcd",
        "ana admin md5:" + "ab" * 32,
        "a/b admin sha256:" + "ab" * 32,
        "STRANGLER_TOKEN admin sha256:" + "ab" * 32,
    ],
)
def test_a_line_that_cannot_be_read_lets_nobody_in(line, tmp_path, caplog):
    sound = Token("bia", "admin", hashed("another-long-secret")).line()
    (tmp_path / NAMED).write_text(f"# ours\n\n{sound}\n{line}\n")
    tokens = Tokens.of(State(tmp_path), {})
    for _ in range(3):
        assert tokens.find("Bearer another-long-secret") is None
    told = [one.fields["error"] for one in caplog.records if one.message == "tokens.unusable"]
    assert len(told) == 1
    assert f"{NAMED}:4:" in told[0]


def test_roles_are_a_ladder_and_owners_have_their_own():
    ana = Token("ana", "owner", b"", frozenset({"team-a"}))
    assert ana.reaches("viewer") and ana.reaches("owner") and not ana.reaches("operator")
    assert ana.may_change("team-a") and not ana.may_change("team-b") and not ana.may_change("")
    assert Token("bia", "operator", b"").may_change("")
    assert not Token("cid", "viewer", b"").may_change("team-a")
