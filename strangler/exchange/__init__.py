# SPDX-License-Identifier: Apache-2.0
"""The two halves of a request's way, and where the rooms meet.

`Edge` is the engine's application: it matches a request against the snapshot's table, decides who
answers, and starts an `Exchange`, the client half. An exchange gets its response from a `Fetch`,
the upstream half: attempts on endpoints until one gives a response or none is left. A fetch
doesn't know whom it works for, so that a refresh, a shadow or a replay can be one without a
reader.

The way goes in one direction: match → decide → fetch (attempt → retry) → fall back → deliver.
"""

from .edge import Edge

__all__ = ["Edge"]
