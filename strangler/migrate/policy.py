# SPDX-License-Identifier: Apache-2.0
"""What a route says about copies and their comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """How a route's two sides are compared.

    share: how many safe requests of a canary or live route are copied to the other side, in
    hundredths of a percent (0-10000); a shadow stage says it itself · ignore: differences that
    are meant, each as the ledger names it, or `text:` and a regular expression · body: bytes of
    a body that are compared by what they mean; of longer ones only length and digest count.
    """

    share: int = 0
    ignore: frozenset[str] = frozenset()
    body: int = 256 << 10
