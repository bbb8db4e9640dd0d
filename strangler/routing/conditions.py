# SPDX-License-Identifier: Apache-2.0
"""A route's match conditions: headers, cookies and query parameters by regular expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes

from .head import Head
from .pattern import Malformed

Kind = Literal["header", "cookie", "query"]

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PLAIN = re.compile(r"(?:[\w ,:;=@/%<>\"'~-]|\\[.+*?$^|(){}\[\]\\-])+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: the value of `name` has to match `pattern` as a whole.

    Of a header or parameter that comes more than once, the first counts. What is absent never
    matches; `.*` says that it has to be there.
    """

    kind: Kind
    name: str
    pattern: str
    _name: bytes = field(init=False, repr=False, compare=False)
    _regex: re.Pattern[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind != "query" and not _TOKEN.fullmatch(self.name):
            raise Malformed(f"the name of a {self.kind}", repr(self.name))
        try:
            regex = re.compile(self.pattern.encode(), re.DOTALL)
        except re.error as error:
            raise Malformed(
                "a regular expression", repr(self.pattern), error.pos or 0, error.msg
            ) from None
        if self.kind == "header":
            object.__setattr__(self, "name", self.name.lower())
        object.__setattr__(self, "_name", self.name.encode())
        object.__setattr__(self, "_regex", regex)

    def value(self, head: Head) -> bytes | None:
        """The value that counts, or None if there is none."""
        if self.kind == "header":
            return head.get(self._name)
        if self.kind == "cookie":
            return head.cookie(self._name)
        return _parameter(head.query, self._name)

    def holds(self, head: Head) -> bool:
        value = self.value(head)
        return value is not None and self._regex.fullmatch(value) is not None

    def choices(self) -> frozenset[str] | None:
        """The values that match, if they are written out as `a|b|c`; else None."""
        choices = re.split(r"(?<!\\)\|", self.pattern)
        if not all(_PLAIN.fullmatch(choice) for choice in choices):
            return None
        return frozenset(re.sub(r"\\(.)", r"\1", choice) for choice in choices)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.pattern}"


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a route, all of which have to hold."""

    items: tuple[Condition, ...] = ()

    @classmethod
    def of(
        cls,
        header: Mapping[str, str] | None = None,
        cookie: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Conditions:
        """Make conditions of the mappings of a route's `match`; raise Malformed."""
        kinds: tuple[tuple[Kind, Mapping[str, str] | None], ...] = (
            ("header", header),
            ("cookie", cookie),
            ("query", query),
        )
        items = [
            Condition(kind, name, pattern)
            for kind, mapping in kinds
            for name, pattern in (mapping or {}).items()
        ]
        return cls(tuple(sorted(items, key=lambda item: (item.kind, item.name, item.pattern))))

    def __bool__(self) -> bool:
        return bool(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def holds(self, head: Head) -> bool:
        return all(item.holds(head) for item in self.items)

    def failing(self, head: Head) -> Condition | None:
        """The first condition that doesn't hold, or None."""
        return next((item for item in self.items if not item.holds(head)), None)

    def excludes(self, other: Conditions) -> bool:
        """Tell whether no request can meet both, as far as their text proves it.

        It is proved where both list the allowed values of one thing (`ios|android`, `web`) and
        have none in common.
        """
        theirs = {(item.kind, item.name): item.choices() for item in other.items}
        for item in self.items:
            mine, his = item.choices(), theirs.get((item.kind, item.name))
            if mine is not None and his is not None and not mine & his:
                return True
        return False


def _parameter(query: bytes, name: bytes) -> bytes | None:
    """The first value of a parameter, decoded as a form's (`+` is a space)."""
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name or unquote_to_bytes(key.replace(b"+", b" ")) == name:
            return unquote_to_bytes(value.replace(b"+", b" "))
    return None
