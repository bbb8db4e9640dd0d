# SPDX-License-Identifier: Apache-2.0
"""A public kit for tests that put a real edge between scripted upstreams and a raw client.

Everything is a real socket and a real process; nothing is mocked. The parts:

- `RawUpstream` records every byte of every connection and answers with raw bytes, cuts, resets,
  trickles and waits; `Upstream` is its friendlier form (`reply(200, "v1")`).
- `Edge` runs the real `strangler serve` on free ports with a routes.yaml of the test's own, and
  fails the test on a traceback in its log. `configuration(...)` writes such a file.
- `RawClient` sends bytes as they are and reads answers with a strict parser of its own, which
  tells a violation of RFC 9112 from a cut (`Truncated`) and from a plain end (`Closed`).
- `TornadoUpstream` serves a real Tornado application, to compare direct and proxied.
- `scenario(...)` holds the three together; `Vector` and `judge` are for tables of hostile input.

    with scenario("a connection is kept") as s:
        up = s.upstream("legacy").reply(200, "v1").then_reply(503)
        s.client.get("/a").expect(200, body="v1")
        s.client.get("/a").expect(503)
        up.expect_requests(2)

The kit never imports the edge: it sees what any client and any origin would see. Waits are for
events; where a test needs an order, use a `threading.Event` with `wait(event)` in the script.
"""

from strangler.testing.application import TornadoUpstream
from strangler.testing.certificates import Certificate, certificate
from strangler.testing.client import RawClient, all_taken
from strangler.testing.edge import Edge, configuration, tracebacks, until
from strangler.testing.messages import (
    Closed,
    Message,
    Reader,
    Request,
    Response,
    Truncated,
    Violation,
    build,
    chunked,
)
from strangler.testing.origin import (
    Answer,
    Connection,
    Gone,
    RawUpstream,
    Step,
    Upstream,
    black_hole,
    close,
    echo,
    endless,
    half_close,
    hang,
    pause,
    reset,
    respond,
    trickle,
    unused_port,
    wait,
)
from strangler.testing.scenario import Scenario, scenario
from strangler.testing.vectors import Outcome, Vector, judge

__all__ = [
    "Answer",
    "Certificate",
    "Closed",
    "Connection",
    "Edge",
    "Gone",
    "Message",
    "Outcome",
    "RawClient",
    "RawUpstream",
    "Reader",
    "Request",
    "Response",
    "Scenario",
    "Step",
    "TornadoUpstream",
    "Truncated",
    "Upstream",
    "Vector",
    "Violation",
    "all_taken",
    "black_hole",
    "build",
    "certificate",
    "chunked",
    "close",
    "configuration",
    "echo",
    "endless",
    "half_close",
    "hang",
    "judge",
    "pause",
    "reset",
    "respond",
    "scenario",
    "tracebacks",
    "trickle",
    "until",
    "unused_port",
    "wait",
]
