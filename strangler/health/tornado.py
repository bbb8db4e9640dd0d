# SPDX-License-Identifier: Apache-2.0
"""The health check as a Tornado handler: `(r"/healthcheck", HealthHandler, {"health": health})`."""

from __future__ import annotations

import json

from tornado import web

from strangler.health.checks import Health


class HealthHandler(web.RequestHandler):
    """Answers with the document: 200, or 503 where a check failed."""

    def initialize(self, health: Health) -> None:
        """Take what the route gives."""
        self.health = health

    async def get(self) -> None:
        """Ask all checks."""
        told = await self.health.document()
        self.set_status(200 if told["status"] == "success" else 503)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(told, ensure_ascii=False))

    async def head(self) -> None:
        """Answer as to GET; Tornado leaves the content out."""
        await self.get()
