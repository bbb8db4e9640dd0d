# SPDX-License-Identifier: Apache-2.0
"""Rollouts: how a route stands, a step up, a hold, a step back, and a tester's arm."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from strangler import units
from strangler.config.diagnostics import did_you_mean
from strangler.control.choice import find_route, read_reason, refuse_unknown
from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected
from strangler.control.promoting import wrong
from strangler.control.rollout import Standing, has_sides
from strangler.rollout import canary_salt
from strangler.rollout.arm import ARM_COOKIE, LONGEST, mint

Told = Mapping[str, Any] | None


async def _show(asked: Handler) -> Told:
    key = asked.get_query_argument("route", "", strip=False)
    promoting = asked.view.promoting
    if not key:
        return {"routes": await promoting.list(), "driving": asked.view.rollout.driving}
    return dict(promoting.show(await promoting.stand(key)))


async def _promote(asked: Handler) -> Told:
    given, unit, reason = await _read(asked, ("force", "for"))
    force = given.get("force", False)
    if not isinstance(force, bool):
        raise wrong("force", "expected true or false")
    lasts = _text(given, "for")
    told = await asked.view.promoting.promote(unit, reason, asked.asker, force=force, lasts=lasts)
    return dict(told)


async def _back(asked: Handler) -> Told:
    given, unit, reason = await _read(asked, ("to", "for"))
    told = await asked.view.promoting.back(
        unit,
        reason,
        asked.asker,
        longest=asked.view.snapshot.overrides.max,
        to=_text(given, "to"),
        lasts=_text(given, "for"),
    )
    return dict(told)


async def _hold(asked: Handler) -> Told:
    given, unit, reason = await _read(asked, ("for", "release"))
    release = given.get("release", False)
    if not isinstance(release, bool):
        raise wrong("release", "expected true or false")
    promoting = asked.view.promoting
    if release:
        return dict(await promoting.release(unit[0], reason, asked.asker))
    longest = asked.view.snapshot.overrides.max
    lasts = _text(given, "for")
    return dict(await promoting.hold(unit[0], reason, asked.asker, longest=longest, lasts=lasts))


async def _arm(asked: Handler) -> Told:
    """Sign a tester's cookie; several routes or groups make one cookie."""
    given = asked.json_body()
    refuse_unknown(given, ("route", "group", "arm", "for"))
    arm = given.get("arm")
    if arm not in ("legacy", "service"):
        raise wrong("arm", "expected legacy or service")
    names = {**_names(asked, given, "route"), **_names(asked, given, "group")}
    if not names:
        raise wrong("route", "expected a route's key, or a group, or a list of them")
    for name, owners in names.items():
        asked.permit(owners, name)
    said = _text(given, "for") or "8h"
    try:
        seconds = units.duration(said)
    except units.UnitError as problem:
        raise wrong("for", str(problem)) from None
    if not 1.0 <= seconds <= LONGEST:
        raise wrong("for", f"expected 1s to {units.show_duration(LONGEST)}, got {said[:50]}")
    key = asked.view.arm_key
    if not key:
        raise Rejected(503, "the site has no signing key")
    expires = time.time() + seconds
    value = "~".join(mint(key, canary_salt(name), arm, expires) for name in names)
    cookie = ARM_COOKIE.decode()
    return {
        "arm": arm,
        "names": list(names),
        "expires": int(expires),
        "name": cookie,
        "value": value,
        "cookie": f"{cookie}={value}",
        "set_cookie": f"{cookie}={value}; Path=/; Max-Age={int(seconds)}; SameSite=Lax",
        "script": f'document.cookie = "{cookie}={value}; path=/; max-age={int(seconds)}"',
    }


def _names(asked: Handler, given: Mapping[str, Any], what: str) -> Mapping[str, Sequence[str]]:
    """Return the names that readers are hashed with, and whose their routes are."""
    said = given.get(what, [])
    listed = [said] if isinstance(said, str) else said
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise wrong(what, "expected a text or a list of texts")
    if len(listed) > _MOST:
        raise wrong(what, f"expected at most {_MOST}")
    routes = [route for route in asked.view.snapshot.routes if has_sides(route)]
    found: dict[str, Sequence[str]] = {}
    for one in listed:
        if what == "route":
            route = find_route(asked.view.snapshot, one)
            if route is None:
                hint = did_you_mean(one, [each.key for each in asked.view.snapshot.routes])
                raise Rejected(404, f"no route {one[:200]}" + (f"; {hint}" if hint else ""))
            if not has_sides(route):
                raise Rejected(409, f"{one} has no service and legacy to choose between")
            found[route.canary.salted_by(route.key)] = (route.owner,)
            continue
        members = [route for route in routes if route.canary.group == one]
        if not members:
            groups = sorted({route.canary.group for route in routes if route.canary.group})
            hint = did_you_mean(one, groups)
            raise Rejected(404, f"no group {one[:200]}" + (f"; {hint}" if hint else ""))
        found[one] = tuple({route.owner for route in members})
    return found


async def _read(asked: Handler, more: Sequence[str]) -> tuple[dict[str, Any], list[Standing], str]:
    """Return the body, how its route and its journey stand, and the reason; check who may."""
    given = asked.json_body()
    refuse_unknown(given, ("route", "reason", *more))
    key = given.get("route")
    if not isinstance(key, str):
        raise wrong("route", "expected a route's key")
    reason = read_reason(given)
    unit = await asked.view.promoting.stand(key)
    asked.permit([one.route.owner for one in unit], f"route:{key}")
    return given, unit, reason


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(name, "expected a text")
    return value


_MOST: Final = 8
_ROUTE: Final = {"type": "string", "minLength": 1}
_REASON: Final = {"type": "string", "minLength": 1, "maxLength": 500}
_FOR: Final = {"type": "string", "examples": ["30m"]}
_ONE_OR_MORE: Final = {
    "oneOf": [_ROUTE, {"type": "array", "items": _ROUTE, "minItems": 1, "maxItems": _MOST}]
}
_MOVED: Final = {
    "type": "object",
    "properties": {
        "route": {"type": "string"},
        "from": {"type": "string"},
        "to": {"type": "string"},
        "routes": {"type": "array", "items": {"type": "string"}},
        "version": {"type": "integer"},
        "workers": {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
        "took_ms": {"type": "number"},
        "override": {"type": "object"},
    },
    "required": ["route", "from", "to", "routes", "version", "workers", "override"],
}


def _body(**more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"route": _ROUTE, "reason": _REASON, **more},
        "required": ["route", "reason"],
        "additionalProperties": False,
    }


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/rollout",
        answer=_show,
        doc="every route between its two sides; ?route=KEY: its arms, its gates, the next step and "
        "what it lacks, and whether legacy could take it back",
        query=(Parameter(name="route", doc="a route's key; without it, all in short"),),
        told={"type": "object"},
        also=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/-/promote",
        answer=_promote,
        doc='{"route", "reason"}: one step up, with its group; 409 says what it lacks, '
        '{"force": true} goes all the same',
        access="owner",
        body=_body(force={"type": "boolean"}, **{"for": _FOR}),
        told=_MOVED,
        status=201,
        also=(404, 409, 503),
    ),
    Endpoint(
        method="POST",
        path="/-/back",
        counted=False,
        answer=_back,
        doc='{"route", "reason"}: one step back, with its group, whatever else is said; '
        '{"to": "legacy"}: all the way',
        access="owner",
        body=_body(to={"type": "string"}, **{"for": _FOR}),
        told=_MOVED,
        status=201,
        also=(404, 409, 503),
    ),
    Endpoint(
        method="POST",
        path="/-/hold",
        answer=_hold,
        doc='{"route", "reason", "for"}: no step up for that long; {"release": true} ends it',
        access="owner",
        body=_body(release={"type": "boolean"}, **{"for": _FOR}),
        told={"type": "object", "required": ["stage", "version", "workers"]},
        status=201,
        also=(404, 409, 503),
    ),
    Endpoint(
        method="POST",
        path="/-/arm",
        answer=_arm,
        doc='{"route" or "group", "arm": "service", "for": "8h"}: a signed cookie for a tester',
        access="owner",
        body={
            "type": "object",
            "properties": {
                "route": _ONE_OR_MORE,
                "group": _ONE_OR_MORE,
                "arm": {"type": "string", "enum": ["legacy", "service"]},
                "for": _FOR,
            },
            "required": ["arm"],
            "additionalProperties": False,
        },
        told={
            "type": "object",
            "properties": {
                **{name: {"type": "string"} for name in ("arm", "name", "value", "cookie")},
                "names": {"type": "array", "items": {"type": "string"}},
                "expires": {"type": "integer"},
            },
            "required": ["arm", "names", "expires", "name", "value", "cookie"],
        },
        status=201,
        also=(404, 409, 503),
    ),
)
