# SPDX-License-Identifier: Apache-2.0
"""Signing in and out: a browser shows a token once and gets a cookie that scripts can't read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strangler.control.choice import refuse_unknown
from strangler.control.endpoint import Endpoint
from strangler.control.handler import Handler, Rejected
from strangler.control.sessions import COOKIE

Told = Mapping[str, Any] | None
_LONGEST: Final = 1000


async def _login(asked: Handler) -> Told:
    given = asked.json_body()
    refuse_unknown(given, ("token",))
    secret = given.get("token")
    if not isinstance(secret, str) or not 1 <= len(secret) <= _LONGEST:
        raise Rejected(400, "token: expected a text")
    token = asked.tokens.known(secret)
    if token is None:
        asked.refuse_stranger()
        return None
    asked.token = token
    asked.begin_session(token)
    await asked.view.audit.add(asked.entry("login"))
    return token.json()


async def _logout(asked: Handler) -> Told:
    asked.json_body()
    if asked.end_session():
        await asked.view.audit.add(asked.entry("logout"))
    asked.clear_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    return {}


async def _whoami(asked: Handler) -> Told:
    token = asked.token
    asked.renew_session()
    return {"who": None, "role": None, "owners": []} if token is None else token.json()


_WHO: Final = {
    "type": "object",
    "properties": {
        "who": {"type": ["string", "null"]},
        "role": {"type": ["string", "null"]},
        "owners": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["who", "role", "owners"],
}

ROWS: Final = (
    Endpoint(
        method="POST",
        path="/-/login",
        counted=False,
        answer=_login,
        doc='{"token"}: a cookie for a browser, which stands for the token for two hours; '
        "it is renewed while it is used",
        access="open",
        body={
            "type": "object",
            "properties": {"token": {"type": "string", "minLength": 1, "maxLength": _LONGEST}},
            "required": ["token"],
            "additionalProperties": False,
        },
        told=_WHO,
        also=(401, 429),
    ),
    Endpoint(
        method="POST",
        path="/-/logout",
        counted=False,
        answer=_logout,
        doc="take the cookie away, and end its session: no copy of it counts any more",
        access="open",
        body={"type": "object"},
    ),
    Endpoint(
        method="GET",
        path="/-/whoami",
        answer=_whoami,
        doc="whose token or cookie this is, and its role",
        access="open",
        told=_WHO,
    ),
)
