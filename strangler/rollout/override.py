# SPDX-License-Identifier: Apache-2.0
"""Overrides: what an operator has chosen for now, over what routes.yaml says.

Effective is the override, else the file. An override has an author, a reason and an end; at most
one is in force for a kind and a subject. The set of them is immutable and numbered: each change
makes another whose `version` is one higher, so that everybody can say which one they serve.

A subject is `route:KEY`, `upstream:NAME`, `endpoint:UPSTREAM URL` or `site`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args

from .stage import Malformed, Stage, parse_stage

Kind = Literal[
    "stage",
    "breaker",
    "drain",
    "cache",
    "fault",
    "freeze",
    "hold",
    "shadows",
    "maintenance",
    "priority",
]
Scope = Literal["route", "upstream", "endpoint", "site"]
Value = str | bool | Mapping[str, Any]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SCOPES: Final[Mapping[Kind, tuple[Scope, ...]]] = {
    "stage": ("route",),
    "breaker": ("upstream", "route"),
    "drain": ("upstream", "endpoint"),
    "cache": ("route", "site"),
    "fault": ("route",),
    "freeze": ("site",),
    "hold": ("route",),
    "shadows": ("site",),
    "maintenance": ("route", "site"),
    "priority": ("route",),
}
"""What each kind may be said of."""
WORDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "breaker": ("forced_open", "forced_closed", "auto"),
    "cache": ("stale_only", "archive_only", "bypass"),
    "shadows": ("stop",),
    "priority": ("low", "normal", "high"),
}
"""The values of the kinds that are one of a few words."""
SWITCHES: Final[frozenset[Kind]] = frozenset({"drain", "freeze", "hold", "maintenance"})
"""The kinds whose value may be `true`; to take it back is to undo the override."""

_UNITS: Final = {"delay": " s", "cut": " bytes", "trickle": " bytes/s"}
"""What the amount of a fault is counted in."""

SITE: Final = "site"
_DEEPEST: Final = 5
"""How many overrides under the one in force an undo can come back to, one after the other."""


def subject_of(scope: Scope, name: str = "") -> str:
    """Write a subject: `route:KEY`, `upstream:NAME`, `endpoint:UPSTREAM URL` or `site`."""
    return SITE if scope == "site" else f"{scope}:{name}"


def scope_of(subject: str) -> tuple[Scope, str]:
    """Read a subject: its scope and the name in it. Raises Malformed."""
    if subject == SITE:
        return "site", ""
    scope, colon, name = subject.partition(":")
    if colon and name and scope in ("route", "upstream", "endpoint"):
        if scope == "endpoint" and not all(name.partition(" ")):
            raise Malformed("endpoint:UPSTREAM URL", repr(subject[:200]))
        return cast(Scope, scope), name
    expected = "route:KEY, upstream:NAME, endpoint:UPSTREAM URL or site"
    raise Malformed(expected, repr(subject[:200]))


def check(kind: str, subject: str, value: object) -> Value:
    """Return *value* as an override of *kind* on *subject* holds it; raise Malformed.

    Only the form is looked at, not whether the subject exists or what a fault or a page says.
    """
    if kind not in KINDS:
        raise Malformed(f"a kind: {', '.join(KINDS)}", repr(kind)[:200])
    scope, _ = scope_of(subject)
    if scope not in SCOPES[kind]:
        raise Malformed(f"{kind} of a {' or '.join(SCOPES[kind])}", repr(subject[:200]))
    if kind == "stage":
        if not isinstance(value, str):
            raise Malformed("a stage such as legacy or canary 10%", repr(value)[:200])
        return str(parse_stage(value))
    if kind in WORDS:
        if value not in WORDS[kind]:
            raise Malformed(f"{', '.join(WORDS[kind])}", repr(value)[:200])
        return str(value)
    if value is True and kind in SWITCHES:
        return True
    if kind in ("fault", "maintenance") and isinstance(value, Mapping):
        return MappingProxyType(dict(value))
    forms = ["true"] if kind in SWITCHES else []
    forms += {"fault": ['{"kind", "share", "amount"}'], "maintenance": ['{"page": FILE}']}.get(
        kind, []
    )
    raise Malformed(" or ".join(forms), repr(value)[:200])


def spoken(value: object) -> str:
    """Say the value of an override as people read it: `on`, `canary 10%`, `delay 50% 2 s`."""
    if value is True:
        return "on"
    if value is None:
        return ""
    if not isinstance(value, Mapping):
        return str(value)
    said = []
    for name, part in value.items():
        if not isinstance(part, int | float):
            said.append(str(part))
        elif name == "share":
            said.append(f"{part * 100:.4g}%")
        else:
            said.append(f"{part:.4g}{_UNITS.get(str(value.get('kind')), '')}")
    return " ".join(said)


def is_page(name: str) -> bool:
    """Tell whether a file of this name may be shown to readers as a page.

    The state folder lies below that of routes.yaml as well, with the admin token and the signing
    key in it: whoever may close a route must not be able to publish those.
    """
    return name.lower().endswith((".html", ".htm"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One choice.

    value: see `check` · author: who made it · created, expires: Unix seconds · file: what
    routes.yaml said then, to show whether it has changed underneath · via: how a stage came to
    be, `promote` or `back`; empty where somebody said it outright.
    """

    id: str
    kind: str
    subject: str
    value: Value
    author: str
    reason: str
    created: float
    expires: float
    file: str = ""
    via: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Return what only one override in force may have: kind and subject."""
        return self.kind, self.subject

    @property
    def stage(self) -> Stage:
        """Return the stage that an override of that kind says. Raises Malformed for another."""
        if self.kind != "stage" or not isinstance(self.value, str):
            raise Malformed("an override of the stage", self.kind)
        return parse_stage(self.value)

    def left(self, now: float) -> float:
        """Return the seconds until it ends, 0 or more."""
        return max(self.expires - now, 0.0)

    def json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        if isinstance(self.value, Mapping):
            told["value"] = dict(self.value)
        return told

    @classmethod
    def parse(cls, told: object) -> Override:
        """Read what `json` wrote; raise Malformed. A kind that is unknown here is kept as it is."""
        if not isinstance(told, Mapping):
            raise Malformed("an override", repr(told)[:200])
        given = {one.name: told.get(one.name, "") for one in fields(cls)}
        for name in ("id", "kind", "subject", "author", "reason", "file", "via"):
            if not isinstance(given[name], str):
                raise Malformed(f"{name}: a text", repr(given[name])[:200])
        for name in ("created", "expires"):
            if not isinstance(given[name], int | float) or isinstance(given[name], bool):
                raise Malformed(f"{name}: seconds", repr(given[name])[:200])
        if given["kind"] in KINDS:
            given["value"] = check(given["kind"], given["subject"], given["value"])
        elif not isinstance(given["value"], str | bool | Mapping):
            raise Malformed("value: a text, true or an object", repr(given["value"])[:200])
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides in force, by kind and subject, and the number of this set.

    `under` holds, by the id of an override, the one that it took the place of: what an undo comes
    back to.
    """

    version: int = 0
    by_place: Mapping[tuple[str, str], Override] = field(
        default_factory=lambda: MappingProxyType({})
    )
    under: Mapping[str, Override] = field(default_factory=lambda: MappingProxyType({}))

    def __iter__(self) -> Iterator[Override]:
        """Go through them, the newest first."""
        return iter(sorted(self.by_place.values(), key=lambda one: -one.created))

    def __len__(self) -> int:
        return len(self.by_place)

    # What is in force.

    def of(self, kind: Kind, subject: str) -> Override | None:
        """Return the override of *kind* on *subject*."""
        return self.by_place.get((kind, subject))

    def find(self, id_: str) -> Override | None:
        """Return the override with this id."""
        return next((one for one in self.by_place.values() if one.id == id_), None)

    def route(self, key: str) -> Mapping[str, Override]:
        """Return by kind what is said of the route *key* itself."""
        return self._about(subject_of("route", key))

    def upstream(self, name: str) -> Mapping[str, Override]:
        """Return by kind what is said of the upstream *name* itself."""
        return self._about(subject_of("upstream", name))

    def endpoint(self, upstream: str, url: str) -> Mapping[str, Override]:
        """Return by kind what is said of one endpoint; *url* as in routes.yaml."""
        return self._about(subject_of("endpoint", f"{upstream} {url}"))

    @property
    def site(self) -> Mapping[str, Override]:
        """Return by kind what is said of the whole site."""
        return self._about(SITE)

    def stage(self, key: str, file: Stage) -> Stage:
        """Return the effective stage of the route *key*, of which routes.yaml says *file*."""
        override = self.by_place.get(("stage", f"route:{key}"))
        return file if override is None else override.stage

    def frozen(self) -> bool:
        """Tell whether no timer and no gate may move a stage now."""
        return self.of("freeze", SITE) is not None

    def _about(self, subject: str) -> Mapping[str, Override]:
        return {one.kind: one for one in self.by_place.values() if one.subject == subject}

    # Time.

    @property
    def next_end(self) -> float | None:
        """Return when the first of them ends (Unix seconds), None where there are none."""
        return min((one.expires for one in self.by_place.values()), default=None)

    def ended(self, now: float) -> tuple[Override, ...]:
        """Return those whose time is over."""
        return tuple(one for one in self.by_place.values() if one.expires <= now)

    def still(self, now: float) -> Overrides:
        """Return those whose time isn't over, with the same number: what to serve meanwhile."""
        if not self.ended(now):
            return self
        kept = {place: one for place, one in self.by_place.items() if one.expires > now}
        return Overrides(self.version, MappingProxyType(kept), self.under)

    # Changes: each returns another set, one version on.

    def with_(self, *new: Override) -> Overrides:
        """Put *new* in force; one that was there for the same kind and subject gives way."""
        by_place, under = dict(self.by_place), dict(self.under)
        for one in new:
            former = by_place.get(one.place)
            if former is not None:
                under[one.id] = former
            by_place[one.place] = one
        return self._next(by_place, under)

    def without(self, ids: Collection[str]) -> Overrides:
        """Take those with these *ids* out of force: the file's word counts again."""
        kept = {place: one for place, one in self.by_place.items() if one.id not in ids}
        return self._next(kept, dict(self.under))

    def undone(self, id_: str, now: float) -> tuple[Overrides, Override | None]:
        """Take back *id_*; return the set and what is in force instead, None for the file.

        An override that it took the place of comes back, unless its time is over. Raises KeyError
        where *id_* isn't in force.
        """
        one = self.find(id_)
        if one is None:
            raise KeyError(id_)
        former: Override | None = self.under.get(id_)
        while former is not None and former.expires <= now:
            former = self.under.get(former.id)
        by_place = {place: kept for place, kept in self.by_place.items() if kept.id != id_}
        if former is not None:
            by_place[former.place] = former
        return self._next(by_place, dict(self.under)), former

    def numbered(self, version: int) -> Overrides:
        """Return the same ones under another number."""
        return Overrides(version, self.by_place, self.under)

    def _next(
        self, by_place: dict[tuple[str, str], Override], under: dict[str, Override]
    ) -> Overrides:
        reached: dict[str, Override] = {}
        for one in by_place.values():
            for _ in range(_DEEPEST):
                former = under.get(one.id)
                if former is None:
                    break
                reached[one.id] = former
                one = former
        return Overrides(self.version + 1, MappingProxyType(by_place), MappingProxyType(reached))

    def differences(self, before: Overrides) -> frozenset[str]:
        """Return the subjects of which *before* and this one say different things."""
        if self.by_place is before.by_place:
            return frozenset()
        ours, theirs = self.by_place, before.by_place
        return frozenset(
            place[1]
            for place in ours.keys() | theirs.keys()
            if ours.get(place) != theirs.get(place)
        )

    # JSON.

    def json(self, *, under: bool = True) -> dict[str, Any]:
        """Return the set as JSON holds it; without *under*, only what is in force."""
        told: dict[str, Any] = {
            "version": self.version,
            "overrides": [one.json() for one in self.by_place.values()],
        }
        if under and self.under:
            told["under"] = {id_: one.json() for id_, one in self.under.items()}
        return told

    @classmethod
    def parse(cls, told: object) -> Overrides:
        """Read what `json` wrote. Raises Malformed."""
        if not isinstance(told, Mapping):
            raise Malformed("a set of overrides", repr(told)[:200])
        version, listed, under = told.get("version"), told.get("overrides"), told.get("under", {})
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise Malformed("version: a count", repr(version)[:200])
        if not isinstance(listed, list) or not isinstance(under, Mapping):
            raise Malformed("overrides: a list", repr(listed)[:200])
        return cls.of_all(
            version,
            map(Override.parse, listed),
            {str(id_): Override.parse(one) for id_, one in under.items()},
        )

    @classmethod
    def of_all(
        cls, version: int, every: Iterable[Override], under: Mapping[str, Override] | None = None
    ) -> Overrides:
        """Make the set number *version* of *every* one; of two for the same, the later counts."""
        by_place = {one.place: one for one in every}
        return cls(version, MappingProxyType(by_place), MappingProxyType(dict(under or {})))
