# SPDX-License-Identifier: Apache-2.0
"""What an operator asks for, checked against the routes as they are: all that is wrong at once."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from strangler import units
from strangler.config.diagnostics import did_you_mean
from strangler.config.snapshot import Route, Snapshot
from strangler.control.handler import Rejected
from strangler.resilience import chaos
from strangler.rollout import Malformed, parse_stage
from strangler.rollout.override import KINDS, SCOPES, SITE, Value, check, is_page, scope_of

LONGEST_REASON: Final = 500
"""Characters of a reason."""
SHORTEST: Final = 1.0
"""Seconds that an override lasts at least."""
_FIELDS: Final = ("kind", "subject", "value", "for", "reason", "if_version")
#: Control characters, surrogates, line and paragraph separators: a log line must stay one.
_NO_TEXT: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
#: What turns the direction of writing: a reason must read as it was meant.
_TURNS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LARGEST_PAGE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be in force.

    seconds: for how long · owners: the teams whose routes or upstreams it touches · file: what
    routes.yaml says now · if_version: the only set that it may change, None: any · via: the verb
    of the rollout that a stage comes by.
    """

    kind: str
    subject: str
    value: Value
    seconds: float
    reason: str
    owners: tuple[str, ...]
    file: str
    if_version: int | None = None
    via: str = ""


@dataclass(slots=True)
class _Problems:
    """What is wrong, by field."""

    found: list[dict[str, str]] = field(default_factory=list)

    def add(self, name: str, message: str, hint: str | None = None) -> None:
        told = {"field": name, "message": message}
        self.found.append(told | ({"hint": hint} if hint else {}))

    def refuse(self) -> None:
        if self.found:
            first = self.found[0]
            said = f"{first['field']}: {first['message']}"
            said += f"; {first['hint']}" if "hint" in first else ""
            raise Rejected(400, said, errors=self.found)


def read_choice(asked: Mapping[str, Any], snapshot: Snapshot) -> Choice:
    """Return what the JSON of a request asks for. Raises Rejected with everything wrong with it."""
    problems = _Problems()
    _refuse_unknown(asked, _FIELDS, problems)
    kind, subject = asked.get("kind"), asked.get("subject")
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) if isinstance(kind, str) else None
        problems.add("kind", f"expected one of {', '.join(KINDS)}", hint)
    owners: tuple[str, ...] = ()
    sound = False
    if not isinstance(subject, str):
        problems.add("subject", "expected route:KEY, upstream:NAME, endpoint:UPSTREAM URL or site")
    else:
        sound = _known(kind, subject, snapshot, problems)
        owners = owners_of(subject, snapshot)
    seconds = _seconds(asked, snapshot, problems)
    reason = read_reason(asked, problems)
    version = asked.get("if_version")
    counts = isinstance(version, int) and not isinstance(version, bool) and version >= 0
    if "if_version" in asked and not counts:
        problems.add("if_version", "expected the number of a set of overrides")
    value: Value = ""
    if kind in KINDS and sound:
        value = _value(kind, str(subject), asked, seconds, snapshot, problems)
    problems.refuse()
    return Choice(
        str(kind), str(subject), value, seconds, reason, owners,
        file_says(snapshot, str(kind), str(subject)) or "", version,
    )  # fmt: skip


def read_reason(asked: Mapping[str, Any], problems: _Problems | None = None) -> str:
    """Return the reason that a request gives. Raises Rejected, or adds to *problems*."""
    own = problems if problems is not None else _Problems()
    reason = asked.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        own.add("reason", "expected why, in a few words")
        reason = ""
    elif len(reason) > LONGEST_REASON:
        own.add("reason", f"expected at most {LONGEST_REASON} characters")
    elif not _is_one_line(reason):
        own.add("reason", "expected one line of text, without control characters")
    if problems is None:
        own.refuse()
    return reason.strip()


def refuse_unknown(asked: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse members of a request that mean nothing."""
    problems = _Problems()
    _refuse_unknown(asked, known, problems)
    problems.refuse()


def find_route(snapshot: Snapshot, key: str) -> Route | None:
    """Return the route with this key, as its file writes it."""
    return next((route for route in snapshot.routes if route.key == key), None)


def owners_of(subject: str, snapshot: Snapshot) -> tuple[str, ...]:
    """Return the teams that answer for *subject*; nobody's is the empty name."""
    try:
        scope, name = scope_of(subject)
    except Malformed:
        return ("",)
    if scope == "route":
        route = find_route(snapshot, name)
        return (route.owner if route is not None else "",)
    if scope in ("upstream", "endpoint"):
        upstream = snapshot.upstreams.get(name.partition(" ")[0])
        return (upstream.owner if upstream is not None else "",)
    return ("",)


def file_says(snapshot: Snapshot, kind: str, subject: str) -> str | None:
    """Return what routes.yaml says of *kind* of *subject*, None where it knows no such subject."""
    scope, name = scope_of(subject)
    if scope == "route":
        route = find_route(snapshot, name)
        if route is None:
            return None
        match kind:
            case "stage":
                return str(route.stage)
            case "cache":
                return route.cache.mode
            case "breaker":
                return "none" if route.breaker is None else "auto"
            case "priority":
                return str(getattr(route, "priority", "") or "normal")
        return ""
    if scope == "upstream":
        upstream = snapshot.upstreams.get(name)
        if upstream is None:
            return None
        if kind == "breaker":
            return "none" if upstream.breaker is None else "auto"
        return ""
    if scope == "endpoint":
        named, _, url = name.partition(" ")
        upstream = snapshot.upstreams.get(named)
        urls = [one.url.rstrip("/") for one in upstream.endpoints] if upstream is not None else []
        return "" if url.rstrip("/") in urls else None
    return ""


def _is_one_line(text: str) -> bool:
    return not any(unicodedata.category(letter) in _NO_TEXT or letter in _TURNS for letter in text)


def _refuse_unknown(asked: Mapping[str, Any], known: Iterable[str], problems: _Problems) -> None:
    names = tuple(known)
    for name in asked:
        if name not in names:
            problems.add(str(name)[:100], "no such member", did_you_mean(str(name), names))


def _known(kind: object, subject: str, snapshot: Snapshot, problems: _Problems) -> bool:
    """Tell whether *subject* is there, and something that *kind* can be said of."""
    try:
        scope, name = scope_of(subject)
    except Malformed as problem:
        hint = None
        if any(subject == route.key for route in snapshot.routes):
            hint = f"write route:{subject}"
        elif subject in snapshot.upstreams:
            hint = f"write upstream:{subject}"
        problems.add("subject", f"expected {problem.expected}", hint)
        return False
    if kind in KINDS and scope not in SCOPES[kind]:
        forms = {"route": "route:KEY", "upstream": "upstream:NAME", "site": SITE}
        forms |= {"endpoint": "endpoint:UPSTREAM URL"}
        said = " or ".join(forms[one] for one in SCOPES[kind])
        problems.add("subject", f"{kind} is said of {said}")
        return False
    if scope == "route" and find_route(snapshot, name) is None:
        hint = did_you_mean(name, [route.key for route in snapshot.routes])
        problems.add("subject", f"no route {name[:200]}", hint)
        return False
    upstream, _, url = name.partition(" ")
    if scope in ("upstream", "endpoint") and (upstream if url else name) not in snapshot.upstreams:
        problems.add(
            "subject", f"no upstream {upstream[:200]}", did_you_mean(upstream, snapshot.upstreams)
        )
        return False
    if scope == "endpoint":
        urls = [one.url for one in snapshot.upstreams[upstream].endpoints]
        if url.rstrip("/") not in [one.rstrip("/") for one in urls]:
            hint = did_you_mean(url, urls) or f"there are {', '.join(urls[:5])}"
            problems.add("subject", f"{upstream} has no endpoint {url[:200]}", hint)
            return False
    return True


def _seconds(asked: Mapping[str, Any], snapshot: Snapshot, problems: _Problems) -> float:
    limits = snapshot.overrides
    if "for" not in asked:
        return limits.default
    said = asked["for"]
    if not isinstance(said, str):
        problems.add("for", "expected a duration such as 30m")
        return limits.default
    try:
        seconds = units.duration(said)
    except units.UnitError as problem:
        problems.add("for", str(problem), problem.hint)
        return limits.default
    longest = units.show_duration(limits.max)
    if seconds > limits.max:
        problems.add("for", f"expected at most {longest}, got {said[:50]}",
                     "longer than that belongs into routes.yaml")  # fmt: skip
        return limits.default
    if seconds < SHORTEST:
        problems.add("for", f"expected 1s to {longest}, got {said[:50]}")
        return limits.default
    return seconds


def _value(
    kind: str,
    subject: str,
    asked: Mapping[str, Any],
    seconds: float,
    snapshot: Snapshot,
    problems: _Problems,
) -> Value:
    if "value" not in asked:
        problems.add("value", "is missing")
        return ""
    try:
        value = check(kind, subject, asked["value"])
    except Malformed as problem:
        problems.add("value", f"expected {problem.expected}, got {problem.got}", problem.hint)
        return ""
    scope, name = scope_of(subject)
    route = find_route(snapshot, name) if scope == "route" else None
    if kind == "stage" and route is not None:
        why = route.cannot_be(parse_stage(str(value)))
        if why:
            problems.add("value", f"the route can't be {value}: {why}")
    elif route is not None and (why := route.cannot_have(kind, value)):
        problems.add("value", why)
    elif kind == "fault" and isinstance(value, Mapping):
        _check_fault(value, seconds, problems)
    elif kind == "maintenance" and isinstance(value, Mapping):
        _check_page(value, snapshot, problems)
    return value


def _check_fault(value: Mapping[str, Any], seconds: float, problems: _Problems) -> None:
    if seconds > chaos.LONGEST:
        longest = units.show_duration(chaos.LONGEST)
        problems.add("for", f"expected at most {longest}: a fault never lasts longer")
        return
    if "seconds" in value:
        problems.add("value.seconds", "no such member", "say how long with `for`")
        return
    try:
        chaos.parse({**value, "seconds": seconds}, 0.0)
    except chaos.MalformedFault as problem:
        problems.add("value", str(problem))


def _check_page(value: Mapping[str, Any], snapshot: Snapshot, problems: _Problems) -> None:
    """A page stands below routes.yaml: who may toggle may not read the machine's other files."""
    said = value.get("page")
    if value.keys() != {"page"} or not isinstance(said, str) or "\0" in said:
        problems.add("value", 'expected true or {"page": FILE}')
        return
    folder = Path(snapshot.root).parent.resolve()
    page = Path(os.path.normpath(folder / said))
    if Path(said).is_absolute() or folder not in page.resolve().parents:
        problems.add("value.page", "expected a file below the folder of routes.yaml")
    elif not is_page(page.resolve().name):
        problems.add("value.page", "expected a page whose name ends in .html")
    elif not page.is_file():
        problems.add("value.page", f"no file {said[:200]}")
    elif page.stat().st_size > _LARGEST_PAGE:
        problems.add("value.page", "expected at most 1MB")
