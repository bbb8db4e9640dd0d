# SPDX-License-Identifier: Apache-2.0
"""The upstream side: named groups of endpoints, and the connections to them.

`Upstream` picks an endpoint and knows how each is doing; a `Circuit` (its breaker) and `Gate`s say
whether there may be an attempt at all; `Endpoint` keeps idle connections and opens new ones;
`UpstreamConnection` carries one attempt at a time and reports to its *taker* (a fetch). Nothing
here knows readers or caches; what happens after a failure is the fetch's to decide.
"""

from .bearer import Bearer
from .circuit import Circuit, Shut
from .connection import Taker, UpstreamConnection
from .endpoint import Endpoint
from .places import Gate, Places
from .upstream import Upstream

__all__ = [
    "Bearer",
    "Circuit",
    "Endpoint",
    "Gate",
    "Places",
    "Shut",
    "Taker",
    "Upstream",
    "UpstreamConnection",
]
