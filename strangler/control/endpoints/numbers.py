# SPDX-License-Identifier: Apache-2.0
"""What is counted: for Prometheus, and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from strangler.control.endpoint import Endpoint
from strangler.control.handler import Handler
from strangler.observe import metrics

Told = Mapping[str, Any] | None


async def _metrics(asked: Handler) -> Told:
    form = metrics.content_type(asked.request.headers.get("Accept", ""))
    text = await asked.view.metrics(form)
    asked.set_header("Content-Type", form)
    asked.finish(text)
    return None


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/metrics",
        answer=_metrics,
        doc="all counts, for Prometheus",
        content="text/plain",
    ),
)
