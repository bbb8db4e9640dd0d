# SPDX-License-Identifier: Apache-2.0
"""What was changed lately, by whom, in words: from the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from strangler.control.console.answers import RECENT
from strangler.rollout.override import spoken

MOST: Final = 50
"""Changes that are shown."""
_NO_CHANGE: Final = frozenset({"login", "reload"})
"""What alone changes nothing: a file that a reload puts in force has an entry of its own."""
_VERBS: Final = {
    "override.set": "",
    "override.undo": "undone: ",
    "override.clear": "cleared: ",
    "override.expired": "ended by time: ",
}


def recent(
    entries: Iterable[Mapping[str, Any]],
    rejected: Mapping[str, Any] | None,
    now: float,
) -> list[dict[str, Any]]:
    """Return all changes of the last half hour, the newest first.

    Args:
        entries: of the audit log.
        rejected: the last edit, where it was refused.
        now: Unix seconds.
    """
    found = [
        in_words(entry)
        for entry in entries
        if "time" in entry and entry.get("what") not in _NO_CHANGE
    ]
    if rejected is not None:
        found.append(
            {
                "id": "rejected",
                "time": float(rejected["time"]),
                "say": "an edit of the file was rejected",
                "who": "",
                "reason": next(iter(rejected["text"]), ""),
                "route": None,
                "verdict": "bad",
            }
        )
    found = [one for one in found if now - one["time"] <= RECENT]
    return sorted(found, key=lambda one: -float(one["time"]))[:MOST]


def in_words(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Say one entry of the audit log in a few words."""
    what, subject = str(entry.get("what", "")), str(entry.get("subject", ""))
    scope, colon, name = subject.partition(":")
    named = name if colon else subject
    if what in _VERBS:
        value = entry.get("after") if what == "override.set" else entry.get("before")
        kind = entry.get("kind")
        said = spoken(value) if kind == "stage" else f"{kind} {spoken(value)}"
        say = f"{_VERBS[what]}{named}: {said}"
    elif what == "config.accepted":
        say = f"generation {entry.get('after')} of the file in force"
    else:
        say = f"{what} {subject}".strip()
    return {
        "id": f"{entry.get('at', entry['time'])}",
        "time": float(entry["time"]),
        "say": say,
        "who": str(entry.get("who", "")),
        "reason": str(entry.get("reason", "")),
        "route": name if scope == "route" else None,
        "verdict": None,
    }
