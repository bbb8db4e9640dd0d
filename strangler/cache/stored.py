# SPDX-License-Identifier: Apache-2.0
"""A stored response, without its body: everything that a decision needs, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from strangler.cache.fields import block
from strangler.wire.head import Fields


@dataclass(frozen=True)
class Span:
    """Which bytes of a representation are held: both ends count; `complete` is its length."""

    first: int
    last: int
    complete: int | None

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What is kept of a response, all but its body; instants are seconds of wall time.

    key: primary key · head: status line and fields as they are sent, each line ended by CRLF,
    without Age, Connection, Cache-Status and the empty line · selecting: the nominated request
    fields and their normalised values, None where absent (RFC 9111 §4.1) · received: when its
    head arrived · initial_age, lifetime, while_revalidate, if_error: seconds (`freshness`) ·
    never_stale: no stale answer, whoever asks for it · no_cache: ask before every use ·
    authorized: may answer requests with Authorization · date, modified: Date (or received) and
    Last-Modified · length: bytes of body held · span: which part they are, None for a whole ·
    asked: the Range that a partial answered · tags: what it can be purged by · route: its key.
    """

    key: bytes
    status: int
    head: bytes
    selecting: tuple[tuple[bytes, bytes | None], ...] = ()
    received: float
    initial_age: float
    lifetime: float
    while_revalidate: float = 0.0
    if_error: float = 0.0
    never_stale: bool = False
    no_cache: bool = False
    authorized: bool = True
    etag: bytes | None = None
    date: float
    modified: int | None = None
    language: bytes | None = None
    length: int
    span: Span | None = None
    asked: bytes | None = None
    tags: tuple[bytes, ...] = ()
    route: bytes = b""

    @property
    def fields(self) -> Fields:
        """Return the stored fields, read anew at each call."""
        return block(self.lines)

    @property
    def lines(self) -> bytes:
        """Return the field lines of `head`."""
        return self.head[self.head.index(b"\r\n") + 2 :]

    @property
    def fresh_until(self) -> float:
        """The instant at which age reaches lifetime."""
        return self.received + self.lifetime - self.initial_age

    @property
    def kept_until(self) -> float:
        """The instant from which it is of no use, unless it can be validated."""
        return self.fresh_until + max(self.while_revalidate, self.if_error)

    @property
    def strong_etag(self) -> bytes | None:
        """The entity tag, where it is a strong one (RFC 9110 §8.8.1)."""
        etag = self.etag
        return etag if etag is not None and etag.startswith(b'"') else None

    @property
    def strong_date(self) -> int | None:
        """Last-Modified, where it is a strong validator: a second older than Date (§8.8.2.2).

        Not beside an entity tag: that one says what is the same, and where it is weak, nothing is.
        """
        modified = self.modified
        if modified is None or self.etag is not None or self.date - modified < 1.0:
            return None
        return modified

    def age(self, now: float) -> float:
        """Return current_age in seconds >= 0 (RFC 9111 §4.2.3); a clock set back adds none."""
        resident = now - self.received
        return self.initial_age + resident if resident > 0.0 else self.initial_age
