# SPDX-License-Identifier: Apache-2.0
"""From checked values to the dataclasses of `snapshot`, and what one value alone cannot tell.

Every step goes on after a problem, so that all are reported at once; a route or upstream with a
problem of its own is left out of the steps after it, so that one mistake is one message.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from strangler.cache.policy import CachePolicy, KeyPolicy, QueryKey, Tier
from strangler.config import document, schema
from strangler.config.diagnostics import did_you_mean
from strangler.config.document import Node, Scalar
from strangler.config.kinds import BAD, Context, Located, Values, printable
from strangler.config.snapshot import (
    Body,
    Endpoint,
    FieldEdits,
    HeaderEdits,
    Health,
    Keepalive,
    Limits,
    Listen,
    ListenTls,
    OAuth2,
    Page,
    Place,
    Redirect,
    Rewrite,
    Route,
    RouteTest,
    Site,
    Timeouts,
    Tls,
    Upstream,
)
from strangler.config.values import RESERVED_FIELDS, RESERVED_NAMES
from strangler.errors import StranglerError
from strangler.resilience.policy import Breaker, Failures, Fallback, Retry, Rung
from strangler.rollout import Canary, Gates, Stage, parse_gates, parse_steps
from strangler.rollout import Malformed as RolloutMalformed
from strangler.routing import (
    AmbiguousPath,
    Conditions,
    Key,
    Malformed,
    Rule,
    Table,
    TiedRules,
    compile_table,
    parse_key,
    parse_path,
)
from strangler.wire.head import RequestHead

T = TypeVar("T")

TIERS: Final[Mapping[str, Tier]] = MappingProxyType(
    {
        "edge": Tier(name="edge", store="memory", size=256 << 20),
        "shared": Tier(name="shared", store="sqlite:var/shared.db", size=1 << 30),
        "archive": Tier(name="archive", store="sqlite:var/archive.db"),
    }
)

# What means something only where the edge asks an upstream.
_PROXY_ONLY: Final = frozenset(
    ("stage", "rewrite", "strip", "use", *(o.name for o in schema.POLICIES if o.name != "headers"))
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(slots=True)
class File:
    """One file's values: prefixes and owner are those of an included file."""

    values: Values
    prefixes: tuple[Located, ...] = ()
    owner: str = ""
    included: bool = False


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
    return _Builder(files, ctx, folder, today, tuple(listen), check_files).build()


class _Builder:
    def __init__(
        self,
        files: Sequence[File],
        ctx: Context,
        folder: str,
        today: date,
        listen: tuple[Listen, ...],
        check_files: bool,
    ) -> None:
        self.files = files
        self.top = files[0].values
        self.ctx = ctx
        self.folder = folder
        self.today = today
        self.cli_listen = listen
        self.check_files = check_files
        self.names: dict[str, Place] = {}  # Every upstream named, sound or not.
        self.upstreams: dict[str, Upstream] = {}
        self.used: set[str] = set()
        self.presets: dict[str, Values] = {}
        self.legacy: str | None = None
        self.site = Site()
        self.defaults = self.top.get("defaults") or Values(self.top.node, "")
        self.groups: dict[str, tuple[object, Place]] = {}

    def build(self) -> Built:
        self._version()
        self.site = _make(Site, self.top.get("site"))
        listen = tuple(self._listen(item) for item in self.top.get("listen", ()))
        admin: Located | None = self.top.get("admin")
        self._upstreams()
        self._own_address(listen, admin)
        self._presets()
        routes, rules = self._routes()
        table = self._table(rules)
        self._circles(table)
        self._unused(rules)
        return Built(
            site=self.site,
            limits=_make(Limits, self.top.get("limits")),
            listen=listen,
            admin=admin.value if admin else None,
            workers=self.top.get("workers"),
            upstreams=MappingProxyType(self.upstreams),
            tiers=self._tiers(),
            routes=tuple(routes),
            table=table,
        )

    # -- the site --------------------------------------------------------------------------------

    def _version(self) -> None:
        version = self.top.get("version")
        if version is not None and version != schema.VERSION:
            self.ctx.report(
                self.top.place("version"),
                "version",
                "S112",
                f"expected {schema.VERSION}, got {version}",
                "a newer strangler may read it" if version > schema.VERSION else None,
            )

    def _listen(self, item: Located | Values) -> Listen:
        if isinstance(item, Located):
            return self._absolute(item.value)
        address: Located | None = item.get("address")
        listen = self._absolute(address.value) if address else Listen()
        tls: Values | None = item.get("tls")
        if tls is None or tls.bad:
            return listen
        return replace(
            listen, tls=ListenTls(cert=self._file(tls["cert"]), key=self._file(tls["key"]))
        )

    def _absolute(self, listen: Listen) -> Listen:
        if listen.unix is None:
            return listen
        return replace(listen, unix=os.path.join(self.folder, listen.unix))

    def _file(self, name: Located) -> str:
        return os.path.join(self.folder, name.value)

    def _tiers(self) -> Mapping[str, Tier]:
        tiers = dict(TIERS)
        said: Mapping[str, Values | None] = self.top.get("tiers", {})
        for name, values in said.items():
            if values is None:
                del tiers[name]
            elif not values.bad:
                store: Located = values["store"]
                tiers[name] = replace(
                    Tier(name=TIERS[name].name, store=store.value),
                    **{k: v for k, v in values.items() if k != "store"},
                )
        return MappingProxyType(tiers)

    # -- upstreams -------------------------------------------------------------------------------

    def _upstreams(self) -> None:
        legacy: Place | None = None
        for file in self.files:
            for key, value in file.values.get("upstreams", ()):
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
                upstream = self._upstream(name, value, key.place, file.owner)
                role = upstream.role
                if role == "legacy":
                    if legacy is not None:
                        message = (
                            f"a second upstream with the role legacy, the first is at {legacy}"
                        )
                        self.ctx.report(key.place, path, "S204", message)
                        continue
                    legacy, self.legacy = key.place, name
                if upstream.endpoints:
                    self.upstreams[name] = upstream

    def _upstream(self, name: str, value: Any, place: Place, owner: str) -> Upstream:
        values: Mapping[str, Any] = value if isinstance(value, Values) else {"url": value}
        role: Literal["legacy", "service"] = "legacy" if name == "legacy" else "service"
        base = Timeouts()
        breaker = _breaker(Breaker(), self.defaults.get("breaker", BAD))
        oauth2: Values | None = values.get("oauth2")
        tls: Values | None = values.get("tls")
        return Upstream(
            name=name,
            endpoints=tuple(self._endpoint(url.value) for url in values.get("url", ())),
            role=values.get("role", role),
            owner=values.get("owner", owner),
            timeouts=_timeouts(
                _timeouts(base, self.defaults.get("timeout")), values.get("timeout")
            ),
            health=_health(values.get("health")),
            max_inflight=values.get("max_inflight"),
            queue=values.get("queue", 100),
            keepalive=_make(Keepalive, values.get("keepalive")),
            breaker=_breaker(breaker, values.get("breaker", BAD)),
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
            ca=self._file(values["ca"]) if "ca" in values else None,
            server_name=values.get("server_name"),
        )

    def _own_address(self, listen: Sequence[Listen], admin: Located | None) -> None:
        """Refuse an upstream that is the edge itself; pains: a proxy that forwards to itself."""
        own = [*listen, *self.cli_listen, *([admin.value] if admin else [])]
        assumed = not listen and not self.cli_listen
        if assumed:
            port = self.ctx.env.get("EDGE_PORT", "")
            own.append(Listen(host="127.0.0.1", port=int(port) if port.isdecimal() else 8000))
        for file in self.files:
            for _, value in file.values.get("upstreams", ()):
                urls = value.get("url", ()) if isinstance(value, Values) else value
                for url in urls:
                    for address in own:
                        if not _same(address, self._endpoint(url.value), self.site.hosts):
                            continue
                        guess = assumed and address is own[-1]
                        self.ctx.report(
                            url.place,
                            url.path,
                            "S205",
                            f"{url.shown} is where the edge itself listens ({address})",
                            "say `listen`, if the edge will listen elsewhere" if guess else None,
                            warning=guess,
                        )

    # -- policies --------------------------------------------------------------------------------

    def _presets(self) -> None:
        places: dict[str, Place] = {}
        for file in self.files:
            for key, values in file.values.get("presets", ()):
                first = places.setdefault(key.text, key.place)
                if first is not key.place:
                    message = f"preset {printable(key.text)!r} stands twice, first at {first}"
                    self.ctx.report(key.place, f"presets.{printable(key.text)}", "S006", message)
                self.presets.setdefault(key.text, values)
                self._fallback(values.get("fallback"))

        self._fallback(self.defaults.get("fallback"))

    def _policy(self, route: Values, name: str) -> Any:
        """Return what the route, else its preset says; BAD if neither does."""
        if name in route:
            return route[name]
        use: Located | None = route.get("use")
        preset = self.presets.get(use.value) if use else None
        return preset[name] if preset is not None and name in preset else BAD

    def _retry(self, route: Values) -> Retry:
        retry = _retry(Retry(), self.defaults.get("retry", BAD))
        return _retry(retry, self._policy(route, "retry"))

    def _fallback(self, said: Any) -> Fallback:
        """Return a fallback policy as one value says it; unknown upstreams are reported."""
        base = Fallback()
        if said is None or said is BAD:
            return base
        values: Mapping[str, Any] = said if isinstance(said, Values) else {"then": said}
        rungs = [self._rung(rung) for rung in values.get("then", ())]
        return Fallback(
            when=_failures(values["when"]) if "when" in values else base.when,
            then=tuple(r for r in rungs if r is not None) if "then" in values else base.then,
            writes=values.get("writes", False),
        )

    def _rung(self, said: Located) -> Rung | None:
        rung: Rung = said.value
        if rung.kind == "legacy" and self.legacy is None:
            self._no_legacy(said.place, said.path, "legacy in a fallback")
            return None
        if rung.kind == "page":
            return Rung("page", self._page(rung.name, said))
        if rung.kind == "upstream":
            return rung if self._known(rung.name, said, ("stale", "legacy", "archive")) else None
        return rung

    def _page(self, name: str, said: Located) -> str:
        path = os.path.join(self.folder, name)
        if self.check_files and not os.path.isfile(path):
            self.ctx.report(
                said.place, said.path, "S206", f"no file {said.shown.removeprefix('page:')}"
            )
        return path

    def _known(self, name: str, said: Located, more: Iterable[str] = ()) -> bool:
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

    def _no_legacy(self, place: Place, path: str, what: str) -> None:
        hint = "give the monolith's upstream `role: legacy`, or call it legacy"
        message = f"{what} needs an upstream with the role legacy, and there is none"
        self.ctx.report(place, path, "S203", message, hint)

    # -- routes ----------------------------------------------------------------------------------

    def _routes(self) -> tuple[list[Route], list[Rule[Route]]]:
        rules: list[Rule[Route]] = []
        self._prefixes()
        for file in self.files:
            for key, value in file.values.get("routes", ()):
                path = f"routes.{printable(key.text)}"
                parsed = self._key(key, path, file)
                alone = not isinstance(value, tuple)
                forms = (value,) if alone else value
                for index, form in enumerate(forms):
                    where = path if alone else f"{path}[{index}]"
                    route = self._route(key, parsed, form, where, file)
                    if route is not None and parsed is not None:
                        rules.append(Rule(parsed, route.conditions, route, route.place))
        rules = _distinct(rules)
        return [rule.value for rule in rules], rules

    def _prefixes(self) -> None:
        """Read each included file's prefixes; two files that own one prefix are a contradiction."""
        owners: dict[str, Located] = {}
        for file in self.files:
            for said in file.prefixes:
                prefix = said.value.rstrip("/")
                first = owners.setdefault(prefix, said)
                if first is not said:
                    message = f"prefix {said.shown} is owned by two files, first at {first.place}"
                    self.ctx.report(said.place, said.path, "S304", message)
                try:
                    parse_path(said.value)
                except Malformed as error:
                    self.ctx.report(said.place, said.path, "S107", str(error), error.hint or None)

    def _key(self, key: Scalar, path: str, file: File) -> Key | None:
        if key.plain and key.text.lower() in ("", "~", "null"):
            self.ctx.report(key.place, "routes", "S301", "expected a route's key, got nothing")
            return None
        try:
            parsed = parse_key(key.text)
        except Malformed as error:
            place = replace(key.place, column=key.place.column + _shift(key, error.offset))
            message = f"expected {error.expected}, got {printable(error.got)}"
            self.ctx.report(place, path, "S301", message, error.hint or None)
            return None
        if file.included and not any(_owns(prefix.value, parsed) for prefix in file.prefixes):
            wanted = " or ".join(prefix.shown for prefix in file.prefixes)
            if file.prefixes:
                message = f"expected a path under {wanted}, which this file owns"
                self.ctx.report(key.place, path, "S303", message)
        if parsed.host is not None and not _host_fits(parsed.host.decode(), self.site.hosts):
            host = parsed.host.decode()
            self.ctx.report(
                key.place,
                path,
                "S310",
                f"host {host} is none of site.hosts",
                did_you_mean(host, self.site.hosts),
            )
        return parsed

    def _route(
        self, key: Scalar, parsed: Key | None, form: Any, path: str, file: File
    ) -> Route | None:
        before = len(self.ctx.diagnostics)
        if isinstance(form, Located):
            to, form = form, Values(document.Mapping([], key.place), path)
            form["to"] = to
        values: Values = form
        action = self._action(values)
        if action is None or values.bad:
            self._look_at(values)
            return None
        conditions = self._conditions(values.get("match"))
        upstream, stage = self._target(values, action)
        self._use(values)
        route = Route(
            key=key.text,
            place=key.place,
            pattern=parsed.pattern if parsed else parse_path("/"),
            methods=parsed.methods if parsed else frozenset(),
            host=parsed.host if parsed else None,
            conditions=conditions or Conditions(),
            action=action,
            stage=stage,
            canary=self._canary(values),
            upstream=upstream,
            legacy=self.legacy,
            redirect=self._redirect(values, parsed) if action == "redirect" else None,
            gone=values.get("gone"),
            page=self._page_answer(values) if action == "page" else None,
            rewrite=self._rewrite(values, parsed),
            host_mode=self._last(values, "host", "keep"),
            body=self._body(values),
            timeouts=self._timeouts(values, upstream),
            retry=self._retry(values),
            breaker=self._breaker(values),
            max_inflight=self._last(values, "max_inflight", None),
            fallback=self._ladder(values, stage, upstream),
            cache=self._cache(values, parsed),
            headers=self._headers(values),
            owner=values.get("owner") or file.owner or self._owner(upstream),
            until=self._until(values),
            tests=self._tests(values),
        )
        errors = (d.severity == "error" for d in self.ctx.diagnostics[before:])
        return None if any(errors) else route

    def _look_at(self, values: Values) -> None:
        """Report unknown names in a route that has another problem already."""
        to: Located | None = values.get("to")
        if to is not None:
            self._known(to.value, to)
        self._use(values)

    def _action(self, values: Values) -> Literal["proxy", "redirect", "gone", "page"] | None:
        said = [name for name in ("to", "redirect", "gone", "page") if name in values]
        if len(said) > 1:
            message = f"{' and '.join(said)} do not go together"
            self.ctx.report(values.place(said[1]), values.path, "S108", message, "keep one of them")
            return None
        if not said:
            if not values.bad:
                message = "to is missing"
                hint = "say one of to, redirect, gone, page"
                self.ctx.report(values.node.place, values.path, "S102", message, hint)
            return None
        action: Literal["proxy", "redirect", "gone", "page"]
        action = "proxy" if said[0] == "to" else said[0]  # type: ignore[assignment]
        wrong = _PROXY_ONLY if action != "proxy" else frozenset({"status"})
        if action != "redirect":
            wrong |= {"keep_query"}
        if action == "gone":
            wrong |= {"status"}
        for name in values:
            if name in wrong:
                message = f"{name} does not go together with {said[0]}"
                self.ctx.report(values.place(name), f"{values.path}.{name}", "S108", message)
        return action

    def _conditions(self, match: Values | None) -> Conditions | None:
        if match is None:
            return Conditions()
        kinds: dict[str, dict[str, str]] = {}
        for kind in ("header", "cookie", "query"):
            names: dict[str, str] = {}
            for key, regex in match.get(kind, ()):
                name = key.text.lower() if kind == "header" else key.text
                if name in names:
                    path = f"{match.path}.{kind}.{printable(key.text)}"
                    message = f"header {name} stands twice: case does not matter"
                    self.ctx.report(key.place, path, "S006", message)
                names[name] = regex.value
            kinds[kind] = names
        try:
            return Conditions.of(**kinds)
        except Malformed as error:
            self.ctx.report(match.node.place, match.path, "S107", str(error), error.hint or None)
            return None

    def _target(self, values: Values, action: str) -> tuple[str | None, Stage]:
        if action != "proxy":
            return None, Stage("live")
        to: Located = values["to"]
        said: Located | None = values.get("stage")
        known = self._known(to.value, to)
        if known and to.value == self.legacy:
            if said is not None and said.value.word != "legacy":
                message = f"{said.shown} needs a service as its target, got {to.shown}"
                hint = "name the service in `to`: until it is live, legacy answers anyway"
                self.ctx.report(said.place, said.path, "S305", message, hint)
            return None, Stage("legacy")
        stage: Stage = said.value if said else Stage("live")
        if self.legacy is not None:
            if stage.word not in ("live", "sealed", "retired"):
                self.used.add(self.legacy)
        elif said is not None and stage.word in ("legacy", "shadow", "canary"):
            self._no_legacy(said.place, said.path, f"stage {stage}")
        return to.value, stage

    def _use(self, values: Values) -> None:
        use: Located | None = values.get("use")
        if use is not None and use.value not in self.presets:
            hint = did_you_mean(use.value, self.presets)
            if hint is None and self.presets:
                hint = "known presets: " + printable(", ".join(sorted(self.presets)))
            message = f"unknown preset {use.shown!r}"
            self.ctx.report(use.place, use.path, "S202", message, hint)

    def _last(self, values: Values, name: str, default: Any) -> Any:
        said = self._policy(values, name)
        return self.defaults.get(name, default) if said is BAD else said

    def _canary(self, values: Values) -> Canary:
        layers: list[Values] = []
        for said in (self.defaults.get("canary"), self._policy(values, "canary")):
            if isinstance(said, Values):
                layers.append(said)
        kwargs: dict[str, Any] = {}
        for layer in layers:
            if layer.bad:
                continue
            own = dict(layer)
            if "steps" in own:
                try:
                    own["steps"] = parse_steps(own["steps"])
                except RolloutMalformed as error:
                    place = layer.place("steps")
                    self.ctx.report(place, f"{layer.path}.steps", "S104", str(error), error.hint)
                    del own["steps"]
            if "gates" in own:
                own["gates"] = self._gates(own["gates"])
            kwargs.update(own)
        canary = Canary(**kwargs)
        if canary.group is not None:
            place = values.place("canary")
            by, first = self.groups.setdefault(canary.group, (canary.by, place))
            if by != canary.by:
                message = (
                    f"group {canary.group} tells readers apart by {canary.by} here and by {by} "
                    f"at {first}: they would not stay on one side"
                )
                self.ctx.report(place, f"{values.path}.canary.by", "S305", message)
        return canary

    def _gates(self, values: Values) -> Gates | None:
        if values.bad:
            return None
        try:
            return parse_gates(dict(values))
        except RolloutMalformed as error:
            self.ctx.report(values.node.place, values.path, "S107", str(error), error.hint or None)
            return None

    def _redirect(self, values: Values, key: Key | None) -> Redirect | None:
        said: Located = values["redirect"]
        status = values.get("status", 302)
        if status not in _REDIRECTS:
            message = f"expected 301, 302, 303, 307 or 308, got {status}"
            self.ctx.report(values.place("status"), f"{values.path}.status", "S104", message)
        self._parameters(said, key)
        return Redirect(
            location=said.value, status=status, keep_query=values.get("keep_query", True)
        )

    def _page_answer(self, values: Values) -> Page:
        said: Located = values["page"]
        return Page(path=self._page(said.value, said), status=values.get("status", 200))

    def _parameters(self, said: Located, key: Key | None) -> None:
        if key is None:
            return
        for name in sorted(said.value.names - set(key.pattern.names)):
            shown = "{" + name + "}"
            have = ", ".join("{" + name + "}" for name in key.pattern.names)
            hint = did_you_mean(name, key.pattern.names)
            hint = hint or (f"the path has {have}" if have else "the path has no parameters")
            self.ctx.report(said.place, said.path, "S308", f"the route's path has no {shown}", hint)

    def _rewrite(self, values: Values, key: Key | None) -> Rewrite | None:
        template: Located | None = values.get("rewrite")
        strip: Located | None = values.get("strip")
        if template is not None and strip is not None:
            message = "rewrite and strip do not go together"
            self.ctx.report(strip.place, strip.path, "S108", message, "keep one of them")
            return None
        if template is not None:
            self._parameters(template, key)
            return Rewrite(template=template.value)
        if strip is None or key is None:
            return None
        try:
            segments = parse_path(strip.value.rstrip("/")).segments
        except Malformed as error:
            self.ctx.report(strip.place, strip.path, "S107", str(error), error.hint or None)
            return None
        if segments != key.pattern.segments[: len(segments)]:
            message = f"expected the first segments of {key.text}, got {strip.shown}"
            self.ctx.report(strip.place, strip.path, "S107", message)
        return Rewrite(strip=len(segments))

    def _timeouts(self, values: Values, upstream: str | None) -> Timeouts | None:
        said = self._policy(values, "timeout")
        if said is BAD:
            return None
        base = self.upstreams.get(upstream or self.legacy or "")
        return _timeouts(base.timeouts if base else Timeouts(), said)

    def _body(self, values: Values) -> Body:
        body = Body()
        for said in (self.defaults.get("body", BAD), self._policy(values, "body")):
            if said is not BAD:
                body = replace(body, **said)
        return body

    def _breaker(self, values: Values) -> Breaker | Literal["upstream"] | None:
        said = self._policy(values, "breaker")
        if said is BAD:
            return "upstream"
        return _breaker(_breaker(Breaker(), self.defaults.get("breaker", BAD)), said)

    def _ladder(self, values: Values, stage: Stage, upstream: str | None) -> Fallback:
        """Return the route's ladder without legacy where legacy can be none of its rungs."""
        said = self._policy(values, "fallback")
        if said is BAD:
            said = self.defaults.get("fallback", BAD)
        if said is None:
            return Fallback(then=())
        ladder = self._fallback(said)
        # From sealed on the service proves that it needs no legacy; a plain legacy route has no
        # other side.
        if upstream is None or self.legacy is None or stage.word in ("sealed", "retired"):
            return replace(ladder, then=tuple(r for r in ladder.then if r.kind != "legacy"))
        if any(rung.kind == "legacy" for rung in ladder.then):
            self.used.add(self.legacy)
        return ladder

    def _cache(self, values: Values, key: Key | None) -> CachePolicy:
        said = self._policy(values, "cache")
        if said is BAD:
            said = self.defaults.get("cache", "none")
        if isinstance(said, str):
            return CachePolicy(mode="origin" if said == "origin" else "none")
        kwargs: dict[str, Any] = dict(said)
        for name in ("edge", "shared", "archive"):
            if name in said and name not in self._tiers():
                message = f"the site has no tier {name}"
                hint = f"remove `{name}: none` from tiers"
                self.ctx.report(said.place(name), f"{said.path}.{name}", "S108", message, hint)
        for tag in kwargs.get("tags", ()):
            self._parameters(tag, key)
        if "tags" in kwargs:
            kwargs["tags"] = tuple(tag.value for tag in kwargs["tags"])
        if "ignore" in kwargs:
            kwargs["ignore"] = frozenset(kwargs["ignore"])
        if "key" in kwargs:
            kwargs["key"] = self._cache_key(kwargs["key"])
        tiers = any(name in kwargs for name in ("edge", "shared", "archive"))
        return CachePolicy(mode="tiers" if tiers else "origin", **kwargs)

    def _cache_key(self, values: Values) -> KeyPolicy:
        query = QueryKey()
        said = values.get("query", "all")
        if said == "none":
            query = QueryKey(mode="allow", sort=True)
        elif isinstance(said, tuple):
            query = QueryKey(mode="allow", names=_bytes(said), sort=True)
        elif isinstance(said, Values):
            if "allow" in said and "drop" in said:
                message = "allow and drop do not go together"
                self.ctx.report(said.place("drop"), said.path, "S108", message, "keep one of them")
            if "allow" in said:
                query = QueryKey(mode="allow", names=_bytes(said["allow"]), sort=True)
            elif "drop" in said:
                names = _bytes(said["drop"])
                query = QueryKey(
                    mode="drop",
                    names=names - {b"tracking"},
                    tracking=b"tracking" in names,
                    sort=True,
                )
            else:
                query = QueryKey(sort=said.get("sort", False))
        return KeyPolicy(
            host=values.get("host", True),
            query=query,
            cookies=tuple(sorted(_bytes(values.get("cookies", ())))),
            headers=tuple(sorted(set(values.get("headers", ())))),
        )

    def _headers(self, values: Values) -> HeaderEdits:
        said = self._last(values, "headers", None)
        if not isinstance(said, Values):
            return HeaderEdits()
        return HeaderEdits(
            request=self._edits(said.get("request")), response=self._edits(said.get("response"))
        )

    def _edits(self, values: Values | None) -> FieldEdits:
        if values is None:
            return FieldEdits()
        fields: dict[bytes, tuple[bytes, bytes]] = {}
        secret: set[bytes] = set()
        for key, value in values.get("set", ()):
            name = key.text.lower()
            path = f"{values.path}.set.{printable(key.text)}"
            if name in RESERVED_FIELDS:
                hint = "say `host: upstream` or a name" if name == "host" else None
                message = f"expected a field that does not frame the message, got {key.text}"
                self.ctx.report(key.place, path, "S107", message, hint)
            if name.encode() in fields:
                message = f"header {name} stands twice: case does not matter"
                self.ctx.report(key.place, path, "S006", message)
            fields[name.encode()] = (key.text.encode(), value.value)
            if "${" in value.shown:
                secret.add(name.encode())
        return FieldEdits(
            set=tuple(fields.values()),
            remove=tuple(sorted(set(values.get("remove", ())))),
            secret=frozenset(secret),
        )

    def _owner(self, upstream: str | None) -> str:
        found = self.upstreams.get(upstream or self.legacy or "")
        return found.owner if found else ""

    def _until(self, values: Values) -> date | None:
        said: Located | None = values.get("until")
        if said is None:
            return None
        day: date = said.value
        if day < self.today:
            late = (self.today - day).days
            self.ctx.report(
                said.place,
                said.path,
                "S306",
                f"the route should have ended on {day}, {late} day{'s' * (late > 1)} ago",
                "remove the route, or move the date",
                warning=True,
            )
        return day

    def _tests(self, values: Values) -> tuple[RouteTest, ...]:
        tests = (self._test(test) for test in values.get("tests", ()))
        return tuple(test for test in tests if test is not None)

    def _test(self, values: Values) -> RouteTest | None:
        if values.bad:
            return None
        methods = [name for name in schema.TEST_METHODS if name in values]
        if len(methods) != 1:
            message = f"expected one method, got {' and '.join(methods) or 'none'}"
            hint = "for example {GET: /checkout/, goes_to: votar}"
            self.ctx.report(values.node.place, values.path, "S108", message, hint)
            return None
        asked = ("goes_to", "route", "status", "location", "sends")
        if not any(name in values for name in asked):
            message = "goes_to is missing"
            hint = "or another expectation: " + ", ".join(asked[1:])
            self.ctx.report(values.node.place, values.path, "S102", message, hint)
        goes_to: Located | None = values.get("goes_to")
        if goes_to and goes_to.value not in ("redirect", "gone", "page", *self.names):
            hint = did_you_mean(goes_to.value, self.names)
            message = f"unknown upstream {goes_to.shown!r}"
            self.ctx.report(goes_to.place, goes_to.path, "S201", message, hint)
        fields = [(key.text.encode(), value.value) for key, value in values.get("header", ())]
        cookies = [f"{key.text}={value}" for key, value in values.get("cookie", ())]
        if cookies:
            fields.append((b"Cookie", "; ".join(cookies).encode()))
        host: str | None = values.get("host") or next(
            (host for host in self.site.hosts if not host.startswith("*.")), None
        )
        return RouteTest(
            method=methods[0].encode(),
            target=values[methods[0]].encode(),
            host=host.encode() if host else None,
            fields=tuple(fields),
            goes_to=goes_to.value if goes_to else None,
            route=values.get("route"),
            status=values.get("status"),
            location=values.get("location"),
            sends=values.get("sends"),
            place=values.node.place,
        )

    # -- all routes together ---------------------------------------------------------------------

    def _table(self, rules: Sequence[Rule[Route]]) -> Table[Route]:
        try:
            return compile_table(rules)
        except TiedRules as error:
            for tie in error.ties:
                first, second = sorted((tie.first, tie.second), key=lambda rule: rule.value.place)
                self.ctx.report(
                    second.value.place,
                    f"routes.{printable(second.value.key)}",
                    "S302",
                    f"ties with {printable(first.value.key)} at {first.value.place}: {tie.reason}",
                    "make one of them more specific or remove it",
                )
        return compile_table(())

    def _circles(self, table: Table[Route]) -> None:
        """Refuse redirects that lead a reader back to a redirect that was there before."""
        for rule in table.rules:
            seen = [rule.value]
            while len(seen) <= 10:
                route = self._follow(table, seen[-1])
                if route is None or (route in seen and route is not rule.value):
                    break
                if route is rule.value:
                    way = " -> ".join(printable(step.key) for step in (*seen, route))
                    path = f"routes.{printable(route.key)}.redirect"
                    message = f"leads back to itself: {way}"
                    self.ctx.report(route.place, path, "S309", message)
                    break
                seen.append(route)

    def _follow(self, table: Table[Route], route: Route) -> Route | None:
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

    def _unused(self, rules: Sequence[Rule[Route]]) -> None:
        if any(d.severity == "error" for d in self.ctx.diagnostics):
            return
        for name, place in self.names.items():
            if name not in self.used:
                path = f"upstreams.{printable(name)}"
                self.ctx.report(place, path, "S207", "no route uses it", warning=True)
        bare = any(
            rule.key.pattern.rest
            and not rule.key.pattern.segments
            and not rule.key.methods
            and not rule.conditions
            and (rule.key.host is None or rule.key.host.decode() in self.site.hosts)
            for rule in rules
        )
        if not bare:
            place = self.top.place("routes")
            message = "a request that fits none of them is answered 404"
            hint = "add a catch-all: /**: legacy"
            self.ctx.report(place, "routes", "S312", message, hint, warning=True)


def _make(cls: type[T], values: Values | None) -> T:
    """Return *cls* with the values of the same names, and its own defaults."""
    return cls(**values) if values else cls()


def _breaker(base: Breaker | None, said: Values | Any | None) -> Breaker | None:
    """Lay what was said over *base*: BAD says nothing, None (the word none) is no breaker."""
    if said is BAD:
        return base
    return None if said is None else replace(base or Breaker(), **said)


def _timeouts(base: Timeouts, said: Any) -> Timeouts:
    if said is None:
        return base
    return replace(base, **(said if isinstance(said, Values) else {"first_byte": said}))


def _failures(sets: Iterable[frozenset[str | int]]) -> Failures:
    every = frozenset[str | int]().union(*sets)
    return Failures(
        frozenset(item for item in every if isinstance(item, str)),
        frozenset(item for item in every if isinstance(item, int)),
    )


def _retry(base: Retry, said: Any) -> Retry:
    if said is BAD:
        return base
    if said is None:
        return replace(base, tries=0, hedge=None)
    kwargs = dict(said)
    if "when" in kwargs:
        kwargs["when"] = _failures(kwargs["when"])
    if "methods" in kwargs:
        kwargs["methods"] = frozenset(kwargs["methods"])
    if "backoff" in kwargs:
        kwargs["backoff"] = replace(base.backoff, **kwargs["backoff"])
    return replace(base, **kwargs)


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


def _bytes(texts: Iterable[str]) -> frozenset[bytes]:
    return frozenset(text.encode() for text in texts)


def _shift(key: Scalar, offset: int) -> int:
    """Return how far into the file's text *offset* of the key's text is."""
    return offset if key.plain else offset + 1


def _distinct(rules: list[Rule[Route]]) -> list[Rule[Route]]:
    """Give routes that share a key different ones: their conditions are part of the name then."""
    count: dict[str, int] = {}
    for rule in rules:
        count[rule.value.key] = count.get(rule.value.key, 0) + 1
    return [
        replace(rule, value=replace(rule.value, key=str(rule)))
        if count[rule.value.key] > 1 and rule.conditions
        else rule
        for rule in rules
    ]


def _owns(prefix: str, key: Key) -> bool:
    """Tell whether all paths of *key* are *prefix* itself or below it."""
    try:
        wanted = parse_path(prefix.rstrip("/") or "/**")
    except Malformed:
        return True  # Reported where it stands.
    if not wanted.segments:
        return True
    return key.pattern.segments[: len(wanted.segments)] == wanted.segments


def _host_fits(host: str, hosts: Sequence[str]) -> bool:
    """Tell whether a route's host can be one of the site's."""
    if not hosts or host in hosts:
        return True
    tails = [known[1:] for known in hosts if known.startswith("*.")]
    return any(host.removeprefix("*").endswith(tail) for tail in tails)


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


def read_file(node: Node | None, ctx: Context, *, included: bool, name: str) -> File | None:
    """Return one file's values, or None where it has no options at all."""
    block = schema.INCLUDED if included else schema.FILE
    empty = Place(name, 1, 1)
    if node is None:
        return None
    if not isinstance(node, document.Mapping) or not node.entries:
        hint = "begin with `prefix: /path`" if included else "begin with `version: 1`"
        ctx.report(node.place or empty, "", "S008", "expected a mapping of options", hint)
        return None
    values: Values = block.read(node, "", ctx)
    if not included:
        return File(values)
    return File(values, tuple(values.get("prefix", ())), values.get("owner", ""), included=True)
