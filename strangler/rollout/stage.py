# SPDX-License-Identifier: Apache-2.0
"""The stages of a route's life, as one word and perhaps a percentage."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Word = Literal["legacy", "shadow", "canary", "live", "sealed", "retired"]

LIFE: Final[tuple[Word, ...]] = get_args(Word)
"""The words in the order of a route's life; back is one step to the left."""

WHOLE: Final = 10_000
"""All readers, in hundredths of a percent."""

_WITH_PERCENT: Final = frozenset({"shadow", "canary"})
_SERVICE: Final = frozenset({"live", "sealed", "retired"})
_PERCENT: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?[ ]?(%?)", re.ASCII)


class Malformed(ValueError):
    """A text that doesn't follow its grammar: what was `expected`, what it `got`, a `hint`.

    `offset` is where in the text, in characters from 0.
    """

    def __init__(self, expected: str, got: str, hint: str = "", offset: int = 0) -> None:
        self.expected = expected
        self.got = got
        self.hint = hint
        self.offset = offset
        super().__init__(f"expected {expected}, got {got}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A word of `LIFE`, with a percentage (0-100, two decimals) for shadow and canary, else None.

    `share` is how many readers the service answers, `sample` how many safe requests are copied to
    it, both in hundredths of a percent (0-10000), as buckets count.
    """

    word: Word
    percent: float | None = None
    share: int = field(init=False, repr=False, compare=False)
    sample: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.word not in LIFE:
            raise Malformed(f"one of {', '.join(LIFE)}", repr(self.word))
        if (self.percent is None) == (self.word in _WITH_PERCENT):
            expected = "a percentage" if self.percent is None else "no percentage"
            raise Malformed(f"{expected} for {self.word}", repr(self.percent))
        parts = 0 if self.percent is None else round(self.percent * 100)
        if self.percent is not None and (
            not 0 <= self.percent <= 100 or abs(self.percent * 100 - parts) > 1e-6
        ):
            raise Malformed("0-100 % with at most two decimals", f"{self.percent:g} %")
        share = parts if self.word == "canary" else WHOLE if self.word in _SERVICE else 0
        object.__setattr__(self, "share", share)
        object.__setattr__(self, "sample", parts if self.word == "shadow" else 0)

    @property
    def step(self) -> int:
        """How far in its life a route with this stage is: 0 (legacy) to 5 (retired)."""
        return LIFE.index(self.word)

    def __str__(self) -> str:
        return self.word if self.percent is None else f"{self.word} {self.percent:g}%"


def parse_stage(text: str) -> Stage:
    """Parse `legacy`, `shadow 10%`, `canary 0.5%`, `live`, `sealed` or `retired`."""
    word, space, rest = text.strip().partition(" ")
    if word not in LIFE:
        hint = ""
        if word.lower() in LIFE:
            hint = f"write {word.lower()}"
        elif word.rstrip("0123456789.%") in _WITH_PERCENT:
            hint = "leave a space before the percentage"
        raise Malformed("legacy, shadow N%, canary N%, live, sealed or retired", repr(text), hint)
    if word in _WITH_PERCENT:
        if not rest:
            raise Malformed(f"{word} with a percentage", repr(text), f"write {word} 5%")
        return Stage(word, parse_percent(rest.strip(), len(text) - len(rest)) / 100)
    if space:
        raise Malformed(f"{word} alone", repr(text), f"write {word}", len(word))
    return Stage(word)


def parse_percent(text: str, offset: int = 0) -> int:
    """Parse `0%` to `100%`, at most two decimals, to hundredths of a percent."""
    found = _PERCENT.fullmatch(text)
    if found is None:
        raise Malformed("a percentage such as 5% or 0.5%", repr(text), "", offset)
    whole, decimals, unit = found[1], found[2] or "", found[3]
    if not unit:
        raise Malformed("a percentage with its unit", repr(text), f"write {text.strip()}%", offset)
    if len(decimals) > 2 and decimals[2:].strip("0"):
        raise Malformed(
            "at most two decimals", repr(text), "there are 10,000 buckets: 0.01 % each", offset
        )
    hundredths = int(whole) * 100 + int(decimals[:2].ljust(2, "0"))
    if hundredths > WHOLE:
        raise Malformed("0-100 %", text, "", offset)
    return hundredths
