# SPDX-License-Identifier: Apache-2.0
"""The admin listener: how the site is, and every change that is made by hand.

It answers only names that are its own: a page somewhere on the web that resolves its own name to
127.0.0.1 (DNS rebinding) gets 421. What changes something also refuses requests that come from
another site's page. What there is to ask for stands in `endpoints`, one row each.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from tornado import web

from strangler import __version__
from strangler.config.snapshot import Snapshot
from strangler.control import openapi
from strangler.control.audit import Audit
from strangler.control.console import pages
from strangler.control.console.board import Board
from strangler.control.desk import Desk
from strangler.control.endpoint import Endpoint, not_found, routed
from strangler.control.endpoints import ENDPOINTS
from strangler.control.handler import MOST_BYTES, Handler, is_own_name
from strangler.control.overrides import Book
from strangler.control.parity import Parity
from strangler.control.promoting import Promoting
from strangler.control.rollout import Rollout
from strangler.control.sessions import Sessions
from strangler.control.tokens import Tokens
from strangler.control.watch import Watch
from strangler.observe.history import History

__all__ = ["MOST_BYTES", "View", "application", "is_own_name"]

_log = logging.getLogger("strangler.errors")


class View(Protocol):
    """What the admin listener shows, and what it can do."""

    @property
    def cache(self) -> Desk:
        """Return who sees to the workers' caches."""

    @property
    def parity(self) -> Parity:
        """Return what became of the workers' copies."""

    @property
    def overrides(self) -> Book:
        """Return what operators have chosen."""

    @property
    def rollout(self) -> Rollout:
        """Return where every route is on its way."""

    @property
    def promoting(self) -> Promoting:
        """Return the verbs by which people move one."""

    @property
    def arm_key(self) -> bytes:
        """Return what testers' cookies are signed with; empty: nothing is signed."""

    @property
    def audit(self) -> Audit:
        """Return the log of all changes."""

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""

    @property
    def console(self) -> Board:
        """Return what the console's document comes from."""

    async def health(self) -> dict[str, Any]:
        """Return the health check's document."""

    def live(self) -> tuple[bool, str]:
        """Tell whether the edge serves at all, and in words why."""

    async def settled(self) -> None:
        """Wait until a change that has just been made is in force, or has failed to be."""

    def ready(self) -> tuple[bool, str]:
        """Tell whether new readers should be sent here, and in words why."""

    def routes(self) -> list[dict[str, Any]]:
        """Return the effective routes."""

    def config(self) -> dict[str, Any]:
        """Return what is known of the configuration."""

    def workers(self) -> list[dict[str, Any]]:
        """Return what each worker told last."""

    def observed(self, seconds: float = 60.0) -> dict[str, Any]:
        """Return what each route and the site did in the last *seconds*, 1 to 300."""

    @property
    def watch(self) -> Watch:
        """Return who looks over the workers' shoulders."""

    @property
    def history(self) -> History:
        """Return the last half hour in steps."""

    async def metrics(self, form: str) -> str:
        """Return all metrics as text, in one of the forms of `observe.metrics`."""

    async def reload(self, *, yes: bool) -> dict[str, Any]:
        """Read the configuration anew; return the outcome."""


async def _list(asked: Handler) -> Mapping[str, Any]:
    return {"endpoints": {row.name: row.doc for row in _every()}}


async def _openapi(asked: Handler) -> None:
    asked.answer(openapi.document(_every(), __version__))


def _every() -> tuple[Endpoint, ...]:
    return (
        Endpoint(method="GET", path="/-/", answer=_list, doc="this list"),
        Endpoint(
            method="GET",
            path="/-/openapi.json",
            answer=_openapi,
            doc="this API as an OpenAPI 3.1 document",
        ),
        *ENDPOINTS,
    )


def application(
    view: View, tokens: Tokens, sessions: Sessions | None = None, *, open_reads: bool = True
) -> web.Application:
    """Make the Tornado application of the admin listener.

    open_reads: whoever reaches the listener may read what isn't private, without a token.
    """
    given: dict[str, Any] = {
        "view": view,
        "tokens": tokens,
        "sessions": sessions or Sessions(),
        "open_reads": open_reads,
    }
    return web.Application(
        [*pages.rules(given), *routed(_every(), given)],
        default_handler_class=_NotFound,
        default_handler_args=given,
        log_function=_log_failure,
    )


class _NotFound(Handler):
    def prepare(self) -> None:
        super().prepare()
        not_found(self)


def _log_failure(handler: web.RequestHandler) -> None:
    """Log what failed here; Tornado's own line for every request would drown it."""
    if handler.get_status() >= 500 and handler.request.path not in (
        "/-/healthcheck",
        "/-/live",
        "/-/ready",
    ):
        _log.error("admin.failed %s %s", handler.get_status(), handler.request.path)
