# SPDX-License-Identifier: Apache-2.0
"""Text with holes for a path's parameters: `noticia:{slug}`, `/promo/{name}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_HOLE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*|\*\*)\}|([{}])")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text: `parts` alternate between bytes (literal) and str (a parameter's name)."""

    parts: tuple[bytes | str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Return the template that *text* describes; `{**}` is what a final `**` matched.

        Raises ValueError for a brace that neither opens nor closes a parameter.
        """
        parts: list[bytes | str] = []
        end = 0
        for hole in _HOLE.finditer(text):
            if hole[2]:
                raise ValueError(f"{hole[2]!r} stands alone: a parameter is written {{name}}")
            if hole.start() > end:
                parts.append(text[end : hole.start()].encode())
            parts.append(hole[1])
            end = hole.end()
        if end < len(text):
            parts.append(text[end:].encode())
        return cls(tuple(parts))

    @property
    def names(self) -> frozenset[str]:
        """The parameters that the template asks for."""
        return frozenset(part for part in self.parts if isinstance(part, str))

    def fill(self, params: Mapping[str, bytes]) -> bytes:
        """Return the text with each parameter's raw bytes in its hole; an absent one is empty."""
        return b"".join(
            part if isinstance(part, bytes) else params.get(part, b"") for part in self.parts
        )

    def __str__(self) -> str:
        return "".join(
            part.decode() if isinstance(part, bytes) else f"{{{part}}}" for part in self.parts
        )
