# SPDX-License-Identifier: Apache-2.0
"""A route's policies: what it says itself, else its preset, else `defaults`, else we."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from strangler.cache.policy import CachePolicy, KeyPolicy, QueryKey
from strangler.config.blocks import Values
from strangler.config.diagnostics import did_you_mean
from strangler.config.kinds import BAD, Context, Located, printable
from strangler.config.snapshot import Body, FieldEdits, HeaderEdits, Place, Timeouts
from strangler.config.upstreams import Upstreams, lay_breaker, lay_timeouts
from strangler.config.values import RESERVED_FIELDS
from strangler.migrate.policy import Compare
from strangler.resilience.policy import Breaker, Failures, Fallback, Retry, Rung
from strangler.rollout import Canary, Gates, Malformed, Stage, parse_gates, parse_steps
from strangler.routing import Key


class Policies:
    """The layers of policies, and what is made of them for one route at a time."""

    def __init__(
        self,
        ctx: Context,
        folder: str,
        defaults: Values,
        upstreams: Upstreams,
        tiers: frozenset[str],
        check_files: bool,
    ) -> None:
        self.ctx = ctx
        self.folder = folder
        self.defaults = defaults
        self.upstreams = upstreams
        self.tiers = tiers
        self.check_files = check_files
        self.presets: dict[str, Values] = {}
        self._places: dict[str, Place] = {}
        self._groups: dict[str, tuple[object, Place]] = {}

    def add_presets(self, entries: Iterable[tuple[Any, Values]]) -> None:
        """Add one file's presets."""
        for key, values in entries:
            first = self._places.setdefault(key.text, key.place)
            if first is not key.place:
                message = f"preset {printable(key.text)!r} stands twice, first at {first}"
                self.ctx.report(key.place, f"presets.{printable(key.text)}", "S006", message)
            self.presets.setdefault(key.text, Values.empty() if values is BAD else values)

    def check_unused(self) -> None:
        """Look at the names in `defaults` and presets, also of those that no route uses."""
        for values in (self.defaults, *self.presets.values()):
            self._fallback(values.get("fallback", BAD), Fallback())

    def use(self, values: Values) -> None:
        """Report a preset that does not exist."""
        use: Located | None = values.get("use")
        if use is not None and use.value not in self.presets:
            hint = did_you_mean(use.value, self.presets)
            if hint is None and self.presets:
                hint = "known presets: " + printable(", ".join(sorted(self.presets)))
            message = f"unknown preset {use.shown!r}"
            self.ctx.report(use.place, use.path, "S202", message, hint)

    def _policy(self, route: Values, name: str) -> Any:
        """Return what the route, else its preset says; BAD if neither does."""
        if name in route:
            return route[name]
        use: Located | None = route.get("use")
        preset = self.presets.get(use.value) if use else None
        return preset[name] if preset is not None and name in preset else BAD

    def last(self, values: Values, name: str, default: Any) -> Any:
        """Return what the last layer to speak says of *name*, or *default*."""
        said = self._policy(values, name)
        return self.defaults.get(name, default) if said is BAD else said

    def body(self, values: Values) -> Body:
        """Return the limits of request bodies."""
        body = Body()
        for said in (self.defaults.get("body", BAD), self._policy(values, "body")):
            if said is not BAD:
                body = replace(body, **said)
        return body

    def retry(self, route: Values) -> Retry:
        """Return when an attempt is repeated."""
        retry = _lay_retry(Retry(), self.defaults.get("retry", BAD))
        return _lay_retry(retry, self._policy(route, "retry"))

    def breaker(self, values: Values) -> Breaker | Literal["upstream"] | None:
        """Return the route's own breaker, if it has one."""
        said = self._policy(values, "breaker")
        if said is BAD:
            return "upstream"
        return lay_breaker(lay_breaker(Breaker(), self.defaults.get("breaker", BAD)), said)

    def timeouts(self, values: Values, upstream: str | None) -> Timeouts | None:
        """Return the route's own timeouts, complete, or None."""
        said = self._policy(values, "timeout")
        if said is BAD:
            return None
        base = self.upstreams.sound.get(upstream or self.upstreams.legacy or "")
        return lay_timeouts(base.timeouts if base else Timeouts(), said)

    def ladders(
        self, values: Values, stage: Stage, upstream: str | None
    ) -> tuple[Fallback, Fallback | None]:
        """Return the route's ladder at *stage*, and before sealed where that is another.

        Without legacy where legacy can be none of its rungs.
        """
        ladder = self._fallback(self.defaults.get("fallback", BAD), Fallback())
        ladder = self._fallback(self._policy(values, "fallback"), ladder)
        # From sealed on the service proves that it needs no legacy; a plain legacy route has no
        # other side.
        alone = replace(ladder, then=tuple(r for r in ladder.then if r.kind != "legacy"))
        if upstream is None or self.upstreams.legacy is None:
            return alone, None
        if stage.word in ("sealed", "retired"):
            return alone, ladder if alone != ladder else None
        if alone != ladder:
            self.upstreams.used.add(self.upstreams.legacy)
        return ladder, None

    def _fallback(self, said: Any, base: Fallback) -> Fallback:
        """Lay what was said over *base*; unknown upstreams are reported."""
        if said is BAD:
            return base
        if said is None:
            return replace(base, then=())
        values: Mapping[str, Any] = said if isinstance(said, Values) else {"then": said}
        rungs = [self._rung(rung) for rung in values.get("then", ())]
        return Fallback(
            when=_failures(values["when"]) if "when" in values else base.when,
            then=tuple(r for r in rungs if r is not None) if "then" in values else base.then,
            writes=values.get("writes", base.writes),
        )

    def _rung(self, said: Located) -> Rung | None:
        rung: Rung = said.value
        if rung.kind == "legacy" and self.upstreams.legacy is None:
            self.upstreams.no_legacy(said.place, said.path, "legacy in a fallback")
            return None
        if rung.kind == "page":
            return Rung("page", self.page(rung.name, said))
        if rung.kind == "upstream":
            known = self.upstreams.known(rung.name, said, ("stale", "legacy", "archive"))
            return rung if known else None
        return rung

    def page(self, name: str, said: Located) -> str:
        """Return the path of a page's file; one that does not exist is reported."""
        path = os.path.join(self.folder, name)
        if self.check_files and not os.path.isfile(path):
            self.ctx.report(
                said.place, said.path, "S206", f"no file {said.shown.removeprefix('page:')}"
            )
        return path

    def cache(self, values: Values, key: Key | None) -> CachePolicy:
        """Return how responses are stored."""
        said = self._policy(values, "cache")
        if said is BAD:
            said = self.defaults.get("cache", "none")
        if isinstance(said, str):
            return CachePolicy(mode="origin" if said == "origin" else "none")
        kwargs: dict[str, Any] = dict(said)
        for name in ("edge", "shared", "archive"):
            if name in said and name not in self.tiers:
                message = f"the site has no tier {name}"
                hint = f"remove `{name}: none` from tiers"
                self.ctx.report(said.place(name), f"{said.path}.{name}", "S108", message, hint)
        for tag in kwargs.get("tags", ()):
            self.parameters(tag, key)
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

    def headers(self, values: Values) -> HeaderEdits:
        """Return the edits of header fields."""
        said = self.last(values, "headers", None)
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
            if value is BAD:
                continue
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

    def compare(self, values: Values) -> Compare:
        """Return how a route's two sides are compared."""
        compare = Compare()
        for said in (self.defaults.get("compare", BAD), self._policy(values, "compare")):
            if said is BAD:
                continue
            if isinstance(said, Values):
                own = dict(said)
                if "ignore" in own:
                    own["ignore"] = frozenset(own["ignore"])
                compare = replace(compare, **own)
            else:
                compare = replace(compare, share=said or 0)
        return compare

    def canary(self, values: Values) -> Canary:
        """Return how a canary goes on; a group has to agree on `by`."""
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
                except Malformed as error:
                    place = layer.place("steps")
                    self.ctx.report(place, f"{layer.path}.steps", "S104", str(error), error.hint)
                    del own["steps"]
            if "gates" in own:
                own["gates"] = self._gates(own["gates"])
            kwargs.update(own)
        canary = Canary(**kwargs)
        if canary.group is not None:
            place = values.place("canary")
            by, first = self._groups.setdefault(canary.group, (canary.by, place))
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
        except Malformed as error:
            self.ctx.report(values.node.place, values.path, "S107", str(error), error.hint or None)
            return None

    def parameters(self, said: Located, key: Key | None) -> None:
        """Report parameters of a template that the route's path does not have."""
        if key is None:
            return
        for name in sorted(said.value.names - set(key.pattern.names)):
            shown = "{" + name + "}"
            have = ", ".join("{" + name + "}" for name in key.pattern.names)
            hint = did_you_mean(name, key.pattern.names)
            hint = hint or (f"the path has {have}" if have else "the path has no parameters")
            self.ctx.report(said.place, said.path, "S308", f"the route's path has no {shown}", hint)


def _failures(sets: Iterable[frozenset[str | int]]) -> Failures:
    every = frozenset[str | int]().union(*sets)
    return Failures(
        frozenset(item for item in every if isinstance(item, str)),
        frozenset(item for item in every if isinstance(item, int)),
    )


def _lay_retry(base: Retry, said: Any) -> Retry:
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


def _bytes(texts: Iterable[str]) -> frozenset[bytes]:
    return frozenset(text.encode() for text in texts)
