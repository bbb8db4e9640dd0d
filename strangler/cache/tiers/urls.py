# SPDX-License-Identifier: Apache-2.0
"""A store's URL, taken apart: `redis+sentinel://user:pass@one:26379,two/service/0?prefix=x`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrl:
    """The parts of a URL with one or more hosts; the password is in no repr.

    path: its segments, percent-decoded.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    path: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def database(self) -> int:
        """The number that ends the path, 0 without one; ValueError where it is none."""
        return int(self.path[-1]) if self.path and self.path[-1] else 0


def parse(url: str, *, port: int) -> StoreUrl:
    """Return the parts of *url*; hosts without a port get *port*. Raises ValueError."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        raise ValueError(f"expected {scheme}://HOST")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    account, _, hosts = authority.rpartition("@")
    user, _, password = account.partition(":")
    return StoreUrl(
        scheme=scheme,
        hosts=tuple([_host(text, port) for text in hosts.split(",")]),
        user=unquote(user) or None,
        password=unquote(password) or None,
        path=tuple([unquote(part) for part in path.split("/")]) if path else (),
        options=dict(parse_qsl(query, keep_blank_values=True)),
    )


def _host(text: str, port: int) -> tuple[str, int]:
    if text.startswith("["):  # an IPv6 address
        host, _, rest = text[1:].partition("]")
        number = rest.removeprefix(":")
    else:
        host, _, number = text.partition(":")
    if number and not number.isdecimal():
        raise ValueError(f"expected a port, got {number!r}")
    return host or "127.0.0.1", int(number) if number else port
