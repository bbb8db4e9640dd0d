# SPDX-License-Identifier: Apache-2.0
"""Which overrides routes.yaml can say itself, and why it can't say the others; pure.

A stage and a priority are the same words there. Every other kind is an order for as long as
something is wrong: the file has no word that means the same, and one that means nearly the same is
for a person to choose.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from strangler.config.patch import Patch, Word, patch
from strangler.config.snapshot import Snapshot
from strangler.rollout import Override, Overrides
from strangler.rollout.override import Kind, scope_of, spoken

_NO_WORD: Final[Mapping[Kind, str]] = {
    "breaker": "the file says when a breaker opens, not that it is held",
    "drain": "the file has no word for it; for good, take the endpoint or the routes to it out",
    "cache": "a mode is for the night; for good, write the route's `cache` anew",
    "fault": "harm on purpose is no word of the file",
    "freeze": "the file has no word for it; for good, leave `canary.hold` out",
    "hold": "the file has no word for it; for good, leave `canary.hold` out",
    "shadows": "the file has no word for the whole site; for good, edit each shadow's stage",
    "maintenance": "in the file it would have no end; for good, give the route a `page`",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An override that isn't in the edit, and why; odd: the file has a word for its kind."""

    override: Override
    why: str
    odd: bool

    def json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        one = self.override
        return {"kind": one.kind, "subject": one.subject, "value": one.json()["value"],
                "why": self.why}  # fmt: skip

    def __str__(self) -> str:
        one = self.override
        return f"{one.kind} {spoken(one.value)} of {one.subject.removeprefix('route:')}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForGood:
    """The edit that makes overrides the file's own, by route and option, and what it leaves out."""

    words: Mapping[str, Mapping[str, str]]
    patches: tuple[Patch, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def diff(self) -> str:
        """Return the edit as a unified diff, empty where the file says the same already."""
        return "".join(one.diff() for one in self.patches)

    def json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        left_out = [one.json() for one in self.left_out]
        return {"routes": dict(self.words), "patch": self.diff, "left_out": left_out}


def for_good(
    snapshot: Snapshot,
    overrides: Overrides,
    route: str | None = None,
    env: Mapping[str, str] = os.environ,
) -> ForGood:
    """Return the edit for *overrides*: for all of them, or for those of the route with this key."""
    chosen = [one for one in overrides if route is None or one.subject == f"route:{route}"]
    asked = {word: one for one in reversed(chosen) if (word := _word(one)) is not None}
    done = patch(snapshot, asked, env)
    words: dict[str, dict[str, str]] = {}
    for word in asked:
        if word in done.refused:
            continue
        words.setdefault(word.route, {})[word.option] = str(word.value)
    refused = [LeftOut(asked[word], why, odd=True) for word, why in done.refused.items()]
    others = [
        LeftOut(one, _NO_WORD.get(one.kind, "a kind that is unknown here"), odd=False)  # type: ignore[call-overload]
        for one in chosen
        if _word(one) is None
    ]
    return ForGood(words=words, patches=done.patches, left_out=(*refused, *others))


def _word(one: Override) -> Word | None:
    """Return the word of the file that means the same, None where there is none."""
    if one.kind == "stage":
        return Word(scope_of(one.subject)[1], "stage", one.stage)
    if one.kind == "priority":
        return Word(scope_of(one.subject)[1], "priority", str(one.value))
    return None
