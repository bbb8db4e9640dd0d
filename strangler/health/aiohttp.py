# SPDX-License-Identifier: Apache-2.0
"""The health check for aiohttp: `app.router.add_get("/healthcheck", handler(health))`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from strangler.health.checks import Health


def handler(health: Health) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers with the document: 200, or 503 where a check failed."""

    async def healthcheck(request: web.Request) -> web.Response:
        told = await health.document()
        status = 200 if told["status"] == "success" else 503
        return web.json_response(told, status=status, headers={"Cache-Control": "no-store"})

    return healthcheck
