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
    sessions = Sessions(b"k" * 32)
    cookie = sessions.give(ANA, 1000.0)
    assert sessions.find(cookie, (BIA, ANA), 1000.0) is ANA
    assert sessions.find(cookie, (BIA, ANA), 999.0 + LASTS) is ANA
    assert sessions.find(cookie, (BIA, ANA), 1000.0 + LASTS) is None
    assert sessions.ends(cookie) == 1000.0 + LASTS


def test_it_ends_with_its_token_and_with_its_rights():
    sessions = Sessions(b"k" * 32)
    cookie = sessions.give(ANA, 0.0)
    assert sessions.find(cookie, (BIA,), 1.0) is None
    another = Token("ana", "operator", hashed("another-secret"))
    assert sessions.find(cookie, (another,), 1.0) is None
    less = Token("ana", "viewer", ANA.digest)
    assert sessions.find(cookie, (less,), 1.0) is None


def test_pains_51_nobody_else_can_make_one():
    cookie = Sessions(b"k" * 32).give(ANA, 0.0)
    assert Sessions(b"j" * 32).find(cookie, (ANA,), 1.0) is None
    assert Sessions().find(cookie, (ANA,), 1.0) is None
    told, _, signature = cookie.partition(".")
    who, seen, ends = json.loads(base64.urlsafe_b64decode(told + "=="))
    forged = base64.urlsafe_b64encode(json.dumps([who, seen, ends + 9]).encode()).decode()
    assert Sessions(b"k" * 32).find(f"{forged.rstrip('=')}.{signature}", (ANA,), 1.0) is None


@pytest.mark.parametrize(
    "cookie", ["", ".", "a.b", "\u00e9.\u00e9", "x" * 5000, "W10.W10", "bnVsbA"]
)
def test_nonsense_is_nobody(cookie):
    assert Sessions(b"k" * 32).find(cookie, (ANA,), 1.0) is None


def test_the_secret_is_not_in_it():
    told = Sessions(b"k" * 32).give(ANA, 0.0).partition(".")[0]
    raw = base64.urlsafe_b64decode(told + "==")
    assert b"secret" not in raw and ANA.digest.hex().encode()[:32] not in raw
