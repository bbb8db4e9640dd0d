# SPDX-License-Identifier: Apache-2.0
"""The kinds of value written as one word or text: texts, words, numbers with and without units."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from strangler import units
from strangler.config.diagnostics import did_you_mean
from strangler.config.kinds import (
    FALSE,
    INTEGER,
    OLD_BOOLEANS,
    TRUE,
    Rejected,
    ScalarKind,
    Schema,
    env_reference,
)
from strangler.resilience.adaptive import Adaptive


class Text(ScalarKind):
    """Any text, or text of a form; a number is the text that was written."""

    def __init__(
        self,
        name: str = "text",
        pattern: str | None = None,
        *,
        hint: str | None = None,
        located: bool = False,
        convert: Callable[[str], Any] | None = None,
        length: int = 4096,
    ) -> None:
        self.name = name
        self.pattern = pattern
        self.located = located
        self._form = re.compile(pattern, re.ASCII) if pattern else None
        self._hint = hint
        self._convert = convert
        self._length = length

    def parse(self, text: str, plain: bool) -> Any:
        if plain and (text in TRUE or text in FALSE):
            raise Rejected(self.name, f'write "{text}" with quotes', code="S103")
        if not text or len(text) > self._length or (self._form and not self._form.fullmatch(text)):
            raise Rejected(self.name, self._hint)
        return self._convert(text) if self._convert else text

    def schema(self, defs: Schema) -> Schema:
        rule = super().schema(defs)
        if self.pattern is None:
            rule["type"] = ["string", "number"]
        return rule


class Switch(ScalarKind):
    """YAML 1.2's true or false, and nothing else."""

    name = "true or false"
    boolean = True

    def parse(self, text: str, plain: bool) -> bool:
        if plain and text in TRUE:
            return True
        if plain and text in FALSE:
            return False
        if text.lower() in OLD_BOOLEANS:
            word = "true" if OLD_BOOLEANS[text.lower()] else "false"
            raise Rejected(self.name, f"write {word}", code="S111")
        raise Rejected(self.name, code="S103")

    def schema(self, defs: Schema) -> Schema:
        return {"anyOf": [{"type": "boolean"}, env_reference(defs)]}


class Word(ScalarKind):
    """One of a few words."""

    def __init__(self, *words: str, located: bool = False) -> None:
        self.words = words
        self.located = located
        self.name = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
        self.pattern = "|".join(map(re.escape, words))

    def parse(self, text: str, plain: bool) -> str:
        if text in self.words:
            return text
        raise Rejected(self.name, did_you_mean(text, self.words), code="S106")

    def old_boolean(self, text: str) -> str:
        return "none" if "none" in self.words else self.name


class Whole(ScalarKind):
    """A whole number, decimal, without a unit because it counts things."""

    name = "a whole number"

    def __init__(self, low: int, high: int, unit: str = "") -> None:
        self.low, self.high = low, high
        self.unit = unit
        self.range = f"{low}-{high}"

    def parse(self, text: str, plain: bool) -> Any:
        if not plain or not INTEGER.fullmatch(text):
            hint = None
            if re.fullmatch(r"[0-9][0-9_]*", text):
                hint = f"write {int(text.replace('_', ''))}"
                hint += "" if plain else " without quotes"
            raise Rejected(self.name, hint, code="S103")
        number = int(text)
        if not self.low <= number <= self.high:
            raise Rejected(self.range, code="S104")
        return number

    def schema(self, defs: Schema) -> Schema:
        whole = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [whole, env_reference(defs)]}


class PlacesKind(Whole):
    """How many places there are: a number, or one that follows latency, within bounds."""

    name = "a whole number, adaptive, or adaptive with bounds such as adaptive 10..400"

    def parse(self, text: str, plain: bool) -> Any:
        if not text.startswith("adaptive"):
            return super().parse(text, plain)
        bounds = re.fullmatch(r"adaptive(?: +([0-9]{1,7})\.\.([0-9]{1,7}))?", text, re.ASCII)
        if bounds is None:
            raise Rejected(self.name)
        if bounds[1] is None:
            return Adaptive()
        least, most = int(bounds[1]), int(bounds[2])
        if not self.low <= least <= most <= self.high:
            raise Rejected(f"two numbers of {self.range}, the smaller first", code="S104")
        return Adaptive(least=least, most=most, initial=min(max(Adaptive().initial, least), most))

    def schema(self, defs: Schema) -> Schema:
        adaptive = {"type": "string", "pattern": r"^adaptive( +[0-9]+\.\.[0-9]+)?$"}
        return {"anyOf": [*super().schema(defs)["anyOf"], adaptive]}


class _Quantity(ScalarKind):
    low: float
    high: float

    def _check(self, value: float) -> float:
        if not self.low <= value <= self.high:
            raise Rejected(self.range, code="S104")
        return value


def _unit_problem(error: units.UnitError) -> Rejected:
    code = "S105" if isinstance(error, units.UnitMissing) else "S107" if error.hint else "S103"
    return Rejected(str(error).removeprefix("expected "), error.hint, code=code)


class Duration(_Quantity):
    """Seconds, written with a unit."""

    name = "a duration"
    unit = "ms, s, m, h, d, w"
    pattern = r"[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d|w)"

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = units.duration(low), units.duration(high)
        self.range = f"{low}-{high}"

    def parse(self, text: str, plain: bool) -> float:
        try:
            return self._check(units.duration(text))
        except units.UnitError as error:
            raise _unit_problem(error) from None


class Size(_Quantity):
    """Bytes, written with a unit."""

    name = "a size"
    unit = "B, KB, MB, GB, TB"
    pattern = r"[0-9]+(\.[0-9]+)? ?([KMGT]i?)?B"

    def __init__(self, low: str, high: str) -> None:
        self.low, self.high = units.size(low), units.size(high)
        self.range = f"{low}-{high}"

    def parse(self, text: str, plain: bool) -> int:
        try:
            return int(self._check(units.size(text)))
        except units.UnitError as error:
            raise _unit_problem(error) from None


class Share(_Quantity):
    """A fraction 0-1, written as a percentage."""

    name = "a percentage"
    unit = "%"
    pattern = r"[0-9]+(\.[0-9]+)? ?%"

    def __init__(self, low: float = 0, high: float = 100) -> None:
        self.low, self.high = low, high
        self.range = f"{low:g}-{high:g} %"

    def parse(self, text: str, plain: bool) -> Any:
        return self.percent(text) / 100

    def percent(self, text: str) -> float:
        """Return the percent itself; raise Rejected."""
        try:
            value = units.percent(text)
        except units.UnitError as error:
            raise _unit_problem(error) from None
        if not self.low <= value <= self.high:
            raise Rejected(self.range, code="S104", got=f"{value:g} %")
        return value


class Between(ScalarKind):
    """Two durations, `5s..5m`, the first not longer than the second."""

    name = "two durations such as 5s..5m"
    unit = "ms, s, m, h, d, w"

    def __init__(self, low: str, high: str) -> None:
        self._one = Duration(low, high)
        self.range = self._one.range
        self.pattern = f"{Duration.pattern}\\.\\.{Duration.pattern}"

    def parse(self, text: str, plain: bool) -> tuple[float, float]:
        first, dots, second = text.partition("..")
        if not dots:
            raise Rejected(self.name, f"write {text}..5m" if text[-1:].isalpha() else None)
        low, high = self._one.parse(first, plain), self._one.parse(second, plain)
        if low > high:
            raise Rejected("the shorter duration first", f"write {second}..{first}", code="S104")
        return low, high


class Day(ScalarKind):
    """A day of the calendar."""

    name = "a date such as 2026-12-31"
    unit = "YYYY-MM-DD"
    pattern = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    located = True

    def parse(self, text: str, plain: bool) -> date:
        try:
            if re.fullmatch(self.pattern, text, re.ASCII):
                return date.fromisoformat(text)
        except ValueError:
            raise Rejected("a day that exists") from None
        raise Rejected(self.name)


class Regex(ScalarKind):
    """A regular expression of Python's `re`."""

    name = "a regular expression"
    located = True

    def parse(self, text: str, plain: bool) -> str:
        if len(text) > 1000:
            raise Rejected("a regular expression of at most 1000 characters")
        try:
            re.compile(text.encode())
        except (re.error, OverflowError, RecursionError) as error:
            raise Rejected(self.name, str(error)) from None
        return text

    def schema(self, defs: Schema) -> Schema:
        return {"type": ["string", "number"]}
