# SPDX-License-Identifier: Apache-2.0
"""`redis://`, `rediss://` and `redis+sentinel://`, made into stores.

redis://user:password@host:6379/0?prefix=strangler:
rediss://…?ssl_ca_certs=/etc/ca.pem        the words of redis-py: also ssl_certfile,
           ssl_keyfile, ssl_check_hostname=false, ssl_cert_reqs=none
redis+sentinel://user:password@one:26379,two:26379/service/0?sentinel_password=x
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from strangler.cache.tiers.redis import Redis
from strangler.cache.tiers.resp import Client, Command, Locate, sentinels
from strangler.cache.tiers.urls import StoreUrl


def direct(url: StoreUrl, name: str) -> Redis:
    """Return the store in the Redis at *url*'s host."""
    return _store(url, name, lambda: client(url))


def by_sentinel(url: StoreUrl, name: str) -> Redis:
    """Return the store in the master of the service that *url*'s sentinels watch."""
    if not url.path or not url.path[0]:
        raise ValueError("expected redis+sentinel://HOST,HOST/SERVICE")
    return _store(url, name, lambda: client(url))


def client(url: StoreUrl) -> Client:
    """Return a client of the one Redis that *url* leads to; it connects when it is opened."""
    tls = tls_context(url.options) if url.scheme == "rediss" else None
    return Client(locating(url), greeting(url), tls)


def locating(url: StoreUrl) -> Locate:
    """Return a way to the Redis at *url*: its host, or the master that its sentinels know."""
    if url.scheme != "redis+sentinel":

        async def locate() -> tuple[str, int]:
            return url.hosts[0]

        return locate
    password = url.options.get("sentinel_password")
    asking: list[Command] = [("AUTH", password)] if password else []
    return sentinels(url.hosts, url.path[0] if url.path else "", asking)


def greeting(url: StoreUrl) -> list[Command]:
    """Return the commands that a new connection begins with."""
    commands: list[Command] = []
    if url.password is not None:
        commands.append(("AUTH", *([url.user] if url.user else []), url.password))
    number = 0 if url.scheme == "redis+sentinel" and len(url.path) < 2 else url.database
    if number:
        commands.append(("SELECT", number))
    return commands


def _store(url: StoreUrl, name: str, client: Callable[[], Client]) -> Redis:
    from strangler.cache.tiers import prefix

    # Large answers on a connection of their own: a slice must not hold up the small ones.
    return Redis(url.scheme, client(), client(), prefix=prefix(url, name))


def tls_context(options: dict[str, str]) -> ssl.SSLContext:
    """Return the context that a URL's `ssl_…` options ask for."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_check_hostname") == "false" or options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
    if options.get("ssl_cert_reqs") == "none":
        context.verify_mode = ssl.CERT_NONE
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    return context
