# SPDX-License-Identifier: Apache-2.0
"""Faults on demand: decide which requests of a route are harmed, and how.

Off unless an operator's override says so, and never without an end: a fault has an expiry of an
hour at most. What is decided here is only the value; the exchange acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal, cast, get_args

Kind = Literal["delay", "abort", "cut", "trickle", "corrupt"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

#: Seconds for which a fault may be ordered.
LONGEST: Final = 3600.0

#: The one number that each kind has, what it is and between which bounds.
AMOUNTS: Final[dict[Kind, tuple[str, float, float]]] = {
    "delay": ("seconds before the attempt", 0.0, 60.0),
    "abort": ("the status of the answer, or 0 to reset the connection", 0, 599),
    "cut": ("bytes of the body after which the connection breaks", 0, 1 << 40),
    "trickle": ("bytes of the body a second", 1, 1 << 30),
    "corrupt": ("the share of pieces of the body that get one bit turned, 0-1", 0.0, 1.0),
}


class MalformedFault(ValueError):
    """An order for a fault that can't be followed; the message says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One order: *kind* with *amount* (see `AMOUNTS`) for a *share* (0-1) of a route's requests.

    until: when it ends, on the clock that `strike` is asked by.
    """

    kind: Kind
    share: float
    amount: float
    until: float


def strike(faults: tuple[Fault, ...], now: float, chance: float) -> Fault | None:
    """Return the fault that a request suffers, or None; *chance* is random, 0 <= chance < 1.

    One number draws from all orders: their shares lie beside each other, so a request suffers
    one fault at most, and shares that sum to more than 1 leave nothing to the last ones.
    """
    below = 0.0
    for fault in faults:
        if now < fault.until:
            below += fault.share
            if chance < below:
                return fault
    return None


def corrupted(data: bytes, chance: float) -> bytes:
    """Return *data* with one bit turned, which one by *chance* (0 <= chance < 1)."""
    if not data:
        return data
    bit = int(chance * len(data) * 8)
    harmed = bytearray(data)
    harmed[bit // 8] ^= 1 << bit % 8
    return bytes(harmed)


def parse(order: Mapping[str, Any], now: float) -> Fault:
    """Return the fault that `{kind, share, amount, seconds}` orders; *seconds* from *now*.

    Raises MalformedFault for anything missing, unknown or out of bounds: a typing error here
    would harm readers.
    """
    seconds = _number(order, "seconds", 1.0, LONGEST, "seconds until it ends")
    return ordered({k: v for k, v in order.items() if k != "seconds"}, now + seconds)


def ordered(order: Mapping[str, Any], until: float) -> Fault:
    """Return the fault that an override's *order*, `{kind, share, amount}`, orders until *until*.

    Raises MalformedFault, as `parse`. Whoever takes an order sees to it that it ends in `LONGEST`.
    """
    unknown = set(order) - {"kind", "share", "amount"}
    if unknown:
        raise MalformedFault(f"fault: expected kind, share, amount, got {min(unknown, key=str)}")
    said = order.get("kind")
    if said not in KINDS:
        raise MalformedFault(f"kind: expected one of {', '.join(KINDS)}, got {said!r}")
    kind = cast(Kind, said)
    what, least, most = AMOUNTS[kind]
    amount = _number(order, "amount", least, most, what)
    if kind == "abort" and not (amount == 0 or (amount >= 400 and amount == int(amount))):
        raise MalformedFault(f"amount: expected 0 or a status from 400, got {amount:g}")
    return Fault(
        kind=kind,
        share=_number(order, "share", 0.0, 1.0, "a share"),
        amount=amount,
        until=until,
    )


def _number(order: Mapping[str, Any], name: str, least: float, most: float, what: str) -> float:
    value = order.get(name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not sound or not least <= cast(float, value) <= most:
        raise MalformedFault(f"{name}: expected {what}, {least:g} to {most:g}, got {value!r}")
    return float(cast(float, value))
