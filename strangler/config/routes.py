# SPDX-License-Identifier: Apache-2.0
"""The routes of a configuration: each made of its key, its value and its policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final, Literal

from strangler.config import document
from strangler.config.blocks import Values
from strangler.config.diagnostics import did_you_mean
from strangler.config.document import Scalar
from strangler.config.kinds import BAD, Context, Located, printable
from strangler.config.policies import Policies
from strangler.config.schema.policies import POLICIES
from strangler.config.schema.routes import TEST_METHODS
from strangler.config.snapshot import Page, Place, Redirect, Rewrite, Route, RouteTest, Site
from strangler.config.upstreams import Upstreams
from strangler.rollout import Canary, Stage
from strangler.routing import Conditions, Key, Malformed, Rule, parse_key, parse_path

# What means something only where the edge asks an upstream.
_PROXY_ONLY: Final = frozenset(
    ("stage", "rewrite", "strip", "use", *(o.name for o in POLICIES if o.name != "headers"))
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_METHODS: Final = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "CONNECT", "TRACE"),
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"),
    *("LINK", "UNLINK", "PURGE", "BAN"),
)
"""What programs send; any other is taken as well, but may be one of these written wrongly."""


@dataclass(slots=True)
class File:
    """One file's values: prefixes and owner are those of an included file."""

    values: Values
    prefixes: tuple[Located, ...] = ()
    owner: str = ""
    included: bool = False


class Routes:
    """Makes routes; each mistake is reported where it stands."""

    def __init__(
        self, ctx: Context, site: Site, upstreams: Upstreams, policies: Policies, today: date
    ) -> None:
        self.ctx = ctx
        self.site = site
        self.upstreams = upstreams
        self.policies = policies
        self.today = today
        self._journeys: dict[str, tuple[Stage, Place]] = {}

    def rules(self, files: Sequence[File]) -> list[Rule[Route]]:
        """Return the sound routes of all *files*, in their order, each with a key of its own."""
        rules: list[Rule[Route]] = []
        self._prefixes(files)
        for file in files:
            for key, value in file.values.get("routes", ()):
                path = f"routes.{printable(key.text)}"
                parsed = self._key(key, path, file)
                if value is BAD:
                    continue
                alone = not isinstance(value, tuple)
                forms = (value,) if alone else value
                for index, form in enumerate(forms):
                    where = path if alone else f"{path}[{index}]"
                    route = self._route(key, parsed, form, where, file)
                    if route is not None and parsed is not None:
                        rules.append(Rule(parsed, route.conditions, route, route.place))
        return _distinct(rules)

    def _prefixes(self, files: Sequence[File]) -> None:
        """Read each included file's prefixes; two files that own one prefix are a contradiction."""
        owners: dict[str, Located] = {}
        for file in files:
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
        for method in sorted(one.decode() for one in parsed.methods):
            hint = None if method in _METHODS else did_you_mean(method, _METHODS)
            if hint is not None:
                message = f"nothing known sends the method {method}"
                self.ctx.report(key.place, path, "S314", message, hint, severity="warning")
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
        if action is None:
            self.policies.use(values)
            return None
        conditions = self._conditions(values.get("match"))
        upstream, stage = self._target(values, action)
        self.policies.use(values)
        fallback, unsealed = self.policies.ladders(values, stage, upstream)
        route = Route(
            key=key.text,
            place=key.place,
            pattern=parsed.pattern if parsed else parse_path("/"),
            methods=parsed.methods if parsed else frozenset(),
            host=parsed.host if parsed else None,
            conditions=conditions or Conditions(),
            action=action,
            stage=stage,
            canary=self._canary(values, upstream, stage),
            upstream=upstream,
            legacy=self.upstreams.legacy,
            redirect=self._redirect(values, parsed) if action == "redirect" else None,
            gone=values.get("gone"),
            page=self._page_answer(values) if action == "page" else None,
            rewrite=self._rewrite(values, parsed),
            host_mode=self.policies.last(values, "host", "keep"),
            body=self.policies.body(values),
            timeouts=self.policies.timeouts(values, upstream),
            retry=self.policies.retry(values),
            breaker=self.policies.breaker(values),
            max_inflight=self.policies.last(values, "max_inflight", None),
            priority=self.policies.last(values, "priority", "normal"),
            fallback=fallback,
            unsealed=unsealed,
            cache=self.policies.cache(values, parsed),
            compare=self.policies.compare(values),
            headers=self.policies.headers(values),
            owner=values.get("owner") or file.owner or self._owner(upstream),
            until=self._until(values),
            tests=self._tests(values),
        )
        errors = (d.severity == "error" for d in self.ctx.diagnostics[before:])
        return None if values.bad or any(errors) else route

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
                if regex is BAD:
                    continue
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
        known = self.upstreams.known(to.value, to)
        if known and to.value == self.upstreams.legacy:
            if said is not None and said.value.word != "legacy":
                message = f"{said.shown} needs a service as its target, got {to.shown}"
                hint = "name the service in `to`: until it is live, legacy answers anyway"
                self.ctx.report(said.place, said.path, "S305", message, hint)
            return None, Stage("legacy")
        stage: Stage = said.value if said else Stage("live")
        if self.upstreams.legacy is not None:
            if stage.word not in ("live", "sealed", "retired"):
                self.upstreams.used.add(self.upstreams.legacy)
        elif said is not None and stage.word in ("legacy", "shadow", "canary"):
            self.upstreams.no_legacy(said.place, said.path, f"stage {stage}")
        return to.value, stage

    def _canary(self, values: Values, upstream: str | None, stage: Stage) -> Canary:
        """Return how a canary goes on; warn where its journey is on two sides."""
        canary = self.policies.canary(values)
        if canary.group is None or upstream is None:
            return canary
        said: Located | None = values.get("stage")
        place = said.place if said is not None else values.node.place
        other, first = self._journeys.setdefault(canary.group, (stage, place))
        if other.share != stage.share:
            self.ctx.report(
                place,
                f"{values.path}.stage",
                "S313",
                f"{stage} here and {other} at {first}: readers of the group {canary.group} are "
                "on two sides",
                severity="warning",
            )
        return canary

    def _redirect(self, values: Values, key: Key | None) -> Redirect | None:
        said: Located = values["redirect"]
        status = values.get("status", 302)
        if status not in _REDIRECTS:
            message = f"expected 301, 302, 303, 307 or 308, got {status}"
            self.ctx.report(values.place("status"), f"{values.path}.status", "S104", message)
        self.policies.parameters(said, key)
        return Redirect(
            location=said.value, status=status, keep_query=values.get("keep_query", True)
        )

    def _page_answer(self, values: Values) -> Page:
        said: Located = values["page"]
        return Page(path=self.policies.page(said.value, said), status=values.get("status", 200))

    def _rewrite(self, values: Values, key: Key | None) -> Rewrite | None:
        template: Located | None = values.get("rewrite")
        strip: Located | None = values.get("strip")
        if template is not None and strip is not None:
            message = "rewrite and strip do not go together"
            self.ctx.report(strip.place, strip.path, "S108", message, "keep one of them")
            return None
        if template is not None:
            self.policies.parameters(template, key)
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

    def _owner(self, upstream: str | None) -> str:
        found = self.upstreams.sound.get(upstream or self.upstreams.legacy or "")
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
                severity="warning",
            )
        return day

    def _tests(self, values: Values) -> tuple[RouteTest, ...]:
        tests = (self._test(test) for test in values.get("tests", ()))
        return tuple(test for test in tests if test is not None)

    def _test(self, values: Values) -> RouteTest | None:
        if values.bad:
            return None
        methods = [name for name in TEST_METHODS if name in values]
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
        if goes_to and goes_to.value not in ("redirect", "gone", "page", *self.upstreams.names):
            near = did_you_mean(goes_to.value, self.upstreams.names)
            message = f"unknown upstream {goes_to.shown!r}"
            self.ctx.report(goes_to.place, goes_to.path, "S201", message, near)
        fields = [(key.text.encode(), value.value) for key, value in _sound(values, "header")]
        cookies = [f"{key.text}={value}" for key, value in _sound(values, "cookie")]
        if cookies:
            fields.append((b"Cookie", "; ".join(cookies).encode()))
        own = [name for name in self.site.hosts if not name.startswith("*.")]
        host: str = values.get("host") or (own[0] if own else "")
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


def _sound(values: Values, name: str) -> list[tuple[Scalar, Any]]:
    return [(key, value) for key, value in values.get(name, ()) if value is not BAD]


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
