# SPDX-License-Identifier: Apache-2.0
"""Heads and stored responses for the cache's tests, in as few words as they allow."""

from __future__ import annotations

from strangler.cache import dates, store
from strangler.cache.key import Keying
from strangler.cache.policy import CachePolicy
from strangler.cache.storable import Uncacheable
from strangler.cache.stored import Stored
from strangler.wire.head import Fields, RequestHead, ResponseHead

#: Tue, 04 Nov 2025 10:00:00 GMT.
NOW = 1762250400.0
ORIGIN = CachePolicy(mode="origin")
STEERED = CachePolicy(mode="origin", client_steers=True)


def date(seconds: float = 0.0) -> bytes:
    return dates.write(NOW + seconds)


def request(
    *fields: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/a"
) -> RequestHead:
    return RequestHead.build(method, target, fields)


def response(*fields: tuple[bytes, bytes], status: int = 200) -> ResponseHead:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    head = ResponseHead.parse(b"HTTP/1.1 %d Some Reason\r\n%b\r\n" % (status, lines))
    assert head is not None
    return head


def fields(*pairs: tuple[bytes, bytes]) -> Fields:
    return response(*pairs)


def cc(value: bytes) -> tuple[bytes, bytes]:
    return b"Cache-Control", value


def plan(
    head: ResponseHead,
    *,
    to: RequestHead | None = None,
    policy: CachePolicy = ORIGIN,
    requested: float = NOW,
    received: float = NOW,
) -> Stored | Uncacheable:
    asked = request() if to is None else to
    key = Keying.compile(policy.key).key(asked)
    return store.plan(asked, head, policy, key=key, requested=requested, received=received)


def stored(
    *pairs: tuple[bytes, bytes],
    to: RequestHead | None = None,
    status: int = 200,
    length: int = 10,
    policy: CachePolicy = ORIGIN,
    received: float = NOW,
) -> Stored:
    """Return a response with these fields (and Date, unless given) as it is stored."""
    head = response(*pairs, status=status)
    if b"date" not in head:
        head = response((b"Date", dates.write(received)), *pairs, status=status)
    planned = plan(head, to=to, policy=policy, requested=received, received=received)
    assert isinstance(planned, Stored), planned
    sealed = store.seal(planned, length)
    assert isinstance(sealed, Stored), sealed
    return sealed
