# SPDX-License-Identifier: Apache-2.0
"""How the site is: health, routes, configuration, workers; the reload; the page for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tornado import web

from strangler.control import page
from strangler.control.console.document import Asked
from strangler.control.endpoint import Endpoint
from strangler.control.handler import Handler

Told = Mapping[str, Any] | None


async def _page(asked: Handler) -> Told:
    health = await asked.view.health()
    asked.set_header("Content-Type", "text/html; charset=utf-8")
    counters = await asked.view.cache.counters()
    config, routes = asked.view.config(), asked.view.routes()
    state = await asked.view.console.document(Asked(routes=0))
    asked.finish(page.render(state, health, config, routes, counters["routes"]))
    return None


async def _health(asked: Handler) -> Told:
    document = await asked.view.health()
    asked.answer(document, 200 if document["status"] == "success" else 503)
    return None


def _probed(asked: Handler, passed: bool, why: str) -> Told:
    if passed:
        return {"status": 200, "output": why}
    asked.answer({"ok": False, "error": why, "errors": [], "status": 503}, 503)
    return None


async def _live(asked: Handler) -> Told:
    return _probed(asked, *asked.view.live())


async def _ready(asked: Handler) -> Told:
    await asked.view.settled()  # else a balancer would send readers elsewhere at each reload
    return _probed(asked, *asked.view.ready())


async def _routes(asked: Handler) -> Told:
    return {"generation": asked.view.config()["generation"], "routes": asked.view.routes()}


async def _config(asked: Handler) -> Told:
    return dict(asked.view.config())


async def _workers(asked: Handler) -> Told:
    return {"workers": asked.view.workers()}


async def _reload(asked: Handler) -> Told:
    given = asked.json_body()
    yes = given.get("yes", False)
    if not isinstance(yes, bool) or given.keys() - {"yes"}:
        raise web.HTTPError(400, reason='expected {} or {"yes": true}')
    before = asked.view.config()["generation"]
    outcome = await asked.view.reload(yes=yes)
    after = outcome.get("generation") if outcome["ok"] else "rejected"
    await asked.view.audit.add(asked.entry("reload", before=before, after=after))
    asked.answer(outcome, 200 if outcome["ok"] else outcome["status"])
    return None


ROWS: Final = (
    Endpoint(
        method="GET",
        path="/plain",
        answer=_page,
        doc="this site's state for people whose browser runs no scripts; the console is at /",
        content="text/html",
    ),
    Endpoint(
        method="GET",
        path="/-/healthcheck",
        answer=_health,
        doc="every upstream, the configuration and the workers; 503 where one is bad",
        also=(503,),
    ),
    Endpoint(
        method="GET",
        path="/-/live",
        answer=_live,
        doc="200 while the edge serves at all",
        access="open",
        also=(503,),
    ),
    Endpoint(
        method="GET",
        path="/-/ready",
        answer=_ready,
        doc="200 while every worker serves the configuration in force and none drains",
        access="open",
        also=(503,),
    ),
    Endpoint(method="GET", path="/-/routes", answer=_routes, doc="the effective routes"),
    Endpoint(
        method="GET",
        path="/-/config",
        answer=_config,
        doc="generation, hash and files; the errors of the last edit if it was rejected",
    ),
    Endpoint(
        method="GET",
        path="/-/workers",
        answer=_workers,
        doc="what each worker told last",
    ),
    Endpoint(
        method="POST",
        path="/-/reload",
        answer=_reload,
        doc='read the configuration anew; {"yes": true} confirms a loss of many routes',
        access="operator",
        body={
            "type": "object",
            "properties": {"yes": {"type": "boolean"}},
            "additionalProperties": False,
        },
        also=(422,),
    ),
)
