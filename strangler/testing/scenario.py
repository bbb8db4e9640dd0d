# SPDX-License-Identifier: Apache-2.0
"""A whole scene in a few lines: scripted upstreams, a real edge, a raw client.

with scenario("what is answered when materia says no") as s:
    legacy = s.upstream("legacy").reply(200, "from django")
    materia = s.upstream("materia").reply(503)
    s.proxy(routes={"/**": "legacy", "/feed.xml": "materia"})
    s.client.get("/feed.xml").expect(200, body="from django")
    materia.expect_requests(1)
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from strangler.testing.client import RawClient
from strangler.testing.edge import Edge, configuration
from strangler.testing.origin import Upstream


class Scenario:
    """What one test brings up, taken down in reverse order when it ends.

    Attributes:
        name: what it is about, shown when it fails.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stack = contextlib.ExitStack()
        self._upstreams: dict[str, Upstream] = {}
        self._options: dict[str, dict[str, Any]] = {}
        self._edge: Edge | None = None
        self._client: RawClient | None = None

    def upstream(self, name: str, *, options: Mapping[str, Any] | None = None) -> Upstream:
        """Start a scripted upstream; *options* are its further keys in routes.yaml."""
        made = self._stack.enter_context(Upstream())
        self._upstreams[name] = made
        self._options[name] = dict(options or {})
        return made

    def proxy(
        self,
        routes: Mapping[str, Any] | None = None,
        *,
        workers: int = 1,
        upstreams: Mapping[str, Any] | None = None,
        edge: Mapping[str, Any] | None = None,
        **sections: Any,
    ) -> Edge:
        """Start the edge in front of the upstreams made so far.

        Args:
            routes, sections: as for `configuration`; limits.drain is 1s unless given.
            upstreams: further upstreams, as in the file.
            edge: further options of Edge.
        """
        blocks: dict[str, Any] = {
            name: {"url": made, **self._options[name]} for name, made in self._upstreams.items()
        }
        sections["limits"] = {"drain": "1s", **sections.get("limits", {})}
        text = configuration(routes, upstreams={**blocks, **(upstreams or {})}, **sections)
        self._edge = self._stack.enter_context(Edge(text, workers=workers, **(edge or {})))
        return self._edge

    @property
    def edge(self) -> Edge:
        """Return the edge, started in front of `legacy` for everything if it was not yet."""
        return self._edge or self.proxy()

    @property
    def client(self) -> RawClient:
        """Return one kept connection to the edge."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self, **options: Any) -> RawClient:
        """Return a new connection to the edge, closed when the scenario ends."""
        return self._stack.enter_context(self.edge.client(**options))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"in scenario: {self.name}")
            if self._edge is not None:
                error.add_note("the edge's log:\n" + self._edge.log[-4000:])
        self._stack.__exit__(kind, error, trace)


def scenario(name: str) -> Scenario:
    """Return a new scenario called *name*, to be used in a `with`."""
    return Scenario(name)
