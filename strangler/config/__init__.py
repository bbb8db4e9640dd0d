# SPDX-License-Identifier: Apache-2.0
"""From the bytes of routes.yaml to an immutable `Snapshot`, or to a list of diagnostics.

The way of a file: `document` reads strict YAML into nodes that know their place; `schema` is one
table of options, from which validation, the JSON Schema and the reference page come; `build`
turns checked values into the dataclasses of `snapshot` and looks at what one option alone cannot
tell (names that must exist, ties, ports that are our own). `load` does it all at once and raises
`ConfigRejected` with every problem found, never only the first. `watch` does it again whenever
the files change. This is the one room where the pure rooms' policies meet; it never touches
traffic.
"""

from strangler.config.diagnostics import CODES, ConfigRejected, Diagnostic, did_you_mean
from strangler.config.load import (
    accept,
    bundle,
    gather,
    guard_shrink,
    load,
    load_bundle,
    write_bundle,
)
from strangler.config.snapshot import (
    Endpoint,
    Health,
    Limits,
    Listen,
    Place,
    Route,
    RouteTest,
    Site,
    Snapshot,
    Timeouts,
    Upstream,
)

__all__ = [
    "CODES",
    "ConfigRejected",
    "Diagnostic",
    "Endpoint",
    "Health",
    "Limits",
    "Listen",
    "Place",
    "Route",
    "RouteTest",
    "Site",
    "Snapshot",
    "Timeouts",
    "Upstream",
    "accept",
    "bundle",
    "did_you_mean",
    "gather",
    "guard_shrink",
    "load",
    "load_bundle",
    "write_bundle",
]
