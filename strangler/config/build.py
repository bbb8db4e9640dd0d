# SPDX-License-Identifier: Apache-2.0
"""From checked values to the dataclasses of `snapshot`, and what one value alone cannot tell.

Every step goes on after a problem, so that all are reported at once; a route or upstream with a
problem of its own is left out of the steps after it, so that one mistake is one message.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import Final

from strangler.cache.policy import Tier
from strangler.config import document, schema
from strangler.config.blocks import Values
from strangler.config.document import Node
from strangler.config.kinds import Context, Located, printable
from strangler.config.policies import Policies
from strangler.config.routes import File, Routes
from strangler.config.snapshot import (
    Limits,
    Listen,
    ListenTls,
    OverridePolicy,
    Route,
    Site,
    Tracing,
    Upstream,
)
from strangler.config.upstreams import Upstreams
from strangler.errors import StranglerError
from strangler.routing import AmbiguousPath, Rule, Table, TiedRules, compile_table
from strangler.units import show_duration
from strangler.wire.head import RequestHead

TIERS: Final[Mapping[str, Tier]] = MappingProxyType(
    {
        "edge": Tier(name="edge", store="memory", size=256 << 20),
        "shared": Tier(name="shared", store="sqlite:var/shared.db", size=1 << 30),
        "archive": Tier(name="archive", store="sqlite:var/archive.db"),
    }
)


@dataclass(slots=True)
class Built:
    """What the builder found; only complete if the context has no errors."""

    site: Site
    limits: Limits
    listen: tuple[Listen, ...]
    admin: Listen | None
    workers: int | None
    upstreams: Mapping[str, Upstream]
    tiers: Mapping[str, Tier]
    routes: tuple[Route, ...]
    table: Table[Route]
    overrides: OverridePolicy
    tracing: Tracing | None


def build(
    files: Sequence[File],
    ctx: Context,
    *,
    folder: str,
    today: date,
    listen: Sequence[Listen] = (),
    check_files: bool = True,
) -> Built:
    """Return the parts of a snapshot; problems go to *ctx*.

    folder: what relative names of files start from · listen: addresses of the command line ·
    check_files: whether page files must exist.
    """
    top = files[0].values
    site = Site(**top.get("site", {}))
    tiers = _tiers(top, folder)
    _version(top, ctx)
    own = tuple(_listen(item, folder) for item in top.get("listen", ()))
    admin: Located | None = top.get("admin")
    defaults = top.get("defaults") or Values(top.node, "")

    upstreams = Upstreams(ctx, folder, defaults)
    for file in files:
        upstreams.add(file.values.get("upstreams", ()), file.owner)
    upstreams.refuse_own((*own, *listen), admin.value if admin else None, site.hosts)

    policies = Policies(ctx, folder, defaults, upstreams, frozenset(tiers), check_files)
    for file in files:
        policies.add_presets(file.values.get("presets", ()))
    policies.check_unused()

    rules = Routes(ctx, site, upstreams, policies, today).rules(files)
    table = _table(rules, ctx)
    _circles(table, ctx)
    if not any(d.severity == "error" for d in ctx.diagnostics):
        _advise(top, site, upstreams, rules, ctx)
    return Built(
        site=site,
        limits=Limits(**top.get("limits", {})),
        listen=own,
        admin=_absolute(admin.value, folder) if admin else None,
        workers=top.get("workers"),
        upstreams=MappingProxyType(upstreams.sound),
        tiers=MappingProxyType(tiers),
        routes=tuple(rule.value for rule in rules),
        table=table,
        overrides=_overrides(top, ctx, folder),
        tracing=_tracing(top),
    )


def _version(top: Values, ctx: Context) -> None:
    version = top.get("version")
    if version is not None and version != schema.VERSION:
        ctx.report(
            top.place("version"),
            "version",
            "S112",
            f"expected {schema.VERSION}, got {version}",
            "a newer strangler may read it" if version > schema.VERSION else None,
        )


def _listen(item: Located | Values, folder: str) -> Listen:
    if isinstance(item, Located):
        return _absolute(item.value, folder)
    address: Located | None = item.get("address")
    listen = _absolute(address.value, folder) if address else Listen()
    tls: Values | None = item.get("tls")
    if tls is None or tls.bad:
        return listen
    cert, key = (os.path.join(folder, tls[name].value) for name in ("cert", "key"))
    return replace(listen, tls=ListenTls(cert=cert, key=key))


def _absolute(listen: Listen, folder: str) -> Listen:
    if listen.unix is None:
        return listen
    return replace(listen, unix=os.path.join(folder, listen.unix))


def _overrides(top: Values, ctx: Context, folder: str) -> OverridePolicy:
    values: Values | None = top.get("overrides")
    if values is None or values.bad:
        return OverridePolicy()
    said = dict(values)
    store: Located | None = said.pop("store", None)
    if store is not None:
        scheme, colon, path = store.value.partition(":")
        own = f"file:{os.path.join(folder, path)}" if scheme == "file" and colon else store.value
        said["store"] = own
    policy = OverridePolicy(**said)
    if policy.default > policy.max:
        path = f"{values.path}.default"
        message = f"more than overrides.max ({show_duration(policy.max)})"
        place = values.place("default" if "default" in values else "max")
        ctx.report(place, path, "S104", message)
    return policy


def _tracing(top: Values) -> Tracing | None:
    values: Values | None = top.get("tracing")
    if values is None or values.bad or "endpoint" not in values:
        return None
    said = dict(values)
    endpoint: Located = said.pop("endpoint")
    return Tracing(endpoint=endpoint.value.url, **said)


def _tiers(top: Values, folder: str) -> dict[str, Tier]:
    """Return the tiers; a SQLite file stands where the configuration does, not where we do."""
    tiers = dict(TIERS)
    said: Mapping[str, Values | None] = top.get("tiers", {})
    for name, values in said.items():
        if values is None:
            del tiers[name]
        elif not values.bad:
            store: Located = values["store"]
            tiers[name] = replace(
                Tier(name=TIERS[name].name, store=store.value),
                **{k: v for k, v in values.items() if k != "store"},
            )
    for name, tier in tiers.items():
        kind, colon, path = tier.store.partition(":")
        if kind == "sqlite" and colon:
            tiers[name] = replace(tier, store=f"sqlite:{os.path.join(folder, path)}")
    return tiers


def _table(rules: Sequence[Rule[Route]], ctx: Context) -> Table[Route]:
    try:
        return compile_table(rules)
    except TiedRules as error:
        for tie in error.ties:
            first, second = sorted((tie.first, tie.second), key=lambda rule: rule.value.place)
            ctx.report(
                second.value.place,
                f"routes.{printable(second.value.key)}",
                "S302",
                f"ties with {printable(first.value.key)} at {first.value.place}: {tie.reason}",
                "make one of them more specific or remove it",
            )
    return compile_table(())


def _circles(table: Table[Route], ctx: Context) -> None:
    """Refuse redirects that lead a reader back to a redirect that was there before."""
    known: set[Route] = set()
    for rule in table.rules:
        seen = [rule.value]
        while len(seen) <= 10:
            route = _follow(table, seen[-1])
            if route is None or route in known or (route in seen and route is not rule.value):
                break
            if route is rule.value:
                way = " -> ".join(printable(step.key) for step in (*seen, route))
                path = f"routes.{printable(route.key)}.redirect"
                message = f"leads back to itself: {way}"
                ctx.report(route.place, path, "S309", message)
                known.update(seen)
                break
            seen.append(route)


def _follow(table: Table[Route], route: Route) -> Route | None:
    if route.redirect is None or route.conditions:
        return None
    params = dict.fromkeys(route.pattern.names, b"x")
    location = route.redirect.target(params).partition(b"#")[0]
    if not location.startswith(b"/") or location.startswith(b"//"):
        return None
    method = min(route.methods, default=b"GET")
    host = route.host or b"localhost"
    try:
        head = RequestHead.build(method, location, [(b"Host", host.replace(b"*", b"x"))])
        match = table.match(head)
    except (AmbiguousPath, StranglerError):
        return None
    return match.value if match else None


def _advise(
    top: Values, site: Site, upstreams: Upstreams, rules: Sequence[Rule[Route]], ctx: Context
) -> None:
    """Tell of what is no mistake but may not be meant."""
    for name, place in upstreams.names.items():
        if name not in upstreams.used:
            path = f"upstreams.{printable(name)}"
            ctx.report(place, path, "S207", "no route uses it", severity="note")
    bare = any(
        rule.key.pattern.rest
        and not rule.key.pattern.segments
        and not rule.key.methods
        and not rule.conditions
        and (rule.key.host is None or rule.key.host.decode() in site.hosts)
        for rule in rules
    )
    if not bare:
        place = top.place("routes")
        message = "a request that fits none of them is answered 404"
        hint = "add a catch-all: /**: legacy"
        ctx.report(place, "routes", "S312", message, hint, severity="warning")


def read_file(node: Node | None, ctx: Context, *, included: bool) -> File | None:
    """Return one file's values, or None where it has no options at all."""
    block = schema.INCLUDED if included else schema.FILE
    if node is None:
        return None
    if not isinstance(node, document.Mapping) or not node.entries:
        hint = "begin with `prefix: /path`" if included else "begin with `version: 1`"
        ctx.report(node.place, "", "S008", "expected a mapping of options", hint)
        return None
    values: Values = block.read(node, "", ctx)
    if not included:
        return File(values)
    return File(values, tuple(values.get("prefix", ())), values.get("owner", ""), included=True)
