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
