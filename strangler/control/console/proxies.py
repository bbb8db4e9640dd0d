# SPDX-License-Identifier: Apache-2.0
"""Every proxy of the fleet, and whether it serves what this one serves; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from strangler.control.console.seen import Verdict
from strangler.control.console.words import seconds

SETTLING: Final = 5.0
"""Seconds after a change for which others may serve what was before: they speak every other one."""
_SILENT: Final = 10.0


def proxies(
    listed: Iterable[Mapping[str, Any]],
    *,
    me: str,
    hash_: str,
    mark: str,
    settled: bool,
    ready: tuple[bool, str],
) -> list[dict[str, Any]]:
    """Return them, this one first.

    Args:
        listed: the last word of each: name, silent (seconds), hash, generation, workers, overrides.
        me: this one's name.
        hash_: of the configuration that this one serves.
        mark: of the overrides that this one serves.
        settled: the last change is more than `SETTLING` ago.
        ready: whether all workers of this one serve what is in force, and in words.
    """
    agrees, said = ready
    here: Verdict = "good" if agrees else "bad"
    found: list[dict[str, Any]] = [
        {"name": me, "me": True, "verdict": here, "say": f"{said[:1].upper()}{said[1:]}."}
    ]
    for one in listed:
        if one.get("name") not in (me, ""):
            verdict, words = _judge(one, hash_, mark, settled)
            found.append(
                {"name": str(one.get("name")), "me": False, "verdict": verdict, "say": words}
            )
    return found


def _judge(one: Mapping[str, Any], hash_: str, mark: str, settled: bool) -> tuple[Verdict, str]:
    silent = float(one.get("silent", 0.0))
    if silent > _SILENT:
        return "bad", f"Silent for {seconds(silent)}."
    serving, _, wanted = str(one.get("workers", "")).partition("/")
    said = f"{serving} of {wanted} workers serve generation {one.get('generation')}"
    odd = []
    if one.get("hash") != hash_:
        odd.append("another file than this one")
    if one.get("overrides") != mark:
        theirs, ours = (str(text).partition("-")[0] for text in (one.get("overrides"), mark))
        differs = (
            f"set {theirs} of overrides, this one {ours}" if theirs != ours else "other overrides"
        )
        odd.append(differs)
    if serving != wanted:
        odd.append("not all workers")
    if not odd:
        return "good", f"{said}."
    words = f"{said}: {', '.join(odd)}."
    return ("bad", words) if settled else ("good", f"{said}, catching up.")
