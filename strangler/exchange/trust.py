# SPDX-License-Identifier: Apache-2.0
"""Who the client is behind hops that the site trusts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from strangler.wire.head import members


def client_of(peer: str, forwarded_for: bytes | None, trusts: Callable[[str], bool]) -> str:
    """Return the address of the client behind trusted hops: the first stranger from the right."""
    if forwarded_for is None:
        return peer
    client = peer
    for member in reversed(members(forwarded_for)):
        address = member.decode("latin-1").strip('"')
        if address.startswith("["):
            address = address[1:].partition("]")[0]
        elif address.count(":") == 1:
            address = address.partition(":")[0]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            return client
        client = address
        if not trusts(address):
            return client
    return client
