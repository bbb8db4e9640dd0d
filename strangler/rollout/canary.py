# SPDX-License-Identifier: Apache-2.0
"""How a canary goes on: by whom, in which steps, through which gates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .stage import Malformed, parse_percent
from .sticky import By

_READER: Final = By()
_GROWTH: Final = re.compile(r"\+([0-9]{1,6}(?:\.[0-9]{1,4})?)[ ]?(pp|%)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Gates:
    """What the service may do worse than legacy before a step is refused.

    `samples` (1 or more) is how many answers each side must have given: fewer is wait, never
    pass. `errors` is the rise of the error share in percentage points, `p95` the growth of the
    95th percentile of the time taken in percent; None isn't looked at.
    """

    samples: int
    errors: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """The canary policy of a route.

    Routes with the same `group` share buckets. `steps` are shares in hundredths of a percent
    (0-10000), rising; `hold` is the seconds each is kept; `on_fail` says whether a failed gate
    holds the step or goes back one.
    """

    by: By = _READER
    group: str | None = None
    steps: tuple[int, ...] = ()
    hold: float = 0.0
    gates: Gates | None = None
    on_fail: Literal["hold", "back"] = "hold"

    def salted_by(self, key: str) -> str:
        """The name that the route `key` hashes its readers with."""
        return self.group or key


def parse_steps(texts: Sequence[str]) -> tuple[int, ...]:
    """Parse `[1%, 5%, 25%]` to hundredths of a percent; each is more than the one before."""
    steps: list[int] = []
    for text in texts:
        step = parse_percent(text)
        if steps and step <= steps[-1]:
            raise Malformed(f"more than the step before ({steps[-1] / 100:g}%)", text)
        steps.append(step)
    return tuple(steps)


def parse_gates(values: Mapping[str, str | int]) -> Gates:
    """Parse `{errors: "+0.2pp", p95: "+15%", samples: 2000}`; samples is compulsory."""
    unknown = sorted(values.keys() - {"errors", "p95", "samples"})
    if unknown:
        raise Malformed("errors, p95 or samples", repr(unknown[0]))
    samples = values.get("samples")
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        got = "nothing" if samples is None else repr(samples)
        raise Malformed(
            "samples: a count of 1 or more", got, "a gate that saw too little waits; say how much"
        )
    return Gates(samples, _growth(values, "errors", "pp"), _growth(values, "p95", "%"))


def _growth(values: Mapping[str, str | int], name: str, unit: str) -> float | None:
    text = values.get(name)
    if text is None:
        return None
    example = "+0.2pp" if unit == "pp" else "+15%"
    found = _GROWTH.fullmatch(str(text))
    if found is None or found[2] != unit:
        hint = "an error share grows in percentage points (pp)" if unit == "pp" else ""
        raise Malformed(f"{name}: a growth such as {example}", repr(text), hint)
    return float(found[1])
