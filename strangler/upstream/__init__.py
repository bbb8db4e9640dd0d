# SPDX-License-Identifier: Apache-2.0
"""The upstream side: named groups of endpoints, and the connections to them.

`Upstream` picks an endpoint and bounds how many attempts run at a time; `Endpoint` keeps idle
connections and opens new ones; `UpstreamConnection` carries one attempt at a time and reports to
its *taker* (a fetch). Nothing here knows routes, readers or caches; what happens after a failure
is the fetch's to decide.
"""

from .connection import Taker, UpstreamConnection
from .endpoint import Endpoint
from .upstream import Upstream

__all__ = ["Endpoint", "Taker", "Upstream", "UpstreamConnection"]
