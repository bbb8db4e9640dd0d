# SPDX-License-Identifier: Apache-2.0
"""How far the migration was, point by point, over months: ``burndown.jsonl`` in the state folder.

A point is noted at each start and accepted edit, and once an hour. Older ones are thinned to the
last of each day, so the file stays small: some 1,000 lines after a year.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from strangler.config.snapshot import Route
from strangler.control.state import State
from strangler.observe.events import announce
from strangler.rollout import LIFE, Stage

FILE: Final = "burndown.jsonl"
EVERY: Final = 3600.0
"""Seconds between two points where nothing happens."""
_RECENT: Final = 30 * 86_400.0
_SHOWN: Final = 400


class Burndown:
    """The points, in memory and in the file; losing the file loses the drawing, nothing else."""

    def __init__(self, state: State) -> None:
        """Read what there is; a broken line is left out."""
        self._state = state
        self._points = _read(state.folder / FILE)
        self._before: tuple[int, int] | None = None

    @property
    def due(self) -> float:
        """The Unix seconds at which the next point is due."""
        return float(self._points[-1]["time"]) + EVERY if self._points else 0.0

    def note(
        self,
        routes: Iterable[Route],
        stage: Callable[[str, Stage], Stage],
        requests: int,
        legacy: int,
        now: float,
    ) -> None:
        """Note a point.

        Args:
            routes: all of the site.
            stage: returns the effective stage of a route's key, given the file's.
            requests: since the site began.
            legacy: those of them that were decided for legacy.
            now: Unix seconds.
        """
        before = self._before or (requests, legacy)
        asked, theirs = requests - before[0], legacy - before[1]
        self._before = (requests, legacy)
        proxied = [route for route in routes if route.action == "proxy"]
        stages = Counter(stage(route.key, route.stage).word for route in proxied)
        point = {
            "time": round(now),
            "stages": {word: stages[word] for word in LIFE if stages[word]},
            "legacy_share": round(theirs / asked, 4) if asked > 0 else None,
        }
        self._points = thinned([*self._points, point], now)
        lines = "".join(json.dumps(one) + "\n" for one in self._points)
        try:
            self._state.write(FILE, lines.encode())
        except OSError as problem:
            announce("burndown.unwritable", level=logging.WARNING, error=problem.strerror)

    def json(self) -> list[Mapping[str, Any]]:
        """Return the points to draw, the oldest first."""
        step = max(1, -(-len(self._points) // _SHOWN))
        return [*self._points[:-1:step], *self._points[-1:]]


def thinned(points: Iterable[Mapping[str, Any]], now: float) -> list[Mapping[str, Any]]:
    """Keep all points of the last 30 days, and the last of each day (UTC) before."""
    kept: list[Mapping[str, Any]] = []
    for point in points:
        old = now - float(point["time"]) > _RECENT
        if old and kept and int(kept[-1]["time"]) // 86_400 == int(point["time"]) // 86_400:
            kept[-1] = point
        else:
            kept.append(point)
    return kept


def _read(file: Path) -> list[Mapping[str, Any]]:
    points: list[Mapping[str, Any]] = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return points
    for line in lines:
        try:
            point = json.loads(line)
            stages = {str(word): int(count) for word, count in point["stages"].items()}
            share = point.get("legacy_share")
            points.append(
                {
                    "time": float(point["time"]),
                    "stages": stages,
                    "legacy_share": None if share is None else float(share),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(points, key=lambda point: float(point["time"]))
