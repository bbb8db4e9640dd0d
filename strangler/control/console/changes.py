# SPDX-License-Identifier: Apache-2.0
"""What was changed lately, by whom, in words: from the audit log and from the file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from strangler.control.console.answers import RECENT

MOST: Final = 50
"""Changes that are shown."""
_VERBS: Final = {
    "override.set": "",
    "override.undo": "undone: ",
    "override.clear": "cleared: ",
    "override.expired": "ended by time: ",
}


class FileChanges:
    """When which generation of the file came into force; the first one seen is no change."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._changes: deque[dict[str, Any]] = deque(maxlen=MOST)

    def look(self, generation: int, files: Iterable[str], now: float) -> None:
        """Note the generation in force at *now* (Unix seconds)."""
        if self._seen is not None and generation != self._seen:
            name = next(iter(files), "routes.yaml")
            self._changes.appendleft(
                {
                    "id": f"generation-{generation}",
                    "time": now,
                    "say": f"{name}: generation {generation} in force",
                    "who": "",
                    "reason": "",
                    "route": None,
                    "verdict": None,
                }
            )
        self._seen = generation

    def json(self) -> list[dict[str, Any]]:
        """Return them, the newest first."""
        return list(self._changes)


def recent(
    entries: Iterable[Mapping[str, Any]],
    files: Iterable[Mapping[str, Any]],
    rejected: Mapping[str, Any] | None,
    now: float,
) -> list[dict[str, Any]]:
    """Return all changes of the last half hour, the newest first.

    Args:
        entries: of the audit log.
        files: as `FileChanges.json` tells them.
        rejected: the last edit, where it was refused.
        now: Unix seconds.
    """
    found = [dict(one) for one in files]
    found += [in_words(entry) for entry in entries if "time" in entry]
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
        said = _spoken(value) if kind == "stage" else f"{kind} {_spoken(value)}"
        say = f"{_VERBS[what]}{named}: {said}"
    else:
        say = f"{what} {named}".strip()
    return {
        "id": f"{entry.get('at', entry['time'])}",
        "time": float(entry["time"]),
        "say": say,
        "who": str(entry.get("who", "")),
        "reason": str(entry.get("reason", "")),
        "route": name if scope == "route" else None,
        "verdict": None,
    }


def _spoken(value: object) -> str:
    if value is True:
        return "on"
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return " ".join(str(part) for part in value.values())
    return str(value)
