# SPDX-License-Identifier: Apache-2.0
"""The console's cookie: whose it stands for, and until when."""

from __future__ import annotations

import base64
import json

import pytest

from strangler.control.sessions import LASTS, Sessions
from strangler.control.tokens import Token, hashed

ANA = Token("ana", "operator", hashed("the-secret-of-ana"))
BIA = Token("bia", "viewer", hashed("the-secret-of-bia"))


def test_it_stands_for_its_token_until_its_end():
    sessions = Sessions()
    cookie = sessions.give(ANA, 1000.0)
    assert sessions.find(cookie, (BIA, ANA), 1000.0) is ANA
    assert sessions.find(cookie, (BIA, ANA), 999.0 + LASTS) is ANA
    assert sessions.find(cookie, (BIA, ANA), 1000.0 + LASTS) is None
    assert sessions.ends(cookie) == 1000.0 + LASTS


def test_it_ends_with_its_token_and_with_its_rights():
    sessions = Sessions()
    cookie = sessions.give(ANA, 0.0)
    assert sessions.find(cookie, (BIA,), 1.0) is None
    another = Token("ana", "operator", hashed("another-secret"))
    assert sessions.find(cookie, (another,), 1.0) is None
    less = Token("ana", "viewer", ANA.digest)
    assert sessions.find(cookie, (less,), 1.0) is None


def test_pain_51_nobody_else_can_make_one():
    sessions = Sessions()
    cookie = sessions.give(ANA, 0.0)
    assert sessions.find(cookie, (ANA,), 1.0) is ANA
    assert Sessions().find(cookie, (ANA,), 1.0) is None
    told, _, signature = cookie.partition(".")
    who, seen, ends, name = json.loads(base64.urlsafe_b64decode(told + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([who, seen, ends + 9, name]).encode()).decode()
    assert sessions.find(f"{forged.rstrip('=')}.{signature}", (ANA,), 1.0) is None


@pytest.mark.parametrize(
    "cookie", ["", ".", "a.b", "\u00e9.\u00e9", "x" * 5000, "W10.W10", "bnVsbA"]
)
def test_nonsense_is_nobody(cookie):
    assert Sessions().find(cookie, (ANA,), 1.0) is None


def test_a_session_that_was_signed_out_is_over_for_every_copy(tmp_path):
    file = tmp_path / "sessions.json"
    sessions = Sessions(file)
    old = sessions.give(ANA, 0.0)
    renewed = sessions.give(ANA, LASTS * 0.6, renewed=old)
    other = sessions.give(ANA, 0.0)
    sessions.end(renewed, LASTS * 0.7)
    # The old one would have counted still; another browser's session has nothing to do with it.
    for one in (sessions, Sessions(file)):
        found = [one.find(cookie, (ANA,), LASTS * 0.7) for cookie in (old, renewed, other)]
        assert found == [None, None, ANA]
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_another_process_signed_out_is_over_here(tmp_path):
    file = tmp_path / "sessions.json"
    here, there = Sessions(file), Sessions(file)
    cookie = here.give(ANA, 0.0)
    assert there.find(cookie, (ANA,), 1.0) is ANA
    there.end(cookie, 1.0)
    assert here.find(cookie, (ANA,), 1.0) is None


def test_what_has_ended_by_time_is_forgotten(tmp_path):
    file = tmp_path / "sessions.json"
    sessions = Sessions(file)
    sessions.end(sessions.give(ANA, 0.0), 0.0)
    sessions.end(sessions.give(ANA, LASTS), LASTS + 1)
    assert len(json.loads(file.read_text())["ended"]) == 1


@pytest.mark.parametrize("damaged", [None, "junk", "{}", '{"key": "00", "ended": {}}', "[]"])
def test_a_file_that_is_lost_ends_all_sessions_rather_than_revive_one(tmp_path, damaged):
    file = tmp_path / "sessions.json"
    sessions = Sessions(file)
    cookie = sessions.give(ANA, 0.0)
    sessions.end(cookie, 1.0)
    file.unlink()
    if damaged is not None:
        file.write_text(damaged)
    after = Sessions(file)
    assert after.find(cookie, (ANA,), 1.0) is None
    again = after.give(ANA, 0.0)
    assert Sessions(file).find(again, (ANA,), 1.0) is ANA


def test_where_nothing_can_be_written_sessions_last_as_long_as_the_process(tmp_path):
    sessions = Sessions(tmp_path / "gone" / "sessions.json")
    cookie = sessions.give(ANA, 0.0)
    assert sessions.find(cookie, (ANA,), 1.0) is ANA
    sessions.end(cookie, 1.0)
    assert sessions.find(cookie, (ANA,), 1.0) is None


def test_the_secret_is_not_in_it():
    told = Sessions().give(ANA, 0.0).partition(".")[0]
    raw = base64.urlsafe_b64decode(told + "==")
    assert b"secret" not in raw and ANA.digest.hex().encode()[:32] not in raw
