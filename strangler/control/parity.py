# SPDX-License-Identifier: Apache-2.0
"""What became of the copies of all workers: each route's counts, and its last mismatches.

Each worker counts its own from when it made the first copy; a dead worker's counts go with it,
and so do the pairs that they were of: what is shown always adds up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from strangler.config.diagnostics import did_you_mean
from strangler.config.snapshot import Snapshot
from strangler.control.asking import Asking, Unanswered
from strangler.control.handler import Rejected

#: Seconds that a worker has to answer.
PATIENCE: Final = 1.0
#: Mismatches of a route that are shown, of all workers together.
SHOWN: Final = 20
_COUNTS: Final = (
    "shadowed", "compared", "equal", "mismatched", "failed", "dropped", "pending", "skipped",
)  # fmt: skip
_BY_WORD: Final = ("mismatches", "failures", "drops", "skips")


class Parity:
    """The copies of the workers behind *asking*."""

    def __init__(
        self,
        asking: Asking,
        snapshot: Callable[[], Snapshot],
        alive: Callable[[], Sequence[int]],
    ) -> None:
        """Use the snapshot in force; *alive*: the slots of the workers."""
        self._asking = asking
        self._snapshot = snapshot
        self._alive = alive

    async def every(self) -> dict[str, Any]:
        """Return the counts of all routes that copy or have copied."""
        told: dict[str, list[Mapping[str, Any]]] = {}
        silent = []
        for slot in sorted(self._alive()):
            after: int | None = 0
            while after is not None:
                try:
                    page = await self._asking.ask(slot, {"do": "parity", "after": after}, PATIENCE)
                except Unanswered:
                    silent.append(f"worker {slot + 1}")
                    break
                for key, counts in page["routes"].items():
                    told.setdefault(key, []).append(counts)
                after = page["next"]
        return {"routes": {key: _summed(parts) for key, parts in told.items()}, "silent": silent}

    async def of(self, route: str) -> dict[str, Any]:
        """Return the counts of *route* and its last mismatches, the newest first."""
        self.owner(route)
        answers = await self._asking.ask_all({"do": "parity", "route": route}, PATIENCE)
        parts, silent = [], []
        for slot, answer in answers.items():
            if isinstance(answer, Unanswered):
                silent.append(f"worker {slot + 1}")
            elif route in answer["routes"]:
                parts.append(answer["routes"][route])
        samples = [one for part in parts for one in part["samples"]]
        samples.sort(key=lambda one: -one["at"])
        told = _summed(parts) | {"samples": samples[:SHOWN]}
        return {"route": route, **told, "silent": silent}

    async def reset(self, route: str) -> dict[str, Any]:
        """Count *route* anew in all workers; raise Rejected 503 where one has not answered."""
        self.owner(route)
        answers = await self._asking.ask_all({"do": "parity.reset", "route": route}, PATIENCE)
        missing = [
            f"worker {slot + 1}"
            for slot, answer in answers.items()
            if isinstance(answer, Unanswered)
        ]
        if missing:
            raise Rejected(503, f"not everywhere: {', '.join(missing)}")
        return {"route": route, "reset": True}

    def owner(self, route: str) -> str:
        """Return the team that owns *route*; raise Rejected 404 where there is no such route."""
        owners = {known.key: known.owner for known in self._snapshot().routes}
        if route not in owners:
            hint = did_you_mean(route, owners)
            said = f"no route {route[:200]!r}" + (f"; {hint}" if hint else "")
            raise Rejected(404, said, hint=hint)
        return owners[route]


def _summed(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of several workers as one's.

    parity: the share of compared pairs that were equal, 0-1, None without any; took: the mean
    seconds of the reader's answer and of the copy's.
    """
    told: dict[str, Any] = {name: sum(part[name] for part in parts) for name in _COUNTS}
    for name in _BY_WORD:
        words: Counter[str] = Counter()
        for part in parts:
            words.update(part[name])
        told[name] = dict(words.most_common())
    compared = told["compared"]
    told["parity"] = told["equal"] / compared if compared else None
    told["since"] = min((part["since"] for part in parts), default=None)
    told["took"] = [
        round(sum(part["took"][side] for part in parts) / compared, 6) if compared else None
        for side in (0, 1)
    ]
    return told
