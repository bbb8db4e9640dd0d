# SPDX-License-Identifier: Apache-2.0
"""Overrides: what is in force, and putting it in force, back, away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from strangler.config.for_good import for_good
from strangler.control.choice import owners_of, read_choice, read_reason, refuse_unknown
from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected
from strangler.control.instead import heeds, instead, keeps_off
from strangler.control.stores import Unrecorded
from strangler.rollout import Override
from strangler.rollout.override import KINDS, scope_of

Told = Mapping[str, Any] | None
SILENT: Final = 10.0
"""Seconds of silence after which another instance counts as gone."""


async def _list(asked: Handler) -> Told:
    return dict(asked.view.overrides.json())


async def _instances(asked: Handler) -> Told:
    """Tell whether all who share the store serve the same."""
    try:
        listed = await asked.view.overrides.instances()
    except Unrecorded as problem:
        raise Rejected(503, f"the store can't be asked: {problem}") from None
    alive = [one for one in listed if one["silent"] <= SILENT]
    agree = len({(one.get("hash"), one.get("overrides")) for one in alive}) <= 1
    return {"agree": agree, "alive": len(alive), "instances": listed}


async def _put(asked: Handler) -> Told:
    choice = read_choice(asked.json_body(), asked.view.snapshot)
    asked.permit(choice.owners, choice.subject)
    done = await asked.view.overrides.put(choice, asked.asker)
    return dict(done.json())


async def _undo(asked: Handler) -> Told:
    given = asked.json_body()
    refuse_unknown(given, ("id", "reason"))
    id_ = given.get("id")
    if "id" in given and not isinstance(id_, str):
        raise Rejected(400, "id: expected the id of an override")
    reason = read_reason(given)
    done = await asked.view.overrides.undo(id_, reason, asked.asker, _may(asked))
    return dict(done.json())


async def _clear(asked: Handler) -> Told:
    """Clear those of one subject or kind, or all of them where *all* says so."""
    given = asked.json_body()
    refuse_unknown(given, ("subject", "kind", "all", "reason"))
    reason = read_reason(given)
    narrow = {name: given[name] for name in ("subject", "kind") if name in given}
    if not all(isinstance(value, str) for value in narrow.values()):
        raise Rejected(400, "subject, kind: expected texts")
    everything = given.get("all", False)
    if not isinstance(everything, bool) or bool(narrow) is everything:
        raise Rejected(400, 'expected {"subject": …}, {"kind": …} or both, or {"all": true}')
    may = _may(asked)

    def chosen(one: Override) -> bool:
        fits = all(getattr(one, name) == value for name, value in narrow.items())
        if fits:
            may(one)
        return fits

    gone, done = await asked.view.overrides.clear(chosen, reason, asked.asker)
    told = done.json()
    del told["override"]
    return {"cleared": [one.json() for one in gone], **told}


async def _preview(asked: Handler) -> Told:
    snapshot = asked.view.snapshot
    choice = read_choice(asked.json_body(), snapshot)
    asked.permit(choice.owners, choice.subject)
    overrides = asked.view.overrides.overrides
    one = overrides.of(choice.kind, choice.subject)
    now = choice.file if one is None else one.json()["value"]
    then = dict(choice.value) if isinstance(choice.value, Mapping) else choice.value
    scope, name = scope_of(choice.subject)
    upstream = name.partition(" ")[0]
    routes = [
        route.key
        for route in snapshot.routes
        if scope == "site"
        or (scope == "route" and route.key == name)
        or (
            scope in ("upstream", "endpoint")
            and upstream in route.asks(overrides.stage(route.key, route.stage))
            and (choice.kind != "breaker" or heeds(route, upstream, overrides))
        )
    ]
    affects: dict[str, Any] = {"routes": routes[:100], "count": len(routes)}
    affects |= asked.view.console.affected(routes)
    if keeps_off(choice.kind, choice.value):
        affects |= instead(snapshot, overrides, choice.kind, choice.subject)
    return {
        "now": now,
        "then": then,
        "file": choice.file,
        "seconds": choice.seconds,
        "affects": affects,
    }


async def _patch(asked: Handler) -> Told:
    """Tell the edit that makes what is in force the file's own; the same as `--to-patch` prints."""
    key = asked.get_query_argument("route", None, strip=False)
    found = await asyncio.get_running_loop().run_in_executor(
        None, for_good, asked.view.snapshot, asked.view.overrides.overrides, key
    )
    if not found.words and not found.left_out:
        raise Rejected(404, f"nothing of {'any route' if key is None else key[:200]} is overridden")
    return found.json()


def _may(asked: Handler) -> Any:
    def may(one: Override) -> None:
        asked.permit(owners_of(one.subject, asked.view.snapshot), one.subject)

    return may


_REASON: Final = {"type": "string", "minLength": 1, "maxLength": 500}
_CHOICE: Final = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": list(KINDS)},
        "subject": {"type": "string", "minLength": 1},
        "value": {"type": ["string", "boolean", "object"]},
        "for": {"type": "string", "examples": ["30m"]},
        "reason": _REASON,
        "if_version": {"type": "integer", "minimum": 0},
    },
    "required": ["kind", "subject", "value", "reason"],
    "additionalProperties": False,
    "examples": [
        {
            "kind": "stage",
            "subject": "route:/busca/**",
            "value": "legacy",
            "for": "30m",
            "reason": "p95 of 9 s since 14:02",
        },
        {
            "kind": "drain",
            "subject": "upstream:busca",
            "value": True,
            "reason": "its disk is full",
        },
    ],
}
_OVERRIDE: Final = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("id", "kind", "subject", "author", "reason")},
        "file": {"type": "string"},
        "owner": {"type": "string"},
        "value": {"type": ["string", "boolean", "object"]},
        "created": {"type": "number"},
        "expires": {"type": "number"},
    },
    "required": ["id", "kind", "subject", "value", "author", "reason", "created", "expires"],
}
_LEFT_OUT: Final = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("kind", "subject", "why")},
    "required": ["kind", "subject", "value", "why"],
}
_DONE: Final = {
    "version": {"type": "integer"},
    "workers": {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
    "took_ms": {"type": "number"},
}

ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/overrides",
        answer=_list,
        doc="what operators have chosen for now, and whether the store takes more",
        told={
            "type": "object",
            "properties": {
                "version": {"type": "integer"},
                "overrides": {"type": "array", "items": _OVERRIDE},
                "store": {"type": "object"},
            },
            "required": ["version", "overrides", "store"],
        },
    ),
    Endpoint(
        method="GET",
        path="/-/overrides/patch",
        answer=_patch,
        doc="the edit of routes.yaml that makes the stages and priorities in force its own, and "
        "which overrides it leaves out, with why; changes nothing",
        access="viewer",
        query=(Parameter(name="route", doc="a route's key; without it, all that is in force"),),
        told={
            "type": "object",
            "properties": {
                "routes": {"type": "object"},
                "patch": {"type": "string"},
                "left_out": {"type": "array", "items": _LEFT_OUT},
            },
            "required": ["routes", "patch", "left_out"],
        },
        also=(404,),
    ),
    Endpoint(
        method="GET",
        path="/-/instances",
        answer=_instances,
        doc="who shares the store of overrides, and whether all of them serve the same",
        told={
            "type": "object",
            "properties": {
                "agree": {"type": "boolean"},
                "alive": {"type": "integer"},
                "instances": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["agree", "alive", "instances"],
        },
        also=(503,),
    ),
    Endpoint(
        method="POST",
        path="/-/overrides",
        answer=_put,
        doc='{"kind", "subject", "value", "for": "30m", "reason"}: in force on every worker when '
        'it is answered; {"if_version": N} refuses where somebody else has been faster',
        access="owner",
        body=_CHOICE,
        told={
            "type": "object",
            "properties": {"override": _OVERRIDE, **_DONE},
            "required": ["override", "version", "workers", "took_ms"],
        },
        status=201,
        also=(409, 503),
    ),
    Endpoint(
        method="POST",
        path="/-/overrides/preview",
        counted=False,
        answer=_preview,
        doc="the same body: what would change for whom, and who would answer in the place "
        "of what is drained or whose breaker is forced open, without changing it",
        access="owner",
        body=_CHOICE,
        told={"type": "object", "required": ["now", "then", "affects"]},
    ),
    Endpoint(
        method="POST",
        path="/-/overrides/undo",
        answer=_undo,
        doc='{"id", "reason"}: what was there before comes back; without an id, of your newest',
        access="owner",
        body={
            "type": "object",
            "properties": {"id": {"type": "string"}, "reason": _REASON},
            "required": ["reason"],
            "additionalProperties": False,
        },
        told={
            "type": "object",
            "properties": {"override": {"anyOf": [{"type": "null"}, _OVERRIDE]}, **_DONE},
        },
        also=(404, 503),
    ),
    Endpoint(
        method="POST",
        path="/-/overrides/clear",
        answer=_clear,
        doc='{"subject", "kind", "reason"} or {"all": true, "reason"}: the file counts again',
        access="owner",
        body={
            "type": "object",
            "properties": {
                "subject": {"type": "string"},
                "kind": {"type": "string"},
                "all": {"type": "boolean"},
                "reason": _REASON,
            },
            "required": ["reason"],
            "additionalProperties": False,
        },
        told={
            "type": "object",
            "properties": {"cleared": {"type": "array", "items": _OVERRIDE}, **_DONE},
        },
        also=(503,),
    ),
)
