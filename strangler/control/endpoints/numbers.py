# SPDX-License-Identifier: Apache-2.0
"""What is counted: for Prometheus, and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from strangler.config.diagnostics import did_you_mean
from strangler.control.endpoint import Endpoint, Parameter
from strangler.control.handler import Handler, Rejected
from strangler.observe import metrics
from strangler.observe.lanes import shortened

Told = Mapping[str, Any] | None


async def _metrics(asked: Handler) -> Told:
    form = metrics.content_type(asked.request.headers.get("Accept", ""))
    text = await asked.view.metrics(form)
    asked.set_header("Content-Type", form)
    asked.finish(text)
    return None


async def _numbers(asked: Handler) -> Told:
    seconds = int(asked.get_query_argument("seconds", "60"))
    route = asked.get_query_argument("route", None)
    told = asked.view.observed(seconds)
    for key, stage, overridden in _stages(asked):
        if shortened(key) in told["routes"]:
            told["routes"][shortened(key)] |= {"stage": stage, "overridden": overridden}
    if route is not None:
        _known(asked, route)
        told["routes"] = {route: told["routes"].get(shortened(route), {})}
        told["history"] = asked.view.history.read(shortened(route))
    else:
        told["history"] = asked.view.history.read()
    return {**told}


def _stages(asked: Handler) -> Iterator[tuple[str, str | None, bool]]:
    """Yield each route's key, the stage in force, and whether an override says so."""
    overrides = asked.view.overrides.overrides
    for route in asked.view.snapshot.routes:
        if route.action != "proxy":
            yield route.key, None, False
            continue
        stage = overrides.stage(route.key, route.stage)
        if route.cannot_be(stage):
            stage = route.stage
        yield route.key, str(stage), stage != route.stage


def _known(asked: Handler, route: str) -> None:
    """Refuse a key that is no route's."""
    keys = [one["key"] for one in asked.view.routes()]
    if route not in keys:
        hint = did_you_mean(route, keys)
        raise Rejected(404, f"no route {route[:200]}" + (f"; {hint}" if hint else ""), hint=hint)


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/-/numbers",
        answer=_numbers,
        doc="what each route's targets did in the last seconds, worst first, and the history",
        query=(
            Parameter(
                name="seconds",
                doc="how far back, 1 to 300; default 60",
                schema={"type": "integer", "minimum": 1, "maximum": 300},
            ),
            Parameter(name="route", doc="one route's key; its history instead of the site's"),
        ),
        also=(400, 404),
    ),
    Endpoint(
        method="GET",
        path="/-/metrics",
        answer=_metrics,
        doc="all counts, for Prometheus",
        content="text/plain",
    ),
)
