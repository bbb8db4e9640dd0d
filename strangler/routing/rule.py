# SPDX-License-Identifier: Apache-2.0
"""A rule as it was written, and what two of them say where neither is the more specific."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .conditions import Conditions
from .pattern import Key

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Rule(Generic[V]):
    """A key and conditions, and the `value` that they lead to.

    `place` is where it was written, for messages: anything whose str() a person can follow.
    """

    key: Key
    conditions: Conditions
    value: V
    place: object = field(default=None, compare=False)

    @property
    def rank(self) -> tuple[Any, ...]:
        """Order by specificity: path, host, method, number of conditions. Smaller wins."""
        host = self.key.host
        if host is None:
            of_host = (2, 0)
        elif host.startswith(b"*."):
            of_host = (1, -host.count(b"."))
        else:
            of_host = (0, 0)
        return (
            self.key.pattern.rank,
            of_host,
            0 if self.key.methods else 1,
            -len(self.conditions),
        )

    def __str__(self) -> str:
        conditions = f" ({'; '.join(map(str, self.conditions.items))})" if self.conditions else ""
        return f"{self.key}{conditions}"


@dataclass(frozen=True, slots=True)
class Tie(Generic[V]):
    """Two rules that could both take one request, neither of which is the more specific."""

    first: Rule[V]
    second: Rule[V]
    reason: str

    def __str__(self) -> str:
        places = [f" at {rule.place}" if rule.place else "" for rule in (self.first, self.second)]
        return (
            f"{self.first}{places[0]} and {self.second}{places[1]} tie: {self.reason}; "
            "make one of them more specific or remove it"
        )


class TiedRules(ValueError):
    """A set of rules has ties; `ties` holds all of them."""

    def __init__(self, ties: Sequence[Tie[Any]]) -> None:
        self.ties = tuple(ties)
        super().__init__("\n".join(map(str, self.ties)))
