# SPDX-License-Identifier: Apache-2.0
"""The health check for Django: `path("healthcheck", view(health))` in a URLconf.

A plain check runs in a thread of its own: what it opens of Django's (a database connection) it
should close, as with `django.db.close_old_connections`; `plain` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.db import connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from strangler.health.checks import Health

_View = Callable[[HttpRequest], HttpResponse]


def view(health: Health) -> _View:
    """Return a view that answers with the document: 200, or 503 where a check failed."""

    def healthcheck(request: HttpRequest) -> HttpResponse:
        told = health.document_now()
        return JsonResponse(told, status=200 if told["status"] == "success" else 503)

    return cast("_View", never_cache(require_safe(healthcheck)))


def plain(ask: Callable[[], str | None]) -> Callable[[], str | None]:
    """Return *ask* closing the database connections that it opened in its thread."""

    def closing() -> str | None:
        try:
            return ask()
        finally:
            connections.close_all()

    return closing
