# SPDX-License-Identifier: Apache-2.0
"""Who answers: a route's stage, a reader's bucket, and the decision that follows from them.

A reader's *bucket* is 0-9999, a stable hash of the sticky key and a salt. `canary N%` gives the
service to the buckets below N x 100: raising N to M moves the buckets between and no others, and
nobody back. The salt is the route's key, or its group's name, so that the routes of a journey
share their readers; shadow sampling has a salt of its own, so that the two rates are independent.

Nothing here reads a clock, asks a store or draws a random number: who has no sticky key yet is
given one by the caller.
"""

from .canary import Canary, Gates, parse_gates, parse_steps
from .decision import Decision, Reason, Target, decide, is_shadowed
from .override import Override, Overrides
from .stage import LIFE, Malformed, Stage, Word, parse_percent, parse_stage
from .sticky import (
    BUCKETS,
    READER_COOKIE,
    By,
    Head,
    bucket,
    canary_salt,
    is_reader,
    parse_by,
    shadow_salt,
    sticky,
)

__all__ = [
    "BUCKETS",
    "LIFE",
    "READER_COOKIE",
    "By",
    "Canary",
    "Decision",
    "Gates",
    "Head",
    "Malformed",
    "Override",
    "Overrides",
    "Reason",
    "Stage",
    "Target",
    "Word",
    "bucket",
    "canary_salt",
    "decide",
    "is_reader",
    "is_shadowed",
    "parse_by",
    "parse_gates",
    "parse_percent",
    "parse_stage",
    "parse_steps",
    "shadow_salt",
    "sticky",
]
