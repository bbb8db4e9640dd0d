# SPDX-License-Identifier: Apache-2.0
"""The page about all metrics, written from their table.

`python -m strangler.observe.reference FILE` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from strangler.observe.counters import COUNTERS, FAMILIES, Counter

_INTRO: Final = """\
# Metrics

`GET /-/metrics` on the admin listener, in Prometheus' text format (or OpenMetrics, where it is
asked for), added up over all workers. This page is generated from the table in
`strangler/observe/counters.py`, and a test compares the two; `make docs` rewrites it.

- A label is a name that routes.yaml gives (a route's key, an upstream), a process, or a word of a
  closed set. Never a path, a host or a client.
- An exchange is counted once, when it ends, for the target that it was *decided* for, whoever
  answered in the end: `legacy`, `service`, or `edge` for a redirect, a page or gone.
- Workers count in memory that outlives them: a worker that dies or is replaced takes nothing
  along, and `strangler upgrade` goes on from the same numbers. A restart begins at 0.
- Of a counter with many label sets only those are written that are not 0.
- Shadows have metrics of their own and are in no other.
- Hits that the edge tier answers without a decision are added up once a second.

A dashboard for Grafana and alert rules are in `deploy/`.
"""

_TITLES: Final = {
    "arm": "Exchanges, by route and target",
    "shadow": "Shadows, by route",
    "refused": "Requests without a route",
    "upstream": "Upstreams",
    "tier": "The cache's tiers",
    "tracing": "Traces",
    "": "Configuration and processes",
}


def markdown() -> str:
    """Return the page."""
    parts = [_INTRO]
    for family, title in _TITLES.items():
        counters = [one for one in COUNTERS if one.family == family]
        if counters:
            parts.append(
                f"\n## {title}\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n"
            )
            parts += [_line(one) for one in counters]
    return "".join(parts)


def _line(one: Counter) -> str:
    labels = [f"`{name}`" for name in FAMILIES.get(one.family, ())]
    for name, values in one.labels.items():
        listed = f": {', '.join(values)}" if values else ""
        labels.append(f"`{name}`{listed}")
    return f"| `{one.name}` | {one.kind} | {'; '.join(labels) or '-'} | {one.doc} |\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
