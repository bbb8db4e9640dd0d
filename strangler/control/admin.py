# SPDX-License-Identifier: Apache-2.0
"""The admin listener: how the site is, where each route goes, what the last edit was refused for.

It answers only names that are its own: a page somewhere on the web that resolves its own name to
127.0.0.1 (DNS rebinding) gets 421. What changes something also refuses requests that come from
another site's page.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

from tornado import web

from strangler.control import page

_log = logging.getLogger("strangler.errors")

MOST_BYTES = 64 << 10
"""The longest request body, in bytes."""
ENDPOINTS = {
    "/": "this site's state, for people",
    "/-/": "this list",
    "/-/healthcheck": "every upstream, the configuration and the workers; 503 where one is bad",
    "/-/live": "200 while the edge serves at all",
    "/-/ready": "200 while every worker serves the configuration in force and none drains",
    "/-/routes": "the effective routes",
    "/-/config": "generation, hash and files; the errors of the last edit if it was rejected",
    "/-/workers": "what each worker told last",
    "POST /-/reload": 'read the configuration anew; {"yes": true} confirms a loss of many routes',
}


class View(Protocol):
    """What the admin listener shows, and the one thing that it can do."""

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


def application(view: View) -> web.Application:
    """Make the Tornado application of the admin listener."""
    given: dict[str, Any] = {"view": view}
    return web.Application(
        [
            (r"/", _Page, given),
            (r"/-/?", _List, given),
            (r"/-/healthcheck", _Health, given),
            (r"/-/(live|ready)", _Probe, given),
            (r"/-/routes", _Routes, given),
            (r"/-/config", _Config, given),
            (r"/-/workers", _Workers, given),
            (r"/-/reload", _Reload, given),
        ],
        default_handler_class=_NotFound,
        default_handler_args=given,
        log_function=_log_failure,
    )


def is_own_name(host: str) -> bool:
    """Tell whether a Host field names this listener: loopback, any IP address, or this machine.

    An address cannot be rebound; a name can, so only names that we know are ours.
    STRANGLER_ADMIN_HOSTS (comma list) adds names.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        pass
    more = os.environ.get("STRANGLER_ADMIN_HOSTS", "").lower().split(",")
    return bool(name) and name in {socket.gethostname().lower(), *map(str.strip, more)}


@web.stream_request_body
class _Base(web.RequestHandler):
    """What all answers share: one error shape, no caching, names and sizes checked."""

    view: View

    def initialize(self, view: View) -> None:
        self.view = view
        self.body = b""

    def data_received(self, chunk: bytes) -> None:
        self.body += chunk

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        )
        self.set_header("Referrer-Policy", "no-referrer")

    def prepare(self) -> None:
        host = self.request.headers.get("Host")
        if host is not None and not is_own_name(host):
            raise web.HTTPError(421, reason=f"{host[:100]!r} is not a name of this listener")
        self._refuse_large_bodies()
        if self.request.method not in ("GET", "HEAD", "OPTIONS"):
            self._refuse_other_sites(host or "")

    def _refuse_large_bodies(self) -> None:
        headers = self.request.headers
        if "Transfer-Encoding" in headers:
            raise web.HTTPError(411)
        length = headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BYTES:
            raise web.HTTPError(413, reason=f"expected a body of at most {MOST_BYTES} bytes")

    def _refuse_other_sites(self, host: str) -> None:
        headers = self.request.headers
        origin = headers.get("Origin")
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") or (
            origin is not None and urlsplit(origin).netloc != host
        ):
            raise web.HTTPError(403, reason="a request from another site's page")
        if headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise web.HTTPError(415, reason="expected Content-Type: application/json")

    async def head(self, *args: str) -> None:
        """Answer HEAD as GET; Tornado leaves the body out."""
        if type(self).get is web.RequestHandler.get:
            raise web.HTTPError(405)
        await self.get(*args)  # type: ignore[misc]

    def answer(self, document: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        problem = kwargs.get("exc_info", (None, None, None))[1]
        reason = self._reason
        errors: list[Any] = []
        if isinstance(problem, web.HTTPError):
            reason = problem.reason or reason
        elif problem is not None:
            errors = [type(problem).__name__]
        # What a client sent may stand in the reason of the document, never in the status line.
        self.set_status(status_code)
        self.answer(
            {"ok": False, "error": reason, "errors": errors, "status": status_code}, status_code
        )


class _NotFound(_Base):
    def prepare(self) -> None:
        super().prepare()
        raise web.HTTPError(404, reason=f"no such page; see {', '.join(list(ENDPOINTS)[1:3])}")


class _List(_Base):
    async def get(self) -> None:
        self.answer({"ok": True, "endpoints": ENDPOINTS})


class _Health(_Base):
    async def get(self) -> None:
        document = await self.view.health()
        self.answer(document, 200 if document["status"] == "success" else 503)


class _Probe(_Base):
    async def get(self, what: str) -> None:
        passed, why = self.view.live() if what == "live" else self.view.ready()
        if passed:
            self.answer({"ok": True, "status": 200, "output": why})
        else:
            self.answer({"ok": False, "error": why, "errors": [], "status": 503}, 503)


class _Routes(_Base):
    async def get(self) -> None:
        config = self.view.config()
        self.answer({"ok": True, "generation": config["generation"], "routes": self.view.routes()})


class _Config(_Base):
    async def get(self) -> None:
        self.answer({"ok": True, **self.view.config()})


class _Workers(_Base):
    async def get(self) -> None:
        self.answer({"ok": True, "workers": self.view.workers()})


class _Reload(_Base):
    async def post(self) -> None:
        try:
            asked = json.loads(self.body or b"{}")
            yes = asked.get("yes", False)
            if not isinstance(yes, bool) or asked.keys() - {"yes"}:
                raise ValueError
        except (ValueError, AttributeError):
            raise web.HTTPError(400, reason='expected {} or {"yes": true}') from None
        outcome = await self.view.reload(yes=yes)
        self.answer(outcome, 200 if outcome["ok"] else outcome["status"])


class _Page(_Base):
    async def get(self) -> None:
        health = await self.view.health()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page.render(health, self.view.config(), self.view.routes()))


def _log_failure(handler: web.RequestHandler) -> None:
    """Log what failed here; Tornado's own line for every request would drown it."""
    if handler.get_status() >= 500 and handler.request.path not in (
        "/-/healthcheck",
        "/-/live",
        "/-/ready",
    ):
        _log.error("admin.failed %s %s", handler.get_status(), handler.request.path)
