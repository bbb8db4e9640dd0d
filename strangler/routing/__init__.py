# SPDX-License-Identifier: Apache-2.0
"""Which route takes a request: keys, conditions, the compiled table, and why.

**How a route wins.** A rule fits if its path, host, method and conditions do. Of those that fit
the most specific wins, in whatever order they were written: paths are compared segment by segment
from the left (literal, literal with captures, `{name}`, `**`), then an exact host over
`*.example.com` over none, a named method over none, more conditions over fewer. HEAD and OPTIONS
follow GET where no rule of the same path and host names them. Two rules that one request could fit
on equal terms are a tie, and a tie is an error.

**How a path is read.** Routes are matched on the one reading that an upstream has of the raw
bytes; what is forwarded is always the raw bytes.

- Escapes are decoded once, in either hex case: `/%62usca` is `/busca`.
- `%2F` is data within its segment: `{name}` and `**` take it, no literal does. A backslash, `%00`,
  a `%` without two hex digits, `;params`, case and a slash at the end are data too.
- Empty segments are kept. No literal and no `{name}` fits one; `**` does.
- A second reading is matched where an upstream may have one. With encoded slashes or backslashes
  read as slashes: if its rule is more specific, the path is refused (AmbiguousPath, 400), so that
  an encoding can't slip past a route. With dot segments (`.`, `..`, `%2e`) resolved, also after
  slashes were decoded or merged: if its rule is another one, the path is refused.
"""

from .conditions import Condition, Conditions
from .explain import Candidate, Explanation
from .head import Head
from .pattern import REST, Key, Malformed, Pattern, Segment, parse_key, parse_path
from .reading import AmbiguousPath
from .rewrite import Location, Rewrite
from .rule import Rule, Tie, TiedRules
from .table import Match, Table, compile_table

__all__ = [
    "REST",
    "AmbiguousPath",
    "Candidate",
    "Condition",
    "Conditions",
    "Explanation",
    "Head",
    "Key",
    "Location",
    "Malformed",
    "Match",
    "Pattern",
    "Rewrite",
    "Rule",
    "Segment",
    "Table",
    "Tie",
    "TiedRules",
    "compile_table",
    "parse_key",
    "parse_path",
]
