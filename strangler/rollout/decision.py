# SPDX-License-Identifier: Apache-2.0
"""The decision: who answers an exchange, and why. Made once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .stage import Stage, Word

Target = Literal["legacy", "service"]
Reason = Literal[
    "legacy", "shadow", "canary_in", "canary_out", "forced", "page_arm", "live", "sealed", "retired"
]


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answers, why, and by which bucket (None: the stage alone decided).

    The reason is a word for logs and metrics: the stage's own, or of a canary `canary_in` and
    `canary_out`, or `forced` for a tester who asked for one arm, or `page_arm` for an asset that
    goes with its page; `override:` before it where an operator has chosen the stage.
    """

    target: Target
    reason: Reason | str
    bucket: int | None = None


_BY_STAGE: Final[dict[Word, Decision]] = {
    "legacy": Decision("legacy", "legacy"),
    "shadow": Decision("legacy", "shadow"),
    "live": Decision("service", "live"),
    "sealed": Decision("service", "sealed"),
    "retired": Decision("service", "retired"),
}
FORCED: Final[dict[Target, Decision]] = {
    "legacy": Decision("legacy", "forced"),
    "service": Decision("service", "forced"),
}
"""What is decided for a tester, by the arm that was asked for."""
PAGE_ARM: Final[dict[Target, Decision]] = {
    "legacy": Decision("legacy", "page_arm"),
    "service": Decision("service", "page_arm"),
}
"""What is decided for a fingerprinted asset, by the arm of the page that names it."""


def decide(stage: Stage, bucket: int | None) -> Decision:
    """Decide for the reader in `bucket`; only a canary looks at it, and needs one (ValueError).

    `stage` is the effective one (override, else file).
    """
    decided = _BY_STAGE.get(stage.word)
    if decided is not None:
        return decided
    if bucket is None:
        raise ValueError("a canary decides by buckets")
    if bucket < stage.share:
        return Decision("service", "canary_in", bucket)
    return Decision("legacy", "canary_out", bucket)


def overridden(decision: Decision) -> Decision:
    """Return *decision* as it is told where an override says the stage."""
    return Decision(decision.target, f"override:{decision.reason}", decision.bucket)


def is_shadowed(share: int, bucket: int) -> bool:
    """Tell whether a safe request is copied to the other side.

    `share` is in hundredths of a percent (`Stage.sample` at a shadow stage); `bucket` is the
    request's own, by `shadow_salt`.
    """
    return bucket < share
