# SPDX-License-Identifier: Apache-2.0
"""The admin listener: how the site is, where each route goes, what the last edit was refused for.

It answers only names that are its own: a page somewhere on the web that resolves its own name to
127.0.0.1 (DNS rebinding) gets 421. What changes something also refuses requests that come from
another site's page.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from tornado import web

from strangler.control import page
from strangler.control.desk import Desk
from strangler.control.handler import MOST_BYTES, Handler, Rejected, is_own_name
from strangler.control.tokens import Tokens

__all__ = ["ENDPOINTS", "MOST_BYTES", "View", "application", "is_own_name"]

_log = logging.getLogger("strangler.errors")

ENDPOINTS = {
    "/": "this site's state, for people",
    "/-/": "this list",
    "/-/healthcheck": "every upstream, the configuration and the workers; 503 where one is bad",
    "/-/live": "200 while the edge serves at all",
    "/-/ready": "200 while every worker serves the configuration in force and none drains",
    "/-/routes": "the effective routes",
    "/-/config": "generation, hash and files; the errors of the last edit if it was rejected",
    "/-/workers": "what each worker told last",
    "/-/cache": "?url=URL&header=NAME: VALUE: what the tiers hold of it, or why nothing",
    "/-/cache/counters": "what became of each route's requests at the cache",
    "POST /-/purge": (
        'one of {"url": …}, {"prefix": …}, {"route": …}, {"tag": …}, {"all": true}; '
        'with {"soft": true} it becomes stale, with {"refresh": true} it is fetched anew too'
    ),
    "POST /-/reload": 'read the configuration anew; {"yes": true} confirms a loss of many routes',
}


class View(Protocol):
    """What the admin listener shows, and what it can do."""

    @property
    def cache(self) -> Desk:
        """Return who sees to the workers' caches."""

    async def health(self) -> dict[str, Any]:
        """Return the health check's document."""

    def live(self) -> tuple[bool, str]:
        """Tell whether the edge serves at all, and in words why."""

    def ready(self) -> tuple[bool, str]:
        """Tell whether new readers should be sent here, and in words why."""

    def routes(self) -> list[dict[str, Any]]:
        """Return the effective routes."""

    def config(self) -> dict[str, Any]:
        """Return what is known of the configuration."""

    def workers(self) -> list[dict[str, Any]]:
        """Return what each worker told last."""

    async def reload(self, *, yes: bool) -> dict[str, Any]:
        """Read the configuration anew; return the outcome."""


def application(view: View, tokens: Tokens) -> web.Application:
    """Make the Tornado application of the admin listener."""
    given: dict[str, Any] = {"view": view, "tokens": tokens}
    return web.Application(
        [
            (r"/", _Page, given),
            (r"/-/?", _List, given),
            (r"/-/healthcheck", _Health, given),
            (r"/-/(live|ready)", _Probe, given),
            (r"/-/routes", _Routes, given),
            (r"/-/config", _Config, given),
            (r"/-/workers", _Workers, given),
            (r"/-/cache", _Cache, given),
            (r"/-/cache/counters", _Counters, given),
            (r"/-/purge", _Purge, given),
            (r"/-/reload", _Reload, given),
        ],
        default_handler_class=_NotFound,
        default_handler_args=given,
        log_function=_log_failure,
    )


class _Viewing(Handler):
    """A handler that shows or does something of the site."""

    view: View


class _NotFound(_Viewing):
    def prepare(self) -> None:
        super().prepare()
        raise web.HTTPError(404, reason=f"no such page; see {', '.join(list(ENDPOINTS)[1:3])}")


class _List(_Viewing):
    async def get(self) -> None:
        self.answer({"ok": True, "endpoints": ENDPOINTS})


class _Health(_Viewing):
    async def get(self) -> None:
        document = await self.view.health()
        self.answer(document, 200 if document["status"] == "success" else 503)


class _Probe(_Viewing):
    async def get(self, what: str) -> None:
        passed, why = self.view.live() if what == "live" else self.view.ready()
        if passed:
            self.answer({"ok": True, "status": 200, "output": why})
        else:
            self.answer({"ok": False, "error": why, "errors": [], "status": 503}, 503)


class _Routes(_Viewing):
    async def get(self) -> None:
        config = self.view.config()
        self.answer({"ok": True, "generation": config["generation"], "routes": self.view.routes()})


class _Config(_Viewing):
    async def get(self) -> None:
        self.answer({"ok": True, **self.view.config()})


class _Workers(_Viewing):
    async def get(self) -> None:
        self.answer({"ok": True, "workers": self.view.workers()})


class _Reload(_Viewing):
    async def post(self) -> None:
        asked = self.json_body()
        yes = asked.get("yes", False)
        if not isinstance(yes, bool) or asked.keys() - {"yes"}:
            raise web.HTTPError(400, reason='expected {} or {"yes": true}')
        outcome = await self.view.reload(yes=yes)
        self.answer(outcome, 200 if outcome["ok"] else outcome["status"])


class _Cache(_Viewing):
    async def get(self) -> None:
        url = self.get_query_argument("url", "")
        if not url:
            self.answer({"ok": True, **await self.view.cache.counters()})
            return
        fields = []
        for line in self.get_query_arguments("header")[:100]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Rejected(400, f"header: expected NAME: VALUE, got {line[:100]}")
            fields.append((name.strip(), value.strip()))
        self.answer({"ok": True, **await self.view.cache.show(url, fields)})


class _Counters(_Viewing):
    async def get(self) -> None:
        self.answer({"ok": True, **await self.view.cache.counters()})


class _Purge(_Viewing):
    async def post(self) -> None:
        self.answer({"ok": True, **await self.view.cache.purge(self.json_body())})


class _Page(_Viewing):
    async def get(self) -> None:
        health = await self.view.health()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        counters = await self.view.cache.counters()
        config, routes = self.view.config(), self.view.routes()
        self.finish(page.render(health, config, routes, counters["routes"]))


def _log_failure(handler: web.RequestHandler) -> None:
    """Log what failed here; Tornado's own line for every request would drown it."""
    if handler.get_status() >= 500 and handler.request.path not in (
        "/-/healthcheck",
        "/-/live",
        "/-/ready",
    ):
        _log.error("admin.failed %s %s", handler.get_status(), handler.request.path)
