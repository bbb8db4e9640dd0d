# SPDX-License-Identifier: Apache-2.0
"""What keeps a reader on one side: the sticky key, and the bucket that it hashes to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Literal, Protocol, cast

from .stage import WHOLE, Malformed

Kind = Literal["reader", "address", "cookie", "header", "user"]

BUCKETS: Final = WHOLE
READER_COOKIE: Final = b"strangler_reader"
"""The first-party cookie that the edge gives to a reader who has none."""

_READER: Final = re.compile(rb"[A-Za-z0-9_-]{16,64}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SESSION: Final = "sessionid"


class Head(Protocol):
    """The part of a request head that a sticky key can come from."""

    def get(self, name: bytes, /) -> bytes | None:
        """The first value of the field `name` (lower case)."""

    def cookie(self, name: bytes, /) -> bytes | None:
        """The value of the cookie `name`."""


@dataclass(frozen=True, slots=True)
class By:
    """What readers are told apart by.

    `reader` is the edge's own cookie, `address` the client's address, `user` the session cookie
    (`name`, default Django's), `cookie` and `header` what `name` says.
    """

    kind: Kind = "reader"
    name: str = ""
    _name: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = self.name.lower() if self.kind == "header" else self.name
        object.__setattr__(self, "_name", name.encode())

    def value(self, head: Head, address: bytes) -> bytes | None:
        """The sticky key by this alone, or None if the request has none."""
        if self.kind == "reader":
            return _reader(head)
        if self.kind == "address":
            return address
        return head.get(self._name) if self.kind == "header" else head.cookie(self._name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_by(text: str) -> By:
    """Parse `reader`, `address`, `user`, `user:COOKIE`, `cookie:NAME` or `header:NAME`."""
    kind, colon, name = text.partition(":")
    expected = "reader, address, user, cookie:NAME or header:NAME"
    if kind in ("reader", "address") and not colon:
        return By(cast(Kind, kind))
    if kind == "user" and not colon:
        return By("user", _SESSION)
    if kind in ("user", "cookie", "header"):
        if _TOKEN.fullmatch(name):
            return By(cast(Kind, kind), name)
        raise Malformed(expected, repr(text), f"write {kind}:NAME", len(kind))
    hint = f"write {kind} alone" if kind in ("reader", "address") else ""
    raise Malformed(expected, repr(text), hint)


def is_reader(value: bytes) -> bool:
    """Tell whether `value` can be the reader cookie's: 16-64 letters, digits, `-` and `_`."""
    return _READER.fullmatch(value) is not None


def _reader(head: Head) -> bytes | None:
    value = head.cookie(READER_COOKIE)
    return value if value and is_reader(value) else None


def sticky(by: By, head: Head, address: bytes) -> bytes | None:
    """Find the request's sticky key; None means that it needs a new reader cookie.

    Who lacks the cookie or header asked for (an anonymous reader has no session) goes by the
    reader cookie.
    """
    return by.value(head, address) or (_reader(head) if by.kind != "reader" else None)


def canary_salt(name: str) -> str:
    """The salt for deciding; `name` is the route's group, or its key if it has none."""
    return f"canary\0{name}"


def shadow_salt(name: str) -> str:
    """The salt for sampling shadows; `name` is the route's key."""
    return f"shadow\0{name}"


def bucket(sticky: bytes, salt: str) -> int:
    """Hash a sticky key to its bucket, 0-9999: the same in every process and release."""
    digest = blake2b(salt.encode() + b"\0" + sticky, digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS
