# SPDX-License-Identifier: Apache-2.0
"""Which route takes a request: keys, conditions, the compiled table, and why."""

from .conditions import Condition, Conditions
from .explain import Candidate, Explanation
from .head import Head
from .pattern import REST, Key, Malformed, Pattern, Segment, parse_key, parse_path
from .reading import AmbiguousPath
from .table import Match, Rule, Table, Tie, TiedRules, compile_table

__all__ = [
    "REST",
    "AmbiguousPath",
    "Candidate",
    "Condition",
    "Conditions",
    "Explanation",
    "Head",
    "Key",
    "Malformed",
    "Match",
    "Pattern",
    "Rule",
    "Segment",
    "Table",
    "Tie",
    "TiedRules",
    "compile_table",
    "parse_key",
    "parse_path",
]
