# SPDX-License-Identifier: Apache-2.0
"""Read and write quantities with units: `10s`, `256KB`, `5%`.

A unit is compulsory: a bare number hides what it counts. One number and one unit make a
quantity; the number may have a fraction (`1.5s`). Sizes count in powers of 1024, written `KB`
or `KiB` alike, as nginx and HAProxy do.
"""

from __future__ import annotations

import re
from typing import Final, NewType

Seconds = NewType("Seconds", float)
Bytes = NewType("Bytes", int)
Monotonic = NewType("Monotonic", float)
WallTime = NewType("WallTime", float)

DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
SIZE_UNITS: Final = {
    "B": 1,
    "KB": 1 << 10,
    "MB": 1 << 20,
    "GB": 1 << 30,
    "TB": 1 << 40,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}

# Twelve digits are more than any quantity needs and keep every product inside a float.
_NUMBER: Final = r"(-?[0-9]{1,12}(?:\.[0-9]{1,6})?)"
_QUANTITY: Final = re.compile(_NUMBER + r"\s?([A-Za-z%]*)", re.ASCII)


class UnitError(ValueError):
    """Say what is wrong with a quantity; `hint` is a spelling that would do, or None."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


class UnitMissing(UnitError):
    """A number stands without its unit."""


def duration(text: str) -> Seconds:
    """Return the seconds that *text* such as `300ms`, `10s`, `5m`, `1h`, `30d` names.

    Raises UnitMissing for a bare number, UnitError for anything else that is no duration.
    """
    number, unit = _split(text, "a duration such as 10s", "s")
    factor = DURATION_UNITS.get(unit)
    if factor is None:
        raise UnitError("expected a duration such as 10s", "units are ms, s, m, h, d, w")
    return Seconds(round(float(number) * factor, 6))


def size(text: str) -> Bytes:
    """Return the bytes that *text* such as `256KB` or `1GB` names; 1KB is 1024 bytes.

    Raises UnitMissing for a bare number, UnitError for anything else that is no size.
    """
    number, unit = _split(text, "a size such as 256KB", "B")
    factor = SIZE_UNITS.get(unit)
    if factor is None:
        raise UnitError("expected a size such as 256KB", "units are B, KB, MB, GB, TB")
    return Bytes(int(float(number) * factor))


def percent(text: str) -> float:
    """Return the percent, not the fraction, that *text* such as `5%` or `0.5%` names.

    Raises UnitMissing for a bare number, UnitError for anything else that is no percentage.
    """
    number, unit = _split(text, "a percentage such as 5%", "%")
    if unit != "%":
        raise UnitError("expected a percentage such as 5%", "the unit is %")
    return float(number)


def show_duration(seconds: float) -> str:
    """Return *seconds* in the largest unit that leaves a whole number: `300ms`, `5m`."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        whole = round(DURATION_UNITS[unit] * 1000)
        if milliseconds % whole == 0:
            return f"{milliseconds // whole}{unit}"
    return f"{milliseconds}ms"


def show_size(count: int) -> str:
    """Return *count* bytes in the largest unit that leaves a whole number: `30MB`, `17B`."""
    for unit in ("TB", "GB", "MB", "KB"):
        if count and count % SIZE_UNITS[unit] == 0:
            return f"{count // SIZE_UNITS[unit]}{unit}"
    return f"{count}B"


def show_percent(value: float) -> str:
    """Return *value* percent without needless zeros: `5%`, `0.5%`."""
    return f"{value:.4f}".rstrip("0").rstrip(".") + "%"


def _split(text: str, wanted: str, unit: str) -> tuple[str, str]:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise UnitError(f"expected {wanted}")
    if not match[2]:
        raise UnitMissing(f"expected {wanted}", f"write the unit: {match[1]}{unit}")
    return match[1], match[2]
