# SPDX-License-Identifier: Apache-2.0
"""A fetch's way past an upstream that wants a bearer token (`upstream.oauth2`).

The token takes the place of whatever the reader had in Authorization: that field is the edge's
here. A 401 drops the token and the request is made once more with a new one, whatever its method:
who was refused has done nothing. A second 401 is the application's answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from strangler.errors import AttemptFailed
from strangler.wire.request import bearing

if TYPE_CHECKING:
    from strangler.exchange.fetching.fetch import Fetch
    from strangler.upstream import Bearer
    from strangler.wire.framing import Body
    from strangler.wire.head import ResponseHead


def authorized(fetch: Fetch, tokens: Bearer) -> bool:
    """Put a token into the request; False: it is waited for, and the fetch starts by itself."""
    token = tokens.at_hand()
    if token is None:
        fetch._timer = asyncio.get_running_loop().create_task(_wait(fetch, tokens))
        return False
    _bear(fetch, token)
    return True


async def _wait(fetch: Fetch, tokens: Bearer) -> None:
    try:
        token = await tokens.bearer()
    except AttemptFailed as error:
        fetch._timer = None
        fetch._fail(error)
        return
    fetch._timer = None
    _bear(fetch, token)
    fetch.begin()


def _bear(fetch: Fetch, token: str) -> None:
    if token != fetch._bearer:
        fetch._bearer = token
        fetch.request = bearing(fetch.request, token.encode())


def renews(fetch: Fetch, head: ResponseHead, body: Body) -> bool:
    """Tell whether a 401 is dropped, and the request made again with another token."""
    tokens = fetch.terms.tokens
    challenge = head.get(b"www-authenticate")
    if tokens is None or (challenge is not None and b"bearer" not in challenge.lower()):
        return False  # it is the reader who is to say who he is
    tokens.drop(fetch._bearer)
    if fetch._renewed or fetch.replay is None:
        return False
    fetch._renewed = True
    fetch.again(body)
    return True
