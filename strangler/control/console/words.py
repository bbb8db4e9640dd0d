# SPDX-License-Identifier: Apache-2.0
"""Numbers as sentences of the console have them; `static/format.js` does the same for the rest."""

from __future__ import annotations


def number(value: float) -> str:
    """Write a count or a rate with two or three digits that matter."""
    if value >= 9.95 or value == 0:
        return f"{value:,.0f}"
    if value < 0.1:
        return "fewer than 0.1"
    return f"{value:.1f}".removesuffix(".0")


def requests(rate: float) -> str:
    """Write *rate*, requests a second, as words."""
    said = number(rate)
    return f"{said} request{'s' * (said != '1')} a second"


def share(part: float) -> str:
    """Write a share (0 to 1) as a percentage that is 0 or 100 only where it is exactly that."""
    percent = part * 100
    if percent in (0.0, 100.0):
        return f"{percent:.0f} %"
    if percent < 0.1:
        return "less than 0.1 %"
    if percent > 99.9:
        return "more than 99.9 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def seconds(value: float) -> str:
    """Write a duration in the unit that suits it."""
    if value < 0.001:
        return "less than 1 ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 10:
        return f"{value:.1f}".removesuffix(".0") + " s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    if value < 172_800:
        return f"{value / 3600:.0f} h"
    return f"{value / 86_400:.0f} days"


def plural(count: int, one: str, many: str = "") -> str:
    """Write a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
