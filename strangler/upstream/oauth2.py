# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens for a protected upstream, by client credentials (RFC 6749 §4.4, RFC 6750).

`Tokens` is tornado-alf's TokenManager with what it lacks: one request for a token however many
wait for it, any number of seconds for `expires_in`, an end ten seconds before the token's own,
a failure that is always a TokenError, and no token dropped that is not the refused one. It takes
the place of a `tornadoalf.client.Client`'s own by `token_manager_class`; the edge, whose requests
stream, takes the tokens alone.

Neither a secret nor a token is ever in a message, an event or an error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from base64 import b64encode
from collections.abc import Mapping
from math import isfinite
from time import monotonic
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornadoalf.client import TokenManager
from tornadoalf.token import TokenError

from strangler.config import snapshot as config
from strangler.errors import AttemptFailed

_events = logging.getLogger("strangler.events")

#: Seconds that a token is good for whose giver doesn't say.
UNSAID: Final = 300.0
#: Seconds before its end at which a token is not used any more; of a short life, half.
MARGIN: Final = 10.0
#: Seconds for which a failure answers everybody: what is down isn't asked for every request.
FAILED_FOR: Final = 1.0
#: Seconds that a new token is safe from `Tokens.reset_token`, which can't say which was refused.
SAFE: Final = 1.0
#: Seconds to connect to the giver, and until it has answered.
CONNECT: Final = 2.0
ANSWER: Final = 5.0

#: RFC 6750 §2.1: nothing else may stand in a field.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*", re.ASCII)


class Tokens(TokenManager):  # type: ignore[misc]
    """The tokens of one client at one giver; made and used on one event loop.

    *http_options*: as for tornado's HTTPRequest, over our own · *scope*: what to ask for.
    """

    def __init__(
        self,
        token_endpoint: str,
        client_id: str,
        client_secret: str,
        http_options: Mapping[str, Any] | None = None,
        *,
        scope: str = "",
        name: str = "",
    ) -> None:
        super().__init__(token_endpoint, client_id, client_secret, dict(http_options or {}))
        self._scope = scope
        self._name = name
        self._held = ""
        self._got = 0.0
        self._until = 0.0
        self._asking: asyncio.Task[str] | None = None
        self._failure: TokenError | None = None
        self._failed_until = 0.0

    @classmethod
    def of(cls, definition: config.OAuth2, name: str) -> Tokens:
        """Return what gives tokens for the upstream called *name*."""
        return cls(
            definition.token_url, definition.client_id, definition.client_secret,
            scope=definition.scope, name=name,
        )  # fmt: skip

    # What a request needs.

    def at_hand(self) -> str | None:
        """Return a token that is good now, or None: it has to be waited for."""
        return self._held if monotonic() < self._until else None

    async def bearer(self) -> str:
        """Return a token; raises AttemptFailed where there is none to be had."""
        try:
            return await self.get_token()
        except TokenError as problem:
            detail = f"{self._name}: no token: {problem}"
            raise AttemptFailed(
                "token_unavailable", detail, sent=False, word="connect"
            ) from problem

    def drop(self, token: str) -> None:
        """Learn that *token* was refused; a newer one stays."""
        if token == self._held:
            self._until = 0.0

    # What tornado-alf's Client asks.

    async def get_token(self) -> str:
        """Return a token, asking for one if need be, once for all who wait. Raises TokenError."""
        token = self.at_hand()
        if token is not None:
            return token
        if self._failure is not None and monotonic() < self._failed_until:
            raise TokenError(str(self._failure), None)
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._renew())
            self._asking.add_done_callback(_heard)
        # Who gives up waiting must not end it for the others.
        return await asyncio.shield(self._asking)

    def reset_token(self) -> None:
        """Drop the token, unless it is so new that another must have been the refused one."""
        if monotonic() - self._got > SAFE:
            self._until = 0.0

    # Asking.

    async def _renew(self) -> str:
        try:
            token, lives = _read(await self._ask())
        except TokenError as problem:
            self._fail(problem)
            raise
        except Exception as problem:  # whatever it is, it is no token
            failure = TokenError(f"{type(problem).__name__} while asking for it", None)
            self._fail(failure)
            raise failure from problem
        finally:
            self._asking = None
        now = monotonic()
        if self._failure is not None:
            self._failure = None
            _events.info("token.given", extra={"fields": {"upstream": self._name}})
        self._held, self._got, self._until = token, now, now + max(lives - MARGIN, lives / 2)
        return token

    def _fail(self, problem: TokenError) -> None:
        first, self._failure = self._failure is None, problem
        self._failed_until = monotonic() + FAILED_FOR
        if first:
            fields = {"upstream": self._name, "why": str(problem)}
            _events.warning("token.failed", extra={"fields": fields})

    async def _ask(self) -> bytes:
        """Ask the giver; return what it answers with 200. Redirects would show it our secret."""
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        # RFC 6749 §2.3.1: both are form-encoded before they are joined.
        pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
        options = {
            "connect_timeout": CONNECT,
            "request_timeout": ANSWER,
            "follow_redirects": False,
            **self._http_options,
        }
        request = HTTPRequest(
            self._token_endpoint,
            method="POST",
            headers={
                "Authorization": "Basic " + b64encode(pair.encode()).decode(),
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=urlencode(form),
            **options,
        )
        try:
            response = await AsyncHTTPClient().fetch(request)
        except HTTPClientError as problem:
            late = problem.code == 599  # tornado's own, for what never came
            told = "has not answered in time" if late else f"answered {problem.code}"
            raise TokenError(f"the giver {told}", None) from None
        except OSError as problem:
            raise TokenError(problem.strerror or type(problem).__name__, None) from None
        return response.body


def _heard(asking: asyncio.Task[str]) -> None:
    """Take a failure in that nobody waits for any more."""
    if not asking.cancelled():
        asking.exception()


def _read(body: bytes) -> tuple[str, float]:
    """Return the token in a giver's answer and the seconds of its life (RFC 6749 §5.1)."""
    try:
        told = json.loads(body)
    except ValueError:
        raise TokenError("the giver's answer is not JSON", None) from None
    if not isinstance(told, dict):
        raise TokenError("the giver's answer is not an object", None)
    token = told.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TokenError("the giver's answer has no access_token that a field can hold", None)
    kind = told.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenError("the giver's answer has a token of another type than Bearer", None)
    try:
        lives = float(told.get("expires_in", UNSAID))
    except (TypeError, ValueError):
        lives = UNSAID
    return token, lives if isfinite(lives) and lives > 0.0 else UNSAID
