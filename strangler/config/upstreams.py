# SPDX-License-Identifier: Apache-2.0
"""The upstreams of a configuration: made, named, counted."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Literal

from strangler.config.blocks import Values
from strangler.config.diagnostics import did_you_mean
from strangler.config.kinds import BAD, Context, Located, printable
from strangler.config.snapshot import (
    Endpoint,
    Health,
    Keepalive,
    Listen,
    OAuth2,
    Place,
    Timeouts,
    Tls,
    Upstream,
)
from strangler.config.values import RESERVED_NAMES
from strangler.resilience.policy import Breaker


class Upstreams:
    """The upstreams by name, and who asks for them.

    names: every one named, sound or not, so that a mistake in one is not a second mistake where
    it is used · sound: those without a mistake · used: those that some route may send to ·
    legacy: the name of the one with that role.
    """

    def __init__(self, ctx: Context, folder: str, defaults: Mapping[str, Any]) -> None:
        self.ctx = ctx
        self.folder = folder
        self.defaults = defaults
        self.names: dict[str, Place] = {}
        self.sound: dict[str, Upstream] = {}
        self.used: set[str] = set()
        self.legacy: str | None = None
        self._urls: list[Located] = []

    def add(self, entries: Iterable[tuple[Any, Any]], owner: str) -> None:
        """Add one file's upstreams; *owner* is whose they are if they don't say."""
        for key, value in entries:
            name, path = key.text, f"upstreams.{printable(key.text)}"
            first = self.names.setdefault(name, key.place)
            if first is not key.place:
                message = f"upstream {printable(name)!r} stands twice, first at {first}"
                self.ctx.report(key.place, path, "S006", message)
                continue
            if name in RESERVED_NAMES:
                message = f"expected a name of your own, got {name}, which has a meaning"
                self.ctx.report(key.place, path, "S107", message)
                continue
            if value is BAD:
                # Whatever it was meant to be: a second message about it would help nobody.
                self.legacy = self.legacy or (name if name == "legacy" else None)
                continue
            self._urls += value.get("url", ()) if isinstance(value, Values) else value
            upstream = self._upstream(name, value, key.place, owner)
            if upstream.role == "legacy":
                if self.legacy is not None:
                    first = self.names[self.legacy]
                    message = f"a second upstream with the role legacy, the first is at {first}"
                    self.ctx.report(key.place, path, "S204", message)
                    continue
                self.legacy = name
            if upstream.endpoints:
                self.sound[name] = upstream

    def known(self, name: str, said: Located, more: Iterable[str] = ()) -> bool:
        """Tell whether *name* is an upstream, which is then in use; report it if it is not."""
        if name in self.names:
            self.used.add(name)
            return True
        hint = did_you_mean(name, [*self.names, *more])
        if hint is None and self.names:
            hint = "known upstreams: " + printable(", ".join(sorted(self.names)))
        secret = "${" in said.shown
        message = f"unknown upstream {said.shown!r}"
        self.ctx.report(said.place, said.path, "S201", message, None if secret else hint)
        return False

    def no_legacy(self, place: Place, path: str, what: str) -> None:
        """Report that *what* needs the monolith where there is none."""
        hint = "give the monolith's upstream `role: legacy`, or call it legacy"
        message = f"{what} needs an upstream with the role legacy, and there is none"
        self.ctx.report(place, path, "S203", message, hint)

    def refuse_own(
        self, listen: Sequence[Listen], admin: Listen | None, hosts: Sequence[str]
    ) -> None:
        """Refuse endpoints that are the edge itself: a request would circle for ever.

        With no address in *listen* the default one is assumed, and worth a warning only: the
        command line may say another.
        """
        own = [*listen, *([admin] if admin else [])]
        assumed = None
        if not listen:
            port = self.ctx.env.get("EDGE_PORT", "")
            assumed = Listen(host="127.0.0.1", port=int(port) if port.isdecimal() else 8000)
            own.append(assumed)
        for url in self._urls:
            for address in own:
                if _same(address, self._endpoint(url.value), hosts):
                    guess = address is assumed
                    self.ctx.report(
                        url.place,
                        url.path,
                        "S205",
                        f"{url.shown} is where the edge itself listens ({address})",
                        "say `listen`, if the edge will listen elsewhere" if guess else None,
                        severity="warning" if guess else "error",
                    )

    def _upstream(self, name: str, value: Any, place: Place, owner: str) -> Upstream:
        values: Mapping[str, Any] = value if isinstance(value, Values) else {"url": value}
        role: Literal["legacy", "service"] = "legacy" if name == "legacy" else "service"
        base = Timeouts()
        breaker = lay_breaker(Breaker(), self.defaults.get("breaker", BAD))
        oauth2: Values | None = values.get("oauth2")
        tls: Values | None = values.get("tls")
        return Upstream(
            name=name,
            endpoints=tuple(self._endpoint(url.value) for url in values.get("url", ())),
            role=values.get("role", role),
            owner=values.get("owner", owner),
            timeouts=lay_timeouts(
                lay_timeouts(base, self.defaults.get("timeout")), values.get("timeout")
            ),
            health=_health(values.get("health")),
            max_inflight=values.get("max_inflight"),
            queue=values.get("queue", 100),
            keepalive=Keepalive(**values.get("keepalive", {})),
            breaker=lay_breaker(breaker, values.get("breaker", BAD)),
            oauth2=_oauth2(oauth2),
            tls=self._tls(tls),
            place=place,
        )

    def _endpoint(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.unix is None:
            return endpoint
        return replace(endpoint, unix=os.path.join(self.folder, endpoint.unix))

    def _tls(self, values: Values | None) -> Tls | None:
        if values is None:
            return None
        return Tls(
            verify=values.get("verify", True),
            ca=os.path.join(self.folder, values["ca"].value) if "ca" in values else None,
            server_name=values.get("server_name"),
        )


def lay_timeouts(base: Timeouts, said: Any) -> Timeouts:
    """Lay what was said over *base*: None says nothing, a number is `first_byte`."""
    if said is None:
        return base
    return replace(base, **(said if isinstance(said, Values) else {"first_byte": said}))


def lay_breaker(base: Breaker | None, said: Values | Any | None) -> Breaker | None:
    """Lay what was said over *base*: BAD says nothing, None (the word none) is no breaker."""
    if said is BAD:
        return base
    return None if said is None else replace(base or Breaker(), **said)


def _health(said: Any) -> Health | None:
    if said is None:
        return None
    values: Mapping[str, Any] = said if isinstance(said, Values) else {"path": said}
    kwargs = {name: values[name] for name in ("every", "timeout", "rise", "fall") if name in values}
    expect: Mapping[str, Any] = values.get("expect", {})
    if "status" in expect:
        kwargs["status"] = frozenset().union(*expect["status"])
    if "json" in expect:
        kwargs["json"] = MappingProxyType({key.text: value for key, value in expect["json"]})
    if "body" in expect:
        kwargs["body"] = expect["body"].value
    path = values.get("path", "tcp")
    return Health(path=None if path == "tcp" else path, **kwargs)


def _oauth2(values: Values | None) -> OAuth2 | None:
    if values is None or values.bad:
        return None
    return OAuth2(
        token_url=values["token_url"].value.url,
        client_id=values["client_id"],
        client_secret=values["client_secret"].value,
        scope=values.get("scope", ""),
    )


_LOOPBACK: Final = frozenset({"localhost", "::1", "0.0.0.0", "::", ""})


def _is_local(host: str) -> bool:
    return host in _LOOPBACK or host.startswith("127.") or host == socket.gethostname().lower()


def _same(listen: Listen, endpoint: Endpoint, hosts: Sequence[str]) -> bool:
    """Tell whether a connection to *endpoint* would reach *listen*."""
    if endpoint.unix is not None or listen.unix is not None:
        return endpoint.unix == listen.unix
    if listen.port == 0 or endpoint.port != listen.port:
        return False
    if endpoint.host == listen.host or endpoint.host in hosts:
        return True
    if listen.host in ("", "0.0.0.0", "::"):
        return _is_local(endpoint.host)
    # 127.0.0.2 is another address than 127.0.0.1, but localhost is whichever the system says.
    names = {"localhost", listen.host}
    return _is_local(listen.host) and endpoint.host in (
        names
        | ({"127.0.0.1"} if listen.host == "localhost" else set())
        | ({"::1"} if listen.host == "localhost" else set())
        | {"0.0.0.0", "::"}
    )
